//! What a log's batches add up to besides the log itself: producers and leader epochs. Storage keeps it in step with
//! the log through appends, snapshots, truncation and recovery; what it means is the caller's.

use model::batch::Header;
use model::{LeaderEpoch, Offset};

/// State derived from batch headers alone, in log order.
pub trait Derived: 'static {
    /// The state of an empty log.
    fn empty() -> Self;
    /// Becomes what `snapshot` says.
    fn restore(&mut self, snapshot: &DerivedSnapshot);
    /// One more batch, stored at `base` under `epoch`. Its own header may still hold the client's offset and no epoch.
    fn observe(&mut self, batch: &Header<'_>, base: Offset, epoch: LeaderEpoch);
    /// Everything up to now.
    fn snapshot(&self) -> DerivedSnapshot;
}

/// A [`Derived`] at one offset, at rest in snapshot files.
#[derive(Clone, Debug, Default, PartialEq, Eq, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub struct DerivedSnapshot {
    /// (leader epoch, first offset written under it), both growing.
    pub epochs: Vec<(i32, i64)>,
    /// Producers with live idempotence state.
    pub producers: Vec<ProducerSnapshot>,
}

/// One producer's idempotence state.
#[derive(Clone, Debug, PartialEq, Eq, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub struct ProducerSnapshot {
    /// Producer id.
    pub id: i64,
    /// Producer epoch.
    pub epoch: i16,
    /// Largest timestamp of its newest batch, Unix ms: what expiry goes by.
    pub last_timestamp_ms: i64,
    /// Its newest batches, oldest first, at most [`model::limits::PRODUCER_BATCHES`].
    pub batches: Vec<ProducerBatch>,
}

/// One remembered batch of a producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub struct ProducerBatch {
    /// Sequence of its first record.
    pub first_sequence: i32,
    /// Sequence of its last record.
    pub last_sequence: i32,
    /// Offset of its first record.
    pub base_offset: i64,
    /// Offset of its last record.
    pub last_offset: i64,
}

/// Only epochs: enough for tools and tests that have no producers.
#[derive(Default)]
pub struct EpochsOnly {
    epochs: Vec<(i32, i64)>,
}

impl Derived for EpochsOnly {
    fn empty() -> Self {
        Self::default()
    }

    fn restore(&mut self, snapshot: &DerivedSnapshot) {
        self.epochs.clone_from(&snapshot.epochs);
    }

    fn observe(&mut self, _batch: &Header<'_>, base: Offset, epoch: LeaderEpoch) {
        if self.epochs.last().is_none_or(|last| last.0 < epoch.0) {
            self.epochs.push((epoch.0, base.0));
        }
    }

    fn snapshot(&self) -> DerivedSnapshot {
        DerivedSnapshot { epochs: self.epochs.clone(), producers: Vec::new() }
    }
}
