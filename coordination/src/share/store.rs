//! The coordinator of the state of share partitions: one [`ShareStates`] for each partition of `__share_group_state`.
//!
//! A request becomes records to append and a parked answer; what is kept changes only by replay of records that are
//! durable. A share partition has one append in flight: a snapshot must hold all that was written before it, and
//! nothing that failed. What comes meanwhile waits and goes into the next append together.

mod entry;
mod machine;
mod upkeep;

use std::sync::Arc;

use model::{ErrorCode, LeaderEpoch, Offset, TimestampMs, TopicPartition};

use super::limits::STATE_BYTES;
use super::record::{Record, ShareKey};
use super::state::{PartitionState, StateBatch};
use crate::group::partition_of;
use crate::metadata::image::Image;
use crate::metadata::topics::SHARE_STATE_TOPIC;
pub use machine::ShareStates;

/// The partition of `__share_group_state` that coordinates a share partition, if there is the topic.
#[must_use]
pub fn coordinator_of(image: &Image, key: &ShareKey) -> Option<TopicPartition> {
    let topic = image.topic(SHARE_STATE_TOPIC)?;
    let partition = partition_of(&key.coordinator_key(), topic.partitions);
    Some(TopicPartition { topic: topic.id, partition })
}

/// What the coordinator is told of the broker's configuration.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StoreSettings {
    /// `share.coordinator.snapshot.update.records.per.snapshot`, 500.
    pub updates_per_snapshot: u32,
    /// `share.coordinator.state.topic.prune.interval.ms`, five minutes: how often records that nobody needs are deleted.
    pub prune_interval_ms: u32,
    /// `share.coordinator.cold.partition.snapshot.interval.ms`, five minutes: how often snapshots are made of what has none
    /// for as long as that. Else its last one would keep all records behind it.
    pub cold_snapshot_interval_ms: u32,
    /// `share.coordinator.write.timeout.ms`, five seconds; of those who ask.
    pub write_timeout_ms: u32,
    /// Ours: bytes that the states may take in memory. Above it no new one is begun: COORDINATOR_NOT_AVAILABLE.
    pub memory_bytes_max: u64,
}

impl Default for StoreSettings {
    fn default() -> Self {
        Self {
            updates_per_snapshot: 500,
            prune_interval_ms: 300_000,
            cold_snapshot_interval_ms: 300_000,
            write_timeout_ms: 5000,
            memory_bytes_max: STATE_BYTES,
        }
    }
}

/// What is asked, of one share partition. That the topic has the partition is for the caller to check.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ask {
    /// Begins it, or begins it anew (InitializeShareGroupState).
    Initialize {
        /// Fences what has a lower one; -1 fences nothing and is fenced by nothing.
        state_epoch: i32,
        /// Where it begins; [`Offset::NONE`] when that is for the first reader to say.
        start: Offset,
    },
    /// Writes what became of records (WriteShareGroupState).
    Write(Write),
    /// Reads all of it (ReadShareGroupState). From then on, leaders of a lower epoch are fenced.
    Read {
        /// The reader's; -1 fences nothing and is fenced by nothing.
        leader_epoch: LeaderEpoch,
    },
    /// Reads where it is (ReadShareGroupStateSummary).
    Summary,
    /// Forgets it (DeleteShareGroupState). Also what is not there.
    Delete,
}

/// See [`Ask::Write`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Write {
    /// The writer's; -1 is fenced by nothing.
    pub state_epoch: i32,
    /// The writer's; -1 is fenced by nothing.
    pub leader_epoch: LeaderEpoch,
    /// Where it starts now, or [`Offset::NONE`] when that does not change.
    pub start: Offset,
    /// Finished records from there on, or -1.
    pub delivery_complete_count: i32,
    /// What became of records.
    pub batches: Vec<StateBatch>,
}

/// The answer, after what it rests on is durable.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// To what changes something.
    Done(ErrorCode),
    /// To Read and Summary.
    State(Result<Arc<PartitionState>, ErrorCode>),
}

impl Answer {
    /// To a request that is refused.
    #[must_use]
    pub const fn refused(ask: &Ask, error: ErrorCode) -> Self {
        match ask {
            Ask::Read { .. } | Ask::Summary => Self::State(Err(error)),
            Ask::Initialize { .. } | Ask::Write(_) | Ask::Delete => Self::Done(error),
        }
    }

    /// NONE, or why not.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Done(error) | Self::State(Err(error)) => *error,
            Self::State(Ok(_)) => ErrorCode::None,
        }
    }
}

/// What the coordinator asks of its driver.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Append these in one batch, in the order of ids, then say `Durable` or `AppendFailed` with the id.
    Append {
        /// Rises by one from append to append.
        id: u64,
        /// Never empty.
        records: Vec<Record>,
    },
    /// Answer the request of this ticket; each ticket is answered once.
    Reply {
        /// The request's.
        ticket: u64,
        /// The answer.
        answer: Answer,
    },
    /// Delete the records before this offset, if they are not deleted yet. Nobody hears of it.
    Prune {
        /// The first record that a start needs.
        below: Offset,
    },
}

/// What can happen to the coordinator.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Input {
    /// Somebody asks.
    Request {
        /// Names the request until it is answered.
        ticket: u64,
        /// The time of day, for records.
        wall: TimestampMs,
        /// Of which share partition.
        key: ShareKey,
        /// What.
        ask: Ask,
    },
    /// The append with this id and all before it that have not failed are durable.
    Durable {
        /// The append's.
        id: u64,
        /// Offset of its first record.
        base: Offset,
    },
    /// The append with this id failed; nothing of it is in the log or ever will be.
    AppendFailed(u64, ErrorCode),
    /// Time passed.
    Tick {
        /// The time of day, for records.
        wall: TimestampMs,
    },
    /// The partition goes elsewhere: everybody who waits is told NOT_COORDINATOR, and all is forgotten.
    Unload,
}
