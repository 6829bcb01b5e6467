//! Memory for requests: bytes are admitted before they are read, and whoever finds none left does not read.
//!
//! Permits grow with the bytes that arrive, so a length alone reserves nothing. That could end with everybody holding
//! half a request and nobody finishing; hence a reserve beside the ordinary capacity, as large as the largest request,
//! which one request at a time may grow into.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// The arithmetic, without waiting.
#[derive(Debug)]
struct Ledger {
    capacity: usize,
    used: usize,
    reserve: usize,
    reserve_taken: bool,
}

impl Ledger {
    fn admit(&mut self, bytes: usize) -> bool {
        let fits = self.capacity - self.used >= bytes;
        if fits {
            self.used += bytes;
        }
        fits
    }

    fn release(&mut self, bytes: usize) {
        assert!(bytes <= self.used, "released {bytes} bytes of {} admitted", self.used);
        self.used -= bytes;
    }

    fn take_reserve(&mut self) -> bool {
        !std::mem::replace(&mut self.reserve_taken, true)
    }
}

#[derive(Debug)]
struct Waiter {
    id: u64,
    started: bool,
    waker: Waker,
}

#[derive(Debug)]
struct State {
    ledger: Ledger,
    waiters: VecDeque<Waiter>,
    next_id: u64,
}

impl State {
    /// Wakes whoever could be admitted now: the oldest, and the oldest that may use the reserve.
    fn wake(&self) {
        if let Some(first) = self.waiters.front() {
            first.waker.wake_by_ref();
        }
        if !self.ledger.reserve_taken
            && let Some(started) = self.waiters.iter().find(|waiter| waiter.started)
        {
            started.waker.wake_by_ref();
        }
    }

    fn enqueue(&mut self, ticket: &mut Option<u64>, started: bool, waker: &Waker) {
        let known = ticket.and_then(|id| self.waiters.iter_mut().find(|waiter| waiter.id == id));
        if let Some(waiter) = known {
            waiter.waker.clone_from(waker);
            waiter.started = started;
        } else {
            let id = self.next_id;
            self.next_id += 1;
            self.waiters.push_back(Waiter { id, started, waker: waker.clone() });
            *ticket = Some(id);
        }
    }

    fn dequeue(&mut self, ticket: &mut Option<u64>) {
        if let Some(id) = ticket.take() {
            self.waiters.retain(|waiter| waiter.id != id);
            self.wake();
        }
    }

    fn is_first(&self, ticket: Option<u64>) -> bool {
        self.waiters.front().is_none_or(|first| Some(first.id) == ticket)
    }
}

/// One core's memory for requests. Waiters are served first come, first served.
#[derive(Clone, Debug)]
pub struct Budget {
    state: Rc<RefCell<State>>,
}

impl Budget {
    /// A budget of `total` bytes for requests of at most `request_bytes_max`, which are set aside from it as reserve.
    ///
    /// # Panics
    /// When `request_bytes_max` exceeds half of `total`: see [`Self::request_bytes_max`].
    #[must_use]
    pub fn new(total: usize, request_bytes_max: usize) -> Self {
        assert!(request_bytes_max <= total / 2, "a request may take at most half of the budget");
        let ledger = Ledger {
            capacity: total - request_bytes_max,
            used: 0,
            reserve: request_bytes_max,
            reserve_taken: false,
        };
        Self { state: Rc::new(RefCell::new(State { ledger, waiters: VecDeque::new(), next_id: 0 })) }
    }

    /// The largest request that a budget of `total` bytes can serve when `wanted` is configured.
    #[must_use]
    pub fn request_bytes_max(total: usize, wanted: usize) -> usize {
        wanted.min(total / 2)
    }

    /// Bytes admitted and not yet released, without the reserve.
    #[must_use]
    pub fn used(&self) -> usize {
        self.state.borrow().ledger.used
    }

    /// Bytes set aside for one request that must finish: the largest there can be.
    #[must_use]
    pub fn reserve(&self) -> usize {
        self.state.borrow().ledger.reserve
    }

    /// Whether the reserve is in use.
    #[must_use]
    pub fn reserve_taken(&self) -> bool {
        self.state.borrow().ledger.reserve_taken
    }

    /// A permit for nothing, to grow or merge into.
    #[must_use]
    pub fn empty(&self) -> Permit {
        Permit { budget: self.clone(), bytes: 0, reserved: None }
    }

    /// Admits `bytes` at once, or says that they do not fit or others wait before.
    #[must_use]
    pub fn try_admit(&self, bytes: usize) -> Option<Permit> {
        let mut state = self.state.borrow_mut();
        (state.waiters.is_empty() && state.ledger.admit(bytes)).then(|| Permit {
            budget: self.clone(),
            bytes,
            reserved: None,
        })
    }

    fn release(&self, bytes: usize, reserve: bool) {
        let mut state = self.state.borrow_mut();
        state.ledger.release(bytes);
        if reserve {
            state.ledger.reserve_taken = false;
        }
        state.wake();
    }
}

/// A place in the queue for memory; leaves the queue when dropped.
#[derive(Debug)]
pub struct Waiting {
    budget: Budget,
    ticket: Option<u64>,
}

impl Waiting {
    /// Not yet in the queue.
    #[must_use]
    pub const fn new(budget: Budget) -> Self {
        Self { budget, ticket: None }
    }

    /// Admits `bytes` when they fit and nobody waits before; otherwise queues and wakes the task later.
    pub fn poll_admit(&mut self, cx: &Context<'_>, bytes: usize) -> Poll<Permit> {
        let mut permit = self.budget.empty();
        self.poll(cx, bytes, &mut permit, false).map(|()| permit)
    }

    /// Grows the permit of a request that has begun to arrive, into the reserve when nothing else is left.
    pub fn poll_grow(&mut self, cx: &Context<'_>, permit: &mut Permit, bytes: usize) -> Poll<()> {
        self.poll(cx, bytes, permit, true)
    }

    fn poll(&mut self, cx: &Context<'_>, bytes: usize, permit: &mut Permit, started: bool) -> Poll<()> {
        let mut state = self.budget.state.borrow_mut();
        assert!(bytes <= state.ledger.capacity, "a step of {bytes} bytes can never be admitted");
        if let Some(reserved) = &mut permit.reserved {
            *reserved += bytes;
            assert!(*reserved <= state.ledger.reserve, "a request grew beyond the reserve");
        } else if state.is_first(self.ticket) && state.ledger.admit(bytes) {
            permit.bytes += bytes;
        } else if started && state.ledger.take_reserve() {
            permit.reserved = Some(bytes);
        } else {
            state.enqueue(&mut self.ticket, started, cx.waker());
            return Poll::Pending;
        }
        state.dequeue(&mut self.ticket);
        Poll::Ready(())
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.budget.state.borrow_mut().dequeue(&mut self.ticket);
    }
}

/// Bytes of the budget, given back when dropped.
#[derive(Debug)]
pub struct Permit {
    budget: Budget,
    bytes: usize,
    /// Bytes out of the reserve; whoever has some holds the whole reserve.
    reserved: Option<usize>,
}

impl Permit {
    /// Bytes this permit stands for.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes + self.reserved.unwrap_or(0)
    }

    /// Takes `bytes` of this permit into one of their own.
    ///
    /// # Panics
    /// When the permit has fewer.
    #[must_use]
    pub fn split(&mut self, bytes: usize) -> Self {
        assert!(bytes <= self.bytes, "split {bytes} bytes off a permit of {}", self.bytes);
        self.bytes -= bytes;
        Self { budget: self.budget.clone(), bytes, reserved: None }
    }

    /// Takes over what another permit of the same budget stands for.
    pub fn merge(&mut self, mut other: Self) {
        assert!(Rc::ptr_eq(&self.budget.state, &other.budget.state), "permits of two budgets");
        self.bytes += std::mem::take(&mut other.bytes);
        if let Some(reserved) = other.reserved.take() {
            *self.reserved.get_or_insert(0) += reserved;
        }
    }

    /// Gives back `bytes`, of the reserve first; the reserve is free again with the last of its bytes.
    ///
    /// # Panics
    /// When the permit has fewer.
    pub fn give_back(&mut self, bytes: usize) {
        let reserved = self.reserved.unwrap_or(0).min(bytes);
        let ends = self.reserved.is_some_and(|all| all == reserved);
        self.reserved = if ends { None } else { self.reserved.map(|all| all - reserved) };
        let ordinary = bytes - reserved;
        assert!(ordinary <= self.bytes, "gave back {bytes} bytes too many");
        self.bytes -= ordinary;
        if ends || ordinary > 0 {
            self.budget.release(ordinary, ends);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.bytes > 0 || self.reserved.is_some() {
            self.budget.release(self.bytes, self.reserved.is_some());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};

    use super::{Budget, Waiting};

    fn context() -> Context<'static> {
        Context::from_waker(Waker::noop())
    }

    #[test]
    fn permits_split_merge_and_come_back() {
        let budget = Budget::new(1000, 400);
        let mut permit = budget.try_admit(600).unwrap();
        assert!(budget.try_admit(1).is_none());
        let part = permit.split(100);
        permit.give_back(200);
        assert_eq!((permit.bytes(), part.bytes(), budget.used()), (300, 100, 400));
        permit.merge(part);
        assert_eq!((permit.bytes(), budget.used()), (400, 400));
        drop(permit);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn waiters_are_served_in_order() {
        let budget = Budget::new(1000, 400);
        let cx = context();
        let held = budget.try_admit(600).unwrap();
        let (mut first, mut second) = (Waiting::new(budget.clone()), Waiting::new(budget.clone()));
        assert!(first.poll_admit(&cx, 500).is_pending());
        assert!(second.poll_admit(&cx, 10).is_pending());
        drop(held);
        assert!(second.poll_admit(&cx, 10).is_pending(), "a small one must not pass a large one for ever");
        assert!(budget.try_admit(1).is_none());
        let Poll::Ready(permit) = first.poll_admit(&cx, 500) else { panic!("the first is admitted") };
        assert!(second.poll_admit(&cx, 10).is_ready());
        drop(permit);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn one_that_gives_up_does_not_block_the_queue() {
        let budget = Budget::new(1000, 400);
        let cx = context();
        let held = budget.try_admit(500).unwrap();
        let (mut first, mut second) = (Waiting::new(budget.clone()), Waiting::new(budget.clone()));
        assert!(first.poll_admit(&cx, 200).is_pending());
        assert!(second.poll_admit(&cx, 50).is_pending());
        drop(first);
        assert!(second.poll_admit(&cx, 50).is_ready());
        drop(held);
    }

    #[test]
    fn half_requests_that_hold_everything_still_finish_one_by_one() {
        let budget = Budget::new(1000, 500);
        let cx = context();
        // Five requests of 300 bytes have 100 each: nothing is left, and none is complete.
        let mut permits: Vec<_> = (0..5).map(|_| budget.try_admit(100).unwrap()).collect();
        let mut waiting: Vec<_> = (0..5).map(|_| Waiting::new(budget.clone())).collect();
        let mut finished = 0;
        for _round in 0..100 {
            for (permit, waiting) in permits.iter_mut().zip(&mut waiting) {
                if permit.bytes() > 0
                    && waiting.poll_grow(&cx, permit, 50).is_ready()
                    && permit.bytes() == 300
                {
                    *permit = budget.empty();
                    finished += 1;
                }
            }
        }
        assert_eq!((finished, budget.used(), budget.reserve_taken()), (5, 0, false));
    }

    #[test]
    fn the_reserve_is_free_when_nothing_of_it_is_used() {
        let budget = Budget::new(1000, 500);
        let cx = context();
        let mut permit = budget.try_admit(500).unwrap();
        let mut waiting = Waiting::new(budget.clone());
        assert!(waiting.poll_grow(&cx, &mut permit, 200).is_ready());
        assert!(budget.reserve_taken());
        permit.give_back(200);
        assert!(!budget.reserve_taken());
        assert_eq!((permit.bytes(), budget.used()), (500, 500));
    }
}
