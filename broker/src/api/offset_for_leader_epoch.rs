//! OffsetForLeaderEpoch: where an epoch of a partition's leader ended, for clients that check for truncation.
