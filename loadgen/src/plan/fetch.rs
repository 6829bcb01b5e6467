//! What is received.

use std::time::Duration;

use super::Plan;
use crate::cli::{FetchArgs, From};
use crate::clock::Ns;
use crate::stamp::Stamping;
use crate::units::Rate;

/// What is received.
#[derive(Clone, Debug)]
pub struct Fetch {
    /// Consumers of each set.
    pub consumers: u32,
    /// Sets, each of which gets everything.
    pub sets: u32,
    /// Most bytes of an answer.
    pub bytes_max: usize,
    /// Most bytes of a partition in it.
    pub partition_bytes_max: usize,
    /// Enough for an answer at once.
    pub bytes_min: usize,
    /// How long the broker waits for that.
    pub wait: Duration,
    /// Records a second, of all consumers together.
    pub rate: Option<f64>,
    /// Where to begin.
    pub from: From,
    /// What records carry that is to be read.
    pub stamping: Stamping,
    /// Whether stamps of other runs count for latency too.
    pub any_run: bool,
    /// Whether to go on until what was sent in this run has come.
    pub to_the_last: bool,
    /// The group that consumers join; without one they divide partitions by themselves.
    pub group: Option<Group>,
}

/// Groups of consumers, one for each set.
#[derive(Clone, Debug)]
pub struct Group {
    /// Their name, or its front.
    pub name: String,
    /// Sets.
    pub sets: u32,
    /// From one commit to the next; zero for none but at rebalances and at the end.
    pub commit_every: Ns,
}

impl Group {
    /// The name of the group of this set.
    pub fn of_set(&self, set: u32) -> String {
        if self.sets == 1 { self.name.clone() } else { format!("{}-{set}", self.name) }
    }
}

impl Plan {
    /// Adds what is received.
    ///
    /// # Errors
    /// What is typed makes no sense.
    pub fn receive(&mut self, args: &FetchArgs, from: From, stamping: Stamping) -> Result<(), String> {
        let stamping = if self.verify { Stamping::Full } else { stamping };
        let signed = |bytes: usize, what: &str| {
            i32::try_from(bytes).map(|_| bytes).map_err(|_| format!("{what} is too large"))
        };
        let record_bytes = self.load.as_ref().map_or(1024.0, |load| load.record_bytes);
        if matches!(args.consume_rate, Some(Rate::Bytes(_))) && self.load.is_none() {
            return Err("--consume-rate in records a second, please: sizes are not known before".to_owned());
        }
        self.fetch = Some(Fetch {
            consumers: args.consumers,
            sets: args.fan_out,
            bytes_max: signed(args.fetch_bytes, "--fetch-bytes")?,
            partition_bytes_max: signed(args.partition_bytes, "--partition-bytes")?,
            bytes_min: signed(args.fetch_min_bytes, "--fetch-min-bytes")?,
            wait: args.fetch_wait,
            rate: args.consume_rate.map(|rate| rate.records(record_bytes)),
            from,
            stamping,
            any_run: false,
            to_the_last: self.load.is_some() && stamping > Stamping::None,
            group: None,
        });
        Ok(())
    }
}
