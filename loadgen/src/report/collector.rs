//! Merges what executors tell into seconds and a whole run.

use std::time::{Duration, SystemTime};

use hdrhistogram::Histogram;

use super::distribution::{Distribution, Points, pack};
use super::format::per;
use super::hdr_log::LogEntry;
use super::health::Health;
use super::interval::{Interval, Measure};
use super::live::Line;
use super::model::{FORMAT, Report, Second, ServerTotals, Traffic, VERSION, Whole};
use super::server::{ServerSampler, ServerUse};

/// When a run ends, for the progress bar.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Expected {
    /// After this long from the start, warm-up included.
    Duration(Duration),
    /// After this many records sent, or received where nothing is sent.
    Count(u64),
    /// When somebody stops it.
    Open,
}

/// What a collector knows from the start.
#[derive(Debug)]
pub struct Setup {
    /// The subcommand.
    pub mode: String,
    /// What the run is called in tables and legends; the mode if empty.
    pub label: String,
    /// The settings as a person would give them, in the order to show them.
    pub settings: Vec<(String, String)>,
    /// The one measure of the live line, of the health verdict and of the knee.
    pub primary: Measure,
    /// Records per second the schedule asks for; `None` without a schedule.
    pub rate: Option<f64>,
    /// What begins before this is shown, but kept out of the whole run's numbers.
    pub warm_up: Duration,
    /// When it will end.
    pub expected: Expected,
    /// When it began.
    pub started: SystemTime,
    /// The server's process.
    pub server: Option<ServerSampler>,
}

/// Merges intervals while a run goes on. What it does once a second (milliseconds, some of them reading `/proc`) is
/// better done on a thread that measures nothing.
#[derive(Debug)]
pub struct Collector {
    setup: Setup,
    /// End of the last interval.
    until: Duration,
    /// Everything after the warm-up.
    measured: Interval,
    whole: Whole,
    /// CPU of each executor after the warm-up, in microseconds.
    cpu_us: Vec<u64>,
    seconds: Vec<Second>,
    log: Vec<LogEntry>,
    /// Records since the start, warm-up included, as a progress bar counts them.
    sent: u64,
    received: u64,
    server_gone: Option<f64>,
}

impl Collector {
    /// Of a run that begins now.
    pub fn new(mut setup: Setup) -> Self {
        if setup.label.is_empty() {
            setup.label = setup.mode.clone();
        }
        Collector {
            setup,
            until: Duration::ZERO,
            measured: Interval::new(),
            whole: Whole::default(),
            cpu_us: Vec::new(),
            seconds: Vec::new(),
            log: Vec::new(),
            sent: 0,
            received: 0,
            server_gone: None,
        }
    }

    /// Takes what each executor measured until `at`, counted from the start, since the last call: one interval each, in
    /// the same order every time, an empty one from an executor that has ended. Called when each second ends, as it samples
    /// the server right then, and once more with what is left at the end.
    pub fn second(&mut self, at: Duration, intervals: Vec<Interval>) -> Line {
        let from = self.until;
        let length = at.saturating_sub(from);
        self.until = self.until.max(at);
        let warm_up = self.is_warm_up(from, length);
        let server = self.sample(at);
        let busiest = intervals.iter().map(|interval| interval.cpu_us).max().unwrap_or(0);

        let mut merged = Interval::new();
        for interval in &intervals {
            merged.merge(interval);
        }
        let mut second = self.describe(&merged, at, length, busiest);
        second.warm_up = warm_up;
        second.server = server;
        self.sent += merged.records_sent;
        self.received += merged.records_received;
        self.keep_log(&merged, from, length);
        self.whole.verification.add(&merged.verification);
        if warm_up {
            self.whole.errors_in_warm_up += merged.errors_total();
        } else {
            self.count(&merged, &second, &intervals);
        }
        let line = self.line(&second);
        self.seconds.push(second);
        line
    }

    /// Adds what was found after the last second, by reading everything back: verification and errors. The time that took,
    /// its traffic and what it cost the server are not part of the run.
    pub fn found_afterwards(&mut self, found: &Interval) {
        self.whole.verification.add(&found.verification);
        for (name, count) in &found.errors {
            self.measured.error(name, *count);
        }
    }

    /// Ends the run.
    pub fn finish(self) -> Report {
        let Collector { setup, measured, mut whole, cpu_us, seconds, log, server_gone, .. } = self;
        for measure in Measure::ALL {
            let distribution = measured.latencies[measure as usize].as_deref().and_then(Distribution::of);
            if let Some(distribution) = distribution {
                whole.latencies.insert(measure, distribution);
            }
        }
        whole.late = measured.late.as_deref().and_then(Distribution::of);
        whole.errors = measured.errors;
        let busiest = cpu_us.iter().copied().max().unwrap_or(0);
        whole.health = Health::judge(
            whole.late.as_ref().map(|late| late.p99),
            whole.latencies.get(&setup.primary).map(|latency| latency.p99),
            cpu_part(busiest, whole.length_s),
        );
        if let Some(server) = &mut whole.server {
            server.gone_at_s = server_gone;
        }
        Report {
            format: FORMAT.to_owned(),
            version: VERSION,
            generator: concat!("millrace-loadgen ", env!("CARGO_PKG_VERSION")).to_owned(),
            mode: setup.mode,
            label: setup.label,
            started: humantime::format_rfc3339_millis(setup.started).to_string(),
            settings: setup.settings,
            primary: setup.primary,
            rate: setup.rate.filter(|rate| rate.is_finite()),
            warm_up_s: setup.warm_up.as_secs_f64(),
            whole,
            seconds,
            sweep: None,
            log,
        }
    }

    /// An interval that begins before the end of the warm-up belongs to it. Ticks come a little early or late: a tenth of
    /// an interval more or less does not cost a whole second of measurement.
    fn is_warm_up(&self, from: Duration, length: Duration) -> bool {
        from + length / 10 < self.setup.warm_up
    }

    fn sample(&mut self, at: Duration) -> Option<ServerUse> {
        if self.server_gone.is_some() {
            return None;
        }
        match self.setup.server.as_mut()?.sample() {
            Ok(used) => Some(used),
            // The sampler has read this process before: what it cannot read now has ended.
            Err(_) => {
                self.server_gone = Some(at.as_secs_f64());
                self.whole.server.get_or_insert_default();
                None
            }
        }
    }

    /// One interval as it is kept and shown.
    fn describe(&self, merged: &Interval, at: Duration, length: Duration, busiest_us: u64) -> Second {
        let mut second = Second {
            at_s: at.as_secs_f64(),
            length_s: length.as_secs_f64(),
            traffic: traffic(merged),
            errors: merged.errors_total(),
            ..Second::default()
        };
        for measure in Measure::ALL {
            let points = merged.latencies[measure as usize].as_deref().and_then(Points::of);
            if let Some(points) = points {
                second.latencies.insert(measure, points);
            }
        }
        for (name, value) in &merged.gauges {
            second.gauges.insert((*name).to_owned(), *value);
        }
        let late = merged.late.as_deref().filter(|late| !late.is_empty());
        second.health = Health::judge(
            late.map(|late| late.value_at_quantile(0.99)),
            second.latencies.get(&self.setup.primary).map(|points| points.p99),
            cpu_part(busiest_us, second.length_s),
        );
        second
    }

    fn keep_log(&mut self, merged: &Interval, from: Duration, length: Duration) {
        for measure in Measure::ALL {
            let histogram: Option<&Histogram<u64>> = merged.latencies[measure as usize].as_deref();
            if let Some(histogram) = histogram.filter(|histogram| !histogram.is_empty()) {
                self.log.push(LogEntry { from, length, measure, packed: pack(histogram) });
            }
        }
    }

    /// Adds an interval to the whole run.
    fn count(&mut self, merged: &Interval, second: &Second, intervals: &[Interval]) {
        self.measured.merge(merged);
        let whole = &mut self.whole;
        whole.length_s += second.length_s;
        whole.traffic.add(&second.traffic);
        whole.seconds_bottlenecked += u32::from(second.health.bottleneck.is_some());
        if let Some(used) = &second.server {
            let totals = whole.server.get_or_insert_with(ServerTotals::default);
            totals.add(used, second.length_s, second.traffic.bytes_moved());
        }
        if self.cpu_us.len() < intervals.len() {
            self.cpu_us.resize(intervals.len(), 0);
        }
        for (total, interval) in self.cpu_us.iter_mut().zip(intervals) {
            *total += interval.cpu_us;
        }
    }

    fn line(&self, second: &Second) -> Line {
        let progress = match self.setup.expected {
            Expected::Duration(whole) => Some(per(second.at_s, whole.as_secs_f64())),
            Expected::Count(count) => {
                let done = if self.sent > 0 { self.sent } else { self.received };
                Some(per(done as f64, count as f64))
            }
            Expected::Open => None,
        };
        Line {
            second: second.clone(),
            primary: self.setup.primary,
            progress: progress.map(|part| part.clamp(0.0, 1.0)),
            server_gone: self.server_gone.is_some(),
        }
    }
}

fn traffic(interval: &Interval) -> Traffic {
    Traffic {
        records_sent: interval.records_sent,
        bytes_sent: interval.bytes_sent,
        records_received: interval.records_received,
        bytes_received: interval.bytes_received,
        requests: interval.requests,
        intended: interval.intended,
        shares: interval.shares,
    }
}

fn cpu_part(us: u64, seconds: f64) -> f64 {
    per(us as f64 / 1e6, seconds)
}

#[cfg(test)]
#[path = "collector_tests.rs"]
mod tests;
