//! Options of the modes that receive.

use std::time::Duration;

use clap::Args;

use crate::units::{self, Rate};

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
