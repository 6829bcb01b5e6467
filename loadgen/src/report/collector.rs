//! Merges what executors tell into seconds and a whole run.

use std::time::{Duration, SystemTime};

use crate::report::{Interval, Line, Measure, Report, ServerSampler};

/// When a run ends, for the progress bar.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Expected {
    /// After this long from the start, warm-up included.
    Duration(Duration),
    /// After this many records sent, or received when nothing is sent.
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
    /// What ends before this is shown, but kept out of the whole run's numbers.
    pub warm_up: Duration,
    /// When it will end.
    pub expected: Expected,
    /// When it began.
    pub started: SystemTime,
    /// The server's process.
    pub server: Option<ServerSampler>,
}

/// Merges intervals while a run goes on.
#[derive(Debug)]
pub struct Collector {
    setup: Setup,
}

impl Collector {
    /// Of a run that begins now.
    pub fn new(setup: Setup) -> Self {
        Collector { setup }
    }

    /// Takes what each executor measured (one interval each) until `at`, counted from the start, since the last call.
    /// Called once a second, and once more with what is left at the end. Samples the server.
    pub fn second(&mut self, at: Duration, intervals: Vec<Interval>) -> Line {
        let _ = (&self.setup, intervals);
        Line { at }
    }

    /// Ends the run.
    pub fn finish(self) -> Report {
        Report { version: 1 }
    }
}
