//! Committed frames in memory and their budget, first in first out.

use std::rc::{Rc, Weak};

use crate::derived::Derived;
use crate::disk::Disk;
use crate::journal::{Committed, EntryKind};
use crate::log::{Loaded, Log};
use crate::pool::Pooled;
use crate::segment::Cursor;
use crate::store::{LogRef, Store};

/// A frame, and whose bytes are in it.
pub(crate) struct CachedFrame<D: Disk, S> {
    frame: Rc<Pooled<D>>,
    sequence: u64,
    logs: Vec<LogRef<D, S>>,
}

/// What went straight to a segment, up to where in it, and whose it is.
pub(crate) struct CachedExtent<D: Disk, S> {
    pieces: Vec<Rc<Pooled<D>>>,
    sequence: u64,
    to: Cursor,
    log: LogRef<D, S>,
}

impl<D: Disk, S: Derived> Store<D, S> {
    /// Drops the oldest frames until the rest fits the budget. Frames that segments do not have yet stay: there is a ring of them
    /// at most. What went straight to segments need not stay, even if they do.
    pub(crate) fn shrink_cache(&self) {
        let budget = self.options.plan.frames().saturating_sub(self.compaction_bytes.get());
        while self.frame_bytes.get() > budget {
            let next = self.frames.borrow().front().map(|frame| frame.sequence);
            let direct = self.extents.borrow().front().map(|extent| extent.sequence);
            let gone = match (next, direct) {
                (Some(next), Some(direct)) if direct < next => self.drop_extent() || self.drop_frame(),
                _ => self.drop_frame() || self.drop_extent(),
            };
            if !gone {
                return;
            }
        }
    }

    fn drop_frame(&self) -> bool {
        let mut frames = self.frames.borrow_mut();
        let whole =
            frames.front().is_some_and(|oldest| oldest.logs.iter().all(|log| log.evict(oldest.sequence)));
        let gone = if whole { frames.pop_front() } else { None };
        gone.is_some_and(|gone| self.let_go(&gone.frame))
    }

    fn drop_extent(&self) -> bool {
        let mut extents = self.extents.borrow_mut();
        let whole = extents.front().is_some_and(|oldest| oldest.log.evict_to(oldest.to));
        let gone = if whole { extents.pop_front() } else { None };
        gone.is_some_and(|gone| gone.pieces.iter().all(|piece| self.let_go(piece)))
    }

    fn let_go(&self, frame: &Rc<Pooled<D>>) -> bool {
        self.frame_bytes.set(self.frame_bytes.get() - frame_len(frame));
        if Rc::strong_count(frame) > 1 {
            self.pinned.borrow_mut().push(Rc::downgrade(frame));
        }
        true
    }

    /// Bytes of frames that left the cache and are in memory all the same, because readers or writes hold them.
    pub fn pinned_bytes(&self) -> u64 {
        let mut pinned = self.pinned.borrow_mut();
        pinned.retain(|frame| frame.strong_count() > 0);
        pinned.iter().filter_map(Weak::upgrade).map(|frame| frame_len(&frame)).sum()
    }

    pub(crate) fn remember(&self, committed: &Committed<D, LogRef<D, S>>) {
        if committed.entry.kind == EntryKind::Extent {
            // Nobody needs the frame that speaks of it.
            return self.remember_extent(committed);
        }
        let mut frames = self.frames.borrow_mut();
        let sequence = committed.lsn.sequence;
        // Entries that are shown early come before others of the same frames.
        let at = frames.partition_point(|frame| frame.sequence < sequence);
        if frames.get(at).is_none_or(|frame| frame.sequence != sequence) {
            let len = frame_len(&committed.frame);
            self.frame_bytes.set(self.frame_bytes.get() + len);
            let frame = Rc::clone(&committed.frame);
            frames.insert(at, CachedFrame { frame, sequence, logs: Vec::new() });
        }
        // A frame holds many entries of few logs.
        if committed.log.last_frame.replace(sequence) != sequence
            && let Some(frame) = frames.get_mut(at)
        {
            frame.logs.push(Rc::clone(&committed.log));
        }
    }
}

impl<D: Disk, S: Derived> Store<D, S> {
    fn remember_extent(&self, committed: &Committed<D, LogRef<D, S>>) {
        let Some(extent) = &committed.extent else { return };
        let pieces: Vec<_> = extent.pieces.iter().map(|piece| Rc::clone(&piece.buffer)).collect();
        let bytes: u64 = pieces.iter().map(|piece| frame_len(piece)).sum();
        self.frame_bytes.set(self.frame_bytes.get() + bytes);
        let to = Cursor { segment: committed.entry.segment, position: extent.to };
        let (sequence, log) = (committed.lsn.sequence, Rc::clone(&committed.log));
        self.extents.borrow_mut().push_back(CachedExtent { pieces, sequence, to, log });
    }
}

fn frame_len<D: Disk>(frame: &Pooled<D>) -> u64 {
    frame.as_ref().len() as u64
}

impl<D: Disk, S: Derived> Log<D, S> {
    /// Lets go of what a frame holds of this log, if segments have it.
    fn evict(&self, sequence: u64) -> bool {
        let mut loaded = self.loaded.borrow_mut();
        loaded.as_mut().is_none_or(|loaded| {
            let safe = loaded.safe();
            loaded.runs.evict(sequence, safe)
        })
    }

    /// Lets go of everything up to `to`, if segments have it.
    fn evict_to(&self, to: Cursor) -> bool {
        let mut loaded = self.loaded.borrow_mut();
        loaded.as_mut().is_none_or(|loaded| {
            let safe = loaded.safe();
            loaded.runs.evict_to(to, safe)
        })
    }
}

impl<D: Disk, S: Derived> Loaded<D, S> {
    /// What is on its way to a segment is held by the write, and what was carried counts where it goes on from there.
    pub(crate) fn safe(&self) -> Cursor {
        let carried = self.carried.as_ref().filter(|carried| carried.start <= self.dispatched);
        carried.map_or(self.dispatched, |carried| carried.end().max(self.dispatched))
    }
}
