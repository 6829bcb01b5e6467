//! The records of share groups on `__consumer_offsets` in Kafka's own formats.
//!
//! Read and written, as Kafka 4.3.1 does, each in its only version 0: ShareGroupMemberMetadata (key 10),
//! ShareGroupMetadata (11), ShareGroupTargetAssignmentMetadata (12), ShareGroupTargetAssignmentMember (13),
//! ShareGroupCurrentMemberAssignment (14), ShareGroupStatePartitionMetadata (15). A record without value is a tombstone.

mod codec;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use codec::{decode, encode};
use model::TopicId;

use super::group::Assignment;

/// One change of a share group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Record {
    /// What a member says of itself.
    Member {
        /// The group.
        group: Arc<str>,
        /// The member.
        member: Arc<str>,
        /// `None` when it is gone.
        value: Option<Arc<MemberValue>>,
    },
    /// The group's epoch, and a hash of the topics it reads.
    Epoch {
        /// The group.
        group: Arc<str>,
        /// `None` when the group is gone.
        value: Option<(i32, i64)>,
    },
    /// The epoch of the target, and when it was made: milliseconds since 1970, or 0.
    TargetEpoch {
        /// The group.
        group: Arc<str>,
        /// `None` when there is none.
        value: Option<(i32, i64)>,
    },
    /// What a member is to have.
    Target {
        /// The group.
        group: Arc<str>,
        /// The member.
        member: Arc<str>,
        /// `None` when it is gone.
        value: Option<Arc<Assignment>>,
    },
    /// What a member has.
    Current {
        /// The group.
        group: Arc<str>,
        /// The member.
        member: Arc<str>,
        /// `None` when it is gone.
        value: Option<Arc<CurrentValue>>,
    },
    /// The partitions that have a state in `__share_group_state`.
    Topics {
        /// The group.
        group: Arc<str>,
        /// `None` when there are none.
        value: Option<Arc<StateTopics>>,
    },
}

impl Record {
    /// The group it is of.
    #[must_use]
    pub const fn group(&self) -> &Arc<str> {
        match self {
            Self::Member { group, .. }
            | Self::Epoch { group, .. }
            | Self::TargetEpoch { group, .. }
            | Self::Target { group, .. }
            | Self::Current { group, .. }
            | Self::Topics { group, .. } => group,
        }
    }
}

/// See [`Record::Member`].
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct MemberValue {
    /// Its rack, if it has one.
    pub rack: Option<String>,
    /// The client's id.
    pub client_id: String,
    /// Where it came from.
    pub client_host: String,
    /// The topics it subscribes to, by name.
    pub topics: Vec<String>,
}

/// See [`Record::Current`].
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct CurrentValue {
    /// The member's epoch.
    pub epoch: i32,
    /// The one before, which it may not know to be over.
    pub previous_epoch: i32,
    /// Kafka's number of its state: 0, stable, for members of share groups.
    pub state: i8,
    /// What it takes records from.
    pub assigned: Assignment,
}

/// See [`Record::Topics`].
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct StateTopics {
    /// Their state is being begun.
    pub initializing: BTreeMap<TopicId, StateTopic>,
    /// They have one.
    pub initialized: BTreeMap<TopicId, StateTopic>,
    /// Their state is being deleted, with the name.
    pub deleting: BTreeMap<TopicId, String>,
}

/// Partitions of a topic.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct StateTopic {
    /// The topic's name.
    pub name: String,
    /// Which.
    pub partitions: BTreeSet<i32>,
}

/// What a key and value are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Decoded {
    /// One of ours.
    Record(Record),
    /// Another kind of key, with its number: to be skipped.
    Unknown(i16),
}
