//! From what executors measured to what a person reads: aggregation, the live line, summary, JSON, HDR log, pages, and
//! the search for the knee. Pure but for `/proc`, the terminal and files; it knows nothing of Kafka or of sockets.

pub mod chart;
pub mod collector;
pub mod compare;
pub mod distribution;
mod files;
pub mod format;
pub mod hdr_log;
pub mod health;
pub mod html;
pub mod interval;
pub mod knee;
pub mod live;
pub mod model;
pub mod page;
#[cfg(test)]
mod sample;
pub mod server;
pub mod shares;
pub mod summary;
pub mod table;
#[cfg(test)]
mod tests;

pub use collector::{Collector, Expected, Setup};
pub use compare::compare;
pub use interval::{Interval, Measure, Verification};
pub use knee::{Knee, KneeSettings, StepResult};
pub use live::Live;
pub use model::{Report, ReportError};
pub use server::ServerSampler;
