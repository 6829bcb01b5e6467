//! The journal: one per shard and boot. Appends of all the shard's partitions go into one commit; an answer waits for it.
//!
//! [`commit`] gathers and writes, [`extent`] says what goes around it, [`ring`] hands out places in recycled files, [`replay`] reads back after a start.

pub mod commit;
pub mod entry;
pub mod extent;
pub mod frame;
mod group;
pub(crate) mod plan;
pub mod replay;
pub mod ring;

pub use commit::{Committed, Journal, Lsn, Queued};
pub use entry::{Entry, EntryKind};
pub use frame::JournalId;
pub use group::Group;
