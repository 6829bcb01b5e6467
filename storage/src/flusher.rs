//! From frames to segments: whole blocks in large writes as soon as a partition has enough of them, off the path of any
//! acknowledgement. How many are under way follows the ring's occupancy, so that the journal never waits for long.

use std::collections::VecDeque;
use std::io;
use std::rc::Rc;

use bytes::Bytes;
use model::Offset;
use model::limits::BLOCK;

use crate::bytes_at::{block_down, block_up, to_usize};
use crate::derived::Derived;
use crate::disk::Disk;
use crate::log::{Carried, Loaded, Log, Segment, Write};
use crate::pool::Pooled;
use crate::segment::{Cursor, FIRST_POSITION, Header, SegmentName};
use crate::store::{LogRef, Store};

/// A partition with this much committed is written.
pub const STREAM_BYTES: u64 = 256 << 10;
/// Most bytes of one write.
pub(crate) const WRITE_BYTES: u64 = 1 << 20;
/// Most writes under way when the flusher works off a list.
const WRITES_MAX: usize = 16;
/// Space is reserved in steps from here...
const RESERVE_MIN: u64 = 64 << 10;
/// ...doubling up to here.
const RESERVE_MAX: u64 = 16 << 20;

/// Whether the last, unfinished block of a log is written, padded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Tail {
    /// No: it stays in the journal.
    Never,
    /// If nothing is about to follow into it.
    WhenQuiet,
    /// In any case. What follows then rewrites the block without its prefix in the journal: safe on a disk that tears at
    /// 512 bytes, not on one that may lose a whole block it was rewriting.
    Always,
}

/// One write: [from, to) of a segment, padded to whole blocks.
pub(crate) struct Chunk<D: Disk> {
    pub segment: SegmentName,
    pub to: Cursor,
    pub start: u64,
    pub create: Option<Header>,
    pub reserve: Option<(u64, u64)>,
    pub buffer: Rc<Pooled<D>>,
}

impl<D: Disk, S: Derived> Store<D, S> {
    /// Puts a log into the flusher's queue when it has enough.
    pub(crate) fn offer(&self, log: &LogRef<D, S>) {
        let enough = log.loaded.borrow().as_ref().is_some_and(|loaded| loaded.undispatched() >= STREAM_BYTES);
        if enough && !log.queued.replace(true) {
            self.dirty.borrow_mut().push_back(Rc::clone(log));
            self.moved.notify();
        }
    }

    /// Writes under way at most: more as the ring fills.
    fn depth(&self) -> usize {
        match self.journal.ring.occupancy() {
            part if part < 0.30 => 1,
            part if part < 0.45 => 2,
            part if part < 0.75 => 4,
            _ => 8,
        }
    }

    /// Streams what is offered until the store closes.
    pub(crate) async fn flush_streams(self: &Rc<Self>) {
        loop {
            let next = self
                .moved
                .until(|| {
                    if self.closing.get() {
                        return Some(None);
                    }
                    if self.writes_in_flight.get() >= self.depth() || self.stalled.get() > 0 {
                        return None;
                    }
                    self.dirty.borrow_mut().pop_front().map(Some)
                })
                .await;
            let Some(log) = next else { return };
            log.queued.set(false);
            if self.start_write(&log, Tail::Never) {
                self.offer(&log);
            }
            self.disk.yield_now().await;
        }
    }

    /// Starts one write of a log, of whole blocks but for what `tail` says. False when there is nothing to write or it has to wait.
    pub(crate) fn start_write(self: &Rc<Self>, log: &LogRef<D, S>, tail: Tail) -> bool {
        if log.is_deleted() {
            return false; // Its directory is about to go, and must not come back.
        }
        let chunk = {
            let mut loaded = log.loaded.borrow_mut();
            let Some(loaded) = loaded.as_mut() else { return false };
            loaded.next_chunk(self, log, tail)
        };
        let Some(chunk) = chunk else { return false };
        self.writes_in_flight.set(self.writes_in_flight.get() + 1);
        let store = Rc::clone(self);
        let log = Rc::clone(log);
        self.disk.spawn_behind(async move {
            let to = chunk.to;
            if store.write(&log, chunk).await {
                log.write_done(to);
            }
            store.writes_in_flight.set(store.writes_in_flight.get() - 1);
            store.offer(&log);
            store.moved.notify();
        });
        true
    }

    /// Writes everything that is committed by now of these logs and waits for it. `StorageFull` at once when the disk is: what
    /// was begun goes on by itself.
    pub(crate) async fn write_all(self: &Rc<Self>, logs: &[LogRef<D, S>], tail: Tail) -> io::Result<()> {
        // First all that can be under way together, then what had to wait for a block of its own.
        for log in logs {
            let goal = log.committed();
            while log.dispatched() < goal && self.start_write(log, tail) {
                self.unless_full(|| self.writes_in_flight.get() < WRITES_MAX).await?;
            }
        }
        for log in logs {
            self.write_all_of(log, tail).await?;
        }
        Ok(())
    }

    /// The same of one log.
    pub(crate) async fn write_all_of(self: &Rc<Self>, log: &LogRef<D, S>, tail: Tail) -> io::Result<()> {
        let goal = log.committed();
        loop {
            if log.dispatched() < goal && self.start_write(log, tail) {
                self.unless_full(|| self.writes_in_flight.get() < WRITES_MAX).await?;
                continue;
            }
            if log.writes_done() {
                return Ok(());
            }
            self.unless_full(|| log.writes_done()).await?;
        }
    }
}

impl<D: Disk, S: Derived> Log<D, S> {
    fn committed(&self) -> Option<Cursor> {
        self.loaded.borrow().as_ref().map(|loaded| loaded.committed)
    }

    fn dispatched(&self) -> Option<Cursor> {
        self.loaded.borrow().as_ref().map(|loaded| loaded.dispatched)
    }

    pub(crate) fn segment_created(&self, base: Offset) -> bool {
        let mut loaded = self.loaded.borrow_mut();
        loaded
            .as_mut()
            .and_then(|loaded| loaded.segment_at(base).map(|segment| segment.created))
            .unwrap_or(true)
    }

    fn write_done(&self, to: Cursor) {
        if let Some(loaded) = self.loaded.borrow_mut().as_mut() {
            loaded.write_done(to);
        }
    }
}

/// Bytes of a log being put together from front to back.
struct Copy<'a> {
    at: Cursor,
    out: &'a mut [u8],
    copied: usize,
}

impl Copy<'_> {
    /// Takes what follows, if `bytes`, which stand at `start`, have it.
    fn take(&mut self, start: Cursor, bytes: &[u8]) {
        if start.segment != self.at.segment || start.position > self.at.position {
            return;
        }
        let Some(follows) = bytes.get(to_usize(self.at.position - start.position)..) else { return };
        let len = follows.len().min(self.out.len());
        let (now, later) = std::mem::take(&mut self.out).split_at_mut(len);
        now.copy_from_slice(&follows[..len]);
        self.at.position += len as u64;
        self.copied += len;
        self.out = later;
    }
}

impl Segment {
    /// Space to be reserved for the file to reach `end`: (from, bytes).
    pub fn reserve(&mut self, end: u64) -> Option<(u64, u64)> {
        (end > self.allocated).then(|| {
            let step = self.allocated.clamp(RESERVE_MIN, RESERVE_MAX);
            let from = self.allocated;
            self.allocated = end.max(from + step);
            (from, self.allocated - from)
        })
    }
}

impl<D: Disk, S: Derived> Loaded<D, S> {
    /// Whether nothing is on its way to a segment.
    pub fn is_quiet(&self) -> bool {
        self.writes.is_empty() && !self.direct
    }

    /// The next write, and what it needs. Marks its bytes as dispatched.
    fn next_chunk(&mut self, store: &Store<D, S>, log: &Log<D, S>, tail: Tail) -> Option<Chunk<D>> {
        if self.direct {
            return None;
        }
        let (from, limit, last_block) = self.next_range(tail)?;
        let start = block_down(from.position);
        let mut to = limit.min(start + WRITE_BYTES);
        if to == limit && !last_block {
            to = block_down(limit);
        }
        // A block that is on its way may not be written a second time before it has arrived.
        if to <= from.position || (start < from.position && !self.writes.is_empty()) {
            return None;
        }
        let len = to_usize(block_up(to) - start);
        let mut buffer = Pooled::take(&store.pool, len);
        let base = Cursor { segment: from.segment, position: start };
        self.gather(base, to, buffer.bytes_mut());
        let to = Cursor { segment: from.segment, position: to };
        if !to.position.is_multiple_of(BLOCK as u64) {
            self.carry(to, buffer.as_ref(), start);
        }
        self.dispatched = to;
        let buffer = Rc::new(buffer);
        self.writes.push_back(Write { start: base, to, buffer: Rc::clone(&buffer), done: false });
        let needs = self.segment_at(to.segment).map(|segment| {
            let create = (!segment.created && start == FIRST_POSITION).then_some(Header {
                partition: log.id,
                base: segment.base,
                incarnation: segment.incarnation,
                generation: segment.generation,
            });
            let end = block_up(to.position);
            (segment.name(), create, segment.reserve(end))
        });
        let (segment, create, reserve) = needs?;
        Some(Chunk { segment, to, start, create, reserve, buffer })
    }

    /// (from, end in that segment, whether its last block may be written padded).
    fn next_range(&mut self, tail: Tail) -> Option<(Cursor, u64, bool)> {
        loop {
            let from = self.dispatched;
            if from.segment == self.committed.segment {
                // Padding is for a block that nothing is about to follow into.
                let quiet = self.end_cursor() == self.committed;
                return (from.position < self.committed.position).then_some((
                    from,
                    self.committed.position,
                    match tail {
                        Tail::Never => false,
                        Tail::WhenQuiet => quiet,
                        Tail::Always => true,
                    },
                ));
            }
            let at = self.segments.partition_point(|segment| segment.base <= from.segment);
            let size = self.segments.get(at.checked_sub(1)?)?.size;
            if from.position < size {
                return Some((from, size, true));
            }
            self.dispatched = Cursor::start_of(self.segments.get(at)?.base);
        }
    }

    /// Fills `out` with the log's bytes from `base` to position `to`, zeros behind them.
    fn gather(&self, base: Cursor, to: u64, out: &mut [u8]) {
        let wanted = to_usize(to - base.position);
        out[wanted..].fill(0);
        let found = self.copy_memory(base, to, &mut out[..wanted]);
        assert_eq!(found, wanted, "what a segment lacks is in memory");
    }

    /// Copies what memory has of [from, to) of one segment to its places in `out`; returns how many bytes it had.
    pub fn copy_memory(&self, from: Cursor, to: u64, out: &mut [u8]) -> usize {
        let mut copy = Copy { at: from, out, copied: 0 };
        for write in &self.writes {
            copy.take(
                write.start,
                &(*write.buffer).as_ref()[..to_usize(write.to.position - write.start.position)],
            );
        }
        if let Some(carried) = &self.carried {
            copy.take(carried.start, &carried.bytes);
        }
        if copy.out.is_empty() { copy.copied } else { copy.copied + self.runs.copy(copy.at, to, copy.out) }
    }

    /// Remembers the bytes of an unfinished block, because the log goes on in it.
    fn carry(&mut self, to: Cursor, written: &[u8], start: u64) {
        if to.segment != self.committed.segment {
            return; // Sealed, and nothing more of it will come.
        }
        let block = block_down(to.position);
        let bytes = &written[to_usize(block - start)..to_usize(to.position - start)];
        self.carried = Some(Carried {
            start: Cursor { segment: to.segment, position: block },
            bytes: Bytes::copy_from_slice(bytes),
        });
        self.redo_needed = to.segment == self.end_cursor().segment;
    }

    fn write_done(&mut self, to: Cursor) {
        self.wrote(to.segment);
        for write in self.writes.iter_mut().filter(|write| write.to == to) {
            write.done = true;
        }
        self.take_off_done();
    }

    /// Takes off the writes that arrived, as far as those before them did too.
    pub fn take_off_done(&mut self) {
        while let Some(write) = self.writes.pop_front_if(|write| write.done) {
            self.written = write.to;
        }
        if self.writes.is_empty() {
            self.writes = VecDeque::new(); // There may be thousands of logs.
        }
        let block = Cursor { position: block_down(self.written.position), ..self.written };
        if self.carried.as_ref().is_some_and(|carried| block >= carried.end()) {
            self.carried = None;
        }
    }
}
