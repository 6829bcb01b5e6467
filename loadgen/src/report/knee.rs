//! The search of `sweep` for the highest rate that keeps its promise: a geometric rise until a step fails, then
//! bisection. It runs nothing: it is told how a step went and says what to try next.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::format;
use super::model::Report;
use super::table::Table;

/// Part of the asked rate that a step must reach.
pub const REACHED_MIN: f64 = 0.97;
/// Rates below this, in records per second, are not searched: nothing passes there that anybody wants.
const RATE_MIN: f64 = 1.0;

/// What to search for.
#[derive(Clone, Debug)]
pub struct KneeSettings {
    /// First rate, in records per second.
    pub start: f64,
    /// Factor from one step to the next until one fails; above 1.
    pub growth: f64,
    /// Highest p99 of the primary measure that passes.
    pub p99_limit: Duration,
    /// The knee is known when the lowest failing rate is at most this part above the highest passing one.
    pub precision: f64,
    /// Most steps.
    pub steps_max: usize,
}

impl Default for KneeSettings {
    fn default() -> Self {
        KneeSettings {
            start: 10_000.0,
            growth: 1.5,
            p99_limit: Duration::from_millis(10),
            precision: 0.05,
            steps_max: 40,
        }
    }
}

/// How one step went.
#[derive(Clone, Debug)]
pub struct StepResult {
    /// Records per second asked for.
    pub asked: f64,
    /// Records per second that were acknowledged.
    pub got: f64,
    /// p99 of the primary measure; `None` if nothing was measured, which fails.
    pub p99: Option<Duration>,
    /// Errors of all kinds, and records that verification found wrong.
    pub errors: u64,
    /// Why the generator was the bottleneck, if it was.
    pub bottleneck: Option<String>,
}

impl StepResult {
    /// Of a step that asked for `asked` records per second.
    pub fn of(asked: f64, report: &Report) -> Self {
        let whole = &report.whole;
        let found = &whole.verification;
        let wrong = found.lost + found.repeated + found.reordered + found.damaged;
        StepResult {
            asked,
            got: whole.rate(whole.records()),
            p99: report.primary().map(|latency| Duration::from_micros(latency.p99)),
            errors: whole.errors_total() + wrong,
            bottleneck: whole.health.bottleneck.clone(),
        }
    }
}

/// What a step says of the rate it asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The server holds it.
    Passed,
    /// The server does not, and why.
    Failed(String),
    /// The generator does not, and why: nothing is known of the server.
    Inconclusive(String),
}

/// One step of a sweep.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Records per second asked for.
    pub asked: f64,
    /// Records per second that were acknowledged.
    pub got: f64,
    /// p99 of the primary measure, in microseconds.
    pub p99: Option<u64>,
    /// Errors, and records that verification found wrong.
    pub errors: u64,
    /// What it says.
    pub outcome: Outcome,
}

/// A whole search.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sweep {
    /// Highest p99 that passes, in microseconds.
    pub p99_limit: u64,
    /// In the order they were run.
    pub steps: Vec<Step>,
    /// The highest rate that passed, in records per second.
    pub knee: Option<f64>,
    /// What that means, in words.
    pub verdict: String,
}

/// The search.
#[derive(Debug)]
pub struct Knee {
    settings: KneeSettings,
    steps: Vec<Step>,
    /// Highest rate that passed.
    passed: Option<f64>,
    /// Lowest rate that did not.
    failed: Option<f64>,
}

impl Knee {
    /// Nothing tried yet.
    pub fn new(settings: KneeSettings) -> Self {
        Knee { settings, steps: Vec::new(), passed: None, failed: None }
    }

    /// The rate to try next, given how the last one went; `None` when the search is over.
    pub fn next(&mut self, last: Option<&StepResult>) -> Option<f64> {
        if let Some(last) = last {
            self.learn(last);
        }
        if self.steps.len() >= self.settings.steps_max {
            return None;
        }
        // A growth of nothing would try one rate for ever.
        let growth = if self.settings.growth > 1.01 { self.settings.growth } else { 1.01 };
        match (self.passed, self.failed) {
            (None, None) => Some(self.settings.start.max(RATE_MIN)),
            (Some(passed), None) => Some(passed * growth),
            (None, Some(failed)) => Some(failed / growth).filter(|rate| *rate >= RATE_MIN),
            (Some(_), Some(_)) if self.is_known() => None,
            // The middle by ratio, as rates span decades.
            (Some(passed), Some(failed)) => Some((passed * failed).sqrt()),
        }
    }

    /// Whether the knee lies between rates close enough to each other.
    fn is_known(&self) -> bool {
        match (self.passed, self.failed) {
            (Some(passed), Some(failed)) => failed <= passed * (1.0 + self.settings.precision.max(0.001)),
            _ => false,
        }
    }

    fn learn(&mut self, last: &StepResult) {
        let outcome = self.judge(last);
        if outcome == Outcome::Passed {
            self.passed = Some(self.passed.map_or(last.asked, |rate| rate.max(last.asked)));
        } else {
            self.failed = Some(self.failed.map_or(last.asked, |rate| rate.min(last.asked)));
        }
        self.steps.push(Step {
            asked: last.asked,
            got: last.got,
            p99: last.p99.map(super::interval::micros),
            errors: last.errors,
            outcome,
        });
    }

    fn judge(&self, step: &StepResult) -> Outcome {
        if let Some(reason) = &step.bottleneck {
            return Outcome::Inconclusive(reason.clone());
        }
        let mut reasons = Vec::new();
        if step.errors > 0 {
            reasons.push(format!("{} errors", format::count(step.errors)));
        }
        // Written so that a rate that is not a number fails.
        let reached = step.got >= step.asked * REACHED_MIN;
        if !reached {
            reasons.push(format!("reached {} of it", format::percent(format::per(step.got, step.asked))));
        }
        match step.p99 {
            Some(p99) if p99 <= self.settings.p99_limit => {}
            Some(_) => reasons.push("p99 above the limit".to_owned()),
            None => reasons.push("no latency measured".to_owned()),
        }
        if reasons.is_empty() { Outcome::Passed } else { Outcome::Failed(reasons.join(", ")) }
    }

    /// What was found so far. Put into [`Report::sweep`], it is in the summary, the JSON and the page.
    pub fn sweep(&self) -> Sweep {
        Sweep {
            p99_limit: super::interval::micros(self.settings.p99_limit),
            steps: self.steps.clone(),
            knee: self.passed,
            verdict: self.verdict(),
        }
    }

    fn verdict(&self) -> String {
        // The step that bounds the knee from above says whose limit it is.
        let bound = self.failed.and_then(|rate| self.steps.iter().find(|step| step.asked == rate));
        let generator = bound.is_some_and(|step| matches!(step.outcome, Outcome::Inconclusive(_)));
        match (self.passed, self.failed) {
            (None, None) => "nothing was tried".to_owned(),
            (Some(passed), None) => {
                format!(
                    "knee not reached: {} records/s, the highest rate tried, still pass",
                    format::rate(passed)
                )
            }
            (None, Some(failed)) if generator => format!(
                "inconclusive: at {} records/s, the lowest rate tried, the generator was the bottleneck",
                format::rate(failed)
            ),
            (None, Some(failed)) => {
                format!("no rate passes: {} records/s, the lowest tried, fail", format::rate(failed))
            }
            (Some(passed), Some(failed)) if generator => format!(
                "knee not found, at least {} records/s: at {} the generator was the bottleneck, not the server",
                format::rate(passed),
                format::rate(failed)
            ),
            (Some(passed), Some(failed)) if self.is_known() => {
                format!("knee: {} records/s ({} fail)", format::rate(passed), format::rate(failed))
            }
            (Some(passed), Some(failed)) => format!(
                "knee between {} and {} records/s: the steps ran out",
                format::rate(passed),
                format::rate(failed)
            ),
        }
    }
}

impl Outcome {
    /// What a person reads.
    pub fn text(&self) -> String {
        match self {
            Outcome::Passed => "passed".to_owned(),
            Outcome::Failed(reason) => format!("failed: {reason}"),
            Outcome::Inconclusive(reason) => {
                format!("inconclusive: the generator was the bottleneck ({reason})")
            }
        }
    }
}

impl Sweep {
    /// The table of steps, and the verdict.
    pub fn table(&self) -> String {
        format!("{}\n{}\n", self.cells().text(), self.verdict)
    }

    /// The steps as a table.
    pub fn cells(&self) -> Table {
        let p99 = format!("p99 (limit {})", format::latency(self.p99_limit));
        let mut table = Table::new(&["asked rec/s", "got rec/s", &p99, "errors", "outcome"]);
        for step in &self.steps {
            table.row(&[
                format::rate(step.asked),
                format::rate(step.got),
                step.p99.map_or_else(|| "–".to_owned(), format::latency),
                format::count(step.errors),
                step.outcome.text(),
            ]);
        }
        table
    }
}

#[cfg(test)]
#[path = "knee_tests.rs"]
mod tests;
