//! Memory for answers to fetches: who reads waits for it in turn.

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};

use model::TopicPartition;
use model::limits::RESPONSE_PINNED_BYTES;
use storage::disk::Disk;

use crate::lending::{Lender, Loan};
use crate::shard::Shard;

/// A loan as large as most are when memory is short.
const LOAN_BYTES: u64 = RESPONSE_PINNED_BYTES as u64;

/// Where the memory of an answer comes from.
pub(super) enum Purse {
    /// Nothing was read yet.
    Empty,
    /// From here.
    Lent(Loan),
    /// From the core that asks.
    Paid,
}

impl<D: Disk> Shard<D> {
    pub(super) fn lender(&self) -> &Arc<Lender> {
        &self.lenders[self.core]
    }

    /// What a read with room for this much may bring: one batch may be larger.
    pub(crate) fn most_at_once(&self, id: TopicPartition, room: usize) -> u64 {
        let image = self.image();
        let batch = image.topic_by_id(id.topic).map_or(0, |topic| topic.settings.max_message_bytes);
        (room as u64).max(u64::from(batch).min(self.store.plan().batch_bytes_max()))
    }

    /// Waits in turn until there is memory for about this many bytes of an answer.
    pub async fn borrow_memory(self: &Rc<Self>, bytes: u64) -> Loan {
        let mut place = Place { shard: Rc::clone(self), turn: None };
        poll_fn(|context| {
            if self.stopping.get() {
                return Poll::Ready(self.lender().lend(bytes));
            }
            let may = place.turn.is_some() || self.borrowers.borrow().is_empty();
            if let Some(loan) = may.then(|| self.lender().try_lend(bytes)).flatten() {
                return Poll::Ready(loan);
            }
            place.wait(context.waker());
            Poll::Pending
        })
        .await
    }

    /// Wakes as many reads as there is memory for: when a loan became less here, and now and then, since loans end on any core.
    pub fn lend_again(&self) {
        let borrowers = self.borrowers.borrow();
        if borrowers.is_empty() {
            return;
        }
        let count = if self.stopping.get() { usize::MAX } else { self.lender().room_for(LOAN_BYTES) };
        borrowers.values().take(count).for_each(Waker::wake_by_ref);
    }
}

/// A read's place among those that wait for memory; free when dropped.
struct Place<D: Disk> {
    shard: Rc<Shard<D>>,
    turn: Option<u64>,
}

impl<D: Disk> Place<D> {
    fn wait(&mut self, waker: &Waker) {
        let next = &self.shard.next_borrower;
        let turn = *self.turn.get_or_insert_with(|| next.replace(next.get() + 1));
        let mut borrowers = self.shard.borrowers.borrow_mut();
        borrowers.insert(turn, waker.clone());
        self.shard.lender().set_waiting(borrowers.len());
    }
}

impl<D: Disk> Drop for Place<D> {
    fn drop(&mut self) {
        if let Some(turn) = self.turn {
            let mut borrowers = self.shard.borrowers.borrow_mut();
            borrowers.remove(&turn);
            self.shard.lender().set_waiting(borrowers.len());
        }
    }
}
