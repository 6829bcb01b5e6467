//! The report: what `--json` writes and `compare` reads.
//!
//! Times are seconds from the start of the run, latencies microseconds, rates per second, MB 10^6 bytes. Changing the
//! meaning of a field, or removing one, takes a new [`VERSION`]; adding one takes a `#[serde(default)]`.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::distribution::{Distribution, Points};
use super::format::per;
use super::hdr_log::LogEntry;
use super::health::Health;
use super::interval::{Measure, Verification};
use super::knee::Sweep;
use super::server::ServerUse;
use super::shares::Shares;

/// What stands in `format`.
pub const FORMAT: &str = "millrace-loadgen report";
/// What stands in `version` of the reports this program writes; the newest it reads.
pub const VERSION: u32 = 1;

/// Why a report could not be read or written. The text names the file.
#[derive(Debug, PartialEq)]
pub struct ReportError(pub String);

impl fmt::Display for ReportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ReportError {}

/// Everything about one run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Always [`FORMAT`].
    pub format: String,
    /// Version of this format.
    pub version: u32,
    /// Program and version that made it.
    pub generator: String,
    /// The subcommand.
    pub mode: String,
    /// What the run is called in tables and legends.
    pub label: String,
    /// When it began, in UTC, as RFC 3339.
    pub started: String,
    /// The settings in the order to show them.
    pub settings: Vec<(String, String)>,
    /// The measure that the health verdict and the knee go by.
    pub primary: Measure,
    /// Records per second that the schedule asked for.
    pub rate: Option<f64>,
    /// Length of the warm-up.
    pub warm_up_s: f64,
    /// The run without its warm-up.
    pub whole: Whole,
    /// Every interval, warm-up included.
    pub seconds: Vec<Second>,
    /// The steps of a sweep; this report is then of its knee, or of its last step without one.
    #[serde(default)]
    pub sweep: Option<Sweep>,
    /// Histograms of every second, for the HDR log; only in the process that measured them.
    #[serde(skip)]
    pub log: Vec<LogEntry>,
}

/// The run without its warm-up.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Whole {
    /// How long was measured.
    pub length_s: f64,
    /// Records, bytes, requests.
    pub traffic: Traffic,
    /// Errors by name.
    pub errors: BTreeMap<String, u64>,
    /// Errors during the warm-up, which are in none of the other numbers.
    pub errors_in_warm_up: u64,
    /// What checking found, warm-up included: a record that is lost then is lost.
    pub verification: Verification,
    /// Latencies that were measured.
    pub latencies: BTreeMap<Measure, Distribution>,
    /// How late requests started.
    pub late: Option<Distribution>,
    /// How the generator itself did.
    pub health: Health,
    /// Intervals in which the generator was the bottleneck, whatever the whole run says.
    pub seconds_bottlenecked: u32,
    /// What the server's process used.
    pub server: Option<ServerTotals>,
}

/// What passed between generator and server. Bytes are those of keys and values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Traffic {
    /// Records acknowledged.
    pub records_sent: u64,
    /// Their bytes.
    pub bytes_sent: u64,
    /// Records received.
    pub records_received: u64,
    /// Their bytes.
    pub bytes_received: u64,
    /// Requests answered.
    pub requests: u64,
    /// Starts that the schedule asked for.
    pub intended: u64,
    /// What share consumers were given, which is in what was received too, and what they said of it.
    #[serde(default, skip_serializing_if = "Shares::is_none")]
    pub shares: Shares,
}

impl Traffic {
    /// Adds other traffic.
    pub fn add(&mut self, other: &Traffic) {
        self.records_sent += other.records_sent;
        self.bytes_sent += other.bytes_sent;
        self.records_received += other.records_received;
        self.bytes_received += other.bytes_received;
        self.requests += other.requests;
        self.intended += other.intended;
        self.shares.add(&other.shares);
    }

    /// Bytes in both directions.
    pub fn bytes_moved(&self) -> u64 {
        self.bytes_sent + self.bytes_received
    }
}

/// One interval, a second as a rule; the last one may be shorter.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Second {
    /// Its end.
    pub at_s: f64,
    /// Its length.
    pub length_s: f64,
    /// Whether it is kept out of the whole.
    pub warm_up: bool,
    /// Records, bytes, requests.
    pub traffic: Traffic,
    /// Errors of all names.
    pub errors: u64,
    /// Latencies that were measured.
    pub latencies: BTreeMap<Measure, Points>,
    /// How the generator itself did.
    pub health: Health,
    /// States at the end, such as open connections.
    pub gauges: BTreeMap<String, u64>,
    /// What the server's process used; `None` without one, or once it was gone.
    pub server: Option<ServerUse>,
}

/// What the server's process used while measured, in all.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ServerTotals {
    /// Sums of all intervals; memory and threads are the last ones.
    pub used: ServerUse,
    /// Length of the intervals in which it was seen.
    pub seen_s: f64,
    /// Bytes of records moved, in both directions, in those.
    pub bytes_moved: u64,
    /// Most resident memory at the end of an interval, in bytes.
    pub resident_max: u64,
    /// Most threads.
    pub threads_max: u64,
    /// When the process was found to be gone.
    pub gone_at_s: Option<f64>,
}

impl Second {
    /// Counts of this interval as a rate per second.
    pub fn rate(&self, count: u64) -> f64 {
        per(count as f64, self.length_s)
    }
}

impl Whole {
    /// Counts of the run as a rate per second.
    pub fn rate(&self, count: u64) -> f64 {
        per(count as f64, self.length_s)
    }

    /// Errors of all names.
    pub fn errors_total(&self) -> u64 {
        self.errors.values().sum()
    }

    /// Records that were sent, or received where nothing was sent: what a rate asks for.
    pub fn records(&self) -> u64 {
        match self.traffic.records_sent {
            0 => self.traffic.records_received,
            sent => sent,
        }
    }
}

impl ServerTotals {
    /// CPU as a part of one core.
    pub fn cpu(&self) -> f64 {
        per(self.used.cpu_s(), self.seen_s)
    }

    /// Something for each 10^9 bytes moved; `None` if nothing was.
    pub fn per_gb(&self, amount: f64) -> Option<f64> {
        (self.bytes_moved > 0).then(|| amount / (self.bytes_moved as f64 / 1e9))
    }

    /// Adds an interval.
    pub fn add(&mut self, used: &ServerUse, length_s: f64, bytes_moved: u64) {
        let sum = |total: Option<u64>, part: Option<u64>| match (total, part) {
            (None, None) => None,
            (total, part) => Some(total.unwrap_or(0) + part.unwrap_or(0)),
        };
        self.seen_s += length_s;
        self.bytes_moved += bytes_moved;
        self.resident_max = self.resident_max.max(used.resident);
        self.threads_max = self.threads_max.max(used.threads);
        let total = &mut self.used;
        total.cpu_user_s += used.cpu_user_s;
        total.cpu_system_s += used.cpu_system_s;
        total.resident = used.resident;
        total.threads = used.threads;
        total.switches_voluntary += used.switches_voluntary;
        total.switches_involuntary += used.switches_involuntary;
        total.disk_read = sum(total.disk_read, used.disk_read);
        total.disk_written = sum(total.disk_written, used.disk_written);
    }
}

impl Report {
    /// The distribution the run is about, if anything was measured.
    pub fn primary(&self) -> Option<&Distribution> {
        self.whole.latencies.get(&self.primary)
    }
}
