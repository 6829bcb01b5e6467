//! Share groups (KIP-932): many members take records of the same partitions, each record for a while and for itself.
//!
//! * A [`SharePartition`] says who holds which record of one partition for one group, and what becomes of it.
//! * [`state`] is what a start needs of that, [`record`] how it is written to `__share_group_state`, and [`store`] who
//!   writes it.
//! * [`session`] is what the broker remembers of a member's requests.
//! * [`membership`] is who is in a group, and which partitions each member takes records from.
//!
//! The behaviour is that of Apache Kafka 4.3.1; the isolation level is left to the reader of the log.

mod acknowledge;
mod acquire;
mod held;
pub mod limits;
mod locks;
pub mod membership;
mod partition;
pub mod record;
pub mod reset;
pub mod session;
mod settings;
pub mod state;
pub mod store;
#[cfg(test)]
mod testing;
mod window;

pub use acknowledge::{AckBatch, AckType};
pub use acquire::{Acquire, AcquireMode, Acquired, LogBatch};
pub use held::{Held, HeldState};
pub use partition::{SharePartition, StateWrite, refused};
pub use settings::ShareSettings;
