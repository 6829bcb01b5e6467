//! The main thread: prepares a step, starts it on all cores, and hands what they measure to the report.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use crate::cli::{From, OutputArgs};
use crate::clock::Clock;
use crate::mode;
use crate::mode::consume::Progress;
use crate::mode::share::Tally;
use crate::plan::{Fetch, Plan, Shared, Step, Until};
use crate::report::{Collector, Expected, Interval, Live, Report, ServerSampler, Setup, Verification};
use crate::run::{Cores, News};
use crate::setup::{self, Client, Edge};
use crate::stamp::Stamping;

/// Executors get the step before it begins.
const LEAD: Duration = Duration::from_millis(50);
/// How long the cores may say nothing, though they report every second.
const SILENCE: Duration = Duration::from_secs(60);
/// Bytes of an answer while everything is read back.
const READ_BACK_BYTES: usize = 4 << 20;

/// Why there is no result.
#[derive(Debug)]
pub enum Failure {
    /// What was typed makes no sense.
    Usage(String),
    /// The cluster cannot be reached or refuses, or this machine does.
    Environment(String),
}

impl std::convert::From<setup::SetupError> for Failure {
    fn from(error: setup::SetupError) -> Self {
        Self::Environment(error.to_string())
    }
}

/// How a run went.
#[derive(Debug)]
pub struct Outcome {
    /// What was measured.
    pub report: Report,
    /// What checking found.
    pub verification: Verification,
    /// Something was asked of the cluster, and nothing of it came about.
    pub useless: bool,
}

impl Outcome {
    /// Whether the process may say that all is well.
    pub fn is_good(&self) -> bool {
        self.verification.is_clean() && !self.useless
    }
}

/// Runs `plan` from the first question to the last record.
///
/// # Errors
/// [`Failure::Environment`].
pub fn run(cores: &mut Cores, plan: &Plan, output: &OutputArgs) -> Result<Outcome, Failure> {
    let step = Arc::new(prepare(plan)?);
    let server = match output.server_pid {
        None => None,
        Some(pid) => Some(
            ServerSampler::new(pid)
                .map_err(|error| Failure::Environment(format!("--server-pid {pid}: {error}")))?,
        ),
    };
    let mut driver = Driver::new(cores, plan, output, server);
    driver.follow(&step)?;
    if plan.verify && plan.fetch.is_none() && plan.share.is_none() && plan.load.is_some() {
        driver.read_back(step)?;
    }
    Ok(driver.finish())
}

fn prepare(plan: &Plan) -> Result<Step, Failure> {
    let mut client = Client::connect_any(&plan.bootstrap, &plan.client_id)?;
    let cluster = setup::prepare(&mut client, &plan.topics)?;
    let offsets = |edge| setup::offsets(&cluster, &plan.client_id, edge);
    let seats = match &plan.share {
        Some(share) => setup::gather(&cluster, &plan.client_id, share)?,
        None => Vec::new(),
    };
    let starts = match plan.fetch.as_ref().map(|fetch| fetch.from) {
        Some(From::Earliest) => offsets(Edge::Earliest)?,
        Some(From::Latest) => offsets(Edge::Latest)?,
        Some(From::Offset(offset)) => vec![offset; cluster.partitions.len()],
        None if (plan.verify || plan.share.is_some()) && plan.load.is_some() => offsets(Edge::Latest)?,
        None => Vec::new(),
    };
    let log_ends = if plan.until == Until::LogEnds { Some(offsets(Edge::Latest)?) } else { None };
    let producer_ids = match &plan.load {
        Some(load) if load.idempotent => setup::producer_ids(&mut client, load.producers)?,
        _ => Vec::new(),
    };
    let senders = plan.load.as_ref().map_or(0, |load| mode::produce::sending_cores(load, plan.cores));
    let to_send = if let Until::Records(records) = plan.until { records } else { 0 };
    let mut shared = Shared::new(cluster.partitions.len(), senders, to_send);
    if let Some(Fetch { sets, group: Some(_), .. }) = &plan.fetch {
        shared.groups.extend((0..*sets).map(|_| Progress::new(&starts, log_ends.as_deref())));
    }
    if let Some(share) = &plan.share {
        shared.shares.extend((0..share.groups).map(|_| Tally::new(share.consumers)));
    }
    let clock = Clock::starting_in(LEAD);
    let run = fastrand::Rng::new().u32(1..);
    Ok(Step { plan: plan.clone(), clock, run, cluster, starts, log_ends, producer_ids, seats, shared })
}

struct Driver<'a> {
    cores: &'a mut Cores,
    collector: Collector,
    live: Option<Live>,
    total: Interval,
    wants: bool,
}

impl<'a> Driver<'a> {
    fn new(cores: &'a mut Cores, plan: &Plan, output: &OutputArgs, server: Option<ServerSampler>) -> Self {
        let warm_up = Duration::from_nanos(plan.warm_up);
        let expected = match plan.until {
            Until::Duration(_) => Expected::Duration(Duration::from_nanos(plan.end())),
            Until::Records(records) => Expected::Count(records),
            Until::LogEnds => Expected::Open,
        };
        let setup = Setup {
            mode: plan.mode.to_owned(),
            label: output.label.clone(),
            settings: plan.settings(),
            primary: plan.primary,
            rate: plan.load.as_ref().and_then(|load| load.rate),
            warm_up,
            expected,
            started: SystemTime::now(),
            server,
        };
        Self {
            cores,
            collector: Collector::new(setup),
            live: (!output.quiet).then(Live::new),
            total: Interval::new(),
            wants: plan.load.is_some() || plan.fetch.is_some() || plan.share.is_some(),
        }
    }

    /// Starts a step and waits for its end.
    fn follow(&mut self, step: &Arc<Step>) -> Result<(), Failure> {
        self.cores.begin(step);
        let count = self.cores.count();
        let mut told: Vec<VecDeque<Interval>> = vec![VecDeque::new(); count];
        let mut running = vec![true; count];
        let mut second = Duration::ZERO;
        while running.contains(&true) {
            match self.cores.news(Instant::now() + SILENCE) {
                Some(News::Measured { core, interval, ended }) => {
                    told[core].push_back(*interval);
                    running[core] = !ended;
                }
                Some(News::Broken(why)) => return Err(Failure::Environment(why)),
                None => return Err(Failure::Environment("the executors do not answer".to_owned())),
            }
            // A second is over when every core that still runs has told of it.
            while running.contains(&true)
                && told.iter().zip(&running).all(|(told, runs)| !runs || !told.is_empty())
            {
                second += Duration::from_secs(1);
                let intervals = told.iter_mut().filter_map(VecDeque::pop_front).collect();
                self.second(second, intervals);
            }
        }
        while told.iter().any(|told| told.len() > 1) {
            second += Duration::from_secs(1);
            let intervals = told.iter_mut().filter_map(VecDeque::pop_front).collect();
            self.second(second, intervals);
        }
        let now = Duration::from_nanos(step.clock.now());
        self.second(now.max(second), told.iter_mut().filter_map(VecDeque::pop_front).collect());
        Ok(())
    }

    fn second(&mut self, at: Duration, intervals: Vec<Interval>) {
        intervals.iter().for_each(|interval| self.total.merge(interval));
        let line = self.collector.second(at, intervals);
        if let Some(live) = &mut self.live {
            live.show(&line);
        }
    }

    /// Receives everything that `sent` sent and checks it, outside of what is measured.
    fn read_back(&mut self, sent: Arc<Step>) -> Result<(), Failure> {
        let mut plan = sent.plan.clone();
        plan.load = None;
        plan.until = Until::Duration(u64::MAX / 2);
        plan.fetch = Some(Fetch {
            consumers: u32::try_from(plan.cores).unwrap_or(1),
            sets: 1,
            bytes_max: READ_BACK_BYTES,
            partition_bytes_max: READ_BACK_BYTES,
            bytes_min: 1,
            wait: Duration::from_millis(500),
            rate: None,
            from: From::Latest,
            stamping: Stamping::Full,
            any_run: false,
            to_the_last: true,
            group: None,
        });
        let ends = sent.shared.ends.iter().map(|end| end.load(Ordering::Acquire).into()).collect();
        let ledger = sent.shared.ledger.lock().map(|mut ledger| std::mem::take(&mut *ledger));
        let shared = Shared { ends, ledger: ledger.unwrap_or_default().into(), ..Shared::default() };
        let back = Step {
            plan,
            clock: Clock::starting_in(LEAD),
            run: sent.run,
            cluster: sent.cluster.clone(),
            starts: sent.starts.clone(),
            log_ends: None,
            producer_ids: Vec::new(),
            seats: Vec::new(),
            shared,
        };
        self.cores.begin(&Arc::new(back));
        let mut running = self.cores.count();
        let mut found = Interval::new();
        while running > 0 {
            match self.cores.news(Instant::now() + SILENCE) {
                Some(News::Measured { interval, ended, .. }) => {
                    running -= usize::from(ended);
                    found.verification.add(&interval.verification);
                    interval.errors.iter().for_each(|(name, count)| found.error(name, *count));
                }
                Some(News::Broken(why)) => return Err(Failure::Environment(why)),
                None => return Err(Failure::Environment("the executors do not answer".to_owned())),
            }
        }
        self.total.merge(&found);
        self.collector.found_afterwards(&found);
        Ok(())
    }

    fn finish(self) -> Outcome {
        if let Some(live) = self.live {
            live.finish();
        }
        let nothing = self.total.records_sent == 0 && self.total.records_received == 0;
        Outcome {
            verification: self.total.verification,
            useless: self.wants && nothing && !self.total.errors.is_empty(),
            report: self.collector.finish(),
        }
    }
}
