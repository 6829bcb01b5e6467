//! What clients are told, without wire versions.

mod refused;

use std::collections::BTreeSet;

use bytes::Bytes;
use model::{ErrorCode, Offset, TopicId};

use super::consumer::Partitions;
use crate::share::membership as share;

/// The answer to a [`Request`](super::Request), of the same name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reply {
    /// JoinGroup.
    Join(JoinReply),
    /// SyncGroup.
    Sync(SyncReply),
    /// Heartbeat.
    Heartbeat(ErrorCode),
    /// LeaveGroup.
    Leave(LeaveReply),
    /// OffsetCommit: a verdict per partition, in the order of the request.
    OffsetCommit(Vec<TopicVerdict>),
    /// OffsetFetch.
    OffsetFetch(OffsetFetchReply),
    /// OffsetDelete.
    OffsetDelete(OffsetDeleteReply),
    /// ListGroups, by group id.
    List(Result<Vec<ListedGroup>, ErrorCode>),
    /// DescribeGroups, in the order of the request.
    Describe(Vec<DescribedGroup>),
    /// DeleteGroups, in the order of the request.
    Delete(Vec<(String, ErrorCode)>),
    /// ConsumerGroupHeartbeat.
    ConsumerHeartbeat(ConsumerHeartbeatReply),
    /// ConsumerGroupDescribe, in the order of the request.
    ConsumerDescribe(Vec<DescribedConsumerGroup>),
    /// About share groups.
    Share(share::Reply),
}

/// ConsumerGroupHeartbeat's answer.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct ConsumerHeartbeatReply {
    /// Why not, with a sentence for people.
    pub refused: Option<(ErrorCode, String)>,
    /// The member's id.
    pub member_id: Option<String>,
    /// Its epoch from now on.
    pub epoch: i32,
    /// When to ask again.
    pub heartbeat_interval_ms: i32,
    /// What it may use, when that is to be told.
    pub assignment: Option<Partitions>,
}

impl ConsumerHeartbeatReply {
    /// An error.
    #[must_use]
    pub fn error(error: ErrorCode, why: impl Into<String>) -> Self {
        Self { refused: Some((error, why.into())), ..Self::default() }
    }

    /// NONE, or why not.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        self.refused.as_ref().map_or(ErrorCode::None, |(error, _)| *error)
    }
}

/// A group by the consumer protocol in detail.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DescribedConsumerGroup {
    /// Its id.
    pub group: String,
    /// Why it is not described, with a sentence for people.
    pub refused: Option<(ErrorCode, String)>,
    /// Where it stands.
    pub state: GroupState,
    /// Its epoch.
    pub epoch: i32,
    /// The epoch for which the targets were computed.
    pub target_epoch: i32,
    /// The assignor in use.
    pub assignor: String,
    /// Its members, by id.
    pub members: Vec<DescribedConsumer>,
}

impl DescribedConsumerGroup {
    pub(super) fn unknown(group: &str, error: ErrorCode, why: String) -> Self {
        Self {
            group: group.to_owned(),
            refused: Some((error, why)),
            state: GroupState::Dead,
            epoch: 0,
            target_epoch: 0,
            assignor: String::new(),
            members: Vec::new(),
        }
    }
}

/// A member of a group by the consumer protocol in detail.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DescribedConsumer {
    /// Its id.
    pub member_id: String,
    /// Its instance id, when static.
    pub instance_id: Option<String>,
    /// Where it is.
    pub rack_id: Option<String>,
    /// Its epoch.
    pub epoch: i32,
    /// The client's id.
    pub client_id: String,
    /// Where it came from.
    pub client_host: String,
    /// Topics it subscribes to by name.
    pub topics: BTreeSet<String>,
    /// The regular expression it subscribes by; empty when it does not.
    pub regex: String,
    /// What it may use.
    pub assigned: Partitions,
    /// What it is to have in the end.
    pub target: Partitions,
    /// It uses the classic protocol.
    pub classic: bool,
}

/// JoinGroup's answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JoinReply {
    /// NONE, or why not.
    pub error: ErrorCode,
    /// The generation joined, or -1.
    pub generation: i32,
    /// "consumer", ...
    pub protocol_type: Option<String>,
    /// The protocol the members chose.
    pub protocol: Option<String>,
    /// The leader's member id, or empty.
    pub leader: String,
    /// The leader need not compute an assignment: the old one holds (KIP-814).
    pub skip_assignment: bool,
    /// The member's own id.
    pub member_id: String,
    /// Everybody, for the leader only.
    pub members: Vec<JoinMember>,
}

impl JoinReply {
    /// An error for `member_id`.
    #[must_use]
    pub fn error(error: ErrorCode, member_id: &str) -> Self {
        Self {
            error,
            generation: -1,
            protocol_type: None,
            protocol: None,
            leader: String::new(),
            skip_assignment: false,
            member_id: member_id.to_owned(),
            members: Vec::new(),
        }
    }
}

/// A member as its leader sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JoinMember {
    /// Its id.
    pub member_id: String,
    /// Its instance id, when static.
    pub instance_id: Option<String>,
    /// Its metadata for the chosen protocol.
    pub metadata: Bytes,
}

/// SyncGroup's answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SyncReply {
    /// NONE, or why not.
    pub error: ErrorCode,
    /// "consumer", ...
    pub protocol_type: Option<String>,
    /// The protocol the members chose.
    pub protocol: Option<String>,
    /// What the leader gave to this member.
    pub assignment: Bytes,
}

impl SyncReply {
    /// An error.
    #[must_use]
    pub const fn error(error: ErrorCode) -> Self {
        Self { error, protocol_type: None, protocol: None, assignment: Bytes::new() }
    }
}

/// LeaveGroup's answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LeaveReply {
    /// Of the whole request.
    pub error: ErrorCode,
    /// In the order of the request; empty when the whole request failed.
    pub members: Vec<LeftMember>,
}

/// One who left.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LeftMember {
    /// As in the request.
    pub member_id: String,
    /// As in the request.
    pub instance_id: Option<String>,
    /// NONE, or why not.
    pub error: ErrorCode,
}

/// Verdicts on partitions of a topic.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TopicVerdict {
    /// As in the request.
    pub topic: String,
    /// As in the request; zero where it has none.
    pub topic_id: TopicId,
    /// Partition and verdict.
    pub partitions: Vec<(i32, ErrorCode)>,
}

/// OffsetFetch's answer for one group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OffsetFetchReply {
    /// Of the whole group.
    pub error: ErrorCode,
    /// In the order of the request, or by name when all were asked for.
    pub topics: Vec<FetchedTopic>,
}

/// Offsets of one topic.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FetchedTopic {
    /// Its name.
    pub topic: String,
    /// Its partitions.
    pub partitions: Vec<CommittedOffset>,
}

/// One committed offset, or "none": offset -1, epoch -1, no metadata.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CommittedOffset {
    /// The partition.
    pub partition: i32,
    /// The offset, or -1.
    pub offset: Offset,
    /// The epoch of the last record read, or -1.
    pub leader_epoch: i32,
    /// What the client kept with it.
    pub metadata: String,
}

/// OffsetDelete's answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OffsetDeleteReply {
    /// Of the whole request.
    pub error: ErrorCode,
    /// In the order of the request; empty when the whole request failed.
    pub topics: Vec<TopicVerdict>,
}

/// Where a group stands.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum GroupState {
    /// No members; perhaps offsets.
    Empty,
    /// Members are (re)joining.
    PreparingRebalance,
    /// Everybody joined; the leader's assignment is awaited or being stored.
    CompletingRebalance,
    /// Everybody can have its assignment.
    Stable,
    /// Only by the consumer protocol: targets are to be computed anew.
    Assigning,
    /// Only by the consumer protocol: members are on the way to their targets.
    Reconciling,
    /// Being deleted, or unknown.
    Dead,
}

impl GroupState {
    /// Kafka's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
            Self::Assigning => "Assigning",
            Self::Reconciling => "Reconciling",
            Self::Dead => "Dead",
        }
    }
}

/// By which protocol a group is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GroupType {
    /// The classic one: JoinGroup and SyncGroup.
    Classic,
    /// KIP-848's: ConsumerGroupHeartbeat.
    Consumer,
    /// KIP-932's: ShareGroupHeartbeat.
    Share,
}

impl GroupType {
    /// Kafka's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Classic => "classic",
            Self::Consumer => "consumer",
            Self::Share => "share",
        }
    }
}

/// A group in a list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListedGroup {
    /// Its id.
    pub group: String,
    /// "consumer", ..., or empty.
    pub protocol_type: String,
    /// Where it stands.
    pub state: GroupState,
    /// Its type.
    pub kind: GroupType,
}

/// A group in detail.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DescribedGroup {
    /// Its id.
    pub group: String,
    /// Why there is no such classic group: it is described as Dead, and from version 6 on as GROUP_ID_NOT_FOUND.
    pub missing: Option<String>,
    /// NONE, or why it is not described.
    pub error: ErrorCode,
    /// Where it stands.
    pub state: GroupState,
    /// "consumer", ..., or empty.
    pub protocol_type: String,
    /// The chosen protocol while Stable, or empty.
    pub protocol: String,
    /// Its members, by id.
    pub members: Vec<DescribedMember>,
}

impl DescribedGroup {
    pub(super) fn unknown(group: &str, error: ErrorCode) -> Self {
        Self {
            group: group.to_owned(),
            missing: Some(format!("Group {group} not found.")),
            error,
            state: GroupState::Dead,
            protocol_type: String::new(),
            protocol: String::new(),
            members: Vec::new(),
        }
    }

    /// There is one, by another protocol.
    pub(super) fn of_another_kind(group: &str) -> Self {
        let missing = Some(format!("Group {group} is not a classic group."));
        Self { missing, ..Self::unknown(group, ErrorCode::None) }
    }
}

/// A member in detail.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DescribedMember {
    /// Its id.
    pub member_id: String,
    /// Its instance id, when static.
    pub instance_id: Option<String>,
    /// The client's id.
    pub client_id: String,
    /// Where it came from.
    pub client_host: String,
    /// Its metadata for the chosen protocol, while Stable.
    pub metadata: Bytes,
    /// Its assignment.
    pub assignment: Bytes,
}
