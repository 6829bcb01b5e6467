//! Snapshots of one partition at one offset: its segments, producers and leader epochs. Loading a partition starts from
//! the one its checkpoint cites and scans only the batch headers behind it. `rkyv`, because the log can rebuild them.

use model::Offset;

use crate::derived::DerivedSnapshot;
use crate::sealed_file::FileKind;
use crate::segment::SegmentName;

/// `<offset>.snapshot` files.
pub const KIND: FileKind = FileKind { magic: *b"MLPS", version: 2, name: "partition snapshot" };
/// A snapshot larger than this is refused as damaged.
pub const BYTES_MAX: usize = 64 << 20;

/// One segment as snapshots list it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub struct SegmentFacts {
    /// Offset of its first record; its name.
    pub base: i64,
    /// Bytes from the file's start to where the log leaves it.
    pub size: u64,
    /// Largest record timestamp in it, Unix ms; -1 when it is empty.
    pub max_timestamp_ms: i64,
    /// See [`crate::segment::Header`].
    pub incarnation: u32,
    /// See [`SegmentName`].
    pub generation: u32,
}

impl SegmentFacts {
    /// Its file.
    #[must_use]
    pub const fn name(&self) -> SegmentName {
        SegmentName { base: Offset(self.base), generation: self.generation }
    }
}

/// A partition at `offset`.
#[derive(Clone, Debug, PartialEq, Eq, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub struct Snapshot {
    /// Everything before this offset is in it.
    pub offset: i64,
    /// Oldest first; the last is the one `offset` lies in or begins.
    pub segments: Vec<SegmentFacts>,
    /// Producers and epochs.
    pub derived: DerivedSnapshot,
}

/// A segment in version 1, before there was compaction.
#[derive(Clone, Copy, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
struct FactsV1 {
    base: i64,
    size: u64,
    max_timestamp_ms: i64,
    incarnation: u32,
}

/// A [`Snapshot`] in version 1.
#[derive(rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
struct SnapshotV1 {
    offset: i64,
    segments: Vec<FactsV1>,
    derived: DerivedSnapshot,
}

impl From<FactsV1> for SegmentFacts {
    fn from(facts: FactsV1) -> Self {
        let FactsV1 { base, size, max_timestamp_ms, incarnation } = facts;
        Self { base, size, max_timestamp_ms, incarnation, generation: 0 }
    }
}

impl From<SnapshotV1> for Snapshot {
    fn from(before: SnapshotV1) -> Self {
        let segments = before.segments.into_iter().map(SegmentFacts::from).collect();
        Self { offset: before.offset, segments, derived: before.derived }
    }
}

impl Snapshot {
    /// As a file.
    pub fn to_file(&self) -> Vec<u8> {
        let body = rkyv::to_bytes::<rkyv::rancor::Error>(self).expect("plain data serialises");
        KIND.seal(&body)
    }

    /// From a file; the message says what is wrong.
    pub fn from_file(file: &[u8]) -> Result<Self, String> {
        let (version, body) = KIND.open_any(file)?;
        let mut aligned = rkyv::util::AlignedVec::<16>::with_capacity(body.len());
        aligned.extend_from_slice(&body);
        let read = match version {
            1 => rkyv::from_bytes::<SnapshotV1, rkyv::rancor::Error>(&aligned).map(Self::from),
            _ => rkyv::from_bytes::<Self, rkyv::rancor::Error>(&aligned),
        };
        read.map_err(|error| format!("{}: {error}", KIND.name))
    }

    /// The segment that ended where this one begins a new one.
    pub fn sealed_by_it(&self) -> Option<Offset> {
        match self.segments.as_slice() {
            [.., sealed, active] if active.base == self.offset => Some(Offset(sealed.base)),
            _ => None,
        }
    }

    /// Its offset.
    pub fn at(&self) -> Offset {
        Offset(self.offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::derived::{ProducerBatch, ProducerSnapshot};

    fn snapshot() -> Snapshot {
        let batch = ProducerBatch { first_sequence: 1, last_sequence: 2, base_offset: 3, last_offset: 4 };
        Snapshot {
            offset: 5,
            segments: vec![SegmentFacts {
                base: 0,
                size: 4200,
                max_timestamp_ms: 9,
                incarnation: 1,
                generation: 3,
            }],
            derived: DerivedSnapshot {
                epochs: vec![(0, 0)],
                producers: vec![ProducerSnapshot {
                    id: 7,
                    epoch: 1,
                    last_timestamp_ms: 9,
                    batches: vec![batch],
                }],
            },
        }
    }

    #[test]
    fn version_1_is_read() {
        let segments = vec![FactsV1 { base: 0, size: 4200, max_timestamp_ms: 9, incarnation: 1 }];
        let before = SnapshotV1 { offset: 5, segments, derived: snapshot().derived };
        let body = rkyv::to_bytes::<rkyv::rancor::Error>(&before).unwrap();
        let mut expected = snapshot();
        expected.segments[0].generation = 0;
        assert_eq!(Snapshot::from_file(&FileKind { version: 1, ..KIND }.seal(&body)), Ok(expected));
    }

    #[test]
    fn comes_back_and_notices_damage() {
        let file = snapshot().to_file();
        assert_eq!(Snapshot::from_file(&file), Ok(snapshot()));
        for at in 0..file.len() {
            let mut bad = file.clone();
            bad[at] ^= 0x10;
            assert!(Snapshot::from_file(&bad).is_err(), "byte {at}");
            assert!(Snapshot::from_file(&file[..at]).is_err(), "cut at {at}");
        }
    }
}
