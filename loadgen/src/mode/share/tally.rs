//! What a share group is through with, over all its members in this process.
//!
//! A record is through when it was accepted or rejected and the broker has said so. Each of this run's own records has to come to that
//! once; which member does it, and after how many deliveries, does not matter. Order is promised by the log alone: records of a
//! producer have ascending offsets, in whatever order they are delivered.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::records::{Held, Own};
use crate::clock::Ns;
use crate::report::Verification;
use crate::spans::Spans;
use crate::verify::{Ledger, missing};

/// Stretches remembered of each producer and partition.
const STRETCHES_MAX: usize = 65_536;

/// See the module.
#[derive(Debug)]
pub struct Tally {
    known: Mutex<Known>,
    /// When something came last.
    heard: AtomicU64,
    /// Members that are not done.
    members: AtomicUsize,
}

#[derive(Debug, Default)]
struct Known {
    /// Offsets that are through, by partition.
    through: HashMap<usize, Spans>,
    /// This run's own records, by partition and producer.
    own: HashMap<(usize, u32), Track>,
}

/// What came of one producer's records in one partition.
#[derive(Debug, Default)]
struct Track {
    /// Numbers that are through.
    through: Spans,
    /// Numbers of which nobody knows: the connection broke before an answer came.
    unsure: Spans,
    /// Where those that are in order lie in the log, by the number of the first.
    order: BTreeMap<u64, Stretch>,
}

/// Records in a row by number, between which others' records may lie in the log.
#[derive(Clone, Copy, Debug)]
struct Stretch {
    /// The number behind the last.
    end: u64,
    /// Offset of the first.
    first_offset: u64,
    /// Offset of the last.
    last_offset: u64,
}

impl Track {
    fn see(&mut self, own: &Own, found: &mut Verification) {
        let twice = self.through.add(own.sequence, own.sequence + own.count);
        found.repeated += twice;
        if twice == 0 {
            found.reordered += self.misplaced(own);
        }
    }

    /// How many lie on the wrong side of their neighbours by number.
    fn misplaced(&mut self, own: &Own) -> u64 {
        let (mut first, last_offset) = (own.sequence, own.offset + own.count - 1);
        let mut stretch = Stretch { end: first + own.count, first_offset: own.offset, last_offset };
        let pair = |(number, stretch): (&u64, &Stretch)| (*number, *stretch);
        let before = self.order.range(..first).next_back().map(pair);
        let after = self.order.range(first..).next().map(pair);
        if before.is_some_and(|(_, before)| before.last_offset >= own.offset)
            || after.is_some_and(|(_, after)| after.first_offset <= last_offset)
        {
            return own.count;
        }
        if let Some((number, after)) = after
            && number == stretch.end
        {
            self.order.remove(&number);
            (stretch.end, stretch.last_offset) = (after.end, after.last_offset);
        }
        if let Some((number, before)) = before
            && before.end == first
        {
            (first, stretch.first_offset) = (number, before.first_offset);
        }
        // Beyond, order is looked at no more: records by the thousand are missing then.
        if self.order.len() < STRETCHES_MAX || first != own.sequence {
            self.order.insert(first, stretch);
        }
        0
    }
}

impl Tally {
    /// Of so many members.
    pub fn new(members: u32) -> Self {
        Self { known: Mutex::default(), heard: 0.into(), members: (members as usize).into() }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The broker has taken what was said of these.
    pub fn confirmed(&self, place: usize, runs: &[Held], found: &mut Verification) {
        let mut known = self.known();
        let through = known.through.entry(place).or_default();
        for (first, end) in runs.iter().flat_map(Held::through) {
            through.add(first, end);
        }
        for own in runs.iter().flat_map(|run| &run.own) {
            known.own.entry((place, own.producer)).or_default().see(own, found);
        }
    }

    /// Whether the broker has taken it, nobody knows.
    pub fn unsure(&self, place: usize, runs: &[Held]) {
        let mut known = self.known();
        for own in runs.iter().flat_map(|run| &run.own) {
            let track = known.own.entry((place, own.producer)).or_default();
            track.unsure.add(own.sequence, own.sequence + own.count);
        }
    }

    /// Something came.
    pub fn hear(&self, now: Ns) {
        self.heard.fetch_max(now, Ordering::Relaxed);
    }

    /// For how long nothing has come.
    pub fn quiet(&self, now: Ns) -> Ns {
        now.saturating_sub(self.heard.load(Ordering::Relaxed))
    }

    /// Whether the group is through with everything between these offsets, by partition; a partition that ends before it starts
    /// has nothing.
    pub fn covers(&self, spans: impl Iterator<Item = (u64, u64)>) -> bool {
        let known = self.known();
        let mut spans = spans.enumerate().filter(|(_, (start, end))| start < end);
        spans.all(|(place, (start, end))| {
            known.through.get(&place).is_some_and(|through| through.covers(start, end))
        })
    }

    /// How many records between these offsets the group is not through with.
    pub fn left(&self, spans: impl Iterator<Item = (u64, u64)>) -> u64 {
        let (known, nothing) = (self.known(), Spans::default());
        let left = spans.enumerate().map(|(place, (start, end))| {
            let through = known.through.get(&place).unwrap_or(&nothing);
            missing(&through.gaps(end), &[(0, start)])
        });
        left.sum()
    }

    /// A member is done; whether it was the last.
    pub fn leave(&self) -> bool {
        self.members.fetch_sub(1, Ordering::AcqRel) == 1
    }

    /// Records that were sent and acknowledged to their producers, and with which the group never came to an end.
    pub fn lost(&self, ledger: &Ledger) -> u64 {
        let known = self.known();
        let nothing = Track::default();
        let lost = ledger.iter().map(|(key, sent)| {
            let track = known.own.get(key).unwrap_or(&nothing);
            let mut excused = track.unsure.clone();
            for (first, end) in &sent.unacknowledged {
                excused.add(*first, *end);
            }
            missing(&track.through.gaps(sent.count), &excused.runs().collect::<Vec<_>>())
        });
        lost.sum()
    }
}

#[cfg(test)]
mod tests {
    use super::super::records::{ACCEPT, RELEASE};
    use super::*;
    use crate::verify::Sent;

    /// Accepted records from `offset` on, with numbers from `sequence` on.
    fn held(offset: u64, sequence: u64, count: u64) -> Held {
        Held {
            first: i64::try_from(offset).unwrap(),
            kinds: vec![ACCEPT; usize::try_from(count).unwrap()],
            own: vec![Own { offset, producer: 1, sequence, count }],
        }
    }

    fn seen(runs: &[(u64, u64, u64)]) -> (Tally, Verification) {
        let (tally, mut found) = (Tally::new(2), Verification::default());
        for (offset, sequence, count) in runs {
            tally.confirmed(0, &[held(*offset, *sequence, *count)], &mut found);
        }
        (tally, found)
    }

    fn sent(count: u64, unacknowledged: &[(u64, u64)]) -> Ledger {
        Ledger::from([((0, 1), Sent { count, unacknowledged: unacknowledged.to_vec() })])
    }

    #[test]
    fn any_order_of_delivery_is_fine() {
        let (tally, found) = seen(&[(100, 0, 10), (130, 30, 10), (120, 20, 10), (110, 10, 10)]);
        assert!(found.is_clean(), "{found:?}");
        assert_eq!((tally.lost(&sent(40, &[])), tally.lost(&sent(43, &[(41, 42)]))), (0, 2));
        assert!(tally.covers([(100, 140)].into_iter()) && !tally.covers([(99, 140)].into_iter()));
        assert_eq!(tally.left([(90, 150), (0, 7)].into_iter()), 10 + 10 + 7);
        // Nothing is to be had from the first partition, and nothing came of the second.
        assert!(tally.covers([(5, 5), (9, 2)].into_iter()) && !tally.covers([(5, 5), (0, 1)].into_iter()));
    }

    #[test]
    fn what_comes_again_after_it_was_through_is_repeated() {
        let (_, found) = seen(&[(100, 0, 10), (110, 10, 10), (105, 5, 10)]);
        assert_eq!((found.repeated, found.reordered), (10, 0));
        // At other offsets too.
        let (_, found) = seen(&[(100, 0, 10), (110, 0, 10), (120, 10, 10)]);
        assert_eq!((found.repeated, found.reordered), (10, 0));
    }

    #[test]
    fn a_log_out_of_order_is_seen_in_every_order_of_delivery() {
        for runs in [
            [(100, 10, 10), (110, 0, 10), (120, 20, 10)],
            [(110, 0, 10), (100, 10, 10), (120, 20, 10)],
            [(120, 20, 10), (110, 0, 10), (100, 10, 10)],
        ] {
            let (tally, found) = seen(&runs);
            assert_eq!((found.reordered, found.repeated), (10, 0), "{runs:?}");
            assert_eq!(tally.lost(&sent(30, &[])), 0);
        }
    }

    #[test]
    fn what_nobody_knows_is_not_lost() {
        let (tally, mut found) = seen(&[(100, 0, 10)]);
        tally.unsure(0, &[held(110, 10, 10)]);
        assert_eq!((tally.lost(&sent(30, &[])), tally.lost(&sent(30, &[(15, 25)]))), (10, 5));
        // Should it come again, it is through then.
        tally.confirmed(0, &[held(110, 10, 5)], &mut found);
        assert!(found.is_clean());
        assert_eq!(tally.lost(&sent(30, &[])), 10);
    }

    #[test]
    fn what_was_released_is_not_through() {
        let (tally, mut found) = (Tally::new(1), Verification::default());
        let released = Held { first: 0, kinds: vec![ACCEPT, RELEASE, ACCEPT], own: Vec::new() };
        tally.confirmed(0, &[released], &mut found);
        assert!(!tally.covers([(0, 3)].into_iter()) && tally.covers([(2, 3)].into_iter()));
        tally.confirmed(0, &[held(1, 1, 1)], &mut found);
        assert!(tally.covers([(0, 3)].into_iter()) && tally.leave());
        assert_eq!(tally.lost(&sent(3, &[])), 2);
    }
}
