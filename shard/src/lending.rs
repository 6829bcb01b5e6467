//! Memory that answers to fetches hold: lent while there is some, given back when the socket took the answer or the
//! connection is gone. Without it every peer that takes no answers would keep as many as it may ask for.
//!
//! An answer has one loan, taken before its first byte is read and kept by the answer until it is sent. Nobody waits for a
//! loan while holding one, or for records, a clock or another core while holding one: so what is lent comes back, and
//! whoever waits gets its turn. See docs/adr/0015.
//!
//! A loan may end on another core than the one that lent, hence the atomics; nobody else writes them while things go well.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// What one core may lend.
#[derive(Debug)]
pub struct Lender {
    bytes_max: u64,
    lent: AtomicU64,
    pinned: AtomicU64,
    waiting: AtomicUsize,
}

impl Lender {
    /// Has `bytes_max` to lend.
    #[must_use]
    pub fn new(bytes_max: u64) -> Arc<Self> {
        Arc::new(Self {
            bytes_max,
            lent: AtomicU64::new(0),
            pinned: AtomicU64::new(0),
            waiting: AtomicUsize::new(0),
        })
    }

    /// Bytes lent now.
    #[must_use]
    pub fn lent(&self) -> u64 {
        self.lent.load(Ordering::Relaxed)
    }

    fn taken(&self) -> u64 {
        self.lent().saturating_add(self.pinned.load(Ordering::Relaxed))
    }

    /// Answers keep this much alive that nobody else needs any more: an answer of a hundred bytes may hold a whole frame.
    pub(crate) fn set_pinned(&self, bytes: u64) {
        self.pinned.store(bytes, Ordering::Relaxed);
    }

    /// Whether a fetch waits for memory.
    #[must_use]
    pub fn is_waited_for(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// How many loans of about this size there is room for.
    pub(crate) fn room_for(&self, bytes: u64) -> usize {
        let left = self.bytes_max.saturating_sub(self.taken());
        usize::try_from(left.div_ceil(bytes.max(1))).unwrap_or(usize::MAX)
    }

    pub(crate) fn set_waiting(&self, waiting: usize) {
        self.waiting.store(waiting, Ordering::Relaxed);
    }

    /// Lends unless everything is lent: the last loan may go beyond, else one that is large would never be.
    pub(crate) fn try_lend(self: &Arc<Self>, bytes: u64) -> Option<Loan> {
        (self.taken() < self.bytes_max).then(|| self.lend(bytes))
    }

    /// Lends in any case: for what is in memory already.
    pub(crate) fn lend(self: &Arc<Self>, bytes: u64) -> Loan {
        self.lent.fetch_add(bytes, Ordering::Relaxed);
        Loan { lender: Arc::clone(self), bytes }
    }
}

/// Bytes lent; given back when dropped.
#[derive(Debug)]
pub struct Loan {
    lender: Arc<Lender>,
    bytes: u64,
}

impl Loan {
    /// Is about this many bytes from now on.
    pub fn settle(&mut self, bytes: u64) {
        self.lender.lent.fetch_add(bytes, Ordering::Relaxed);
        self.lender.lent.fetch_sub(self.bytes, Ordering::Relaxed);
        self.bytes = bytes;
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        self.lender.lent.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::Lender;

    #[test]
    fn it_lends_while_there_is_some_and_gets_it_back() {
        let lender = Lender::new(100);
        let mut first = lender.try_lend(99).unwrap();
        let second = lender.try_lend(50).unwrap();
        assert!(lender.try_lend(1).is_none());
        assert_eq!((lender.lent(), lender.room_for(10)), (149, 0));
        first.settle(10);
        assert_eq!((lender.lent(), lender.room_for(10)), (60, 4));
        drop((first, second));
        assert_eq!(lender.lent(), 0);
        lender.set_pinned(100);
        assert!(lender.try_lend(1).is_none(), "what is kept alive is not there to lend");
    }
}
