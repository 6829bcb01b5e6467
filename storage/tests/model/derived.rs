//! Derived state as simple as it can be: epochs and the newest batches of each producer, folded over headers in log order.

use model::batch::Header;
use model::limits::PRODUCER_BATCHES;
use model::{LeaderEpoch, Offset};
use storage::derived::{Derived, DerivedSnapshot, ProducerBatch, ProducerSnapshot};

#[derive(Default)]
pub struct Tally(DerivedSnapshot);

impl Derived for Tally {
    fn empty() -> Self {
        Self::default()
    }

    fn restore(&mut self, snapshot: &DerivedSnapshot) {
        self.0.clone_from(snapshot);
    }

    fn observe(&mut self, batch: &Header<'_>, base: Offset, epoch: LeaderEpoch) {
        if self.0.epochs.last().is_none_or(|last| last.0 < epoch.0) {
            self.0.epochs.push((epoch.0, base.0));
        }
        if !batch.has_producer_id() {
            return;
        }
        let id = batch.producer_id().0;
        let producers = &mut self.0.producers;
        let at = producers.partition_point(|known| known.id < id);
        if producers.get(at).is_none_or(|known| known.id != id) {
            let epoch = batch.producer_epoch().0;
            producers.insert(at, ProducerSnapshot { id, epoch, last_timestamp_ms: -1, batches: Vec::new() });
        }
        let known = &mut producers[at];
        known.epoch = batch.producer_epoch().0;
        known.last_timestamp_ms = batch.max_timestamp().0;
        known.batches.push(ProducerBatch {
            first_sequence: batch.base_sequence(),
            last_sequence: batch.last_sequence(),
            base_offset: base.0,
            last_offset: base.0 + i64::from(batch.last_offset_delta()),
        });
        if known.batches.len() > PRODUCER_BATCHES {
            known.batches.remove(0);
        }
    }

    fn snapshot(&self) -> DerivedSnapshot {
        self.0.clone()
    }
}
