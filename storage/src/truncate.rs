//! Cutting off the end of a log, when a new leader's log leaves ours there. Everything before the cut is brought to rest
//! first, so that the truncation is the only thing the journal still has to say about this log.

use std::io;
use std::rc::Rc;

use bytes::Bytes;
use model::Offset;

use crate::checkpoint::AtRest;
use crate::derived::Derived;
use crate::disk::Disk;
use crate::flusher::Tail;
use crate::journal::entry::file_word;
use crate::journal::{Entry, EntryKind};
use crate::load::Reader;
use crate::log::{Loaded, PendingKind, Phase};
use crate::recovery::Recovering;
use crate::segment::{Cursor, SegmentName};
use crate::segment_write::is_full;
use crate::store::{LogRef, Store, StoreError};

impl<D: Disk, S: Derived> Store<D, S> {
    /// Ends the log at the batch that holds `to`, or at `to`. Durable on return. Nobody may append meanwhile.
    pub async fn truncate(self: &Rc<Self>, log: &LogRef<D, S>, to: Offset) -> Result<Offset, StoreError> {
        self.durable(self.journal.last_ticket()).await;
        // What compaction has replaced is at rest before an entry speaks of it.
        self.moved.until(|| (!log.replacing.get()).then_some(())).await;
        if log.phase.get() != Phase::Loaded {
            return Err(StoreError::Deleted);
        }
        if to >= log.end() {
            return Ok(log.end());
        }
        log.phase.set(Phase::Busy);
        let truncated = self.truncate_alone(log, to).await;
        log.phase.set(Phase::Loaded);
        self.moved.notify();
        truncated
    }

    async fn truncate_alone(self: &Rc<Self>, log: &LogRef<D, S>, to: Offset) -> Result<Offset, StoreError> {
        let failed = |error: io::Error| match is_full(&error) {
            true => StoreError::DiskFull,
            false => StoreError::Damaged(format!("truncating {}: {error}", log.id)),
        };
        self.write_all_of(log, Tail::WhenQuiet).await.map_err(failed)?;
        self.sync_and_settle(std::slice::from_ref(log)).await.map_err(failed)?;
        let (end, at) = self.cut(log, to).await?;
        let incarnation = log.at_rest.get().incarnation + 1;
        let name = log.name_of(at.segment);
        let entry = {
            let loaded = log.loaded.borrow();
            let loaded = loaded.as_ref().ok_or(StoreError::Deleted)?;
            Entry {
                kind: EntryKind::Truncate,
                base_offset: file_word(incarnation, name.generation),
                end_offset: end,
                segment: at.segment,
                position: at.position,
                ..self.entry(log, loaded)
            }
        };
        let ticket = self.queue(log, entry, Bytes::new());
        self.durable(ticket).await;
        self.settling.enter().await;
        let applied = self.apply_truncation(log, end, (name, at.position), incarnation).await;
        self.settling.leave();
        if let Err(error) = applied {
            // The journal says that the log ends there, and memory does not.
            let error = io::Error::other(error.to_string());
            let dir = self.paths.partition(log.id);
            self.disk.fatal(&format!("truncating the log in {} to offset {end}", dir.display()), &error);
        }
        self.moved.notify();
        self.checkpoint(None).await.map_err(failed)?;
        let files = crate::files_behind::files_behind(&self.disk, &self.paths, log.id, at.segment, end)
            .await
            .map_err(failed)?;
        for name in files.segments {
            self.files.remove((log.id, name)).await.map_err(failed)?;
        }
        for path in files.snapshots {
            self.disk.remove_file(&path).await.map_err(failed)?;
        }
        // Before the log grows past where they were.
        let dir = self.paths.partition(log.id);
        if let Err(error) = self.disk.sync_dir(&dir).await
            && !log.is_deleted()
        {
            self.disk.fatal(&format!("syncing directory {}", dir.display()), &error);
        }
        Ok(end)
    }

    /// Where the log is cut: the start of the batch that holds `to`, or `to` where compaction left no such batch.
    async fn cut(&self, log: &LogRef<D, S>, to: Offset) -> Result<(Offset, Cursor), StoreError> {
        let start = log.log_start();
        if to <= start {
            let loaded = log.loaded.borrow();
            let loaded = loaded.as_ref().ok_or(StoreError::Deleted)?;
            let oldest = loaded.segments.front().ok_or(StoreError::OutOfRange)?.base;
            return Ok((oldest, Cursor::start_of(oldest)));
        }
        self.position_of(log, to).await
    }

    async fn apply_truncation(
        &self,
        log: &LogRef<D, S>,
        end: Offset,
        (name, position): (SegmentName, u64),
        incarnation: u32,
    ) -> Result<(), StoreError> {
        let before = log.at_rest.get();
        let at = Cursor { segment: name.base, position };
        let rest = AtRest {
            end,
            segment: name.base,
            position,
            incarnation,
            log_start: before.log_start.min(end),
            segment_generation: name.generation,
            compacted_to: before.compacted_to.min(end),
            snapshot: None,
            ..before
        };
        let reader = Reader { disk: &self.disk, paths: &self.paths, files: &self.files };
        let rebuilt = reader.rebuilt::<S>(log.id, &Recovering::truncated(before, rest)).await?;
        let path = self.paths.snapshot(log.id, rebuilt.snapshot.at());
        let stored = self.disk.replace_file(&path, rebuilt.snapshot.to_file()).await;
        stored.map_err(|error| StoreError::Damaged(format!("{}: {error}", path.display())))?;
        let snapshot = Some(rebuilt.snapshot.at());
        let rest = AtRest { snapshot, segment_incarnation: rebuilt.incarnation, ..rest };
        let base = reader.base::<S>(log.id, &rest).await?;
        let carried = reader.tail_block(log.id, name, position).await?;
        let mut loaded = log.loaded.borrow_mut();
        let loaded: &mut Loaded<D, S> = loaded.as_mut().ok_or(StoreError::Deleted)?;
        let truncate = loaded.pending.back().filter(|last| matches!(last.kind, PendingKind::Truncate));
        let handled = truncate.expect("nothing follows a truncation before it is carried out").lsn;
        loaded.pending.clear();
        loaded.segments = base.segments;
        loaded.derived = base.derived;
        loaded.end = rest.end;
        loaded.incarnation = rest.incarnation;
        loaded.redo_needed = carried.is_some();
        loaded.carried = carried;
        loaded.runs.clear();
        loaded.marks.clear();
        loaded.since_mark = 0;
        loaded.unsynced.clear();
        (loaded.shown, loaded.readable, loaded.committed) = (at, at, at);
        (loaded.dispatched, loaded.written, loaded.synced) = (at, at, at);
        let mut described = AtRest { handled, ..rest };
        loaded.describe(&mut described);
        log.at_rest.set(described);
        log.direct_after.set(self.checkpoint_number.get());
        log.durable_end.set(rest.end);
        log.log_start.set(rest.log_start);
        Ok(())
    }
}
