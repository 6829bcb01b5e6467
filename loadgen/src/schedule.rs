//! When records should be sent, whatever keeps them from it.
//!
//! The open loop's honesty lies here: times come from the rate alone, and never move because an answer was late. What is
//! behind its time is sent as soon as it can be and counts from when it should have been.

use std::collections::VecDeque;

use crate::clock::Ns;
use crate::units::{real, whole};

/// How arrivals are spaced.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Arrival {
    /// At equal distances.
    Constant,
    /// At random ones, exponentially distributed: as from many independent sources.
    Poisson,
}

/// Intended times of the records of one batch, in order.
#[derive(Clone, PartialEq, Debug)]
pub enum Times {
    /// The first, nanoseconds from one to the next, and how many there are.
    Spaced {
        /// Intended time of the first.
        first: f64,
        /// From one to the next.
        step: f64,
        /// How many.
        count: u32,
    },
    /// Each.
    Listed(Vec<Ns>),
}

/// Records of one batch whose latencies are told apart. A batch of thousands is sent and answered as one, so its
/// latencies form a ramp from the first record's to the last's; this many steps of it are as good as all of them (each
/// record is within 1/128 of the ramp) and cost nothing beside sending the batch.
const STEPS_MAX: u32 = 64;

impl Times {
    /// All at once: what a closed loop intends.
    pub const fn together(at: f64, count: u32) -> Self {
        Self::Spaced { first: at, step: 0.0, count }
    }

    /// How many records there are.
    pub fn count(&self) -> u32 {
        match self {
            Self::Spaced { count, .. } => *count,
            Self::Listed(times) => u32::try_from(times.len()).unwrap_or(u32::MAX),
        }
    }

    /// When record `index` should have been sent.
    pub fn at(&self, index: u32) -> Ns {
        match self {
            Self::Spaced { first, step, .. } => whole(first + step * f64::from(index)).unwrap_or(0),
            Self::Listed(times) => times.get(index as usize).copied().unwrap_or(0),
        }
    }

    /// Times and how many records each stands for.
    pub fn steps(&self) -> impl Iterator<Item = (Ns, u64)> + '_ {
        let count = self.count();
        let together = matches!(self, Self::Spaced { step, .. } if *step == 0.0);
        let steps = if together { 1 } else { STEPS_MAX.min(count) };
        (0..steps).map(move |step| {
            let edge = |step: u32| u64::from(count) * u64::from(step) / u64::from(steps);
            let (from, to) = (edge(step), edge(step + 1));
            (self.at(u32::try_from(from.midpoint(to.max(1) - 1)).unwrap_or(0)), to - from)
        })
    }
}

/// The records one connection should send.
#[derive(Clone, Debug)]
pub struct Schedule {
    arrival: Arrival,
    /// Nanoseconds between records, on average.
    gap: f64,
    /// Of the next record that nobody took; with Poisson arrivals, of the one behind `ahead`.
    next: f64,
    /// Drawn and not taken.
    ahead: VecDeque<Ns>,
    random: fastrand::Rng,
}

impl Schedule {
    /// `rate` records a second from `first` on.
    pub fn new(arrival: Arrival, rate: f64, first: f64, seed: u64) -> Self {
        let random = fastrand::Rng::with_seed(seed);
        let mut schedule = Self { arrival, gap: 1e9 / rate, next: first, ahead: VecDeque::new(), random };
        if arrival == Arrival::Poisson {
            schedule.next += schedule.draw();
        }
        schedule
    }

    fn draw(&mut self) -> f64 {
        // 1 - [0, 1) is never zero.
        -(1.0 - self.random.f64()).ln() * self.gap
    }

    /// Draws until `wanted` records are known or one is later than `until`.
    fn look_ahead(&mut self, wanted: u32, until: f64) {
        while self.ahead.len() < wanted as usize && self.next <= until {
            self.ahead.push_back(whole(self.next).unwrap_or(Ns::MAX));
            self.next += self.draw();
        }
    }

    /// When the next record should be sent: the first whole nanosecond at which it is due.
    pub fn first(&self) -> Ns {
        self.ahead.front().copied().unwrap_or_else(|| whole(self.next.ceil()).unwrap_or(Ns::MAX))
    }

    /// When the next batch is complete: it has `count_max` records, or its first one has waited for `linger`.
    pub fn complete_at(&mut self, count_max: u32, linger: Ns) -> Ns {
        let expires = self.first().saturating_add(linger);
        let last = match self.arrival {
            Arrival::Constant => {
                // Rounded up: at this time the last record is due, not about to be.
                whole((self.next + self.gap * f64::from(count_max.max(1) - 1)).ceil()).unwrap_or(Ns::MAX)
            }
            Arrival::Poisson => {
                self.look_ahead(count_max, real(expires));
                let last = self.ahead.get(count_max.max(1) as usize - 1);
                last.copied().unwrap_or(Ns::MAX)
            }
        };
        last.min(expires)
    }

    /// Takes the records that are due at `now`, at most `count_max`.
    pub fn take(&mut self, now: Ns, count_max: u32) -> Times {
        match self.arrival {
            Arrival::Constant => {
                let count = self.due(now).min(u64::from(count_max));
                let count = u32::try_from(count).unwrap_or(count_max);
                let first = self.next;
                self.next += self.gap * f64::from(count);
                Times::Spaced { first, step: self.gap, count }
            }
            Arrival::Poisson => {
                self.look_ahead(count_max, real(now));
                let due = self.ahead.iter().take(count_max as usize).take_while(|at| **at <= now).count();
                Times::Listed(self.ahead.drain(..due).collect())
            }
        }
    }

    /// Records that should have been sent by `now` and were not taken; with Poisson arrivals, as far as can be told.
    pub fn due(&self, now: Ns) -> u64 {
        let drawn = self.ahead.iter().take_while(|at| **at <= now).count() as u64;
        let now = real(now);
        let rest =
            if now < self.next { 0 } else { whole((now - self.next) / self.gap).map_or(0, |gaps| gaps + 1) };
        drawn + rest
    }

    /// Goes on with another rate.
    pub fn set_rate(&mut self, rate: f64) {
        self.gap = 1e9 / rate;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constant_arrivals_are_where_they_should_be() {
        let mut schedule = Schedule::new(Arrival::Constant, 1000.0, 500.0, 1);
        assert_eq!(schedule.first(), 500);
        // Full after ten records: nine gaps of a millisecond.
        assert_eq!(schedule.complete_at(10, 1_000_000_000), 9_000_500);
        // Or when the first has waited.
        assert_eq!(schedule.complete_at(10, 2_500_000), 2_500_500);
        assert_eq!(schedule.complete_at(10, 0), 500);
        let times = schedule.take(2_500_500, 10);
        assert_eq!((times.count(), times.at(0), times.at(2)), (3, 500, 2_000_500));
        assert_eq!(schedule.first(), 3_000_500);
        // A second behind: what is due goes out in full batches, each record with its own time.
        assert_eq!(schedule.due(1_000_000_500), 998);
        let times = schedule.take(1_000_000_500, 10);
        assert_eq!((times.count(), times.at(0), times.at(9)), (10, 3_000_500, 12_000_500));
        assert_eq!(schedule.take(1_000_000_500, 5000).count(), 988);
        assert_eq!(schedule.take(1_000_000_500, 5000).count(), 0);
    }

    #[test]
    fn what_is_complete_is_due() {
        for rate in [3.0, 7.7, 12_345.6, 1e6 / 3.0] {
            let mut schedule = Schedule::new(Arrival::Constant, rate, 0.3, 1);
            for _ in 0..1000 {
                let at = schedule.complete_at(17, 1 << 62);
                assert_eq!(schedule.take(at, 17).count(), 17, "{rate}");
            }
        }
    }

    /// Whoever waits for it would wait for ever otherwise, at the end of a run.
    #[test]
    fn what_is_first_is_due() {
        for rate in [3.0, 7.7, 12_345.6, 180_490.5] {
            let mut schedule = Schedule::new(Arrival::Constant, rate, 0.3, 1);
            for _ in 0..1000 {
                let at = schedule.first();
                assert_eq!((schedule.due(at - 1), schedule.take(at, 1).count()), (0, 1), "{rate}");
            }
        }
    }

    #[test]
    fn poisson_arrivals_have_the_rate_and_the_spread() {
        let mut schedule = Schedule::new(Arrival::Poisson, 10_000.0, 0.0, 7);
        let mut times = Vec::new();
        let mut now = 0;
        while times.len() < 100_000 {
            now = schedule.complete_at(50, 1_000_000);
            let batch = schedule.take(now, 50);
            assert!(batch.count() >= 1, "a complete batch is not empty");
            times.extend((0..batch.count()).map(|i| batch.at(i)));
        }
        assert!(times.is_sorted() && times.iter().all(|at| *at <= now));
        let mean = real(*times.last().unwrap()) / times.len() as f64;
        assert!((mean - 100_000.0).abs() < 2_000.0, "{mean}");
        // Of an exponential distribution, 1/e of the gaps are above the mean.
        let long = times.windows(2).filter(|pair| pair[1] - pair[0] > 100_000).count();
        let share = long as f64 / times.len() as f64;
        assert!((share - (-1.0_f64).exp()).abs() < 0.01, "{share}");
    }

    #[test]
    fn steps_stand_for_every_record_once() {
        for count in [1, 2, 63, 64, 65, 1000, 4097] {
            let times = Times::Spaced { first: 1000.0, step: 10.0, count };
            let steps: Vec<_> = times.steps().collect();
            assert!(steps.len() <= 64 && steps.is_sorted());
            assert_eq!(steps.iter().map(|(_, records)| records).sum::<u64>(), u64::from(count));
            // The mean is kept, so nothing is shifted.
            let total: u64 = steps.iter().map(|(at, records)| at * records).sum();
            let exact: u64 = (0..count).map(|i| times.at(i)).sum();
            let off = (real(total) - real(exact)).abs() / f64::from(count);
            assert!(off <= 5.0, "{count} records are off by {off} ns");
        }
        assert_eq!(Times::together(5.0, 100).steps().collect::<Vec<_>>(), [(5, 100)]);
        assert_eq!(Times::Listed(vec![3, 9]).steps().collect::<Vec<_>>(), [(3, 1), (9, 1)]);
    }
}
