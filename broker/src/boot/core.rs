//! The life of one core: opens what it owns, serves, lets go.

use std::rc::Rc;
use std::sync::Arc;

use coordination::group::GroupSettings;
use coordination::metadata::{Image, Outcome};
use coordination::share::store::StoreSettings;
use model::limits::DECODED_BYTES_MAX;
use net::answers::Answers;
use net::budget::Budget;
use net::limits::Crowd;
use net::server::Server;
use shard::counters::{Counted, Counters, Gauge};
use shard::executor::{self, Queue};
use shard::janitor::Janitor;
use shard::mesh::Mesh;
use shard::metadata::{OpenMetadata, Proposer, Publish};
use shard::ops::{Answer, Question};
use shard::shard::{Shard, ShardSettings, UpkeepSettings};
use shard::state::PartitionState;
use storage::disk::Disk;
use storage::journal::JournalId;
use storage::paths::Paths;
use storage::{Store, StoreOptions};
use tokio::sync::watch;

use super::recover::{self, Hand, random};
use super::{DRAIN_PATIENCE, Event, MachineDisk, Part, Phase, Plan, gone};
use crate::admin::cores::Asked;
use crate::cluster::Node;
use crate::fatal::{self, Exit, Fatal};
use crate::service::{Broker, Home};

/// Produce is refused when less than the rings and this many bytes would stay free on the disk.
const FREE_BYTES_RESERVE: u64 = 64 << 20;

/// Runs core `index` until the broker ends.
pub(super) async fn run(index: usize, part: Part) {
    let events = part.events.clone();
    if let Err(fatal) = live(index, part).await {
        // The main thread ends the process; when it is gone already, it has.
        let _ = events.send(Event::Failed(fatal)).await;
    }
}

async fn live(index: usize, part: Part) -> Result<(), Fatal> {
    let Part { plan, disk, link, socket, asked, events, mut phase, mut seat } = part;
    let done = async |phase| events.send(Event::Done(phase)).await.map_err(gone);
    let mesh = link.join(fatal::panicked).await;
    let head = match seat.head.take() {
        Some(head) => Some(recover::begin(&plan, disk.clone(), head, &events).await?),
        None => None,
    };
    let hand = seat.hand.await.map_err(gone)?;
    let image = hand.image.clone();
    let quorum_epoch = i32::try_from(hand.term).unwrap_or(i32::MAX);
    limit(&plan.crowd, &image);
    let store = open_store(&plan, disk.clone(), hand).await?;
    seat.opened.send(()).await.map_err(gone)?;
    let metadata = match head {
        Some((metadata, recovery)) => {
            recovery.end(&plan).await?;
            Some(metadata)
        }
        None => None,
    };
    store.adopt(seat.files.await.map_err(gone)?);
    let upkeep = UpkeepSettings {
        retention_check_ms: u64::try_from(plan.settings.retention_check.as_millis()).unwrap_or(u64::MAX),
        ..UpkeepSettings::default()
    };
    // What is kept of share partitions gets a quarter of what groups may take, and what is in flight of them another.
    let states = plan.settings.memory.groups / 4;
    let memory_bytes_max = plan.settings.memory.groups - 2 * states;
    let groups = GroupSettings { memory_bytes_max, ..plan.settings.groups.clone() };
    let share_states = StoreSettings { memory_bytes_max: states, ..plan.settings.share_states };
    let seed = u64::from_le_bytes(random()?);
    let lenders = plan.lenders.clone();
    let shares_bytes_max = Some(states);
    let settings = ShardSettings { upkeep, groups, share_states, shares_bytes_max, lenders, seed };
    let shard = Shard::start(index, mesh.cores(), disk.clone(), store, image, settings);
    answer_cores(&mesh, &shard, metadata, plan.crowd.clone());
    let peers = mesh.clone();
    shard.set_peers(Box::new(move |core, question| {
        let peers = peers.clone();
        Box::pin(async move { peers.call(core, question).await.await })
    }));
    done(Phase::Start).await?;

    reach(&mut phase, Phase::Serve).await?;
    let (server, answers) = serve(&plan, quorum_epoch, &mesh, &shard)?;
    let listener = socket.listen().map_err(|error| {
        Fatal::new(Exit::Environment, format!("cannot listen on {}: {error}", plan.settings.listen))
    })?;
    tell_counters(asked, shard.clone(), server.clone(), answers, &plan);
    if index == 0 {
        start_janitor(&shard, &mesh, disk, plan.paths.clone());
    }
    server.serve(listener);
    done(Phase::Serve).await?;

    reach(&mut phase, Phase::Drain).await?;
    shard.drain();
    let cut_off = server.drain(DRAIN_PATIENCE).await;
    if cut_off > 0 {
        tracing::warn!(core = index, connections = cut_off, "cut off with requests in flight");
    }
    done(Phase::Drain).await?;

    reach(&mut phase, Phase::Close).await?;
    shard.stop().await.map_err(|error| {
        Fatal::new(Exit::Storage, format!("core {index} could not write down what it has: {error}"))
    })?;
    done(Phase::Close).await?;
    reach(&mut phase, Phase::End).await
}

async fn reach(phase: &mut watch::Receiver<Phase>, wanted: Phase) -> Result<(), Fatal> {
    phase.wait_for(|phase| *phase >= wanted).await.map(drop).map_err(gone)
}

async fn open_store(
    plan: &Plan,
    disk: MachineDisk,
    hand: Hand,
) -> Result<Rc<Store<MachineDisk, PartitionState>>, Fatal> {
    let memory = plan.settings.memory;
    let cores = plan.settings.cpus.len() as u64;
    let options = StoreOptions {
        paths: plan.paths.clone(),
        plan: memory,
        boot: hand.boot,
        journal: JournalId(random()?),
        open_files_max: plan.open_files_max,
        free_bytes_min: memory.ring * cores + FREE_BYTES_RESERVE,
        extent_bytes_min: model::limits::EXTENT_BYTES_MIN,
        extent_bytes_unsettled_max: model::limits::EXTENT_BYTES_UNSETTLED_MAX / cores,
        snapshot_bytes: model::limits::SNAPSHOT_BYTES,
    };
    Store::open(disk, options, hand.logs)
        .await
        .map_err(|error| Fatal::new(Exit::Storage, format!("a journal cannot be opened: {error}")))
}

/// Answers what this core and others ask of it. Commands to the metadata go to the core that has it.
fn answer_cores<D: Disk>(
    mesh: &Rc<Mesh<Question, Answer>>,
    shard: &Rc<Shard<D>>,
    metadata: Option<OpenMetadata<D>>,
    crowd: Arc<Crowd>,
) {
    let proposer: Option<Proposer> = metadata.map(|metadata| metadata.serve(publisher(mesh.clone(), crowd)));
    let shard = shard.clone();
    mesh.serve(move |_, question| {
        let (shard, proposer) = (shard.clone(), proposer.clone());
        async move {
            match (question, proposer) {
                (Question::Propose(command), Some(proposer)) => {
                    let outcome: Outcome = proposer.propose(command).await;
                    Answer::Metadata(outcome)
                }
                (question, _) => shard.answer(question).await,
            }
        }
    });
}

/// Hands a new image to every core at once; ready when all have it.
fn publisher(mesh: Rc<Mesh<Question, Answer>>, crowd: Arc<Crowd>) -> Publish {
    Box::new(move |image: Arc<Image>| {
        let mesh = mesh.clone();
        limit(&crowd, &image);
        Box::pin(async move {
            let mut published = Vec::with_capacity(mesh.cores());
            for core in 0..mesh.cores() {
                published.push(mesh.call(core, Question::Publish(image.clone())).await);
            }
            for answer in published {
                let _: Answer = answer.await;
            }
        })
    })
}

/// Lets in as many connections as the settings in force say.
fn limit(crowd: &Crowd, image: &Image) {
    let settings = image.settings();
    let open_max = match settings.connections_max {
        u32::MAX => usize::MAX,
        number => usize::try_from(number).unwrap_or(usize::MAX),
    };
    crowd.limit(open_max, settings.connections_per_ip_max);
}

fn serve(
    plan: &Plan,
    quorum_epoch: i32,
    mesh: &Rc<Mesh<Question, Answer>>,
    shard: &Rc<Shard<MachineDisk>>,
) -> Result<(Rc<Server<Home>>, Answers), Fatal> {
    let node = Node::new(mesh.clone(), shard.clone(), plan.clock);
    let seed = u64::from_le_bytes(random()?);
    let memory = |bytes| usize::try_from(bytes).unwrap_or(usize::MAX);
    let answers = Answers::new(memory(plan.settings.memory.control_answers()), DECODED_BYTES_MAX);
    let broker =
        Broker::new(Rc::new(node), Rc::new(plan.service.clone()), quorum_epoch, answers.clone(), seed);
    let limits = plan.settings.connections.clone();
    let budget = Budget::new(memory(plan.settings.memory.requests), limits.request_bytes_max);
    Ok((Server::new(Rc::new(Home::new(broker)), limits, budget, plan.crowd.clone()), answers))
}

fn start_janitor<D: Disk>(shard: &Rc<Shard<D>>, mesh: &Rc<Mesh<Question, Answer>>, disk: D, paths: Paths) {
    Janitor::new(shard.clone(), mesh.clone(), disk, paths).start();
}

/// Copies the counters for the admin thread when it asks.
fn tell_counters(
    mut asked: Asked,
    shard: Rc<Shard<MachineDisk>>,
    server: Rc<Server<Home>>,
    answers: Answers,
    plan: &Plan,
) {
    let io_memory = plan.settings.memory.io_memory;
    executor::spawn(Queue::Serve, async move {
        while let Some(answer) = asked.recv().await {
            count_connections(&shard.counters, &server);
            let lent = shard.lenders()[shard.core].lent();
            let answer_bytes = server.traffic().answer_bytes.get() + answers.used() as u64 + lent;
            shard.counters.set(Gauge::MemoryResponses, answer_bytes);
            shard.counters.set(Gauge::MemoryIo, io_memory);
            // Whoever asked may have lost patience.
            let _ = answer.send(shard.count_all());
        }
    });
}

fn count_connections(counters: &Counters, server: &Server<Home>) {
    let traffic = server.traffic();
    counters.set_count(Counted::ConnectionsAccepted, traffic.accepted.get());
    counters.set_count(Counted::ConnectionsRefused, traffic.refused.get());
    counters.set_count(Counted::ConnectionsFaulted, traffic.faulted.get());
    counters.set_count(Counted::ReceivedBytes, traffic.received_bytes.get());
    counters.set_count(Counted::SentBytes, traffic.sent_bytes.get());
    counters.set(Gauge::Connections, traffic.open.get());
    counters.set(Gauge::MemoryRequests, server.budget().used() as u64);
}
