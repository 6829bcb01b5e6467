//! What is to happen at a time, soonest first.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::Tick;

use super::consumer::Lapse;

/// A timer that is due.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Timer {
    /// A member (or one that was only given its id) was silent for its session timeout.
    Session { group: Arc<str>, member: Arc<str> },
    /// The first rebalance of an empty group waited `delay_ms`; it may wait `remaining_ms` more for newcomers.
    InitialJoin { group: Arc<str>, delay_ms: u64, remaining_ms: u64 },
    /// A rebalance waited long enough for members to join.
    Join { group: Arc<str> },
    /// A generation waited long enough for members to sync.
    Sync { group: Arc<str>, generation: i32 },
    /// A member of a group by the consumer protocol did not do in time what it was to do.
    Lapse { group: Arc<str>, member: Arc<str>, lapse: Lapse },
    /// Regular expressions are to be looked up.
    Resolve,
    /// Time to look for expired offsets; goes on behind the group named, if any.
    Expiry { after: Option<Arc<str>> },
}

/// Names a scheduled timer; never reused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct TimerKey(Tick, u64);

#[derive(Debug)]
pub(super) struct Timers {
    due: BTreeMap<TimerKey, Timer>,
    next: u64,
}

impl Timers {
    pub const fn new() -> Self {
        Self { due: BTreeMap::new(), next: 0 }
    }

    pub fn schedule(&mut self, at: Tick, timer: Timer) -> TimerKey {
        let key = TimerKey(at, self.next);
        self.next += 1;
        self.due.insert(key, timer);
        key
    }

    /// Forgets a timer; one that fired already is fine.
    pub fn cancel(&mut self, key: &mut Option<TimerKey>) {
        if let Some(key) = key.take() {
            self.due.remove(&key);
        }
    }

    pub fn pop_due(&mut self, now: Tick) -> Option<Timer> {
        let first = self.due.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }

    pub fn next_deadline(&self) -> Option<Tick> {
        self.due.first_key_value().map(|(key, _)| key.0)
    }

    pub fn clear(&mut self) {
        self.due.clear();
    }
}
