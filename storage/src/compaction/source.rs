//! Reading segments from their beginning to their end, a few whole batches at a time. While those are looked at, what follows them is read.

use std::rc::Rc;

use model::batch::{HEADER_BYTES, Header as BatchHeader};
use model::limits::BLOCK;
use model::{Offset, TimestampMs, TopicPartition};

use super::CompactionLimits;
use super::plan::Part;
use crate::bytes_at::{block_down, block_up, len_u64, to_usize};
use crate::derived::Derived;
use crate::disk::{Disk, File};
use crate::load::damaged_at;
use crate::log::Log;
use crate::segment::FIRST_POSITION;
use crate::store::{Store, StoreError};

/// What comes next.
pub(super) enum Chunk {
    /// Whole batches.
    Batches(Batches),
    /// One that is too large to be looked into.
    Large(Large),
}

/// Whole batches: the first `len` bytes. They are to be given back ([`Source::take_back`]).
pub(super) struct Batches {
    pub bytes: Vec<u8>,
    pub len: usize,
}

impl Batches {
    /// Those from one that begins at `at` on.
    pub fn since(&self, at: usize) -> &[u8] {
        self.bytes.get(at..self.len).unwrap_or_default()
    }
}

/// A large batch and where it stands.
pub(super) struct Large {
    pub base: Offset,
    pub at: u64,
    pub len: u64,
    pub max_timestamp: TimestampMs,
}

/// Bytes of a segment from `at` on, before `to`.
struct Read<D: Disk> {
    at: u64,
    to: u64,
    /// Of whole blocks around them.
    buffer: Rc<D::Buffer>,
}

/// A segment being read.
pub(super) struct Source<D: Disk> {
    id: TopicPartition,
    part: Part,
    limits: CompactionLimits,
    step_bytes: u64,
    /// Where the bytes held begin.
    at: u64,
    held: Vec<u8>,
    /// Base offset that the next batch must have, or more where there may be gaps.
    next: Offset,
    /// What is to be read while batches are looked at.
    wanted: Option<(u64, u64)>,
    ahead: Option<Read<D>>,
}

impl<D: Disk> Source<D> {
    /// At the beginning of a segment.
    pub fn new(id: TopicPartition, part: &Part, limits: CompactionLimits) -> Self {
        Self {
            id,
            part: *part,
            limits,
            step_bytes: len_u64(limits.step_bytes()),
            at: FIRST_POSITION,
            held: Vec::with_capacity(limits.step_bytes() + BLOCK),
            next: part.name.base,
            wanted: None,
            ahead: None,
        }
    }

    /// None at the end, and once the segment lies before the log start: it is about to go then, or has gone.
    pub async fn next<S: Derived>(
        &mut self,
        store: &Store<D, S>,
        log: &Log<D, S>,
    ) -> Result<Option<Chunk>, StoreError> {
        let next = self.find_next(store).await;
        if self.part.is_before(log.log_start()) { Ok(None) } else { next }
    }

    async fn find_next<S: Derived>(&mut self, store: &Store<D, S>) -> Result<Option<Chunk>, StoreError> {
        loop {
            let whole = self.whole(store)?;
            if whole > 0 {
                return Ok(Some(Chunk::Batches(self.hand_out(whole))));
            }
            if self.at >= self.part.size {
                return Ok(None);
            }
            let size = size_of_first(&self.held);
            if self.at + len_u64(size.max(HEADER_BYTES)) > self.part.size {
                return Err(self.damaged(store, "a record batch reaches past the end of the segment"));
            }
            if let Some(large) = self.pass_large() {
                return Ok(Some(Chunk::Large(large)));
            }
            store.lend_for_batches(&self.limits, size);
            // One that takes several reads is held alone.
            self.held.reserve_exact(size.saturating_sub(self.held.len()));
            let (at, to) = self.place_behind(&self.held, self.at);
            let read = match self.ahead.take().filter(|ahead| (ahead.at, ahead.to) == (at, to)) {
                Some(ahead) => ahead,
                None => self.read(store, at, to).await?,
            };
            let bytes = self.bytes(store, &read)?;
            self.held.extend_from_slice(bytes);
        }
    }

    fn hand_out(&mut self, len: usize) -> Batches {
        let bytes = std::mem::take(&mut self.held);
        self.at += len_u64(len);
        let rest = bytes.get(len..).unwrap_or_default();
        let (at, to) = self.place_behind(rest, self.at);
        let looked_into = size_of_first(rest) <= self.limits.batch_bytes_max;
        self.wanted = (at < to && looked_into).then_some((at, to));
        Batches { bytes, len }
    }

    /// Reads what is wanted behind the batches that were handed out. What goes wrong is told when it is their turn.
    pub async fn read_ahead<S: Derived>(&mut self, store: &Store<D, S>) {
        if let Some((at, to)) = self.wanted.take() {
            self.ahead = self.read(store, at, to).await.ok();
        }
    }

    /// The batches that were handed out are done with.
    pub fn take_back(&mut self, batches: Batches) {
        let Batches { mut bytes, len } = batches;
        bytes.drain(..len);
        // A large one is not carried on.
        bytes.shrink_to(to_usize(self.step_bytes) + BLOCK);
        self.held = bytes;
    }

    /// From where to where to read behind `held`, which begins at `start`: a step together with that, or more of a batch that is larger.
    fn place_behind(&self, held: &[u8], start: u64) -> (u64, u64) {
        let at = start + len_u64(held.len());
        let size = len_u64(size_of_first(held));
        let end = if size > self.step_bytes { start + size } else { block_up(start + self.step_bytes) };
        (at, end.min(block_down(at) + self.step_bytes).min(self.part.size))
    }

    /// Goes on behind the batch whose beginning is held, if that is too large.
    fn pass_large(&mut self) -> Option<Large> {
        let header = BatchHeader::parse(&self.held).ok()?;
        let (base, len, max_timestamp) = (header.base_offset(), header.size_bytes(), header.max_timestamp());
        if len <= self.limits.batch_bytes_max {
            return None;
        }
        let large = Large { base, at: self.at, len: len_u64(len), max_timestamp };
        self.next = header.last_offset().next();
        self.held.clear();
        self.at += large.len;
        Some(large)
    }

    /// Some bytes of a large batch; none behind its end, and once the segment lies before the log start.
    pub async fn piece<S: Derived>(
        &self,
        store: &Store<D, S>,
        log: &Log<D, S>,
        large: &Large,
        at: u64,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let end = large.at + large.len;
        if at >= end {
            return Ok(None);
        }
        let read = self.read(store, at, end.min(block_down(at) + self.step_bytes)).await;
        if self.part.is_before(log.log_start()) {
            return Ok(None);
        }
        self.bytes(store, &read?).map(|bytes| Some(bytes.to_vec()))
    }

    async fn read<S: Derived>(&self, store: &Store<D, S>, at: u64, to: u64) -> Result<Read<D>, StoreError> {
        let name = self.part.name;
        let failed = |error| damaged_at(&store.paths, self.id, name, at, &error);
        let start = block_down(at);
        let file = store.files.get((self.id, name)).await.map_err(failed)?;
        let buffer = file.read(start, to_usize(block_up(to) - start)).await.map_err(failed)?;
        store.count(|counters| counters.compaction_read_bytes += to - start);
        Ok(Read { at, to, buffer })
    }

    fn bytes<'a, S: Derived>(&self, store: &Store<D, S>, read: &'a Read<D>) -> Result<&'a [u8], StoreError> {
        let start = block_down(read.at);
        let bytes: &[u8] = (*read.buffer).as_ref();
        let bytes = bytes.get(to_usize(read.at - start)..to_usize(read.to - start));
        bytes.ok_or_else(|| self.damaged(store, "the segment is shorter than its log"))
    }

    /// How many of the bytes held are whole batches, each in its place.
    fn whole<S: Derived>(&mut self, store: &Store<D, S>) -> Result<usize, StoreError> {
        let mut whole = 0;
        while let Some(rest) = self.held.get(whole..).filter(|rest| rest.len() >= HEADER_BYTES) {
            let header = BatchHeader::parse(rest).map_err(|error| self.damaged(store, &error.to_string()))?;
            let (base, last) = (header.base_offset(), header.last_offset());
            let follows = base == self.next || (self.part.name.has_gaps() && base > self.next);
            if !follows || last < base || last >= self.part.end {
                return Err(self.damaged(store, "a record batch out of place"));
            }
            if header.size_bytes() > rest.len() || header.size_bytes() > self.limits.batch_bytes_max {
                break;
            }
            whole += header.size_bytes();
            self.next = last.next();
        }
        Ok(whole)
    }

    /// Something is wrong with what was read.
    pub fn damaged<S: Derived>(&self, store: &Store<D, S>, what: &str) -> StoreError {
        damaged_at(&store.paths, self.id, self.part.name, self.at, &what)
    }
}

/// Bytes of the batch at the front, as far as they are known.
fn size_of_first(bytes: &[u8]) -> usize {
    BatchHeader::parse(bytes).map_or(0, |header| header.size_bytes())
}
