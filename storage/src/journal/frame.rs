//! A journal frame: one buffer of entries behind a header that chains it to the frame before.
//!
//! ```text
//!  0 magic "MLJF"     4 version u16   6 again u16     8 journal id (16)
//! 24 sequence u64    32 durable sequence u64         40 length u32 (whole frame)  44 entries u32
//! 48 payload bytes u32  52 payload CRC u32  56 previous header's CRC u32  60 header CRC u32 (of bytes 0..60)
//! ```
//! Little-endian; CRCs are CRC-32. Sequences count from 1 within a journal. A stale frame of a recycled file fails the
//! sequence, a frame forged inside a client's payload fails the journal id.

use model::limits::{BLOCK, FRAME_BYTES_MAX, FRAME_HEADER_BYTES};

use crate::bytes_at::{array, len_u32, put, u16_at, u32_at, u64_at};

/// First bytes of every frame.
pub const MAGIC: [u8; 4] = *b"MLJF";
/// Version written; 1, which knew no EXTENT, is read.
pub const VERSION: u16 = 2;

/// 128 random bits that name one shard's journal of one boot.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JournalId(pub [u8; 16]);

impl std::fmt::Display for JournalId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl std::fmt::Debug for JournalId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl JournalId {
    /// Reads what `Display` wrote.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        model::TopicId::from_hex(text).map(|id| Self(id.0))
    }
}

/// What a frame's header says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FrameHeader {
    /// Whose frame.
    pub journal: JournalId,
    /// Number of the frame in its journal, from 1.
    pub sequence: u64,
    /// Every frame up to this number was durable when this one was sealed.
    pub durable_sequence: u64,
    /// Bytes of the whole frame on disk, a multiple of `BLOCK`.
    pub length: u32,
    /// Entries in it.
    pub entries: u32,
    /// Bytes of entries behind the header; the rest is padding.
    pub payload: u32,
    /// CRC-32 of those bytes.
    pub payload_crc: u32,
    /// `header_crc` of the frame before; 0 before the first.
    pub previous_crc: u32,
    /// CRC-32 of this header's first 60 bytes.
    pub header_crc: u32,
}

impl FrameHeader {
    /// Reads a header; `None` when it is none: wrong magic, version, CRC or sizes.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let header = bytes.get(..FRAME_HEADER_BYTES)?;
        let header_crc = u32_at(header, 60);
        if !header.starts_with(&MAGIC) || header_crc != crc32fast::hash(header.get(..60)?) {
            return None;
        }
        let parsed = Self {
            journal: JournalId(array(header, 8)),
            sequence: u64_at(header, 24),
            durable_sequence: u64_at(header, 32),
            length: u32_at(header, 40),
            entries: u32_at(header, 44),
            payload: u32_at(header, 48),
            payload_crc: u32_at(header, 52),
            previous_crc: u32_at(header, 56),
            header_crc,
        };
        let length = parsed.length as usize;
        let sizes_hold = length.is_multiple_of(BLOCK)
            && length <= FRAME_BYTES_MAX
            && parsed.payload as usize + FRAME_HEADER_BYTES <= length;
        ((1..=VERSION).contains(&u16_at(header, 4)) && sizes_hold).then_some(parsed)
    }

    /// The entries' bytes, when `frame` is whole and they are what the header says.
    #[must_use]
    pub fn payload_of<'a>(&self, frame: &'a [u8]) -> Option<&'a [u8]> {
        let payload = frame.get(FRAME_HEADER_BYTES..FRAME_HEADER_BYTES + self.payload as usize)?;
        (crc32fast::hash(payload) == self.payload_crc).then_some(payload)
    }
}

/// Seals `frame`, whose payload of `payload` bytes stands behind the header's place: zeroes the padding, computes both
/// CRCs, writes the header and returns it.
pub fn seal(frame: &mut [u8], payload: usize, entries: u32, link: Link) -> FrameHeader {
    assert!(frame.len().is_multiple_of(BLOCK) && frame.len() <= FRAME_BYTES_MAX);
    let (head, body) = frame.split_at_mut(FRAME_HEADER_BYTES);
    let (payload_bytes, padding) = body.split_at_mut(payload);
    padding.fill(0);
    let payload_crc = crc32fast::hash(payload_bytes);
    let length = len_u32(FRAME_HEADER_BYTES + payload + padding.len());
    head.fill(0);
    put(head, 0, &MAGIC);
    put(head, 4, &VERSION.to_le_bytes());
    put(head, 6, &u16::from(link.again).to_le_bytes());
    put(head, 8, &link.journal.0);
    put(head, 24, &link.sequence.to_le_bytes());
    put(head, 32, &link.durable_sequence.to_le_bytes());
    put(head, 40, &length.to_le_bytes());
    put(head, 44, &entries.to_le_bytes());
    put(head, 48, &len_u32(payload).to_le_bytes());
    put(head, 52, &payload_crc.to_le_bytes());
    put(head, 56, &link.previous_crc.to_le_bytes());
    let header_crc = crc32fast::hash(&head[..60]);
    put(head, 60, &header_crc.to_le_bytes());
    FrameHeader {
        journal: link.journal,
        sequence: link.sequence,
        durable_sequence: link.durable_sequence,
        length,
        entries,
        payload: len_u32(payload),
        payload_crc,
        previous_crc: link.previous_crc,
        header_crc,
    }
}

/// What ties a frame to its journal.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    /// Whose frame.
    pub journal: JournalId,
    /// Its number.
    pub sequence: u64,
    /// What is durable by now.
    pub durable_sequence: u64,
    /// The header CRC of the frame before.
    pub previous_crc: u32,
    /// It takes the place of one with the same number, so it must not pass for that: frames which followed that one may still be
    /// behind it.
    pub again: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed() -> (Vec<u8>, FrameHeader) {
        let mut frame = vec![0xAA; BLOCK];
        frame[64..69].copy_from_slice(b"hello");
        let link = Link {
            journal: JournalId([7; 16]),
            sequence: 3,
            durable_sequence: 2,
            previous_crc: 0x0102_0304,
            again: false,
        };
        let header = seal(&mut frame, 5, 1, link);
        (frame, header)
    }

    #[test]
    fn golden_bytes() {
        let (frame, _) = sealed();
        let hex: String = frame[..72].iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            hex,
            "4d4c4a460200000007070707070707070707070707070707\
             030000000000000002000000000000000010000001000000\
             0500000086a61036040302015bee5d68\
             68656c6c6f000000"
        );
    }

    #[test]
    fn a_frame_written_again_is_another_even_with_the_same_entries() {
        let (mut frame, first) = sealed();
        let FrameHeader { journal, sequence, durable_sequence, previous_crc, .. } = first;
        let again =
            seal(&mut frame, 5, 1, Link { journal, sequence, durable_sequence, previous_crc, again: true });
        assert_ne!(again.header_crc, first.header_crc);
        assert_eq!(FrameHeader::parse(&frame), Some(again));
    }

    #[test]
    fn the_format_before_is_read_and_a_newer_one_is_not() {
        let versions = [(0, false), (1, true), (2, true), (3, false)];
        for (version, read) in versions {
            let (mut frame, _) = sealed();
            put(&mut frame, 4, &u16::to_le_bytes(version));
            let crc = crc32fast::hash(&frame[..60]);
            put(&mut frame, 60, &crc.to_le_bytes());
            assert_eq!(FrameHeader::parse(&frame).is_some(), read, "{version}");
        }
    }

    #[test]
    fn any_flipped_bit_is_noticed() {
        let (frame, header) = sealed();
        assert_eq!(FrameHeader::parse(&frame), Some(header));
        assert_eq!(header.payload_of(&frame), Some(&b"hello"[..]));
        for bit in 0..(69 * 8) {
            let mut bad = frame.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let intact = FrameHeader::parse(&bad).is_some_and(|h| h.payload_of(&bad).is_some());
            assert!(!intact, "bit {bit}");
        }
    }
}
