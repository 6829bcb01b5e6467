//! Checkpoints: where every log of a journal stands in its segments, so that the journal before it may be recycled.
//!
//! Two slots, written by turns; the one with the larger number that is whole counts.
//!
//! ```text
//! header, 64 bytes: 0 magic "MLCP"  4 version u16  6 reserved  8 journal id (16)  24 number u64  32 needed from u64
//!                  (2^64 - 1: closed)  40 durable u64  48 count u32  52 CRC-32 of the entries  56 reserved  60 CRC-32 of bytes 0..60
//! entry, 128 bytes: 0 topic id (16)  16 partition u32  20 leader epoch i32  24 handled sequence u64  32 handled entry u32
//!                  36 incarnation u32  40 log start i64  48 end offset i64  56 segment i64  64 position u64
//!                  72 snapshot i64 (-1: none)  80 oldest i64  88 size u64  96 boot u32  100 moves u32
//!                  104 expires i64  112 segment incarnation u32  116 segment generation u32  120 compacted to i64
//! ```

use std::io;
use std::path::Path;
use std::rc::Rc;

use model::limits::BLOCK;
use model::{LeaderEpoch, Offset, OwnershipEpoch, TopicId, TopicPartition};

use crate::bytes_at::{array, i32_at, i64_at, len_u32, len_u64, put, u16_at, u32_at, u64_at};
use crate::derived::Derived;
use crate::disk::{Disk, File};
use crate::journal::{JournalId, Lsn};
use crate::segment::{FIRST_POSITION, SegmentName};
use crate::snapshot::SegmentFacts;
use crate::store::{LogRef, Store};

const MAGIC: [u8; 4] = *b"MLCP";
/// A journal of version 2 may tell of EXTENTs: a release that does not know them must not take their frames for torn. Logs of version 3
/// may have compacted segments, which an older release would miss.
const VERSION: u16 = 3;
const HEADER_BYTES: usize = 64;
const ENTRY_BYTES: usize = 128;
const WRITE_BYTES: usize = 1 << 20;
/// [`Checkpoint::needed_from`] of a journal that was closed in order.
pub const CLOSED: u64 = u64::MAX;

/// Where one log stands, in its segments alone: every entry up to `handled` is in them or was copied forward.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AtRest {
    /// The last entry of the journal that need not be replayed.
    pub handled: Lsn,
    /// Owner at that time.
    pub ownership: OwnershipEpoch,
    /// The newest leader epoch that wrote.
    pub leader_epoch: LeaderEpoch,
    /// First offset.
    pub log_start: Offset,
    /// Offset after the last record.
    pub end: Offset,
    /// The active segment.
    pub segment: Offset,
    /// Where the log ends in it.
    pub position: u64,
    /// Truncations and re-creations so far.
    pub incarnation: u32,
    /// What `incarnation` was when the active segment began.
    pub segment_incarnation: u32,
    /// Which file of its base the active segment is.
    pub segment_generation: u32,
    /// Everything before this offset has been through compaction: no key comes twice there.
    pub compacted_to: Offset,
    /// The newest snapshot, at or before `end` and in the active segment; none when the log has had one segment only.
    pub snapshot: Option<Offset>,
    /// Base offset of the oldest segment.
    pub oldest: Offset,
    /// Bytes of all segments.
    pub size: u64,
    /// Largest timestamp of the oldest segment, Unix ms: before retention has passed since, nothing is to be done. -1: unknown.
    pub expires: i64,
}

impl AtRest {
    /// A log that was never written to.
    #[must_use]
    pub const fn empty() -> Self {
        Self {
            handled: Lsn { sequence: 0, entry: 0 },
            ownership: OwnershipEpoch { boot: 0, moves: 0 },
            leader_epoch: LeaderEpoch::NONE,
            log_start: Offset::ZERO,
            end: Offset::ZERO,
            segment: Offset::ZERO,
            position: FIRST_POSITION,
            incarnation: 0,
            segment_incarnation: 0,
            segment_generation: 0,
            compacted_to: Offset::ZERO,
            snapshot: None,
            oldest: Offset::ZERO,
            size: 0,
            expires: -1,
        }
    }

    /// The segment of a log that has had one only, as a snapshot would list it.
    pub(crate) fn first_segment(&self) -> SegmentFacts {
        SegmentFacts {
            base: self.segment.0,
            size: FIRST_POSITION,
            max_timestamp_ms: -1,
            incarnation: self.segment_incarnation,
            generation: self.segment_generation,
        }
    }

    /// Its active segment.
    #[must_use]
    pub const fn active(&self) -> SegmentName {
        SegmentName { base: self.segment, generation: self.segment_generation }
    }

    fn write(&self, id: TopicPartition, out: &mut [u8]) {
        put(out, 0, &id.topic.0);
        put(out, 16, &id.partition.to_le_bytes());
        put(out, 20, &self.leader_epoch.0.to_le_bytes());
        put(out, 24, &self.handled.sequence.to_le_bytes());
        put(out, 32, &self.handled.entry.to_le_bytes());
        put(out, 36, &self.incarnation.to_le_bytes());
        put(out, 40, &self.log_start.0.to_le_bytes());
        put(out, 48, &self.end.0.to_le_bytes());
        put(out, 56, &self.segment.0.to_le_bytes());
        put(out, 64, &self.position.to_le_bytes());
        put(out, 72, &self.snapshot.unwrap_or(Offset::NONE).0.to_le_bytes());
        put(out, 80, &self.oldest.0.to_le_bytes());
        put(out, 88, &self.size.to_le_bytes());
        put(out, 96, &self.ownership.boot.to_le_bytes());
        put(out, 100, &self.ownership.moves.to_le_bytes());
        put(out, 104, &self.expires.to_le_bytes());
        put(out, 112, &self.segment_incarnation.to_le_bytes());
        put(out, 116, &self.segment_generation.to_le_bytes());
        put(out, 120, &self.compacted_to.0.to_le_bytes());
    }

    fn read(entry: &[u8]) -> (TopicPartition, Self) {
        let id = TopicPartition { topic: TopicId(array(entry, 0)), partition: u32_at(entry, 16) };
        let snapshot = i64_at(entry, 72);
        let at_rest = Self {
            handled: Lsn { sequence: u64_at(entry, 24), entry: u32_at(entry, 32) },
            ownership: OwnershipEpoch { boot: u32_at(entry, 96), moves: u32_at(entry, 100) },
            leader_epoch: LeaderEpoch(i32_at(entry, 20)),
            log_start: Offset(i64_at(entry, 40)),
            end: Offset(i64_at(entry, 48)),
            segment: Offset(i64_at(entry, 56)),
            position: u64_at(entry, 64),
            incarnation: u32_at(entry, 36),
            segment_incarnation: u32_at(entry, 112),
            segment_generation: u32_at(entry, 116),
            compacted_to: Offset(i64_at(entry, 120)),
            snapshot: (snapshot >= 0).then_some(Offset(snapshot)),
            oldest: Offset(i64_at(entry, 80)),
            size: u64_at(entry, 88),
            expires: i64_at(entry, 104),
        };
        (id, at_rest)
    }
}

/// All logs of one journal at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Whose.
    pub journal: JournalId,
    /// Grows by one with every checkpoint; its parity is the slot.
    pub number: u64,
    /// The first frame that replay needs: the first of a ring file. [`CLOSED`]: none, and none will follow.
    pub needed_from: u64,
    /// The last frame known durable: replay must reach it.
    pub durable: u64,
    /// Every log that was ever written to.
    pub logs: Vec<(TopicPartition, AtRest)>,
}

impl Checkpoint {
    /// As bytes, padded to whole blocks.
    pub fn to_bytes(&self) -> Vec<u8> {
        let used = HEADER_BYTES + self.logs.len() * ENTRY_BYTES;
        let mut bytes = vec![0; used.next_multiple_of(BLOCK)];
        for ((id, at_rest), out) in self.logs.iter().zip(bytes[HEADER_BYTES..].chunks_exact_mut(ENTRY_BYTES))
        {
            at_rest.write(*id, out);
        }
        let body_crc = crc32fast::hash(&bytes[HEADER_BYTES..used]);
        put(&mut bytes, 0, &MAGIC);
        put(&mut bytes, 4, &VERSION.to_le_bytes());
        put(&mut bytes, 8, &self.journal.0);
        put(&mut bytes, 24, &self.number.to_le_bytes());
        put(&mut bytes, 32, &self.needed_from.to_le_bytes());
        put(&mut bytes, 40, &self.durable.to_le_bytes());
        put(&mut bytes, 48, &len_u32(self.logs.len()).to_le_bytes());
        put(&mut bytes, 52, &body_crc.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..60]);
        put(&mut bytes, 60, &crc.to_le_bytes());
        bytes
    }

    /// From bytes; the message says what is wrong.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        let head = bytes.get(..HEADER_BYTES).ok_or("checkpoint is cut short")?;
        if !head.starts_with(&MAGIC) || u32_at(head, 60) != crc32fast::hash(&head[..60]) {
            return Err("checkpoint header fails its checksum".into());
        }
        if u16_at(head, 4) > VERSION {
            return Err(format!("checkpoint has format {}, newer than this release reads", u16_at(head, 4)));
        }
        let end = HEADER_BYTES + u32_at(head, 48) as usize * ENTRY_BYTES;
        let body = bytes.get(HEADER_BYTES..end).ok_or("checkpoint is cut short")?;
        if u32_at(head, 52) != crc32fast::hash(body) {
            return Err("checkpoint entries fail their checksum".into());
        }
        Ok(Self {
            journal: JournalId(array(head, 8)),
            number: u64_at(head, 24),
            needed_from: u64_at(head, 32),
            durable: u64_at(head, 40),
            logs: body.chunks_exact(ENTRY_BYTES).map(AtRest::read).collect(),
        })
    }

    /// Writes it into its slot, durably: over the one before, whose space it takes, so that a full disk does not stop what frees
    /// some. Bytes of a longer one may stay behind it.
    pub async fn store<D: Disk>(&self, disk: &D, path: &Path) -> io::Result<()> {
        let bytes = self.to_bytes();
        let file = match disk.open(path).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => disk.create(path).await?,
            opened => opened?,
        };
        let written = Self::write(disk, &file, &bytes).await;
        if let Ok(()) = written {
            file.sync().await.map_err(io::Error::other)?;
        }
        file.close().await?;
        written?;
        if self.number < 2 {
            disk.sync_dir(path.parent().unwrap_or(path)).await?;
        }
        Ok(())
    }

    async fn write<D: Disk>(disk: &D, file: &D::File, bytes: &[u8]) -> io::Result<()> {
        for (index, chunk) in bytes.chunks(WRITE_BYTES).enumerate() {
            let mut buffer = disk.buffer(chunk.len());
            buffer.as_mut().copy_from_slice(chunk);
            file.write(Rc::new(buffer), len_u64(index * WRITE_BYTES)).await?;
        }
        Ok(())
    }
}

impl<D: Disk, S: Derived> Store<D, S> {
    /// Writes a checkpoint of all logs as they are at rest. `recycled` is the ring file that nothing needs from then on.
    pub(crate) async fn checkpoint(&self, recycled: Option<u32>) -> io::Result<()> {
        if let Some(file) = recycled {
            // Now, not later: another checkpoint may be written before the caller goes on.
            self.needed_from.borrow_mut().remove(&file);
        }
        self.write_checkpoint(false).await
    }

    pub(crate) async fn write_checkpoint(&self, closed: bool) -> io::Result<()> {
        self.checkpointing.enter().await;
        // Everything it says is looked up from here on, in one step: the gate may have been shut for long.
        let number = self.checkpoint_number.get();
        self.checkpoint_number.set(number + 1);
        let garbage = self.garbage.take();
        let checkpoint = Checkpoint {
            journal: self.options.journal,
            number,
            needed_from: if closed { CLOSED } else { self.first_needed() },
            durable: self.journal.durable_sequence(),
            logs: self.logs.borrow().iter().map(|(id, log)| (*id, log.at_rest.get())).collect(),
        };
        let path = self.paths.checkpoint(self.options.journal, number % 2);
        let stored = checkpoint.store(&self.disk, &path).await;
        if stored.is_err() {
            // The other slot has the only whole one: the next attempt must not go there.
            self.checkpoint_number.set(number);
        } else {
            self.checkpoints_stored.set(number + 1);
        }
        self.checkpointing.leave();
        if let Err(error) = stored {
            self.garbage.borrow_mut().extend(garbage);
            return Err(error);
        }
        // Not while somebody stores snapshots: a truncated log may come to need one of that name again.
        self.settling.enter().await;
        let removed = self.remove_snapshots(garbage).await;
        self.settling.leave();
        removed
    }

    pub(crate) async fn remove_snapshots(&self, garbage: Vec<(LogRef<D, S>, Offset)>) -> io::Result<()> {
        for (log, offset) in garbage {
            if !log.is_deleted() && log.at_rest.get().snapshot != Some(offset) {
                self.disk.remove_file(&self.paths.snapshot(log.id, offset)).await?;
            }
        }
        Ok(())
    }

    /// The first frame of the oldest ring file that replay needs.
    pub(crate) fn first_needed(&self) -> u64 {
        self.needed_from.borrow().values().min().copied().unwrap_or(self.journal.durable_sequence() + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkpoint() -> Checkpoint {
        let id = TopicPartition { topic: TopicId([1; 16]), partition: 2 };
        let at_rest = AtRest {
            handled: Lsn { sequence: 3, entry: 4 },
            ownership: OwnershipEpoch { boot: 5, moves: 6 },
            leader_epoch: LeaderEpoch(7),
            log_start: Offset(8),
            end: Offset(9),
            segment: Offset(10),
            position: 4097,
            incarnation: 11,
            segment_incarnation: 16,
            segment_generation: 17,
            compacted_to: Offset(18),
            snapshot: Some(Offset(12)),
            oldest: Offset(13),
            size: 14,
            expires: 15,
        };
        Checkpoint {
            journal: JournalId([2; 16]),
            number: 1,
            needed_from: 2,
            durable: 3,
            logs: vec![(id, at_rest)],
        }
    }

    #[test]
    fn golden_bytes() {
        let hex: String = checkpoint().to_bytes()[..192].iter().map(|byte| format!("{byte:02x}")).collect();
        drawn(&hex);
    }

    /// Drawn once from the layout at the top of this file.
    fn drawn(hex: &str) {
        let entry = "01010101010101010101010101010101020000000700000003000000000000000400000\
            00b000000080000000000000009000000000000000a0000000000000001100000000000000c000000000000000d00000000000000\
            0e0000000000000005000000060000000f000000000000001000000011000000\
            1200000000000000";
        let entry: String = entry.chars().filter(|c| !c.is_whitespace()).collect();
        assert_eq!(&hex[128..128 + 256], &entry[..256]);
        assert_eq!(&hex[..16], "4d4c435003000000");
        assert_eq!(&hex[48..104], "01000000000000000200000000000000030000000000000001000000");
    }

    #[test]
    fn comes_back_and_notices_damage() {
        let bytes = checkpoint().to_bytes();
        assert_eq!(Checkpoint::from_bytes(&bytes), Ok(checkpoint()));
        for at in 0..192 {
            let mut bad = bytes.clone();
            bad[at] ^= 1;
            assert!(Checkpoint::from_bytes(&bad).is_err(), "byte {at}");
        }
    }
}
