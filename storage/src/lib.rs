//! Journal, segments, indexes, cache and recovery of one shard's partitions.

pub mod disk;
