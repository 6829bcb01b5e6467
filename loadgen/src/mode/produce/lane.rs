//! One producer's connection to one broker.
//!
//! Two futures run in one task: the reader takes answers, the writer waits for the schedule and for a free place in flight, and
//! sends. The reader is polled first, so what it frees the writer sees in the same turn.
//!
//! Order within a partition is kept as by Kafka's clients: once a batch has failed nothing new is sent; when nothing is in
//! flight any more, what failed is sent again in its order.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::io::{self, IoSlice};
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use bytes::BytesMut;
use futures_lite::future::{self, poll_fn};
use model::ErrorCode;
use protocol::ApiKey;
use protocol::client::{ClientHead, ProduceWriter};
use protocol::produce::ProduceResponse;

use super::Producer;
use crate::clock::Ns;
use crate::core::{Core, Probe};
use crate::link::{Inbox, Link};
use crate::plan::{Load, Until};
use crate::report::{Interval, Measure};
use crate::run;
use crate::schedule::{Schedule, Times};
use crate::setup::producer_id_request;
use crate::template::{BatchFacts, Marking};
use crate::verify::Sent;

/// Room for answers: they are small.
const INBOX_BYTES: usize = 16 << 10;
/// First pause after a failure.
const PAUSE_MIN: Duration = Duration::from_millis(50);
/// Longest pause after failures in a row.
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// How long a broker may take to gather acknowledgements, as it is told.
const TIMEOUT_MS: i32 = 30_000;
/// How often a lane without partitions looks for some.
const LOOK: Duration = Duration::from_millis(20);

/// One partition of a producer.
#[derive(Debug)]
pub struct Slot {
    /// Its place in the cluster.
    pub place: usize,
    /// Number of the next record.
    next: u64,
    /// Number of the record that has the producer id's sequence 0.
    origin: u64,
    /// Numbers, first to end, that were given up.
    given_up: Vec<(u64, u64)>,
    /// Offset behind the last that was acknowledged.
    end: i64,
}

impl Slot {
    /// Nothing sent yet.
    pub const fn new(place: usize) -> Self {
        Self { place, next: 0, origin: 0, given_up: Vec::new(), end: 0 }
    }
}

/// The partitions of a lane.
#[derive(Debug, Default)]
pub struct Slots {
    by_place: HashMap<usize, Slot>,
    turns: Vec<usize>,
    turn: usize,
}

impl Slots {
    /// One more.
    pub fn add(&mut self, slot: Slot) {
        self.turns.push(slot.place);
        self.by_place.insert(slot.place, slot);
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.turns.len()
    }

    /// Takes out those that `wanted` picks.
    pub fn take(&mut self, wanted: impl Fn(&Slot) -> bool) -> Vec<Slot> {
        let picked: Vec<usize> = self
            .turns
            .iter()
            .copied()
            .filter(|place| self.by_place.get(place).is_some_and(&wanted))
            .collect();
        self.turns.retain(|place| !picked.contains(place));
        picked.iter().filter_map(|place| self.by_place.remove(place)).collect()
    }

    fn next(&mut self) -> Option<&mut Slot> {
        self.turn = (self.turn + 1) % self.turns.len().max(1);
        self.by_place.get_mut(self.turns.get(self.turn)?)
    }
}

/// A batch: everything that is needed to send it, also again.
#[derive(Debug)]
pub struct Batch {
    /// Its partition.
    pub place: usize,
    template: usize,
    times: Times,
    /// Number of its first record.
    number: u64,
    correlation_id: i32,
}

/// See the module.
#[derive(Debug)]
pub struct Lane {
    core: Rc<Core>,
    producer: Rc<Producer>,
    /// The broker.
    pub node: i32,
    /// Its partitions.
    pub slots: RefCell<Slots>,
    /// To be sent again, in order, before anything new.
    pub resend: RefCell<VecDeque<Batch>>,
    schedule: RefCell<Option<Schedule>>,
    in_flight: RefCell<VecDeque<Batch>>,
    failed: RefCell<Vec<Batch>>,
    /// Records taken from the schedule.
    taken: Cell<u64>,
    /// When a place in flight became free.
    free_at: Cell<Ns>,
    /// The last failure says that somebody else leads.
    stale: Cell<bool>,
    /// The producer id is of no use any more.
    renew: Cell<bool>,
    running: Cell<bool>,
    pause: Cell<Duration>,
    turn: Cell<usize>,
    request: RefCell<BytesMut>,
    scratch: RefCell<Vec<u8>>,
}

/// What the writer does next.
enum Next {
    Send(Batch),
    /// Something has changed: look again.
    Again,
    Finished,
}

#[derive(Debug)]
struct LaneProbe(Rc<Lane>);

impl Probe for LaneProbe {
    fn report(&self, now: Ns, found: &mut Interval, intended: &mut u64) {
        let lane = &self.0;
        let end = now.min(lane.core.step.plan.end() - 1);
        let behind = match (&*lane.schedule.borrow(), lane.slots.borrow().len()) {
            (Some(schedule), 1..) if lane.core.step.plan.until.is_timed() => schedule.due(end),
            _ => 0,
        };
        if lane.schedule.borrow().is_some() {
            *intended += lane.taken.get() + behind;
        }
        *found.gauges.entry("records behind").or_default() += behind;
        *found.gauges.entry("batches in flight").or_default() += lane.in_flight.borrow().len() as u64;
    }
}

impl Lane {
    /// Without partitions, not running.
    pub fn new(producer: &Rc<Producer>, node: i32) -> Rc<Self> {
        let lane = Rc::new(Self {
            core: Rc::clone(&producer.core),
            producer: Rc::clone(producer),
            node,
            slots: RefCell::default(),
            resend: RefCell::default(),
            schedule: RefCell::new(None),
            in_flight: RefCell::default(),
            failed: RefCell::default(),
            taken: Cell::new(0),
            free_at: Cell::new(0),
            stale: Cell::new(false),
            renew: Cell::new(false),
            running: Cell::new(false),
            pause: Cell::new(PAUSE_MIN),
            turn: Cell::new(producer.number as usize),
            request: RefCell::default(),
            scratch: RefCell::default(),
        });
        lane.core.probe(LaneProbe(Rc::clone(&lane)));
        lane
    }

    /// Gives it this rate from now on; a schedule that begins does so at `phase`.
    pub fn set_rate(&self, rate: f64, phase: f64) {
        let Some(load) = &self.core.step.plan.load else { return };
        match &mut *self.schedule.borrow_mut() {
            Some(schedule) => schedule.set_rate(rate),
            none => {
                let seed = self.core.step.plan.seed ^ (u64::from(self.producer.number) << 20);
                let first = phase + crate::units::real(self.core.clock().now());
                let first = if self.core.clock().now() < crate::core::SECOND { phase } else { first };
                *none = Some(Schedule::new(load.arrival, rate, first, seed));
            }
        }
    }

    /// Runs, if it does not yet.
    pub fn start(self: &Rc<Self>) {
        if !self.running.replace(true) {
            let lane = Rc::clone(self);
            self.core.spawn_sender(async move {
                lane.run().await;
                lane.publish();
                lane.running.set(false);
            });
        }
    }

    fn load(&self) -> &Load {
        // Lanes are made where there is load.
        self.core.step.plan.load.as_ref().expect("a lane belongs to a load")
    }

    /// Connects again and again until there is nothing to do.
    async fn run(&self) {
        loop {
            let address = self.core.cluster.borrow().brokers.get(&self.node).copied();
            let session = match address {
                Some(address) => match Link::connect(address).await {
                    Ok(link) => self.session(&link).await,
                    Err(error) => Err(error),
                },
                None => Err(io::Error::new(io::ErrorKind::NotFound, "no address of the leader")),
            };
            let Err(error) = session else { return };
            self.core.broken(&error);
            let lost: Vec<Batch> = self.in_flight.borrow_mut().drain(..).collect();
            for batch in lost {
                // Whether they arrived nobody knows: only a broker that deduplicates may get them again.
                if self.load().idempotent {
                    self.failed.borrow_mut().push(batch)
                } else {
                    self.give_up(batch)
                }
            }
            if self.out_of_time() {
                let rest = self.failed.take().into_iter().chain(self.resend.take());
                rest.for_each(|batch| self.give_up(batch));
                return;
            }
            self.stale.set(true);
            self.recover().await;
        }
    }

    async fn session(&self, link: &Link) -> io::Result<()> {
        let version = self.core.cluster.borrow().data_version(ApiKey::Produce).map_err(io::Error::other)?;
        future::or(self.read(link, version), self.write(link, version)).await
    }

    async fn read(&self, link: &Link, version: i16) -> io::Result<()> {
        let mut inbox = Inbox::new(INBOX_BYTES);
        loop {
            let frame = inbox.next(link).await?;
            let now = self.core.clock().now();
            let (correlation_id, response) =
                ProduceResponse::decode(version, &frame).map_err(io::Error::other)?;
            let batch = self.in_flight.borrow_mut().pop_front();
            let batch = batch.filter(|batch| batch.correlation_id == correlation_id);
            let batch = batch.ok_or_else(|| io::Error::other("an answer that nobody waits for"))?;
            self.free_at.set(now);
            let partition = response.topics.first().and_then(|topic| topic.partitions.first());
            let partition = partition.ok_or_else(|| io::Error::other("an answer without the partition"))?;
            match partition.error {
                ErrorCode::None | ErrorCode::DuplicateSequenceNumber => {
                    self.acknowledged(&batch, now, partition.base_offset.0);
                }
                error => self.refused(batch, error),
            }
        }
    }

    fn acknowledged(&self, batch: &Batch, now: Ns, base_offset: i64) {
        let count = batch.times.count();
        if let Some(slot) = self.slots.borrow_mut().by_place.get_mut(&batch.place)
            && base_offset >= 0
        {
            slot.end = slot.end.max(base_offset + i64::from(count));
        }
        let mut found = self.core.found.borrow_mut();
        found.requests += 1;
        found.records_sent += u64::from(count);
        found.bytes_sent += self.core.templates[batch.template].content_bytes(count);
        for (intended, records) in batch.times.steps() {
            found.record_n(Measure::Produce, now.saturating_sub(intended) / 1000, records);
        }
        self.pause.set(PAUSE_MIN);
    }

    fn refused(&self, batch: Batch, error: ErrorCode) {
        use ErrorCode as E;
        self.core.error(error.name());
        let elsewhere = matches!(
            error,
            E::NotLeaderOrFollower | E::UnknownTopicOrPartition | E::UnknownTopicId | E::LeaderNotAvailable
        );
        self.stale.set(self.stale.get() || elsewhere);
        // Behind one that failed every batch of its partition is out of order.
        let follows = error == E::OutOfOrderSequenceNumber
            && (self.renew.get() || self.failed.borrow().iter().any(|failed| failed.place == batch.place));
        // Without sequences only what was certainly not appended may be sent again.
        let certain = elsewhere || matches!(error, E::NotEnoughReplicas | E::ThrottlingQuotaExceeded);
        if certain || follows || (self.load().idempotent && error.retriable()) {
            self.failed.borrow_mut().push(batch);
        } else {
            self.renew.set(self.load().idempotent);
            self.give_up(batch);
        }
    }

    fn give_up(&self, batch: Batch) {
        let count = u64::from(batch.times.count());
        self.core.found.borrow_mut().error("records given up", count);
        if let Some(slot) = self.slots.borrow_mut().by_place.get_mut(&batch.place) {
            slot.given_up.push((batch.number, batch.number + count));
        }
    }

    async fn write(&self, link: &Link, version: i16) -> io::Result<()> {
        loop {
            if self.renew.get() || !self.failed.borrow().is_empty() {
                self.settled().await?;
                self.recover().await;
                continue;
            }
            let waiting = self.resend.borrow_mut().pop_front();
            let next = match waiting {
                Some(batch) if self.place_in_flight().await => Next::Send(batch),
                Some(batch) => {
                    self.resend.borrow_mut().push_front(batch);
                    Next::Again
                }
                None => self.next_batch().await,
            };
            match next {
                Next::Send(batch) => self.send(link, version, batch).await?,
                Next::Again => {}
                Next::Finished => {
                    self.settled().await?;
                    if !self.renew.get() && self.failed.borrow().is_empty() {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Waits until nothing is in flight, but not longer for one answer than the run's end allows.
    async fn settled(&self) -> io::Result<()> {
        let settled =
            poll_fn(|_| if self.in_flight.borrow().is_empty() { Poll::Ready(Ok(())) } else { Poll::Pending });
        let patience = async {
            loop {
                let (before, drain) = (self.free_at.get(), Duration::from_nanos(self.core.step.plan.drain));
                run::sleep(drain).await;
                if self.free_at.get() == before {
                    return Err(io::ErrorKind::TimedOut.into());
                }
            }
        };
        future::or(settled, patience).await
    }

    /// Waits for a free place in flight; false if something failed meanwhile.
    async fn place_in_flight(&self) -> bool {
        let most = self.load().in_flight;
        poll_fn(|_| {
            if self.renew.get() || !self.failed.borrow().is_empty() {
                Poll::Ready(false)
            } else if self.in_flight.borrow().len() < most {
                Poll::Ready(true)
            } else {
                Poll::Pending
            }
        })
        .await
    }

    /// Whether nothing new is to be begun.
    fn is_over(&self) -> bool {
        let plan = &self.core.step.plan;
        match plan.until {
            Until::Records(_) => self.core.step.shared.to_send.load(Ordering::Relaxed) == 0,
            _ => self.core.clock().now() >= plan.end(),
        }
    }

    /// Whether nothing is left at the end that was due before, or too much: a batch's worth is sent late, a backlog is not.
    fn is_done(&self, most: u32) -> bool {
        let end = self.core.step.plan.end();
        match &*self.schedule.borrow() {
            Some(schedule) if self.core.step.plan.until.is_timed() => {
                schedule.first() >= end || schedule.due(end - 1) > u64::from(most)
            }
            _ => true,
        }
    }

    /// Whether not even what failed is to be tried again.
    fn out_of_time(&self) -> bool {
        let plan = &self.core.step.plan;
        self.core.clock().now() >= plan.end().saturating_add(plan.drain)
    }

    async fn next_batch(&self) -> Next {
        let turn = self.turn.get();
        let template = turn % self.core.templates.len();
        let most = self.core.templates[template].records();
        if self.is_over() && self.is_done(most) {
            return Next::Finished;
        }
        if self.slots.borrow().len() == 0 {
            if self.is_over() {
                return Next::Finished;
            }
            run::sleep(LOOK).await;
            return Next::Again;
        }
        let due = match &mut *self.schedule.borrow_mut() {
            Some(schedule) if schedule.first() >= self.core.step.plan.end() => return Next::Finished,
            Some(schedule) => {
                schedule.complete_at(most, self.load().linger).min(self.core.step.plan.end() - 1)
            }
            None => 0,
        };
        let trouble =
            poll_fn(|_| if self.failed.borrow().is_empty() { Poll::Pending } else { Poll::Ready(()) });
        future::or(self.core.sleep_until(due), trouble).await;
        if !self.place_in_flight().await {
            return Next::Again;
        }
        if self.is_over() && self.is_done(most) {
            return Next::Finished;
        }
        self.turn.set(turn.wrapping_add(1));
        self.take(template, most, due)
    }

    /// Makes a batch of what is due.
    fn take(&self, template: usize, most: u32, due: Ns) -> Next {
        let now = self.core.clock().now();
        let most = self.claim(most);
        if most == 0 {
            return Next::Finished;
        }
        let times = match &mut *self.schedule.borrow_mut() {
            Some(schedule) => {
                // The generator's own lateness: nothing but it kept the batch once it was due and a place was free.
                let late = now.saturating_sub(due.max(self.free_at.get()));
                self.core.found.borrow_mut().started_late(Duration::from_nanos(late));
                schedule.take(now.min(self.core.step.plan.end() - 1), most)
            }
            None => Times::together(crate::units::real(now), most),
        };
        let count = times.count();
        self.unclaim(most - count);
        if count == 0 {
            return Next::Again;
        }
        self.taken.set(self.taken.get() + u64::from(count));
        let mut slots = self.slots.borrow_mut();
        let Some(slot) = slots.next() else { return Next::Again };
        let batch = Batch { place: slot.place, template, times, number: slot.next, correlation_id: 0 };
        slot.next += u64::from(count);
        Next::Send(batch)
    }

    /// Takes up to `most` of the records that are to be sent.
    fn claim(&self, most: u32) -> u32 {
        if self.core.step.plan.until.is_timed() {
            return most;
        }
        let left = &self.core.step.shared.to_send;
        let take = |left: u64| Some(left - left.min(u64::from(most)));
        let before = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).unwrap_or(0);
        u32::try_from(before.min(u64::from(most))).unwrap_or(most)
    }

    fn unclaim(&self, count: u32) {
        if !self.core.step.plan.until.is_timed() {
            self.core.step.shared.to_send.fetch_add(u64::from(count), Ordering::Relaxed);
        }
    }

    async fn send(&self, link: &Link, version: i16, mut batch: Batch) -> io::Result<()> {
        let count = batch.times.count();
        let template = &self.core.templates[batch.template];
        batch.correlation_id = link.next_correlation();
        let (facts, marking) = self.facts(&batch);
        let mut scratch = self.scratch.take();
        let plain;
        let (header, records): (_, &[u8]) = if marking.is_none() {
            plain = template.plain(count);
            (template.plain_header(count, &plain, facts), &plain)
        } else {
            (template.marked(&batch.times, facts, &marking, &mut scratch), &scratch)
        };
        let mut out = self.request.take();
        out.clear();
        let acks = self.load().acks;
        let client_id = Some(&*self.core.step.plan.client_id);
        let head = ClientHead { version, correlation_id: batch.correlation_id, client_id };
        let (front, request) = {
            let cluster = self.core.cluster.borrow();
            let partition = cluster.partitions[batch.place];
            let mut writer = ProduceWriter::begin(out, &head, acks, TIMEOUT_MS, 1);
            writer.topic(&cluster.reference(partition.topic, version), 1);
            writer.partition(partition.index, header.len() + records.len());
            let front = writer.len();
            writer.end_partition();
            writer.end_topic();
            (front, writer.end())
        };
        let answered = acks != 0;
        let silent = if answered {
            // Its answer may be there before the last byte is known to be sent.
            self.in_flight.borrow_mut().push_back(batch);
            None
        } else {
            Some(batch)
        };
        let (before, after) = request.split_at(front);
        let mut pieces =
            [IoSlice::new(before), IoSlice::new(&header), IoSlice::new(records), IoSlice::new(after)];
        link.send(&mut pieces).await?;
        if let Some(batch) = silent {
            self.acknowledged(&batch, self.core.clock().now(), -1);
            run::yield_if_needed().await;
        }
        self.request.replace(request);
        self.scratch.replace(scratch);
        Ok(())
    }

    fn facts(&self, batch: &Batch) -> (BatchFacts, Marking) {
        let load = self.load();
        let origin = self.slots.borrow().by_place.get(&batch.place).map_or(0, |slot| slot.origin);
        let producer = self.producer.identity.get();
        // Sequences go from the largest 31-bit number to 0.
        let sequence = i32::try_from((batch.number - origin) & 0x7fff_ffff).unwrap_or(0);
        let clock = self.core.clock();
        let facts = BatchFacts {
            timestamp: clock.unix_ms(batch.times.at(0)),
            producer,
            base_sequence: if load.idempotent { sequence } else { -1 },
        };
        let number = self.producer.number;
        let marking = Marking {
            stamping: load.stamping,
            keys: load.keys,
            identity: (self.core.step.run, number),
            sequence: batch.number,
            epoch_ns: clock.unix_ns(0),
            seed: batch.number.wrapping_mul(0x9e37_79b9_7f4a_7c15)
                ^ (batch.place as u64) << 32
                ^ u64::from(number),
        };
        (facts, marking)
    }

    /// Behind a failure, with nothing in flight: waits, learns who leads, gets a new producer id if need be.
    async fn recover(&self) {
        let pause = self.pause.get();
        self.pause.set((2 * pause).min(PAUSE_MAX));
        run::sleep(pause).await;
        if self.stale.replace(false) {
            self.core.refresh().await;
        }
        {
            let mut resend = self.resend.borrow_mut();
            self.failed.take().into_iter().rev().for_each(|batch| resend.push_front(batch));
        }
        if self.renew.get() && !self.out_of_time() {
            self.renew_identity().await;
        } else {
            self.renew.set(false);
        }
        self.producer.reroute(self);
        // Until here the broker kept us, not the generator.
        self.free_at.set(self.core.clock().now());
    }

    /// A new id, for which every partition begins at sequence 0 with the first record that is not acknowledged.
    async fn renew_identity(&self) {
        let address = self.core.cluster.borrow().brokers.get(&self.node).copied();
        let Some(address) = address else { return };
        match self.core.call(address, ApiKey::InitProducerId, &producer_id_request()).await {
            Ok(response) if response.error_code == 0 => {
                self.producer.identity.set((response.producer_id, response.producer_epoch));
                // The other lanes' sequences are of the old id: they begin anew as well, at their next failure.
                for (node, lane) in self.producer.lanes.borrow().iter() {
                    if *node != self.node {
                        lane.renew.set(false);
                    }
                    lane.begin_sequences();
                }
                self.renew.set(false);
            }
            Ok(response) => self.core.error(&crate::cluster::error_name(response.error_code)),
            Err(error) => self.core.broken(&error),
        }
    }

    fn begin_sequences(&self) {
        let mut slots = self.slots.borrow_mut();
        for slot in slots.by_place.values_mut() {
            slot.origin = slot.next;
        }
        for batch in self.resend.borrow().iter().rev() {
            if let Some(slot) = slots.by_place.get_mut(&batch.place) {
                slot.origin = batch.number;
            }
        }
    }

    /// Tells what was sent, for those who check it.
    fn publish(&self) {
        let slots = self.slots.borrow();
        let shared = &self.core.step.shared;
        for slot in slots.by_place.values() {
            if let Some(end) = shared.ends.get(slot.place) {
                end.fetch_max(slot.end, Ordering::AcqRel);
            }
        }
        if self.load().stamping == crate::stamp::Stamping::Full {
            let mut ledger = shared.ledger.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            for slot in slots.by_place.values() {
                let sent = Sent { count: slot.next, unacknowledged: slot.given_up.clone() };
                ledger.insert((slot.place, self.producer.number), sent);
            }
        }
    }
}
