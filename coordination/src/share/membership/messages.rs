//! What a coordinator of share groups is told and tells, without wire versions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::{ErrorCode, TimestampMs, TopicId};

use super::group::{Assignment, DescribedGroup};
use super::heartbeat::{Heartbeat, HeartbeatReply};
use super::record::Record;

/// Why not, with a sentence for people; an empty one where the error's own will do.
pub type Refusal = (ErrorCode, String);

/// What is asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Request {
    /// ShareGroupHeartbeat.
    Heartbeat(Heartbeat),
    /// ShareGroupDescribe: those of the list that this coordinator owns.
    Describe(Vec<String>),
    /// DescribeShareGroupOffsets, of all that the group reads.
    Offsets(Arc<str>),
    /// AlterShareGroupOffsets, of partitions that exist. A group that is not there begins.
    AlterOffsets {
        /// The group: nobody may be in it.
        group: Arc<str>,
        /// Which.
        partitions: Assignment,
    },
    /// DeleteShareGroupOffsets; and before DeleteGroups, of all topics.
    DeleteOffsets {
        /// The group: nobody may be in it.
        group: Arc<str>,
        /// Of all partitions of these; `None` of everything it reads.
        topics: Option<BTreeSet<TopicId>>,
    },
    /// The state of these partitions is begun, or could not be, after `AlterOffsets`.
    Initialized {
        /// The group.
        group: Arc<str>,
        /// Which.
        partitions: Assignment,
        /// Whether it is.
        done: bool,
    },
    /// What was kept of these topics is deleted, after `DeleteOffsets`.
    StateDeleted {
        /// The group.
        group: Arc<str>,
        /// Which.
        topics: Vec<TopicId>,
    },
    /// DeleteGroups, of one group whose partitions have no state any more.
    Delete(Arc<str>),
}

impl Request {
    /// The group that it changes or must be a share group.
    #[must_use]
    pub fn group(&self) -> Option<&Arc<str>> {
        match self {
            Self::Heartbeat(heartbeat) => Some(&heartbeat.group),
            Self::Describe(_) => None,
            Self::Offsets(group)
            | Self::Delete(group)
            | Self::AlterOffsets { group, .. }
            | Self::DeleteOffsets { group, .. }
            | Self::Initialized { group, .. }
            | Self::StateDeleted { group, .. } => Some(group),
        }
    }
}

/// The answer, of the request's kind.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reply {
    /// To a heartbeat.
    Heartbeat(HeartbeatReply),
    /// Of each group.
    Describe(Vec<(String, Result<DescribedGroup, Refusal>)>),
    /// The partitions that have a state, with the name of their topic.
    Offsets(Result<BTreeMap<TopicId, (String, BTreeSet<i32>)>, Refusal>),
    /// The state epoch with which the state of these partitions is to be begun where it was wanted; then comes
    /// `Initialized`.
    AlterOffsets(Result<i32, Refusal>),
    /// The partitions whose state is to be deleted; then comes `StateDeleted`.
    DeleteOffsets(Result<Assignment, Refusal>),
    /// To a deletion: NON_EMPTY_GROUP, GROUP_ID_NOT_FOUND or none. To what was heard of states: none, or why it could not be
    /// written.
    Done(ErrorCode),
}

impl Reply {
    /// `request` refused.
    #[must_use]
    pub fn refused(request: &Request, (error, why): Refusal) -> Self {
        match request {
            Request::Heartbeat(heartbeat) => {
                Self::Heartbeat(HeartbeatReply::refused(&heartbeat.member_id, (error, why)))
            }
            Request::Describe(groups) => {
                let one = |group: &String| (group.clone(), Err((error, why.clone())));
                Self::Describe(groups.iter().map(one).collect())
            }
            Request::Offsets(_) => Self::Offsets(Err((error, why))),
            Request::AlterOffsets { .. } => Self::AlterOffsets(Err((error, why))),
            Request::DeleteOffsets { .. } => Self::DeleteOffsets(Err((error, why))),
            Request::Initialized { .. } | Request::StateDeleted { .. } | Request::Delete(_) => {
                Self::Done(error)
            }
        }
    }

    /// The same kind of answer, for an append that failed.
    pub(super) fn failed(self, error: ErrorCode) -> Self {
        let refusal = (error, String::new());
        match self {
            Self::Heartbeat(reply) => Self::Heartbeat(HeartbeatReply::refused(&reply.member_id, refusal)),
            Self::AlterOffsets(_) => Self::AlterOffsets(Err(refusal)),
            Self::DeleteOffsets(_) => Self::DeleteOffsets(Err(refusal)),
            Self::Done(_) => Self::Done(error),
            read @ (Self::Describe(_) | Self::Offsets(_)) => read,
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
    /// The append with this id and all before it that have not failed are durable.
    Durable(u64),
    /// The append with this id failed; nothing of it is in the log or ever will be.
    AppendFailed(u64, ErrorCode),
    /// Time passed: what is due at the step's `now` happens. Some may be left, see [`Coordinator::next_deadline`].
    ///
    /// [`Coordinator::next_deadline`]: super::Coordinator::next_deadline
    Tick {
        /// The time of day, for records.
        wall: TimestampMs,
    },
    /// The partition goes elsewhere: everybody who waits is told NOT_COORDINATOR, and all is forgotten.
    Unload,
}
