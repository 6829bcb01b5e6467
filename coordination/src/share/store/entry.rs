//! One share partition in the coordinator of its state: who may write, and which record a write becomes.

use std::collections::VecDeque;
use std::sync::Arc;

use model::{ErrorCode, LeaderEpoch, Offset, TimestampMs};

use super::{Ask, StoreSettings, Write};
use crate::share::record::{Record, ShareKey};
use crate::share::state::{PartitionState, StateUpdate, combine};

/// One share partition.
#[derive(Debug, Default)]
pub(super) struct Entry {
    pub state: Option<Arc<PartitionState>>,
    /// Offset of the last snapshot in the log: what is before it is not needed. Not known while all there is comes from the
    /// coordinator's own snapshot.
    pub at: Option<Offset>,
    /// Since the last snapshot.
    pub updates: u32,
    /// The highest seen. They outlive a new beginning with lower ones.
    pub leader_epoch: i32,
    pub state_epoch: i32,
    /// Its append in flight.
    pub flight: Option<u64>,
    pub waiting: VecDeque<(u64, Ask)>,
}

impl Entry {
    /// Whether a writer may write.
    pub fn judge(&self, write: &Write) -> Result<(), ErrorCode> {
        if self.state.is_none() {
            return Err(ErrorCode::InvalidRequest);
        }
        if write.leader_epoch != LeaderEpoch::NONE && self.leader_epoch > write.leader_epoch.0 {
            return Err(ErrorCode::FencedLeaderEpoch);
        }
        if write.state_epoch != -1 && self.state_epoch > write.state_epoch {
            return Err(ErrorCode::FencedStateEpoch);
        }
        Ok(())
    }

    /// The record of a write behind those `before` it in the same append: an update, or now and then a snapshot. Only
    /// a reader changes the leader's epoch.
    pub fn record(
        &self,
        key: &ShareKey,
        before: &[Record],
        write: Write,
        reader: Option<LeaderEpoch>,
        settings: StoreSettings,
        wall: TimestampMs,
    ) -> Option<Record> {
        let known = self.state.as_ref()?;
        let last_snapshot = before.iter().rposition(|record| matches!(record, Record::Snapshot { .. }));
        let updates = match last_snapshot {
            Some(at) => before.len() - at - 1,
            None => usize::try_from(self.updates).unwrap_or(usize::MAX).saturating_add(before.len()),
        };
        let base = match last_snapshot.and_then(|at| before.get(at)) {
            Some(Record::Snapshot { value: Some(value), .. }) => value,
            _ => known,
        };
        let key = key.clone();
        let leader_epoch = reader.unwrap_or(known.leader_epoch);
        if updates < usize::try_from(settings.updates_per_snapshot).unwrap_or(usize::MAX) {
            let value = StateUpdate {
                snapshot_epoch: base.snapshot_epoch,
                leader_epoch,
                start: write.start,
                delivery_complete_count: write.delivery_complete_count,
                batches: combine(&[], &write.batches, write.start),
            };
            return Some(Record::Update { key, value });
        }
        let mut state = PartitionState::clone(base);
        for record in before.get(last_snapshot.map_or(0, |at| at + 1)..).unwrap_or_default() {
            if let Record::Update { value, .. } = record {
                state.apply(value);
            }
        }
        let start = if write.start == Offset::NONE { state.start } else { write.start };
        let value = PartitionState {
            snapshot_epoch: state.snapshot_epoch.wrapping_add(1),
            state_epoch: state.state_epoch,
            leader_epoch,
            start,
            delivery_complete_count: write.delivery_complete_count,
            created: wall,
            written: wall,
            batches: combine(&state.batches, &write.batches, start),
        };
        Some(Record::Snapshot { key, value: Some(Arc::new(value)) })
    }

    /// Whether its last snapshot was made because it had been quiet, and it can stay: as in Kafka these were made at
    /// another time than they were written.
    pub fn is_cold(&self) -> bool {
        self.state.as_ref().is_none_or(|state| state.created != state.written && self.at.is_some())
    }

    /// A snapshot of what is known, if the last one is as old as `interval_ms` and nothing is being written.
    pub fn renewed(&self, key: &ShareKey, wall: TimestampMs, interval_ms: u32) -> Option<Record> {
        let state = self.state.as_ref().filter(|_| self.flight.is_none())?;
        // A clock that was set back must not keep it for long.
        if wall.0.abs_diff(state.written.0) < u64::from(interval_ms) {
            return None;
        }
        let snapshot_epoch = state.snapshot_epoch.wrapping_add(1);
        let value = PartitionState { snapshot_epoch, written: wall, ..PartitionState::clone(state) };
        Some(Record::Snapshot { key: key.clone(), value: Some(Arc::new(value)) })
    }
}
