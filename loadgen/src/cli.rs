//! The command line, as typed. What it means is decided in [`crate::plan`].

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::codec::Codec;
use crate::payload::{Keys, Sizes};
use crate::schedule::Arrival;
use crate::units::{self, Rate};

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
    /// Raise the rate until the p99 limit breaks; print the knee.
    Sweep(SweepArgs),
    /// Make one page of several runs' --json files; ratios are to the first.
    Compare(CompareArgs),
}

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

/// What is sent, and when.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Load")]
pub struct LoadArgs {
    /// Open loop: records (`50k`) or bytes (`50MB`) a second, of all producers together.
    #[arg(short, long, value_name = "RATE", value_parser = units::rate, conflicts_with_all = ["closed_loop", "unthrottled"])]
    pub rate: Option<Rate>,
    /// How the open loop's records are spaced.
    #[arg(long, value_enum, default_value_t = Arrival::Constant)]
    pub arrival: Arrival,
    /// Closed loop: the next request starts when an answer comes, with --in-flight of them outstanding. A slow broker is
    /// asked less, so its latencies look better than users would find them.
    #[arg(long)]
    pub closed_loop: bool,
    /// As fast as the broker takes it: the closed loop of full batches, to find out throughput. Latencies are those of
    /// saturation.
    #[arg(long, conflicts_with = "closed_loop")]
    pub unthrottled: bool,
    /// Bytes of each value: `1KiB`, a range as `100-1000`, or `@FILE` to take the lines of a file.
    #[arg(short = 's', long, value_name = "SIZE", default_value = "1KiB")]
    pub record_size: Sizes,
    /// Which part of each value compresses away: 0 is random bytes, 1 all the same.
    #[arg(long, value_name = "0..1", default_value = "0", value_parser = units::fraction)]
    pub compressibility: f64,
    /// `none`, `uniform:N` or `zipf:N[:EXPONENT]` of N keys. Batches go to partitions in turn, whatever their keys.
    #[arg(long, value_name = "KEYS", default_value = "none")]
    pub keys: Keys,
    /// Compression of batches. What it costs is the generator's: see `late` in the results.
    #[arg(short, long, value_enum, default_value_t = Codec::None)]
    pub codec: Codec,
    /// Bytes of a full batch, before compression.
    #[arg(long, value_name = "SIZE", default_value = "128KiB", value_parser = units::size)]
    pub batch_bytes: usize,
    /// How long the first record of a batch waits for others.
    #[arg(long, value_name = "TIME", default_value = "5ms", value_parser = units::duration)]
    pub linger: Duration,
    /// Requests outstanding per connection; at most 5 with idempotence.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub in_flight: u32,
    /// Who must have a record before it is acknowledged.
    #[arg(long, value_enum, default_value_t = Acks::All)]
    pub acks: Acks,
    /// Idempotent producers [default: only with --verify].
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub idempotence: Option<bool>,
    /// Producers, spread over the cores. Each has one connection per broker.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub producers: u32,
}

/// Values of --acks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Acks {
    /// Nobody: there is no answer, and latency ends when the socket took the request.
    #[value(name = "0")]
    None,
    /// The leader.
    #[value(name = "1")]
    Leader,
    /// All in-sync replicas.
    #[value(name = "all", alias = "-1")]
    All,
}

/// What is received, and how.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Consumers")]
pub struct FetchArgs {
    /// Consumers, spread over the cores. Partitions are divided among those of one set.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub consumers: u32,
    /// Sets of consumers, each of which gets everything.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub fan_out: u32,
    /// Most bytes of one answer.
    #[arg(long, value_name = "SIZE", default_value = "1MiB", value_parser = units::size)]
    pub fetch_bytes: usize,
    /// Most bytes of one partition in an answer.
    #[arg(long, value_name = "SIZE", default_value = "1MiB", value_parser = units::size)]
    pub partition_bytes: usize,
    /// Answer at once when there is this much.
    #[arg(long, value_name = "SIZE", default_value = "1", value_parser = units::size)]
    pub fetch_min_bytes: usize,
    /// Wait this long for it.
    #[arg(long, value_name = "TIME", default_value = "500ms", value_parser = units::duration)]
    pub fetch_wait: Duration,
    /// Receive no more than this, records or bytes a second, all together.
    #[arg(long, value_name = "RATE", value_parser = units::rate)]
    pub consume_rate: Option<Rate>,
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

/// Where a consumer begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum From {
    /// At the first record there is.
    Earliest,
    /// Behind the last.
    Latest,
    /// There.
    Offset(i64),
}

impl std::str::FromStr for From {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "earliest" => Ok(Self::Earliest),
            "latest" => Ok(Self::Latest),
            _ => match text.parse() {
                Ok(offset) if offset >= 0 => Ok(Self::Offset(offset)),
                _ => Err(format!("`{text}` is neither `earliest` nor `latest` nor an offset")),
            },
        }
    }
}
