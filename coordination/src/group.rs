//! Consumer groups and committed offsets: one [`Coordinator`] per partition of `__consumer_offsets`.
//!
//! A request becomes records to append and a parked reply. Offsets and group metadata (hard state) change only by
//! replay of records that are durable; who is joining and every timer (soft state) change at once and are lost with
//! the process, as in Kafka. The behaviour is that of the classic protocol of Apache Kafka 4.3.1; groups by the consumer
//! protocol (KIP-848) are in [`consumer`].

mod admin;
mod classic;
mod commit;
pub mod consumer;
mod coordinator;
pub(crate) mod desk;
mod expiry;
mod ids;
mod join;
mod landing;
mod leave;
pub mod limits;
mod member;
mod offsets;
mod placement;
mod rebalance;
pub mod record;
mod reply;
mod request;
mod settings;
mod share;
mod subscription;
mod sync;
mod timers;
mod unload;
pub(crate) mod wire;

pub use coordinator::{Coordinator, Input};
pub use desk::Effect;
pub use placement::partition_of;
pub use record::{Decoded, GroupValue, MemberValue, OffsetValue, Record, RecordError};
pub use reply::{
    CommittedOffset, ConsumerHeartbeatReply, DescribedConsumer, DescribedConsumerGroup, DescribedGroup,
    DescribedMember, FetchedTopic, GroupState, GroupType, JoinMember, JoinReply, LeaveReply, LeftMember,
    ListedGroup, OffsetDeleteReply, OffsetFetchReply, Reply, SyncReply, TopicVerdict,
};
pub use request::{
    CommitPartition, CommitTopic, ConsumerHeartbeat, Heartbeat, Join, Leave, Leaver, ListFilter,
    OffsetCommit, OffsetDelete, OffsetFetch, PartitionsOf, Request, Sync,
};
pub use settings::{Bounded, ConsumerSettings, GroupSettings, Migration};

/// Epoch of a group by the consumer or the share protocol before anybody joins it, as in Kafka: whoever does brings the next.
pub(crate) const INITIAL_EPOCH: i32 = 1;
