//! Snapshots of one partition at one offset: its segments, producers and leader epochs. Loading a partition starts from
//! the one its checkpoint cites and scans only the batch headers behind it. `rkyv`, because the log can rebuild them.

use model::Offset;

use crate::derived::DerivedSnapshot;
use crate::sealed_file::FileKind;

/// `<offset>.snapshot` files.
pub const KIND: FileKind = FileKind { magic: *b"MLPS", version: 1, name: "partition snapshot" };
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

impl Snapshot {
    /// As a file.
    pub fn to_file(&self) -> Vec<u8> {
        let body = rkyv::to_bytes::<rkyv::rancor::Error>(self).expect("plain data serialises");
        KIND.seal(&body)
    }

    /// From a file; the message says what is wrong.
    pub fn from_file(file: &[u8]) -> Result<Self, String> {
        let body = KIND.open(file)?;
        let mut aligned = rkyv::util::AlignedVec::<16>::with_capacity(body.len());
        aligned.extend_from_slice(&body);
        rkyv::from_bytes::<Self, rkyv::rancor::Error>(&aligned)
            .map_err(|error| format!("{}: {error}", KIND.name))
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
            segments: vec![SegmentFacts { base: 0, size: 4200, max_timestamp_ms: 9, incarnation: 1 }],
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
