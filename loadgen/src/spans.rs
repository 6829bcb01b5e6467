//! A set of whole numbers that come in runs, in any order.

use std::collections::BTreeMap;

/// Runs remembered. What comes beyond, and touches none of them, is forgotten: a broker that leaves so many holes has lost
/// records beyond doubt.
const SPANS_MAX: usize = 65_536;

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Spans {
    /// First to end; no two touch.
    runs: BTreeMap<u64, u64>,
}

impl Spans {
    /// Adds the numbers from `first` to below `end`; how many of them were there.
    pub fn add(&mut self, first: u64, end: u64) -> u64 {
        if first >= end {
            return 0;
        }
        let (mut from, mut to, mut twice) = (first, end, 0);
        while let Some((&start, &stop)) = self.runs.range(..=to).next_back()
            && stop >= from
        {
            twice += stop.min(end).saturating_sub(start.max(first));
            self.runs.remove(&start);
            (from, to) = (from.min(start), to.max(stop));
        }
        if self.runs.len() < SPANS_MAX {
            self.runs.insert(from, to);
        }
        twice
    }

    /// Whether all numbers from `first` to below `end` are there.
    pub fn covers(&self, first: u64, end: u64) -> bool {
        first >= end || self.runs.range(..=first).next_back().is_some_and(|(_, stop)| *stop >= end)
    }

    /// Numbers below `end` that are not there: first to end.
    pub fn gaps(&self, end: u64) -> Vec<(u64, u64)> {
        let (mut gaps, mut next) = (Vec::new(), 0);
        for (&start, &stop) in self.runs.range(..end) {
            if next < start {
                gaps.push((next, start));
            }
            next = stop;
        }
        if next < end {
            gaps.push((next, end));
        }
        gaps
    }

    /// The runs, in order: first to end.
    pub fn runs(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.runs.iter().map(|(start, stop)| (*start, *stop))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(runs: &[(u64, u64)]) -> (Spans, Vec<u64>) {
        let mut spans = Spans::default();
        let twice = runs.iter().map(|(first, end)| spans.add(*first, *end)).collect();
        (spans, twice)
    }

    #[test]
    fn runs_that_touch_are_one() {
        let (spans, twice) = of(&[(5, 10), (20, 30), (10, 20), (0, 5)]);
        assert_eq!((spans.runs().collect::<Vec<_>>(), twice), (vec![(0, 30)], vec![0; 4]));
        assert!(spans.covers(0, 30) && spans.covers(7, 7) && !spans.covers(0, 31) && spans.covers(40, 40));
    }

    #[test]
    fn what_comes_again_is_counted() {
        let (spans, twice) = of(&[(5, 10), (20, 30), (8, 22), (0, 40), (3, 4)]);
        assert_eq!(twice, [0, 0, 4, 25, 1]);
        assert_eq!(spans.runs().collect::<Vec<_>>(), [(0, 40)]);
        assert_eq!(of(&[(7, 7)]).0.runs().count(), 0);
    }

    #[test]
    fn gaps_are_what_is_missing() {
        let (spans, _) = of(&[(2, 4), (6, 9)]);
        assert_eq!(spans.gaps(12), [(0, 2), (4, 6), (9, 12)]);
        assert_eq!((spans.gaps(5), spans.gaps(7)), (vec![(0, 2), (4, 5)], vec![(0, 2), (4, 6)]));
        assert_eq!((spans.gaps(0), of(&[]).0.gaps(3)), (vec![], vec![(0, 3)]));
    }

    #[test]
    fn any_order_gives_the_same_set() {
        let mut random = fastrand::Rng::with_seed(3);
        for _ in 0..200 {
            let (mut spans, mut set) = (Spans::default(), std::collections::BTreeSet::new());
            for _ in 0..40 {
                let first = random.u64(..100);
                let end = first + random.u64(..12);
                let twice = (first..end).filter(|number| !set.insert(*number)).count();
                assert_eq!(spans.add(first, end), twice as u64);
            }
            let gaps = spans.gaps(120);
            let missing = |number: &u64| gaps.iter().any(|gap| (gap.0..gap.1).contains(number));
            assert!((0..120).all(|number| missing(&number) != set.contains(&number)));
        }
    }
}
