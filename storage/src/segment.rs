//! Segment files: an immutable header block, then record batches as on the wire.
//!
//! ```text
//! 0 magic "MLSG"  4 version u16  6 reserved u16  8 topic id (16)  24 partition u32  28 incarnation u32
//! 32 base offset i64  40 CRC-32 of bytes 0..40
//! ```
//! Batches follow from byte 4096. Where the log ends in the file is said by checkpoint and journal, never by its length.

use model::limits::BLOCK;
use model::{Offset, TopicId, TopicPartition};

use crate::bytes_at::{array, i64_at, put, u16_at, u32_at};

const MAGIC: [u8; 4] = *b"MLSG";
const VERSION: u16 = 1;
/// Where the first batch stands.
pub const FIRST_POSITION: u64 = BLOCK as u64;

/// What a segment's first block says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// Whose.
    pub partition: TopicPartition,
    /// Offset of its first record.
    pub base: Offset,
    /// How often the partition had been truncated or re-created when the file was made.
    pub incarnation: u32,
}

impl Header {
    /// Fills the first block.
    pub fn write(&self, block: &mut [u8]) {
        block.fill(0);
        put(block, 0, &MAGIC);
        put(block, 4, &VERSION.to_le_bytes());
        put(block, 8, &self.partition.topic.0);
        put(block, 24, &self.partition.partition.to_le_bytes());
        put(block, 28, &self.incarnation.to_le_bytes());
        put(block, 32, &self.base.0.to_le_bytes());
        let crc = crc32fast::hash(&block[..40]);
        put(block, 40, &crc.to_le_bytes());
    }

    /// Reads the first block; the message says what is wrong.
    pub fn read(block: &[u8]) -> Result<Self, String> {
        let head = block.get(..44).ok_or("segment is shorter than its header")?;
        if !head.starts_with(&MAGIC) {
            return Err("not a segment: wrong magic".into());
        }
        if u32_at(head, 40) != crc32fast::hash(&head[..40]) {
            return Err("segment header fails its checksum".into());
        }
        if u16_at(head, 4) > VERSION {
            return Err(format!("segment has format {}, newer than this release reads", u16_at(head, 4)));
        }
        Ok(Self {
            partition: TopicPartition { topic: TopicId(array(head, 8)), partition: u32_at(head, 24) },
            base: Offset(i64_at(head, 32)),
            incarnation: u32_at(head, 28),
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
}
