//! Making room in the journal: what the oldest ring file holds goes to segments or is copied forward, a checkpoint says
//! so, and the file is free.

use std::io;
use std::rc::Rc;

use bytes::Bytes;
use model::limits::{ENTRY_HEADER_BYTES, RING_FILES};

use crate::bytes_at::{block_down, to_usize};
use crate::derived::Derived;
use crate::disk::{Disk, File};
use crate::flusher::Tail;
use crate::journal::{Entry, EntryKind, Queued};
use crate::log::{Carried, Loaded, Log, PendingKind, Phase, Settle};
use crate::segment::Cursor;
use crate::store::{LogRef, Store};

/// A partition with less than this in the file...
const FORWARD_IN_FILE_MAX: u64 = 16 << 10;
/// ...and less than this unwritten is copied forward instead of written.
const FORWARD_UNWRITTEN_MAX: u64 = 64 << 10;
/// More segment files than this are synced by one `syncfs`.
const SYNC_FILES_MAX: usize = 8;

impl<D: Disk, S: Derived> Store<D, S> {
    /// Recycles the oldest file whenever less than half of the ring is left, until the store closes.
    pub(crate) async fn reclaim_files(self: &Rc<Self>) {
        let spare = to_usize(RING_FILES) / 2;
        loop {
            let filled = async {
                self.journal.ring.filled(spare).await;
                true
            };
            let closing = self.moved.until(|| self.closing.get().then_some(false));
            if !futures_lite::future::or(filled, closing).await {
                return;
            }
            if let Err(error) = self.reclaim_oldest().await {
                self.disk.fatal("moving the journal's oldest file to segments", &error);
            }
        }
    }

    async fn reclaim_oldest(self: &Rc<Self>) -> io::Result<()> {
        let Some(file) = self.journal.ring.oldest_used() else { return Ok(()) };
        let logs: Vec<LogRef<D, S>> =
            self.touched.borrow().get(&file.number).map(|logs| logs.values().cloned().collect()).unwrap_or_default();
        let mut room = self.options.plan.ring / RING_FILES / 4;
        let mut reserve = self.options.plan.ring / RING_FILES / 2;
        let mut ticket = None;
        let mut forwarded = Vec::new();
        for log in &logs {
            self.moved.until(|| (!matches!(log.phase.get(), Phase::Busy)).then_some(())).await;
            let in_file = log.pending_in(file.number);
            if in_file.bytes == 0 {
                continue;
            }
            if !in_file.small || in_file.cost > room {
                self.write_all_of(log, Tail::Never).await;
            }
            let left = log.pending_in(file.number);
            if left.bytes == 0 {
                continue;
            }
            if left.cost <= room
                && let Some(queued) = self.forward(log, file.number)
            {
                room -= left.cost;
                ticket = Some(queued);
                forwarded.push(Rc::clone(log));
                continue;
            }
            self.write_all_of(log, Tail::WhenQuiet).await;
            // Entries are about to follow into the last block: copy it forward while the reserve lasts.
            let left = log.pending_in(file.number);
            if left.bytes > 0
                && left.cost <= reserve
                && let Some(queued) = self.forward(log, file.number)
            {
                reserve -= left.cost;
                ticket = Some(queued);
                forwarded.push(Rc::clone(log));
            } else if left.bytes > 0 {
                self.write_all_of(log, Tail::Always).await;
            }
        }
        if let Some(ticket) = ticket {
            self.journal.durable_forward(ticket).await;
        }
        for log in &forwarded {
            log.forwarded(file.number);
        }
        self.sync_and_settle(&logs).await?;
        debug_assert!(logs.iter().all(|log| log.nothing_pending_in(file.number)));
        self.checkpoint(Some(file.number)).await?;
        self.needed_from.borrow_mut().remove(&file.number);
        self.touched.borrow_mut().remove(&file.number);
        self.journal.ring.recycle_oldest();
        self.count(|counters| counters.recycled += 1);
        Ok(())
    }

    /// Copies a log's bytes of a ring file into the journal's newest frames.
    fn forward(&self, log: &LogRef<D, S>, file: u32) -> Option<u64> {
        let mut loaded = log.loaded.borrow_mut();
        let loaded = loaded.as_mut()?;
        let to = loaded.last_pending_in(file)?;
        let from = Cursor { segment: loaded.written.segment, position: block_down(loaded.written.position) };
        if to.segment != from.segment || !loaded.writes.is_empty() {
            return None;
        }
        let mut bytes = vec![0; to_usize(to.position - from.position)];
        if loaded.copy_memory(from, to.position, &mut bytes) != bytes.len() {
            return None;
        }
        let bytes = Bytes::from(bytes);
        let entry =
            Entry { kind: EntryKind::Redo, segment: from.segment, position: from.position, ..self.entry(log, loaded) };
        self.count(|counters| counters.forwarded_bytes += bytes.len() as u64);
        loaded.carried = Some(Carried { start: from, bytes: bytes.clone() });
        Some(self.journal.queue_forward(Queued { entry, bytes, log: Rc::clone(log) }))
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
                // A write still under way keeps its segment on the list.
                let busy = loaded.writes.iter().map(|write| write.0.segment).collect::<Vec<_>>();
                let done = std::mem::take(&mut loaded.unsynced);
                loaded.unsynced = done.iter().copied().filter(|base| busy.contains(base)).collect();
                unsynced.extend(done.into_iter().map(|base| (log.id, base)));
                reached.push((Rc::clone(log), loaded.written));
            }
        }
        if unsynced.len() > SYNC_FILES_MAX {
            self.disk.sync_all().await?;
        } else {
            for id in unsynced {
                if self.existing(id.0).is_some() {
                    self.files.get(id).await?.sync().await?;
                }
            }
        }
        for (log, written) in reached {
            if let Some(loaded) = log.loaded.borrow_mut().as_mut() {
                loaded.synced = loaded.synced.max(written);
            }
            while let Settle::Store(snapshot) = log.settle() {
                let path = self.paths.snapshot(log.id, snapshot.at());
                if self.partition_dirs.borrow_mut().insert(log.id) {
                    self.disk.create_dir(&self.paths.partition(log.id)).await?;
                }
                self.disk.replace_file(&path, snapshot.to_file()).await?;
                if let Some(old) = log.snapshot_stored(snapshot.at()) {
                    self.garbage.borrow_mut().push(self.paths.snapshot(log.id, old));
                }
            }
        }
        Ok(())
    }
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
        self.loaded.borrow().as_ref().map_or(InFile { bytes: 0, cost: 0, small: true }, |loaded| loaded.in_file(file))
    }

    fn forwarded(&self, file: u32) {
        if let Some(loaded) = self.loaded.borrow_mut().as_mut() {
            for pending in loaded.pending.iter_mut().filter(|pending| pending.file == file) {
                if let PendingKind::Bytes { forwarded, .. } = &mut pending.kind {
                    *forwarded = true;
                }
            }
        }
    }

    fn nothing_pending_in(&self, file: u32) -> bool {
        let loaded = self.loaded.borrow();
        loaded.as_ref().is_none_or(|loaded| loaded.pending.iter().all(|pending| pending.file != file))
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
