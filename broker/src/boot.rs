//! From settings to a serving broker and back: starts the cores, leads them from one phase to the next, ends them.

mod core;
mod recover;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use futures_lite::future::{block_on, or};
use model::limits::{PUSH_BYTES_MAX, QUESTIONS_MAX};
use net::limits::{ConnectionLimits, Crowd};
use net::listener::{Reservation, ReservedSocket};
use shard::clock::Clock;
use shard::executor::{self, ExecutorSettings, Executors, Queue};
use shard::lending::Lender;
use shard::mesh::{self, Link};
use shard::ops::{Answer, Question};
use storage::disk::recorded::Recorded;
use storage::disk::uring::UringDisk;
use storage::paths::Paths;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{info, warn};

use crate::admin::cores::{Asked, Cores, channels};
use crate::admin::{Endpoint, Health};
use crate::data_dir::DataDir;
use crate::fatal::{self, Exit, Fatal};
use crate::ready::Ready;
use crate::service::ServiceSettings;
use crate::settings::Settings;
use crate::shutdown::Shutdown;
use crate::telemetry::Telemetry;

/// How long a core may take to tell its counters.
const SCRAPE_PATIENCE: Duration = Duration::from_secs(2);
/// How long a start waits for a port that is in use...
const PORT_PATIENCE: Duration = Duration::from_secs(3);
/// ...and how often it tries.
const PORT_RETRY: Duration = Duration::from_millis(50);
/// How long a stop waits for requests in flight.
const DRAIN_PATIENCE: Duration = Duration::from_secs(10);

/// What all cores do at the same time; each waits for the others before the next.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Phase {
    /// Recovers, opens its store, answers other cores.
    Start,
    /// Takes connections.
    Serve,
    /// Takes no more, answers what is in flight; other cores may still need it.
    Drain,
    /// Writes down what it has.
    Close,
    /// Ends: nobody asks anybody any more.
    End,
}

/// What the cores tell.
enum Event {
    /// One core has done what its phase asks.
    Done(Phase),
    /// Recovery took this long.
    Recovered(Duration),
    /// The broker cannot go on.
    Failed(Fatal),
}

/// What all cores are given.
struct Plan {
    settings: Settings,
    service: ServiceSettings,
    paths: Paths,
    crowd: Arc<Crowd>,
    lenders: Arc<[Arc<Lender>]>,
    clock: Clock,
    open_files_max: usize,
}

/// The disk of this machine.
type MachineDisk = Recorded<UringDisk>;

/// What one core is given.
struct Part {
    plan: Arc<Plan>,
    disk: MachineDisk,
    link: Link<Question, Answer>,
    socket: ReservedSocket,
    asked: Asked,
    events: mpsc::Sender<Event>,
    phase: watch::Receiver<Phase>,
    seat: recover::Seat,
}

/// Runs the broker until `shutdown` is requested. Says [`Ready`] once it serves.
///
/// # Errors
/// Why it ended otherwise.
pub fn run(settings: Settings, data_dir: DataDir, shutdown: Shutdown) -> Result<(), Fatal> {
    let cores = settings.cpus.len();
    let reservation = reserve(settings.listen, cores)
        .map_err(|error| taken("clients", "--listen", settings.listen, &error))?;
    let endpoint = Endpoint::bind(settings.admin)
        .map_err(|error| taken("the admin endpoint", "--admin", settings.admin, &error))?;
    let (kafka, admin) = (reservation.address(), endpoint.address());
    let (ask, asked) = channels(cores);
    let clock = Clock::start();
    let telemetry = Telemetry::new(settings.telemetry_bytes_max.min(PUSH_BYTES_MAX));
    let told = telemetry.clone();
    let clients = Box::new(move || told.text(clock.tick()));
    let health = endpoint.serve(Cores::new(ask, SCRAPE_PATIENCE), clients).map_err(|error| {
        Fatal::new(Exit::Environment, format!("cannot start the admin endpoint: {error}"))
    })?;

    let executors = ExecutorSettings {
        cpus: settings.cpus.clone(),
        io_memory: usize::try_from(settings.memory.io_memory).unwrap_or(usize::MAX),
        spin: settings.spin,
        fatal: fatal::panicked,
    };
    let plan = Arc::new(Plan {
        service: service_settings(&settings, &data_dir, kafka, telemetry),
        paths: Paths::new(&data_dir.path),
        crowd: Crowd::new(&ConnectionLimits {
            connections_max: crate::environment::handles::connections_max(cores),
            ..settings.connections.clone()
        }),
        lenders: (0..cores).map(|_| Lender::new(settings.memory.fetch_answers())).collect(),
        clock,
        open_files_max: crate::environment::handles::open_segments_max(cores),
        settings,
    });
    let (events, heard) = mpsc::channel(4 * cores);
    let (phase, phases) = watch::channel(Phase::Start);
    let parts = parts(&plan, &data_dir, reservation.into_sockets(), asked, &events, &phases)?;
    drop(events);
    let executors = executor::start(&executors, parts, core::run).map_err(|error| {
        Fatal::new(Exit::Environment, format!("{error}; `millrace check` says what to change"))
    })?;
    let executors = Some(executors);
    let mut lead = Lead { cores, executors, phase, heard, health, shutdown, recovered: Duration::ZERO };
    block_on(lead.run(kafka, admin))?;
    info!("stopped");
    Ok(())
}

/// Takes the port. The kernel closes the sockets of a killed process only when it has torn down its rings, which may be a moment after
/// the process is gone; so a start that follows at once tries again for a while.
fn reserve(address: SocketAddr, cores: usize) -> io::Result<Reservation> {
    let patient_until = Instant::now() + PORT_PATIENCE;
    loop {
        match Reservation::new(address, cores) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < patient_until => {
                thread::sleep(PORT_RETRY);
            }
            reserved => return reserved,
        }
    }
}

fn taken(who: &str, flag: &str, address: SocketAddr, error: &io::Error) -> Fatal {
    let message =
        format!("cannot listen on {address} for {who}: {error}; choose another address with {flag}");
    Fatal::new(Exit::Environment, message)
}

fn parts(
    plan: &Arc<Plan>,
    data_dir: &DataDir,
    sockets: Vec<ReservedSocket>,
    asked: Vec<Asked>,
    events: &mpsc::Sender<Event>,
    phases: &watch::Receiver<Phase>,
) -> Result<Vec<Part>, Fatal> {
    let cores = sockets.len();
    let links = mesh::links(cores, QUESTIONS_MAX);
    let seats = recover::seats(cores);
    let each = sockets.into_iter().zip(asked).zip(links).zip(seats);
    each.map(|(((socket, asked), link), seat)| {
        let disk = UringDisk::new(&data_dir.path).map_err(|error| {
            Fatal::new(Exit::DataDirectory, format!("cannot open {}: {error}", data_dir.path.display()))
        })?;
        let disk = disk.with_queue_behind(|task| executor::spawn(Queue::Flush, task));
        let disk = Recorded::new(disk, data_dir.tape.clone()).failing(plan.settings.disk_failures.clone());
        let (plan, events, phase) = (plan.clone(), events.clone(), phases.clone());
        Ok(Part { plan, disk, link, socket, asked, events, phase, seat })
    })
    .collect()
}

fn service_settings(
    settings: &Settings,
    data_dir: &DataDir,
    kafka: SocketAddr,
    telemetry: Arc<Telemetry>,
) -> ServiceSettings {
    ServiceSettings {
        cluster_id: data_dir.cluster_id.clone(),
        node: data_dir.node_id,
        host: settings.advertised.host.clone(),
        port: settings.advertised.port.unwrap_or(kafka.port()),
        rack: settings.rack.clone(),
        auto_create_topics: settings.auto_create_topics,
        delete_topics: settings.delete_topics,
        fetch_bytes_max: settings.fetch_bytes_max,
        fetch_sessions_max: settings.fetch_sessions_max,
        share_sessions_max: settings.share_sessions_max,
        offsets_topic: settings.offsets_topic,
        share_state_topic: settings.share_state_topic,
        described_partitions_max: settings.described_partitions_max,
        data_dir: data_dir.told.display().to_string(),
        directory: data_dir.directory(),
        recompressed_bytes_max: usize::try_from(settings.memory.batch_bytes_max()).unwrap_or(usize::MAX),
        telemetry,
    }
}

/// The main thread once the cores run: it moves them from phase to phase.
struct Lead {
    cores: usize,
    executors: Option<Executors<()>>,
    phase: watch::Sender<Phase>,
    heard: mpsc::Receiver<Event>,
    health: Arc<Health>,
    shutdown: Shutdown,
    recovered: Duration,
}

impl Lead {
    async fn run(&mut self, kafka: SocketAddr, admin: SocketAddr) -> Result<(), Fatal> {
        if self.finish_or_stop(Phase::Start).await? {
            // Nothing was promised to anybody yet, and a start may be repeated from anywhere in it.
            return Ok(());
        }
        self.enter(Phase::Serve).await?;
        self.health.set_ready(true);
        let recovered_ms = u64::try_from(self.recovered.as_millis()).unwrap_or(u64::MAX);
        Ready { kafka, admin, recovered_ms }.announce();
        self.until_stopped().await?;
        self.health.set_ready(false);
        for phase in [Phase::Drain, Phase::Close] {
            self.enter(phase).await?;
        }
        self.phase.send_replace(Phase::End);
        drop(self.executors.take().map(Executors::join));
        Ok(())
    }

    /// Sends all cores into a phase and waits until each has done what it asks.
    async fn enter(&mut self, phase: Phase) -> Result<(), Fatal> {
        self.phase.send_replace(phase);
        self.finish_phase(phase).await
    }

    async fn finish_phase(&mut self, phase: Phase) -> Result<(), Fatal> {
        let mut done = 0;
        while done < self.cores {
            match self.heard.recv().await {
                Some(Event::Done(which)) if which == phase => done += 1,
                Some(event) => self.note(event)?,
                None => return Err(Fatal::new(Exit::Panic, "the cores ended by themselves")),
            }
        }
        Ok(())
    }

    /// True when a stop was asked for before the phase was done.
    async fn finish_or_stop(&mut self, phase: Phase) -> Result<bool, Fatal> {
        let mut shutdown = self.shutdown.clone();
        let stopped = async {
            shutdown.requested().await;
            Ok(true)
        };
        or(async { self.finish_phase(phase).await.map(|()| false) }, stopped).await
    }

    async fn until_stopped(&mut self) -> Result<(), Fatal> {
        loop {
            let shutdown = &mut self.shutdown;
            let requested = async {
                shutdown.requested().await;
                None
            };
            match or(requested, async { Some(self.heard.recv().await) }).await {
                None => return Ok(()),
                Some(Some(event)) => self.note(event)?,
                Some(None) => return Err(Fatal::new(Exit::Panic, "the cores ended by themselves")),
            }
        }
    }

    fn note(&mut self, event: Event) -> Result<(), Fatal> {
        match event {
            Event::Failed(fatal) => return Err(fatal),
            Event::Recovered(took) => self.recovered = took,
            Event::Done(phase) => warn!(?phase, "a core is in another phase"),
        }
        Ok(())
    }
}

/// The far end of a channel is gone, which only happens while the broker ends for a reason that is told elsewhere.
fn gone<E>(_: E) -> Fatal {
    Fatal::new(Exit::Panic, "another core ended")
}

/// A value for one core, from core 0.
type Handed<T> = oneshot::Receiver<T>;
