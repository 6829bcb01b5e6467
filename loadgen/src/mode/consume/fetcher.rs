//! One consumer's connection to one broker: one fetch outstanding, in a fetch session (KIP-227) so that partitions without
//! news cost nothing.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use model::{ErrorCode, LeaderEpoch, Offset};
use protocol::client::{ClientHead, FetchAnswer, read_fetch};
use protocol::fetch::{FetchPartition, FetchRequest, FetchTopic, SESSIONS_SINCE};
use protocol::{ApiKey, Text, TopicRef};

use super::{Consumer, Position};
use crate::clock::Ns;
use crate::core::{Core, Probe, SECOND};
use crate::link::{Inbox, Link, within};
use crate::mode::reading::Reading;
use crate::plan::{Fetch, Until};
use crate::report::{Interval, Measure};
use crate::run;
use crate::units::{nanos, real, whole};
use crate::verify::Ledger;

/// Bytes of an answer beside its records.
const ANSWER_BYTES: usize = 64 << 10;
/// Largest receive buffer to begin with: more falls out of the cache.
const INBOX_BYTES_MAX: usize = 4 << 20;
/// Pause after a failure.
const PAUSE: Duration = Duration::from_millis(100);
/// How often a fetcher with nothing to do looks for something.
const LOOK: Duration = Duration::from_millis(20);

/// See the module.
#[derive(Debug)]
pub struct Fetcher {
    core: Rc<Core>,
    consumer: Rc<Consumer>,
    /// The broker.
    pub node: i32,
    positions: RefCell<BTreeMap<usize, Position>>,
    /// Partitions that the session must be told of.
    changed: RefCell<Vec<usize>>,
    session: Cell<(i32, i32)>,
    /// Changes with the partitions: an answer to what was asked before is of no use.
    turn: Cell<u64>,
    /// The last answer says that somebody else leads.
    stale: Cell<bool>,
    running: Cell<bool>,
    received: Cell<u64>,
    /// When something came last.
    heard: Cell<Ns>,
}

#[derive(Debug)]
struct FetcherProbe(Rc<Fetcher>);

impl Probe for FetcherProbe {
    fn report(&self, _now: Ns, found: &mut Interval, _intended: &mut u64) {
        *found.gauges.entry("partitions fetched").or_default() += self.0.positions.borrow().len() as u64;
    }
}

impl Fetcher {
    /// Without partitions, not running.
    pub fn new(consumer: &Rc<Consumer>, node: i32) -> Rc<Self> {
        let fetcher = Rc::new(Self {
            core: Rc::clone(&consumer.core),
            consumer: Rc::clone(consumer),
            node,
            positions: RefCell::default(),
            changed: RefCell::default(),
            session: Cell::new((0, 0)),
            turn: Cell::new(0),
            stale: Cell::new(false),
            running: Cell::new(false),
            received: Cell::new(0),
            heard: Cell::new(0),
        });
        fetcher.core.probe(FetcherProbe(Rc::clone(&fetcher)));
        fetcher
    }

    /// Takes over a partition.
    pub fn give(&self, place: usize, position: Position) {
        self.positions.borrow_mut().insert(place, position);
        self.turn.set(self.turn.get() + 1);
        self.begin_session();
    }

    /// Gives partitions up.
    pub fn take(&self, wanted: impl Fn(usize) -> bool) -> Vec<(usize, Position)> {
        let mut positions = self.positions.borrow_mut();
        let places: Vec<usize> = positions.keys().copied().filter(|place| wanted(*place)).collect();
        let taken: Vec<_> =
            places.iter().filter_map(|place| Some((*place, positions.remove(place)?))).collect();
        if !taken.is_empty() {
            self.turn.set(self.turn.get() + 1);
            self.begin_session();
        }
        taken
    }

    /// The next offset of every partition.
    pub fn offsets(&self) -> Vec<(usize, i64)> {
        self.positions.borrow().iter().map(|(place, position)| (*place, position.offset)).collect()
    }

    /// Whether it has not ended.
    pub fn is_running(&self) -> bool {
        self.running.get()
    }

    /// The next request names every partition and begins a session.
    fn begin_session(&self) {
        self.session.set((0, 0));
    }

    /// Runs, if it does not yet.
    pub fn start(self: &Rc<Self>) {
        if !self.running.replace(true) {
            let fetcher = Rc::clone(self);
            self.core.spawn(async move {
                fetcher.run().await;
                fetcher.conclude();
                fetcher.running.set(false);
            });
        }
    }

    fn fetch(&self) -> &Fetch {
        // Fetchers are made where there is something to fetch.
        self.core.step.plan.fetch.as_ref().expect("a fetcher belongs to consumers")
    }

    async fn run(&self) {
        self.heard.set(self.core.clock().now());
        while !self.finished() {
            let address = self.core.cluster.borrow().brokers.get(&self.node).copied();
            let ended = match address {
                Some(address) => match Link::connect(address).await {
                    Ok(link) => self.session(&link).await,
                    Err(error) => Err(error),
                },
                None => Err(io::Error::new(io::ErrorKind::NotFound, "no address of the leader")),
            };
            if let Err(error) = ended {
                self.core.broken(&error);
                run::sleep(PAUSE).await;
                self.core.refresh().await;
                self.consumer.reroute(self);
            }
        }
    }

    async fn session(&self, link: &Link) -> io::Result<()> {
        let version = self.core.cluster.borrow().data_version(ApiKey::Fetch).map_err(io::Error::other)?;
        let fetch = self.fetch();
        let mut inbox = Inbox::new((fetch.bytes_max + ANSWER_BYTES).min(INBOX_BYTES_MAX));
        let mut reading = Reading {
            stamping: fetch.stamping,
            run: self.core.step.run,
            any_run: fetch.any_run,
            now_unix_ns: 0,
            scratch: Vec::new(),
        };
        let mut out = BytesMut::new();
        self.begin_session();
        while !self.finished() {
            if self.positions.borrow().values().all(|position| position.dead) {
                run::sleep(LOOK).await;
                continue;
            }
            self.keep_to_the_rate().await;
            let correlation_id = link.next_correlation();
            let client_id = Some(&*self.core.step.plan.client_id);
            let head = ClientHead { version, correlation_id, client_id };
            out.clear();
            self.request(version).write(&head, &mut out);
            let (asked, turn) = (self.core.clock().now(), self.turn.get());
            link.send(&mut [IoSlice::new(&out)]).await?;
            let patience = fetch.wait + Duration::from_nanos(self.core.step.plan.drain);
            let frame = within(patience, inbox.next(link)).await?;
            if turn == self.turn.get() {
                self.answer(version, correlation_id, &frame, asked, &mut reading)?;
            }
            drop(frame);
            if self.stale.replace(false) {
                run::sleep(PAUSE).await;
                self.core.refresh().await;
                self.consumer.reroute(self);
            }
            // A socket that always has something to read must not keep the core from its timers.
            run::yield_if_needed().await;
        }
        Ok(())
    }

    /// The next request: everything that a new session must know, or what has changed in one.
    fn request(&self, version: i16) -> FetchRequest {
        let (fetch, cluster) = (self.fetch(), self.core.cluster.borrow());
        let positions = self.positions.borrow();
        let (session_id, session_epoch) =
            if version >= SESSIONS_SINCE { self.session.get() } else { (0, -1) };
        let all = session_epoch <= 0;
        let changed = self.changed.take();
        let mut topics: Vec<FetchTopic> = Vec::new();
        let mut last = None;
        let mut add = |place: usize, position: &Position| {
            let partition = cluster.partitions[place];
            if last != Some(partition.topic) {
                let topic = cluster.reference(partition.topic, version);
                topics.push(FetchTopic { topic, partitions: Vec::new() });
                last = Some(partition.topic);
            }
            let entry = FetchPartition {
                index: partition.index,
                current_leader_epoch: LeaderEpoch(-1),
                fetch_offset: Offset(position.offset),
                last_fetched_epoch: LeaderEpoch(-1),
                log_start_offset: Offset(-1),
                max_bytes: i32::try_from(fetch.partition_bytes_max).unwrap_or(i32::MAX),
                replica_directory_id: [0; 16],
                high_watermark: Offset(i64::MAX),
            };
            topics.last_mut().expect("just added").partitions.push(entry);
        };
        if all {
            // Begin elsewhere each time, or a session-less broker's first partitions would starve the others.
            positions
                .iter()
                .filter(|(_, position)| !position.dead)
                .for_each(|(place, position)| add(*place, position));
        } else {
            for place in changed {
                if let Some(position) = positions.get(&place) {
                    add(place, position);
                }
            }
        }
        FetchRequest {
            cluster_id: None,
            replica_id: -1,
            replica_epoch: -1,
            max_wait_ms: i32::try_from(fetch.wait.as_millis()).unwrap_or(i32::MAX),
            min_bytes: i32::try_from(fetch.bytes_min).unwrap_or(i32::MAX),
            max_bytes: i32::try_from(fetch.bytes_max).unwrap_or(i32::MAX),
            isolation_level: 0,
            session_id,
            session_epoch,
            topics,
            forgotten: Vec::new(),
            rack_id: Text::default(),
        }
    }

    fn answer(
        &self,
        version: i16,
        correlation_id: i32,
        frame: &Bytes,
        asked: Ns,
        reading: &mut Reading,
    ) -> io::Result<()> {
        let now = self.core.clock().now();
        reading.now_unix_ns = self.core.clock().unix_ns(now);
        let cluster = self.core.cluster.borrow();
        let mut received = 0;
        let each = |topic: &TopicRef, answer: FetchAnswer| {
            if let Some(place) = cluster.find(topic, answer.index) {
                received += self.partition(place, &answer, reading);
            }
        };
        let head = read_fetch(version, frame, each).map_err(io::Error::other)?;
        if head.correlation_id != correlation_id {
            return Err(io::Error::other("an answer to something else"));
        }
        self.core.found.borrow_mut().requests += 1;
        match head.error {
            ErrorCode::None if head.session_id != 0 => {
                let epoch = self.session.get().1;
                // Epochs go from the largest number to 1.
                self.session.set((head.session_id, epoch.checked_add(1).unwrap_or(1)));
            }
            ErrorCode::None => self.begin_session(),
            error => {
                self.core.error(error.name());
                self.begin_session();
            }
        }
        if received > 0 {
            self.heard.set(now);
            self.received.set(self.received.get() + received);
            self.core.step.shared.received.fetch_add(received, Ordering::Relaxed);
            if self.consumer.group.is_some() {
                self.consumer.progress().hear(now);
            }
            self.core.found.borrow_mut().record_n(Measure::Fetch, (now - asked) / 1000, 1);
        }
        Ok(())
    }

    fn partition(&self, place: usize, answer: &FetchAnswer, reading: &mut Reading) -> u64 {
        let mut positions = self.positions.borrow_mut();
        let Some(position) = positions.get_mut(&place) else { return 0 };
        match answer.error {
            ErrorCode::None => {}
            ErrorCode::OffsetOutOfRange => {
                self.core.error(answer.error.name());
                position.offset = position.offset.max(answer.log_start_offset.0);
                self.stale.set(true);
                self.begin_session();
                return 0;
            }
            error => {
                self.core.error(error.name());
                self.stale.set(true);
                self.begin_session();
                return 0;
            }
        }
        if answer.records.is_empty() {
            return 0;
        }
        self.changed.borrow_mut().push(place);
        let taken = position.take(&answer.records, reading, &mut self.core.found.borrow_mut());
        if position.dead {
            self.begin_session();
        }
        if self.consumer.group.is_some() {
            let offset = if position.dead { i64::MAX } else { position.offset };
            self.consumer.progress().reach(place, offset);
        }
        taken
    }

    /// Waits while more was received than `--consume-rate` allows.
    async fn keep_to_the_rate(&self) {
        let Some(rate) = self.fetch().rate else { return };
        let shared = &self.core.step.shared.received;
        // Each set receives everything, and they share the rate.
        let due = whole(real(shared.load(Ordering::Relaxed)) / rate * 1e9).unwrap_or(Ns::MAX);
        let now = self.core.clock().now();
        if due > now {
            run::sleep(Duration::from_nanos((due - now).min(SECOND / 10))).await;
        }
    }

    /// Whether there is nothing more to receive, or to be waited for.
    fn finished(&self) -> bool {
        if self.consumer.group.is_some() {
            return self.consumer.is_over();
        }
        let plan = &self.core.step.plan;
        let shared = &self.core.step.shared;
        let now = self.core.clock().now();
        if self.fetch().to_the_last {
            let quiet = now.saturating_sub(self.heard.get()) > plan.drain;
            let reached = || {
                let end = |place: usize| shared.ends.get(place).map_or(0, |end| end.load(Ordering::Acquire));
                self.positions
                    .borrow()
                    .iter()
                    .all(|(place, position)| position.dead || position.offset >= end(*place))
            };
            return self.core.senders_done() && (reached() || quiet);
        }
        match (plan.until, &self.core.step.log_ends) {
            (Until::Duration(_), _) => now >= plan.end(),
            (Until::Records(records), _) if plan.load.is_none() => {
                shared.received.load(Ordering::Relaxed) >= records
                    || now.saturating_sub(self.heard.get()) > plan.drain.max(nanos(self.fetch().wait) * 2)
            }
            (_, Some(ends)) => self
                .positions
                .borrow()
                .iter()
                .all(|(place, position)| position.dead || position.offset >= ends[*place]),
            _ => self.core.senders_done(),
        }
    }

    /// Counts what never came.
    fn conclude(&self) {
        if self.fetch().stamping != crate::stamp::Stamping::Full {
            return;
        }
        let own = self.fetch().to_the_last;
        let nothing = Ledger::new();
        let ledger = self.core.step.shared.ledger.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let ledger = if own { &*ledger } else { &nothing };
        let positions = self.positions.borrow();
        let lost: u64 =
            positions.iter().map(|(place, position)| position.lost(*place, self.core.step.run, ledger)).sum();
        self.core.found.borrow_mut().verification.lost += lost;
    }
}
