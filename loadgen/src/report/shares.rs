//! What share consumers were given, and what they said of it.

use serde::{Deserialize, Serialize};

/// Counts of records. What comes again counts again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shares {
    /// Acquired.
    pub acquired: u64,
    /// Of those: with a delivery count above 1.
    pub redelivered: u64,
    /// Accepted, which the broker has confirmed.
    pub accepted: u64,
    /// Released, which the broker has confirmed.
    pub released: u64,
    /// Rejected, which the broker has confirmed.
    pub rejected: u64,
}

impl Shares {
    /// Adds others.
    pub fn add(&mut self, other: &Shares) {
        self.acquired += other.acquired;
        self.redelivered += other.redelivered;
        self.accepted += other.accepted;
        self.released += other.released;
        self.rejected += other.rejected;
    }

    /// Whatever was said of them, if the broker has confirmed it.
    pub fn acknowledged(&self) -> u64 {
        self.accepted + self.released + self.rejected
    }

    /// Whether there were no share consumers, or nothing for them.
    pub fn is_none(&self) -> bool {
        *self == Shares::default()
    }

    /// What there is to tell in a table, beside what was acquired.
    pub fn rows(&self) -> Vec<(&'static str, u64)> {
        let all = [
            ("redelivered", self.redelivered),
            ("acknowledged", self.acknowledged()),
            ("released", self.released),
            ("rejected", self.rejected),
        ];
        all.into_iter().filter(|(_, records)| *records > 0).collect()
    }
}
