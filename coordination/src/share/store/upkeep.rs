//! What the coordinator does without being asked, so that its log stays bounded: it deletes the records before the oldest
//! snapshot that a start needs, and makes snapshots of what has none for long, as Kafka's does.

use std::ops::Bound::{Excluded, Unbounded};

use model::{Offset, Tick};

use super::Effect;
use super::machine::ShareStates;
use crate::share::limits::{SNAPSHOT_BYTES_PER_APPEND, SNAPSHOTS_PER_APPEND};
use crate::share::record::ShareKey;

/// What is to be done when.
#[derive(Debug)]
pub(super) struct Upkeep {
    /// There are share groups in this cluster.
    pub served: bool,
    /// Offset of the last tombstone: when nothing is kept, nobody needs what is before it.
    pub ended: Option<Offset>,
    /// When records are deleted the next time; not before all is loaded.
    prune_at: Option<Tick>,
    /// When quiet share partitions are looked for; not while that is going on.
    renew_at: Option<Tick>,
    /// The append with the last snapshots of the present round, and the last share partition that has one in it.
    round: Option<(u64, ShareKey)>,
}

impl Upkeep {
    pub const fn new() -> Self {
        Self { served: true, ended: None, prune_at: None, renew_at: None, round: None }
    }
}

impl ShareStates {
    /// All records are replayed.
    pub fn loaded(&mut self, now: Tick) {
        self.upkeep.prune_at = Some(now.after_ms(u64::from(self.settings.prune_interval_ms)));
        self.renew_later(now);
    }

    /// Whether there are share groups: without them the log stays as it is.
    pub const fn set_served(&mut self, served: bool) {
        self.upkeep.served = served;
    }

    /// When [`Input::Tick`](super::Input::Tick) is wanted.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Tick> {
        [self.upkeep.prune_at, self.upkeep.renew_at].into_iter().flatten().min()
    }

    /// Before this offset a start needs nothing of the log. Not known as long as something that is kept was only seen in
    /// the coordinator's own snapshot, or while nothing was ever kept.
    #[must_use]
    pub fn needed_from(&self) -> Option<Offset> {
        let mut kept = self.entries.values().filter(|entry| entry.state.is_some()).peekable();
        if kept.peek().is_none() {
            return self.upkeep.ended;
        }
        kept.map(|entry| entry.at).min().flatten()
    }

    pub(super) fn tick(&mut self, now: Tick) {
        let due = |at: Option<Tick>| at.is_some_and(|at| at <= now);
        if due(self.upkeep.prune_at) {
            self.upkeep.prune_at = Some(now.after_ms(u64::from(self.settings.prune_interval_ms)));
            if let Some(below) = self.needed_from().filter(|_| self.upkeep.served) {
                self.out.push(Effect::Prune { below });
            }
        }
        if due(self.upkeep.renew_at) {
            // Nothing is new since all of them were quiet: new snapshots would say the same.
            if self.upkeep.served && !self.entries.values().all(|entry| entry.is_cold()) {
                self.renew(now, None);
            } else {
                self.renew_later(now);
            }
        }
    }

    /// An append landed: if it was one with such snapshots, the next ones follow.
    pub(super) fn renewed(&mut self, now: Tick, append: u64, durable: bool) {
        if self.upkeep.round.as_ref().is_some_and(|(id, _)| *id == append)
            && let Some((_, last)) = self.upkeep.round.take()
        {
            if durable { self.renew(now, Some(last)) } else { self.renew_later(now) }
        }
    }

    /// Makes snapshots of quiet share partitions behind `last`, as many as go into one append.
    fn renew(&mut self, now: Tick, last: Option<ShareKey>) {
        let (mut keys, mut records, mut bytes) = (Vec::new(), Vec::new(), 0);
        let (wall, interval_ms) = (self.wall, self.settings.cold_snapshot_interval_ms);
        for (key, entry) in self.entries.range((last.map_or(Unbounded, Excluded), Unbounded)) {
            if let Some(record) = entry.renewed(key, wall, interval_ms) {
                bytes += entry.state.as_ref().map_or(0, |state| state.bytes());
                keys.push(key.clone());
                records.push(record);
            }
            if keys.len() >= SNAPSHOTS_PER_APPEND || bytes >= SNAPSHOT_BYTES_PER_APPEND {
                break;
            }
        }
        match keys.last().cloned() {
            Some(last) => {
                let id = self.append(keys, records, Vec::new());
                (self.upkeep.round, self.upkeep.renew_at) = (Some((id, last)), None);
            }
            None => self.renew_later(now),
        }
    }

    fn renew_later(&mut self, now: Tick) {
        self.upkeep.renew_at = Some(now.after_ms(u64::from(self.settings.cold_snapshot_interval_ms)));
    }
}
