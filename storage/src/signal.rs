//! Waiting for a condition within one thread.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Poll, Waker};

/// Wakes every task that waits for a condition, each of which then looks again.
#[derive(Default)]
pub struct Signal {
    wakers: RefCell<Vec<Waker>>,
}

impl Signal {
    /// Something changed: every waiter looks at its condition again.
    pub fn notify(&self) {
        for waker in self.wakers.take() {
            waker.wake();
        }
    }

    /// Waits until `condition` gives a value. It is called once per notification.
    pub async fn until<T>(&self, mut condition: impl FnMut() -> Option<T>) -> T {
        poll_fn(|context| match condition() {
            Some(value) => Poll::Ready(value),
            None => {
                let mut wakers = self.wakers.borrow_mut();
                // A task that waits for several signals is polled by each of them: once is enough in every list.
                if !wakers.iter().any(|waker| waker.will_wake(context.waker())) {
                    wakers.push(context.waker().clone());
                }
                Poll::Pending
            }
        })
        .await
    }
}

/// Waiters for a number that only grows: each is woken once, when its number is reached.
#[derive(Default)]
pub struct Tide {
    level: Cell<u64>,
    waiting: RefCell<Vec<(u64, Waker)>>,
}

impl Tide {
    /// The number reached.
    pub fn level(&self) -> u64 {
        self.level.get()
    }

    /// Raises the level and wakes those whose number it reaches.
    pub fn raise(&self, level: u64) {
        debug_assert!(level >= self.level.get());
        self.level.set(level);
        let mut ready = Vec::new();
        self.waiting.borrow_mut().retain(|(wanted, waker)| {
            let reached = *wanted <= level;
            if reached {
                ready.push(waker.clone());
            }
            !reached
        });
        ready.into_iter().for_each(Waker::wake);
    }

    /// Waits until the level is at least `wanted`.
    pub async fn reached(&self, wanted: u64) {
        poll_fn(|context| {
            if self.level.get() >= wanted {
                return Poll::Ready(());
            }
            self.waiting.borrow_mut().push((wanted, context.waker().clone()));
            Poll::Pending
        })
        .await;
    }
}

/// So many tasks at a time.
pub struct Turns {
    left: Cell<usize>,
    freed: Signal,
}

impl Turns {
    /// `count` at a time.
    #[must_use]
    pub fn new(count: usize) -> Self {
        Self { left: Cell::new(count), freed: Signal::default() }
    }

    /// Waits for a turn; it lasts until it is dropped.
    pub async fn turn(&self) -> OneOf<'_> {
        self.freed.until(|| self.left.get().checked_sub(1).map(|left| self.left.set(left))).await;
        OneOf(self)
    }
}

/// One of [`Turns`].
pub struct OneOf<'a>(&'a Turns);

impl Drop for OneOf<'_> {
    fn drop(&mut self) {
        self.0.left.set(self.0.left.get() + 1);
        self.0.freed.notify();
    }
}

/// One task at a time, first come, first served: held from [`Gate::enter`] to [`Gate::leave`].
#[derive(Default)]
pub struct Gate {
    /// Tickets and whom to wake; the front one is inside or may go in.
    line: RefCell<VecDeque<(u64, Waker)>>,
    next: Cell<u64>,
}

impl Gate {
    /// Waits until nobody is inside or came before, and goes in.
    pub async fn enter(&self) {
        // The place in the line stays, until `leave`.
        std::mem::forget(self.turn().await);
    }

    /// The same until the turn is dropped.
    pub async fn turn(&self) -> Turn<'_> {
        let turn = Turn { gate: self, ticket: self.next.replace(self.next.get() + 1) };
        poll_fn(|context| {
            let mut line = self.line.borrow_mut();
            match line.iter_mut().find(|(ticket, _)| *ticket == turn.ticket) {
                Some((_, waker)) => waker.clone_from(context.waker()),
                None => line.push_back((turn.ticket, context.waker().clone())),
            }
            let first = line.front().is_some_and(|(ticket, _)| *ticket == turn.ticket);
            if first { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        turn
    }

    /// Lets the next one in.
    pub fn leave(&self) {
        let next = {
            let mut line = self.line.borrow_mut();
            line.pop_front();
            line.front().map(|(_, waker)| waker.clone())
        };
        next.into_iter().for_each(Waker::wake);
    }
}

/// Being inside of a [`Gate`], or in the line before it.
pub struct Turn<'a> {
    gate: &'a Gate,
    ticket: u64,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let first = self.gate.line.borrow().front().is_some_and(|(ticket, _)| *ticket == self.ticket);
        if first {
            self.gate.leave();
        } else {
            self.gate.line.borrow_mut().retain(|(ticket, _)| *ticket != self.ticket);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::{Pin, pin};
    use std::task::{Context, Poll, Waker};

    use super::{Gate, Turns};

    fn poll<T>(future: Pin<&mut impl Future<Output = T>>) -> Option<T> {
        match future.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => Some(value),
            Poll::Pending => None,
        }
    }

    #[test]
    fn who_leaves_the_gate_comes_again_behind_those_who_wait() {
        let gate = Gate::default();
        let mine = poll(pin!(gate.turn())).unwrap();
        let mut other = pin!(gate.turn());
        assert!(poll(other.as_mut()).is_none());
        drop(mine);
        let mut again = pin!(gate.turn());
        assert!(poll(again.as_mut()).is_none(), "the other came first");
        let others = poll(other).unwrap();
        assert!(poll(again.as_mut()).is_none());
        drop(others);
        assert!(poll(again).is_some());
    }

    #[test]
    fn so_many_have_a_turn_and_who_drops_it_lets_another_in() {
        let turns = Turns::new(2);
        let first = poll(pin!(turns.turn())).unwrap();
        let second = poll(pin!(turns.turn())).unwrap();
        let mut third = pin!(turns.turn());
        assert!(poll(third.as_mut()).is_none());
        drop(first);
        let third = poll(third).unwrap();
        assert!(poll(pin!(turns.turn())).is_none());
        drop((second, third));
        assert!(poll(pin!(turns.turn())).is_some());
    }

    #[test]
    fn who_gives_up_waiting_holds_nobody_up() {
        let gate = Gate::default();
        assert!(poll(pin!(gate.enter())).is_some());
        let mut waiting = Box::pin(gate.turn());
        let mut called = Box::pin(gate.turn());
        let mut last = pin!(gate.turn());
        assert!(poll(waiting.as_mut()).is_none() && poll(called.as_mut()).is_none());
        assert!(poll(last.as_mut()).is_none());
        drop(waiting);
        gate.leave();
        assert!(poll(last.as_mut()).is_none());
        drop(called);
        assert!(poll(last).is_some());
    }
}
