//! Waiting for a condition within one thread.

use std::cell::RefCell;
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
    level: std::cell::Cell<u64>,
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

/// One task at a time: held from [`Gate::enter`] to [`Gate::leave`].
#[derive(Default)]
pub struct Gate {
    held: std::cell::Cell<bool>,
    left: Signal,
}

impl Gate {
    /// Waits until nobody is inside and goes in.
    pub async fn enter(&self) {
        self.left.until(|| (!self.held.replace(true)).then_some(())).await;
    }

    /// The same until the turn is dropped.
    pub async fn turn(&self) -> Turn<'_> {
        self.enter().await;
        Turn(self)
    }

    /// Lets the next one in.
    pub fn leave(&self) {
        self.held.set(false);
        self.left.notify();
    }
}

/// Being inside of a [`Gate`].
pub struct Turn<'a>(&'a Gate);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.leave();
    }
}
