//! What the tests of this room share.

use model::{LeaderEpoch, Offset, TimestampMs};

use super::acquire::LogBatch;
use super::held::HeldState;
use super::partition::SharePartition;
use super::settings::ShareSettings;
use super::state::PartitionState;

/// A state of which nothing is known but where it starts.
pub fn state(start: i64) -> PartitionState {
    PartitionState {
        snapshot_epoch: 0,
        state_epoch: 1,
        leader_epoch: LeaderEpoch(0),
        start: Offset(start),
        delivery_complete_count: 0,
        created: TimestampMs(0),
        written: TimestampMs(0),
        batches: Vec::new(),
    }
}

pub fn fresh(settings: ShareSettings, start: i64) -> SharePartition {
    SharePartition::new(settings, LeaderEpoch(4), &state(start), Offset(start))
}

pub fn batches(list: &[(i64, i64)]) -> Vec<LogBatch> {
    list.iter().map(|(first, last)| LogBatch { first: Offset(*first), last: Offset(*last) }).collect()
}

/// `<first>-<last> <whose or what> <deliveries>`.
pub fn shown(partition: &SharePartition) -> Vec<String> {
    let line = |held: super::Held| {
        let what = match held.state {
            HeldState::Available => "available".to_owned(),
            HeldState::Acknowledged => "acknowledged".to_owned(),
            HeldState::Archived => "archived".to_owned(),
            HeldState::Acquired { member, becoming: None, .. } => member.to_string(),
            HeldState::Acquired { member, becoming: Some(state), .. } => format!("{member}>{state:?}"),
        };
        format!("{}-{} {what} {}", held.first, held.last, held.delivery_count)
    };
    partition.held().map(line).collect()
}
