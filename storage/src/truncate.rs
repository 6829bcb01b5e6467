//! Cutting off the end of a log, when a new leader's log leaves ours there. Everything before the cut is brought to rest
//! first, so that the truncation is the only thing the journal still has to say about this log.

use std::rc::Rc;

use bytes::Bytes;
use model::Offset;

use crate::checkpoint::AtRest;
use crate::derived::Derived;
use crate::disk::Disk;
use crate::flusher::Tail;
use crate::journal::{Entry, EntryKind, Queued};
use crate::load::Reader;
use crate::log::{Loaded, Phase};
use crate::recovery::Recovering;
use crate::segment::Cursor;
use crate::store::{LogRef, Store, StoreError};

impl<D: Disk, S: Derived> Store<D, S> {
    /// Ends the log at the batch that holds `to`, or at `to`. Durable on return. Nobody may append meanwhile.
    pub async fn truncate(self: &Rc<Self>, log: &LogRef<D, S>, to: Offset) -> Result<Offset, StoreError> {
        if log.phase.get() != Phase::Loaded {
            return Err(StoreError::Deleted);
        }
        self.durable(self.journal.last_ticket()).await;
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
        let failed = |error: std::io::Error| StoreError::Damaged(format!("truncating {}: {error}", log.id));
        self.write_all_of(log, Tail::WhenQuiet).await;
        self.sync_and_settle(std::slice::from_ref(log)).await.map_err(failed)?;
        let (end, at) = self.cut(log, to).await?;
        let before = log.at_rest.get();
        let incarnation = before.incarnation + 1;
        let entry = {
            let loaded = log.loaded.borrow();
            let loaded = loaded.as_ref().ok_or(StoreError::Deleted)?;
            Entry {
                kind: EntryKind::Truncate,
                base_offset: Offset(i64::from(incarnation)),
                end_offset: end,
                segment: at.segment,
                position: at.position,
                ..self.entry(log, loaded)
            }
        };
        let ticket = self.journal.queue(Queued { entry, bytes: Bytes::new(), log: Rc::clone(log) });
        self.durable(ticket).await;
        let rest = AtRest {
            end,
            segment: at.segment,
            position: at.position,
            incarnation,
            log_start: before.log_start.min(end),
            ..before
        };
        self.apply_truncation(log, before, rest).await?;
        self.checkpoint(None).await.map_err(failed)?;
        self.remove_segments_after(log, at.segment).await.map_err(failed)?;
        Ok(end)
    }

    /// Where the log is cut: the start of the batch that holds `to`.
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

    async fn apply_truncation(&self, log: &LogRef<D, S>, before: AtRest, rest: AtRest) -> Result<(), StoreError> {
        let reader = Reader { disk: &self.disk, paths: &self.paths, files: &self.files };
        let mut recovering = Recovering::truncated(before, rest);
        recovering.rest.snapshot = None;
        let snapshot = reader.rebuilt::<S>(log.id, &recovering).await?;
        let path = self.paths.snapshot(log.id, snapshot.at());
        let stored = self.disk.replace_file(&path, snapshot.to_file()).await;
        stored.map_err(|error| StoreError::Damaged(format!("{}: {error}", path.display())))?;
        let rest = AtRest { snapshot: Some(snapshot.at()), ..rest };
        let base = reader.base::<S>(log.id, &rest).await?;
        let at = Cursor { segment: rest.segment, position: rest.position };
        let carried = reader.tail_block(log.id, at).await?;
        let mut loaded = log.loaded.borrow_mut();
        let loaded: &mut Loaded<D, S> = loaded.as_mut().ok_or(StoreError::Deleted)?;
        loaded.segments = base.segments;
        loaded.derived = base.derived;
        loaded.end = rest.end;
        loaded.incarnation = rest.incarnation;
        loaded.redo_needed = carried.is_some();
        loaded.carried = carried;
        loaded.runs.clear();
        loaded.marks.clear();
        loaded.since_mark = 0;
        (loaded.committed, loaded.dispatched, loaded.written, loaded.synced) = (at, at, at, at);
        let mut described = rest;
        loaded.describe(&mut described);
        log.at_rest.set(described);
        log.durable_end.set(rest.end);
        log.log_start.set(rest.log_start);
        Ok(())
    }

    async fn remove_segments_after(&self, log: &LogRef<D, S>, active: Offset) -> std::io::Result<()> {
        for entry in self.disk.list_dir(&self.paths.partition(log.id)).await? {
            let base = entry.name.strip_suffix(".log").and_then(|base| base.parse().ok()).map(Offset);
            if let Some(base) = base.filter(|base| *base > active) {
                self.files.remove((log.id, base)).await?;
            }
        }
        Ok(())
    }
}
