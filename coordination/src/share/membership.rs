//! Who is in a share group and which partitions each member takes records from (KIP-932): one [`Coordinator`] per
//! partition of `__consumer_offsets`, beside that of the classic groups.
//!
//! A heartbeat becomes records to append and a parked answer; a group changes only by replay of records that are
//! durable. A group has one append in flight, and what comes meanwhile waits for it: two members that join at the same
//! time would else make two groups of the same epoch.

pub mod assignor;
mod coordinator;
mod group;
mod heartbeat;
mod messages;
pub mod record;
mod settings;
mod topics;
mod turns;

pub use coordinator::Coordinator;
pub use group::{Assignment, DescribedGroup, DescribedMember};
pub use heartbeat::{Heartbeat, HeartbeatReply};
pub use messages::{Effect, Input, Refusal, Reply, Request};
pub use settings::MembershipSettings;
