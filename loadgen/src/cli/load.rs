//! Options of the modes that send.

use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::codec::Codec;
use crate::payload::{Keys, Sizes};
use crate::schedule::Arrival;
use crate::units::{self, Rate};

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
    /// Most bytes of the batches in one request, before compression: what is ready for other partitions of the same broker goes
    /// along. With --closed-loop a request is one batch.
    #[arg(long, value_name = "SIZE", default_value = "1MiB", value_parser = units::size)]
    pub request_bytes: usize,
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

impl LoadArgs {
    /// Whether anything is to be sent, where that is a choice.
    pub const fn is_asked_for(&self) -> bool {
        self.rate.is_some() || self.closed_loop || self.unthrottled
    }
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
