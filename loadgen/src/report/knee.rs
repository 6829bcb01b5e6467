//! The search of `sweep` for the highest rate that keeps its promise.

use std::time::Duration;

use crate::report::Report;

/// What to search for.
#[derive(Clone, Debug)]
pub struct KneeSettings {
    /// First rate, in records per second.
    pub start: f64,
    /// Factor from one step to the next until one fails.
    pub growth: f64,
    /// Highest p99 of the primary measure that passes.
    pub p99_limit: Duration,
    /// The knee is known when the lowest failing rate is at most this part above the highest passing one.
    pub precision: f64,
    /// Most steps.
    pub steps_max: usize,
}

/// How one step went.
#[derive(Clone, Debug)]
pub struct StepResult {
    /// Records per second asked for.
    pub asked: f64,
    /// Records per second that were acknowledged.
    pub got: f64,
    /// p99 of the primary measure.
    pub p99: Duration,
    /// Errors of all kinds, and records that verification found wrong.
    pub errors: u64,
    /// Why the generator was the bottleneck, if it was.
    pub bottleneck: Option<String>,
}

impl StepResult {
    /// Of a step that asked for `asked` records per second.
    pub fn of(asked: f64, _report: &Report) -> Self {
        StepResult { asked, got: 0.0, p99: Duration::ZERO, errors: 0, bottleneck: None }
    }
}

/// The search: geometric rise, then bisection.
#[derive(Debug)]
pub struct Knee {
    settings: KneeSettings,
}

impl Knee {
    /// Nothing tried yet.
    pub fn new(settings: KneeSettings) -> Self {
        Knee { settings }
    }

    /// The rate to try next, given how the last one went; `None` when the search is over.
    pub fn next(&mut self, last: Option<&StepResult>) -> Option<f64> {
        last.is_none().then_some(self.settings.start)
    }

    /// The table of steps and the knee.
    pub fn table(&self) -> String {
        String::new()
    }
}
