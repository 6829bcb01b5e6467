//! Share consumers.

use std::time::Duration;

use super::{Plan, key_values};
use crate::cli::{Acquire, Begin, SharesArgs};
use crate::stamp::Stamping;

/// Who takes records from share groups, and what it says of them.
#[derive(Clone, Debug)]
pub struct Share {
    /// Groups, each of which gets everything.
    pub groups: u32,
    /// Consumers of each.
    pub consumers: u32,
    /// The groups' name, or its front.
    pub name: String,
    /// Settings of the groups.
    pub configs: Vec<(String, String)>,
    /// Most records of an answer.
    pub records_max: i32,
    /// Records of a run, as far as possible.
    pub run_records: i32,
    /// As on the wire.
    pub acquire_mode: i8,
    /// What is said of records.
    pub mix: Mix,
    /// Whether acknowledgements have requests of their own.
    pub commit_sync: bool,
    /// Most bytes of an answer.
    pub bytes_max: i32,
    /// Enough for an answer at once.
    pub bytes_min: i32,
    /// How long the broker waits for that.
    pub wait: Duration,
    /// What records carry that is to be read.
    pub stamping: Stamping,
}

/// Parts of the records, each from 0 to 1. The others are accepted.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Mix {
    /// Given back.
    pub release: f64,
    /// Never to be delivered again.
    pub reject: f64,
}

impl Share {
    /// The name of a group by its number.
    pub fn group(&self, number: usize) -> String {
        if self.groups == 1 { self.name.clone() } else { format!("{}-{number}", self.name) }
    }

    pub(super) fn describe(&self, say: &mut impl FnMut(&str, String)) {
        say("share groups", format!("{} of {} consumers", self.groups, self.consumers));
        say("group", self.name.clone());
        for (key, value) in &self.configs {
            say(key, value.clone());
        }
        say("max records", self.records_max.to_string());
        say("run records", self.run_records.to_string());
        let mode = if self.acquire_mode == 0 { "batch optimized" } else { "record limit" };
        say("acquire mode", mode.to_owned());
        say("released", format!("{:.1} %", self.mix.release * 100.0));
        say("rejected", format!("{:.1} %", self.mix.reject * 100.0));
        say("acknowledged", (if self.commit_sync { "by itself" } else { "with the next fetch" }).to_owned());
        say("fetch bytes", self.bytes_max.to_string());
    }
}

impl Plan {
    /// Adds share consumers.
    ///
    /// # Errors
    /// What is typed makes no sense.
    pub fn share(&mut self, args: &SharesArgs) -> Result<(), String> {
        let bytes =
            |bytes: usize, what: &str| i32::try_from(bytes).map_err(|_| format!("{what} is too large"));
        if args.release + args.reject > 1.0 {
            return Err("--release and --reject are more than all records".to_owned());
        }
        let count = |records: u32| i32::try_from(records).unwrap_or(i32::MAX);
        let reset = match args.from {
            Begin::Earliest => "earliest",
            Begin::Latest => "latest",
        };
        let mut configs = vec![("share.auto.offset.reset".to_owned(), reset.to_owned())];
        configs.extend(key_values(&args.group_config, "--group-config")?);
        self.share = Some(Share {
            groups: args.groups,
            consumers: args.consumers,
            name: args.group.clone(),
            configs,
            records_max: count(args.max_records),
            run_records: count(args.run_records.unwrap_or(args.max_records)),
            acquire_mode: match args.acquire_mode {
                Acquire::BatchOptimized => 0,
                Acquire::RecordLimit => 1,
            },
            mix: Mix { release: args.release, reject: args.reject },
            commit_sync: args.commit_sync,
            bytes_max: bytes(args.fetch_bytes, "--fetch-bytes")?,
            bytes_min: bytes(args.fetch_min_bytes, "--fetch-min-bytes")?,
            wait: args.fetch_wait,
            stamping: match (self.verify, &self.load) {
                (true, _) => Stamping::Full,
                (false, Some(_)) => Stamping::Time,
                (false, None) => Stamping::None,
            },
        });
        Ok(())
    }
}
