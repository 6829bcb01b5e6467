//! What the outside may know of a connection and tell it: one per connection, shared by its task and its core's server.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::Waker;
use std::time::Instant;

use crate::traffic::{Traffic, add};
use crate::watch::{Sample, Verdict};

/// Why a connection is ended from outside.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Abort {
    /// Looking at it now and then came to this.
    Watched(Verdict),
    /// The broker stops, and its patience is over.
    Stopping,
}

impl Abort {
    pub(crate) const fn reason(self) -> &'static str {
        match self {
            Self::Watched(verdict) => verdict.reason(),
            Self::Stopping => "shutting down",
        }
    }
}

/// The handle.
#[derive(Debug)]
pub(crate) struct Control {
    traffic: Rc<Traffic>,
    draining: Cell<bool>,
    abort: Cell<Option<Abort>>,
    sample: Cell<Sample>,
    /// Until when the sample is held, in case it is.
    held_until: Cell<Option<Instant>>,
    waker: RefCell<Option<Waker>>,
}

impl Control {
    pub(crate) fn new(traffic: Rc<Traffic>) -> Self {
        Self {
            traffic,
            draining: Cell::new(false),
            abort: Cell::new(None),
            sample: Cell::new(Sample::default()),
            held_until: Cell::new(None),
            waker: RefCell::new(None),
        }
    }

    /// Reads nothing more, answers what is in flight, then ends.
    pub(crate) fn drain(&self) {
        self.draining.set(true);
        self.wake();
    }

    /// Ends at once.
    pub(crate) fn abort(&self, reason: Abort) {
        self.abort.set(Some(reason));
        self.wake();
    }

    pub(crate) fn draining(&self) -> bool {
        self.draining.get()
    }

    pub(crate) fn aborted(&self) -> Option<Abort> {
        self.abort.get()
    }

    pub(crate) fn sample(&self) -> Sample {
        let held = self.held_until.get().is_some_and(|until| Instant::now() < until);
        Sample { held, ..self.sample.get() }
    }

    /// Remembers whom to wake.
    pub(crate) fn register(&self, waker: &Waker) {
        let mut slot = self.waker.borrow_mut();
        match &mut *slot {
            Some(known) => known.clone_from(waker),
            empty => *empty = Some(waker.clone()),
        }
    }

    fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }

    fn change(&self, change: impl FnOnce(&mut Sample)) {
        let mut sample = self.sample.get();
        change(&mut sample);
        self.sample.set(sample);
    }

    pub(crate) fn count_received(&self, bytes: usize) {
        self.change(|sample| sample.received += bytes as u64);
        add(&self.traffic.received_bytes, bytes as u64);
    }

    pub(crate) fn count_sent(&self, bytes: usize) {
        self.change(|sample| sample.sent += bytes as u64);
        add(&self.traffic.sent_bytes, bytes as u64);
    }

    pub(crate) const fn traffic(&self) -> &Rc<Traffic> {
        &self.traffic
    }

    pub(crate) fn count_frame(&self) {
        self.change(|sample| sample.frames += 1);
        add(&self.traffic.requests, 1);
    }

    pub(crate) fn set_partial(&self, partial: bool) {
        self.change(|sample| sample.partial = partial);
    }

    pub(crate) fn set_busy(&self, busy: bool, unsent: bool, held_until: Option<Instant>) {
        self.change(|sample| {
            sample.busy = busy;
            sample.unsent = unsent;
        });
        self.held_until.set(held_until);
    }
}
