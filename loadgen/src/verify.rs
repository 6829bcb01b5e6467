//! Which records came, came again, came late or never came.

use std::collections::{BTreeMap, HashMap};

use crate::report::Verification;

/// Gaps remembered per producer and partition. A broker that leaves more has lost records beyond doubt; what fills a
/// forgotten gap counts as repeated.
const GAPS_MAX: usize = 65_536;

/// What came of one producer's records in one partition: numbers from 0, each once and in order.
#[derive(Clone, Debug, Default)]
pub struct Track {
    /// The number behind the highest seen.
    next: u64,
    /// Numbers below `next` that did not come: first to end.
    gaps: BTreeMap<u64, u64>,
    /// Gaps that were forgotten, in records.
    forgotten: u64,
}

impl Track {
    /// Nothing came yet; `first` is the first number that can.
    pub fn starting_at(first: u64) -> Self {
        Self { next: first, ..Self::default() }
    }

    /// A record came.
    pub fn see(&mut self, number: u64, found: &mut Verification) {
        if number == self.next {
            self.next += 1;
        } else if number > self.next {
            if self.gaps.len() >= GAPS_MAX {
                self.forgotten += number - self.next;
            } else {
                self.gaps.insert(self.next, number);
            }
            self.next = number + 1;
        } else if let Some((&first, &end)) = self.gaps.range(..=number).next_back()
            && number < end
        {
            found.reordered += 1;
            self.gaps.remove(&first);
            if first < number {
                self.gaps.insert(first, number);
            }
            if number + 1 < end {
                self.gaps.insert(number + 1, end);
            }
        } else {
            found.repeated += 1;
        }
    }

    /// Records that never came of those below `end`, but for the numbers in `excused`: never acknowledged.
    pub fn lost(&self, end: u64, excused: &[(u64, u64)]) -> u64 {
        let mut gaps: Vec<(u64, u64)> = self.gaps.iter().map(|(first, end)| (*first, *end)).collect();
        if self.next < end {
            gaps.push((self.next, end));
        }
        self.forgotten + missing(&gaps, excused)
    }

    /// Lost as far as can be told without knowing how many there should be.
    pub fn lost_so_far(&self) -> u64 {
        self.lost(0, &[])
    }
}

/// Numbers in `gaps` that are not in `excused`: both first to end, and neither overlaps itself.
pub fn missing(gaps: &[(u64, u64)], excused: &[(u64, u64)]) -> u64 {
    let missing: u64 = gaps.iter().map(|(first, end)| end - first).sum();
    let forgiven: u64 = gaps
        .iter()
        .flat_map(|gap| {
            excused.iter().map(move |excuse| gap.1.min(excuse.1).saturating_sub(gap.0.max(excuse.0)))
        })
        .sum();
    missing - forgiven
}

/// What one producer says of its records in one partition when it is done.
#[derive(Clone, Debug, Default)]
pub struct Sent {
    /// Records sent, numbered from 0.
    pub count: u64,
    /// Numbers, first to end, that were never acknowledged: they may be there or not.
    pub unacknowledged: Vec<(u64, u64)>,
}

/// All producers' statements of a run, by (partition, producer).
pub type Ledger = HashMap<(usize, u32), Sent>;

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(numbers: impl IntoIterator<Item = u64>) -> (Track, Verification) {
        let (mut track, mut found) = (Track::default(), Verification::default());
        numbers.into_iter().for_each(|number| track.see(number, &mut found));
        (track, found)
    }

    #[test]
    fn order_is_clean() {
        let (track, found) = seen(0..100);
        assert!(found.is_clean());
        assert_eq!((track.lost(100, &[]), track.lost(103, &[])), (0, 3));
    }

    #[test]
    fn loss_is_what_never_comes() {
        let (track, found) = seen([0, 1, 4, 5, 9]);
        assert!(found.is_clean());
        assert_eq!((track.lost_so_far(), track.lost(12, &[])), (5, 7));
        assert_eq!(track.lost(12, &[(2, 4), (8, 11)]), 3);
    }

    #[test]
    fn repetition_and_reordering_are_told_apart() {
        let (track, found) = seen([0, 2, 1, 3, 3, 0]);
        assert_eq!((found.reordered, found.repeated, track.lost(4, &[])), (1, 2, 0));
        let (track, found) = seen([9, 5, 0, 8, 5]);
        assert_eq!((found.reordered, found.repeated), (3, 1));
        assert_eq!(track.lost_so_far(), 6);
    }

    #[test]
    fn too_many_gaps_are_loss() {
        let (track, _) = seen((0..2 * GAPS_MAX as u64 + 20).map(|i| 2 * i + 1));
        assert_eq!(track.lost_so_far(), 2 * GAPS_MAX as u64 + 20);
    }
}
