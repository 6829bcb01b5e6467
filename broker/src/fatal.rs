//! Why the process ends, as an exit code and one sentence that says what to change.

use std::fmt;
use std::process;

/// How the process ends. The numbers are an interface: supervisors act on them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    /// Bad command line or configuration.
    Configuration = 2,
    /// This machine, or its limits, cannot run it.
    Environment = 3,
    /// The data directory is in use, damaged or from a newer version.
    DataDirectory = 4,
    /// Storage failed while running: what was acknowledged is safe, going on would not be.
    Storage = 5,
    /// A fault of ours, as Rust's own panics end: half-changed state does not go on.
    Panic = 101,
}

impl Exit {
    /// The process's exit code.
    #[must_use]
    pub const fn code(self) -> i32 {
        self as i32
    }
}

/// A reason to end, not yet logged.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fatal {
    /// How.
    pub exit: Exit,
    /// What is wrong and what to change.
    pub message: String,
}

impl Fatal {
    /// Ends with `exit` because of `message`.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }
}

impl fmt::Display for Fatal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Fatal {}

impl From<crate::config::ConfigError> for Fatal {
    fn from(error: crate::config::ConfigError) -> Self {
        Self::new(Exit::Configuration, error.0)
    }
}

/// Ends the whole process now, from any thread; never one core of eight. Nothing is flushed: to the data this is a crash.
pub fn end(exit: Exit, message: &str) -> ! {
    tracing::error!(exit_code = exit.code(), "{message}");
    process::exit(exit.code())
}

/// What a core calls when a task outside of a connection panicked.
pub fn panicked(reason: &str) -> ! {
    end(Exit::Panic, &format!("a task panicked and its core cannot go on: {reason}"))
}
