//! ListOffsets: where a partition begins, where it ends, and which record was the first at or after a time.
