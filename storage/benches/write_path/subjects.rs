//! What is measured: a raw loop, the journal alone, the whole store.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::path::Path;
use std::rc::Rc;

use bytes::Bytes;
use model::batch::BatchBuilder;
use model::limits::{BLOCK, ENTRY_HEADER_BYTES, FRAME_BYTES_MAX, FRAME_HEADER_BYTES, MemoryPlan};
use model::{LeaderEpoch, Offset, OwnershipEpoch, TimestampMs, TopicId, TopicPartition};
use storage::derived::EpochsOnly;
use storage::disk::uring::{UringDisk, UringFile};
use storage::disk::{Disk, File};
use storage::journal::commit::{CommitFacts, Sink};
use storage::journal::ring::Ring;
use storage::journal::{Committed, Entry, EntryKind, Journal, JournalId, Queued};
use storage::paths::Paths;
use storage::pool::{Pool, size_class};
use storage::signal::{Signal, Tide};
use storage::{LogRef, LogSettings, Store, StoreOptions};

use crate::load::{Measured, Offer, Subject, warm_and_apply};

/// Memory of the one core.
const MEMORY: u64 = 1 << 30;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Raw,
    Journal,
    Store,
}

/// What the journal's commits looked like, for the raw loop to imitate.
#[derive(Clone, Copy, Default)]
pub struct CommitShape {
    /// Appends of one commit, on average.
    pub appends: u64,
}

/// Runs one subject under one load in an empty directory.
pub async fn run(
    dir: &Path,
    kind: Kind,
    partitions: u32,
    offer: Offer,
    shape: CommitShape,
) -> (Measured, CommitShape) {
    let disk = UringDisk::new(dir).expect("a directory");
    let plan = MemoryPlan::new(MEMORY, 1).expect("enough memory");
    let (ring, size) = (plan.ring, offer.size);
    let measured = match kind {
        Kind::Raw => warm_and_apply(&RawLoop::start(&disk, dir, ring, size, shape).await, ring, offer).await,
        Kind::Journal => {
            warm_and_apply(&JournalAlone::start(&disk, dir, ring, size).await, ring, offer).await
        }
        Kind::Store => {
            let store = WholeStore::start(&disk, dir, plan, partitions, size).await;
            let measured = warm_and_apply(&store, ring, offer).await;
            store.store.close().await.expect("the disk is well");
            measured
        }
    };
    let appends = measured.bytes / offer.size as u64 / measured.commits.max(1);
    (measured, CommitShape { appends: appends.max(1) })
}

fn batch(size: usize) -> Bytes {
    let value = vec![b'x'; size - 80];
    Bytes::from(BatchBuilder::new().value(TimestampMs(1), &value).build())
}

/// Frames of the sizes the journal would write, each commit synced; the same waiting, no copying, no checksum.
pub struct RawLoop {
    file: UringFile,
    frame: Rc<<UringDisk as Disk>::Buffer>,
    appends_max: u64,
    ring: u64,
    sent: Cell<u64>,
    durable: Tide,
    arrived: Signal,
    commits: Cell<u64>,
}

impl RawLoop {
    async fn start(disk: &UringDisk, dir: &Path, ring: u64, size: usize, shape: CommitShape) -> Rc<Self> {
        let file = disk.create(&dir.join("raw")).await.expect("a file");
        let zeros = Rc::new(disk.buffer(FRAME_BYTES_MAX));
        for position in (0..ring).step_by(FRAME_BYTES_MAX) {
            file.write(Rc::clone(&zeros), position).await.expect("room");
        }
        file.sync().await.expect("the disk is well");
        let len = size_class((size + ENTRY_HEADER_BYTES + FRAME_HEADER_BYTES).next_multiple_of(BLOCK));
        let raw = Rc::new(Self {
            file,
            frame: Rc::new(disk.buffer(len)),
            appends_max: shape.appends,
            ring,
            sent: Cell::new(0),
            durable: Tide::default(),
            arrived: Signal::default(),
            commits: Cell::new(0),
        });
        let running = Rc::clone(&raw);
        disk.spawn(async move { running.run().await });
        raw
    }

    async fn run(&self) {
        let len = (*self.frame).len() as u64;
        let mut position = 0;
        loop {
            let done = self.durable.level();
            self.arrived.until(|| (self.sent.get() > done).then_some(())).await;
            let count = (self.sent.get() - done).min(self.appends_max);
            if position + count * len > self.ring {
                position = 0;
            }
            let frames = vec![Rc::clone(&self.frame); usize::try_from(count).expect("small")];
            self.file.write_durable(&frames, position, &[], || ()).await.expect("the disk is well");
            position += count * len;
            self.commits.set(self.commits.get() + 1);
            self.durable.raise(done + count);
        }
    }
}

impl Subject for RawLoop {
    fn append(&self, _number: u64) -> u64 {
        self.sent.set(self.sent.get() + 1);
        self.arrived.notify();
        self.sent.get()
    }

    async fn durable(&self, ticket: u64) {
        self.durable.reached(ticket).await;
    }

    fn commits(&self) -> u64 {
        self.commits.get()
    }
}

/// Group commit; what is durable is let go at once.
pub struct JournalAlone {
    journal: Journal<UringDisk, ()>,
    batch: Bytes,
    /// Frames in memory as long as the store would keep them, so that buffers are reused alike.
    kept: RefCell<VecDeque<Rc<storage::pool::Pooled<UringDisk>>>>,
    kept_max: usize,
    commits: Cell<u64>,
}

impl JournalAlone {
    async fn start(disk: &UringDisk, dir: &Path, ring: u64, size: usize) -> Rc<Self> {
        let paths = Paths::new(dir);
        let id = JournalId([1; 16]);
        disk.create_dir(&paths.journal(id)).await.expect("a directory");
        let pool = Pool::new(disk.clone(), usize::try_from(ring / 4).expect("small"));
        let journal = Journal::new(disk.clone(), id, Ring::new(disk.clone(), &paths, id, ring), pool);
        let kept_max = usize::try_from(ring).expect("small") / size / 4;
        let kept = RefCell::default();
        let alone = Rc::new(Self { journal, batch: batch(size), kept, kept_max, commits: Cell::new(0) });
        let running = Rc::clone(&alone);
        disk.spawn(async move { running.journal.ring.provision().await.expect("room") });
        let running = Rc::clone(&alone);
        disk.spawn(async move { running.journal.run(&*running).await });
        let running = Rc::clone(&alone);
        disk.spawn(async move {
            loop {
                running.journal.ring.filled(4).await;
                running.journal.ring.recycle_oldest();
            }
        });
        alone
    }
}

impl Sink<UringDisk, ()> for JournalAlone {
    fn committed(&self, entries: Vec<Committed<UringDisk, ()>>, _facts: CommitFacts) {
        self.commits.set(self.commits.get() + 1);
        let mut kept = self.kept.borrow_mut();
        kept.extend(entries.into_iter().map(|entry| entry.frame));
        while kept.len() > self.kept_max {
            kept.pop_front();
        }
    }
}

impl Subject for JournalAlone {
    fn append(&self, number: u64) -> u64 {
        let partition = TopicPartition { topic: TopicId([1; 16]), partition: 0 };
        let entry = Entry::of(EntryKind::Append, partition, OwnershipEpoch { boot: 1, moves: 0 });
        let base_offset = Offset(i64::try_from(number).expect("small"));
        self.journal.queue(Queued {
            entry: Entry { base_offset, ..entry },
            bytes: self.batch.clone(),
            marked: false,
            log: (),
        })
    }

    async fn durable(&self, ticket: u64) {
        self.journal.durable(ticket).await;
    }

    fn commits(&self) -> u64 {
        self.commits.get()
    }
}

/// Everything: journal, flusher, segments, checkpoints.
pub struct WholeStore {
    pub store: Rc<Store<UringDisk, EpochsOnly>>,
    logs: Vec<LogRef<UringDisk, EpochsOnly>>,
    batch: Bytes,
}

impl WholeStore {
    async fn start(disk: &UringDisk, dir: &Path, plan: MemoryPlan, partitions: u32, size: usize) -> Rc<Self> {
        let options = StoreOptions {
            paths: Paths::new(dir),
            plan,
            boot: 1,
            journal: JournalId([1; 16]),
            open_files_max: 512,
            free_bytes_min: 1 << 30,
            extent_bytes_min: model::limits::EXTENT_BYTES_MIN,
            extent_bytes_unsettled_max: model::limits::EXTENT_BYTES_UNSETTLED_MAX,
            snapshot_bytes: model::limits::SNAPSHOT_BYTES,
        };
        let store = Store::open(disk.clone(), options, Vec::new()).await.expect("room");
        store.start(None);
        let settings = Rc::new(LogSettings::default());
        let mut logs = Vec::new();
        for partition in 0..partitions {
            let log = store.log(TopicPartition { topic: TopicId([7; 16]), partition });
            store.load(&log, &settings).await.expect("a new log");
            logs.push(log);
        }
        Rc::new(Self { store, logs, batch: batch(size) })
    }
}

impl Subject for WholeStore {
    fn append(&self, number: u64) -> u64 {
        let at = usize::try_from(number % self.logs.len() as u64).expect("small");
        let appended = self.store.append(&self.logs[at], self.batch.clone(), LeaderEpoch(1), 1);
        appended.expect("room on the disk").ticket
    }

    async fn durable(&self, ticket: u64) {
        self.store.durable(ticket).await;
    }

    fn commits(&self) -> u64 {
        self.store.counters().commits
    }
}
