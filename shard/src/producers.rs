//! What a core tells of the producers that its logs remember.

use std::rc::Rc;

use coordination::producers::ProducerSnapshot;
use model::limits::PRODUCERS_DESCRIBED_MAX;
use model::{ErrorCode, TopicPartition};
use storage::disk::Disk;

use crate::executor;
use crate::ops::ActiveProducer;
use crate::shard::{Fault, Shard};

impl<D: Disk> Shard<D> {
    /// The producers of each partition, none of them twice. A partition whose producers would make the answer too large has
    /// `POLICY_VIOLATION`; the first always has them.
    pub async fn producers(
        self: &Rc<Self>,
        partitions: Vec<TopicPartition>,
    ) -> Vec<Result<Vec<ActiveProducer>, ErrorCode>> {
        let mut count = 0;
        let mut told = Vec::with_capacity(partitions.len());
        for partition in partitions {
            let room = if count == 0 { usize::MAX } else { PRODUCERS_DESCRIBED_MAX.saturating_sub(count) };
            let list = self.producers_of(partition, room).await.unwrap_or_else(|fault| Err(fault.code));
            count += list.as_ref().map_or(0, Vec::len);
            told.push(list);
            executor::yield_if_needed().await;
        }
        told
    }

    /// Who was silent for too long is told until upkeep comes by, as in Kafka: until then its batches are recognised.
    async fn producers_of(
        self: &Rc<Self>,
        partition: TopicPartition,
        room: usize,
    ) -> Result<Result<Vec<ActiveProducer>, ErrorCode>, Fault> {
        let log = self.loaded(partition).await?;
        let known = log.with_derived(|state| {
            let fits = state.producers.len() <= room;
            fits.then(|| state.producers.snapshot().iter().map(active).collect())
        });
        Ok(known.unwrap_or_else(|| Some(Vec::new())).ok_or(ErrorCode::PolicyViolation))
    }
}

fn active(known: &ProducerSnapshot) -> ActiveProducer {
    ActiveProducer {
        producer: known.producer,
        epoch: known.epoch,
        last_sequence: known.batches.last().map_or(-1, |batch| batch.last_sequence),
        last_timestamp: known.last_timestamp,
    }
}
