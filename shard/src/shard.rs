//! What one core owns: its store, the partitions in it, and everything that is asked of them.
//!
//! Each kind of question has a file: [`crate::produce`], [`crate::fetch`], [`crate::lookup`]; [`crate::upkeep`] is what
//! happens without being asked.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use coordination::group::{Coordinator, GroupSettings};
use coordination::metadata::configs::Durability;
use coordination::metadata::image::{Image, Topic};
use coordination::metadata::topics::{OFFSETS_TOPIC, SHARE_STATE_TOPIC};
use coordination::replica::leader::Leader;
use coordination::replica::waiters::{FetchTicket, FetchWaiters};
use coordination::share::store::{ShareStates, StoreSettings};
use futures_lite::future::BoxedLocal;
use model::{ErrorCode, Tick, TopicId, TopicPartition};
use storage::disk::Disk;
use storage::journal::commit::CommitFacts;
use storage::signal::Gate;
use storage::{CompactionSettings, Listener, LogRef, LogSettings, Store, StoreError};

use crate::coordinator::Seats;
use crate::counters::{Counted, Counters, Timed};
use crate::lending::Lender;
use crate::ops::{Answer, Question};
use crate::produce::Deferred;
use crate::shares::Shares;
use crate::state::PartitionState;

/// Asks a core, and gives what it answers.
pub type Peers = Box<dyn Fn(usize, Question) -> BoxedLocal<Answer>>;

/// A log of this core.
pub type PartitionLog<D> = LogRef<D, PartitionState>;

/// One core's share of the broker.
pub struct Shard<D: Disk> {
    /// Index of the core.
    pub core: usize,
    /// How many cores there are.
    pub cores: usize,
    /// Its storage.
    pub store: Rc<Store<D, PartitionState>>,
    /// Its counters.
    pub counters: Rc<Counters>,
    /// What upkeep does how often.
    pub upkeep: UpkeepSettings,
    pub(crate) disk: D,
    image: RefCell<Arc<Image>>,
    settings: RefCell<HashMap<TopicId, Rc<LogSettings>>>,
    pub(crate) deferred: RefCell<HashMap<TopicPartition, Deferred>>,
    pub(crate) fetches: RefCell<FetchWaiters>,
    /// Let go, and not yet polled again.
    pub(crate) ready_tickets: RefCell<HashSet<FetchTicket>>,
    pub(crate) fetch_wakers: RefCell<HashMap<FetchTicket, Waker>>,
    /// Waits that can be cancelled, by name; without a ticket while they do not wait.
    pub(crate) awaits: RefCell<HashMap<u64, Option<FetchTicket>>>,
    pub(crate) seen_bytes: RefCell<HashMap<TopicPartition, u64>>,
    /// What each core may lend to answers; this core's among them.
    pub(crate) lenders: Arc<[Arc<Lender>]>,
    /// Reads that wait for a loan, by their turn, and whose turn comes next.
    pub(crate) borrowers: RefCell<BTreeMap<u64, Waker>>,
    pub(crate) next_borrower: Cell<u64>,
    /// Whoever looks for a time.
    pub(crate) lookups: Gate,
    pub(crate) coordinators: Seats<Coordinator>,
    pub(crate) share_states: Seats<ShareStates>,
    pub(crate) shares: Shares,
    /// The way to other cores, once there is one.
    peers: OnceCell<Peers>,
    pub(crate) stopping: Cell<bool>,
}

/// What a shard is told of the broker's configuration.
#[derive(Clone, Debug, Default)]
pub struct ShardSettings {
    /// What happens without being asked.
    pub upkeep: UpkeepSettings,
    /// What group coordinators obey.
    pub groups: GroupSettings,
    /// What share coordinators obey.
    pub share_states: StoreSettings,
    /// What share partitions in which records are in flight may take of memory; without it, as much as they want.
    pub shares_bytes_max: Option<u64>,
    /// What each core may lend to answers; without any, as much as they want.
    pub lenders: Arc<[Arc<Lender>]>,
    /// Random, new at every start.
    pub seed: u64,
}

/// Periods and limits of what happens without being asked; in ms.
#[derive(Clone, Debug)]
pub struct UpkeepSettings {
    /// `log.retention.check.interval.ms`.
    pub retention_check_ms: u64,
    /// A log untouched for this long is put to rest.
    pub idle_ms: i64,
}

impl Default for UpkeepSettings {
    fn default() -> Self {
        Self { retention_check_ms: 300_000, idle_ms: 60_000 }
    }
}

/// A fault of one partition that a request is answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub code: ErrorCode,
    pub message: String,
}

impl<D: Disk> Shard<D> {
    /// A shard over an open store that has not been started. Starts the store's tasks and the shard's own.
    pub fn start(
        core: usize,
        cores: usize,
        disk: D,
        store: Rc<Store<D, PartitionState>>,
        image: Arc<Image>,
        settings: ShardSettings,
    ) -> Rc<Self> {
        let shard = Self::start_serving(core, cores, disk, store, image, settings);
        shard.clone().start_upkeep();
        shard.clone().start_compaction();
        shard
    }

    /// The same without what happens unasked, which needs a real executor: for simulations.
    pub fn start_serving(
        core: usize,
        cores: usize,
        disk: D,
        store: Rc<Store<D, PartitionState>>,
        image: Arc<Image>,
        settings: ShardSettings,
    ) -> Rc<Self> {
        let shard = Rc::new(Self {
            core,
            cores,
            store,
            counters: Rc::new(Counters::default()),
            upkeep: settings.upkeep,
            disk,
            image: RefCell::new(image),
            settings: RefCell::default(),
            deferred: RefCell::default(),
            fetches: RefCell::default(),
            ready_tickets: RefCell::default(),
            fetch_wakers: RefCell::default(),
            awaits: RefCell::default(),
            seen_bytes: RefCell::default(),
            lenders: if settings.lenders.is_empty() {
                (0..cores).map(|_| Lender::new(u64::MAX)).collect()
            } else {
                settings.lenders
            },
            borrowers: RefCell::default(),
            next_borrower: Cell::new(0),
            lookups: Gate::default(),
            coordinators: Seats::new(settings.groups.memory_bytes_max, settings.groups, settings.seed),
            share_states: Seats::new(settings.share_states.memory_bytes_max, settings.share_states, 0),
            shares: Shares::new(settings.shares_bytes_max),
            peers: OnceCell::new(),
            stopping: Cell::new(false),
        });
        shard.store.start(Some(Rc::new(Ears(Rc::downgrade(&shard)))));
        shard.clone().start_fetch_timer();
        shard
    }

    /// Has questions that this core asks go this way; without, it asks itself only.
    pub fn set_peers(&self, peers: Peers) {
        // The first way stays: there is no other.
        let _ = self.peers.set(peers);
    }

    /// Asks a core, which may be this one.
    pub(crate) fn ask(self: &Rc<Self>, core: usize, question: Question) -> BoxedLocal<Answer> {
        match self.peers.get() {
            Some(peers) if core != self.core => peers(core, question),
            _ => Box::pin(Rc::clone(self).answer(question)),
        }
    }

    /// The metadata in force on this core.
    pub fn image(&self) -> Arc<Image> {
        Arc::clone(&self.image.borrow())
    }

    /// Answers a question of this core or another. Its part up to the first wait takes effect in the order of calls.
    /// `Propose` is answered by core 0's metadata driver, not here.
    pub async fn answer(self: Rc<Self>, question: Question) -> Answer {
        match question {
            Question::Append(partitions) => Answer::Appended(self.append(partitions).await),
            Question::Fetch(fetch) => {
                let (fetched, loan) = self.fetch(fetch).await;
                Answer::Fetched(fetched.into_iter().map(crate::fetch::copied).collect(), loan)
            }
            Question::Await(token, wait) => {
                self.await_bytes(token, wait).await;
                Answer::Awaited
            }
            Question::CancelAwait(token) => {
                self.cancel_await(token);
                Answer::Done
            }
            Question::ListOffsets(queries) => Answer::Listed(self.list_offsets(queries).await),
            Question::EpochEnds(queries) => Answer::EpochEnds(self.epoch_ends(queries).await),
            Question::DeleteRecords(requests) => Answer::Deleted(self.delete_records(requests).await),
            Question::Publish(image) => {
                self.publish(image);
                Answer::Done
            }
            Question::DropTopic(topic) => match self.store.delete_topic(topic).await {
                Ok(()) => Answer::Done,
                Err(error) => Answer::Failed(format!("removing the files of topic {topic}: {error}")),
            },
            Question::Sizes(partitions) => {
                let size = |id| self.store.existing(id).map_or(0, |log| log.size_bytes());
                Answer::Sizes(partitions.into_iter().map(size).collect())
            }
            Question::Producers(partitions) => Answer::Producers(self.producers(partitions).await),
            Question::Group(partition, request) => {
                Answer::Group(Box::new(self.group(partition, *request).await))
            }
            Question::ShareState { partition, key, asks } => {
                Answer::ShareState(self.share_state(partition, key, asks).await)
            }
            Question::ShareFetch(fetch) => Answer::ShareFetched(self.share_fetch(*fetch).await),
            Question::ShareAcknowledge(acknowledge) => {
                Answer::ShareAcknowledged(self.share_acknowledge(*acknowledge).await)
            }
            Question::ShareAwait(token, wait) => {
                self.share_await(token, *wait).await;
                Answer::Awaited
            }
            Question::ShareRelease { group, member, session } => {
                self.share_release(&group, &member, session);
                Answer::Done
            }
            Question::ShareForget(group) => {
                self.share_forget(&group);
                Answer::Done
            }
            Question::Counters => Answer::Counters(Box::new(self.count_all())),
            Question::Propose(_) => Answer::Failed("only core 0 decides on metadata".into()),
        }
    }

    /// Puts newer metadata in force: settings take effect, waiters of deleted topics hear of it.
    pub fn publish(self: &Rc<Self>, image: Arc<Image>) {
        let old = self.image.replace(Arc::clone(&image));
        self.settings.borrow_mut().clear();
        self.pace_compaction();
        for log in self.store.all_logs() {
            match image.topic_by_id(log.id.topic) {
                Some(topic) if log.is_loaded() => log.configure(&self.log_settings(topic)),
                Some(_) => {}
                None => self.disturb(log.id),
            }
        }
        self.tell_coordinators::<Coordinator>(&old, &image);
        self.tell_coordinators::<ShareStates>(&old, &image);
        self.tell_shares(&image);
    }

    /// The settings of a topic's logs, shared between them.
    pub(crate) fn log_settings(&self, topic: &Topic) -> Rc<LogSettings> {
        let mut known = self.settings.borrow_mut();
        let settings = known.entry(topic.id).or_insert_with(|| {
            let limit = |value: Option<u64>| value.and_then(|value| i64::try_from(value).ok()).unwrap_or(-1);
            let ms = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
            let settings = &topic.settings;
            Rc::new(LogSettings {
                segment_bytes: u64::from(settings.segment_bytes),
                segment_ms: ms(settings.segment_ms),
                segment_jitter_ms: settings.segment_jitter_ms,
                retention_ms: limit(settings.retention_ms),
                retention_bytes: limit(settings.retention_bytes),
                delete_retained: settings.cleanup_delete,
                compaction: settings.cleanup_compact.map(|compact| CompactionSettings {
                    lag_ms_min: ms(compact.lag_min_ms),
                    lag_ms_max: ms(compact.lag_max_ms),
                    tombstones_ms: ms(compact.tombstone_retention_ms),
                    dirty_ppm_min: compact.dirty_ratio_min_ppm,
                }),
                // Neither offset commits nor acknowledgements of shares pass what is on stable storage.
                acknowledge_written: settings.durability != Durability::Durable
                    && ![OFFSETS_TOPIC, SHARE_STATE_TOPIC].contains(&&*topic.name),
            })
        });
        Rc::clone(settings)
    }

    /// The log of a partition that the metadata knows, whether or not it is in memory.
    pub(crate) fn known(&self, id: TopicPartition) -> Result<(PartitionLog<D>, Rc<LogSettings>), Fault> {
        let image = self.image.borrow();
        let topic = image.topic_by_id(id.topic);
        let Some(topic) = topic.filter(|topic| id.partition < topic.partitions) else {
            return Err(Fault {
                code: ErrorCode::UnknownTopicOrPartition,
                message: "no such partition".into(),
            });
        };
        Ok((self.store.log(id), self.log_settings(topic)))
    }

    /// The log of a partition, in memory.
    pub(crate) async fn loaded(&self, id: TopicPartition) -> Result<PartitionLog<D>, Fault> {
        let (log, settings) = self.known(id)?;
        self.store.load(&log, &settings).await.map_err(|error| fault(id, &error))?;
        Ok(log)
    }

    /// A partition's offsets as its leader sees them.
    pub(crate) fn leader(&self, log: &PartitionLog<D>) -> Leader {
        Leader::new(self.image.borrow().leader_epoch(), log.log_start(), log.durable_end())
    }

    /// Logical time of this core.
    pub(crate) fn tick(&self) -> Tick {
        Tick(self.disk.now_ns() / 1_000_000)
    }

    /// What every core may lend to answers.
    pub fn lenders(&self) -> &[Arc<Lender>] {
        &self.lenders
    }

    /// Whether it was asked to stop: nobody waits for more.
    pub fn is_stopping(&self) -> bool {
        self.stopping.get()
    }

    /// Nobody waits any more: fetches are answered with what is there, members of groups are sent away. Comes before
    /// [`Self::stop`], when connections end.
    pub fn drain(self: &Rc<Self>) {
        self.stopping.set(true);
        crate::executor::hurry();
        self.unload_coordinators::<Coordinator>();
        self.unload_coordinators::<ShareStates>();
    }

    /// Stops: what was appended becomes durable and goes to its segments.
    pub async fn stop(&self) -> std::io::Result<()> {
        self.stopping.set(true);
        self.store.close().await
    }
}

/// How a failure in storage is told to a client; damage and failing disks also to the operator.
pub(crate) fn fault(id: TopicPartition, error: &StoreError) -> Fault {
    let code = match error {
        StoreError::Deleted => ErrorCode::UnknownTopicOrPartition,
        StoreError::TooLarge { .. } => ErrorCode::MessageTooLarge,
        StoreError::OutOfRange => ErrorCode::OffsetOutOfRange,
        StoreError::DiskFull => ErrorCode::KafkaStorageError,
        StoreError::Damaged(what) => {
            tracing::error!(partition = %id, what, "reading a partition failed; restore the file from a replica or a backup");
            ErrorCode::KafkaStorageError
        }
        StoreError::Unwritten(what) => {
            tracing::error!(partition = %id, what, "a large batch could not be written and was refused; check the disk");
            ErrorCode::KafkaStorageError
        }
    };
    Fault { code, message: error.to_string() }
}

/// Lets go of what waits for durability and bytes. Weak, because the store outlives nobody.
struct Ears<D: Disk>(std::rc::Weak<Shard<D>>);

impl<D: Disk> Listener<D, PartitionState> for Ears<D> {
    fn advanced(&self, logs: &[PartitionLog<D>]) {
        if let Some(shard) = self.0.upgrade() {
            shard.grew(logs);
        }
    }

    fn commit(&self, facts: CommitFacts) {
        if let Some(shard) = self.0.upgrade() {
            shard.counters.count(Counted::Commits);
            shard.counters.add(Counted::JournalBytes, facts.bytes);
            shard.counters.time(Timed::Commit, Duration::from_nanos(facts.nanos));
            shard.counters.time(Timed::Sync, Duration::from_nanos(facts.sync_nanos));
        }
    }

    fn flushed(&self, nanos: u64) {
        if let Some(shard) = self.0.upgrade() {
            shard.counters.time(Timed::Flush, Duration::from_nanos(nanos));
        }
    }
}
