//! What one executor measured since it last told.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::shares::Shares;

/// Largest latency that is told apart, in microseconds: ten minutes. Longer ones count as this.
pub const LATENCY_US_MAX: u64 = 600_000_000;
/// Significant decimal digits of every histogram.
pub const DIGITS: u8 = 3;

/// What a latency is of. The order is that of pages and tables, and of [`Interval::latencies`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// A record from its intended send to its acknowledgement.
    Produce,
    /// A record from its intended send to its receipt by a consumer.
    EndToEnd,
    /// A fetch from its request to its answer.
    Fetch,
    /// A record's acknowledgement by a share consumer from the request that says it to its answer.
    Acknowledge,
    /// A connection from its intended start to its first answer.
    Connect,
    /// A rebalance from what triggered it to every member being stable.
    Rebalance,
}

impl Measure {
    /// How many there are.
    pub const COUNT: usize = 6;
    /// All of them, in order.
    pub const ALL: [Measure; Self::COUNT] = [
        Measure::Produce,
        Measure::EndToEnd,
        Measure::Fetch,
        Measure::Acknowledge,
        Measure::Connect,
        Measure::Rebalance,
    ];

    /// What a person reads.
    pub fn title(self) -> &'static str {
        match self {
            Measure::Produce => "produce",
            Measure::EndToEnd => "end to end",
            Measure::Fetch => "fetch",
            Measure::Acknowledge => "acknowledge",
            Measure::Connect => "connect",
            Measure::Rebalance => "rebalance",
        }
    }

    /// One word, for tags of the HDR log and keys of a page.
    pub fn tag(self) -> &'static str {
        match self {
            Measure::Produce => "produce",
            Measure::EndToEnd => "end_to_end",
            Measure::Fetch => "fetch",
            Measure::Acknowledge => "acknowledge",
            Measure::Connect => "connect",
            Measure::Rebalance => "rebalance",
        }
    }
}

/// What checking the received records found. All are counts of records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verification {
    /// Looked at.
    pub checked: u64,
    /// Acknowledged and never received.
    pub lost: u64,
    /// Received more than once.
    pub repeated: u64,
    /// Received behind a later one of the same producer and partition.
    pub reordered: u64,
    /// Checksum or contents wrong.
    pub damaged: u64,
    /// Received but not sent with `--verify`, so not checked: others' records in the same topics. Nothing wrong.
    #[serde(default)]
    pub foreign: u64,
}

impl Verification {
    /// Adds what another one found.
    pub fn add(&mut self, other: &Verification) {
        self.checked += other.checked;
        self.lost += other.lost;
        self.repeated += other.repeated;
        self.reordered += other.reordered;
        self.damaged += other.damaged;
        self.foreign += other.foreign;
    }

    /// Whether nothing wrong was found.
    pub fn is_clean(&self) -> bool {
        self.lost == 0 && self.repeated == 0 && self.reordered == 0 && self.damaged == 0
    }
}

/// What one executor measured since it last told. One per executor and second; `Send`.
#[derive(Clone, Debug)]
pub struct Interval {
    /// Records acknowledged.
    pub records_sent: u64,
    /// Their keys and values, in bytes.
    pub bytes_sent: u64,
    /// Records received.
    pub records_received: u64,
    /// Their keys and values, in bytes.
    pub bytes_received: u64,
    /// What share consumers were given and said.
    pub shares: Shares,
    /// Requests answered, of every kind.
    pub requests: u64,
    /// Records (or other things to start) that the schedule asked for in this time; 0 without a schedule.
    pub intended: u64,
    /// Errors by Kafka's name of them, or by what the socket said.
    pub errors: BTreeMap<String, u64>,
    /// Microseconds by [`Measure`]; `None` until the first one.
    pub latencies: [Option<Box<Histogram<u64>>>; Measure::COUNT],
    /// How long after its intended start a request was handed to the socket although nothing but the generator kept
    /// it, in microseconds. `None` without a schedule.
    pub late: Option<Box<Histogram<u64>>>,
    /// CPU time of the executor's threads, in microseconds.
    pub cpu_us: u64,
    /// What checking found.
    pub verification: Verification,
    /// States at the end of the interval, such as open connections or lag; summed over executors.
    pub gauges: BTreeMap<&'static str, u64>,
}

/// An empty histogram of the one shape that all of ours have.
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_US_MAX, DIGITS).expect("the bounds are constants")
}

/// A duration as whole microseconds.
pub fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

impl Default for Interval {
    fn default() -> Self {
        Self::new()
    }
}

impl Interval {
    /// Nothing measured yet.
    pub fn new() -> Self {
        Interval {
            records_sent: 0,
            bytes_sent: 0,
            records_received: 0,
            bytes_received: 0,
            shares: Shares::default(),
            requests: 0,
            intended: 0,
            errors: BTreeMap::new(),
            latencies: [const { None }; Measure::COUNT],
            late: None,
            cpu_us: 0,
            verification: Verification::default(),
            gauges: BTreeMap::new(),
        }
    }

    /// Counts `count` latencies of `us` microseconds. Values above [`LATENCY_US_MAX`] count as that.
    pub fn record_n(&mut self, measure: Measure, us: u64, count: u64) {
        let slot = &mut self.latencies[measure as usize];
        slot.get_or_insert_with(|| Box::new(histogram())).saturating_record_n(us, count);
    }

    /// Counts one start that was late by `late`, or punctual with zero.
    pub fn started_late(&mut self, late: Duration) {
        self.late.get_or_insert_with(|| Box::new(histogram())).saturating_record(micros(late));
    }

    /// Counts errors of one name.
    pub fn error(&mut self, name: &str, count: u64) {
        match self.errors.get_mut(name) {
            Some(errors) => *errors += count,
            None => {
                self.errors.insert(name.to_owned(), count);
            }
        }
    }

    /// All errors together.
    pub fn errors_total(&self) -> u64 {
        self.errors.values().sum()
    }

    /// What was measured so far, leaving nothing behind.
    pub fn take(&mut self) -> Interval {
        std::mem::take(self)
    }

    /// Adds what another executor measured in the same time.
    pub fn merge(&mut self, other: &Interval) {
        self.records_sent += other.records_sent;
        self.bytes_sent += other.bytes_sent;
        self.records_received += other.records_received;
        self.bytes_received += other.bytes_received;
        self.shares.add(&other.shares);
        self.requests += other.requests;
        self.intended += other.intended;
        for (name, count) in &other.errors {
            self.error(name, *count);
        }
        for (mine, theirs) in self.latencies.iter_mut().zip(&other.latencies) {
            merge_histogram(mine, theirs.as_deref());
        }
        merge_histogram(&mut self.late, other.late.as_deref());
        self.cpu_us += other.cpu_us;
        self.verification.add(&other.verification);
        for (name, value) in &other.gauges {
            *self.gauges.entry(name).or_default() += value;
        }
    }
}

/// Adds `theirs`, if there is any.
pub fn merge_histogram(mine: &mut Option<Box<Histogram<u64>>>, theirs: Option<&Histogram<u64>>) {
    if let Some(theirs) = theirs {
        let mine = mine.get_or_insert_with(|| Box::new(histogram()));
        // A histogram made elsewhere may reach higher than ours: those count as our highest.
        if mine.add(theirs).is_err() {
            for value in theirs.iter_recorded() {
                mine.saturating_record_n(value.value_iterated_to(), value.count_at_value());
            }
        }
    }
}
