//! One line a second while a run goes on.

use std::fmt;
use std::time::Duration;

use crate::report::Expected;

/// What one second looked like.
#[derive(Clone, Debug)]
pub struct Line {
    /// The end of the second, from the start.
    pub at: Duration,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.at)
    }
}

/// Prints lines to standard error: with a progress bar on a terminal, plain otherwise.
#[derive(Debug)]
pub struct Live {}

impl Live {
    /// To standard error.
    pub fn new(_expected: Expected) -> Self {
        Live {}
    }

    /// Prints one second.
    pub fn show(&mut self, line: &Line) {
        eprintln!("{line}");
    }

    /// Clears the progress bar.
    pub fn finish(self) {}
}
