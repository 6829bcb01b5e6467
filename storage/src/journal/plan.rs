//! What one commit takes from a queue: which entries go into which frame, whole or in fragments.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

use bytes::Bytes;
use model::limits::{BLOCK, COMMIT_BYTES_MAX, ENTRY_HEADER_BYTES, FRAME_BYTES_MAX, FRAME_HEADER_BYTES};

use super::commit::Queued;
use super::entry::{Entry, EntryKind, LAST};
use crate::bytes_at::{len_u64, to_usize};
use crate::pool::size_class;
use crate::signal::Tide;

/// A queue with the tickets of what was taken from it.
pub(super) struct Queue<L> {
    pub waiting: RefCell<VecDeque<Queued<L>>>,
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

/// Which parts of the queue one frame takes.
pub(super) struct FramePlan<L> {
    pub parts: Vec<Part<L>>,
    pub payload: usize,
    /// Bytes of the whole frame: a size class where it fits.
    pub len: usize,
}

/// One entry, or a fragment of one, in a frame.
pub(super) struct Part<L> {
    pub entry: Entry,
    pub bytes: Bytes,
    /// An append begins in it: its first bytes get offset and epoch.
    pub patched: bool,
    pub finished: bool,
    pub log: L,
}

/// Takes from the queue what fits into `room` bytes and one commit. Returns the frames and how many entries are finished.
pub(super) fn plan<L: Clone>(queue: &Queue<L>, room: u64) -> (Vec<FramePlan<L>>, u64) {
    const CAPACITY: usize = FRAME_BYTES_MAX - FRAME_HEADER_BYTES;
    /// A part smaller than this is not worth a frame's tail.
    const PART_MIN: usize = 32 << 10;
    let mut waiting = queue.waiting.borrow_mut();
    let mut frames = Vec::new();
    let mut finished = 0;
    let mut left = to_usize(room).min(COMMIT_BYTES_MAX);
    while left >= BLOCK && !waiting.is_empty() {
        let capacity = CAPACITY.min(left / BLOCK * BLOCK - FRAME_HEADER_BYTES);
        let mut frame = FramePlan { parts: Vec::new(), payload: 0, len: 0 };
        while let Some(front) = waiting.front() {
            let sent = queue.front_sent.get();
            let rest = front.bytes.len() - sent;
            let free = (capacity - frame.payload).saturating_sub(ENTRY_HEADER_BYTES);
            let fits = rest <= free && capacity - frame.payload >= ENTRY_HEADER_BYTES;
            let splits = rest + ENTRY_HEADER_BYTES > CAPACITY || sent > 0 || frame.parts.is_empty();
            if !fits && (!splits || free < PART_MIN.min(rest)) {
                break;
            }
            let len = rest.min(free);
            let part = take_part(front, sent, len);
            frame.payload += ENTRY_HEADER_BYTES + len;
            frame.parts.push(part);
            queue.bytes.set(queue.bytes.get() - len);
            if len == rest {
                queue.bytes.set(queue.bytes.get() - ENTRY_HEADER_BYTES);
                queue.front_sent.set(0);
                waiting.pop_front();
                finished += 1;
            } else {
                queue.front_sent.set(sent + len);
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
        frames.push(frame);
    }
    (frames, finished)
}

/// The `len` bytes from `sent` of an entry: all of it as it is, or a fragment.
fn take_part<L: Clone>(queued: &Queued<L>, sent: usize, len: usize) -> Part<L> {
    let mut entry = queued.entry;
    let bytes = queued.bytes.slice(sent..sent + len);
    let last = sent + len == queued.bytes.len();
    let patched = entry.kind == EntryKind::Append && sent == 0;
    if entry.kind == EntryKind::Append && !(sent == 0 && last) {
        entry.kind = EntryKind::Fragment;
        entry.flags = if last { LAST } else { 0 };
    }
    entry.position += len_u64(sent);
    Part { entry, bytes, patched, finished: last, log: queued.log.clone() }
}
