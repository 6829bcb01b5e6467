//! One executor's part of a step: what its tasks share, and the interval it reports every second.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;
use std::time::Duration;

use protocol::ApiKey;
use protocol::control::RequestResponsePair;

use crate::clock::{Clock, Ns};
use crate::cluster::Cluster;
use crate::link::{Link, PATIENCE, error_words};
use crate::mode;
use crate::payload::Values;
use crate::plan::{Load, Step};
use crate::report::Interval;
use crate::run::{self, News};
use crate::setup::metadata_request;
use crate::template::Template;

/// Batches made per core. More would only fall out of the cache that makes sending them cheap.
const TEMPLATES: usize = 4;
/// Least time between two questions for metadata.
const REFRESH_PAUSE: Duration = Duration::from_millis(100);
/// How often the end of the tasks is looked for.
const LOOK: Duration = Duration::from_millis(5);
/// Nanoseconds of a second.
pub const SECOND: Ns = 1_000_000_000;

/// What the tasks of a core share.
#[derive(Debug)]
pub struct Core {
    /// The step.
    pub step: Arc<Step>,
    /// Which core this is.
    pub index: usize,
    /// What was measured since the last report.
    pub found: RefCell<Interval>,
    /// The cluster as this core knows it.
    pub cluster: RefCell<Cluster>,
    /// Batches to send.
    pub templates: Vec<Template>,
    /// Values that are asked for when an interval is reported: backlogs, lags, connections.
    probes: RefCell<Vec<Box<dyn Probe>>>,
    tasks: Cell<usize>,
    senders: Cell<usize>,
    refreshing: Cell<bool>,
    refreshed: Cell<Ns>,
    intended_told: Cell<u64>,
    cpu_told: Cell<u64>,
}

/// Something that knows a state worth reporting.
pub trait Probe: std::fmt::Debug {
    /// Adds it: gauges to the interval, and starts that the schedule has asked for until now to `intended`.
    fn report(&self, now: Ns, found: &mut Interval, intended: &mut u64);
}

impl Core {
    fn new(index: usize, step: Arc<Step>) -> Result<Self, String> {
        let templates =
            step.plan.load.as_ref().map_or(Ok(Vec::new()), |load| templates(&step, load, index))?;
        let cluster = RefCell::new(step.cluster.clone());
        Ok(Self {
            step,
            index,
            found: RefCell::default(),
            cluster,
            templates,
            probes: RefCell::default(),
            tasks: Cell::new(0),
            senders: Cell::new(0),
            refreshing: Cell::new(false),
            refreshed: Cell::new(0),
            intended_told: Cell::new(0),
            cpu_told: Cell::new(cpu_us()),
        })
    }

    /// The time.
    pub fn clock(&self) -> Clock {
        self.step.clock
    }

    /// Waits until `at`.
    pub async fn sleep_until(&self, at: Ns) {
        let wait = self.clock().until(at);
        if !wait.is_zero() {
            run::sleep(wait).await;
        }
    }

    /// Runs a task that the step waits for.
    pub fn spawn(self: &Rc<Self>, task: impl Future<Output = ()> + 'static) {
        let core = Rc::clone(self);
        core.tasks.set(core.tasks.get() + 1);
        run::spawn(async move {
            task.await;
            core.tasks.set(core.tasks.get() - 1);
        });
    }

    /// Runs a task that sends records: consumers are told when all of these have ended.
    pub fn spawn_sender(self: &Rc<Self>, task: impl Future<Output = ()> + 'static) {
        let core = Rc::clone(self);
        core.senders.set(core.senders.get() + 1);
        self.spawn(async move {
            task.await;
            core.senders.set(core.senders.get() - 1);
            if core.senders.get() == 0 {
                core.step.shared.senders.fetch_sub(1, Ordering::AcqRel);
            }
        });
    }

    /// Whether all senders of all cores have ended, and said what they sent.
    pub fn senders_done(&self) -> bool {
        self.step.shared.senders.load(Ordering::Acquire) == 0
    }

    /// Asks something at every report from now on.
    pub fn probe(&self, probe: impl Probe + 'static) {
        self.probes.borrow_mut().push(Box::new(probe));
    }

    /// Counts an error.
    pub fn error(&self, name: &str) {
        self.found.borrow_mut().error(name, 1);
    }

    /// Counts what broke a connection.
    pub fn broken(&self, error: &io::Error) {
        self.error(&error_words(error));
    }

    /// Asks somebody, on a connection of its own.
    pub async fn call<M: RequestResponsePair>(
        &self,
        address: SocketAddr,
        key: ApiKey,
        request: &M,
    ) -> io::Result<M::Response> {
        let link = Link::connect(address).await?;
        let versions = self.cluster.borrow().versions.clone();
        link.call(&self.step.plan.client_id, &versions, key, request, PATIENCE).await
    }

    /// Any broker, another one each time.
    pub fn any_broker(&self, turn: usize) -> io::Result<SocketAddr> {
        let cluster = self.cluster.borrow();
        let brokers = cluster.brokers.len().max(1);
        cluster.brokers.values().nth(turn % brokers).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Learns who leads what. Tasks that ask while one does wait for its answer.
    pub async fn refresh(&self) {
        if self.refreshing.replace(true) {
            while self.refreshing.get() {
                run::sleep(LOOK).await;
            }
            return;
        }
        self.sleep_until(self.refreshed.get() + crate::units::nanos(REFRESH_PAUSE)).await;
        let turn = usize::try_from(self.clock().now() / SECOND).unwrap_or(0);
        let asked = match self.any_broker(turn) {
            Ok(address) => {
                let request = metadata_request(&self.step.plan.topics.names);
                self.call(address, ApiKey::Metadata, &request).await
            }
            Err(error) => Err(error),
        };
        match asked {
            Ok(response) => self.cluster.borrow_mut().update(&response),
            Err(error) => self.error(&format!("metadata: {}", error_words(&error))),
        }
        self.refreshed.set(self.clock().now());
        self.refreshing.set(false);
    }

    /// What was measured since the last time.
    fn interval(&self) -> Interval {
        let now = self.clock().now();
        let mut found = self.found.borrow_mut().take();
        let mut intended = 0;
        for probe in self.probes.borrow().iter() {
            probe.report(now, &mut found, &mut intended);
        }
        found.intended = intended.saturating_sub(self.intended_told.replace(intended));
        let cpu = cpu_us();
        found.cpu_us = cpu.saturating_sub(self.cpu_told.replace(cpu));
        found
    }
}

fn templates(step: &Step, load: &Load, index: usize) -> Result<Vec<Template>, String> {
    let seed = step.plan.seed.wrapping_add(index as u64 * 7919);
    let mut values = Values::new(load.sizes.clone(), load.compressibility, load.stamping.bytes(), seed)?;
    let compression = load.codec.compression();
    let template = |_| Template::new(&mut values, load.keys, compression, load.batch_bytes);
    Ok((0..TEMPLATES).map(template).collect())
}

/// CPU time of this thread in microseconds. The executor's other thread only serves what may block: nothing here.
fn cpu_us() -> u64 {
    let times = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    times.split(' ').next().and_then(|ns| ns.parse::<u64>().ok()).map_or(0, |ns| ns / 1000)
}

/// Does this core's part of a step and reports each second of it.
pub async fn work(index: usize, step: Arc<Step>, tell: Sender<News>) {
    let core = match Core::new(index, step) {
        Ok(core) => Rc::new(core),
        Err(error) => {
            let _ = tell.send(News::Broken(error));
            return;
        }
    };
    core.sleep_until(0).await;
    core.cpu_told.set(cpu_us());
    mode::begin(&core);
    let mut second = SECOND;
    while core.tasks.get() > 0 {
        let wait = core.clock().until(second).min(LOOK);
        run::sleep(wait.max(Duration::from_micros(100))).await;
        if core.clock().now() >= second {
            let interval = Box::new(core.interval());
            // Nobody listens any more only when the process ends.
            let _ = tell.send(News::Measured { core: index, interval, ended: false });
            second += SECOND;
        }
    }
    let interval = Box::new(core.interval());
    let _ = tell.send(News::Measured { core: index, interval, ended: true });
}
