//! Coordinators on top of partitions: requests to records, records to the log, replies once those are durable.
//!
//! A coordinator is made when it is first asked for. While it reads its partition, whoever asks is told
//! COORDINATOR_LOAD_IN_PROGRESS; the broker does not wait for it to be ready.

mod groups;
mod initializing;
mod loading;
mod pruning;
mod seated;
mod states;

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use coordination::effects::Effects;
use coordination::group::{Coordinator, Reply, Request};
use coordination::metadata::Image;
use coordination::share::record::ShareKey;
use coordination::share::store::{Answer as ShareAnswer, Ask, ShareStates};
use futures_lite::future::{BoxedLocal, or};
use model::batch::BatchBuilder;
use model::{ErrorCode, Offset, TimestampMs, TopicId, TopicPartition};
use storage::disk::Disk;
use storage::signal::Signal;

use self::seated::{Seated, Wanted};
use crate::answers::{self, Deliver};
use crate::ops::{AppendPartition, Appended};
use crate::shard::Shard;

/// The coordinators of one kind on one core.
pub(crate) struct Seats<M: Seated> {
    settings: M::Settings,
    /// Memory of all of them together: the most, and what they take.
    bytes_max: u64,
    bytes: Cell<u64>,
    /// Makes the seeds of member ids.
    seed: Cell<u64>,
    seats: RefCell<HashMap<TopicPartition, Rc<Seat<M>>>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Loading,
    Serving,
    /// Its topic is gone, or it could not be read.
    Gone,
}

/// One coordinator.
struct Seat<M: Seated> {
    id: TopicPartition,
    phase: Cell<Phase>,
    machine: RefCell<M>,
    effects: RefCell<Effects<M::Effect>>,
    next_ticket: Cell<u64>,
    waiting: RefCell<HashMap<u64, Deliver<M::Reply>>>,
    appends: RefCell<VecDeque<Append>>,
    /// Something happened: steps so far, and who looks at that.
    steps: Cell<u64>,
    stepped: Signal,
    /// Offset after the last record that the machine replayed.
    replayed: Cell<Offset>,
    /// Memory it was last counted with.
    bytes: Cell<u64>,
    /// Appended since the last snapshot.
    grown: Cell<u64>,
    snapshotting: Cell<bool>,
}

/// One append on its way.
struct Append {
    id: u64,
    records: i64,
    outcome: BoxedLocal<Vec<Appended>>,
}

impl<M: Seated> Seats<M> {
    /// None yet. All of them may take `bytes_max`; `seed` is random, new at every start.
    pub fn new(bytes_max: u64, settings: M::Settings, seed: u64) -> Self {
        Self { settings, bytes_max, bytes: Cell::new(0), seed: Cell::new(seed), seats: RefCell::default() }
    }

    /// Bytes that what they keep takes.
    pub fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    /// A coordinator may take what the others leave.
    fn limit(&self, seat: &Seat<M>) {
        let left = self.bytes_max.saturating_sub(self.bytes.get());
        seat.machine.borrow_mut().set_memory_bytes_max(seat.bytes.get() + left);
    }

    fn count(&self, seat: &Seat<M>) {
        let bytes = if seat.phase.get() == Phase::Gone { 0 } else { seat.machine.borrow().memory_bytes() };
        self.bytes.set(self.bytes.get() + bytes - seat.bytes.replace(bytes));
    }

    fn make(&self, id: TopicPartition) -> Rc<Seat<M>> {
        let seed = self.seed.get().wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        self.seed.set(seed);
        Rc::new(Seat {
            id,
            phase: Cell::new(Phase::Loading),
            machine: RefCell::new(M::new(&self.settings, seed)),
            effects: RefCell::default(),
            next_ticket: Cell::new(0),
            waiting: RefCell::default(),
            appends: RefCell::default(),
            steps: Cell::new(0),
            stepped: Signal::default(),
            replayed: Cell::new(Offset::ZERO),
            bytes: Cell::new(0),
            grown: Cell::new(0),
            snapshotting: Cell::new(false),
        })
    }
}

impl<D: Disk> Shard<D> {
    /// Asks the group coordinator on this partition. Up to the first wait everything is in order of the calls.
    pub(crate) async fn group(self: &Rc<Self>, id: TopicPartition, request: Request) -> Reply {
        self.ask_seat::<Coordinator>(id, vec![request]).await.pop().expect("an answer to each")
    }

    /// Asks the share coordinator on this partition, in order. Up to the first wait everything is in order of the calls.
    pub(crate) async fn share_state(
        self: &Rc<Self>,
        id: TopicPartition,
        key: ShareKey,
        asks: Vec<Ask>,
    ) -> Vec<ShareAnswer> {
        let asks = asks.into_iter().map(|ask| (key.clone(), ask)).collect();
        self.ask_seat::<ShareStates>(id, asks).await
    }

    async fn ask_seat<M: Seated>(
        self: &Rc<Self>,
        id: TopicPartition,
        requests: Vec<M::Request>,
    ) -> Vec<M::Reply> {
        let seat = match self.seat::<M>(id) {
            Ok(seat) => seat,
            Err(code) => return requests.iter().map(|request| M::refused(request, code)).collect(),
        };
        let mut answers = Vec::with_capacity(requests.len());
        for request in requests {
            let ticket = seat.next_ticket.replace(seat.next_ticket.get() + 1);
            let (deliver, answer) = answers::Answer::later();
            seat.waiting.borrow_mut().insert(ticket, deliver);
            self.step(&seat, M::asked(ticket, self.wall(), request));
            answers.push(answer);
        }
        let mut replies = Vec::with_capacity(answers.len());
        for answer in answers {
            replies.push(answer.await);
        }
        replies
    }

    /// The coordinator of a partition, if it serves.
    fn seat<M: Seated>(self: &Rc<Self>, id: TopicPartition) -> Result<Rc<Seat<M>>, ErrorCode> {
        let known = {
            let image = self.image();
            image
                .topic_by_id(id.topic)
                .is_some_and(|topic| &*topic.name == M::TOPIC && id.partition < topic.partitions)
        };
        if !known || self.is_stopping() {
            return Err(ErrorCode::NotCoordinator);
        }
        let found = M::seats(self).seats.borrow().get(&id).cloned();
        let seat = found.unwrap_or_else(|| self.take_seat(id));
        match seat.phase.get() {
            Phase::Serving => Ok(seat),
            Phase::Loading => Err(ErrorCode::CoordinatorLoadInProgress),
            Phase::Gone => Err(ErrorCode::NotCoordinator),
        }
    }

    fn take_seat<M: Seated>(self: &Rc<Self>, id: TopicPartition) -> Rc<Seat<M>> {
        let seat = M::seats(self).make(id);
        seat.machine.borrow_mut().set_image(self.image());
        M::seats(self).seats.borrow_mut().insert(id, Rc::clone(&seat));
        let log = self.store.log(id);
        if log.log_start() == log.end() {
            seat.replayed.set(log.end());
            self.serve(&seat);
            return seat;
        }
        let (shard, loading) = (Rc::clone(self), Rc::clone(&seat));
        self.disk.spawn(async move {
            let begun = shard.tick();
            match shard.read_in(&loading).await {
                Ok(records) if loading.phase.get() == Phase::Loading => {
                    let ms = shard.tick().0.saturating_sub(begun.0);
                    tracing::info!(partition = %id, records, ms, "a {} is loaded", M::NAME);
                    shard.serve(&loading);
                }
                Ok(_) => {}
                Err(fault) => {
                    tracing::error!(partition = %id, why = fault.message, "a {} cannot be loaded; the next request tries again", M::NAME);
                    loading.phase.set(Phase::Gone);
                    M::seats(&shard).seats.borrow_mut().remove(&id);
                }
            }
        });
        seat
    }

    fn serve<M: Seated>(self: &Rc<Self>, seat: &Rc<Seat<M>>) {
        let now = self.tick();
        seat.machine.borrow_mut().loaded(now, self.wall(), &mut seat.effects.borrow_mut());
        seat.phase.set(Phase::Serving);
        self.act(seat);
        // Topics may have been deleted while nobody asked for this coordinator.
        let missing = seat.machine.borrow().missing_topics(&self.image());
        self.tell_of_deleted(seat, &missing);
        let (shard, keeper) = (Rc::clone(self), Rc::clone(seat));
        self.disk.spawn(async move { shard.keep_time(&keeper).await });
        let (shard, seat) = (Rc::clone(self), Rc::clone(seat));
        self.disk.spawn(async move { shard.follow_appends(&seat).await });
    }

    fn tell_of_deleted<M: Seated>(self: &Rc<Self>, seat: &Rc<Seat<M>>, topics: &[(String, TopicId)]) {
        if topics.is_empty() {
            return;
        }
        let inputs = seat.machine.borrow().topics_deleted(self.wall(), topics);
        inputs.into_iter().for_each(|input| self.step(seat, input));
    }

    /// New metadata: coordinators look at it, what they have of deleted topics goes, and so do those whose own topic did.
    pub(crate) fn tell_coordinators<M: Seated>(self: &Rc<Self>, old: &Image, new: &Arc<Image>) {
        let seats: Vec<Rc<Seat<M>>> = M::seats(self).seats.borrow().values().cloned().collect();
        if seats.is_empty() {
            return;
        }
        for seat in &seats {
            seat.machine.borrow_mut().set_image(Arc::clone(new));
        }
        let gone = old.topics_sorted().into_iter().filter(|topic| new.topic_by_id(topic.id).is_none());
        let gone: Vec<(String, TopicId)> = gone.map(|topic| (topic.name.to_string(), topic.id)).collect();
        if gone.is_empty() {
            return;
        }
        for seat in seats {
            if new.topic_by_id(seat.id.topic).is_none() {
                seat.phase.set(Phase::Gone);
                M::seats(self).seats.borrow_mut().remove(&seat.id);
                self.step(&seat, M::unloaded());
            } else if seat.phase.get() == Phase::Serving {
                self.tell_of_deleted(&seat, &gone);
            }
        }
    }

    /// Everybody who waits at a coordinator of this core is sent away: the broker stops.
    pub(crate) fn unload_coordinators<M: Seated>(self: &Rc<Self>) {
        let seats: Vec<Rc<Seat<M>>> =
            M::seats(self).seats.borrow_mut().drain().map(|(_, seat)| seat).collect();
        for seat in seats {
            let served = seat.phase.replace(Phase::Gone) == Phase::Serving;
            if served {
                self.step(&seat, M::unloaded());
            }
        }
    }

    fn step<M: Seated>(self: &Rc<Self>, seat: &Rc<Seat<M>>, input: M::Input) {
        M::seats(self).limit(seat);
        seat.machine.borrow_mut().step(self.tick(), input, &mut seat.effects.borrow_mut());
        self.act(seat);
    }

    fn act<M: Seated>(self: &Rc<Self>, seat: &Rc<Seat<M>>) {
        M::seats(self).count(seat);
        let effects: Vec<M::Effect> = seat.effects.borrow_mut().drain().collect();
        for effect in effects {
            match M::wanted(effect) {
                Wanted::Reply { ticket, reply } => {
                    let deliver = seat.waiting.borrow_mut().remove(&ticket);
                    if let Some(deliver) = deliver {
                        deliver.put(reply);
                    }
                }
                Wanted::Append { id, records } => self.append_records(seat, id, &records),
                Wanted::InitializeShares { group, epoch, partitions } => {
                    self.initialize_shares(seat.id, group, epoch, partitions);
                }
                Wanted::Prune { below } => self.prune(seat.id, below),
            }
        }
        seat.steps.set(seat.steps.get() + 1);
        seat.stepped.notify();
    }

    fn append_records<M: Seated>(self: &Rc<Self>, seat: &Rc<Seat<M>>, id: u64, records: &[M::Record]) {
        let batch = Bytes::from(batch_of::<M>(records, self.wall()));
        seat.grown.set(seat.grown.get() + batch.len() as u64);
        let (shard, partition) = (Rc::clone(self), seat.id);
        let mut outcome: BoxedLocal<Vec<Appended>> =
            Box::pin(async move { shard.append(vec![AppendPartition { partition, batch }]).await });
        // Its place in the log is fixed by the first poll; whoever follows the appends polls the rest.
        if let Poll::Ready(done) = outcome.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            outcome = Box::pin(std::future::ready(done));
        }
        let records = i64::try_from(records.len()).unwrap_or(i64::MAX);
        seat.appends.borrow_mut().push_back(Append { id, records, outcome });
    }

    /// Tells the machine of each append, in order.
    async fn follow_appends<M: Seated>(self: Rc<Self>, seat: &Rc<Seat<M>>) {
        loop {
            let next = seat.stepped.until(|| {
                let next = seat.appends.borrow_mut().pop_front();
                next.map(Some).or_else(|| (seat.phase.get() == Phase::Gone).then_some(None))
            });
            let Some(append) = next.await else { return };
            let outcome = append.outcome.await.pop();
            if seat.phase.get() == Phase::Gone {
                return; // Whoever waited was sent away.
            }
            match outcome {
                Some(appended) if appended.error == ErrorCode::None => {
                    seat.replayed.set(Offset(appended.base_offset.0 + append.records));
                    self.step(seat, M::durable(append.id, appended.base_offset));
                }
                Some(appended) => {
                    self.append_failed(seat, append.id, appended.error, appended.message.as_deref())
                }
                None => self.append_failed(seat, append.id, ErrorCode::UnknownServerError, None),
            }
            self.snapshot_if_due(seat);
        }
    }

    fn append_failed<M: Seated>(
        self: &Rc<Self>,
        seat: &Rc<Seat<M>>,
        id: u64,
        error: ErrorCode,
        why: Option<&str>,
    ) {
        // Whoever asked is told; a full disk has its own line in the log.
        tracing::debug!(partition = %seat.id, error = error.name(), why, "an append of a {} failed", M::NAME);
        self.step(seat, M::append_failed(id, error));
    }

    async fn keep_time<M: Seated>(self: Rc<Self>, seat: &Rc<Seat<M>>) {
        while seat.phase.get() == Phase::Serving {
            let seen = seat.steps.get();
            let stepped = seat.stepped.until(|| (seat.steps.get() != seen).then_some(()));
            let deadline = seat.machine.borrow().next_deadline();
            match deadline {
                None => stepped.await,
                Some(at) if at <= self.tick() => {
                    if let Some(input) = M::ticked(self.wall()) {
                        self.step(seat, input);
                    }
                    self.disk.yield_now().await;
                }
                Some(at) => {
                    let wait = Duration::from_millis(at.0.saturating_sub(self.tick().0).max(1));
                    or(stepped, self.disk.sleep(wait)).await;
                }
            }
        }
    }

    pub(crate) fn wall(&self) -> TimestampMs {
        TimestampMs(self.disk.now_ms())
    }
}

fn batch_of<M: Seated>(records: &[M::Record], wall: TimestampMs) -> Vec<u8> {
    let mut builder = BatchBuilder::new();
    for one in records {
        let (key, value) = M::encode(one);
        builder = builder.record(wall, Some(&key), value.as_deref());
    }
    builder.build()
}
