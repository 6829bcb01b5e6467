//! Where the bytes of a segment are: in its file, in memory, or partly in each.

use std::cmp::Ordering;
use std::rc::Rc;

use model::Offset;

use super::ahead::Point;
use super::{Extent, PROBE_BYTES, Piece, ReadLimits};
use crate::bytes_at::{block_down, block_up, len_u64, to_usize};
use crate::derived::Derived;
use crate::disk::{Disk, File};
use crate::load::damaged_at;
use crate::log::{Loaded, Log};
use crate::segment::{Cursor, SegmentName};
use crate::store::{LogRef, Store, StoreError};

impl<D: Disk, S: Derived> Store<D, S> {
    /// `len` bytes at `at` of a segment: read for somebody before, else from its file, from memory, or from both.
    pub(super) async fn bytes(
        &self,
        log: &LogRef<D, S>,
        extent: Extent,
        at: u64,
        len: u64,
    ) -> Result<Piece, StoreError> {
        let to = at + len;
        if let Some(held) = log.point(extent.segment, at).and_then(|point| self.ahead.held(&point))
            && held.range.len() >= to_usize(len)
        {
            return Ok(Piece { range: held.range.start..held.range.start + to_usize(len), ..held });
        }
        let mut bytes = Vec::new();
        let on_disk = {
            let loaded = log.loaded.borrow();
            let loaded = loaded.as_ref().ok_or(StoreError::Deleted)?;
            let on_disk = loaded.on_disk(extent.segment.base).clamp(at, to);
            if on_disk < to {
                // What memory has first: it may be let go while the file is read.
                bytes.resize(to_usize(len), 0);
                let cursor = Cursor { segment: extent.segment.base, position: on_disk };
                let found = loaded.copy_memory(cursor, to, &mut bytes[to_usize(on_disk - at)..]);
                if len_u64(found) < to - on_disk {
                    return Err(StoreError::OutOfRange); // The log was truncated meanwhile.
                }
            }
            on_disk
        };
        if on_disk == to {
            return self.bytes_of_file(log, extent.segment, at, len).await;
        }
        if on_disk > at {
            let piece = self.bytes_of_file(log, extent.segment, at, on_disk - at).await?;
            bytes[..to_usize(on_disk - at)].copy_from_slice(piece.bytes());
        }
        let end = bytes.len();
        Ok(Piece { owner: Rc::new(bytes), range: 0..end })
    }

    async fn bytes_of_file(
        &self,
        log: &LogRef<D, S>,
        segment: SegmentName,
        at: u64,
        len: u64,
    ) -> Result<Piece, StoreError> {
        let damaged = |what: &dyn std::fmt::Display| damaged_at(&self.paths, log.id, segment, at, what);
        let start = block_down(at);
        let _turn = if len > PROBE_BYTES { Some(self.large_reads.turn().await) } else { None };
        let file = self.files.get((log.id, segment)).await.map_err(|error| damaged(&error))?;
        let read = file.read(start, to_usize(block_up(at + len) - start)).await;
        let buffer = read.map_err(|error| damaged(&error))?;
        let from = to_usize(at - start);
        if (*buffer).as_ref().len() < from + to_usize(len) {
            return Err(damaged(&"the segment is shorter than its log"));
        }
        self.count(|counters| counters.read_bytes += len_u64((*buffer).as_ref().len()));
        Ok(Piece { owner: Rc::new(Held::<D>(buffer)), range: from..from + to_usize(len) })
    }
}

impl<D: Disk, S: Derived> Log<D, S> {
    /// A point in its segments as they are now; `None` unless it is in memory.
    pub(super) fn point(&self, segment: SegmentName, position: u64) -> Option<Point> {
        let incarnation = self.loaded.borrow().as_ref()?.incarnation;
        let SegmentName { base, generation } = segment;
        let at = Cursor { segment: base, position };
        Some(Point { partition: self.id, incarnation, generation, at })
    }
}

/// Keeps a buffer that was read alive.
struct Held<D: Disk>(Rc<D::Buffer>);

impl<D: Disk> AsRef<[u8]> for Held<D> {
    fn as_ref(&self) -> &[u8] {
        let buffer: &D::Buffer = &self.0;
        buffer.as_ref()
    }
}

impl<D: Disk, S: Derived> Loaded<D, S> {
    /// Up to where the file of a segment has it by now.
    fn on_disk(&self, base: Offset) -> u64 {
        match base.cmp(&self.written.segment) {
            Ordering::Less => u64::MAX,
            Ordering::Equal => self.written.position,
            Ordering::Greater => 0,
        }
    }

    /// Batches from memory, when the one that holds `from` is there; none of them if that is too large.
    pub(super) fn in_memory(&self, from: Offset, limits: ReadLimits) -> Option<Vec<Piece>> {
        let mut pieces = Vec::new();
        let mut used = 0;
        let (mut next, mut end): (Option<Cursor>, Option<Offset>) = (None, None);
        let mut open = 0;
        let mut too_large = false;
        for run in self.runs.holding(from) {
            let follows = next.is_none_or(|next| next == run.start || next.segment != run.start.segment);
            // Between two runs there may be an append that stands in its segment, but for its last bytes.
            let begun = pieces.len() > open || (run.first && end.is_none_or(|end| end == run.base));
            if !follows || !begun || run.base >= limits.before || run.end > limits.before {
                break;
            }
            if (open > 0 || !limits.always_one) && used + run.len > limits.bytes_max {
                too_large = open == 0;
                break;
            }
            let owner: Rc<dyn AsRef<[u8]>> = Rc::clone(&run.frame) as Rc<dyn AsRef<[u8]>>;
            pieces.push(Piece { owner, range: run.frame_start..run.frame_start + run.len });
            used += run.len;
            (next, end) = (Some(run.end_cursor()), Some(run.end));
            if run.last {
                open = pieces.len();
            }
            if run.last && used >= limits.bytes_max {
                break;
            }
        }
        // A large append that is not in memory to its end is left out.
        pieces.truncate(open);
        (open > 0 || too_large).then_some(pieces)
    }
}
