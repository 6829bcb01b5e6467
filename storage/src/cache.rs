//! Committed frames in memory and their budget, first in first out.

use std::rc::{Rc, Weak};

use crate::derived::Derived;
use crate::disk::Disk;
use crate::journal::Committed;
use crate::log::Log;
use crate::pool::Pooled;
use crate::store::{LogRef, Store};

/// A frame, and whose bytes are in it.
pub(crate) struct CachedFrame<D: Disk, S> {
    frame: Rc<Pooled<D>>,
    sequence: u64,
    logs: Vec<LogRef<D, S>>,
}

impl<D: Disk, S: Derived> Store<D, S> {
    /// Drops the oldest frames until the rest fits the budget. Frames that segments do not have yet stay.
    pub(crate) fn shrink_cache(&self) {
        let plan = &self.options.plan;
        let budget = plan.cache - plan.read_ahead() + plan.ring;
        let mut frames = self.frames.borrow_mut();
        while self.frame_bytes.get() > budget {
            let Some(oldest) = frames.front() else { return };
            if !oldest.logs.iter().all(|log| log.evict(oldest.sequence)) {
                return;
            }
            if let Some(gone) = frames.pop_front() {
                self.frame_bytes.set(self.frame_bytes.get() - frame_len(&gone.frame));
                if Rc::strong_count(&gone.frame) > 1 {
                    self.pinned.borrow_mut().push(Rc::downgrade(&gone.frame));
                }
            }
        }
    }

    /// Bytes of frames that left the cache and are in memory all the same, because readers or writes hold them.
    pub fn pinned_bytes(&self) -> u64 {
        let mut pinned = self.pinned.borrow_mut();
        pinned.retain(|frame| frame.strong_count() > 0);
        pinned.iter().filter_map(Weak::upgrade).map(|frame| frame_len(&frame)).sum()
    }

    pub(crate) fn remember(&self, committed: &Committed<D, LogRef<D, S>>) {
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

fn frame_len<D: Disk>(frame: &Pooled<D>) -> u64 {
    frame.as_ref().len() as u64
}

impl<D: Disk, S: Derived> Log<D, S> {
    /// Lets go of what a frame holds of this log, if segments have it.
    fn evict(&self, sequence: u64) -> bool {
        let mut loaded = self.loaded.borrow_mut();
        let Some(loaded) = loaded.as_mut() else { return true };
        // What is on its way to a segment is held by the write, and what was carried counts where it goes on from there.
        let carried = loaded.carried.as_ref().filter(|carried| carried.start <= loaded.dispatched);
        let safe = carried.map_or(loaded.dispatched, |carried| carried.end().max(loaded.dispatched));
        loaded.runs.evict(sequence, safe)
    }
}
