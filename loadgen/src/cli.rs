//! The command line, as typed. What it means is decided in [`crate::plan`].

mod fetch;
mod load;
mod run;
mod share;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::units;

pub use fetch::{FetchArgs, From};
pub use load::{Acks, LoadArgs};
pub use run::{ClusterArgs, OutputArgs, RunArgs, TopicArgs};
pub use share::{Acquire, Begin, SharesArgs};

/// Load generator for Millrace, Apache Kafka, and everything else that speaks Kafka's protocol.
///
/// With --rate, requests start on a schedule and every latency counts from the scheduled start, also where the generator or
/// the connection is behind. --closed-loop and --unthrottled give that up and say so.
#[derive(Parser, Debug)]
#[command(name = "millrace-loadgen", version, max_term_width = 110)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub mode: Mode,
}

/// The subcommands.
#[derive(Subcommand, Debug)]
pub enum Mode {
    /// Send records.
    Produce(ProduceArgs),
    /// Receive records: from the tail, or everything there is.
    Consume(ConsumeArgs),
    /// Send and receive in one process; latency from the intended send to the receipt.
    E2e(BothArgs),
    /// Send and receive, each at a rate of its own.
    Mixed(BothArgs),
    /// Open many connections that do little.
    Connections(ConnectionsArgs),
    /// Groups whose members come and go.
    Groups(GroupsArgs),
    /// Take records from share groups (KIP-932), also beside producers, and acknowledge them.
    Share(ShareArgs),
    /// Raise the rate until the p99 limit breaks; print the knee.
    Sweep(SweepArgs),
    /// Make one page of several runs' --json files; ratios are to the first.
    Compare(CompareArgs),
}

/// Arguments of `produce`.
#[derive(Args, Clone, Debug)]
pub struct ProduceArgs {
    #[command(flatten)]
    pub cluster: ClusterArgs,
    #[command(flatten)]
    pub topics: TopicArgs,
    #[command(flatten)]
    pub load: LoadArgs,
    #[command(flatten)]
    pub run: RunArgs,
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Arguments of `consume`.
#[derive(Args, Clone, Debug)]
pub struct ConsumeArgs {
    #[command(flatten)]
    pub cluster: ClusterArgs,
    #[command(flatten)]
    pub topics: TopicArgs,
    #[command(flatten)]
    pub fetch: FetchArgs,
    /// Where to begin: `earliest`, `latest` or an offset. From `earliest`, without --duration and --records, the run ends where
    /// the logs ended when it began.
    #[arg(long, value_name = "WHERE", default_value = "earliest")]
    pub from: From,
    /// Join this classic consumer group and receive what it assigns (range), from where it has committed, else as --from says. With
    /// --fan-out above 1 each set is a group: NAME-0, NAME-1, ... It may have members elsewhere too.
    #[arg(short, long, value_name = "NAME")]
    pub group: Option<String>,
    /// With --group: how often to commit; 0 for only at rebalances and at the end.
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = units::duration)]
    pub commit_every: Duration,
    /// With --group: session and rebalance timeout of the members.
    #[arg(long, value_name = "TIME", default_value = "45s", value_parser = units::duration)]
    pub session_timeout: Duration,
    /// With --group: heartbeat interval of the members. They learn of rebalances by it.
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = units::duration)]
    pub heartbeat: Duration,
    /// Measure end-to-end latencies of records that another generator sends meanwhile, on a machine with the same clock.
    #[arg(long)]
    pub stamped: bool,
    #[command(flatten)]
    pub run: RunArgs,
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Arguments of `e2e` and `mixed`.
#[derive(Args, Clone, Debug)]
pub struct BothArgs {
    #[command(flatten)]
    pub cluster: ClusterArgs,
    #[command(flatten)]
    pub topics: TopicArgs,
    #[command(flatten)]
    pub load: LoadArgs,
    #[command(flatten)]
    pub fetch: FetchArgs,
    /// Where `mixed` begins to receive [default: earliest for `mixed`, latest for `e2e`].
    #[arg(long, value_name = "WHERE")]
    pub from: Option<From>,
    #[command(flatten)]
    pub run: RunArgs,
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Arguments of `connections`.
#[derive(Args, Clone, Debug)]
pub struct ConnectionsArgs {
    #[command(flatten)]
    pub cluster: ClusterArgs,
    #[command(flatten)]
    pub topics: TopicArgs,
    /// Connections to hold open, spread over the cores and brokers.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub connections: u32,
    /// Connections to open in a second, on a schedule as any other.
    #[arg(long, value_name = "N", default_value_t = 1000.0)]
    pub connect_rate: f64,
    /// How often each asks for something small; 0 for never.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = units::duration)]
    pub every: Duration,
    /// Ask for all metadata and read the answer at so many bytes a second.
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    pub slow: Option<usize>,
    #[command(flatten)]
    pub load: LoadArgs,
    #[command(flatten)]
    pub run: RunArgs,
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Arguments of `groups`.
#[derive(Args, Clone, Debug)]
pub struct GroupsArgs {
    #[command(flatten)]
    pub cluster: ClusterArgs,
    #[command(flatten)]
    pub topics: TopicArgs,
    /// Groups.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub groups: u32,
    /// Members of each.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub members: u32,
    /// Members that leave, and come back, in a second, over all groups. 0: only the first gathering.
    #[arg(long, value_name = "RATE", default_value_t = 1.0)]
    pub storm: f64,
    /// What the groups are called: NAME-0, NAME-1, ...
    #[arg(long, default_value = "loadgen-group")]
    pub group: String,
    /// Session timeout of the members.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = units::duration)]
    pub session_timeout: Duration,
    /// Heartbeat interval of the members.
    #[arg(long, value_name = "TIME", default_value = "500ms", value_parser = units::duration)]
    pub heartbeat: Duration,
    #[command(flatten)]
    pub run: RunArgs,
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Arguments of `share`.
#[derive(Args, Clone, Debug)]
pub struct ShareArgs {
    #[command(flatten)]
    pub cluster: ClusterArgs,
    #[command(flatten)]
    pub topics: TopicArgs,
    #[command(flatten)]
    pub load: LoadArgs,
    #[command(flatten)]
    pub shares: SharesArgs,
    #[command(flatten)]
    pub run: RunArgs,
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Arguments of `sweep`.
#[derive(Args, Clone, Debug)]
pub struct SweepArgs {
    /// Highest p99 that passes.
    #[arg(long, value_name = "TIME", default_value = "10ms", value_parser = units::duration)]
    pub p99_limit: Duration,
    /// Take the latency to the receipt instead of to the acknowledgement.
    #[arg(long)]
    pub e2e: bool,
    /// Factor from one rate to the next until one fails.
    #[arg(long, value_name = "FACTOR", default_value_t = 1.5)]
    pub growth: f64,
    /// Most steps.
    #[arg(long, value_name = "N", default_value_t = 24)]
    pub steps: usize,
    /// Pause between steps.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = units::duration)]
    pub pause: Duration,
    /// The first rate is --rate; each step takes --warm-up and --duration.
    #[command(flatten)]
    pub both: BothArgs,
}

/// Arguments of `compare`.
#[derive(Args, Clone, Debug)]
pub struct CompareArgs {
    /// Files that --json wrote.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// The page to write.
    #[arg(short, long, value_name = "FILE", default_value = "compare.html")]
    pub output: PathBuf,
}
