//! One shard's storage: its journal, its logs and the tasks that move bytes from the one to the segments of the other.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::path::PathBuf;
use std::rc::{Rc, Weak};

use model::limits::MemoryPlan;
use model::{Offset, OwnershipEpoch, TopicPartition};

use crate::bytes_at::to_usize;
use crate::cache::{CachedExtent, CachedFrame};
use crate::checkpoint::AtRest;
use crate::derived::Derived;
use crate::disk::Disk;
use crate::files::Files;
use crate::flusher::Tail;
use crate::journal::commit::CommitFacts;
use crate::journal::ring::Ring;
use crate::journal::{Journal, JournalId};
use crate::log::Log;
use crate::paths::Paths;
use crate::pool::{Pool, Pooled};
use crate::read::ahead::Ahead;
use crate::reclaim::SPARE_FILES;
use crate::segment_write::{FULL_PAUSE, is_full};
use crate::signal::{Gate, Signal, Turns};

/// Large reads of segments at a time: enough to keep a disk busy, and few enough that a commit does not wait behind many.
const LARGE_READS_MAX: usize = 2;

/// A log by reference.
pub type LogRef<D, S> = Rc<Log<D, S>>;

/// Why an operation on a log did not happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// The topic was deleted meanwhile.
    Deleted,
    /// The batch is larger than any may be.
    TooLarge {
        /// Its bytes.
        bytes: usize,
        /// The limit, which follows from `--memory`.
        limit: u64,
    },
    /// Less space is free than what is unflushed needs: nothing was appended.
    DiskFull,
    /// The offset is outside the log.
    OutOfRange,
    /// Reading failed or what was read is damaged; names file and position.
    Damaged(String),
    /// Writing failed, and nothing counts of what was written; says what.
    Unwritten(String),
}

impl std::fmt::Display for StoreError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Deleted => write!(f, "the topic was deleted"),
            Self::TooLarge { bytes, limit } => {
                write!(f, "the batch has {bytes} bytes, the memory of a core takes {limit} (--memory)")
            }
            Self::DiskFull => write!(f, "the disk is too full to accept records; free space or add some"),
            Self::OutOfRange => write!(f, "the offset is outside the log"),
            Self::Damaged(what) | Self::Unwritten(what) => write!(f, "{what}"),
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
    /// Appends of one log that have this much in one commit go straight to its segment: [`model::limits::EXTENT_BYTES_MIN`].
    pub extent_bytes_min: u64,
    /// After so many bytes of those, logs are settled: a start reads what went straight to segments since.
    pub extent_bytes_unsettled_max: u64,
    /// The derived state of a log is stored again after so many bytes of appends: [`model::limits::SNAPSHOT_BYTES`].
    pub snapshot_bytes: u64,
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
    /// Reads that failed because of damage or the disk.
    pub damaged_reads: u64,
    /// Bytes that went straight to segments.
    pub extent_bytes: u64,
    /// Bytes copied forward.
    pub forwarded_bytes: u64,
    /// Ring files recycled.
    pub recycled: u64,
    /// Bytes read from segments.
    pub read_bytes: u64,
    /// Bytes that compaction read from segments.
    pub compaction_read_bytes: u64,
    /// Bytes that it wrote to new ones.
    pub compaction_written_bytes: u64,
    /// Passes that ended with an error.
    pub compaction_errors: u64,
    /// Memory that the pass under way has from the cache.
    pub compaction_bytes: u64,
    /// Bytes of frames in memory.
    pub frame_bytes: u64,
    /// Bytes read ahead of consumers that read segments.
    pub ahead_bytes: u64,
    /// Bytes waiting for a commit.
    pub queued_bytes: u64,
    /// Logs in memory.
    pub loaded_logs: u64,
}

/// Logs by partition.
type Touched<D, S> = BTreeMap<TopicPartition, LogRef<D, S>>;

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
    pub(crate) frames: RefCell<VecDeque<CachedFrame<D, S>>>,
    pub(crate) extents: RefCell<VecDeque<CachedExtent<D, S>>>,
    /// Bytes that went straight to segments and that a start would look at, and whose they are.
    pub(crate) extent_bytes: Cell<u64>,
    pub(crate) extent_logs: RefCell<Touched<D, S>>,
    pub(crate) frame_bytes: Cell<u64>,
    /// What a pass of compaction takes: the cache has less meanwhile.
    pub(crate) compaction_bytes: Cell<u64>,
    /// Bytes that a pass reads and writes per second.
    pub(crate) compaction_speed: Cell<u64>,
    /// One pass at a time.
    pub(crate) compacting: Gate,
    /// What readers of segments want next.
    pub(crate) ahead: Ahead,
    /// Readers of much of a segment take turns: see [`LARGE_READS_MAX`].
    pub(crate) large_reads: Turns,
    /// Frames that left the cache while somebody held them.
    pub(crate) pinned: RefCell<Vec<Weak<Pooled<D>>>>,
    pub(crate) listener: RefCell<Option<Rc<dyn Listener<D, S>>>>,
    pub(crate) checkpoint_number: Cell<u64>,
    /// All with a lower number are stored, or never will be.
    pub(crate) checkpoints_stored: Cell<u64>,
    pub(crate) needed_from: RefCell<BTreeMap<u32, u64>>,
    /// Snapshots that the next checkpoint no longer needs.
    pub(crate) garbage: RefCell<Vec<(LogRef<D, S>, Offset)>>,
    pub(crate) partition_dirs: RefCell<BTreeSet<TopicPartition>>,
    /// Partitions whose directory was compared with their log.
    pub(crate) tidied: RefCell<BTreeSet<TopicPartition>>,
    pub(crate) disk_full: Cell<bool>,
    /// A helper thread looks how much space is free: its executor must not end before it has told.
    pub(crate) asks_space: Cell<bool>,
    pub(crate) checkpointing: Gate,
    pub(crate) settling: Gate,
    pub(crate) reclaiming: Gate,
    pub(crate) started: Cell<bool>,
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
        let pool = Pool::new(disk.clone(), to_usize(options.plan.frames() + options.plan.ring / 2));
        let journal = Journal::new(disk.clone(), options.journal, ring, Rc::clone(&pool))
            .with_extents(options.extent_bytes_min);
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
            extents: RefCell::default(),
            extent_bytes: Cell::new(0),
            extent_logs: RefCell::default(),
            frame_bytes: Cell::new(0),
            compaction_bytes: Cell::new(0),
            compaction_speed: Cell::new(u64::MAX),
            compacting: Gate::default(),
            ahead: Ahead::new(options.plan.read_ahead()),
            large_reads: Turns::new(LARGE_READS_MAX),
            pinned: RefCell::default(),
            listener: RefCell::new(None),
            checkpoint_number: Cell::new(0),
            checkpoints_stored: Cell::new(0),
            needed_from: RefCell::default(),
            garbage: RefCell::default(),
            partition_dirs: RefCell::default(),
            tidied: RefCell::default(),
            disk_full: Cell::new(false),
            asks_space: Cell::new(false),
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
                let dir = store.paths.journal(store.options.journal);
                store.disk.fatal(&format!("making a journal file in {}", dir.display()), &error);
            }
        });
        let store = Rc::clone(self);
        self.disk.spawn(async move { store.journal.run(&store).await });
        let store = Rc::clone(self);
        self.disk.spawn_behind(async move { store.flush_streams().await });
        let store = Rc::clone(self);
        self.disk.spawn_behind(async move { store.reclaim_files().await });
        let store = Rc::clone(self);
        self.disk.spawn_behind(async move { store.settle_extents().await });
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

    /// How the shard's memory is divided.
    pub fn plan(&self) -> &MemoryPlan {
        &self.options.plan
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
            ahead_bytes: self.ahead.bytes(),
            compaction_bytes: self.compaction_bytes.get(),
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

    /// Stops: everything queued becomes durable, everything durable goes to its segments, and nothing is left to replay. On a
    /// full disk, what has no place stays in the journal.
    pub async fn close(self: &Rc<Self>) -> io::Result<()> {
        self.closing.set(true);
        self.moved.notify();
        self.compacting.enter().await; // A pass ends at its next step.
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
        self.moved.until(|| (!self.asks_space.get()).then_some(())).await;
        Ok(())
    }

    /// Waits until everything queued is durable, and makes the room that takes: the caller has the reclaiming to itself. False when the
    /// journal has no room for it and gets none: nobody was told that it is safe.
    async fn commit_last(self: &Rc<Self>) -> bool {
        enum Next {
            Done,
            Room,
            Late,
        }
        let mut pauses = 0;
        loop {
            let durable = async {
                self.journal.durable(self.journal.last_ticket()).await;
                Next::Done
            };
            let short = async {
                if self.reclaim_stalled.get() {
                    std::future::pending::<()>().await;
                }
                self.journal.ring.filled(to_usize(SPARE_FILES)).await;
                Next::Room
            };
            let late = async {
                self.disk.sleep(FULL_PAUSE).await;
                Next::Late
            };
            match futures_lite::future::or(durable, futures_lite::future::or(short, late)).await {
                Next::Done => return true,
                // A full disk shows in what is asked next.
                Next::Room => drop(self.recycle_oldest().await),
                Next::Late => {
                    pauses = if self.is_stalled() { pauses + 1 } else { 0 };
                    if pauses == 5 {
                        return false;
                    }
                    if self.reclaim_stalled.get() {
                        drop(self.recycle_oldest().await);
                    }
                }
            }
        }
    }
}
