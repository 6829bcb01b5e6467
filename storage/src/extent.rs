//! Appends that go straight to their segment, on the side of the log: when they may, and what has changed once they are there.

use std::io;
use std::rc::Rc;

use bytes::Bytes;
use model::Offset;

use crate::bytes_at::{block_down, to_usize};
use crate::derived::Derived;
use crate::disk::{Disk, File};
use crate::flusher::Tail;
use crate::journal::extent::{Extent, Target};
use crate::journal::{Committed, EntryKind, Group};
use crate::log::{Loaded, Log, Phase, Run, Write};
use crate::pool::Pooled;
use crate::segment::Cursor;
use crate::segment_write::is_full;
use crate::store::{LogRef, Store};

/// Writes that are begun at most to have everything before a group on its way: more than a commit brings.
const CATCH_UP_WRITES_MAX: usize = 6;

/// What a group may begin with.
struct Begun {
    prefix: Bytes,
    reserve: Option<(u64, u64)>,
}

impl<D: Disk, S: Derived> Store<D, S> {
    /// Lets a group of appends go straight to its segment, if everything before it is there or on its way, all but the block that
    /// it begins in.
    pub(crate) async fn let_direct(self: &Rc<Self>, group: &Group<LogRef<D, S>>) -> Option<Target<D>> {
        let log = &group.log;
        let saved = log.direct_after.get() < self.checkpoints_stored.get();
        if !saved || self.disk_full.get() || self.is_stalled() || log.phase.get() != Phase::Loaded {
            return None;
        }
        for _ in 0..CATCH_UP_WRITES_MAX {
            if !log.lags(group.start) || !self.start_write(log, Tail::Never) {
                break;
            }
        }
        let begun = log.loaded.borrow_mut().as_mut()?.begin_direct(group)?;
        let path = self.paths.segment(log.id, log.name_of(group.start.segment));
        match self.open_reserved(group, begun.reserve).await {
            Ok(file) => Some(Target { file, path, prefix: begun.prefix }),
            Err(error) => {
                self.end_direct(group, Some(&error));
                None
            }
        }
    }

    async fn open_reserved(
        &self,
        group: &Group<LogRef<D, S>>,
        reserve: Option<(u64, u64)>,
    ) -> io::Result<Rc<D::File>> {
        let name = group.log.name_of(group.start.segment);
        let file = self.files.get((group.log.id, name)).await?;
        if let Some((from, len)) = reserve {
            file.allocate(from, len).await?;
        }
        Ok(file)
    }

    /// A group goes through the journal after all. The flusher writes it then, with all that it does about errors.
    pub(crate) fn end_direct(&self, group: &Group<LogRef<D, S>>, error: Option<&io::Error>) {
        let (log, start) = (&group.log, group.start);
        let mut loaded = log.loaded.borrow_mut();
        if let Some(loaded) = loaded.as_mut() {
            loaded.direct = false;
            if let Some(segment) = loaded.segment_at(start.segment) {
                segment.journaled |= error.is_some_and(|error| !is_full(error));
            }
        }
        drop(loaded);
        self.moved.notify();
        let Some(error) = error.filter(|_| !log.is_deleted()) else { return };
        self.count(|counters| counters.segment_write_errors += 1);
        let path = self.paths.segment(log.id, log.name_of(start.segment));
        if is_full(error) {
            self.refuse_appends(&path, start.position, error);
        } else {
            tracing::error!(
                file = %path.display(),
                position = start.position,
                %error,
                "writing a segment failed: the records go through the journal and are written again; check the disk"
            );
        }
    }

    /// Takes extents off the journal's mind before there is too much of them, until the store closes: a start reads what the journal
    /// tells of, and the ring fills too slowly to be a bound for that.
    pub(crate) async fn settle_extents(self: &Rc<Self>) {
        let bytes_max = self.options.extent_bytes_unsettled_max;
        loop {
            let ready = || {
                let much = self.extent_bytes.get() >= bytes_max && self.stalled.get() == 0;
                (much || self.closing.get()).then_some(())
            };
            self.moved.until(ready).await;
            let alone = async { Some(self.reclaiming.turn().await) };
            let closing = self.moved.until(|| self.closing.get().then_some(None));
            let Some(turn) = futures_lite::future::or(closing, alone).await else { return };
            let settled = self.settle_extents_alone().await;
            drop(turn);
            match settled {
                // The next extents are a reason to try again.
                Err(error) if is_full(&error) => self.refuse_appends(self.paths.root(), 0, &error),
                Err(error) => self.disk.fatal("making a checkpoint of what went to segments", &error),
                Ok(()) => {}
            }
        }
    }

    async fn settle_extents_alone(&self) -> io::Result<()> {
        self.extent_bytes.set(0);
        let logs: Vec<LogRef<D, S>> = self.extent_logs.take().into_values().collect();
        let settled = self.sync_and_settle(&logs).await;
        if settled.is_err() {
            self.extent_logs.borrow_mut().extend(logs.into_iter().map(|log| (log.id, log)));
        }
        settled?;
        self.checkpoint(None).await
    }

    /// An extent is durable. It counts as a write of the flusher that has arrived.
    pub(crate) fn arrive_direct(&self, committed: &Committed<D, LogRef<D, S>>) {
        let entry = &committed.entry;
        if entry.kind != EntryKind::Extent {
            return;
        }
        if let Some(loaded) = committed.log.loaded.borrow_mut().as_mut()
            && let Some(extent) = &committed.extent
        {
            loaded.arrive_direct(entry.segment, extent);
        }
        let log = Rc::clone(&committed.log);
        self.extent_logs.borrow_mut().insert(log.id, log);
        let bytes = entry.position + committed.len as u64 - block_down(entry.position);
        self.extent_bytes.set(self.extent_bytes.get() + bytes);
        self.count(|counters| {
            counters.segment_writes += 1;
            counters.segment_bytes += bytes;
            counters.extent_bytes += bytes;
        });
        self.moved.notify();
    }
}

impl<D: Disk, S: Derived> Log<D, S> {
    /// Whether something before the block of `start` waits for the flusher.
    fn lags(&self, start: Cursor) -> bool {
        let block = Cursor { position: block_down(start.position), ..start };
        self.loaded.borrow().as_ref().is_some_and(|loaded| loaded.dispatched < block)
    }
}

impl<D: Disk, S: Derived> Loaded<D, S> {
    /// The block that the group begins in was never written, or is empty: its bytes are in the journal for as long as they
    /// must be, so it does not matter what a torn write makes of it.
    fn begin_direct<L>(&mut self, group: &Group<L>) -> Option<Begun> {
        let from = Cursor { position: block_down(group.start.position), ..group.start };
        if self.direct || self.committed != group.start || self.dispatched != from {
            return None;
        }
        let mut prefix = vec![0; to_usize(group.start.position - from.position)];
        if self.copy_memory(from, group.start.position, &mut prefix) != prefix.len() {
            return None;
        }
        let segment =
            self.segment_at(from.segment).filter(|segment| segment.created && !segment.journaled)?;
        let reserve = segment.reserve(block_down(group.end));
        self.direct = true;
        Some(Begun { prefix: Bytes::from(prefix), reserve })
    }

    fn arrive_direct(&mut self, segment: Offset, extent: &Extent<D>) {
        self.direct = false;
        for piece in &extent.pieces {
            let start = Cursor { segment, position: piece.position };
            let to = Cursor { position: piece.position + len_of(&piece.buffer), ..start };
            // Kept for as long as writes before it are under way.
            self.writes.push_back(Write { start, to, buffer: Rc::clone(&piece.buffer), done: true });
        }
        self.dispatched = Cursor { segment, position: extent.to };
        self.wrote(segment);
        self.take_off_done();
    }

    /// A segment has bytes that no sync of the flusher covers. They are synced, but those before them may not be: the next reclaim
    /// syncs all.
    pub fn wrote(&mut self, segment: Offset) {
        if !self.unsynced.contains(&segment) {
            self.unsynced.push(segment);
        }
    }

    /// Makes an extent's appends readable: those bytes that `shown` brings, from its buffers or, behind them, from its frame.
    pub fn show_extent(&mut self, shown: &Committed<D, LogRef<D, S>>, extent: &Extent<D>) {
        // (position in the segment, buffer, where in it, bytes)
        let sources: Vec<(u64, &Rc<Pooled<D>>, usize, usize)> = match shown.entry.kind {
            EntryKind::Extent => {
                let pieces = extent.pieces.iter();
                pieces
                    .map(|piece| (piece.position, &piece.buffer, 0, to_usize(len_of(&piece.buffer))))
                    .collect()
            }
            _ => vec![(shown.entry.position, &shown.frame, shown.start, shown.len)],
        };
        for span in &extent.spans {
            for &(position, frame, frame_start, len) in &sources {
                let from = position.max(span.position);
                let to = (position + len as u64).min(span.position + span.len);
                if from >= to {
                    continue;
                }
                self.runs.push(Run {
                    start: Cursor { segment: shown.entry.segment, position: from },
                    len: to_usize(to - from),
                    base: span.base,
                    end: span.end,
                    first: from == span.position,
                    last: to == span.position + span.len,
                    sequence: shown.lsn.sequence,
                    frame: Rc::clone(frame),
                    frame_start: frame_start + to_usize(from - position),
                });
            }
        }
    }
}

fn len_of<D: Disk>(buffer: &Pooled<D>) -> u64 {
    buffer.as_ref().len() as u64
}
