//! One producer's connection to one broker.
//!
//! Two futures run in one task: the reader takes answers, the writer waits for the schedule and for a free place in flight, and
//! sends. The reader is polled first, so what it frees the writer sees in the same turn.
//!
//! Order within a partition is kept as by Kafka's clients: once a batch has failed nothing new is sent; when nothing is in
//! flight any more, what failed is sent again in its order.

mod answers;
mod recovery;
mod request;
mod slots;
mod writer;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::BytesMut;
use futures_lite::future;
use protocol::ApiKey;

use super::Producer;
use crate::clock::Ns;
use crate::core::{Core, Probe};
use crate::link::Link;
use crate::plan::Load;
use crate::report::Interval;
use crate::schedule::Schedule;
use crate::verify::Sent;

pub use slots::{Batch, Slot, Slots};

use slots::Flight;

/// First pause after a failure.
const PAUSE_MIN: Duration = Duration::from_millis(50);

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
    in_flight: RefCell<VecDeque<Flight>>,
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
    /// Memory for records that are marked, one per batch of a request.
    scratch: RefCell<Vec<Vec<u8>>>,
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
        let in_flight: usize = lane.in_flight.borrow().iter().map(|flight| flight.batches.len()).sum();
        *found.gauges.entry("batches in flight").or_default() += in_flight as u64;
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
            let lost = self.in_flight.take();
            for batch in lost.into_iter().flat_map(|flight| flight.batches) {
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

    /// Whether not even what failed is to be tried again.
    fn out_of_time(&self) -> bool {
        let plan = &self.core.step.plan;
        self.core.clock().now() >= plan.end().saturating_add(plan.drain)
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
