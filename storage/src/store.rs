//! One shard's storage: its journal, its logs and the tasks that move bytes from the one to the segments of the other.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use model::limits::{MemoryPlan, RING_FILES};
use model::{Offset, OwnershipEpoch, TopicId, TopicPartition};

use crate::bytes_at::to_usize;
use crate::checkpoint::{AtRest, CLOSED, Checkpoint};
use crate::derived::Derived;
use crate::disk::Disk;
use crate::files::Files;
use crate::flusher::Tail;
use crate::journal::commit::{CommitFacts, Sink};
use crate::journal::ring::Ring;
use crate::journal::{Committed, Entry, EntryKind, Journal, JournalId};
use crate::log::{Log, Phase};
use crate::paths::Paths;
use crate::pool::{Pool, Pooled};
use crate::segment_write::{FULL_PAUSE, is_full};
use crate::signal::{Gate, Signal};

/// A log by reference.
pub type LogRef<D, S> = Rc<Log<D, S>>;

/// Why an operation on a log did not happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// The topic was deleted meanwhile.
    Deleted,
    /// The batch is larger than the journal takes.
    TooLarge {
        /// Its bytes.
        bytes: usize,
        /// The limit: a quarter of the ring, which follows from `--memory`.
        limit: u64,
    },
    /// Less space is free than what is unflushed needs: nothing was appended.
    DiskFull,
    /// The offset is outside the log.
    OutOfRange,
    /// Reading failed or what was read is damaged; names file and position.
    Damaged(String),
}

impl std::fmt::Display for StoreError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Deleted => write!(f, "the topic was deleted"),
            Self::TooLarge { bytes, limit } => {
                write!(
                    f,
                    "the batch has {bytes} bytes, the journal takes {limit} (a quarter of the ring; --memory)"
                )
            }
            Self::DiskFull => write!(f, "the disk is too full to accept records; free space or add some"),
            Self::OutOfRange => write!(f, "the offset is outside the log"),
            Self::Damaged(what) => write!(f, "{what}"),
        }
    }
}

impl std::error::Error for StoreError {}

/// What a store is made with.
#[derive(Clone)]
pub struct StoreOptions {
    /// Where things are.
    pub paths: Paths,
    /// Sizes.
    pub plan: MemoryPlan,
    /// Number of this start of the broker.
    pub boot: u32,
    /// Name of the new journal: 128 random bits.
    pub journal: JournalId,
    /// Segment files kept open.
    pub open_files_max: usize,
    /// Produce is refused when less than this would stay free, bytes.
    pub free_bytes_min: u64,
}

/// What the store measured since it was opened.
#[derive(Clone, Copy, Debug, Default)]
pub struct StoreCounters {
    /// Commits written.
    pub commits: u64,
    /// Entries in them.
    pub entries: u64,
    /// Bytes written to the journal.
    pub journal_bytes: u64,
    /// Bytes written to segments.
    pub segment_bytes: u64,
    /// Writes to segments.
    pub segment_writes: u64,
    /// Writes to segments that failed, each attempt counted.
    pub segment_write_errors: u64,
    /// Bytes copied forward.
    pub forwarded_bytes: u64,
    /// Ring files recycled.
    pub recycled: u64,
    /// Bytes read from segments.
    pub read_bytes: u64,
    /// Bytes of frames in memory.
    pub frame_bytes: u64,
    /// Bytes waiting for a commit.
    pub queued_bytes: u64,
    /// Logs in memory.
    pub loaded_logs: u64,
}

/// Logs by partition.
type Touched<D, S> = BTreeMap<TopicPartition, LogRef<D, S>>;

struct CachedFrame<D: Disk, S> {
    frame: Rc<Pooled<D>>,
    sequence: u64,
    logs: Vec<LogRef<D, S>>,
}

/// Called in the order of events, from within the store's tasks.
pub trait Listener<D: Disk, S> {
    /// These logs have more durable records than before.
    fn advanced(&self, logs: &[LogRef<D, S>]);
    /// A commit completed.
    fn commit(&self, facts: CommitFacts);
    /// A write to a segment took this long.
    fn flushed(&self, nanos: u64);
}

/// One shard's storage.
pub struct Store<D: Disk, S> {
    pub(crate) disk: D,
    pub(crate) paths: Paths,
    pub(crate) options: StoreOptions,
    pub(crate) journal: Journal<D, LogRef<D, S>>,
    pub(crate) files: Files<D>,
    pub(crate) pool: Rc<Pool<D>>,
    pub(crate) logs: RefCell<BTreeMap<TopicPartition, LogRef<D, S>>>,
    /// Logs with something in each ring file.
    pub(crate) touched: RefCell<BTreeMap<u32, Touched<D, S>>>,
    /// Logs with enough for a write.
    pub(crate) dirty: RefCell<VecDeque<LogRef<D, S>>>,
    pub(crate) writes_in_flight: Cell<usize>,
    /// Those of them that wait for space.
    pub(crate) stalled: Cell<usize>,
    /// The journal's oldest file waits for space elsewhere.
    pub(crate) reclaim_stalled: Cell<bool>,
    /// Bytes of the journal's reserve that were taken since a file became free.
    pub(crate) reserve_taken: Cell<u64>,
    /// Something changed for the flusher, a reclaim or a waiter for a phase.
    pub(crate) moved: Signal,
    frames: RefCell<VecDeque<CachedFrame<D, S>>>,
    frame_bytes: Cell<u64>,
    pub(crate) listener: RefCell<Option<Rc<dyn Listener<D, S>>>>,
    pub(crate) checkpoint_number: Cell<u64>,
    pub(crate) needed_from: RefCell<BTreeMap<u32, u64>>,
    /// Snapshots that the next checkpoint no longer needs.
    pub(crate) garbage: RefCell<Vec<(LogRef<D, S>, Offset)>>,
    pub(crate) partition_dirs: RefCell<BTreeSet<TopicPartition>>,
    /// Partitions whose directory was compared with their log.
    pub(crate) tidied: RefCell<BTreeSet<TopicPartition>>,
    pub(crate) disk_full: Cell<bool>,
    pub(crate) checkpointing: Gate,
    pub(crate) settling: Gate,
    pub(crate) reclaiming: Gate,
    started: Cell<bool>,
    pub(crate) closing: Cell<bool>,
    pub(crate) counters: Cell<StoreCounters>,
}

impl<D: Disk, S: Derived> Store<D, S> {
    /// Opens storage with a new, empty journal, whose first checkpoint lists `logs`; durable on return.
    pub async fn open(
        disk: D,
        options: StoreOptions,
        logs: Vec<(TopicPartition, AtRest)>,
    ) -> io::Result<Rc<Self>> {
        let paths = options.paths.clone();
        disk.create_dir(&paths.journal(options.journal)).await?;
        let ring = Ring::new(disk.clone(), &paths, options.journal, options.plan.ring);
        let pool = Pool::new(disk.clone(), to_usize(options.plan.ring / 4));
        let journal = Journal::new(disk.clone(), options.journal, ring, Rc::clone(&pool));
        let files = Files::new(disk.clone(), paths.clone(), options.open_files_max);
        let at_open = |(id, rest): (TopicPartition, AtRest)| {
            // Owned by this boot from now on: should the journals before come back to be replayed, this word counts.
            let ownership = OwnershipEpoch { boot: options.boot, moves: 0 };
            let rest = AtRest { handled: crate::journal::Lsn::default(), ownership, ..rest };
            (id, Log::new(id, rest))
        };
        let store = Rc::new(Self {
            disk,
            paths,
            journal,
            files,
            pool,
            logs: RefCell::new(logs.into_iter().map(at_open).collect()),
            touched: RefCell::default(),
            dirty: RefCell::default(),
            writes_in_flight: Cell::new(0),
            stalled: Cell::new(0),
            reclaim_stalled: Cell::new(false),
            reserve_taken: Cell::new(0),
            moved: Signal::default(),
            frames: RefCell::default(),
            frame_bytes: Cell::new(0),
            listener: RefCell::new(None),
            checkpoint_number: Cell::new(0),
            needed_from: RefCell::default(),
            garbage: RefCell::default(),
            partition_dirs: RefCell::default(),
            tidied: RefCell::default(),
            disk_full: Cell::new(false),
            checkpointing: Gate::default(),
            settling: Gate::default(),
            reclaiming: Gate::default(),
            started: Cell::new(false),
            closing: Cell::new(false),
            counters: Cell::default(),
            options,
        });
        store.checkpoint(None).await?;
        Ok(store)
    }

    /// Gives it ring files of retired journals to take over before it makes new ones. Comes before [`Self::start`].
    pub fn adopt(&self, files: Vec<PathBuf>) {
        self.journal.ring.adopt(files);
    }

    /// Starts the store's tasks. `listener` hears what became durable.
    pub fn start(self: &Rc<Self>, listener: Option<Rc<dyn Listener<D, S>>>) {
        *self.listener.borrow_mut() = listener;
        self.started.set(true);
        let store = Rc::clone(self);
        self.disk.spawn(async move {
            if let Err(error) = store.journal.ring.provision().await {
                store.disk.fatal("making a journal file", &error);
            }
        });
        let store = Rc::clone(self);
        self.disk.spawn(async move { store.journal.run(&*store).await });
        let store = Rc::clone(self);
        self.disk.spawn_behind(async move { store.flush_streams().await });
        let store = Rc::clone(self);
        self.disk.spawn_behind(async move { store.reclaim_files().await });
        let store = Rc::clone(self);
        self.disk.spawn_behind(async move { store.watch_space().await });
    }

    /// The log of a partition; a new, empty one is made when there was none.
    pub fn log(&self, id: TopicPartition) -> LogRef<D, S> {
        let mut logs = self.logs.borrow_mut();
        let empty = AtRest { ownership: self.ownership(), ..AtRest::empty() };
        Rc::clone(logs.entry(id).or_insert_with(|| Log::new(id, empty)))
    }

    /// The log of a partition that was written to or asked for before.
    pub fn existing(&self, id: TopicPartition) -> Option<LogRef<D, S>> {
        self.logs.borrow().get(&id).cloned()
    }

    /// Every log of the shard.
    pub fn all_logs(&self) -> Vec<LogRef<D, S>> {
        self.logs.borrow().values().cloned().collect()
    }

    /// Who writes: this boot, no moves yet.
    pub(crate) fn ownership(&self) -> OwnershipEpoch {
        OwnershipEpoch { boot: self.options.boot, moves: 0 }
    }

    /// Waits until everything up to `ticket` is on stable storage.
    pub async fn durable(&self, ticket: u64) {
        self.journal.durable(ticket).await;
    }

    /// Waits until everything up to `ticket` is written: what a log with [`LogSettings::acknowledge_written`] promises.
    ///
    /// [`LogSettings::acknowledge_written`]: crate::LogSettings::acknowledge_written
    pub async fn written(&self, ticket: u64) {
        self.journal.written(ticket).await;
    }

    /// The ticket of the newest entry: when it is durable, so is everything before it.
    pub fn last_ticket(&self) -> u64 {
        self.journal.last_ticket()
    }

    /// Whether appends are refused because the disk is full.
    pub fn disk_is_full(&self) -> bool {
        self.disk_full.get()
    }

    /// Size of the journal's ring.
    pub fn ring_bytes(&self) -> u64 {
        self.options.plan.ring
    }

    /// What was measured.
    pub fn counters(&self) -> StoreCounters {
        let loaded = self.logs.borrow().values().filter(|log| log.is_loaded()).count();
        StoreCounters {
            frame_bytes: self.frame_bytes.get(),
            queued_bytes: self.journal.queued_bytes() as u64,
            loaded_logs: loaded as u64,
            ..self.counters.get()
        }
    }

    /// Parts of the ring in use, 0.0 to 1.0.
    pub fn ring_occupancy(&self) -> f64 {
        self.journal.ring.occupancy()
    }

    pub(crate) fn count(&self, change: impl FnOnce(&mut StoreCounters)) {
        let mut counters = self.counters.get();
        change(&mut counters);
        self.counters.set(counters);
    }

    /// Forgets this shard's logs of a topic and removes their directories; the topic's own one is the caller's, once every shard
    /// is done. The tombstone must be durable; it may go after that.
    pub async fn delete_topic(&self, topic: TopicId) -> io::Result<()> {
        let doomed: Vec<LogRef<D, S>> = {
            let mut logs = self.logs.borrow_mut();
            let ids: Vec<TopicPartition> = logs.keys().filter(|id| id.topic == topic).copied().collect();
            ids.iter().filter_map(|id| logs.remove(id)).collect()
        };
        for log in &doomed {
            self.moved.until(|| matches!(log.phase.get(), Phase::AtRest | Phase::Loaded).then_some(())).await;
            log.phase.set(Phase::Deleted);
        }
        self.moved.notify();
        for log in &doomed {
            self.moved.until(|| log.writes_done().then_some(())).await;
        }
        // Whoever was settling one of them stored its snapshot before its directory goes, not after.
        self.settling.enter().await;
        for log in &doomed {
            self.files.close_partition(log.id).await;
            *log.loaded.borrow_mut() = None;
            self.partition_dirs.borrow_mut().remove(&log.id);
            self.tidied.borrow_mut().remove(&log.id);
        }
        self.settling.leave();
        // First, since the journal may be waiting for space: as long as there is a tombstone, nobody misses them.
        for log in &doomed {
            self.disk.remove_dir(&self.paths.partition(log.id)).await?;
        }
        match self.disk.sync_dir(&self.paths.topic(topic)).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        if self.started.get() {
            self.disown(&doomed).await;
        }
        // The last checkpoint still lists them: one without them comes before the tombstone goes.
        self.checkpoint(None).await
    }

    /// Says in the journal that the entries of these logs before are nobody's: replay meets them when the tombstone is gone.
    async fn disown(&self, logs: &[LogRef<D, S>]) {
        for log in logs {
            let entry = Entry::of(EntryKind::Delete, log.id, self.ownership());
            self.queue(log, entry, Bytes::new());
        }
        self.durable(self.journal.last_ticket()).await;
    }

    /// Stops: everything queued becomes durable, everything durable goes to its segments, and nothing is left to replay. On a
    /// full disk, what has no place stays in the journal.
    pub async fn close(self: &Rc<Self>) -> io::Result<()> {
        self.closing.set(true);
        self.moved.notify();
        self.reclaiming.enter().await;
        let committed = self.commit_last().await;
        let logs = self.all_logs();
        let emptied = async {
            self.write_all(&logs, Tail::WhenQuiet).await?;
            self.sync_and_settle(&logs).await
        };
        match emptied.await {
            Err(error) if is_full(&error) => tracing::error!(
                journal = %self.paths.journal(self.options.journal).display(),
                "the disk is full: records stay in the journal, and the next start moves them to segments; free space before it"
            ),
            emptied => emptied?,
        }
        if self.started.get() && committed {
            self.journal.close().await;
        }
        // Writes that were given up end by themselves, and have let go of their files then.
        self.moved.until(|| (self.writes_in_flight.get() == 0).then_some(())).await;
        let settled = committed && logs.iter().all(|log| log.settled());
        match self.write_checkpoint(settled).await {
            Err(error) if is_full(&error) => {} // The one before it holds: nothing was taken off since.
            written => written?,
        }
        self.files.close_all().await;
        Ok(())
    }

    /// Waits until everything queued is durable. False when the journal has no room for it and gets none: nobody was told that
    /// it is safe.
    async fn commit_last(&self) -> bool {
        let durable = async {
            self.journal.durable(self.journal.last_ticket()).await;
            true
        };
        let late = async {
            let mut pauses = 0;
            while pauses < 5 {
                self.disk.sleep(FULL_PAUSE).await;
                pauses = if self.is_stalled() { pauses + 1 } else { 0 };
            }
            false
        };
        futures_lite::future::or(durable, late).await
    }

    /// Polls for free space: refuses appends before the disk is full, and accepts them again with some distance.
    async fn watch_space(&self) {
        while !self.closing.get() {
            if let Ok(free) = self.disk.free_bytes(self.paths.root()).await {
                let unmade = self.journal.ring.spare_files() as u64 * (self.options.plan.ring / RING_FILES);
                let needed =
                    self.options.free_bytes_min + self.frame_bytes.get().min(self.options.plan.ring) + unmade;
                let full = self.is_stalled()
                    || free < if self.disk_full.get() { needed + needed / 4 } else { needed };
                if full != self.disk_full.get() {
                    if full {
                        tracing::error!(
                            free,
                            needed,
                            "the disk is too full: produce is refused until space is free"
                        );
                    } else {
                        tracing::warn!(free, needed, "space is free again: produce is accepted");
                    }
                    self.disk_full.set(full);
                }
            }
            self.disk.sleep(Duration::from_millis(1000)).await;
        }
    }

    /// Writes a checkpoint of all logs as they are at rest. `recycled` is the ring file that nothing needs from then on.
    pub(crate) async fn checkpoint(&self, recycled: Option<u32>) -> io::Result<()> {
        if let Some(file) = recycled {
            // Now, not later: another checkpoint may be written before the caller goes on.
            self.needed_from.borrow_mut().remove(&file);
        }
        self.write_checkpoint(false).await
    }

    async fn write_checkpoint(&self, closed: bool) -> io::Result<()> {
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

    async fn remove_snapshots(&self, garbage: Vec<(LogRef<D, S>, Offset)>) -> io::Result<()> {
        for (log, offset) in garbage {
            if !log.is_deleted() && log.at_rest.get().snapshot != Some(offset) {
                self.disk.remove_file(&self.paths.snapshot(log.id, offset)).await?;
            }
        }
        Ok(())
    }

    /// The first frame of the oldest ring file that replay needs.
    fn first_needed(&self) -> u64 {
        self.needed_from.borrow().values().min().copied().unwrap_or(self.journal.durable_sequence() + 1)
    }

    /// Drops the oldest frames until the rest fits the budget. Frames that segments do not have yet stay.
    pub(crate) fn shrink_cache(&self) {
        let budget = self.options.plan.cache + self.options.plan.ring;
        let mut frames = self.frames.borrow_mut();
        while self.frame_bytes.get() > budget {
            let Some(oldest) = frames.front() else { return };
            if !oldest.logs.iter().all(|log| log.evict(oldest.sequence)) {
                return;
            }
            if let Some(gone) = frames.pop_front() {
                self.frame_bytes.set(self.frame_bytes.get() - frame_len(&gone.frame));
            }
        }
    }

    fn remember(&self, committed: &Committed<D, LogRef<D, S>>) {
        let mut frames = self.frames.borrow_mut();
        let sequence = committed.lsn.sequence;
        // Entries that are shown early come before others of the same frames.
        let at = frames.partition_point(|frame| frame.sequence < sequence);
        if frames.get(at).is_none_or(|frame| frame.sequence != sequence) {
            let len = frame_len(&committed.frame);
            self.frame_bytes.set(self.frame_bytes.get() + len);
            let frame = Rc::clone(&committed.frame);
            frames.insert(at, CachedFrame { frame, sequence, logs: Vec::new() });
        }
        if let Some(frame) = frames.get_mut(at)
            && frame.logs.last().is_none_or(|last| !Rc::ptr_eq(last, &committed.log))
        {
            frame.logs.push(Rc::clone(&committed.log));
        }
    }
}

fn frame_len<D: Disk>(frame: &Pooled<D>) -> u64 {
    frame.as_ref().len() as u64
}

impl<D: Disk, S: Derived> Sink<D, LogRef<D, S>> for Store<D, S> {
    fn written(&self, entries: &mut [Committed<D, LogRef<D, S>>]) {
        let mut advanced = Vec::new();
        for entry in entries.iter_mut().filter(|entry| entry.log.acknowledges_written()) {
            self.show(entry, &mut advanced);
        }
        self.tell_advanced(&advanced);
    }

    fn committed(&self, entries: Vec<Committed<D, LogRef<D, S>>>, facts: CommitFacts) {
        let mut advanced = Vec::new();
        for mut entry in entries {
            self.needed_from.borrow_mut().entry(entry.file).or_insert(entry.lsn.sequence);
            if entry.finished {
                entry.log.under_way.set(entry.log.under_way.get() - 1);
            }
            if entry.log.is_deleted() {
                continue;
            }
            self.show(&mut entry, &mut advanced);
            entry.log.take_committed(&entry);
            let mut touched = self.touched.borrow_mut();
            let logs = touched.entry(entry.file).or_default();
            logs.entry(entry.log.id).or_insert_with(|| Rc::clone(&entry.log));
            drop(touched);
            self.offer(&entry.log);
        }
        self.count(|counters| {
            counters.commits += 1;
            counters.entries += u64::from(facts.entries);
            counters.journal_bytes += facts.bytes;
        });
        self.shrink_cache();
        if let Some(listener) = self.listener.borrow().as_ref() {
            listener.commit(facts);
        }
        self.tell_advanced(&advanced);
    }
}

impl<D: Disk, S: Derived> Store<D, S> {
    /// Its bytes may be read from now on. Nothing of it goes to a segment before it is durable: a block that is written
    /// again rests on its prefix in the journal.
    fn show(&self, entry: &mut Committed<D, LogRef<D, S>>, advanced: &mut Vec<LogRef<D, S>>) {
        if entry.shown || entry.log.is_deleted() {
            return;
        }
        entry.shown = true;
        self.remember(entry);
        if entry.log.show(entry) && advanced.last().is_none_or(|last| !Rc::ptr_eq(last, &entry.log)) {
            advanced.push(Rc::clone(&entry.log));
        }
    }

    fn tell_advanced(&self, advanced: &[LogRef<D, S>]) {
        if let Some(listener) = self.listener.borrow().as_ref().filter(|_| !advanced.is_empty()) {
            listener.advanced(advanced);
        }
    }
}

impl<D: Disk, S: Derived> Log<D, S> {
    fn evict(&self, sequence: u64) -> bool {
        let mut loaded = self.loaded.borrow_mut();
        let Some(loaded) = loaded.as_mut() else { return true };
        // What is on its way to a segment is held by the write, and what was carried counts where it goes on from there.
        let carried = loaded.carried.as_ref().filter(|carried| carried.start <= loaded.dispatched);
        let safe = carried.map_or(loaded.dispatched, |carried| carried.end().max(loaded.dispatched));
        loaded.runs.evict(sequence, safe)
    }

    /// Whether the journal holds nothing of this log that is not at rest.
    fn settled(&self) -> bool {
        self.under_way.get() == 0
            && self.loaded.borrow().as_ref().is_none_or(|loaded| loaded.pending.is_empty())
    }

    pub(crate) fn writes_done(&self) -> bool {
        self.loaded.borrow().as_ref().is_none_or(|loaded| loaded.writes.is_empty())
    }

    /// Whether its appends are acknowledged, and shown, when they are written ([`LogSettings::acknowledge_written`]).
    ///
    /// [`LogSettings::acknowledge_written`]: crate::LogSettings::acknowledge_written
    pub fn acknowledges_written(&self) -> bool {
        self.loaded.borrow().as_ref().is_some_and(|loaded| loaded.settings.acknowledge_written)
    }

    /// An entry may be read. True when that moved the log's end.
    fn show(&self, entry: &Committed<D, LogRef<D, S>>) -> bool {
        let mut loaded = self.loaded.borrow_mut();
        let loaded = loaded.as_mut().expect("a log with entries under way stays loaded");
        self.durable_bytes.set(self.durable_bytes.get() + entry.len as u64);
        loaded.show(entry).is_some_and(|end: Offset| {
            self.durable_end.set(end);
            true
        })
    }

    /// An entry is durable.
    fn take_committed(&self, committed: &Committed<D, LogRef<D, S>>) {
        let mut loaded = self.loaded.borrow_mut();
        let loaded = loaded.as_mut().expect("a log with entries under way stays loaded");
        if let Some(pending) = crate::log::Pending::of(committed) {
            loaded.pending.push_back(pending);
        }
        loaded.take_committed(committed);
    }
}
