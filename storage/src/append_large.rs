//! Appends that the journal has no room for: each begins a segment and is written there, a part at a time, before the journal
//! tells of it (EXTENT). No copy of it is kept in memory, and commits of other logs go on meanwhile.

use std::io;
use std::rc::Rc;

use bytes::Bytes;
use model::limits::BLOCK;
use model::{LeaderEpoch, Offset};

use crate::append::{Placed, parse};
use crate::bytes_at::{block_down, len_u64, to_usize};
use crate::derived::Derived;
use crate::disk::{Disk, File};
use crate::flusher::{Tail, WRITE_BYTES};
use crate::journal::entry::LAST;
use crate::journal::extent::Claim;
use crate::journal::plan::{STEP_BYTES, patch};
use crate::journal::{Entry, EntryKind};
use crate::log::Phase;
use crate::pool::Pooled;
use crate::segment::{Cursor, FIRST_POSITION, Header};
use crate::segment_write::is_full;
use crate::store::{LogRef, Store, StoreError};

/// Less has nothing to write straight to a segment.
const BYTES_MIN: usize = 2 * BLOCK;

impl<D: Disk, S: Derived> Store<D, S> {
    /// The same as [`Self::append`] for a batch of any size up to [`MemoryPlan::batch_bytes_max`]. Nobody may append to this log
    /// meanwhile.
    ///
    /// [`MemoryPlan::batch_bytes_max`]: model::limits::MemoryPlan::batch_bytes_max
    pub async fn append_large(
        self: &Rc<Self>,
        log: &LogRef<D, S>,
        batch: Bytes,
        epoch: LeaderEpoch,
        now_ms: i64,
    ) -> Result<Placed, StoreError> {
        let header = parse(&batch)?;
        let limit = self.options.plan.batch_bytes_max();
        if batch.len() as u64 > limit {
            return Err(StoreError::TooLarge { bytes: batch.len(), limit });
        }
        if batch.len() < BYTES_MIN {
            return self.append(log, batch, epoch, now_ms);
        }
        let _in_memory = log.reading();
        let base = self.begin_segment(log).await?;
        let written = self.write_ahead(log, base, epoch, &batch).await;
        let claim = written.map_err(|error| self.give_up(log, base, &error))?;

        if log.phase.get() != Phase::Loaded {
            self.leave(log);
            return Err(StoreError::Deleted);
        }
        let mut loaded = log.loaded.borrow_mut();
        let loaded = loaded.as_mut().ok_or(StoreError::Deleted)?;
        self.prepare(log, loaded, epoch);
        let start = self.entry(log, loaded);
        let marked = loaded.grow(&header, epoch, now_ms, self.options.snapshot_bytes);
        let end = loaded.end;
        // It is there: readers find it as soon as they may see it, and the flusher goes on behind it. Whoever makes room in the journal
        // must not wait for this log, since its entries may be waiting for that room.
        loaded.direct = false;
        loaded.dispatched = Cursor { segment: base, position: claim.to };
        loaded.written = loaded.dispatched;
        loaded.wrote(base);
        self.moved.notify();
        let tail = batch.slice(to_usize(claim.to - FIRST_POSITION)..);
        let flags = if tail.is_empty() { LAST } else { 0 };
        let entry = Entry { leader_epoch: epoch, base_offset: base, end_offset: end, flags, ..start };
        let extent = Entry { kind: EntryKind::Extent, ..entry };
        let mut ticket =
            self.queue_marked(log, extent, claim.write(FIRST_POSITION), marked && tail.is_empty());
        if !tail.is_empty() {
            let rest = Entry { kind: EntryKind::Fragment, flags: LAST, position: claim.to, ..entry };
            ticket = self.queue_marked(log, rest, tail, marked);
        }
        Ok(Placed { base, end, ticket })
    }

    /// Has everything before in segments, or on its way to one, and begins an empty one to which nobody else writes. Returns its base.
    async fn begin_segment(self: &Rc<Self>, log: &LogRef<D, S>) -> Result<Offset, StoreError> {
        let failed = |error: io::Error| match is_full(&error) {
            true => StoreError::DiskFull,
            false => StoreError::Unwritten(format!("beginning a segment of {}: {error}", log.id)),
        };
        loop {
            self.moved.until(|| (log.phase.get() != Phase::Busy).then_some(())).await;
            if self.disk_full.get() || self.is_stalled() {
                return Err(StoreError::DiskFull);
            }
            if log.phase.get() != Phase::Loaded || self.closing.get() {
                return Err(StoreError::Deleted);
            }
            let saved = log.direct_after.get() < self.checkpoints_stored.get();
            {
                let mut loaded = log.loaded.borrow_mut();
                let loaded = loaded.as_mut().ok_or(StoreError::Deleted)?;
                let end = loaded.end_cursor();
                // A truncation into a compacted segment may have left it empty, and the end of the log behind its base.
                if end.position > FIRST_POSITION || loaded.end != end.segment {
                    self.roll(log, loaded);
                } else if saved && loaded.is_quiet() && loaded.committed == end && loaded.dispatched == end {
                    loaded.direct = true;
                    return Ok(end.segment);
                }
            }
            self.durable(self.last_ticket()).await;
            self.write_all_of(log, Tail::Never).await.map_err(failed)?;
            if !saved {
                self.checkpoint(None).await.map_err(failed)?;
            }
        }
    }

    /// Writes the whole blocks of a batch to the empty segment at `base`; durable on return.
    async fn write_ahead(
        &self,
        log: &LogRef<D, S>,
        base: Offset,
        epoch: LeaderEpoch,
        batch: &[u8],
    ) -> io::Result<Claim> {
        let to = block_down(FIRST_POSITION + len_u64(batch.len()));
        let (created, reserve, header) = {
            let mut loaded = log.loaded.borrow_mut();
            let segment = loaded.as_mut().and_then(|loaded| loaded.segment_at(base));
            let segment = segment.ok_or(io::ErrorKind::NotFound)?;
            let (incarnation, generation) = (segment.incarnation, segment.generation);
            let header = Header { partition: log.id, base, incarnation, generation };
            (segment.created, segment.reserve(to), header)
        };
        let file = if created {
            self.files.get((log.id, header.name())).await?
        } else {
            self.create_segment(log, header).await?
        };
        if let Some((from, len)) = reserve {
            file.allocate(from, len).await?;
        }
        let mut crc = crc32fast::Hasher::new();
        let mut at = FIRST_POSITION;
        for part in batch[..to_usize(to - FIRST_POSITION)].chunks(to_usize(WRITE_BYTES)) {
            let mut buffer = Pooled::take(&self.pool, part.len());
            for (to, from) in buffer.bytes_mut().chunks_mut(STEP_BYTES).zip(part.chunks(STEP_BYTES)) {
                to.copy_from_slice(from);
                self.disk.yield_now().await;
            }
            if at == FIRST_POSITION {
                patch(base, epoch, buffer.bytes_mut());
            }
            crc.update(buffer.as_ref());
            file.write(buffer.shared(), at).await?;
            at += len_u64(part.len());
        }
        if let Err(error) = file.sync().await {
            let path = self.paths.segment(log.id, header.name());
            self.disk.fatal(&format!("syncing {}", path.display()), &error);
        }
        Ok(Claim { from: FIRST_POSITION, to, crc: crc.finalize() })
    }

    /// Nothing of it counts, since the journal does not tell of it: the producer may try again.
    fn give_up(&self, log: &LogRef<D, S>, base: Offset, error: &io::Error) -> StoreError {
        self.leave(log);
        if log.is_deleted() {
            return StoreError::Deleted;
        }
        self.count(|counters| counters.segment_write_errors += 1);
        let path = self.paths.segment(log.id, log.name_of(base));
        if is_full(error) {
            self.refuse_appends(&path, FIRST_POSITION, error);
            return StoreError::DiskFull;
        }
        StoreError::Unwritten(format!("writing {}: {error}", path.display()))
    }

    fn leave(&self, log: &LogRef<D, S>) {
        if let Some(loaded) = log.loaded.borrow_mut().as_mut() {
            loaded.direct = false;
        }
        self.moved.notify();
    }
}
