//! Group commit: entries of all partitions gather while the commit before them is on its way; then one write, one sync.
//!
//! One commit is in flight at a time. Sealing comes first and copying second: request bytes stay as they arrived until
//! the sizes of a commit's frames are known, and are then copied once, offsets and epoch patched on the way.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use model::limits::{COMMIT_GATHER_BYTES, COMMIT_GATHER_US, FRAME_HEADER_BYTES};

use super::entry::{Entry, EntryKind};
use super::extent::{Claim, Direct, Extent, Target};
use super::frame::{self, JournalId, Link};
use super::group::Group;
use super::plan::{Plan, Queue};
use super::ring::{Place, Ring};
use crate::bytes_at::{len_u32, len_u64, to_usize};
use crate::disk::{Disk, File, Undurable};
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
    /// A snapshot is to be taken right behind it: it must come to rest by itself or as the last one of an extent.
    pub marked: bool,
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
    /// How many bytes; of an EXTENT those that are in the segment.
    pub len: usize,
    /// Of an EXTENT that is in memory, and of what the journal has of its last block, the appends.
    pub extent: Option<Rc<Extent<D>>>,
    /// How many queued entries end with this part.
    pub finished: u32,
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

/// What the journal tells and asks its owner.
#[allow(async_fn_in_trait, reason = "nothing here is Send, on purpose: an executor never leaves its thread")]
pub trait Sink<D: Disk, L> {
    /// Whether a group of appends may go straight to its segment, and what it takes. If so, nobody else writes to that log's
    /// segments until it is committed or [`Self::journaled`].
    async fn direct(&self, _group: &Group<L>) -> Option<Target<D>> {
        None
    }
    /// A group that could have gone to its segment goes through the journal; because of this error of its write, if any.
    fn journaled(&self, _group: &Group<L>, _error: Option<&io::Error>) {}
    /// These entries are written but not synced: they survive the death of the process and of the kernel, not a power cut.
    /// [`Self::committed`] follows with the same ones.
    fn written(&self, _entries: &mut [Committed<D, L>]) {}
    /// These entries are durable, in this order. Called before anybody who waits for them is woken.
    fn committed(&self, entries: Vec<Committed<D, L>>, facts: CommitFacts);
}

/// The journal of one shard and boot.
pub struct Journal<D: Disk, L> {
    pub(super) disk: D,
    id: JournalId,
    /// Places to write.
    pub ring: Ring<D>,
    pub(super) pool: Rc<Pool<D>>,
    /// Appends of one log that have this much in one commit go to its segment.
    pub(super) extent_bytes_min: u64,
    ordinary: Queue<L>,
    forward: Queue<L>,
    arrived: Signal,
    closing: Cell<bool>,
    ended: Cell<bool>,
    sequence: Cell<u64>,
    durable_sequence: Cell<u64>,
    previous_crc: Cell<u32>,
}

/// What a commit takes from a queue.
struct Taken<D: Disk, L> {
    plan: Plan<L>,
    directs: Vec<Direct<D, L>>,
    /// Entries that stay in the queue until it is durable.
    entries: usize,
    /// Its frames take the place of others.
    again: bool,
}

impl<D: Disk, L> Taken<D, L> {
    fn journaled(plan: Plan<L>, again: bool) -> Self {
        Self { plan, directs: Vec::new(), entries: 0, again }
    }
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
            extent_bytes_min: u64::MAX,
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

    /// The same, but appends of one log with at least `bytes` (two blocks or more) in one commit go straight to its segment if
    /// [`Sink::direct`] lets them.
    #[must_use]
    pub fn with_extents(self, bytes: u64) -> Self {
        Self { extent_bytes_min: bytes.max(2 * model::limits::BLOCK as u64), ..self }
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
        let ticket = queue.push(queued);
        self.arrived.notify();
        ticket
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

    /// Commit at once while commits are small; under load wait for half of what the last one had, but not long. Clients that wait for
    /// answers before they send more would never bring some fixed amount, nor always the same to each core: half of them are on
    /// their way to the disk then, and half on their way here.
    async fn gather(&self, last_bytes: usize) {
        let wanted = last_bytes.min(COMMIT_GATHER_BYTES) / 2;
        let enough = || self.queued_bytes() >= wanted || self.forward.bytes.get() > 0 || self.closing.get();
        if last_bytes < COMMIT_GATHER_BYTES / 4 || enough() {
            return;
        }
        let enough = self.arrived.until(|| enough().then_some(()));
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
        let before = (self.sequence.get(), self.previous_crc.get());
        let mut taken = self.take(queue, &place, sink, !forward).await;
        loop {
            let (buffers, mut committed) = self.build(&taken, &place).await;
            let built = self.disk.now_ns();
            let finished = taken.plan.finished;
            let beside: Vec<_> = taken.directs.iter().map(Direct::beside).collect();
            let written = || {
                sink.written(&mut committed);
                queue.written.raise(queue.written.level() + finished);
            };
            let ended = place.file.handle.write_durable(&buffers, place.position, &beside, written).await;
            if let Err(Undurable::Write(source @ 1.., error)) = &ended {
                // Nobody was told of any of it: all of it goes through the journal, in the place of the frames that spoke of extents.
                for (at, direct) in taken.directs.iter().enumerate() {
                    sink.journaled(&direct.group, (at + 1 == *source).then_some(error));
                }
                self.sequence.set(before.0);
                self.previous_crc.set(before.1);
                taken = Taken::journaled(queue.plan(place.room), true);
                continue;
            }
            ended.unwrap_or_else(|undurable| self.fail(&place, &taken, undurable));
            queue.pop(taken.entries);
            let bytes: usize = buffers.iter().map(|buffer| (**buffer).as_ref().len()).sum();
            drop((buffers, beside));
            self.ring.advance(len_u64(bytes));
            self.durable_sequence.set(self.sequence.get());
            let facts = CommitFacts {
                bytes: len_u64(bytes),
                entries: len_u32(committed.len()),
                nanos: self.disk.now_ns() - begun,
                sync_nanos: self.disk.now_ns() - built,
            };
            let direct: u64 = taken.directs.iter().map(|direct| direct.extent.to - direct.extent.from).sum();
            sink.committed(committed, facts);
            queue.durable.raise(queue.durable.level() + finished);
            return bytes + to_usize(direct);
        }
    }

    /// What the commit has: frames, and what goes beside them if that is to be.
    async fn take(
        &self,
        queue: &Queue<L>,
        place: &Place<D>,
        sink: &impl Sink<D, L>,
        direct: bool,
    ) -> Taken<D, L> {
        if direct && let Some((plan, directs, entries)) = self.direct(queue, place.room, sink).await {
            return Taken { plan, directs, entries, again: false };
        }
        Taken::journaled(queue.plan(place.room), false)
    }

    /// What the disk then holds is unknown: the process ends.
    fn fail(&self, place: &Place<D>, taken: &Taken<D, L>, undurable: Undurable) -> ! {
        let (source, error) = match undurable {
            Undurable::Write(source, error) | Undurable::Sync(source, error) => (source, error),
        };
        let what = match source.checked_sub(1).and_then(|at| taken.directs.get(at)) {
            Some(direct) => format!("syncing {}", direct.target.path.display()),
            None => {
                let path = self.ring.path_of(place.file.number);
                format!("writing the journal {} at byte {}", path.display(), place.position)
            }
        };
        self.disk.fatal(&what, &error)
    }

    async fn build(&self, taken: &Taken<D, L>, place: &Place<D>) -> Built<D, L> {
        let mut buffers = Vec::with_capacity(taken.plan.frames.len());
        let mut committed = Vec::new();
        for plan in &taken.plan.frames {
            let sequence = self.sequence.get() + 1;
            let mut frame = Pooled::take(&self.pool, plan.len);
            let starts = plan.fill(&self.disk, frame.bytes_mut()).await;
            let link = Link {
                journal: self.id,
                sequence,
                durable_sequence: self.durable_sequence.get(),
                previous_crc: self.previous_crc.get(),
                again: taken.again,
            };
            let header = frame::seal(frame.bytes_mut(), plan.payload, len_u32(plan.parts.len()), link);
            self.sequence.set(sequence);
            self.previous_crc.set(header.header_crc);
            buffers.push(frame.shared());
            let frame = Rc::new(frame);
            for (index, (part, start)) in plan.parts.iter().zip(starts).enumerate() {
                let extent = part.extent.and_then(|at| taken.directs.get(at)).map(|direct| &direct.extent);
                let len = match Claim::read(&part.entry, &part.bytes) {
                    Some(claim) if part.entry.kind == EntryKind::Extent => {
                        to_usize(claim.to - part.entry.position)
                    }
                    _ => part.bytes.len(),
                };
                committed.push(Committed {
                    entry: part.entry,
                    lsn: Lsn { sequence, entry: len_u32(index) },
                    file: place.file.number,
                    frame: Rc::clone(&frame),
                    start,
                    len,
                    extent: extent.cloned(),
                    finished: part.finished,
                    shown: false,
                    log: part.log.clone(),
                });
            }
        }
        (buffers, committed)
    }
}
