//! Letting go of old records: by time, by size, on request. The new log start is durable first; files go after that.

use std::io;
use std::rc::Rc;

use model::Offset;

use crate::derived::Derived;
use crate::disk::Disk;
use crate::log::{Loaded, Phase};
use crate::segment::{FIRST_POSITION, SegmentName};
use crate::store::{LogRef, Store, StoreError};

impl<D: Disk, S: Derived> Store<D, S> {
    /// Applies `retention.ms` and `retention.bytes` to a loaded log, and rolls an active segment that is wholly expired, so that
    /// it can go too, as Kafka does. Without `delete` in its policy only what is before the log start goes. Returns how many segments went.
    pub async fn retain(self: &Rc<Self>, log: &LogRef<D, S>, now_ms: i64) -> Result<usize, StoreError> {
        if log.phase.get() != Phase::Loaded {
            return Ok(0);
        }
        if let Some(to) = self.retained_from(log, now_ms) {
            self.set_log_start(log, to).await?;
        }
        self.trim(log)
            .await
            .map_err(|error| StoreError::Damaged(format!("removing old segments of {}: {error}", log.id)))
    }

    /// Where a log begins from now on, as time and size have it; rolls an active segment that is wholly expired.
    fn retained_from(&self, log: &LogRef<D, S>, now_ms: i64) -> Option<Offset> {
        let mut loaded = log.loaded.borrow_mut();
        let loaded = loaded.as_mut().filter(|loaded| loaded.settings.delete_retained)?;
        let durable = log.durable_end();
        let all_expired = loaded.expired(now_ms) == loaded.segments.len();
        if all_expired
            && loaded.end == durable
            && loaded.segments.back().is_some_and(|s| s.size > FIRST_POSITION)
        {
            self.roll(log, loaded);
        }
        let gone = loaded.expired(now_ms).max(loaded.oversized()).min(loaded.segments.len() - 1);
        loaded.segments.get(gone).map(|segment| segment.base).filter(|to| *to <= durable)
    }

    /// Removes the segments that lie wholly before the log start.
    pub async fn trim(self: &Rc<Self>, log: &LogRef<D, S>) -> io::Result<usize> {
        let start = log.log_start();
        if log.replacing.get() {
            return Ok(0); // They go next time.
        }
        let doomed: Vec<SegmentName> = {
            let mut loaded = log.loaded.borrow_mut();
            let Some(loaded) = loaded.as_mut() else { return Ok(0) };
            let mut doomed = Vec::new();
            // A segment goes once it is written whole: its entries in the journal must have somewhere to be replayed to.
            while let Some(next) = loaded.segments.get(1)
                && next.base <= start
                && loaded.synced.segment >= next.base
                && loaded.pending.front().is_none_or(|_| loaded.handled_past(next.base))
            {
                if let Some(segment) = loaded.segments.pop_front() {
                    doomed.push(segment.name());
                }
            }
            let mut rest = log.at_rest.get();
            loaded.describe(&mut rest);
            log.at_rest.set(rest);
            doomed
        };
        if doomed.is_empty() {
            return Ok(0);
        }
        // A checkpoint that no longer needs them comes before they go: a missing segment is damage.
        self.checkpoint(None).await?;
        for name in &doomed {
            self.files.remove((log.id, *name)).await?;
            if log.at_rest.get().snapshot != Some(name.base) {
                self.disk.remove_file(&self.paths.snapshot(log.id, name.base)).await?;
            }
        }
        Ok(doomed.len())
    }
}

impl<D: Disk, S: Derived> Loaded<D, S> {
    /// How many of the oldest segments have expired.
    fn expired(&self, now_ms: i64) -> usize {
        let keep = self.settings.retention_ms;
        if keep < 0 {
            return 0;
        }
        let old = |segment: &crate::log::Segment| {
            segment.max_timestamp_ms >= 0 && now_ms.saturating_sub(segment.max_timestamp_ms) > keep
        };
        self.segments.iter().take_while(|segment| old(segment)).count()
    }

    /// How many of the oldest segments could go with at least `retention.bytes` left.
    fn oversized(&self) -> usize {
        let Ok(keep) = u64::try_from(self.settings.retention_bytes) else { return 0 };
        let mut over = self.size_bytes().saturating_sub(keep);
        let mut count = 0;
        for segment in &self.segments {
            let bytes = segment.size - FIRST_POSITION;
            if over < bytes || over == 0 {
                break;
            }
            over -= bytes;
            count += 1;
        }
        count
    }

    /// Whether every pending entry belongs to the segment at `base` or later ones.
    pub fn handled_past(&self, base: Offset) -> bool {
        self.pending.iter().all(|pending| match &pending.kind {
            crate::log::PendingKind::Bytes { until, .. } => until.segment >= base,
            crate::log::PendingKind::Roll { segment, .. } => *segment > base,
            _ => true,
        })
    }
}
