//! Offsets of records in one partition's log, and the differences between them.

use std::fmt;
use std::ops::{Add, AddAssign, Sub};

/// The position of a record in its partition's log, counted in records from 0.
///
/// An end offset (log end, high watermark, last stable offset) is the offset *after* the last record it covers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Offset(pub i64);

/// A number of records: the difference between two offsets of one log.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct OffsetDelta(pub i64);

impl Offset {
    /// The first offset of every log.
    pub const ZERO: Self = Self(0);
    /// Kafka's "no offset" on the wire.
    pub const NONE: Self = Self(-1);

    /// The offset after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Add<OffsetDelta> for Offset {
    type Output = Self;
    fn add(self, delta: OffsetDelta) -> Self {
        Self(self.0 + delta.0)
    }
}

impl AddAssign<OffsetDelta> for Offset {
    fn add_assign(&mut self, delta: OffsetDelta) {
        self.0 += delta.0;
    }
}

impl Sub for Offset {
    type Output = OffsetDelta;
    fn sub(self, earlier: Self) -> OffsetDelta {
        OffsetDelta(self.0 - earlier.0)
    }
}
