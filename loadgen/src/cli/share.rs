//! Options of share consumers.

use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::units;

/// Who takes records from share groups, how many at once, and what it says of them.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Share consumers")]
pub struct SharesArgs {
    /// Share groups, each of which gets everything.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub groups: u32,
    /// Consumers of each, spread over the cores.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub consumers: u32,
    /// What the group is called. With --groups above 1 they are NAME-0, NAME-1, ...
    #[arg(short, long, value_name = "NAME", default_value = "loadgen-share")]
    pub group: String,
    /// Where a group begins that was not there before (`share.auto.offset.reset`).
    #[arg(long, value_enum, default_value_t = Begin::Earliest)]
    pub from: Begin,
    /// A setting of each group, such as `share.record.lock.duration.ms=15000`. May be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    pub group_config: Vec<String>,
    /// Most records of one answer, as `max.poll.records`.
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub max_records: u32,
    /// Records that are acquired and acknowledged as one run, if possible [default: as --max-records].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub run_records: Option<u32>,
    /// Whether whole batches of producers are acquired, which may be more than --max-records, or never more.
    #[arg(long, value_enum, default_value_t = Acquire::BatchOptimized)]
    pub acquire_mode: Acquire,
    /// Percentage of records that are released, to be delivered again. One that came four times is not released.
    #[arg(long, value_name = "PERCENT", default_value = "0", value_parser = units::percent)]
    pub release: f64,
    /// Percentage of records that are rejected. All others are accepted.
    #[arg(long, value_name = "PERCENT", default_value = "0", value_parser = units::percent)]
    pub reject: f64,
    /// Acknowledge with a request of its own before the next fetch, as `commitSync` does, instead of along with that.
    #[arg(long)]
    pub commit_sync: bool,
    /// Most bytes of one answer.
    #[arg(long, value_name = "SIZE", default_value = "1MiB", value_parser = units::size)]
    pub fetch_bytes: usize,
    /// Answer at once when there is this much.
    #[arg(long, value_name = "SIZE", default_value = "1", value_parser = units::size)]
    pub fetch_min_bytes: usize,
    /// Wait this long for it.
    #[arg(long, value_name = "TIME", default_value = "500ms", value_parser = units::duration)]
    pub fetch_wait: Duration,
}

/// Values of --from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Begin {
    /// At the first record there is.
    Earliest,
    /// Behind the last as of when the run begins.
    Latest,
}

/// Values of --acquire-mode (KIP-1206).
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Acquire {
    /// Whole batches.
    BatchOptimized,
    /// So many records and no more.
    RecordLimit,
}
