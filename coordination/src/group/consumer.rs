//! Groups by the consumer protocol (KIP-848): the coordinator computes who is to have which partitions, and each member
//! gets there on its own, told in the answers to its heartbeats.
//!
//! What a group is changes by records only (`state`). A request is decided on the durable state and what those before it
//! in the same append change; while an append of a group is on its way all others of that group wait (`turns`), and go
//! together into the next one. Every timer is soft. The behaviour is that of Apache Kafka 4.3.1; what differs stands in
//! `docs/compatibility.md`.

pub mod assignor;
mod describe;
mod embedded;
mod epochs;
mod fence;
mod heartbeat;
mod join;
mod migrate;
mod offsets;
pub mod partitions;
mod patterns;
mod reconcile;
pub mod record;
mod state;
mod timers;
mod turns;

use std::sync::Arc;

use model::ErrorCode;

pub use assignor::{Assignor, MemberSpec, Spec, Targets};
pub(super) use offsets::{may_commit, may_fetch};
pub use partitions::{Held, Partitions};
pub(super) use patterns::{Resolved, Resolver};
pub use record::{
    ClassicMetadata, ConsumerRecord, CurrentValue, EpochValue, MemberMetadata, MemberState, ResolvedRegex,
    TargetEpochValue,
};
pub(super) use state::State;
pub(super) use timers::{Lapse, Soft};
pub(super) use turns::{Change, Queue, Waiting};

use super::desk::Desk;

/// "The member leaves", as its epoch.
const LEAVES: i32 = -1;
/// "The static member leaves and will come back", as its epoch.
const LEAVES_FOR_A_WHILE: i32 = -2;

/// Why a request is refused, with a sentence for people.
type Refusal = (ErrorCode, String);

/// What makes a group one by the consumer protocol.
#[derive(Debug, Default)]
pub(super) struct Consumer {
    pub state: State,
    pub soft: Soft,
}

/// What decisions about one group work with, beside its state.
struct Turn<'a> {
    group: &'a Arc<str>,
    soft: &'a mut Soft,
    desk: &'a mut Desk,
}
