//! What a core keeps in step with each log: its idempotent producers and the lineage of its leader epochs.

use coordination::epochs::{EpochStart, Epochs};
use coordination::producers::{BatchFacts, BatchMemo, ProducerSnapshot, Producers};
use model::batch::Header;
use model::{LeaderEpoch, Offset, OffsetDelta, ProducerEpoch, ProducerId, TimestampMs};
use storage::derived::{Derived, DerivedSnapshot, ProducerBatch};

/// State derived from one partition's batches.
#[derive(Debug, Default)]
pub struct PartitionState {
    /// Who wrote with sequences.
    pub producers: Producers,
    /// Which epoch began where.
    pub epochs: Epochs,
}

/// What the producers' check needs of a batch; none when its producer is not idempotent.
#[must_use]
pub fn batch_facts(batch: &Header<'_>) -> Option<BatchFacts> {
    (batch.has_producer_id() && !batch.is_control()).then(|| BatchFacts {
        producer: batch.producer_id(),
        epoch: batch.producer_epoch(),
        first_sequence: batch.base_sequence(),
        last_sequence: batch.last_sequence(),
        max_timestamp: batch.max_timestamp(),
    })
}

impl Derived for PartitionState {
    fn empty() -> Self {
        Self::default()
    }

    fn restore(&mut self, snapshot: &DerivedSnapshot) {
        let epochs = snapshot.epochs.iter();
        let starts =
            epochs.map(|(epoch, start)| EpochStart { epoch: LeaderEpoch(*epoch), start: Offset(*start) });
        self.epochs = Epochs::from_starts(starts);
        let producers = snapshot.producers.iter().map(|kept| ProducerSnapshot {
            producer: ProducerId(kept.id),
            epoch: ProducerEpoch(kept.epoch),
            last_timestamp: TimestampMs(kept.last_timestamp_ms),
            batches: kept.batches.iter().map(|batch| memo(batch, kept.last_timestamp_ms)).collect(),
        });
        self.producers = Producers::from_snapshot(producers.collect());
    }

    fn observe(&mut self, batch: &Header<'_>, base: Offset, epoch: LeaderEpoch) {
        if self.epochs.latest() < epoch {
            self.epochs.assign(epoch, base);
        }
        if let Some(facts) = batch_facts(batch) {
            let last = base + OffsetDelta(i64::from(batch.last_offset_delta()));
            self.producers.appended(&facts, base, last);
        }
    }

    fn snapshot(&self) -> DerivedSnapshot {
        let producers =
            self.producers.snapshot().into_iter().map(|kept| storage::derived::ProducerSnapshot {
                id: kept.producer.0,
                epoch: kept.epoch.0,
                last_timestamp_ms: kept.last_timestamp.0,
                batches: kept.batches.iter().map(stored).collect(),
            });
        DerivedSnapshot {
            epochs: self.epochs.starts().iter().map(|entry| (entry.epoch.0, entry.start.0)).collect(),
            producers: producers.collect(),
        }
    }
}

fn memo(batch: &ProducerBatch, timestamp_ms: i64) -> BatchMemo {
    BatchMemo {
        first_sequence: batch.first_sequence,
        last_sequence: batch.last_sequence,
        base_offset: Offset(batch.base_offset),
        last_offset: Offset(batch.last_offset),
        timestamp: TimestampMs(timestamp_ms),
    }
}

fn stored(memo: &BatchMemo) -> ProducerBatch {
    ProducerBatch {
        first_sequence: memo.first_sequence,
        last_sequence: memo.last_sequence,
        base_offset: memo.base_offset.0,
        last_offset: memo.last_offset.0,
    }
}
