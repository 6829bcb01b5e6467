//! The load: appends that fall due at a rate, or as many as fit under way; and what came of them.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::rc::Rc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use storage::signal::Signal;

use crate::cpu;

/// Flat out, this many bytes are under way.
const UNDER_WAY: usize = 8 << 20;

/// The longest latency told apart from longer ones: a minute.
const LATENCY_US_MAX: u64 = 60_000_000;

/// What is asked of a subject.
#[derive(Clone, Copy)]
pub struct Offer {
    /// Bytes of one append.
    pub size: usize,
    /// Megabytes a second; `None` is flat out.
    pub rate: Option<u64>,
    pub duration: Duration,
    /// It ends at this many bytes even if time is left: disks are finite.
    pub bytes_max: u64,
}

/// What came of it.
pub struct Measured {
    pub bytes: u64,
    pub seconds: f64,
    pub cpu_seconds: f64,
    pub commits: u64,
    /// Microseconds from when an append was due until it was durable.
    pub latency: Histogram<u64>,
}

/// Something that takes appends. The future returned ends when the append is durable; they end in order.
pub trait Subject {
    fn append(&self, number: u64) -> u64;
    fn durable(&self, ticket: u64) -> impl Future<Output = ()>;
    fn commits(&self) -> u64;
}

#[derive(Default)]
struct Flight {
    under_way: RefCell<VecDeque<(u64, Instant)>>,
    changed: Signal,
}

/// Fills the ring twice over, so that its files are made and segments exist, then measures.
pub async fn warm_and_apply<S: Subject + 'static>(subject: &Rc<S>, ring: u64, offer: Offer) -> Measured {
    let warm = Offer { rate: None, duration: Duration::from_secs(60), bytes_max: 2 * ring, ..offer };
    apply(subject, warm).await;
    apply(subject, offer).await
}

/// Applies the load and waits for its end.
async fn apply<S: Subject + 'static>(subject: &Rc<S>, offer: Offer) -> Measured {
    let flight = Rc::new(Flight::default());
    let latency =
        Rc::new(RefCell::new(Histogram::new_with_bounds(1, LATENCY_US_MAX, 3).expect("three digits")));
    let count = offer.bytes_max / offer.size as u64;
    let (commits, cpu, begun) = (subject.commits(), cpu::seconds(), Instant::now());
    let waiter = glommio::spawn_local(wait(Rc::clone(subject), Rc::clone(&flight), Rc::clone(&latency)));
    let mut sent = 0;
    while sent < count && begun.elapsed() < offer.duration {
        let due = match offer.rate {
            Some(rate) => {
                let micros = sent * offer.size as u64 / rate;
                let due = begun + Duration::from_micros(micros);
                let early = due.saturating_duration_since(Instant::now());
                if !early.is_zero() {
                    glommio::timer::sleep(early).await;
                }
                due
            }
            None => {
                let room = || flight.under_way.borrow().len() * offer.size < UNDER_WAY;
                flight.changed.until(|| room().then_some(())).await;
                Instant::now()
            }
        };
        let ticket = subject.append(sent);
        flight.under_way.borrow_mut().push_back((ticket, due));
        flight.changed.notify();
        sent += 1;
        glommio::yield_if_needed().await;
    }
    flight.changed.until(|| flight.under_way.borrow().is_empty().then_some(())).await;
    let seconds = begun.elapsed().as_secs_f64();
    let _ = waiter.cancel().await;
    let latency = latency.borrow().clone();
    Measured {
        bytes: sent * offer.size as u64,
        seconds,
        cpu_seconds: cpu::seconds() - cpu,
        commits: subject.commits() - commits,
        latency,
    }
}

async fn wait<S: Subject>(subject: Rc<S>, flight: Rc<Flight>, latency: Rc<RefCell<Histogram<u64>>>) {
    loop {
        let next = || flight.under_way.borrow().front().copied();
        let (ticket, due) = flight.changed.until(next).await;
        subject.durable(ticket).await;
        let micros = u64::try_from(due.elapsed().as_micros()).unwrap_or(u64::MAX);
        latency.borrow_mut().saturating_record(micros.max(1));
        flight.under_way.borrow_mut().pop_front();
        flight.changed.notify();
    }
}
