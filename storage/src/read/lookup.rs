//! What else a log is asked than its next batches: where a time stands, and what there is.

use model::batch::Header as BatchHeader;
use model::{Offset, TimestampMs};

use super::{Extent, PROBE_BYTES, Piece, ReadLimits};
use crate::derived::Derived;
use crate::disk::Disk;
use crate::log::Phase;
use crate::store::{LogRef, Store, StoreError};

impl<D: Disk, S: Derived> Store<D, S> {
    /// The first batch at or after `from` that may hold a record at or after `time`, whole: its records tell which one.
    pub async fn batch_for_time(
        &self,
        log: &LogRef<D, S>,
        time: TimestampMs,
    ) -> Result<Option<Piece>, StoreError> {
        loop {
            let replaced = log.replaced.get();
            let found = self.find_batch_for_time(log, time).await;
            if found.is_ok() || log.replaced.get() == replaced {
                return self.noting_damage(found);
            }
        }
    }

    async fn find_batch_for_time(
        &self,
        log: &LogRef<D, S>,
        time: TimestampMs,
    ) -> Result<Option<Piece>, StoreError> {
        let _reading = log.reading();
        let start = log.log_start();
        let bases: Vec<Offset> = {
            let loaded = log.loaded.borrow();
            let loaded = loaded.as_ref().ok_or(StoreError::Deleted)?;
            let first = loaded.segment_of(start);
            let late =
                loaded.segments.iter().skip(first).filter(|segment| segment.max_timestamp_ms >= time.0);
            late.map(|segment| segment.base).collect()
        };
        for base in bases {
            self.ensure_index(log, base).await?;
            let extent = self.extent(log, base, |index| index.position_for_time(time))?;
            // Compaction leaves batches without records, with the time of those that are gone.
            let matches = |batch: &BatchHeader<'_>| {
                batch.max_timestamp() >= time && batch.last_offset() >= start && batch.record_count() > 0
            };
            if let Some(at) = self.find(log, extent, matches).await? {
                let extent = Extent { from: at, base_offset: None, ..extent };
                let first = self.bytes(log, extent, at, PROBE_BYTES.min(extent.to - at)).await?;
                let limits = ReadLimits { before: log.durable_end(), ..ReadLimits::bytes(1) };
                let (pieces, _) = self.batches_in(log, extent, first, limits).await?;
                return Ok(pieces.into_iter().next());
            }
        }
        Ok(None)
    }

    /// The largest timestamp of the log; `None` when it is empty.
    pub fn max_timestamp(&self, log: &LogRef<D, S>) -> Option<TimestampMs> {
        let loaded = log.loaded.borrow();
        let loaded = loaded.as_ref()?;
        let largest = loaded.segments.iter().map(|segment| segment.max_timestamp_ms).max()?;
        (largest >= 0 && log.durable_end() > log.log_start()).then_some(TimestampMs(largest))
    }

    /// Segments, oldest first: (base offset, bytes, largest timestamp).
    pub fn segments(&self, log: &LogRef<D, S>) -> Vec<(Offset, u64, TimestampMs)> {
        let loaded = log.loaded.borrow();
        let facts = |s: &crate::log::Segment| (s.base, s.size, TimestampMs(s.max_timestamp_ms));
        loaded.as_ref().map(|loaded| loaded.segments.iter().map(facts).collect()).unwrap_or_default()
    }

    /// Whether the log may be read and written.
    pub fn usable(&self, log: &LogRef<D, S>) -> bool {
        log.phase.get() == Phase::Loaded
    }
}
