//! What one commit takes from a queue: which entries go into which frame, whole or in fragments.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

use bytes::Bytes;
use model::limits::{BLOCK, COMMIT_BYTES_MAX, ENTRY_HEADER_BYTES, FRAME_BYTES_MAX, FRAME_HEADER_BYTES};
use model::{LeaderEpoch, Offset};

use super::commit::Queued;
use super::entry::{Entry, EntryKind, LAST};
use crate::bytes_at::{len_u64, to_usize};
use crate::disk::Disk;
use crate::pool::size_class;
use crate::signal::Tide;

/// Copied in one go; then whoever else has something to do may.
pub(crate) const STEP_BYTES: usize = 256 << 10;

/// Something to be put into frames.
pub(super) struct Unit<L> {
    pub queued: Queued<L>,
    /// How many queued entries are finished with it.
    pub finishes: u32,
    /// Which of the commit's extents it tells of.
    pub extent: Option<usize>,
}

/// A queue with the tickets of what was taken from it.
pub(super) struct Queue<L> {
    pub waiting: RefCell<VecDeque<Unit<L>>>,
    /// Bytes of the front entry that earlier commits already hold.
    pub front_sent: Cell<usize>,
    pub bytes: Cell<usize>,
    pub last_ticket: Cell<u64>,
    pub written: Tide,
    pub durable: Tide,
}

impl<L> Default for Queue<L> {
    fn default() -> Self {
        Self {
            waiting: RefCell::default(),
            front_sent: Cell::new(0),
            bytes: Cell::new(0),
            last_ticket: Cell::new(0),
            written: Tide::default(),
            durable: Tide::default(),
        }
    }
}

impl<L> Queue<L> {
    /// Adds an entry and returns its ticket.
    pub fn push(&self, queued: Queued<L>) -> u64 {
        self.bytes.set(self.bytes.get() + queued.bytes.len() + ENTRY_HEADER_BYTES);
        self.waiting.borrow_mut().push_back(Unit { queued, finishes: 1, extent: None });
        self.last_ticket.set(self.last_ticket.get() + 1);
        self.last_ticket.get()
    }

    /// The first `count` entries are in the journal, each whole.
    pub fn pop(&self, count: usize) {
        if count == 0 {
            return;
        }
        let gone: usize = self
            .waiting
            .borrow_mut()
            .drain(..count)
            .map(|unit| unit.queued.bytes.len() + ENTRY_HEADER_BYTES)
            .sum();
        self.bytes.set(self.bytes.get() + self.front_sent.take() - gone);
    }

    /// Takes from it what fits into `room` bytes and one commit.
    pub fn plan(&self, room: u64) -> Plan<L>
    where
        L: Clone,
    {
        let mut sent = self.front_sent.get();
        let planned = plan(&mut self.waiting.borrow_mut(), &mut sent, to_usize(room).min(COMMIT_BYTES_MAX));
        self.front_sent.set(sent);
        self.bytes.set(self.bytes.get() - planned.taken);
        planned
    }
}

/// The frames of one commit.
pub(super) struct Plan<L> {
    pub frames: Vec<FramePlan<L>>,
    /// How many queued entries they finish.
    pub finished: u64,
    /// Bytes taken from the queue.
    taken: usize,
}

/// Which parts of the queue one frame takes.
pub(super) struct FramePlan<L> {
    pub parts: Vec<Part<L>>,
    pub payload: usize,
    /// Bytes of the whole frame: a size class where it fits.
    pub len: usize,
}

impl<L> FramePlan<L> {
    /// Copies the parts into the frame and returns where each one's bytes begin. Others get the core in between.
    pub async fn fill(&self, disk: &impl Disk, frame: &mut [u8]) -> Vec<usize> {
        let mut at = FRAME_HEADER_BYTES;
        let mut starts = Vec::with_capacity(self.parts.len());
        let mut copied = 0;
        for part in &self.parts {
            part.entry.write(part.bytes.len(), &mut frame[at..]);
            let start = at + ENTRY_HEADER_BYTES;
            at = start + part.bytes.len();
            for (to, from) in frame[start..at].chunks_mut(STEP_BYTES).zip(part.bytes.chunks(STEP_BYTES)) {
                to.copy_from_slice(from);
                copied += from.len();
                if copied >= STEP_BYTES {
                    copied = 0;
                    disk.yield_now().await;
                }
            }
            if part.patched {
                patch(part.entry.base_offset, part.entry.leader_epoch, &mut frame[start..at]);
            }
            starts.push(start);
        }
        starts
    }
}

/// The batch gets the offset and epoch it was given; its CRC covers neither.
pub(crate) fn patch(base: Offset, epoch: LeaderEpoch, batch: &mut [u8]) {
    crate::bytes_at::put(batch, 0, &base.0.to_be_bytes());
    crate::bytes_at::put(batch, 12, &epoch.0.to_be_bytes());
}

/// One entry, or a fragment of one, in a frame.
pub(super) struct Part<L> {
    pub entry: Entry,
    pub bytes: Bytes,
    /// An append begins in it: its first bytes get offset and epoch.
    pub patched: bool,
    /// How many queued entries end with it.
    pub finished: u32,
    /// Which of the commit's extents it tells of.
    pub extent: Option<usize>,
    pub log: L,
}

/// Puts as much into frames as fits `left` bytes. `sent` bytes of the first unit are in the journal already.
pub(super) fn plan<L: Clone>(waiting: &mut VecDeque<Unit<L>>, sent: &mut usize, mut left: usize) -> Plan<L> {
    const CAPACITY: usize = FRAME_BYTES_MAX - FRAME_HEADER_BYTES;
    /// A part smaller than this is not worth a frame's tail.
    const PART_MIN: usize = 32 << 10;
    let mut planned = Plan { frames: Vec::new(), finished: 0, taken: 0 };
    while left >= BLOCK && !waiting.is_empty() {
        let capacity = CAPACITY.min(left / BLOCK * BLOCK - FRAME_HEADER_BYTES);
        let mut frame = FramePlan { parts: Vec::new(), payload: 0, len: 0 };
        while let Some(front) = waiting.front() {
            let rest = front.queued.bytes.len() - *sent;
            let free = (capacity - frame.payload).saturating_sub(ENTRY_HEADER_BYTES);
            let fits = rest <= free && capacity - frame.payload >= ENTRY_HEADER_BYTES;
            let splits = rest + ENTRY_HEADER_BYTES > CAPACITY || *sent > 0 || frame.parts.is_empty();
            if !fits && (!splits || free < PART_MIN.min(rest)) {
                break;
            }
            let len = rest.min(free);
            let part = take_part(front, *sent, len);
            planned.finished += u64::from(part.finished);
            planned.taken += len;
            frame.payload += ENTRY_HEADER_BYTES + len;
            frame.parts.push(part);
            if len == rest {
                planned.taken += ENTRY_HEADER_BYTES;
                *sent = 0;
                waiting.pop_front();
            } else {
                *sent += len;
                break;
            }
        }
        if frame.parts.is_empty() {
            break;
        }
        let exact = (frame.payload + FRAME_HEADER_BYTES).next_multiple_of(BLOCK);
        let class = size_class(exact);
        frame.len = if class <= left { class } else { exact };
        left -= frame.len;
        planned.frames.push(frame);
    }
    planned
}

/// The `len` bytes from `sent` of an entry: all of it as it is, or a fragment.
fn take_part<L: Clone>(unit: &Unit<L>, sent: usize, len: usize) -> Part<L> {
    let queued = &unit.queued;
    let mut entry = queued.entry;
    let bytes = queued.bytes.slice(sent..sent + len);
    let last = sent + len == queued.bytes.len();
    let patched = entry.kind == EntryKind::Append && sent == 0;
    if entry.kind == EntryKind::Append && !(sent == 0 && last) {
        entry.kind = EntryKind::Fragment;
        entry.flags = if last { LAST } else { 0 };
    }
    entry.position += len_u64(sent);
    let finished = if last { unit.finishes } else { 0 };
    Part { entry, bytes, patched, finished, extent: unit.extent, log: queued.log.clone() }
}
