//! Sparse index of one segment: where to start reading for an offset or a time.

use model::limits::{INDEX_ENTRIES_MAX, INDEX_INTERVAL_BYTES};
use model::{Offset, TimestampMs};

use crate::sealed_file::FileKind;
use crate::segment::FIRST_POSITION;

/// `<base offset>.index` files.
pub const KIND: FileKind = FileKind { magic: *b"MLIX", version: 1, name: "segment index" };
/// A larger index file is refused as damaged.
pub const BYTES_MAX: usize = 1 << 20;

/// One batch of the segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
struct IndexEntry {
    /// Its base offset, relative to the segment's.
    relative: u32,
    /// Largest timestamp of the batches before it.
    max_timestamp_before: i64,
    /// Where it stands in the file.
    position: u64,
}

/// Where a scan begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// A batch stands here,
    pub position: u64,
    /// and this is its base offset, when the index can say.
    pub base_offset: Option<Offset>,
}

/// An entry per at least `interval` bytes; when full, every second one goes and the interval doubles.
#[derive(Clone, Debug, PartialEq, Eq, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub struct Index {
    base: i64,
    /// Batches before this position are covered.
    covered: u64,
    interval: u64,
    max_timestamp: i64,
    entries: Vec<IndexEntry>,
}

impl Index {
    /// Covers nothing yet of the segment that begins at `base`.
    #[must_use]
    pub fn new(base: Offset) -> Self {
        Self {
            base: base.0,
            covered: FIRST_POSITION,
            interval: INDEX_INTERVAL_BYTES,
            max_timestamp: -1,
            entries: Vec::new(),
        }
    }

    /// Batches before this position are covered.
    #[must_use]
    pub fn covered(&self) -> u64 {
        self.covered
    }

    /// The next batch: it stands where the covered part ends.
    pub fn observe(&mut self, offset: Offset, len: u64, max_timestamp: TimestampMs) {
        let last = self.entries.last().map_or(FIRST_POSITION, |entry| entry.position);
        if self.covered - last >= self.interval {
            if self.entries.len() == INDEX_ENTRIES_MAX {
                let mut keep = false;
                self.entries.retain(|_| {
                    keep = !keep;
                    keep
                });
                self.interval *= 2;
            }
            let relative = u32::try_from(offset.0 - self.base).unwrap_or(u32::MAX);
            self.entries.push(IndexEntry {
                relative,
                max_timestamp_before: self.max_timestamp,
                position: self.covered,
            });
        }
        self.max_timestamp = self.max_timestamp.max(max_timestamp.0);
        self.covered += len;
    }

    /// Where to start scanning for the batch that holds `offset`.
    #[must_use]
    pub fn position_for(&self, offset: Offset) -> Start {
        let relative = offset.0 - self.base;
        self.start(self.entries.partition_point(|entry| i64::from(entry.relative) <= relative))
    }

    /// Where to start scanning for the first batch with a timestamp of at least `time`.
    #[must_use]
    pub fn position_for_time(&self, time: TimestampMs) -> Start {
        self.start(self.entries.partition_point(|entry| entry.max_timestamp_before < time.0))
    }

    /// The entry before place `after`, or the first batch.
    fn start(&self, after: usize) -> Start {
        let first = Start { position: FIRST_POSITION, base_offset: Some(Offset(self.base)) };
        after.checked_sub(1).and_then(|at| self.entries.get(at)).map_or(first, |entry| Start {
            position: entry.position,
            base_offset: (entry.relative < u32::MAX).then(|| Offset(self.base + i64::from(entry.relative))),
        })
    }

    /// Forgets what stands at or after `position`.
    pub fn truncate(&mut self, position: u64) {
        while self.entries.last().is_some_and(|entry| entry.position >= position) {
            self.entries.pop();
        }
        // What lies between the last entry and `position` is observed again by the scan that follows.
        let last = self.entries.last();
        self.covered = last.map_or(FIRST_POSITION, |entry| entry.position);
        self.max_timestamp = last.map_or(-1, |entry| entry.max_timestamp_before);
        if last.is_some() {
            self.entries.pop();
        }
    }

    /// Bytes of memory it takes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.entries.capacity() * size_of::<IndexEntry>()
    }

    /// As a file; `incarnation` is the partition's by now.
    #[must_use]
    pub fn to_file(&self, incarnation: u32) -> Vec<u8> {
        let stored = Stored { incarnation, index: self.clone() };
        KIND.seal(&rkyv::to_bytes::<rkyv::rancor::Error>(&stored).expect("plain data serialises"))
    }

    /// From the file of the segment that begins at `base`, with the partition's incarnation at that time; the message says what is
    /// wrong.
    pub fn from_file(file: &[u8], base: Offset) -> Result<(Self, u32), String> {
        let body = KIND.open(file)?;
        let mut aligned = rkyv::util::AlignedVec::<16>::with_capacity(body.len());
        aligned.extend_from_slice(&body);
        let Stored { incarnation, index } = rkyv::from_bytes::<Stored, rkyv::rancor::Error>(&aligned)
            .map_err(|error| format!("{}: {error}", KIND.name))?;
        if index.base != base.0 {
            return Err(format!("{} is of segment {}", KIND.name, index.base));
        }
        Ok((index, incarnation))
    }

    /// Whether a file of it saves more than it costs: a segment with fewer bytes than an interval is read in one go.
    #[must_use]
    pub fn is_worth_a_file(&self) -> bool {
        !self.entries.is_empty()
    }
}

/// What a file holds.
#[derive(rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
struct Stored {
    /// Truncations of the partition so far: after another one, the segment may hold other batches.
    incarnation: u32,
    index: Index,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 100,000 batches of 20 KiB, 10 offsets each, time growing by one.
    fn index(batches: i64) -> Index {
        let mut index = Index::new(Offset(1000));
        for batch in 0..batches {
            index.observe(Offset(1000 + batch * 10), 20 << 10, TimestampMs(batch));
        }
        index
    }

    #[test]
    fn stays_small_and_never_points_behind() {
        let index = index(100_000);
        assert!(index.entries.len() <= INDEX_ENTRIES_MAX);
        for batch in (0..100_000u32).step_by(501) {
            let start = FIRST_POSITION + u64::from(batch) * (20 << 10);
            let found = index.position_for(Offset(1000 + i64::from(batch) * 10 + 9));
            let batches = i64::try_from((found.position - FIRST_POSITION) / (20 << 10)).unwrap();
            assert_eq!(found.base_offset, Some(Offset(1000 + batches * 10)));
            let found = found.position;
            assert!(found <= start && start - found <= 2 * index.interval + (20 << 10));
            assert!(index.position_for_time(TimestampMs(batch.into())).position <= start);
        }
        assert_eq!(Index::from_file(&index.to_file(7), Offset(1000)), Ok((index, 7)));
    }

    #[test]
    fn golden_bytes() {
        let mut index = Index::new(Offset(5));
        for (offset, len, time) in [(5, 0x1_0000, 9), (7, 0x20, 8)] {
            index.observe(Offset(offset), len, TimestampMs(time));
        }
        let hex: String = index.to_file(3).iter().map(|byte| format!("{byte:02x}")).collect();
        // Drawn in docs/formats/segment.md.
        let drawn = "4d4c49580100000048000000ae0ea8aa \
            02000000000000000900000000000000 0010010000000000 \
            0300000000000000 0500000000000000 2010010000000000 0000010000000000 0900000000000000 \
            c0ffffff01000000";
        assert_eq!(hex, drawn.replace(' ', ""));
    }

    #[test]
    fn damage_is_noticed() {
        let file = index(200).to_file(1);
        for at in 0..file.len() {
            let mut bad = file.clone();
            bad[at] ^= 0x10;
            assert!(Index::from_file(&bad, Offset(1000)).is_err(), "byte {at}");
            assert!(Index::from_file(&file[..at], Offset(1000)).is_err(), "cut at {at}");
        }
        assert!(Index::from_file(&file, Offset(1001)).is_err());
    }

    #[test]
    fn truncation_forgets_and_covers_less() {
        let mut index = index(1000);
        let cut = FIRST_POSITION + 500 * (20 << 10);
        index.truncate(cut);
        assert!(index.covered() <= cut);
        assert!(index.position_for(Offset(i64::MAX)).position <= cut);
    }
}
