//! Journal, segments, indexes, cache and recovery of one shard's partitions.
//!
//! [`recovery::recover`] brings every log to rest after a start; [`Store`] then takes appends and serves reads.

mod append;
mod append_large;
mod arrival;
mod bytes_at;
mod cache;
pub mod checkpoint;
mod compaction;
mod compress;
pub mod coordinator_snapshot;
pub mod decompress;
mod delete;
pub mod derived;
pub mod disk;
pub mod dump;
mod extent;
mod files;
mod files_behind;
mod flusher;
mod index;
pub mod journal;
mod load;
mod log;
pub mod metadata_log;
pub mod paths;
pub mod pool;
mod read;
mod rebuild;
mod reclaim;
pub mod recompress;
mod records;
pub mod recovery;
mod retention;
mod scan;
mod sealed_file;
pub mod segment;
mod segment_write;
pub mod signal;
pub mod snapshot;
mod space;
pub mod stamps;
mod store;
mod tidy;
mod truncate;

pub use append::Placed;
pub use compaction::{Compacted, CompactionLimits, KeyCheck};
pub use log::{CompactionSettings, Log, LogSettings};
pub use read::{Piece, ReadLimits};
pub use store::{Listener, LogRef, Store, StoreCounters, StoreError, StoreOptions};
