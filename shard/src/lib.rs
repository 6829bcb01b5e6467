//! One core: what it owns, the mesh between cores and the driver.

mod answers;
pub mod clock;
mod compactor;
mod coordinator;
pub mod counters;
pub mod executor;
mod fetch;
pub mod janitor;
pub mod lending;
mod lookup;
pub mod mesh;
pub mod metadata;
pub mod ops;
mod produce;
mod producers;
mod pulse;
pub mod route;
pub mod shard;
mod shares;
pub mod state;
mod upkeep;
