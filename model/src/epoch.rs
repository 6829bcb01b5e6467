//! Epochs: numbers that only grow, by which a late actor is told from the present one.

use std::fmt;

/// The reign of one leader over one partition, as on the wire; -1 is "none".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LeaderEpoch(pub i32);

impl LeaderEpoch {
    /// Kafka's "unknown leader epoch".
    pub const NONE: Self = Self(-1);
}

impl fmt::Display for LeaderEpoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The incarnation of one producer id, as on the wire; -1 is "none".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ProducerEpoch(pub i16);

impl ProducerEpoch {
    /// Not an idempotent producer.
    pub const NONE: Self = Self(-1);
}

/// Which shard of which boot writes a partition: (boot, moves within that boot). Orders journals of different boots.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct OwnershipEpoch {
    /// Number of this start of the broker, from the durable boot record.
    pub boot: u32,
    /// Live moves of the partition between cores within that boot.
    pub moves: u32,
}
