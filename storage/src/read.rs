//! Reading a log: from frames in memory while they last, else from segments; never past what is durable.

mod held;
mod lookup;

use std::cmp::Ordering;
use std::ops::Range;
use std::rc::Rc;

use model::Offset;
use model::batch::{Header as BatchHeader, RecordBatch};
use model::limits::SEGMENT_READ_BYTES;

use crate::bytes_at::len_u64;
use crate::derived::Derived;
use crate::disk::Disk;
use crate::index::Start;
use crate::load::damaged_at;
use crate::log::Loaded;
use crate::segment::Cursor;
use crate::store::{LogRef, Store, StoreError};

/// Bytes of a log held in memory by somebody: a part of a journal frame, or of what was read from a segment.
#[derive(Clone)]
pub struct Piece {
    /// Who holds them.
    pub owner: Rc<dyn AsRef<[u8]>>,
    /// Which part.
    pub range: Range<usize>,
}

impl Piece {
    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        let all: &[u8] = (*self.owner).as_ref();
        all.get(self.range.clone()).unwrap_or(&[])
    }
}

/// First bytes read to find where a batch begins and how long it is.
const PROBE_BYTES: u64 = 64 << 10;

/// What is read next of one segment.
#[derive(Clone, Copy)]
struct Extent {
    segment: Offset,
    /// Where to look from, and where the durable part ends.
    from: u64,
    to: u64,
    /// Base offset of the batch at `from`, when known. No checksum of a batch covers that, so it must be what follows from the
    /// batch before. (Compaction will have to tell gaps it made from those it did not.)
    base_offset: Option<Offset>,
}

impl<D: Disk, S: Derived> Store<D, S> {
    /// Whole batches from the one that holds `from`, at most `bytes_max` in all but always the first, none at or past `before`.
    /// Empty at the end of the log. The log must be loaded.
    pub async fn read(
        &self,
        log: &LogRef<D, S>,
        from: Offset,
        bytes_max: usize,
        before: Offset,
    ) -> Result<Vec<Piece>, StoreError> {
        let _reading = log.reading();
        let read = self.read_loaded(log, from, bytes_max, before).await;
        // What was being read may have gone meanwhile; that is no damage.
        match read {
            Err(StoreError::Damaged(_)) if log.is_deleted() => Err(StoreError::Deleted),
            Err(StoreError::Damaged(_)) if from < log.log_start() => Err(StoreError::OutOfRange),
            read => self.noting_damage(read),
        }
    }

    async fn read_loaded(
        &self,
        log: &LogRef<D, S>,
        from: Offset,
        bytes_max: usize,
        before: Offset,
    ) -> Result<Vec<Piece>, StoreError> {
        let before = before.min(log.durable_end());
        if from < log.log_start() || from > log.durable_end() {
            return Err(StoreError::OutOfRange);
        }
        if from >= before {
            return Ok(Vec::new());
        }
        let cached = {
            let mut loaded = log.loaded.borrow_mut();
            let loaded = loaded.as_mut().ok_or(StoreError::Deleted)?;
            loaded.touched_ms = self.disk.now_ms();
            loaded.in_memory(from, bytes_max, before)
        };
        if !cached.is_empty() {
            return Ok(cached);
        }
        self.read_cold(log, from, bytes_max, before).await
    }

    /// Counts what could not be read, because of damage or a failing disk.
    pub(crate) fn noting_damage<T>(&self, read: Result<T, StoreError>) -> Result<T, StoreError> {
        if matches!(read, Err(StoreError::Damaged(_))) {
            self.count(|counters| counters.damaged_reads += 1);
        }
        read
    }

    /// The same from segments: finds the batch by the index, reads, verifies.
    async fn read_cold(
        &self,
        log: &LogRef<D, S>,
        from: Offset,
        bytes_max: usize,
        before: Offset,
    ) -> Result<Vec<Piece>, StoreError> {
        let mut wanted = from;
        loop {
            let segment = self.segment_of(log, wanted)?;
            self.ensure_index(log, segment).await?;
            let extent = self.extent(log, wanted, |index| index.position_for(wanted))?;
            if let Some(start) = self.find(log, extent, |batch| batch.last_offset() >= wanted).await? {
                return self
                    .batches_at(log, Extent { from: start, base_offset: None, ..extent }, bytes_max, before)
                    .await;
            }
            // The segment has nothing at or behind the offset: compaction or truncation left a gap.
            match self.next_segment(log, segment) {
                Some(next) if next < before => wanted = next.max(wanted),
                _ => return Ok(Vec::new()),
            }
            if wanted > before || self.segment_of(log, wanted)? == segment {
                return Ok(Vec::new());
            }
        }
    }

    /// The batch that holds `offset`: its base offset and where it stands.
    pub(crate) async fn position_of(
        &self,
        log: &LogRef<D, S>,
        offset: Offset,
    ) -> Result<(Offset, Cursor), StoreError> {
        let segment = self.segment_of(log, offset)?;
        self.ensure_index(log, segment).await?;
        let extent = self.extent(log, offset, |index| index.position_for(offset))?;
        let at = self
            .find(log, extent, |batch| batch.last_offset() >= offset)
            .await?
            .ok_or(StoreError::OutOfRange)?;
        let piece = self.bytes(log, extent, at, model::batch::HEADER_BYTES as u64).await?;
        let header = BatchHeader::parse(piece.bytes())
            .map_err(|error| damaged_at(&self.paths, log.id, segment, at, &error))?;
        Ok((header.base_offset(), Cursor { segment, position: at }))
    }

    fn segment_of(&self, log: &LogRef<D, S>, offset: Offset) -> Result<Offset, StoreError> {
        let loaded = log.loaded.borrow();
        let loaded = loaded.as_ref().ok_or(StoreError::Deleted)?;
        let at = loaded.segment_of(offset);
        loaded.segments.get(at).map(|segment| segment.base).ok_or(StoreError::OutOfRange)
    }

    fn next_segment(&self, log: &LogRef<D, S>, base: Offset) -> Option<Offset> {
        let loaded = log.loaded.borrow();
        let loaded = loaded.as_ref()?;
        loaded.segments.iter().map(|segment| segment.base).find(|next| *next > base)
    }

    fn extent(
        &self,
        log: &LogRef<D, S>,
        offset: Offset,
        start: impl FnOnce(&crate::index::Index) -> Start,
    ) -> Result<Extent, StoreError> {
        let loaded = log.loaded.borrow();
        let loaded = loaded.as_ref().ok_or(StoreError::Deleted)?;
        let segment = loaded.segments.get(loaded.segment_of(offset)).ok_or(StoreError::OutOfRange)?;
        let index = segment.index.as_ref().ok_or(StoreError::Deleted)?;
        Ok(loaded.extent(segment.base, segment.size, start(index)))
    }

    /// Position of the first batch from `extent.from` on that `matches`.
    async fn find(
        &self,
        log: &LogRef<D, S>,
        extent: Extent,
        matches: impl Fn(&BatchHeader<'_>) -> bool,
    ) -> Result<Option<u64>, StoreError> {
        let mut at = extent.from;
        let mut expected = extent.base_offset;
        while at < extent.to {
            let piece = self.bytes(log, extent, at, PROBE_BYTES.min(extent.to - at)).await?;
            let mut bytes = piece.bytes();
            let begun = at;
            while let Ok(header) = BatchHeader::parse(bytes) {
                follows(header.base_offset(), expected)
                    .map_err(|what| damaged_at(&self.paths, log.id, extent.segment, at, &what))?;
                expected = Some(header.last_offset().next());
                if matches(&header) {
                    return Ok(Some(at));
                }
                at += len_u64(header.size_bytes());
                match bytes.get(header.size_bytes()..) {
                    Some(rest) if rest.len() >= model::batch::HEADER_BYTES => bytes = rest,
                    _ => break,
                }
            }
            if at == begun {
                return Err(damaged_at(
                    &self.paths,
                    log.id,
                    extent.segment,
                    at,
                    &"no record batch where one must be",
                ));
            }
        }
        Ok(None)
    }

    /// Reads and verifies whole batches from `extent.from`.
    async fn batches_at(
        &self,
        log: &LogRef<D, S>,
        extent: Extent,
        bytes_max: usize,
        before: Offset,
    ) -> Result<Vec<Piece>, StoreError> {
        let at = extent.from;
        let damaged =
            |what: &dyn std::fmt::Display| damaged_at(&self.paths, log.id, extent.segment, at, what);
        let most = bytes_max.clamp(4096, SEGMENT_READ_BYTES);
        let mut piece = self.bytes(log, extent, at, len_u64(most).min(extent.to - at)).await?;
        let first = BatchHeader::parse(piece.bytes()).map_err(|error| damaged(&error))?.size_bytes();
        if first > piece.bytes().len() {
            if len_u64(first) > extent.to - at {
                return Err(damaged(&"a record batch reaches past the end of the log"));
            }
            piece = self.bytes(log, extent, at, len_u64(first)).await?;
        }
        let mut used = 0;
        let mut expected = None;
        for batch in RecordBatch::all_in(piece.bytes()) {
            let Ok(batch) = batch else { break };
            let size = batch.size_bytes();
            if batch.base_offset() >= before || (used > 0 && used + size > bytes_max.max(first)) {
                break;
            }
            let sound = sound(&batch, expected);
            if used > 0 && sound.is_err() {
                // What is whole is served; the next read begins here and fails.
                break;
            }
            sound.map_err(|what| damaged(&what))?;
            expected = Some(batch.last_offset().next());
            used += size;
        }
        if used == 0 {
            RecordBatch::parse(piece.bytes()).map_err(|error| damaged(&error))?;
            return Ok(Vec::new());
        }
        piece.range.end = piece.range.start + used;
        self.count(|counters| counters.read_bytes += len_u64(used));
        // Small records must not keep a large buffer alive for as long as a peer takes to take them.
        if 2 * used < (*piece.owner).as_ref().len() {
            piece = Piece { owner: Rc::new(piece.bytes().to_vec()), range: 0..used };
        }
        Ok(vec![piece])
    }
}

/// Whether a batch is what was appended, and follows the one before. Its checksum does not cover its base offset.
fn sound(batch: &RecordBatch<'_>, expected: Option<Offset>) -> Result<(), String> {
    batch.check_crc().map_err(|error| error.to_string())?;
    follows(batch.base_offset(), expected)
}

fn follows(base: Offset, expected: Option<Offset>) -> Result<(), String> {
    match expected {
        Some(expected) if expected != base => {
            Err(format!("a record batch with base offset {base} where {expected} must follow"))
        }
        _ => Ok(()),
    }
}

impl<D: Disk, S: Derived> Loaded<D, S> {
    /// Where one segment can be read: `from` up to what is durable of it.
    fn extent(&self, base: Offset, size: u64, start: Start) -> Extent {
        let Start { position: from, base_offset } = start;
        let to = match base.cmp(&self.readable.segment) {
            Ordering::Less => size,
            Ordering::Equal => self.readable.position,
            Ordering::Greater => from,
        };
        Extent { segment: base, from, to, base_offset }
    }
}
