//! Questions about offsets: by time, by epoch, and where a log begins.

use std::io;
use std::rc::Rc;

use model::batch::{Compression, RecordBatch};
use model::limits::DECOMPRESSED_BYTES_MAX;
use model::{ErrorCode, LeaderEpoch, Offset, TimestampMs, TopicPartition};
use storage::decompress::WINDOW_BYTES_MAX;
use storage::disk::Disk;
use storage::stamps::{Search, Step, Wanted};
use storage::{Piece, StoreError};

use crate::ops::{
    DeleteRecords, EpochEnd, EpochQuery, ListOffset, ListedOffset, OffsetQuery, RecordsDeleted,
};
use crate::shard::{Fault, PartitionLog, Shard, fault};

/// An offset with its time and epoch.
type Found = (Offset, TimestampMs, LeaderEpoch);
const NOTHING: Found = (Offset::NONE, TimestampMs::NONE, LeaderEpoch::NONE);

impl<D: Disk> Shard<D> {
    /// Looks up one offset per partition.
    pub async fn list_offsets(self: &Rc<Self>, queries: Vec<ListOffset>) -> Vec<ListedOffset> {
        let mut listed = Vec::with_capacity(queries.len());
        for query in queries {
            let found = self.list_offset(&query).await;
            let ((offset, timestamp, leader_epoch), error) = match found {
                Ok(found) => (found, ErrorCode::None),
                Err(fault) => (NOTHING, fault.code),
            };
            listed.push(ListedOffset { error, offset, timestamp, leader_epoch });
        }
        listed
    }

    async fn list_offset(self: &Rc<Self>, query: &ListOffset) -> Result<Found, Fault> {
        let log = self.loaded(query.partition).await?;
        let leader = self.leader(&log);
        let told = |code: ErrorCode| Fault { code, message: String::new() };
        leader.check_epoch(query.current_leader_epoch).map_err(told)?;
        let (start, end) = (leader.log_start(), leader.high_watermark());
        // The leader's epoch begins where the log ended when it took over, whether it wrote since or not (as in Kafka).
        let epoch_at = |offset| match log.with_derived(|state| state.epochs.epoch_at(offset)) {
            Some(epoch) if epoch != LeaderEpoch::NONE && offset < end => epoch,
            _ => leader.epoch(),
        };
        match query.query {
            OffsetQuery::Latest => Ok((end, TimestampMs::NONE, leader.epoch())),
            OffsetQuery::Earliest | OffsetQuery::EarliestLocal => {
                Ok((start, TimestampMs::NONE, epoch_at(start)))
            }
            OffsetQuery::LatestTiered => Ok(NOTHING),
            OffsetQuery::At(time) => self.at_time(&log, time, end).await,
            OffsetQuery::MaxTimestamp => match self.store.max_timestamp(&log) {
                Some(time) => self.at_time(&log, time, end).await,
                None => Ok(NOTHING),
            },
        }
    }

    /// The first record at or after `time` that lies before `end`.
    async fn at_time(
        self: &Rc<Self>,
        log: &PartitionLog<D>,
        time: TimestampMs,
        end: Offset,
    ) -> Result<Found, Fault> {
        // One at a time, and each in turn: a batch is held while it is looked through, and there may be a thousand questions.
        let _turn = self.lookups.turn().await;
        let _loan = self.borrow_memory(self.most_at_once(log.id, 0) + WINDOW_BYTES_MAX).await;
        let piece = self.store.batch_for_time(log, time).await.map_err(|error| fault(log.id, &error))?;
        let Some(piece) = piece else { return Ok(NOTHING) };
        let found = self.record_in(log, piece, time).await?;
        Ok(found.filter(|(offset, ..)| *offset < end).unwrap_or(NOTHING))
    }

    async fn record_in(
        &self,
        log: &PartitionLog<D>,
        piece: Piece,
        time: TimestampMs,
    ) -> Result<Option<Found>, Fault> {
        let damaged = |what: String| fault(log.id, &StoreError::Damaged(what));
        let (batch, _) = RecordBatch::parse(piece.bytes()).map_err(|error| damaged(error.to_string()))?;
        let compression = batch.compression().map_err(|error| damaged(error.to_string()))?;
        let epoch = batch.leader_epoch();
        if compression == Compression::None {
            return plain_record_in(&batch, time, log.log_start());
        }
        let wanted = Wanted::new(&batch, time, log.log_start());
        let (payload, count) = (batch.payload().to_vec(), batch.record_count());
        drop(piece);
        let found = search(compression, payload, count, wanted).await.map_err(corrupt)?;
        Ok(found.map(|(offset, stamp)| (offset, stamp, epoch)))
    }

    /// Where leader epochs end, one per partition.
    pub async fn epoch_ends(self: &Rc<Self>, queries: Vec<EpochQuery>) -> Vec<EpochEnd> {
        let mut ends = Vec::with_capacity(queries.len());
        for query in queries {
            ends.push(self.epoch_end(&query).await.unwrap_or_else(|fault| EpochEnd {
                error: fault.code,
                epoch: LeaderEpoch::NONE,
                end: Offset::NONE,
            }));
        }
        ends
    }

    async fn epoch_end(self: &Rc<Self>, query: &EpochQuery) -> Result<EpochEnd, Fault> {
        let log = self.loaded(query.partition).await?;
        let leader = self.leader(&log);
        let told = |code: ErrorCode| Fault { code, message: String::new() };
        leader.check_epoch(query.current_leader_epoch).map_err(told)?;
        let end = log.durable_end();
        let found = log.with_derived(|state| state.epochs.end_offset_led(query.epoch, leader.epoch(), end));
        let (epoch, end) = found.unwrap_or((LeaderEpoch::NONE, Offset::NONE));
        Ok(EpochEnd { error: ErrorCode::None, epoch, end })
    }

    /// Moves log starts, one per partition; durable when it returns.
    pub async fn delete_records(self: &Rc<Self>, requests: Vec<DeleteRecords>) -> Vec<RecordsDeleted> {
        let mut deleted = Vec::with_capacity(requests.len());
        for request in requests {
            let low = self.delete_before(request.partition, request.before).await;
            deleted.push(match low {
                Ok(low_watermark) => RecordsDeleted { error: ErrorCode::None, low_watermark },
                Err(fault) => RecordsDeleted { error: fault.code, low_watermark: Offset::NONE },
            });
        }
        deleted
    }

    async fn delete_before(self: &Rc<Self>, id: TopicPartition, before: Offset) -> Result<Offset, Fault> {
        let log = self.loaded(id).await?;
        let (_, settings) = self.known(id)?;
        if settings.compaction.is_some() && !settings.delete_retained {
            let message = "records of a topic that is only compacted are not deleted".to_owned();
            return Err(Fault { code: ErrorCode::PolicyViolation, message });
        }
        let before = if before == Offset::NONE { log.durable_end() } else { before };
        if before.0 < 0 {
            return Err(fault(id, &StoreError::OutOfRange));
        }
        self.store.set_log_start(&log, before).await.map_err(|error| fault(id, &error))?;
        self.disturb(id);
        let (store, trimmed) = (Rc::clone(&self.store), Rc::clone(&log));
        self.disk.spawn(async move {
            if let Err(error) = store.trim(&trimmed).await {
                tracing::warn!(partition = %trimmed.id, %error, "removing old segments failed; retention tries again");
            }
        });
        Ok(log.log_start())
    }
}

/// The first record at or after `time` of a batch that is not compressed.
fn plain_record_in(
    batch: &RecordBatch<'_>,
    time: TimestampMs,
    start: Offset,
) -> Result<Option<Found>, Fault> {
    for record in batch.records() {
        let record = record.map_err(corrupt)?;
        let (offset, stamp) = (record.offset(batch), record.timestamp(batch));
        if stamp >= time && offset >= start {
            return Ok(Some((offset, stamp, batch.leader_epoch())));
        }
    }
    Ok(None)
}

/// The same of one that is, step by step on a thread where it may take its time.
async fn search(
    compression: Compression,
    payload: Vec<u8>,
    count: i32,
    wanted: Wanted,
) -> io::Result<Option<(Offset, TimestampMs)>> {
    let records = storage::decompress::reader(compression, payload, DECOMPRESSED_BYTES_MAX)?;
    let mut search = Search::new(records, count, wanted);
    loop {
        let step;
        (search, step) = crate::executor::blocking(move || {
            let step = search.step();
            (search, step)
        })
        .await;
        match step? {
            Step::Found(offset, stamp) => return Ok(Some((offset, stamp))),
            Step::None => return Ok(None),
            Step::More => {}
        }
    }
}

fn corrupt(error: impl std::fmt::Display) -> Fault {
    Fault { code: ErrorCode::CorruptMessage, message: error.to_string() }
}
