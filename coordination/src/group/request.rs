//! What clients ask of a coordinator, without wire versions: what depends on a version is a field.

use bytes::Bytes;
use model::{Offset, TimestampMs, TopicId};

use super::consumer::Partitions;
use crate::share::membership as share;

/// A request; each carries the group it is about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Request {
    /// JoinGroup.
    Join(Join),
    /// SyncGroup.
    Sync(Sync),
    /// Heartbeat.
    Heartbeat(Heartbeat),
    /// LeaveGroup.
    Leave(Leave),
    /// OffsetCommit.
    OffsetCommit(OffsetCommit),
    /// OffsetFetch, of one group.
    OffsetFetch(OffsetFetch),
    /// OffsetDelete.
    OffsetDelete(OffsetDelete),
    /// ListGroups, of this coordinator.
    List(ListFilter),
    /// DescribeGroups: those of the list that this coordinator owns.
    Describe(Vec<String>),
    /// DeleteGroups: those of the list that this coordinator owns.
    Delete(Vec<String>),
    /// ConsumerGroupHeartbeat.
    ConsumerHeartbeat(Box<ConsumerHeartbeat>),
    /// ConsumerGroupDescribe: those of the list that this coordinator owns.
    ConsumerDescribe(Vec<String>),
    /// About share groups.
    Share(share::Request),
}

/// ConsumerGroupHeartbeat: what is `None` did not change since the last one.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct ConsumerHeartbeat {
    /// The group.
    pub group: String,
    /// The member; before version 1 empty for one that wants to be given an id.
    pub member_id: String,
    /// From version 1 on the client makes the id.
    pub makes_own_id: bool,
    /// Its epoch; 0 to join, -1 to leave, -2 for a static member that will come back.
    pub epoch: i32,
    /// Its instance id, when static.
    pub instance_id: Option<String>,
    /// Where it is.
    pub rack_id: Option<String>,
    /// How long it may take to give partitions back, or -1.
    pub rebalance_timeout_ms: i32,
    /// The client's id.
    pub client_id: String,
    /// Where it comes from, as Kafka writes it ("/127.0.0.1").
    pub client_host: String,
    /// Topics it subscribes to by name.
    pub topics: Option<Vec<String>>,
    /// The regular expression it subscribes by; empty for none any more.
    pub regex: Option<String>,
    /// The assignor it wants.
    pub assignor: Option<String>,
    /// The partitions it uses.
    pub owned: Option<Partitions>,
}

/// JoinGroup.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Join {
    /// The group.
    pub group: String,
    /// Empty for a newcomer.
    pub member_id: String,
    /// `group.instance.id` of a static member.
    pub instance_id: Option<String>,
    /// The client's id: the first half of a new member's id.
    pub client_id: String,
    /// Where it comes from, as Kafka writes it ("/127.0.0.1").
    pub client_host: String,
    /// Silence after which the member is dropped.
    pub session_timeout_ms: i32,
    /// How long a rebalance waits for this member; version 0 has none: the session timeout.
    pub rebalance_timeout_ms: i32,
    /// "consumer", "connect", ...
    pub protocol_type: String,
    /// Names, best first, with their opaque metadata.
    pub protocols: Vec<(String, Bytes)>,
    /// From version 4 on a newcomer without instance id is sent away with its new id first (KIP-394).
    pub require_known_member_id: bool,
    /// From version 9 on the client understands "skip assignment" (KIP-814).
    pub can_skip_assignment: bool,
}

/// SyncGroup.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sync {
    /// The group.
    pub group: String,
    /// The member.
    pub member_id: String,
    /// Its instance id, when static.
    pub instance_id: Option<String>,
    /// The generation it joined.
    pub generation: i32,
    /// Checked when given (version 5 on).
    pub protocol_type: Option<String>,
    /// Checked when given (version 5 on).
    pub protocol: Option<String>,
    /// Of the leader: member id and assignment.
    pub assignments: Vec<(String, Bytes)>,
}

/// Heartbeat.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Heartbeat {
    /// The group.
    pub group: String,
    /// The member.
    pub member_id: String,
    /// Its instance id, when static.
    pub instance_id: Option<String>,
    /// The generation it is in.
    pub generation: i32,
}

/// LeaveGroup.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Leave {
    /// The group.
    pub group: String,
    /// Who leaves, or is removed.
    pub members: Vec<Leaver>,
}

/// One who leaves: by member id, or by instance id with an empty member id.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Leaver {
    /// The member, or empty.
    pub member_id: String,
    /// The instance.
    pub instance_id: Option<String>,
}

/// OffsetCommit. Whether topics exist is the API's affair.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OffsetCommit {
    /// The group.
    pub group: String,
    /// The member; empty for one outside of group management.
    pub member_id: String,
    /// Its instance id, when static.
    pub instance_id: Option<String>,
    /// The generation, or the member's epoch, or -1 for one outside of group management.
    pub generation: i32,
    /// Versions 2 to 4: how long the offsets are kept from now on.
    pub retention_ms: Option<i64>,
    /// From version 9 on the client understands GROUP_ID_NOT_FOUND; before it is ILLEGAL_GENERATION.
    pub knows_group_not_found: bool,
    /// What is committed.
    pub topics: Vec<CommitTopic>,
}

/// Offsets of one topic to commit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CommitTopic {
    /// Its name.
    pub name: String,
    /// Its id, or zero when not known; kept in the record as Kafka does.
    pub topic_id: TopicId,
    /// Its partitions.
    pub partitions: Vec<CommitPartition>,
}

/// One offset to commit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CommitPartition {
    /// The partition.
    pub partition: i32,
    /// The offset of the next record to read.
    pub offset: Offset,
    /// The epoch of the last record read, or -1.
    pub leader_epoch: i32,
    /// Whatever the client wants to keep with it.
    pub metadata: String,
    /// Version 1 says when it was committed; otherwise it is now.
    pub commit_time: Option<TimestampMs>,
}

/// OffsetFetch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OffsetFetch {
    /// The group.
    pub group: String,
    /// Which, or all that were committed.
    pub topics: Option<Vec<PartitionsOf>>,
    /// Wait for commits of this group that are on their way.
    pub require_stable: bool,
    /// The member that asks, with its epoch: from version 9 on, of one that uses the consumer protocol.
    pub member: Option<(String, i32)>,
}

/// Partitions of one topic.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PartitionsOf {
    /// The topic.
    pub topic: String,
    /// The partitions.
    pub partitions: Vec<i32>,
}

/// OffsetDelete. Whether topics exist is the API's affair.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OffsetDelete {
    /// The group.
    pub group: String,
    /// What is to be forgotten.
    pub topics: Vec<PartitionsOf>,
}

/// ListGroups: empty lists let everything pass; letter case does not matter.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct ListFilter {
    /// Names of states, "Stable".
    pub states: Vec<String>,
    /// Names of types: "classic" and "consumer".
    pub types: Vec<String>,
}
