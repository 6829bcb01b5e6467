//! Reading a log: from frames in memory while they last, else from segments; never past what is durable.

pub(crate) mod ahead;
mod held;
mod lookup;

use std::cmp::Ordering;
use std::ops::Range;
use std::rc::Rc;

use model::Offset;
use model::batch::{Header as BatchHeader, RecordBatch};
use model::limits::{BLOCK, SEGMENT_READ_BYTES};

use crate::bytes_at::len_u64;
use crate::derived::Derived;
use crate::disk::Disk;
use crate::index::Start;
use crate::load::damaged_at;
use crate::log::{Loaded, Segment};
use crate::segment::{Cursor, SegmentName};
use crate::store::{LogRef, Store, StoreError};
use ahead::{Place, Purpose};

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

/// How much one read gives.
#[derive(Clone, Copy, Debug)]
pub struct ReadLimits {
    /// Bytes of whole batches.
    pub bytes_max: usize,
    /// No batch at or past this offset, nor any that is not durable.
    pub before: Offset,
    /// The first batch is given even if it is larger.
    pub always_one: bool,
    /// What is not in memory is given too.
    pub cold: bool,
}

impl ReadLimits {
    /// At least one batch, about so many bytes of them, up to the end.
    #[must_use]
    pub const fn bytes(bytes_max: usize) -> Self {
        Self { bytes_max, before: Offset(i64::MAX), always_one: true, cold: true }
    }
}

/// First bytes read to find where a batch begins and how long it is.
const PROBE_BYTES: u64 = 64 << 10;

/// What is read next of one segment.
#[derive(Clone, Copy)]
struct Extent {
    segment: SegmentName,
    /// Where to look from, and where the durable part ends.
    from: u64,
    to: u64,
    /// Base offset of the batch at `from`, when known. No checksum of a batch covers that, so it must be what follows from the
    /// batch before; where compaction may have left gaps, that or more.
    base_offset: Option<Offset>,
}

impl<D: Disk, S: Derived> Store<D, S> {
    /// Whole batches from the one that holds `from`. Empty at the end of the log, or when the first is too large. The log must be
    /// loaded. Who goes on where a read of segments ended finds the next bytes in memory.
    pub async fn read(
        self: &Rc<Self>,
        log: &LogRef<D, S>,
        from: Offset,
        limits: ReadLimits,
    ) -> Result<Vec<Piece>, StoreError> {
        let _reading = log.reading();
        let before = limits.before.min(log.durable_end());
        let read = loop {
            let replaced = log.replaced.get();
            let read = self.read_loaded(log, from, ReadLimits { before, ..limits }).await;
            if read.is_ok() || log.replaced.get() == replaced {
                break read;
            }
        };
        // What was being read may have gone meanwhile; that is no damage.
        match read {
            Err(StoreError::Damaged(_)) if log.is_deleted() => Err(StoreError::Deleted),
            Err(StoreError::Damaged(_)) if from < log.log_start() => Err(StoreError::OutOfRange),
            read => self.noting_damage(read),
        }
    }

    async fn read_loaded(
        self: &Rc<Self>,
        log: &LogRef<D, S>,
        from: Offset,
        limits: ReadLimits,
    ) -> Result<Vec<Piece>, StoreError> {
        if from < log.log_start() || from > log.durable_end() {
            return Err(StoreError::OutOfRange);
        }
        if from >= limits.before {
            return Ok(Vec::new());
        }
        let cached = {
            let mut loaded = log.loaded.borrow_mut();
            let loaded = loaded.as_mut().ok_or(StoreError::Deleted)?;
            loaded.touched_ms = self.disk.now_ms();
            loaded.in_memory(from, limits)
        };
        if let Some(cached) = cached {
            return Ok(cached);
        }
        if !limits.cold {
            return Ok(Vec::new());
        }
        self.read_cold(log, from, limits).await
    }

    /// Counts what could not be read, because of damage or a failing disk.
    pub(crate) fn noting_damage<T>(&self, read: Result<T, StoreError>) -> Result<T, StoreError> {
        if matches!(read, Err(StoreError::Damaged(_))) {
            self.count(|counters| counters.damaged_reads += 1);
        }
        read
    }

    /// The same from segments: goes on where an earlier read ended, else finds the batch by the index; reads, verifies.
    async fn read_cold(
        self: &Rc<Self>,
        log: &LogRef<D, S>,
        from: Offset,
        limits: ReadLimits,
    ) -> Result<Vec<Piece>, StoreError> {
        if let Some(place) = self.ahead.place(log.id, from)
            && let Some(extent) = self.still_there(log, &place)
        {
            return self.read_on(log, place, extent, limits).await;
        }
        let mut wanted = from;
        loop {
            let segment = self.segment_of(log, wanted)?;
            self.ensure_index(log, segment).await?;
            let extent = self.extent(log, wanted, |index| index.position_for(wanted))?;
            // Now: when the segment has been searched, compaction may have made one of it and of those behind it, or the log be gone.
            let next = self.next_segment(log, extent.segment.base);
            if let Some(start) = self.find(log, extent, |batch| batch.last_offset() >= wanted).await? {
                let extent = Extent { from: start, base_offset: None, ..extent };
                let piece = self.bytes(log, extent, start, given(extent, limits)).await?;
                let (served, rest) = self.batches_in(log, extent, piece, limits).await?;
                if let Some((place, _)) = rest {
                    self.ahead.remember(place);
                }
                return Ok(served);
            }
            // The segment has nothing at or behind the offset: compaction or truncation left a gap.
            match next.filter(|next| *next < limits.before) {
                Some(next) => wanted = next,
                None => return Ok(Vec::new()),
            }
        }
    }

    /// Where a reader goes on, unless the log has changed there.
    fn still_there(&self, log: &LogRef<D, S>, place: &Place) -> Option<Extent> {
        let loaded = log.loaded.borrow();
        let loaded = loaded.as_ref()?;
        let segment = loaded.segments.get(loaded.segment_of(place.next))?;
        let at = place.point.at;
        let same = segment.base == at.segment
            && segment.generation == place.point.generation
            && loaded.incarnation == place.point.incarnation;
        let start = Start { position: at.position, base_offset: Some(place.next) };
        let extent = loaded.extent(segment, start);
        (same && extent.from < extent.to).then_some(extent)
    }

    /// Reads on: from what was read for whoever comes there, else as much as one read takes; and has more read when that is used up.
    async fn read_on(
        self: &Rc<Self>,
        log: &LogRef<D, S>,
        place: Place,
        extent: Extent,
        limits: ReadLimits,
    ) -> Result<Vec<Piece>, StoreError> {
        let now_ns = self.disk.now_ns();
        let mut there = self.ahead.read(&place.point, now_ns).await.filter(|piece| has_batch(piece.bytes()));
        let now_is_enough = given(extent, limits);
        if there.is_none() {
            if !self.read_ahead(log, &place, one_read(extent), Purpose::Later) {
                self.read_ahead(log, &place, now_is_enough, Purpose::Now);
            }
            there = self.ahead.read(&place.point, now_ns).await;
        }
        let piece = match there {
            Some(piece) => piece,
            None => self.bytes(log, extent, extent.from, now_is_enough).await?,
        };
        let (served, rest) = self.batches_in(log, extent, piece, limits).await?;
        if let Some((next, rest)) = rest {
            self.ahead.remember(next);
            if !has_batch(rest.bytes()) {
                self.ahead.used_up(&place.point);
                let held = self.ahead.held(&next.point);
                if held.is_none_or(|held| !has_batch(held.bytes()))
                    && let Some(extent) = self.still_there(log, &next)
                {
                    self.read_ahead(log, &next, one_read(extent), Purpose::Later);
                }
            }
        }
        Ok(served)
    }

    /// Has the bytes from `place` on read, for whoever comes for them. False when somebody does, or when there is no memory for it.
    fn read_ahead(self: &Rc<Self>, log: &LogRef<D, S>, place: &Place, len: u64, purpose: Purpose) -> bool {
        let Some(extent) = self.still_there(log, place) else { return false };
        let point = place.point;
        if !self.ahead.expect(point, len, purpose, self.disk.now_ns()) {
            return false;
        }
        let (store, log) = (Rc::clone(self), Rc::clone(log));
        self.disk.spawn(async move {
            let _reading = log.reading();
            // What cannot be read is told to who asks for it.
            let piece = store.bytes(&log, extent, extent.from, len).await.ok();
            store.ahead.arrived(&point, piece);
        });
        true
    }

    /// Where the log is to end so that nothing at or behind `offset` is left: the base offset of the batch that holds it and where that
    /// stands; `offset` itself and what follows it where compaction left no such batch.
    pub(crate) async fn position_of(
        &self,
        log: &LogRef<D, S>,
        offset: Offset,
    ) -> Result<(Offset, Cursor), StoreError> {
        let segment = self.segment_of(log, offset)?;
        self.ensure_index(log, segment).await?;
        let extent = self.extent(log, offset, |index| index.position_for(offset))?;
        let Some(at) = self.find(log, extent, |batch| batch.last_offset() >= offset).await? else {
            let end = Cursor { segment, position: extent.to };
            return if extent.segment.has_gaps() { Ok((offset, end)) } else { Err(StoreError::OutOfRange) };
        };
        let piece = self.bytes(log, extent, at, model::batch::HEADER_BYTES as u64).await?;
        let header = BatchHeader::parse(piece.bytes())
            .map_err(|error| damaged_at(&self.paths, log.id, extent.segment, at, &error))?;
        Ok((header.base_offset().min(offset), Cursor { segment, position: at }))
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
        Ok(loaded.extent(segment, start(index)))
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
                follows(header.base_offset(), expected, extent.segment)
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

    /// Verifies whole batches from `extent.from`, whose bytes, or the first of them, are in `piece`. Beside what is served: where
    /// the rest of them begins, and what there is of it.
    async fn batches_in(
        &self,
        log: &LogRef<D, S>,
        extent: Extent,
        mut piece: Piece,
        limits: ReadLimits,
    ) -> Result<(Vec<Piece>, Option<(Place, Piece)>), StoreError> {
        let at = extent.from;
        let point = |used| log.point(extent.segment, at + len_u64(used));
        let place = |next, used| Some(Place { next, point: point(used)? });
        let damaged =
            |what: &dyn std::fmt::Display| damaged_at(&self.paths, log.id, extent.segment, at, what);
        let header = BatchHeader::parse(piece.bytes()).map_err(|error| damaged(&error))?;
        let (first, base) = (header.size_bytes(), header.base_offset());
        follows(base, extent.base_offset, extent.segment).map_err(|what| damaged(&what))?;
        if len_u64(first) > extent.to - at {
            return Err(damaged(&"a record batch reaches past the end of the log"));
        }
        if first > limits.bytes_max && !limits.always_one {
            return Ok((Vec::new(), place(base, 0).map(|place| (place, piece))));
        }
        if first > piece.bytes().len() {
            piece = self.bytes(log, extent, at, len_u64(first)).await?;
        }
        let mut used = 0;
        let mut expected = extent.base_offset;
        for batch in RecordBatch::all_in(piece.bytes()) {
            let Ok(batch) = batch else { break };
            let size = batch.size_bytes();
            if batch.base_offset() >= limits.before || (used > 0 && used + size > limits.bytes_max.max(first))
            {
                break;
            }
            let sound = sound(&batch, expected, extent.segment);
            if used > 0 && sound.is_err() {
                // What is whole is served; the next read begins here and fails.
                break;
            }
            sound.map_err(|what| damaged(&what))?;
            expected = Some(batch.last_offset().next());
            used += size;
        }
        let Some(next) = expected.filter(|_| used > 0) else {
            RecordBatch::parse(piece.bytes()).map_err(|error| damaged(&error))?;
            return Ok((Vec::new(), None));
        };
        let rest = Piece { range: piece.range.start + used..piece.range.end, owner: Rc::clone(&piece.owner) };
        let place = place(next, used);
        piece.range.end = piece.range.start + used;
        // Small records must not keep a large buffer alive for as long as a peer takes to take them.
        if 2 * used < (*piece.owner).as_ref().len() {
            piece = Piece { owner: Rc::new(piece.bytes().to_vec()), range: 0..used };
        }
        Ok((vec![piece], place.map(|place| (place, rest))))
    }
}

/// As much of an extent as one read brings.
fn one_read(extent: Extent) -> u64 {
    len_u64(SEGMENT_READ_BYTES).min(extent.to - extent.from)
}

/// As much of an extent as limits let one read give.
fn given(extent: Extent, limits: ReadLimits) -> u64 {
    len_u64(limits.bytes_max.clamp(BLOCK, SEGMENT_READ_BYTES)).min(extent.to - extent.from)
}

/// Whether these bytes begin with a whole batch.
fn has_batch(bytes: &[u8]) -> bool {
    BatchHeader::parse(bytes).is_ok_and(|header| header.size_bytes() <= bytes.len())
}

/// Whether a batch is what was appended, and follows the one before. Its checksum does not cover its base offset.
fn sound(batch: &RecordBatch<'_>, expected: Option<Offset>, segment: SegmentName) -> Result<(), String> {
    batch.check_crc().map_err(|error| error.to_string())?;
    follows(batch.base_offset(), expected, segment)
}

fn follows(base: Offset, expected: Option<Offset>, segment: SegmentName) -> Result<(), String> {
    match expected {
        Some(expected) if base < expected || (base > expected && !segment.has_gaps()) => {
            Err(format!("a record batch with base offset {base} where {expected} must follow"))
        }
        _ => Ok(()),
    }
}

impl<D: Disk, S: Derived> Loaded<D, S> {
    /// Where one segment can be read: `from` up to what is durable of it.
    fn extent(&self, segment: &Segment, start: Start) -> Extent {
        let Start { position: from, base_offset } = start;
        let to = match segment.base.cmp(&self.readable.segment) {
            Ordering::Less => segment.size,
            Ordering::Equal => self.readable.position,
            Ordering::Greater => from,
        };
        Extent { segment: segment.name(), from, to, base_offset }
    }
}
