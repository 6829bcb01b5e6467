//! What the connections of one core count: plain integers, read by whoever reports them.

use std::cell::Cell;

/// Counters of one core's connections, all since its start but for `open` and `answer_bytes`.
#[derive(Debug, Default)]
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
    /// Bytes of the answers that are known and not sent to the end, but for those with a permit of their own.
    pub answer_bytes: Cell<u64>,
}

/// Adds to a counter.
pub(crate) fn add(counter: &Cell<u64>, n: u64) {
    counter.set(counter.get() + n);
}
