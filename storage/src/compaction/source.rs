//! Reading a segment from its beginning to its end, a few whole batches at a time.

use model::batch::{HEADER_BYTES, Header as BatchHeader};
use model::limits::COMPACTION_STEP_BYTES;
use model::{Offset, TimestampMs, TopicPartition};

use super::CompactionLimits;
use super::plan::Part;
use crate::bytes_at::{block_down, block_up, len_u64, to_usize};
use crate::derived::Derived;
use crate::disk::{Disk, File};
use crate::load::damaged_at;
use crate::segment::FIRST_POSITION;
use crate::store::{Store, StoreError};

/// Bytes of one read, and of one step.
const READ_BYTES: u64 = COMPACTION_STEP_BYTES as u64;

/// What comes next.
pub(super) enum Chunk {
    /// Whole batches.
    Batches(Vec<u8>),
    /// One that is too large to be looked into.
    Large(Large),
}

/// A large batch and where it stands.
pub(super) struct Large {
    pub base: Offset,
    pub at: u64,
    pub len: u64,
    pub max_timestamp: TimestampMs,
}

/// A segment being read.
pub(super) struct Source {
    id: TopicPartition,
    part: Part,
    limits: CompactionLimits,
    /// Where the bytes held begin.
    at: u64,
    held: Vec<u8>,
    /// Base offset that the next batch must have, or more where there may be gaps.
    next: Offset,
}

impl Source {
    pub fn new(id: TopicPartition, part: &Part, limits: CompactionLimits) -> Self {
        let (at, next) = (FIRST_POSITION, part.name.base);
        Self { id, part: *part, limits, at, held: Vec::new(), next }
    }

    /// None at the end.
    pub async fn next<D: Disk, S: Derived>(
        &mut self,
        store: &Store<D, S>,
    ) -> Result<Option<Chunk>, StoreError> {
        loop {
            let whole = self.whole(store)?;
            if whole > 0 {
                let rest = self.held.split_off(whole);
                self.at += len_u64(whole);
                return Ok(Some(Chunk::Batches(std::mem::replace(&mut self.held, rest))));
            }
            if self.at >= self.part.size {
                return Ok(None);
            }
            let size = BatchHeader::parse(&self.held).map_or(0, |header| header.size_bytes());
            if self.at + len_u64(size.max(HEADER_BYTES)) > self.part.size {
                return Err(self.damaged(store, "a record batch reaches past the end of the segment"));
            }
            if let Some(large) = self.pass_large() {
                return Ok(Some(Chunk::Large(large)));
            }
            let at = self.at + len_u64(self.held.len());
            store.lend_for_batches(&self.limits, size);
            let mut end = self.part.size;
            if size > COMPACTION_STEP_BYTES {
                // One that takes several reads is held alone.
                self.held.reserve_exact(size - self.held.len());
                end = self.at + len_u64(size);
            }
            let more = self.read(store, at, end).await?;
            self.held.extend_from_slice(&more);
        }
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
        self.held = Vec::new();
        self.at += large.len;
        Some(large)
    }

    /// Some bytes of a large batch; none behind its end.
    pub async fn piece<D: Disk, S: Derived>(
        &self,
        store: &Store<D, S>,
        large: &Large,
        at: u64,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let end = large.at + large.len;
        if at >= end { Ok(None) } else { self.read(store, at, end).await.map(Some) }
    }

    /// Bytes from `at` on, before `end`, at least one.
    async fn read<D: Disk, S: Derived>(
        &self,
        store: &Store<D, S>,
        at: u64,
        end: u64,
    ) -> Result<Vec<u8>, StoreError> {
        let name = self.part.name;
        let failed = |error| damaged_at(&store.paths, self.id, name, at, &error);
        let start = block_down(at);
        let to = (start + READ_BYTES).min(end);
        let file = store.files.get((self.id, name)).await.map_err(failed)?;
        let buffer = file.read(start, to_usize(block_up(to) - start)).await.map_err(failed)?;
        store.count(|counters| counters.compaction_read_bytes += to - start);
        let bytes: &[u8] = (*buffer).as_ref();
        let bytes = bytes.get(to_usize(at - start)..to_usize(to - start));
        let bytes = bytes.ok_or_else(|| self.damaged(store, "the segment is shorter than its log"))?;
        Ok(bytes.to_vec())
    }

    /// How many of the bytes held are whole batches, each in its place.
    fn whole<D: Disk, S: Derived>(&mut self, store: &Store<D, S>) -> Result<usize, StoreError> {
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
    pub fn damaged<D: Disk, S: Derived>(&self, store: &Store<D, S>, what: &str) -> StoreError {
        damaged_at(&store.paths, self.id, self.part.name, self.at, &what)
    }
}
