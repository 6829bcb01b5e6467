//! What a coordinator starts from: its snapshot and the log behind it; and when the next snapshot is written.

use std::rc::Rc;

use model::batch::{Compression, Header, RecordBatch};
use model::{ErrorCode, Offset, TopicPartition};
use storage::ReadLimits;
use storage::coordinator_snapshot::CoordinatorSnapshot;
use storage::disk::Disk;

use super::Seat;
use super::seated::Seated;
use crate::shard::{Fault, Shard};

/// Bytes of one read while a coordinator loads.
const LOAD_BYTES: usize = 1 << 20;
/// A snapshot is written when the log has grown by this much: what a start replays at most, or nearly.
const SNAPSHOT_AFTER_BYTES: u64 = 8 << 20;

impl<D: Disk> Shard<D> {
    /// Reads what the partition says into the machine. Returns how many records that were.
    pub(super) async fn read_in<M: Seated>(self: &Rc<Self>, seat: &Rc<Seat<M>>) -> Result<u64, Fault> {
        let log = self.loaded(seat.id).await?;
        let mut count = 0;
        let mut next = log.log_start();
        // What a snapshot has and its log deletes must still be said by a tombstone behind it.
        if let Some(snapshot) = self.read_snapshot(seat.id).await
            && (next.max(log.thinned_to())..=log.durable_end()).contains(&snapshot.offset)
        {
            next = snapshot.offset;
            for (key, value) in &snapshot.records {
                replay(seat, key, Some(value), None);
                count += 1;
            }
        }
        while next < log.durable_end() {
            let read = self.store.read(&log, next, ReadLimits::bytes(LOAD_BYTES)).await;
            let pieces = read.map_err(|error| crate::shard::fault(seat.id, &error))?;
            let from = next;
            for piece in &pieces {
                for batch in RecordBatch::all_in(piece.bytes()) {
                    let batch = batch.map_err(|error| Fault {
                        code: ErrorCode::KafkaStorageError,
                        message: error.to_string(),
                    })?;
                    count += replay_batch(seat, &batch, next);
                    next = Offset(batch.last_offset().0 + 1);
                }
            }
            if next == from {
                break;
            }
            seat.grown
                .set(seat.grown.get() + pieces.iter().map(|piece| piece.bytes().len() as u64).sum::<u64>());
            self.disk.yield_now().await;
        }
        seat.replayed.set(next);
        Ok(count)
    }

    async fn read_snapshot(&self, id: TopicPartition) -> Option<CoordinatorSnapshot> {
        match self.store.coordinator_snapshot(id).await {
            Ok(snapshot) => snapshot,
            Err(error) => {
                tracing::warn!(partition = %id, error, "a coordinator's snapshot cannot be read; its whole log is");
                None
            }
        }
    }

    /// Compaction has been over this log: until there is a new snapshot of its coordinator, if it has one, a start reads all of it.
    pub(crate) fn snapshot_soon(&self, id: TopicPartition) {
        if let Some(seat) = self.coordinators.seats.borrow().get(&id) {
            seat.grown.set(SNAPSHOT_AFTER_BYTES);
        }
    }

    pub(super) fn snapshot_if_due<M: Seated>(self: &Rc<Self>, seat: &Rc<Seat<M>>) {
        if seat.grown.get() < SNAPSHOT_AFTER_BYTES || seat.snapshotting.replace(true) {
            return;
        }
        seat.grown.set(0);
        let offset = seat.replayed.get();
        let records = seat.machine.borrow().snapshot();
        let (shard, seat) = (Rc::clone(self), Rc::clone(seat));
        self.disk.spawn_behind(async move {
            let mut pairs = Vec::with_capacity(records.len());
            for record in records {
                if let (key, Some(value)) = M::encode(&record) {
                    pairs.push((key, value));
                }
                shard.disk.yield_now().await;
            }
            let snapshot = CoordinatorSnapshot { offset, records: pairs };
            if let Err(error) = shard.store.store_coordinator_snapshot(seat.id, &snapshot).await {
                tracing::warn!(partition = %seat.id, %error, "a coordinator's snapshot cannot be written; its next start reads more of the log");
            }
            seat.snapshotting.set(false);
        });
    }
}

/// Gives the machine the records of a batch, from `from` on. Returns how many that were.
fn replay_batch<M: Seated>(seat: &Seat<M>, batch: &RecordBatch<'_>, from: Offset) -> u64 {
    let header: &Header<'_> = batch;
    if header.is_control() || header.compression() != Ok(Compression::None) {
        tracing::warn!(partition = %seat.id, offset = header.base_offset().0, "a batch that no coordinator wrote is passed over");
        return 0;
    }
    let mut count = 0;
    for one in batch.records() {
        match one {
            Ok(one) if one.offset(header) >= from => {
                if let Some(key) = one.key {
                    replay(seat, key, one.value, Some(one.offset(header)));
                    count += 1;
                }
            }
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(partition = %seat.id, offset = header.base_offset().0, %error, "a record cannot be read");
                break;
            }
        }
    }
    count
}

fn replay<M: Seated>(seat: &Seat<M>, key: &[u8], value: Option<&[u8]>, at: Option<Offset>) {
    match M::decode(key, value) {
        Ok(Ok(record)) => seat.machine.borrow_mut().replay(&record, at),
        Ok(Err(kind)) => {
            tracing::warn!(partition = %seat.id, kind, "a record of a kind that is not known is passed over");
        }
        Err(error) => {
            tracing::error!(partition = %seat.id, %error, "a record of a {} is malformed and passed over", M::NAME);
        }
    }
}
