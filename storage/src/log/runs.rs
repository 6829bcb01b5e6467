//! Committed bytes that are still in memory, in log order: cache, fetch source and flush source at once.

use std::collections::VecDeque;
use std::rc::Rc;

use model::Offset;

use crate::disk::Disk;
use crate::pool::Pooled;
use crate::segment::Cursor;

/// The bytes of one entry (or fragment) within a journal frame.
pub(crate) struct Run<D: Disk> {
    /// Where they stand in the log.
    pub start: Cursor,
    pub len: usize,
    /// Offsets of the whole append: first, and after the last.
    pub base: Offset,
    pub end: Offset,
    /// Whether the append begins here, and whether it ends here.
    pub first: bool,
    pub last: bool,
    /// The frame's sequence: eviction goes by it.
    pub sequence: u64,
    pub frame: Rc<Pooled<D>>,
    /// Where in the frame.
    pub frame_start: usize,
}

impl<D: Disk> Run<D> {
    pub fn end_cursor(&self) -> Cursor {
        Cursor { segment: self.start.segment, position: self.start.position + self.len as u64 }
    }

    pub fn bytes(&self) -> &[u8] {
        let frame: &[u8] = (*self.frame).as_ref();
        &frame[self.frame_start..self.frame_start + self.len]
    }
}

/// Runs in log order without gaps between neighbours of one segment.
pub(crate) struct Runs<D: Disk> {
    runs: VecDeque<Run<D>>,
}

impl<D: Disk> Default for Runs<D> {
    fn default() -> Self {
        Self { runs: VecDeque::new() }
    }
}

impl<D: Disk> Runs<D> {
    pub fn push(&mut self, run: Run<D>) {
        if let Some(last) = self.runs.back() {
            assert!(last.end_cursor() <= run.start, "runs follow each other");
            assert!(last.sequence <= run.sequence, "and so do their frames");
        }
        self.runs.push_back(run);
    }

    /// Copies what is in memory of [from, to) of one segment to the places in `out` that begin at `from`. Returns how many
    /// bytes it could supply.
    pub fn copy(&self, from: Cursor, to: u64, out: &mut [u8]) -> usize {
        let mut copied = 0;
        let first = self.runs.partition_point(|run| run.end_cursor() <= from);
        for run in self.runs.iter().skip(first) {
            if run.start.segment != from.segment || run.start.position >= to {
                break;
            }
            let begin = run.start.position.max(from.position);
            let end = run.end_cursor().position.min(to);
            let source = at(begin - run.start.position)..at(end - run.start.position);
            let target = at(begin - from.position)..at(end - from.position);
            out[target].copy_from_slice(&run.bytes()[source]);
            copied += at(end - begin);
        }
        copied
    }

    /// The runs from the one that holds `offset`, if its append is in memory whole.
    pub fn holding(&self, offset: Offset) -> impl Iterator<Item = &Run<D>> {
        let first = self.runs.partition_point(|run| run.end <= offset);
        let holds = self.runs.get(first).is_some_and(|run| run.first && run.base <= offset);
        self.runs.iter().skip(first).take_while(move |_| holds)
    }

    /// Drops the runs of frames up to `sequence`, all of which must be up to `safe`. False when some are not.
    pub fn evict(&mut self, sequence: u64, safe: Cursor) -> bool {
        let count = self.runs.partition_point(|run| run.sequence <= sequence);
        let last = count.checked_sub(1).and_then(|last| self.runs.get(last));
        if last.is_some_and(|run| run.end_cursor() > safe) {
            return false;
        }
        self.runs.drain(..count);
        if self.runs.is_empty() {
            self.runs = VecDeque::new();
        }
        true
    }

    /// Drops the runs up to `to`, all of which must be up to `safe`. False when some are not.
    pub fn evict_to(&mut self, to: Cursor, safe: Cursor) -> bool {
        let count = self.runs.partition_point(|run| run.end_cursor() <= to.min(safe));
        self.runs.drain(..count);
        if self.runs.is_empty() {
            self.runs = VecDeque::new();
        }
        self.runs.front().is_none_or(|run| run.end_cursor() > to)
    }

    pub fn clear(&mut self) {
        self.runs = VecDeque::new();
    }
}

/// Positions within one segment's runs fit memory.
fn at(position: u64) -> usize {
    crate::bytes_at::to_usize(position)
}
