//! What a coordinator of share groups is told and tells, without wire versions.

use std::collections::BTreeSet;
use std::sync::Arc;

use model::{ErrorCode, TimestampMs, TopicId};

use super::group::{Assignment, DescribedGroup};
use super::heartbeat::{Heartbeat, HeartbeatReply};
use super::record::Record;
use crate::group::limits::COORDINATOR_BYTES;
use crate::metadata::image::Image;

/// What the coordinator is told of the broker's configuration, with Kafka's names and defaults. A group's own settings
/// go before (`share.session.timeout.ms` and so on).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MembershipSettings {
    /// `group.share.max.size`, 200.
    pub members_max: u32,
    /// `group.share.session.timeout.ms`, 45000: silence after which a member is given up.
    pub session_timeout_ms: i32,
    /// `group.share.heartbeat.interval.ms`, 5000.
    pub heartbeat_interval_ms: i32,
    /// `group.share.assignment.interval.ms`, 1000: the least time between two targets.
    pub assignment_interval_ms: i32,
    /// Milliseconds after which a state that is being begun is begun again, 30000.
    pub initialize_retry_ms: i32,
    /// Ours: bytes that groups and members may take in memory. Above it new members are told GROUP_MAX_SIZE_REACHED.
    pub memory_bytes_max: u64,
}

impl Default for MembershipSettings {
    fn default() -> Self {
        Self {
            members_max: 200,
            session_timeout_ms: 45_000,
            heartbeat_interval_ms: 5000,
            assignment_interval_ms: 1000,
            initialize_retry_ms: 30_000,
            memory_bytes_max: COORDINATOR_BYTES,
        }
    }
}

impl MembershipSettings {
    /// These, with what was set for the group. Values were judged when they were set.
    pub(super) fn of_group(&self, image: &Image, group: &str) -> Self {
        let set = image.group(group);
        let number =
            |name: &str, default: i32| set.get(name).and_then(|value| value.parse().ok()).unwrap_or(default);
        Self {
            session_timeout_ms: number("share.session.timeout.ms", self.session_timeout_ms),
            heartbeat_interval_ms: number("share.heartbeat.interval.ms", self.heartbeat_interval_ms),
            assignment_interval_ms: number("share.assignment.interval.ms", self.assignment_interval_ms),
            ..self.clone()
        }
    }
}

/// What is asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Request {
    /// ShareGroupHeartbeat.
    Heartbeat(Heartbeat),
    /// ShareGroupDescribe: those of the list that this coordinator owns.
    Describe(Vec<String>),
    /// DeleteGroups, of one group whose partitions have no state any more.
    Delete(Arc<str>),
    /// AlterShareGroupOffsets, of partitions that exist.
    AlterOffsets {
        /// The group: nobody may be in it.
        group: Arc<str>,
        /// Which.
        partitions: Assignment,
    },
    /// DeleteShareGroupOffsets.
    DeleteOffsets {
        /// The group: nobody may be in it.
        group: Arc<str>,
        /// Of all partitions of these.
        topics: BTreeSet<TopicId>,
    },
}

/// The answer, of the request's kind.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reply {
    /// To a heartbeat.
    Heartbeat(HeartbeatReply),
    /// Of each group, or GROUP_ID_NOT_FOUND.
    Describe(Vec<(String, Result<DescribedGroup, ErrorCode>)>),
    /// To a deletion: NON_EMPTY_GROUP, GROUP_ID_NOT_FOUND or none.
    Delete(ErrorCode),
    /// The state epoch with which the state of these partitions is to be begun where it was wanted; then comes
    /// `Initialized`. Or an error as above.
    AlterOffsets(Result<i32, ErrorCode>),
    /// The partitions whose state is to be deleted; then comes `StateDeleted`. Or an error as above.
    DeleteOffsets(Result<Assignment, ErrorCode>),
}

impl Reply {
    /// The same kind of answer, with an error.
    pub(super) fn failed(self, error: ErrorCode) -> Self {
        match self {
            Self::Heartbeat(reply) => Self::Heartbeat(HeartbeatReply::failed(&reply.member_id, error)),
            Self::Delete(_) => Self::Delete(error),
            Self::AlterOffsets(_) => Self::AlterOffsets(Err(error)),
            Self::DeleteOffsets(_) => Self::DeleteOffsets(Err(error)),
            described @ Self::Describe(_) => described,
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
        reply: Reply,
    },
    /// Begin the state of these partitions (InitializeShareGroupState, without a start), then say `Initialized`.
    Initialize {
        /// The group.
        group: Arc<str>,
        /// The state epoch: the group's.
        epoch: i32,
        /// Which.
        partitions: Assignment,
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
        /// What.
        request: Request,
    },
    /// The newest metadata.
    Image(Arc<Image>),
    /// The state of these partitions is begun, or could not be.
    Initialized {
        /// The time of day, for records.
        wall: TimestampMs,
        /// The group.
        group: Arc<str>,
        /// Which.
        partitions: Assignment,
        /// Whether it is.
        done: bool,
    },
    /// These topics are deleted, and what is kept of them with it.
    TopicsDeleted(Vec<TopicId>),
    /// What was kept of these topics for a group is deleted.
    StateDeleted {
        /// The group.
        group: Arc<str>,
        /// Which.
        topics: Vec<TopicId>,
    },
    /// The append with this id and all before it that have not failed are durable.
    Durable(u64),
    /// The append with this id failed; nothing of it is in the log or ever will be.
    AppendFailed(u64, ErrorCode),
    /// Time passed: what is due at the step's `now` happens. Some may be left, see [`Coordinator::next_deadline`].
    Tick {
        /// The time of day, for records.
        wall: TimestampMs,
    },
    /// The partition goes elsewhere: everybody who waits is told NOT_COORDINATOR, and all is forgotten.
    Unload,
}
