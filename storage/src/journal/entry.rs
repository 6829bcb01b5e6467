//! A journal entry: one mutation of one log, as replay copies it.
//!
//! ```text
//!  0 type u8  1 flags u8  2 reserved u16  4 length u32 (bytes behind this header)  8 topic id (16)
//! 24 partition u32  28 leader epoch i32  32 boot u32  36 moves u32
//! 40 base offset i64  48 end offset i64  56 segment base offset i64  64 position u64  72 bytes...
//! ```
//! Little-endian, no padding between entries. `end offset` is the log's end when the entry has been applied.

use model::limits::ENTRY_HEADER_BYTES;
use model::{LeaderEpoch, Offset, OwnershipEpoch, TopicId, TopicPartition};

use crate::bytes_at::{array, i32_at, i64_at, len_u32, put, u32_at, u64_at};

/// What an entry does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum EntryKind {
    /// Bytes of whole batches at `position` of `segment`; moves the end to `end offset`.
    Append = 1,
    /// A part of an append that is larger than a frame. The last one (flag [`LAST`]) moves the end.
    Fragment = 2,
    /// Bytes at `position` of `segment` again, because the segment does not have them safely: moves no end. `base offset` is the
    /// segment's incarnation and generation ([`file_word`]).
    Redo = 3,
    /// The log ends at `end offset`, which is `position` of `segment`; `base offset` is the new incarnation and the segment's generation.
    Truncate = 4,
    /// The log starts at `base offset`.
    LogStart = 5,
    /// A new active segment named by `segment`, incarnation in `base offset`.
    Roll = 6,
    /// `leader epoch` starts at `base offset`.
    EpochStart = 7,
    /// Appends from `base offset` to before `end offset`, whose bytes from `position` on stand in `segment` already, as many as the
    /// entry says and with that checksum ([`super::extent`]). Without [`LAST`] their end follows in a [`Self::Fragment`].
    Extent = 8,
    /// The partition's topic was deleted: its earlier entries in this journal belong to nothing that metadata knows.
    Delete = 10,
}

/// An incarnation and a generation in the place of an offset: the second in the upper half.
#[must_use]
pub const fn file_word(incarnation: u32, generation: u32) -> Offset {
    Offset(((generation as u64) << 32 | incarnation as u64).cast_signed())
}

/// The incarnation and generation of a [`file_word`].
#[must_use]
pub fn of_file_word(word: Offset) -> (u32, u32) {
    let [a, b, c, d, e, f, g, h] = word.0.to_le_bytes();
    (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]))
}

/// Flag of the last part of what takes several entries.
pub const LAST: u8 = 1;

// Number 9 (HANDOFF) is reserved.

/// An entry without its bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry {
    /// What it does.
    pub kind: EntryKind,
    /// See [`LAST`].
    pub flags: u8,
    /// To which log.
    pub partition: TopicPartition,
    /// By which owner.
    pub ownership: OwnershipEpoch,
    /// Under which leader.
    pub leader_epoch: LeaderEpoch,
    /// First offset, or as the kind says.
    pub base_offset: Offset,
    /// The log's end once applied.
    pub end_offset: Offset,
    /// Base offset, and so name, of the segment.
    pub segment: Offset,
    /// Byte position in the segment file.
    pub position: u64,
}

impl Entry {
    /// An entry that says nothing but its kind.
    #[must_use]
    pub const fn of(kind: EntryKind, partition: TopicPartition, ownership: OwnershipEpoch) -> Self {
        let (base_offset, end_offset, segment) = (Offset::ZERO, Offset::ZERO, Offset::ZERO);
        let leader_epoch = LeaderEpoch::NONE;
        Self {
            kind,
            flags: 0,
            partition,
            ownership,
            leader_epoch,
            base_offset,
            end_offset,
            segment,
            position: 0,
        }
    }

    /// Writes the header of an entry with `length` bytes into the start of `out`.
    pub fn write(&self, length: usize, out: &mut [u8]) {
        let (head, _) = out.split_at_mut(ENTRY_HEADER_BYTES);
        head.fill(0);
        put(head, 0, &[self.kind as u8, self.flags]);
        put(head, 4, &len_u32(length).to_le_bytes());
        put(head, 8, &self.partition.topic.0);
        put(head, 24, &self.partition.partition.to_le_bytes());
        put(head, 28, &self.leader_epoch.0.to_le_bytes());
        put(head, 32, &self.ownership.boot.to_le_bytes());
        put(head, 36, &self.ownership.moves.to_le_bytes());
        put(head, 40, &self.base_offset.0.to_le_bytes());
        put(head, 48, &self.end_offset.0.to_le_bytes());
        put(head, 56, &self.segment.0.to_le_bytes());
        put(head, 64, &self.position.to_le_bytes());
    }

    /// Reads the entry at the start of `bytes`: it, its bytes, and what follows. `None` when malformed.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<(Self, &[u8], &[u8])> {
        let (head, rest) = bytes.split_at_checked(ENTRY_HEADER_BYTES)?;
        let kind = match head.first()? {
            1 => EntryKind::Append,
            2 => EntryKind::Fragment,
            3 => EntryKind::Redo,
            4 => EntryKind::Truncate,
            5 => EntryKind::LogStart,
            6 => EntryKind::Roll,
            7 => EntryKind::EpochStart,
            8 => EntryKind::Extent,
            10 => EntryKind::Delete,
            _ => return None,
        };
        let (payload, after) = rest.split_at_checked(u32_at(head, 4) as usize)?;
        let entry = Self {
            kind,
            flags: *head.get(1)?,
            partition: TopicPartition { topic: TopicId(array(head, 8)), partition: u32_at(head, 24) },
            ownership: OwnershipEpoch { boot: u32_at(head, 32), moves: u32_at(head, 36) },
            leader_epoch: LeaderEpoch(i32_at(head, 28)),
            base_offset: Offset(i64_at(head, 40)),
            end_offset: Offset(i64_at(head, 48)),
            segment: Offset(i64_at(head, 56)),
            position: u64_at(head, 64),
        };
        Some((entry, payload, after))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry {
        Entry {
            kind: EntryKind::Append,
            flags: 0,
            partition: TopicPartition { topic: TopicId([0x11; 16]), partition: 2 },
            ownership: OwnershipEpoch { boot: 3, moves: 4 },
            leader_epoch: LeaderEpoch(5),
            base_offset: Offset(6),
            end_offset: Offset(7),
            segment: Offset(8),
            position: 4096,
        }
    }

    #[test]
    fn golden_bytes() {
        let mut bytes = vec![0xFF; ENTRY_HEADER_BYTES + 2];
        entry().write(2, &mut bytes);
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            hex,
            "01000000020000001111111111111111111111111111111102000000050000000300000004000000\
             06000000000000000700000000000000080000000000000000100000000000 00ffff"
                .replace(' ', "")
        );
        let (read, payload, after) = Entry::read(&bytes).unwrap();
        assert_eq!((read, payload, after), (entry(), &[0xFF, 0xFF][..], &[][..]));
    }

    #[test]
    fn files_are_told_in_one_word() {
        for (incarnation, generation) in [(0, 0), (5, 0), (0, 6), (u32::MAX, u32::MAX)] {
            assert_eq!(of_file_word(file_word(incarnation, generation)), (incarnation, generation));
        }
        assert_eq!(file_word(5, 0), Offset(5), "as before there were generations");
    }

    #[test]
    fn cut_or_unknown_entries_are_refused() {
        let mut bytes = vec![0; ENTRY_HEADER_BYTES + 2];
        entry().write(2, &mut bytes);
        for len in 0..bytes.len() {
            assert!(Entry::read(&bytes[..len]).is_none());
        }
        bytes[0] = 9;
        assert!(Entry::read(&bytes).is_none());
    }
}
