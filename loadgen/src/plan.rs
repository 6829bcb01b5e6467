//! What a run is, derived once from what was typed.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize};
use std::time::Duration;

use crate::cli::{Acks, ClusterArgs, FetchArgs, From, LoadArgs, RunArgs, TopicArgs};
use crate::clock::{Clock, Ns};
use crate::cluster::Cluster;
use crate::codec::Codec;
use crate::payload::{Keys, Sizes, Values};
use crate::report::Measure;
use crate::schedule::Arrival;
use crate::setup::NewTopics;
use crate::stamp::Stamping;
use crate::units::{Rate, nanos, real};
use crate::verify::Ledger;

/// Most requests in flight of which brokers remember the order (KIP-98 and after).
const IDEMPOTENT_IN_FLIGHT_MAX: u32 = 5;

/// What is sent.
#[derive(Clone, Debug)]
pub struct Load {
    /// Records a second of all producers together; none is a closed loop.
    pub rate: Option<f64>,
    /// Spacing of the open loop.
    pub arrival: Arrival,
    /// Sizes of values.
    pub sizes: Sizes,
    /// Part of them that compresses away.
    pub compressibility: f64,
    /// Keys.
    pub keys: Keys,
    /// Compression.
    pub codec: Codec,
    /// Bytes of a full batch.
    pub batch_bytes: usize,
    /// How long the first record of a batch waits.
    pub linger: Ns,
    /// Requests outstanding per connection.
    pub in_flight: usize,
    /// As on the wire.
    pub acks: i16,
    /// Whether brokers deduplicate.
    pub idempotent: bool,
    /// Producers.
    pub producers: u32,
    /// What records carry.
    pub stamping: Stamping,
    /// Bytes of key and value on average.
    pub record_bytes: f64,
}

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
}

/// Connections that do little.
#[derive(Clone, Debug)]
pub struct Idle {
    /// How many.
    pub connections: u32,
    /// Opened in a second.
    pub rate: f64,
    /// How often each asks; zero for never.
    pub every: Ns,
    /// Bytes a second at which answers are read.
    pub slow: Option<usize>,
}

/// Groups whose members come and go.
#[derive(Clone, Debug)]
pub struct Storm {
    /// Groups.
    pub groups: u32,
    /// Members of each.
    pub members: u32,
    /// Departures in a second, over all groups.
    pub rate: f64,
    /// Front of the groups' names.
    pub name: String,
}

/// Timers of group members.
#[derive(Clone, Copy, Debug)]
pub struct Membership {
    /// Session timeout.
    pub session: Duration,
    /// Heartbeat interval.
    pub heartbeat: Duration,
}

/// What ends a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Until {
    /// So long behind the warm-up.
    Duration(Ns),
    /// So many records.
    Records(u64),
    /// The ends of the logs as of the beginning.
    LogEnds,
}

impl Until {
    /// Whether the clock decides.
    pub const fn is_timed(self) -> bool {
        matches!(self, Self::Duration(_))
    }
}

/// Everything that is settled before a run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The subcommand.
    pub mode: &'static str,
    /// What its results are about.
    pub primary: Measure,
    /// Where to ask first.
    pub bootstrap: Vec<String>,
    /// What we call ourselves.
    pub client_id: String,
    /// The topics.
    pub topics: NewTopics,
    /// Executors.
    pub cores: usize,
    /// Not measured.
    pub warm_up: Ns,
    /// The end.
    pub until: Until,
    /// How long to wait at the end for what does not come.
    pub drain: Ns,
    /// Seed of everything random.
    pub seed: u64,
    /// Whether records are checked.
    pub verify: bool,
    /// What is sent, if anything.
    pub load: Option<Load>,
    /// What is received, if anything.
    pub fetch: Option<Fetch>,
    /// Idle connections, if any.
    pub idle: Option<Idle>,
    /// Groups, if any.
    pub storm: Option<Storm>,
    /// Of group members.
    pub membership: Membership,
}

impl Plan {
    /// A plan that does nothing yet.
    ///
    /// # Errors
    /// What is typed makes no sense, in words.
    pub fn new(
        mode: &'static str,
        primary: Measure,
        cluster: &ClusterArgs,
        topics: &TopicArgs,
        run: &RunArgs,
    ) -> Result<Self, String> {
        let pinned = run.cpus.as_deref().map(crate::units::cpus).transpose()?;
        let cores = match (run.cores, &pinned) {
            (Some(cores), Some(cpus)) if usize::from(cores) != cpus.len() => {
                return Err(format!("--cores {cores} on {} --cpus", cpus.len()));
            }
            (cores, Some(cpus)) => cores.map_or(cpus.len(), usize::from),
            (cores, None) => cores.map_or(1, usize::from),
        };
        let until = match (run.duration, run.records) {
            (Some(_), Some(_)) => return Err("either --duration or --records".to_owned()),
            (Some(duration), None) => Until::Duration(nanos(duration)),
            (None, Some(records)) => Until::Records(records),
            (None, None) => Until::Duration(nanos(Duration::from_secs(10))),
        };
        Ok(Self {
            mode,
            primary,
            bootstrap: cluster.bootstrap.clone(),
            client_id: cluster.client_id.clone(),
            topics: new_topics(topics)?,
            cores,
            warm_up: nanos(run.warm_up),
            until,
            drain: nanos(run.drain),
            seed: run.seed,
            verify: run.verify,
            load: None,
            fetch: None,
            idle: None,
            storm: None,
            membership: Membership { session: Duration::from_secs(45), heartbeat: Duration::from_secs(3) },
        })
    }

    /// Adds what is sent. `stamping` is the least that records carry.
    ///
    /// # Errors
    /// What is typed makes no sense.
    pub fn send(&mut self, args: &LoadArgs, stamping: Stamping) -> Result<(), String> {
        let stamping = if self.verify { Stamping::Full } else { stamping };
        let idempotent = args.idempotence.unwrap_or(self.verify && args.acks == Acks::All);
        if idempotent && args.acks != Acks::All {
            return Err("--idempotence needs --acks all".to_owned());
        }
        if idempotent && args.in_flight > IDEMPOTENT_IN_FLIGHT_MAX {
            return Err(format!("--idempotence allows --in-flight {IDEMPOTENT_IN_FLIGHT_MAX} at most"));
        }
        if args.rate.is_none() && !args.closed_loop && !args.unthrottled {
            return Err("give --rate, or say --closed-loop or --unthrottled".to_owned());
        }
        if args.acks == Acks::None && self.verify {
            return Err("--verify cannot tell what is lost with --acks 0".to_owned());
        }
        let values =
            Values::new(args.record_size.clone(), args.compressibility, stamping.bytes(), self.seed)?;
        let record_bytes = values.mean_bytes() + real(args.keys.bytes() as u64);
        self.load = Some(Load {
            rate: args.rate.map(|rate| rate.records(record_bytes)),
            arrival: args.arrival,
            sizes: args.record_size.clone(),
            compressibility: args.compressibility,
            keys: args.keys,
            codec: args.codec,
            batch_bytes: args.batch_bytes,
            linger: nanos(args.linger),
            in_flight: args.in_flight as usize,
            acks: match args.acks {
                Acks::None => 0,
                Acks::Leader => 1,
                Acks::All => -1,
            },
            idempotent,
            producers: args.producers,
            stamping,
            record_bytes,
        });
        Ok(())
    }

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
        });
        Ok(())
    }

    /// When nothing new is begun any more; the largest number if records or offsets decide.
    pub const fn end(&self) -> Ns {
        match self.until {
            Until::Duration(duration) => self.warm_up + duration,
            Until::Records(_) | Until::LogEnds => Ns::MAX,
        }
    }

    /// The settings as a person would say them.
    pub fn settings(&self) -> Vec<(String, String)> {
        let mut list: Vec<(String, String)> = Vec::new();
        let mut say = |name: &str, value: String| list.push((name.to_owned(), value));
        let time = |ns: Ns| humantime::format_duration(Duration::from_nanos(ns)).to_string();
        say("bootstrap", self.bootstrap.join(","));
        match &self.topics.names[..] {
            [one] => say("topic", one.clone()),
            several => say("topics", format!("{} ({}, ...)", several.len(), several[0])),
        }
        say("cores", self.cores.to_string());
        match self.until {
            Until::Duration(duration) => say("duration", time(duration)),
            Until::Records(records) => say("records", records.to_string()),
            Until::LogEnds => say("until", "the end of the logs".to_owned()),
        }
        say("warm-up", time(self.warm_up));
        say("verify", self.verify.to_string());
        if let Some(load) = &self.load {
            load.describe(&mut say);
        }
        if let Some(fetch) = &self.fetch {
            say("consumers", format!("{} x {}", fetch.sets, fetch.consumers));
            say("from", format!("{:?}", fetch.from).to_lowercase());
            say("fetch bytes", fetch.bytes_max.to_string());
            if let Some(rate) = fetch.rate {
                say("consume rate", format!("{rate:.0} records/s"));
            }
        }
        if let Some(idle) = &self.idle {
            say("connections", idle.connections.to_string());
            say("connect rate", format!("{}/s", idle.rate));
            say("every", time(idle.every));
            idle.slow.inspect(|slow| say("slow", format!("{slow} B/s")));
        }
        if let Some(storm) = &self.storm {
            say("groups", format!("{} of {} members", storm.groups, storm.members));
            say("storm", format!("{} departures/s", storm.rate));
        }
        list
    }
}

impl Load {
    fn describe(&self, say: &mut impl FnMut(&str, String)) {
        match self.rate {
            Some(rate) => say("rate", format!("{rate:.0} records/s, {:?}", self.arrival).to_lowercase()),
            None => say("rate", "closed loop".to_owned()),
        }
        say("record size", self.sizes.to_string());
        say("compressibility", self.compressibility.to_string());
        say("keys", self.keys.to_string());
        say("codec", self.codec.name().to_owned());
        say("batch bytes", self.batch_bytes.to_string());
        say("linger", humantime::format_duration(Duration::from_nanos(self.linger)).to_string());
        say("in flight", self.in_flight.to_string());
        say("acks", if self.acks < 0 { "all".to_owned() } else { self.acks.to_string() });
        say("idempotence", self.idempotent.to_string());
        say("producers", self.producers.to_string());
    }
}

fn new_topics(args: &TopicArgs) -> Result<NewTopics, String> {
    let names = match args.topics {
        1 => vec![args.topic.clone()],
        several => (0..several).map(|number| format!("{}-{number}", args.topic)).collect(),
    };
    let configs = args.topic_config.iter().map(|config| match config.split_once('=') {
        Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
        None => Err(format!("--topic-config {config}: KEY=VALUE, please")),
    });
    Ok(NewTopics {
        names,
        partitions: args.partitions,
        replication: args.replication,
        configs: configs.collect::<Result<_, _>>()?,
    })
}

/// One run on all cores: what each of them knows, and the little that they tell each other.
#[derive(Debug)]
pub struct Step {
    /// What to do.
    pub plan: Plan,
    /// The time.
    pub clock: Clock,
    /// This run's number in stamps.
    pub run: u64,
    /// The cluster at the beginning.
    pub cluster: Cluster,
    /// Where consumers begin, by partition.
    pub starts: Vec<i64>,
    /// Where the logs ended at the beginning, if that ends the run.
    pub log_ends: Option<Vec<i64>>,
    /// Of each producer, if idempotent.
    pub producer_ids: Vec<(i64, i16)>,
    /// What cores tell each other.
    pub shared: Shared,
}

/// What cores tell each other. Nothing of it is on the way of a record but two counters per request.
#[derive(Debug, Default)]
pub struct Shared {
    /// Cores whose producers are not done.
    pub senders: AtomicUsize,
    /// Records that nobody took yet, where a number of records is to be sent.
    pub to_send: AtomicU64,
    /// Records received.
    pub received: AtomicU64,
    /// The ends of what was acknowledged, by partition: once senders are done.
    pub ends: Vec<AtomicI64>,
    /// What was sent: once senders are done.
    pub ledger: Mutex<Ledger>,
}

impl Shared {
    /// For so many partitions and sending cores.
    pub fn new(partitions: usize, senders: usize, to_send: u64) -> Self {
        Self {
            senders: senders.into(),
            to_send: to_send.into(),
            received: 0.into(),
            ends: (0..partitions).map(|_| AtomicI64::new(0)).collect(),
            ledger: Mutex::new(HashMap::new()),
        }
    }
}
