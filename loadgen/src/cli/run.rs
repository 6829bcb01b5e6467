//! Options of every mode: the cluster, its topics, how long and on what, and where results go.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::units;

/// How to reach the cluster.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Cluster")]
pub struct ClusterArgs {
    /// Where to ask first.
    #[arg(
        short,
        long,
        value_name = "HOST:PORT,...",
        default_value = "127.0.0.1:9092",
        value_delimiter = ','
    )]
    pub bootstrap: Vec<String>,
    /// What the generator calls itself.
    #[arg(long, default_value = "millrace-loadgen")]
    pub client_id: String,
}

/// Which topics.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Topics")]
pub struct TopicArgs {
    /// The topic. With --topics above 1, the front of their names.
    #[arg(short, long, default_value = "loadgen")]
    pub topic: String,
    /// How many topics: NAME-0, NAME-1, ...
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub topics: u32,
    /// Partitions of each topic that has to be created. Those that exist are used as they are.
    #[arg(short, long, value_name = "N", default_value_t = 6, value_parser = clap::value_parser!(i32).range(1..=1_000_000))]
    pub partitions: i32,
    /// Replicas of each topic that has to be created; -1 for the broker's default.
    #[arg(long, value_name = "N", default_value_t = -1)]
    pub replication: i16,
    /// A setting of each topic that has to be created. May be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    pub topic_config: Vec<String>,
}

/// How long, and on what.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Run")]
pub struct RunArgs {
    /// How long to measure, behind the warm-up [default: 10s unless --records says when to end].
    #[arg(short, long, value_name = "TIME", value_parser = units::duration)]
    pub duration: Option<Duration>,
    /// End after so many records instead (all of them together).
    #[arg(short = 'n', long, value_name = "N", value_parser = units::count)]
    pub records: Option<u64>,
    /// Run this long before measuring.
    #[arg(long, value_name = "TIME", default_value = "0", value_parser = units::duration)]
    pub warm_up: Duration,
    /// Cores to use, one executor each.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub cores: Option<u16>,
    /// Pin the executors to these CPUs, one each.
    #[arg(long, value_name = "LIST")]
    pub cpus: Option<String>,
    /// Look for work this long before sleeping: less delay, more CPU. Only with --cpus.
    #[arg(long, value_name = "TIME", default_value = "0", value_parser = units::duration)]
    pub spin: Duration,
    /// Give every record its producer, sequence and checksum, and count what is lost, repeated, reordered or damaged.
    /// Records without these, sent by others, count as foreign and are not checked.
    /// `produce` reads everything back afterwards.
    #[arg(long)]
    pub verify: bool,
    /// How long to wait for outstanding answers and records at the end, without any coming.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = units::duration)]
    pub drain: Duration,
    /// Seed of everything random.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
}

/// Where results go.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Output")]
pub struct OutputArgs {
    /// Write the results for `compare` and for programs.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write an HdrHistogram interval log.
    #[arg(long, value_name = "FILE")]
    pub hdr: Option<PathBuf>,
    /// Write one self-contained page with plots.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// What to call this run in tables and legends.
    #[arg(long, default_value = "")]
    pub label: String,
    /// Record CPU, memory, context switches and disk bytes of this process (of the broker, on this machine).
    #[arg(long, value_name = "PID")]
    pub server_pid: Option<u32>,
    /// No line every second.
    #[arg(short, long)]
    pub quiet: bool,
}
