//! What the connections of one core count: plain integers, read by whoever reports them.

use std::cell::Cell;

/// Counters of one core's connections, all since its start but for `open` and `answer_bytes`.
#[derive(Debug)]
pub struct Traffic {
    /// Connections there are now.
    pub open: Cell<u64>,
    /// Connections accepted.
    pub accepted: Cell<u64>,
    /// Connections closed at once because their address had its share.
    pub refused: Cell<u64>,
    /// Connections closed because of what they sent or because a request's handler failed.
    pub faulted: Cell<u64>,
    /// Requests handed to the service.
    pub requests: Cell<u64>,
    /// Bytes received.
    pub received_bytes: Cell<u64>,
    /// Bytes sent.
    pub sent_bytes: Cell<u64>,
    /// Bytes of the answers that are known and not sent to the end, but for those accounted for elsewhere.
    pub answer_bytes: Cell<u64>,
    /// More of them than this are too many.
    answer_bytes_max: u64,
}

impl Traffic {
    /// Nothing yet; `answer_bytes` should stay below this.
    #[must_use]
    pub fn new(answer_bytes_max: u64) -> Self {
        Self {
            open: Cell::default(),
            accepted: Cell::default(),
            refused: Cell::default(),
            faulted: Cell::default(),
            requests: Cell::default(),
            received_bytes: Cell::default(),
            sent_bytes: Cell::default(),
            answer_bytes: Cell::default(),
            answer_bytes_max,
        }
    }

    /// Whether answers take more than they should.
    #[must_use]
    pub fn is_crowded(&self) -> bool {
        self.answer_bytes.get() > self.answer_bytes_max
    }
}

/// Adds to a counter.
pub(crate) fn add(counter: &Cell<u64>, n: u64) {
    counter.set(counter.get() + n);
}
