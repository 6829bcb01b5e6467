//! Memory for requests: bytes are admitted before they are read, and whoever finds none left does not read.
//!
//! Permits grow with the bytes that arrive, so a length alone reserves nothing. That could end with everybody holding
//! half a request and nobody finishing; hence a reserve beside the ordinary capacity, as large as the largest request,
//! which one request at a time may grow into. And large requests may not take all of it: what is left is for small ones and
//! for what has not begun, whose peers wait apart from those that send large ones.
//!
//! [`crate::answers`] has a second budget of the same kind, for what requests become.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// The arithmetic, without waiting.
#[derive(Debug)]
struct Ledger {
    capacity: usize,
    /// Part of the capacity that large requests may not grow into.
    small: usize,
    used: usize,
    reserve: usize,
    /// Bytes of the reserve that are in use, while somebody has it.
    reserved: Option<usize>,
}

impl Ledger {
    const fn room(&self, large: bool) -> usize {
        if large { self.capacity - self.small } else { self.capacity }
    }

    fn admit(&mut self, bytes: usize, large: bool) -> bool {
        // More may be in use than there is: see `Permit::settle`.
        let fits = self.room(large).saturating_sub(self.used) >= bytes;
        if fits {
            self.used += bytes;
        }
        fits
    }

    fn release(&mut self, bytes: usize) {
        assert!(bytes <= self.used, "released {bytes} bytes of {} admitted", self.used);
        self.used -= bytes;
    }

    fn take_reserve(&mut self, bytes: usize) -> bool {
        let free = self.reserved.is_none();
        if free {
            self.reserved = Some(0);
            self.grow_reserved(bytes);
        }
        free
    }

    fn grow_reserved(&mut self, bytes: usize) {
        let reserved = self.reserved.unwrap_or(0) + bytes;
        assert!(reserved <= self.reserve, "a request grew beyond the reserve");
        self.reserved = Some(reserved);
    }
}

/// What is waited with.
#[derive(Clone, Copy, Debug)]
pub enum Want {
    /// Nothing has begun.
    Fresh,
    /// The beginning of a small request.
    Small,
    /// The beginning of a large one.
    Large,
}

impl Want {
    const fn is_large(self) -> bool {
        matches!(self, Self::Large)
    }

    /// Whether the reserve is for it.
    const fn has_begun(self) -> bool {
        !matches!(self, Self::Fresh)
    }
}

#[derive(Debug)]
struct Waiter {
    id: u64,
    want: Want,
    waker: Waker,
}

#[derive(Debug)]
struct State {
    ledger: Ledger,
    waiters: VecDeque<Waiter>,
    next_id: u64,
}

impl State {
    fn first(&self, large: bool) -> Option<&Waiter> {
        self.waiters.iter().find(|waiter| waiter.want.is_large() == large)
    }

    /// Wakes whoever could be admitted now: the oldest of the large ones and of the others, and the oldest that may use the
    /// reserve.
    fn wake(&self) {
        let begun = self.waiters.iter().find(|waiter| waiter.want.has_begun());
        let begun = begun.filter(|_| self.ledger.reserved.is_none());
        for waiter in [self.first(false), self.first(true), begun].into_iter().flatten() {
            waiter.waker.wake_by_ref();
        }
    }

    fn enqueue(&mut self, ticket: &mut Option<u64>, want: Want, waker: &Waker) {
        let known = ticket.and_then(|id| self.waiters.iter_mut().find(|waiter| waiter.id == id));
        if let Some(waiter) = known {
            waiter.waker.clone_from(waker);
            waiter.want = want;
        } else {
            let id = self.next_id;
            self.next_id += 1;
            self.waiters.push_back(Waiter { id, want, waker: waker.clone() });
            *ticket = Some(id);
        }
    }

    fn dequeue(&mut self, ticket: &mut Option<u64>) {
        if let Some(id) = ticket.take() {
            self.waiters.retain(|waiter| waiter.id != id);
            self.wake();
        }
    }

    fn is_first(&self, ticket: Option<u64>, want: Want) -> bool {
        self.first(want.is_large()).is_none_or(|first| Some(first.id) == ticket)
    }
}

/// One core's memory for requests. Waiters are served first come, first served, large ones apart from the others.
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
        let capacity = total - request_bytes_max;
        Self::with(capacity, capacity / 8, request_bytes_max)
    }

    /// A budget of `capacity` bytes, and as many as `reserve` beside them for one at a time.
    #[must_use]
    pub fn with_reserve(capacity: usize, reserve: usize) -> Self {
        Self::with(capacity, 0, reserve)
    }

    fn with(capacity: usize, small: usize, reserve: usize) -> Self {
        let ledger = Ledger { capacity, small, used: 0, reserve, reserved: None };
        Self { state: Rc::new(RefCell::new(State { ledger, waiters: VecDeque::new(), next_id: 0 })) }
    }

    /// The largest request that a budget of `total` bytes can serve when `wanted` is configured.
    #[must_use]
    pub fn request_bytes_max(total: usize, wanted: usize) -> usize {
        wanted.min(total / 2)
    }

    /// Bytes admitted and not yet released, those of the reserve included.
    #[must_use]
    pub fn used(&self) -> usize {
        let ledger = &self.state.borrow().ledger;
        ledger.used + ledger.reserved.unwrap_or(0)
    }

    /// Bytes set aside for one request that must finish: the largest there can be.
    #[must_use]
    pub fn reserve(&self) -> usize {
        self.state.borrow().ledger.reserve
    }

    /// Whether more is in use than there is: see [`Permit::settle`].
    #[must_use]
    pub fn is_overdrawn(&self) -> bool {
        let ledger = &self.state.borrow().ledger;
        ledger.used > ledger.capacity
    }

    /// Whether the reserve is in use.
    #[must_use]
    pub fn reserve_taken(&self) -> bool {
        self.state.borrow().ledger.reserved.is_some()
    }

    /// Whether large requests wait for memory.
    #[must_use]
    pub fn large_ones_wait(&self) -> bool {
        self.state.borrow().first(true).is_some()
    }

    /// Whether somebody waits for memory.
    #[must_use]
    pub fn is_waited_for(&self) -> bool {
        !self.state.borrow().waiters.is_empty()
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
        (state.waiters.is_empty() && state.ledger.admit(bytes, false)).then(|| Permit {
            budget: self.clone(),
            bytes,
            reserved: None,
        })
    }

    /// Takes back ordinary bytes, and the reserve but for what is left of it in use.
    fn release(&self, bytes: usize, reserved_left: Option<usize>) {
        let mut state = self.state.borrow_mut();
        state.ledger.release(bytes);
        state.ledger.reserved = reserved_left;
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
        self.poll(cx, bytes, &mut permit, Want::Fresh).map(|()| permit)
    }

    /// Grows the permit of a request that has begun to arrive, into the reserve when nothing else is left.
    pub fn poll_grow(&mut self, cx: &Context<'_>, permit: &mut Permit, bytes: usize, want: Want) -> Poll<()> {
        self.poll(cx, bytes, permit, want)
    }

    fn poll(&mut self, cx: &Context<'_>, bytes: usize, permit: &mut Permit, want: Want) -> Poll<()> {
        let mut state = self.budget.state.borrow_mut();
        let reserve = if want.has_begun() { state.ledger.reserve } else { 0 };
        assert!(
            bytes <= state.ledger.room(want.is_large()).max(reserve),
            "a step of {bytes} bytes can never be admitted"
        );
        if let Some(reserved) = &mut permit.reserved {
            *reserved += bytes;
            state.ledger.grow_reserved(bytes);
        } else if state.is_first(self.ticket, want) && state.ledger.admit(bytes, want.is_large()) {
            permit.bytes += bytes;
        } else if bytes <= reserve && state.ledger.take_reserve(bytes) {
            permit.reserved = Some(bytes);
        } else {
            state.enqueue(&mut self.ticket, want, cx.waker());
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

    /// Whether it holds the reserve.
    #[must_use]
    pub const fn has_reserve(&self) -> bool {
        self.reserved.is_some()
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
        let held = self.reserved;
        let from_reserve = held.unwrap_or(0).min(bytes);
        self.reserved = held.map(|all| all - from_reserve).filter(|left| *left > 0);
        let ordinary = bytes - from_reserve;
        assert!(ordinary <= self.bytes, "gave back {bytes} bytes too many");
        self.bytes -= ordinary;
        self.returned(ordinary, held);
    }

    /// Stands for `bytes` from now on, whatever was admitted: they are there already. Fewer than before are given back.
    /// More are charged even when they do not fit, since waiting with them in hand would free nothing; whoever comes next
    /// waits instead. Leaves the reserve when there is ordinary room, and else keeps it, whatever its size: were what comes by
    /// the reserve charged elsewhere, one after the other could take what there is not.
    pub fn settle(&mut self, bytes: usize) {
        let (ordinary, held) = (self.bytes, self.reserved);
        {
            let ledger = &mut self.budget.state.borrow_mut().ledger;
            let fits = ledger.capacity.saturating_sub(ledger.used - ordinary) >= bytes;
            if held.is_none() || fits {
                ledger.used += bytes;
                (self.bytes, self.reserved) = (bytes, None);
            } else {
                (self.bytes, self.reserved) = (0, Some(bytes).filter(|left| *left > 0));
            }
        }
        self.returned(ordinary, held);
    }

    /// Tells the budget that this permit gave up `ordinary` bytes and changed what it `held` of the reserve.
    fn returned(&self, ordinary: usize, held: Option<usize>) {
        let mine = held.is_some();
        if ordinary > 0 || mine {
            let others = self.budget.state.borrow().ledger.reserved;
            self.budget.release(ordinary, if mine { self.reserved } else { others });
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.give_back(self.bytes());
    }
}

#[cfg(test)]
mod tests;
