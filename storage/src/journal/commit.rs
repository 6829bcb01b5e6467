//! Group commit: entries of all partitions gather while the commit before them is on its way; then one write, one sync.
//!
//! One commit is in flight at a time. Sealing comes first and copying second: request bytes stay as they arrived until
//! the sizes of a commit's frames are known, and are then copied once, offsets and epoch patched on the way.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use model::limits::{COMMIT_GATHER_BYTES, COMMIT_GATHER_US, ENTRY_HEADER_BYTES, FRAME_HEADER_BYTES};

use super::entry::Entry;
use super::frame::{self, JournalId, Link};
use super::plan::{FramePlan, Queue, plan};
use super::ring::{Place, Ring};
use crate::bytes_at::{len_u32, len_u64};
use crate::disk::{Disk, File};
use crate::pool::{Pool, Pooled};
use crate::signal::Signal;

/// A place in a journal: (frame, entry within it). Grows within one journal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Lsn {
    /// The frame's sequence; 0 is before every frame.
    pub sequence: u64,
    /// Index of the entry in its frame.
    pub entry: u32,
}

/// One mutation on its way into the journal. `L` is how the caller names the log.
pub struct Queued<L> {
    /// What is written; for an append, `position` is that of its first byte.
    pub entry: Entry,
    /// The entry's bytes as they arrived.
    pub bytes: Bytes,
    /// Whose.
    pub log: L,
}

/// One entry (or one part of a large append) that is now written, and soon durable.
pub struct Committed<D: Disk, L> {
    /// What was written; `position` is that of this part.
    pub entry: Entry,
    /// Its place in the order of all.
    pub lsn: Lsn,
    /// Number of the ring file it is in.
    pub file: u32,
    /// The frame that holds it, in memory.
    pub frame: Rc<Pooled<D>>,
    /// Where its bytes begin in the frame.
    pub start: usize,
    /// How many bytes.
    pub len: usize,
    /// Whether this is the last part of what was queued.
    pub finished: bool,
    /// The owner's mark between [`Sink::written`] and [`Sink::committed`]; false at first.
    pub shown: bool,
    /// Whose.
    pub log: L,
}

/// What one commit did, for counters.
#[derive(Clone, Copy, Debug, Default)]
pub struct CommitFacts {
    /// Bytes written, headers and padding included.
    pub bytes: u64,
    /// Entries in it.
    pub entries: u32,
    /// From the first byte copied to durable.
    pub nanos: u64,
    /// The write and its sync alone.
    pub sync_nanos: u64,
}

/// What the journal tells its owner.
pub trait Sink<D: Disk, L> {
    /// These entries are written but not synced: they survive the death of the process and of the kernel, not a power cut.
    /// [`Self::committed`] follows with the same ones.
    fn written(&self, _entries: &mut [Committed<D, L>]) {}
    /// These entries are durable, in this order. Called before anybody who waits for them is woken.
    fn committed(&self, entries: Vec<Committed<D, L>>, facts: CommitFacts);
}

/// Copied in one go; then whoever else has something to do may.
const STEP_BYTES: usize = 256 << 10;

/// The journal of one shard and boot.
pub struct Journal<D: Disk, L> {
    disk: D,
    id: JournalId,
    /// Places to write.
    pub ring: Ring<D>,
    pool: Rc<Pool<D>>,
    ordinary: Queue<L>,
    forward: Queue<L>,
    arrived: Signal,
    closing: Cell<bool>,
    ended: Cell<bool>,
    sequence: Cell<u64>,
    durable_sequence: Cell<u64>,
    previous_crc: Cell<u32>,
}

/// The buffers of a commit, and what is in them.
type Built<D, L> = (Vec<Rc<<D as Disk>::Buffer>>, Vec<Committed<D, L>>);

impl<D: Disk, L: Clone + 'static> Journal<D, L> {
    /// An empty journal. Nothing is written until [`Self::run`] runs.
    pub fn new(disk: D, id: JournalId, ring: Ring<D>, pool: Rc<Pool<D>>) -> Self {
        Self {
            disk,
            id,
            ring,
            pool,
            ordinary: Queue::default(),
            forward: Queue::default(),
            arrived: Signal::default(),
            closing: Cell::new(false),
            ended: Cell::new(false),
            sequence: Cell::new(0),
            durable_sequence: Cell::new(0),
            previous_crc: Cell::new(0),
        }
    }

    /// Its name.
    pub fn id(&self) -> JournalId {
        self.id
    }

    /// The last frame that is durable.
    pub fn durable_sequence(&self) -> u64 {
        self.durable_sequence.get()
    }

    /// Bytes waiting for a commit.
    pub fn queued_bytes(&self) -> usize {
        self.ordinary.bytes.get() + self.forward.bytes.get()
    }

    /// Queues a mutation; [`Self::durable`] of the ticket returned says when it is on stable storage.
    pub fn queue(&self, queued: Queued<L>) -> u64 {
        self.push(&self.ordinary, queued)
    }

    /// Queues bytes copied forward so that their old place can be recycled. Goes ahead of ordinary entries.
    pub fn queue_forward(&self, queued: Queued<L>) -> u64 {
        self.push(&self.forward, queued)
    }

    fn push(&self, queue: &Queue<L>, queued: Queued<L>) -> u64 {
        queue.bytes.set(queue.bytes.get() + queued.bytes.len() + ENTRY_HEADER_BYTES);
        queue.waiting.borrow_mut().push_back(queued);
        queue.last_ticket.set(queue.last_ticket.get() + 1);
        self.arrived.notify();
        queue.last_ticket.get()
    }

    /// Waits until everything up to this ticket of [`Self::queue`] is durable.
    pub async fn durable(&self, ticket: u64) {
        self.ordinary.durable.reached(ticket).await;
    }

    /// Waits until everything up to this ticket of [`Self::queue`] is written, one event before it is durable.
    pub async fn written(&self, ticket: u64) {
        self.ordinary.written.reached(ticket).await;
    }

    /// The ticket of the last entry queued.
    pub fn last_ticket(&self) -> u64 {
        self.ordinary.last_ticket.get()
    }

    /// Waits until everything up to this ticket of [`Self::queue_forward`] is durable.
    pub async fn durable_forward(&self, ticket: u64) {
        self.forward.durable.reached(ticket).await;
    }

    /// No more entries will come: waits until [`Self::run`], which must have been started, has emptied the queues and ended.
    pub async fn close(&self) {
        self.closing.set(true);
        self.arrived.notify();
        self.arrived.until(|| self.ended.get().then_some(())).await;
    }

    /// Commits until closed. A failed write or sync ends the process: what the disk then holds is unknown.
    pub async fn run(&self, sink: &impl Sink<D, L>) {
        let mut last_bytes = 0;
        loop {
            let more = self
                .arrived
                .until(|| {
                    if self.queued_bytes() > 0 {
                        return Some(true);
                    }
                    self.closing.get().then_some(false)
                })
                .await;
            if !more {
                self.ended.set(true);
                self.arrived.notify();
                return;
            }
            self.gather(last_bytes).await;
            last_bytes = self.commit(sink).await;
        }
    }

    /// Commit at once while commits are small; under load wait for more, but not long.
    async fn gather(&self, last_bytes: usize) {
        if last_bytes < COMMIT_GATHER_BYTES / 4
            || self.queued_bytes() >= COMMIT_GATHER_BYTES
            || self.closing.get()
        {
            return;
        }
        let enough = self.arrived.until(|| {
            (self.queued_bytes() >= COMMIT_GATHER_BYTES || self.forward.bytes.get() > 0).then_some(())
        });
        let late = self.disk.sleep(Duration::from_micros(COMMIT_GATHER_US));
        futures_lite::future::or(enough, late).await;
    }

    /// Writes one commit and returns its size.
    async fn commit(&self, sink: &impl Sink<D, L>) -> usize {
        let forward = self.forward.bytes.get() > 0;
        let queue = if forward { &self.forward } else { &self.ordinary };
        let wanted = len_u64(queue.bytes.get() + FRAME_HEADER_BYTES);
        // Forwarded entries that come while ordinary ones wait for room go first: they are what makes room.
        let place = async { Some(self.ring.place(wanted, forward).await) };
        let overtaken = self.arrived.until(|| (!forward && self.forward.bytes.get() > 0).then_some(None));
        let Some(place) = futures_lite::future::or(place, overtaken).await else {
            return 0;
        };
        let begun = self.disk.now_ns();
        let (plans, finished) = plan(queue, place.room);
        let (buffers, mut committed) = self.build(plans, &place).await;
        let built = self.disk.now_ns();
        let bytes: usize = buffers.iter().map(|buffer| (**buffer).as_ref().len()).sum();
        let written = || {
            sink.written(&mut committed);
            queue.written.raise(queue.written.level() + finished);
        };
        if let Err(error) = place.file.handle.write_durable(&buffers, place.position, written).await {
            let path = self.ring.path_of(place.file.number);
            self.disk
                .fatal(&format!("writing the journal {} at byte {}", path.display(), place.position), &error);
        }
        drop(buffers);
        self.ring.advance(len_u64(bytes));
        self.durable_sequence.set(self.sequence.get());
        let facts = CommitFacts {
            bytes: len_u64(bytes),
            entries: len_u32(committed.len()),
            nanos: self.disk.now_ns() - begun,
            sync_nanos: self.disk.now_ns() - built,
        };
        sink.committed(committed, facts);
        queue.durable.raise(queue.durable.level() + finished);
        bytes
    }

    async fn build(&self, plans: Vec<FramePlan<L>>, place: &Place<D>) -> Built<D, L> {
        let mut buffers = Vec::with_capacity(plans.len());
        let mut committed = Vec::new();
        for plan in plans {
            let sequence = self.sequence.get() + 1;
            let mut frame = Pooled::take(&self.pool, plan.len);
            let starts = self.fill(frame.bytes_mut(), &plan).await;
            let link = Link {
                journal: self.id,
                sequence,
                durable_sequence: self.durable_sequence.get(),
                previous_crc: self.previous_crc.get(),
            };
            let header = frame::seal(frame.bytes_mut(), plan.payload, len_u32(plan.parts.len()), link);
            self.sequence.set(sequence);
            self.previous_crc.set(header.header_crc);
            buffers.push(frame.shared());
            let frame = Rc::new(frame);
            for (index, (part, start)) in plan.parts.into_iter().zip(starts).enumerate() {
                committed.push(Committed {
                    entry: part.entry,
                    lsn: Lsn { sequence, entry: len_u32(index) },
                    file: place.file.number,
                    frame: Rc::clone(&frame),
                    start,
                    len: part.bytes.len(),
                    finished: part.finished,
                    shown: false,
                    log: part.log,
                });
            }
        }
        (buffers, committed)
    }

    /// Copies the parts into the frame and returns where each one's bytes begin. Others get the core in between.
    async fn fill(&self, frame: &mut [u8], plan: &FramePlan<L>) -> Vec<usize> {
        let mut at = FRAME_HEADER_BYTES;
        let mut starts = Vec::with_capacity(plan.parts.len());
        let mut copied = 0;
        for part in &plan.parts {
            part.entry.write(part.bytes.len(), &mut frame[at..]);
            let start = at + ENTRY_HEADER_BYTES;
            at = start + part.bytes.len();
            for (to, from) in frame[start..at].chunks_mut(STEP_BYTES).zip(part.bytes.chunks(STEP_BYTES)) {
                to.copy_from_slice(from);
                copied += from.len();
                if copied >= STEP_BYTES {
                    copied = 0;
                    self.disk.yield_now().await;
                }
            }
            if part.patched {
                patch(&part.entry, &mut frame[start..at]);
            }
            starts.push(start);
        }
        starts
    }
}

/// The batch gets the offset and epoch it was given; its CRC covers neither.
fn patch(entry: &Entry, batch: &mut [u8]) {
    crate::bytes_at::put(batch, 0, &entry.base_offset.0.to_be_bytes());
    crate::bytes_at::put(batch, 12, &entry.leader_epoch.0.to_be_bytes());
}
