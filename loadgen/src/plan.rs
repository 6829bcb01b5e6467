//! What a run is, derived once from what was typed.

mod fetch;
mod load;
mod share;
mod step;

use std::time::Duration;

use crate::cli::{ClusterArgs, RunArgs, TopicArgs};
use crate::clock::Ns;
use crate::report::Measure;
use crate::setup::NewTopics;
use crate::units::nanos;

pub use fetch::{Fetch, Group};
pub use load::Load;
pub use share::{Mix, Share};
pub use step::{Shared, Step};

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
    /// Share consumers, if any.
    pub share: Option<Share>,
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
            share: None,
            membership: Membership { session: Duration::from_secs(45), heartbeat: Duration::from_secs(3) },
        })
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
            if let Some(group) = &fetch.group {
                say("group", group.name.clone());
                say("commit every", time(group.commit_every));
            }
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
        if let Some(share) = &self.share {
            share.describe(&mut say);
        }
        list
    }
}

fn new_topics(args: &TopicArgs) -> Result<NewTopics, String> {
    let names = match args.topics {
        1 => vec![args.topic.clone()],
        several => (0..several).map(|number| format!("{}-{number}", args.topic)).collect(),
    };
    Ok(NewTopics {
        names,
        partitions: args.partitions,
        replication: args.replication,
        configs: key_values(&args.topic_config, "--topic-config")?,
    })
}

/// Settings as they are typed behind `option`.
fn key_values(words: &[String], option: &str) -> Result<Vec<(String, String)>, String> {
    let pair = |word: &String| match word.split_once('=') {
        Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
        None => Err(format!("{option} {word}: KEY=VALUE, please")),
    };
    words.iter().map(pair).collect()
}
