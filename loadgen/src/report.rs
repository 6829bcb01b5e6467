//! From what executors measured to what a person reads: aggregation, the live line, summary, JSON, HDR log, pages, and
//! the search for the knee. Pure but for `/proc`, the terminal and files; it knows nothing of Kafka or of sockets.

pub mod collector;
pub mod compare;
pub mod health;
pub mod interval;
pub mod knee;
pub mod live;
pub mod model;
pub mod server;

pub use collector::{Collector, Expected, Setup};
pub use compare::compare;
pub use interval::{Interval, Measure, Verification};
pub use knee::{Knee, KneeSettings, StepResult};
pub use live::{Line, Live};
pub use model::{Report, ReportError};
pub use server::ServerSampler;
