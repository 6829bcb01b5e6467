//! A broker of two cores on the simulated disk, called with frames as a connection would.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use coordination::metadata::{Image, Overrides, Policy};
use futures_lite::future::BoxedLocal;
use model::limits::{DECODED_BYTES_MAX, MemoryPlan};
use model::{BrokerId, Tick, TimestampMs};
use net::answers::Answers;
use net::budget::Budget;
use net::service::{Called, Chunk, Peer, Reply, Request, Response, Service};
use protocol::RequestHeader;
use protocol::control::{KafkaRequest, KafkaResponse, decode_response, encode_request};
use shard::counters::Counters;
use shard::lending::{Lender, Loan};
use shard::metadata::{OpenMetadata, Proposer, Publish};
use shard::ops::{Answer, Fetch, Fetched, Question};
use shard::shard::{Shard, ShardSettings};
use shard::state::PartitionState;
use storage::disk::Space;
use storage::disk::memory::MemoryDisk;
use storage::disk::simulation::Simulation;
use storage::journal::JournalId;
use storage::paths::Paths;
use storage::{Piece, Store, StoreOptions};

use super::{Broker, Home, ServiceSettings, Session};
use crate::api::coordinator::InternalTopic;
use crate::cluster::{Asked, Cluster, Local};
use crate::telemetry::Telemetry;

pub const CORES: usize = 2;
/// The term in which the broker leads the metadata log.
pub const QUORUM_EPOCH: i32 = 9;
/// Memory of the core for control-plane requests and their answers.
pub const ANSWER_BYTES: usize = 1 << 20;

struct Cores {
    simulation: Simulation,
    shards: Vec<Rc<Shard<MemoryDisk>>>,
    proposer: RefCell<Option<Proposer>>,
}

/// What a question came to, and who waits for that.
#[derive(Default)]
struct Delivery {
    answer: Cell<Option<Answer>>,
    waker: Cell<Option<Waker>>,
}

/// One core's view.
struct OneCore {
    core: usize,
    cores: Rc<Cores>,
}

impl Cluster for OneCore {
    fn core(&self) -> usize {
        self.core
    }

    fn cores(&self) -> usize {
        CORES
    }

    fn image(&self) -> Arc<Image> {
        self.cores.shards[self.core].image()
    }

    fn counters(&self) -> &Counters {
        &self.cores.shards[self.core].counters
    }

    fn tick(&self) -> Tick {
        Tick(self.cores.simulation.now_ns() / 1_000_000)
    }

    fn elapsed(&self) -> Duration {
        Duration::from_nanos(self.cores.simulation.now_ns())
    }

    fn now(&self) -> TimestampMs {
        TimestampMs(self.cores.simulation.now_ms())
    }

    fn is_stopping(&self) -> bool {
        false
    }

    fn lacks_memory(&self) -> bool {
        false
    }

    fn ask(&self, core: usize, question: Question) -> Local<'_, Asked> {
        let mut answer: Asked = match question {
            Question::Propose(command) => {
                let proposer = self.cores.proposer.borrow().clone().unwrap();
                Box::pin(async move { Answer::Metadata(proposer.propose(command).await) })
            }
            question => Box::pin(Rc::clone(&self.cores.shards[core]).answer(question)),
        };
        // As the mesh does: the first part runs in the order of the questions.
        let started: Asked = match answer.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(answer) => Box::pin(std::future::ready(answer)),
            Poll::Pending => self.to_its_end(answer),
        };
        Box::pin(std::future::ready(started))
    }

    fn tell(&self, core: usize, question: Question) {
        drop(self.ask(core, question));
    }

    fn fetch_here(&self, fetch: Fetch) -> BoxedLocal<(Vec<Fetched<Piece>>, Option<Loan>)> {
        self.cores.shards[self.core].fetch_apart(fetch)
    }

    fn borrow_memory(&self, bytes: u64) -> BoxedLocal<Loan> {
        let shard = Rc::clone(&self.cores.shards[self.core]);
        Box::pin(async move { shard.borrow_memory(bytes).await })
    }

    fn lend_again(&self) {
        self.cores.shards[self.core].lend_again();
    }

    fn space(&self) -> BoxedLocal<io::Result<Space>> {
        let shard = Rc::clone(&self.cores.shards[self.core]);
        Box::pin(async move { shard.store.space().await })
    }

    fn run_apart(&self, work: Box<dyn FnOnce() + Send>) -> BoxedLocal<()> {
        work();
        Box::pin(std::future::ready(()))
    }
}

impl OneCore {
    /// A question that was asked is answered, whether or not anybody waits for that, as in the mesh.
    fn to_its_end(&self, answer: Asked) -> Asked {
        let delivery = Rc::new(Delivery::default());
        let told = Rc::clone(&delivery);
        self.cores.simulation.spawn(async move {
            told.answer.set(Some(answer.await));
            if let Some(waker) = told.waker.take() {
                waker.wake();
            }
        });
        Box::pin(std::future::poll_fn(move |context| {
            if let Some(answer) = delivery.answer.take() {
                return Poll::Ready(answer);
            }
            delivery.waker.set(Some(context.waker().clone()));
            Poll::Pending
        }))
    }
}

/// A client with one connection to core 0.
pub struct Client {
    pub simulation: Simulation,
    home: Home,
    session: Rc<Session>,
    budget: Budget,
    pub answers: Answers,
    /// What each core may lend.
    pub lenders: Arc<[Arc<Lender>]>,
    cores: Rc<Cores>,
}

async fn shard(
    disk: &MemoryDisk,
    core: usize,
    image: Arc<Image>,
    settings: ShardSettings,
) -> Rc<Shard<MemoryDisk>> {
    let options = StoreOptions {
        paths: Paths::new("/data"),
        plan: MemoryPlan::new(64 << 20, 1).unwrap(),
        boot: image.boot(),
        journal: JournalId([u8::try_from(core).unwrap() + 1; 16]),
        open_files_max: 16,
        free_bytes_min: 0,
        extent_bytes_min: model::limits::EXTENT_BYTES_MIN,
        extent_bytes_unsettled_max: model::limits::EXTENT_BYTES_UNSETTLED_MAX,
        snapshot_bytes: model::limits::SNAPSHOT_BYTES,
    };
    let store = Store::<MemoryDisk, PartitionState>::open(disk.clone(), options, Vec::new()).await.unwrap();
    Shard::start_serving(core, CORES, disk.clone(), store, image, settings)
}

impl Client {
    pub fn new() -> Self {
        Self::with(|_| {})
    }

    pub fn with(change: impl FnOnce(&mut ServiceSettings)) -> Self {
        Self::started(&[("node.id", "1")], change)
    }

    /// Of a broker that was started with this configuration.
    pub fn started(written: &[(&str, &str)], change: impl FnOnce(&mut ServiceSettings)) -> Self {
        Self::lending(u64::MAX, written, change)
    }

    /// With this much memory for answers to fetches on each core.
    pub fn lending(bytes: u64, written: &[(&str, &str)], change: impl FnOnce(&mut ServiceSettings)) -> Self {
        let lenders = (0..CORES).map(|_| Lender::new(bytes)).collect();
        let written = written.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Self::of(&ShardSettings { lenders, ..ShardSettings::default() }, written.collect(), change)
    }

    /// Of cores with these settings; they have lenders.
    pub fn of(set: &ShardSettings, written: Overrides, change: impl FnOnce(&mut ServiceSettings)) -> Self {
        let simulation = Simulation::new(1);
        let disk = MemoryDisk::new(&simulation);
        let cores = simulation.run_until(async {
            let policy = Policy { node: BrokerId(1), partitions_default: 2 };
            let dir = Path::new("/data/metadata");
            let metadata = OpenMetadata::open(disk.clone(), dir, policy, written, [1; 16]).await.unwrap();
            let mut shards = Vec::new();
            for core in 0..CORES {
                shards.push(shard(&disk, core, metadata.image(), set.clone()).await);
            }
            let cores =
                Rc::new(Cores { simulation: simulation.clone(), shards, proposer: RefCell::new(None) });
            let told = Rc::clone(&cores);
            let publish: Publish = Box::new(move |image| {
                told.shards.iter().for_each(|shard| shard.publish(Arc::clone(&image)));
                Box::pin(std::future::ready(()))
            });
            *cores.proposer.borrow_mut() = Some(metadata.serve(publish));
            for shard in &cores.shards {
                let cores = Rc::downgrade(&cores);
                shard.set_peers(Box::new(move |core, question| match cores.upgrade() {
                    Some(cores) => Box::pin(Rc::clone(&cores.shards[core]).answer(question)),
                    None => Box::pin(std::future::pending()),
                }));
            }
            cores
        });
        let mut settings = ServiceSettings {
            cluster_id: "test-cluster".into(),
            node: BrokerId(1),
            host: "localhost".into(),
            port: 9092,
            rack: None,
            auto_create_topics: true,
            delete_topics: true,
            fetch_bytes_max: 50 << 20,
            fetch_sessions_max: 10,
            share_sessions_max: 10,
            offsets_topic: InternalTopic { partitions: 4, segment_bytes: 1 << 20 },
            share_state_topic: InternalTopic { partitions: 4, segment_bytes: 1 << 20 },
            described_partitions_max: 2000,
            data_dir: "/data".into(),
            directory: [2; 16],
            recompressed_bytes_max: 8 << 20,
            telemetry: Telemetry::new(1 << 20),
        };
        change(&mut settings);
        let answers = Answers::new(ANSWER_BYTES, DECODED_BYTES_MAX);
        let cluster = Rc::new(OneCore { core: 0, cores: Rc::clone(&cores) });
        let home = Home::new(Broker::new(cluster, Rc::new(settings), QUORUM_EPOCH, answers.clone(), 1));
        let end = "127.0.0.1:9092".parse().unwrap();
        let session = home.connect(Peer { remote: end, local: end });
        let lenders = Arc::clone(&set.lenders);
        Self { simulation, home, session, budget: Budget::new(1 << 20, 1 << 19), answers, lenders, cores }
    }

    /// Hands a frame to the service; the second future is the reply.
    pub async fn begin(&self, frame: Bytes) -> Pin<Box<dyn Future<Output = Reply>>> {
        let header = RequestHeader::parse(&frame).unwrap();
        let request = Request { header, frame, permit: self.budget.empty() };
        match self.home.call(&self.session, request).await {
            Called::Now(reply) => Box::pin(std::future::ready(reply)),
            Called::Later(reply) | Called::InTurn { reply, .. } => reply,
        }
    }

    /// What a request is charged with until its turn has come.
    pub async fn charged(&self, frame: Bytes) -> usize {
        let header = RequestHeader::parse(&frame).unwrap();
        let request = Request { header, frame, permit: self.budget.empty() };
        match self.home.call(&self.session, request).await {
            Called::InTurn { permit, .. } => permit.bytes(),
            _ => 0,
        }
    }

    /// Fetches that wait, on all cores.
    pub fn waiting_fetches(&self) -> usize {
        self.cores.shards.iter().map(|shard| shard.waiting_fetches()).sum()
    }

    /// The reply to a frame.
    pub fn send(&self, frame: Bytes) -> Reply {
        self.simulation.run_until(async { self.begin(frame).await.await })
    }

    /// The response to a frame, in one piece.
    pub fn response(&self, frame: Bytes) -> Bytes {
        match self.send(frame) {
            Reply::Send(response) => joined(&response),
            other => panic!("no response but {other:?}"),
        }
    }

    /// The response to a control-plane request.
    pub fn ask<Q: KafkaRequest, A: KafkaResponse>(&self, version: i16, request: &Q) -> A {
        let frame = encode_request(version, 7, Some("test"), request).unwrap();
        let (correlation_id, response) = decode_response(version, &self.response(frame)).unwrap();
        assert_eq!(correlation_id, 7);
        response
    }
}

pub fn joined(response: &Response) -> Bytes {
    let mut bytes = BytesMut::new();
    response.pieces.iter().for_each(|piece: &Chunk| bytes.put_slice(piece.as_slice().unwrap()));
    bytes.freeze()
}

/// The front of a request whose version is not flexible.
pub fn frame(key: i16, version: i16) -> BytesMut {
    let mut frame = BytesMut::new();
    frame.put_i16(key);
    frame.put_i16(version);
    frame.put_i32(7);
    frame.put_i16(-1);
    frame
}

pub fn put_text(frame: &mut BytesMut, text: &str) {
    frame.put_i16(i16::try_from(text.len()).unwrap());
    frame.put_slice(text.as_bytes());
}

/// Produce version 8 of one batch each for some partitions of one topic.
pub fn produce(topic: &str, acks: i16, batches: &[(i32, Vec<u8>)]) -> Bytes {
    let mut frame = frame(0, 8);
    frame.put_i16(-1);
    frame.put_i16(acks);
    frame.put_i32(1000);
    frame.put_i32(1);
    put_text(&mut frame, topic);
    frame.put_i32(i32::try_from(batches.len()).unwrap());
    for (index, batch) in batches {
        frame.put_i32(*index);
        frame.put_i32(i32::try_from(batch.len()).unwrap());
        frame.put_slice(batch);
    }
    frame.freeze()
}

/// What Fetch version 11 asks.
pub struct Wanted {
    pub session: (i32, i32),
    pub wait_ms: i32,
    pub bytes_min: i32,
    /// Partition and offset.
    pub partitions: Vec<(i32, i64)>,
}

/// Fetch version 11 of some partitions of one topic.
pub fn fetch(topic: &str, wanted: &Wanted) -> Bytes {
    let mut frame = frame(1, 11);
    frame.put_i32(-1);
    frame.put_i32(wanted.wait_ms);
    frame.put_i32(wanted.bytes_min);
    frame.put_i32(i32::MAX);
    frame.put_i8(0);
    frame.put_i32(wanted.session.0);
    frame.put_i32(wanted.session.1);
    frame.put_i32(i32::from(!wanted.partitions.is_empty()));
    if !wanted.partitions.is_empty() {
        put_text(&mut frame, topic);
        frame.put_i32(i32::try_from(wanted.partitions.len()).unwrap());
        for (index, offset) in &wanted.partitions {
            frame.put_i32(*index);
            frame.put_i32(-1);
            frame.put_i64(*offset);
            frame.put_i64(-1);
            frame.put_i32(1 << 20);
        }
    }
    frame.put_i32(0);
    frame.put_i16(0);
    frame.freeze()
}
