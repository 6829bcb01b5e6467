//! Logs on standard error, as text or as one JSON object per line, filtered by `RUST_LOG`.

use std::env;
use std::io;
use std::panic;

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

use crate::fatal::{Exit, Fatal};

/// When `RUST_LOG` says nothing.
const FILTER: &str = "info";

/// How a log line looks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// Starts logging, panics included.
///
/// # Errors
/// When `RUST_LOG` is no filter.
pub fn start(format: LogFormat) -> Result<(), Fatal> {
    let written = env::var("RUST_LOG").unwrap_or_default();
    let filter = if written.trim().is_empty() { FILTER } else { &written };
    let filter = EnvFilter::try_new(filter)
        .map_err(|error| Fatal::new(Exit::Configuration, format!("RUST_LOG={written}: {error}")))?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    match format {
        LogFormat::Text => lines.with_ansi(io::IsTerminal::is_terminal(&io::stderr())).init(),
        LogFormat::Json => lines.json().init(),
    }
    panic::set_hook(Box::new(|panic| tracing::error!("{panic}")));
    Ok(())
}
