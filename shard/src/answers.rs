//! Slots for answers that are on their way: reserved before the question is asked, so that whoever answers never waits.
//!
//! A slot is free again when its answer arrives and not when somebody takes it: one who holds an answer from one core
//! while asking another must not keep others from asking.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use futures_lite::future::poll_fn;

/// Slot of an answer, in the asking core's table for the core it asked.
pub(crate) type Slot = usize;

/// Where one answer is put, and who waits for it.
struct Delivery<A> {
    answer: Cell<Option<A>>,
    waker: Cell<Option<Waker>>,
}

/// The answer to one question. Dropping it gives up waiting, not the question.
pub struct Answer<A>(Rc<Delivery<A>>);

/// Puts one answer where it is waited for.
pub(crate) struct Deliver<A>(Rc<Delivery<A>>);

impl<A> Answer<A> {
    /// An answer to come, and the way to give it.
    pub(crate) fn later() -> (Deliver<A>, Self) {
        let delivery = Rc::new(Delivery { answer: Cell::new(None), waker: Cell::new(None) });
        (Deliver(delivery.clone()), Self(delivery))
    }

    /// An answer that is known.
    pub(crate) fn now(answer: A) -> Self {
        Self(Rc::new(Delivery { answer: Cell::new(Some(answer)), waker: Cell::new(None) }))
    }
}

impl<A> Deliver<A> {
    pub(crate) fn put(self, answer: A) {
        self.0.answer.set(Some(answer));
        if let Some(waker) = self.0.waker.take() {
            waker.wake();
        }
    }
}

impl<A> Future for Answer<A> {
    type Output = A;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<A> {
        if let Some(answer) = self.0.answer.take() {
            return Poll::Ready(answer);
        }
        self.0.waker.set(Some(cx.waker().clone()));
        Poll::Pending
    }
}

/// The slots for answers from one other core.
pub(crate) struct Answers<A> {
    /// Slots at most; they are made as they are needed.
    depth: usize,
    slots: RefCell<Vec<Option<Deliver<A>>>>,
    free: RefCell<Vec<Slot>>,
    /// Who waits for a slot, first come, first served.
    waiting: RefCell<VecDeque<(u64, Waker)>>,
    next_waiter: Cell<u64>,
}

impl<A> Answers<A> {
    pub(crate) fn new(depth: usize) -> Self {
        Self {
            depth,
            slots: RefCell::default(),
            free: RefCell::default(),
            waiting: RefCell::default(),
            next_waiter: Cell::new(0),
        }
    }

    /// Waits for a slot, in the order of the waits.
    pub(crate) async fn reserve(&self) -> (Slot, Answer<A>) {
        let mut place = Place { answers: self, id: None };
        poll_fn(|cx| place.poll(cx)).await
    }

    fn try_reserve(&self) -> Option<(Slot, Answer<A>)> {
        let free = self.free.borrow_mut().pop();
        let mut slots = self.slots.borrow_mut();
        let slot = free.or_else(|| (slots.len() < self.depth).then_some(slots.len()))?;
        let (deliver, answer) = Answer::later();
        if slot == slots.len() {
            slots.push(None);
        }
        slots[slot] = Some(deliver);
        Some((slot, answer))
    }

    /// The answer of one slot has arrived; the slot is free.
    pub(crate) fn complete(&self, slot: Slot, answer: A) {
        let deliver = self.slots.borrow_mut()[slot].take().expect("an answer to what was asked");
        self.free.borrow_mut().push(slot);
        self.wake_first();
        deliver.put(answer);
    }

    fn wake_first(&self) {
        if let Some((_, waker)) = self.waiting.borrow().front() {
            waker.wake_by_ref();
        }
    }
}

/// A place in the queue for a slot; left when dropped.
struct Place<'a, A> {
    answers: &'a Answers<A>,
    id: Option<u64>,
}

impl<A> Place<'_, A> {
    fn poll(&mut self, cx: &Context<'_>) -> Poll<(Slot, Answer<A>)> {
        let first = self.answers.waiting.borrow().front().map(|(id, _)| *id);
        if (first.is_none() || first == self.id)
            && let Some(reserved) = self.answers.try_reserve()
        {
            return Poll::Ready(reserved);
        }
        let mut waiting = self.answers.waiting.borrow_mut();
        match waiting.iter_mut().find(|(id, _)| Some(*id) == self.id) {
            Some((_, waker)) => waker.clone_from(cx.waker()),
            None => {
                let id = self.answers.next_waiter.replace(self.answers.next_waiter.get() + 1);
                waiting.push_back((id, cx.waker().clone()));
                self.id = Some(id);
            }
        }
        Poll::Pending
    }
}

impl<A> Drop for Place<'_, A> {
    fn drop(&mut self) {
        if let Some(mine) = self.id {
            self.answers.waiting.borrow_mut().retain(|(id, _)| *id != mine);
            // There may be more free slots than one, and only the first was told.
            self.answers.wake_first();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use futures_lite::future::poll_once;

    use super::Answers;

    #[test]
    fn slots_are_given_in_the_order_of_the_waits() {
        let answers: Answers<u32> = Answers::new(1);
        let cx = &mut Context::from_waker(Waker::noop());
        let Poll::Ready((slot, mut first)) = pin!(answers.reserve()).poll(cx) else {
            panic!("a slot is free")
        };
        let mut second = Box::pin(answers.reserve());
        let mut third = Box::pin(answers.reserve());
        assert!(second.as_mut().poll(cx).is_pending() && third.as_mut().poll(cx).is_pending());
        answers.complete(slot, 7);
        assert!(third.as_mut().poll(cx).is_pending());
        drop(second);
        assert!(third.as_mut().poll(cx).is_ready(), "one that gives up must not block the queue");
        assert_eq!(
            futures_lite::future::block_on(poll_once(&mut first)),
            Some(7),
            "though nobody took it before"
        );
    }
}
