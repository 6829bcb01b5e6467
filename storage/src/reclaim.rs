//! Making room in the journal: what the oldest ring file holds goes to segments or is copied forward, a checkpoint says
//! so, and the file is free.

use std::io;
use std::path::Path;
use std::rc::Rc;

use bytes::Bytes;
use model::limits::{ENTRY_HEADER_BYTES, RING_FILES};

use crate::bytes_at::{block_down, to_usize};
use crate::derived::Derived;
use crate::disk::{Disk, File};
use crate::files::SegmentId;
use crate::flusher::Tail;
use crate::journal::entry::LAST;
use crate::journal::{Entry, Queued};
use crate::log::{Carried, Loaded, Log, PendingKind, Settle};
use crate::segment::Cursor;
use crate::segment_write::{FULL_PAUSE, is_full};
use crate::store::{LogRef, Store};

/// A partition with less than this in the file...
const FORWARD_IN_FILE_MAX: u64 = 16 << 10;
/// ...and less than this unwritten is copied forward instead of written.
const FORWARD_UNWRITTEN_MAX: u64 = 64 << 10;
/// The oldest file is recycled when fewer than so many are free.
pub(crate) const SPARE_FILES: u64 = RING_FILES / 2;
/// More segment files than this are synced by one `syncfs`.
const SYNC_FILES_MAX: usize = 8;

impl<D: Disk, S: Derived> Store<D, S> {
    /// Recycles the oldest file whenever less than half of the ring is left, until the store closes.
    pub(crate) async fn reclaim_files(self: &Rc<Self>) {
        loop {
            let filled = async {
                // One that failed for lack of space is tried until it succeeds, even if files were made meanwhile: what waits in
                // the oldest one keeps appends refused.
                if !self.reclaim_stalled.get() {
                    self.journal.ring.filled(to_usize(SPARE_FILES)).await;
                }
                true
            };
            let closing = self.moved.until(|| self.closing.get().then_some(false));
            if !futures_lite::future::or(filled, closing).await {
                return;
            }
            self.reclaiming.enter().await;
            let recycled = self.recycle_oldest().await;
            self.reclaiming.leave();
            if let Err(error) = recycled {
                self.refuse_appends(self.paths.root(), 0, &error);
                let closing = self.moved.until(|| self.closing.get().then_some(()));
                futures_lite::future::or(closing, self.disk.sleep(FULL_PAUSE)).await;
                if self.closing.get() {
                    return; // Closing tries once more.
                }
            }
        }
    }

    /// Empties the journal's oldest file and has it used again; the caller has [`Self::reclaiming`]. An error says that the disk is too
    /// full for it.
    pub(crate) async fn recycle_oldest(self: &Rc<Self>) -> io::Result<()> {
        let recycled = self.reclaim_alone().await;
        if let Err(error) = &recycled
            && !is_full(error)
        {
            let oldest = self.journal.ring.oldest_used().map_or(0, |file| file.number);
            let path = self.journal.ring.path_of(oldest);
            self.disk.fatal(&format!("moving the journal {} to segments", path.display()), error);
        }
        self.reclaim_stalled.set(recycled.is_err());
        recycled
    }

    async fn reclaim_alone(self: &Rc<Self>) -> io::Result<()> {
        let Some(file) = self.journal.ring.oldest_used() else { return Ok(()) };
        let logs: Vec<LogRef<D, S>> = self
            .touched
            .borrow()
            .get(&file.number)
            .map(|logs| logs.values().cloned().collect())
            .unwrap_or_default();
        for log in &logs {
            self.moved.until(|| (!log.truncates_in(file.number)).then_some(())).await;
        }
        let mut forwarded =
            Forwarded { room: self.options.plan.ring / RING_FILES / 4, ticket: 0, logs: Vec::new() };
        let emptied = self.empty_file(file.number, &logs, &mut forwarded).await;
        self.journal.durable_forward(forwarded.ticket).await;
        // Only now: who settles these logs meanwhile must not take for safe what the newer frame may yet lose.
        for log in &forwarded.logs {
            log.forwarded(file.number);
        }
        emptied?;
        for log in &logs {
            log.release(file.number);
        }
        self.sync_and_settle(&logs).await?;
        assert!(
            logs.iter().all(|log| log.nothing_pending_in(file.number)),
            "the file is not needed any more"
        );
        self.checkpoint(Some(file.number)).await?;
        self.touched.borrow_mut().remove(&file.number);
        self.journal.ring.recycle_oldest();
        self.reserve_taken.set(0);
        self.shrink_cache();
        self.count(|counters| counters.recycled += 1);
        Ok(())
    }

    /// Writes or copies forward what a ring file holds of these logs. What was copied counts whatever came after it.
    async fn empty_file(
        self: &Rc<Self>,
        file: u32,
        logs: &[LogRef<D, S>],
        forwarded: &mut Forwarded<D, S>,
    ) -> io::Result<()> {
        let large: Vec<_> = logs.iter().filter(|log| !log.pending_in(file).small).cloned().collect();
        self.write_all(&large, Tail::Never).await?;
        let left = self.forward_all(logs, file, forwarded);
        self.write_all(&left, Tail::WhenQuiet).await?;
        // Entries are about to follow into these last blocks: they are copied forward too while the reserve lasts.
        forwarded.room += self.options.plan.ring / RING_FILES / 2;
        let left = self.forward_all(&left, file, forwarded);
        self.write_all(&left, Tail::Always).await
    }

    /// Copies forward what fits the room, all of it in one go so that it shares frames. Returns the logs that are left.
    fn forward_all(
        &self,
        logs: &[LogRef<D, S>],
        file: u32,
        forwarded: &mut Forwarded<D, S>,
    ) -> Vec<LogRef<D, S>> {
        let mut left = Vec::new();
        for log in logs {
            let in_file = log.pending_in(file);
            if in_file.bytes == 0 {
                continue;
            }
            let ticket = if in_file.cost <= forwarded.room { self.forward(log, file) } else { None };
            match ticket {
                Some(ticket) => {
                    forwarded.room -= in_file.cost;
                    forwarded.ticket = ticket;
                    forwarded.logs.push(Rc::clone(log));
                }
                None => left.push(Rc::clone(log)),
            }
        }
        left
    }

    /// Copies a log's bytes of a ring file into the journal's newest frames.
    fn forward(&self, log: &LogRef<D, S>, file: u32) -> Option<u64> {
        let mut loaded = log.loaded.borrow_mut();
        let loaded = loaded.as_mut()?;
        let to = loaded.last_pending_in(file)?;
        let written = loaded.written;
        let from = Cursor { segment: written.segment, position: block_down(written.position) };
        if to.segment != from.segment || to < written || !loaded.is_quiet() {
            return None;
        }
        let mut bytes = vec![0; to_usize(to.position - from.position)];
        if loaded.copy_memory(from, to.position, &mut bytes) != bytes.len() {
            return None;
        }
        let bytes = Bytes::from(bytes);
        // A mere prefix is needed until its block is written again.
        let flags = if to == written { LAST } else { 0 };
        let entry = Entry { flags, ..self.redo(log, loaded, from) };
        self.count(|counters| counters.forwarded_bytes += bytes.len() as u64);
        // Frames may already have been let go because of a longer one.
        if loaded.carried.as_ref().is_none_or(|carried| carried.end() < to) {
            loaded.carried = Some(Carried { start: from, bytes: bytes.clone() });
        }
        log.under_way.set(log.under_way.get() + 1);
        Some(self.journal.queue_forward(Queued { entry, bytes, marked: false, log: Rc::clone(log) }))
    }

    /// Makes what was written to these logs' segments durable and takes off what is at rest then.
    pub(crate) async fn sync_and_settle(&self, logs: &[LogRef<D, S>]) -> io::Result<()> {
        self.settling.enter().await;
        let settled = self.sync_and_settle_alone(logs).await;
        self.settling.leave();
        settled
    }

    async fn sync_and_settle_alone(&self, logs: &[LogRef<D, S>]) -> io::Result<()> {
        let mut unsynced = Vec::new();
        let mut reached = Vec::new();
        for log in logs {
            if let Some(loaded) = log.loaded.borrow_mut().as_mut() {
                let done = std::mem::take(&mut loaded.unsynced);
                unsynced.extend(done.into_iter().map(|base| (log.id, loaded.name_of(base))));
                reached.push((Rc::clone(log), loaded.written));
            }
        }
        self.sync_segments(unsynced).await?;
        for (log, written) in reached {
            if let Some(loaded) = log.loaded.borrow_mut().as_mut() {
                loaded.synced = loaded.synced.max(written);
            }
            while let Settle::Store(snapshot) = log.settle() {
                let path = self.paths.snapshot(log.id, snapshot.at());
                self.make_partition_dir(log.id).await?;
                self.disk.replace_file(&path, snapshot.to_file()).await.map_err(named(&path))?;
                if let Some(old) = log.snapshot_stored(snapshot.at()) {
                    self.garbage.borrow_mut().push((Rc::clone(&log), old));
                }
                if let Some(sealed) = snapshot.sealed_by_it() {
                    self.store_index(&log, sealed).await;
                }
            }
        }
        Ok(())
    }

    /// A failed sync is never tried again: what the disk then holds is unknown.
    async fn sync_segments(&self, unsynced: Vec<SegmentId>) -> io::Result<()> {
        if unsynced.len() > SYNC_FILES_MAX {
            if let Err(error) = self.disk.sync_all().await {
                let root = self.paths.root().display();
                self.disk.fatal(&format!("syncing the file system of {root}"), &error);
            }
            return Ok(());
        }
        for id in unsynced {
            let path = self.paths.segment(id.0, id.1);
            let file = self.files.get(id).await.map_err(named(&path))?;
            if let Err(error) = file.sync().await {
                self.disk.fatal(&format!("syncing {}", path.display()), &error);
            }
        }
        Ok(())
    }
}

/// Says of which file an error is.
fn named(path: &Path) -> impl FnOnce(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// What is copied forward of one ring file.
struct Forwarded<D: Disk, S> {
    /// Bytes that may still be copied.
    room: u64,
    /// The last copy's.
    ticket: u64,
    logs: Vec<LogRef<D, S>>,
}

/// What of a log needs a ring file.
struct InFile {
    /// Bytes of its entries there that are not in a segment.
    bytes: u64,
    /// Bytes that copying them forward takes.
    cost: u64,
    /// Little enough to be copied rather than written.
    small: bool,
}

impl<D: Disk, S: Derived> Log<D, S> {
    fn pending_in(&self, file: u32) -> InFile {
        let loaded = self.loaded.borrow();
        loaded
            .as_ref()
            .filter(|_| !self.is_deleted())
            .map_or(InFile { bytes: 0, cost: 0, small: true }, |loaded| loaded.in_file(file))
    }

    /// The bytes of a ring file are in a newer one, durably.
    fn forwarded(&self, file: u32) {
        if let Some(loaded) = self.loaded.borrow_mut().as_mut() {
            for pending in loaded.pending.iter_mut().filter(|pending| pending.file == file) {
                if let PendingKind::Bytes { forwarded, .. } = &mut pending.kind {
                    *forwarded = true;
                }
            }
        }
    }

    /// Everything committed of this file is written or copied forward. What is left waits for a block that the log ends in to be
    /// written again; it was written just now.
    fn release(&self, file: u32) {
        if let Some(loaded) = self.loaded.borrow_mut().as_mut() {
            let written = loaded.written;
            for pending in loaded.pending.iter_mut().filter(|pending| pending.file == file) {
                match &mut pending.kind {
                    PendingKind::Bytes { until, forwarded: false, end: None, .. } if *until > written => {
                        until.position = until.position.min(loaded.committed.position);
                    }
                    _ => {}
                }
            }
        }
    }

    fn truncates_in(&self, file: u32) -> bool {
        self.loaded.borrow().as_ref().is_some_and(|loaded| loaded.truncates_in(file))
    }

    fn nothing_pending_in(&self, file: u32) -> bool {
        let loaded = self.loaded.borrow();
        let none = |loaded: &Loaded<D, S>| loaded.pending.iter().all(|pending| pending.file != file);
        self.is_deleted() || loaded.as_deref().is_none_or(none)
    }
}

impl<D: Disk, S: Derived> Loaded<D, S> {
    fn in_file(&self, file: u32) -> InFile {
        let mut bytes = 0;
        let mut last = self.written;
        for pending in self.pending.iter().filter(|pending| pending.file == file) {
            if let PendingKind::Bytes { until, len, forwarded: false, .. } = &pending.kind
                && *until > self.written
            {
                bytes += len;
                last = last.max(*until);
            }
        }
        let copied = last.position.saturating_sub(block_down(self.written.position));
        let cost = copied + ENTRY_HEADER_BYTES as u64;
        let small = bytes < FORWARD_IN_FILE_MAX
            && self.unwritten() < FORWARD_UNWRITTEN_MAX
            && last.segment == self.written.segment;
        InFile { bytes, cost, small }
    }

    /// Where the bytes of a ring file end in the log.
    fn last_pending_in(&self, file: u32) -> Option<Cursor> {
        let in_file = self.pending.iter().filter(|pending| pending.file == file);
        let ends = in_file.filter_map(|pending| match &pending.kind {
            PendingKind::Bytes { until, .. } => Some((*until).min(self.committed)),
            _ => None,
        });
        ends.max()
    }
}
