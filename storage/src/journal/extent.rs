//! Appends that go straight to their segment: which of a commit's do, and their bytes put together, once.
//!
//! The journal gets an entry EXTENT in their place, and what follows the last whole block as its last fragment:
//!
//! ```text
//!  segment   ...|prefix  append  append  app|end ...
//!               ^from    ^start             ^to ^end
//!                        journal: EXTENT     FRAGMENT
//! ```
//! The bytes of an EXTENT entry are {length u64, from `start` to `to`; CRC-32 u32 of the segment from `from` to `to`}.
//! `from` and `to` are block boundaries, so the first block is written whole, with the bytes before `start` that only the journal had.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::rc::Rc;

use bytes::Bytes;
use model::Offset;
use model::limits::{COMMIT_BYTES_MAX, FRAME_BYTES_MAX};

use super::commit::{Journal, Queued, Sink};
use super::entry::{Entry, EntryKind, LAST};
use super::group::{Group, Sorted};
use super::plan::{Plan, Queue, STEP_BYTES, Unit, plan};
use crate::bytes_at::{block_down, len_u64, put, to_usize, u32_at, u64_at};
use crate::disk::{Beside, Disk};
use crate::pool::{Pool, Pooled, size_class_below};

/// Bytes of an EXTENT entry behind its header.
pub(super) const PAYLOAD_BYTES: usize = 12;

/// What a group needs to be written to its segment.
pub struct Target<D: Disk> {
    /// The segment.
    pub file: Rc<D::File>,
    /// Where that is, for people.
    pub path: PathBuf,
    /// The log's bytes before the group in the block that it begins in.
    pub prefix: Bytes,
}

/// Bytes of a log that were written straight to its segment, in memory.
pub struct Extent<D: Disk> {
    /// What is in the segment by now: whole blocks.
    pub from: u64,
    /// See `from`.
    pub to: u64,
    /// The same in memory, one behind the other.
    pub pieces: Vec<Piece<D>>,
    /// The appends; the last ones may end behind `to`.
    pub spans: Vec<Span>,
}

/// A buffer of an [`Extent`].
pub struct Piece<D: Disk> {
    /// Where in the segment it stands.
    pub position: u64,
    /// Its bytes.
    pub buffer: Rc<Pooled<D>>,
}

/// One append of an [`Extent`].
#[derive(Clone, Copy, Debug)]
pub struct Span {
    /// Its first offset.
    pub base: Offset,
    /// The offset after its last.
    pub end: Offset,
    /// Where it begins in the segment.
    pub position: u64,
    /// Its bytes.
    pub len: u64,
}

/// What an EXTENT entry says of the segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Claim {
    /// These whole blocks...
    pub from: u64,
    /// ...up to here...
    pub to: u64,
    /// ...have this CRC-32.
    pub crc: u32,
}

impl Claim {
    /// From an entry and its bytes; `None` when they make no sense.
    #[must_use]
    pub fn read(entry: &Entry, payload: &[u8]) -> Option<Self> {
        let from = block_down(entry.position);
        let to = entry.position.checked_add(u64_at(payload, 0))?;
        let sound = payload.len() == PAYLOAD_BYTES && to > entry.position && block_down(to) == to;
        sound.then(|| Self { from, to, crc: u32_at(payload, 8) })
    }

    /// The bytes of an EXTENT entry whose appends begin at `start`.
    pub(crate) fn write(&self, start: u64) -> Bytes {
        let mut payload = [0; PAYLOAD_BYTES];
        put(&mut payload, 0, &(self.to - start).to_le_bytes());
        put(&mut payload, 8, &self.crc.to_le_bytes());
        Bytes::copy_from_slice(&payload)
    }
}

/// An extent on its way to its segment, and what the journal says of it.
pub(super) struct Direct<D: Disk, L> {
    pub group: Group<L>,
    pub extent: Rc<Extent<D>>,
    pub entry: Entry,
    pub payload: Bytes,
    /// What follows the whole blocks.
    pub tail: Bytes,
    pub target: Target<D>,
}

impl<D: Disk, L> Direct<D, L> {
    /// Copies a group's appends, patched, behind the prefix of their first block.
    pub async fn build(disk: &D, pool: &Rc<Pool<D>>, group: Group<L>, target: Target<D>) -> Self {
        let start = group.start.position;
        let mut draft = Draft::new(pool, block_down(start), block_down(group.end), group.end);
        draft.put(draft.from, &target.prefix);
        let mut spans = Vec::with_capacity(group.members.len());
        for (entry, bytes) in &group.members {
            let mut at = entry.position;
            for step in bytes.chunks(STEP_BYTES) {
                draft.put(at, step);
                at += len_u64(step.len());
                disk.yield_now().await;
            }
            draft.put(entry.position, &entry.base_offset.0.to_be_bytes());
            draft.put(entry.position + 12, &entry.leader_epoch.0.to_be_bytes());
            let (base, end) = (entry.base_offset, entry.end_offset);
            spans.push(Span { base, end, position: entry.position, len: at - entry.position });
        }
        let mut crc = crc32fast::Hasher::new();
        for (_, piece) in &draft.pieces {
            crc.update(piece.as_ref());
            disk.yield_now().await;
        }
        let claim = Claim { from: draft.from, to: draft.to, crc: crc.finalize() };
        let (first, last) = (group.members.first(), group.members.last());
        let (first, last) =
            first.zip(last).map(|(first, last)| (first.0, last.0)).expect("no group is empty");
        let flags = if draft.tail.is_empty() { LAST } else { 0 };
        let entry = Entry { kind: EntryKind::Extent, flags, end_offset: last.end_offset, ..first };
        let piece = |(position, buffer)| Piece { position, buffer: Rc::new(buffer) };
        let pieces = draft.pieces.into_iter().map(piece).collect();
        let extent = Rc::new(Extent { from: claim.from, to: claim.to, pieces, spans });
        let tail = Bytes::from(draft.tail);
        Self { group, extent, entry, payload: claim.write(start), tail, target }
    }

    /// The entry of what follows the whole blocks.
    pub fn tail_entry(&self) -> Entry {
        Entry { kind: EntryKind::Fragment, flags: LAST, position: self.extent.to, ..self.entry }
    }

    /// How many entries of the queue it stands for.
    pub fn entries(&self) -> u32 {
        crate::bytes_at::len_u32(self.group.members.len())
    }

    /// Its write.
    pub fn beside(&self) -> Beside<D::File> {
        Beside {
            file: Rc::clone(&self.target.file),
            buffers: self.extent.pieces.iter().map(|piece| piece.buffer.shared()).collect(),
            position: self.extent.from,
        }
    }
}

impl<D: Disk, L: Clone + 'static> Journal<D, L> {
    /// What of the next commit goes to segments, as far as `sink` lets it and the rest fits into `room`; and that rest.
    pub(super) async fn direct(
        &self,
        queue: &Queue<L>,
        room: u64,
        sink: &impl Sink<D, L>,
    ) -> Option<(Plan<L>, Vec<Direct<D, L>>, usize)> {
        if len_u64(queue.bytes.get()) < self.extent_bytes_min {
            return None;
        }
        let sorted = Sorted::of(&queue.waiting.borrow(), queue.front_sent.get());
        let large = |group: &Group<L>| group.end - group.start.position >= self.extent_bytes_min;
        let chosen: Vec<bool> = sorted.groups.iter().map(large).collect();
        if !chosen.contains(&true) || !sorted.fits(&queue.waiting.borrow(), &chosen, room) {
            return None;
        }
        let mut places = vec![None; chosen.len()];
        let mut directs = Vec::new();
        for (at, group) in sorted.groups.into_iter().enumerate() {
            if chosen.get(at) == Some(&true)
                && let Some(target) = sink.direct(&group).await
            {
                if let Some(place) = places.get_mut(at) {
                    *place = Some(directs.len());
                }
                directs.push(Direct::build(&self.disk, &self.pool, group, target).await);
            }
        }
        if directs.is_empty() {
            return None;
        }
        let mut units = units(&queue.waiting.borrow(), &sorted.owners, &places, &directs);
        let mut sent = queue.front_sent.get();
        let plan = plan(&mut units, &mut sent, to_usize(room).min(2 * COMMIT_BYTES_MAX));
        if units.is_empty() {
            return Some((plan, directs, sorted.owners.len()));
        }
        for direct in &directs {
            sink.journaled(&direct.group, None);
        }
        None
    }
}

/// What the journal gets: an extent's entries where its first append was, and all that is not part of one.
fn units<D: Disk, L: Clone>(
    waiting: &VecDeque<Unit<L>>,
    owners: &[Option<usize>],
    places: &[Option<usize>],
    directs: &[Direct<D, L>],
) -> VecDeque<Unit<L>> {
    let mut units = VecDeque::new();
    let mut told = vec![false; directs.len()];
    for (unit, owner) in waiting.iter().zip(owners) {
        let place = owner.and_then(|owner| places.get(owner).copied().flatten());
        let Some((at, direct)) = place.and_then(|at| directs.get(at).map(|direct| (at, direct))) else {
            let Queued { entry, bytes, marked, log } = &unit.queued;
            let queued = Queued { entry: *entry, bytes: bytes.clone(), marked: *marked, log: log.clone() };
            units.push_back(Unit { queued, ..*unit });
            continue;
        };
        if std::mem::replace(&mut told[at], true) {
            continue;
        }
        let log = &direct.group.log;
        let queued =
            Queued { entry: direct.entry, bytes: direct.payload.clone(), marked: false, log: log.clone() };
        let finishes = if direct.tail.is_empty() { direct.entries() } else { 0 };
        units.push_back(Unit { queued, finishes, extent: Some(at) });
        if !direct.tail.is_empty() {
            let queued = Queued {
                entry: direct.tail_entry(),
                bytes: direct.tail.clone(),
                marked: false,
                log: log.clone(),
            };
            units.push_back(Unit { queued, finishes: direct.entries(), extent: Some(at) });
        }
    }
    units
}

/// A range of a segment being filled.
struct Draft<D: Disk> {
    from: u64,
    to: u64,
    /// Whole blocks from `from` to `to`.
    pieces: Vec<(u64, Pooled<D>)>,
    /// What follows them.
    tail: Vec<u8>,
}

impl<D: Disk> Draft<D> {
    fn new(pool: &Rc<Pool<D>>, from: u64, to: u64, end: u64) -> Self {
        let mut pieces = Vec::new();
        let mut at = from;
        while at < to {
            let len = size_class_below(to_usize(to - at).min(FRAME_BYTES_MAX));
            pieces.push((at, Pooled::take(pool, len)));
            at += len_u64(len);
        }
        Self { from, to, pieces, tail: vec![0; to_usize(end - to)] }
    }

    /// Puts bytes where they stand in the segment.
    fn put(&mut self, mut at: u64, mut bytes: &[u8]) {
        let first = self.pieces.partition_point(|(position, _)| *position <= at).saturating_sub(1);
        for (position, piece) in self.pieces.iter_mut().skip(first) {
            if at >= self.to {
                break;
            }
            let piece = piece.bytes_mut();
            let place = &mut piece[to_usize(at - *position)..];
            let (now, later) = bytes.split_at(place.len().min(bytes.len()));
            place[..now.len()].copy_from_slice(now);
            at += len_u64(now.len());
            bytes = later;
            if bytes.is_empty() {
                return;
            }
        }
        let place = to_usize(at - self.to);
        self.tail[place..place + bytes.len()].copy_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{OwnershipEpoch, TopicId, TopicPartition};

    #[test]
    fn golden_bytes() {
        let claim = Claim { from: 8192, to: 0x0002_0000, crc: 0x0403_0201 };
        let payload = claim.write(8200);
        let hex: String = payload.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "f8df01000000000001020304");
        let partition = TopicPartition { topic: TopicId([1; 16]), partition: 0 };
        let entry = Entry::of(EntryKind::Extent, partition, OwnershipEpoch { boot: 1, moves: 0 });
        let entry = Entry { position: 8200, ..entry };
        assert_eq!(Claim::read(&entry, &payload), Some(claim));
        assert_eq!(Claim::read(&entry, &payload[..11]), None);
        assert_eq!(Claim::read(&Entry { position: 8201, ..entry }, &payload), None, "no whole block");
        assert_eq!(Claim::read(&entry, &[0xFF; 12]), None);
        assert_eq!(Claim::read(&Entry { position: 8192, ..entry }, &[0; 12]), None, "nothing");
    }
}
