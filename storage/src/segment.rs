//! Segment files: an immutable header block, then record batches as on the wire.
//!
//! ```text
//! 0 magic "MLSG"  4 version u16  6 reserved u16  8 topic id (16)  24 partition u32  28 incarnation u32
//! 32 base offset i64  40 CRC-32 of bytes 0..40
//! ```
//! Version 2, which compaction writes, has `40 generation u32  44 CRC-32 of bytes 0..44`: batches may be missing in it.
//!
//! Batches follow from byte 4096. Where the log ends in the file is said by checkpoint and journal, never by its length.

use model::limits::BLOCK;
use model::{Offset, TopicId, TopicPartition};

use crate::bytes_at::{array, i64_at, put, u16_at, u32_at};

const MAGIC: [u8; 4] = *b"MLSG";
/// Of a segment as it was appended to.
const VERSION: u16 = 1;
/// Of one that compaction made.
const VERSION_COMPACTED: u16 = 2;
/// Where the first batch stands.
pub const FIRST_POSITION: u64 = BLOCK as u64;

/// Which file holds a segment. Compaction puts another in the place of those that it read, whose base offset one of them has.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SegmentName {
    /// Offset of its first record, or before it.
    pub base: Offset,
    /// Zero as it was appended to; compaction counts from one.
    pub generation: u32,
}

impl SegmentName {
    /// Whether batches may be missing between others.
    #[must_use]
    pub const fn has_gaps(self) -> bool {
        self.generation > 0
    }
}

impl From<Offset> for SegmentName {
    /// As it was appended to.
    fn from(base: Offset) -> Self {
        Self { base, generation: 0 }
    }
}

impl std::fmt::Display for SegmentName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.generation {
            0 => write!(f, "{}", self.base),
            generation => write!(f, "{}-{generation}", self.base),
        }
    }
}

/// What a segment's first block says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// Whose.
    pub partition: TopicPartition,
    /// Offset of its first record.
    pub base: Offset,
    /// How often the partition had been truncated or re-created when the file was made.
    pub incarnation: u32,
    /// See [`SegmentName`].
    pub generation: u32,
}

impl Header {
    /// Its file.
    #[must_use]
    pub const fn name(&self) -> SegmentName {
        SegmentName { base: self.base, generation: self.generation }
    }

    /// Fills the first block.
    pub fn write(&self, block: &mut [u8]) {
        let (version, end) = if self.generation == 0 { (VERSION, 40) } else { (VERSION_COMPACTED, 44) };
        block.fill(0);
        put(block, 0, &MAGIC);
        put(block, 4, &version.to_le_bytes());
        put(block, 8, &self.partition.topic.0);
        put(block, 24, &self.partition.partition.to_le_bytes());
        put(block, 28, &self.incarnation.to_le_bytes());
        put(block, 32, &self.base.0.to_le_bytes());
        if version == VERSION_COMPACTED {
            put(block, 40, &self.generation.to_le_bytes());
        }
        let crc = crc32fast::hash(&block[..end]);
        put(block, end, &crc.to_le_bytes());
    }

    /// Reads the first block; the message says what is wrong.
    pub fn read(block: &[u8]) -> Result<Self, String> {
        let head = block.get(..48).ok_or("segment is shorter than its header")?;
        if !head.starts_with(&MAGIC) {
            return Err("not a segment: wrong magic".into());
        }
        let version = u16_at(head, 4);
        let end = if version == VERSION { 40 } else { 44 };
        if u32_at(head, end) != crc32fast::hash(&head[..end]) {
            return Err("segment header fails its checksum".into());
        }
        if version > VERSION_COMPACTED {
            return Err(format!("segment has format {version}, newer than this release reads"));
        }
        Ok(Self {
            partition: TopicPartition { topic: TopicId(array(head, 8)), partition: u32_at(head, 24) },
            base: Offset(i64_at(head, 32)),
            incarnation: u32_at(head, 28),
            generation: if version == VERSION { 0 } else { u32_at(head, 40) },
        })
    }
}

/// A byte position in a log: (segment, position in its file). Grows along the log.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Cursor {
    /// Base offset of the segment.
    pub segment: Offset,
    /// Bytes from the start of the file.
    pub position: u64,
}

impl Cursor {
    /// The start of a segment's first batch.
    #[must_use]
    pub const fn start_of(segment: Offset) -> Self {
        Self { segment, position: FIRST_POSITION }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_bytes() {
        let header = Header {
            partition: TopicPartition { topic: TopicId([3; 16]), partition: 4 },
            base: Offset(5),
            incarnation: 6,
            generation: 0,
        };
        let mut block = vec![1; BLOCK];
        header.write(&mut block);
        let hex: String = block[..44].iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            hex,
            "4d4c5347010000000303030303030303030303030303030304000000060000000500000000000000df4b4ce9"
        );
        assert_eq!(Header::read(&block), Ok(header));
        block[30] ^= 1;
        assert!(Header::read(&block).is_err());
    }

    #[test]
    fn what_compaction_made_says_so() {
        let partition = TopicPartition { topic: TopicId([3; 16]), partition: 4 };
        let header = Header { partition, base: Offset(5), incarnation: 6, generation: 7 };
        let mut block = vec![1; BLOCK];
        header.write(&mut block);
        let hex: String = block[4..44].iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, format!("02000000{}0400000006000000050000000000000007000000", "03".repeat(16)));
        assert_eq!(Header::read(&block), Ok(header));
        for at in 0..48 {
            let mut bad = block.clone();
            bad[at] ^= 1;
            assert!(Header::read(&bad).is_err(), "byte {at}");
        }
    }
}
