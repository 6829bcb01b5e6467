//! The driver of the metadata machine, on core 0: commands to records, records to the disk, the image to every core,
//! then the answer. Today the whole quorum is this broker; Raft will stand between the machine and the log.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use coordination::effects::Effects;
use coordination::machine::Machine;
use coordination::metadata::delta::{Record, RecordError, decode_state, encode_state};
use coordination::metadata::features::{self, FEATURES};
use coordination::metadata::{Command, Effect, Image, Input, Metadata, Outcome, Overrides, Policy};
use model::Tick;
use storage::disk::Disk;
use storage::metadata_log::{Entry, HardState, MetadataLog, MetadataLogError};
use storage::signal::Signal;

/// A log file of more bytes than this is replaced by a snapshot.
const SNAPSHOT_AFTER_BYTES: u64 = 4 << 20;

/// Why the metadata cannot be opened.
#[derive(Debug)]
pub enum MetadataError {
    /// The files cannot be read, or are damaged.
    Log(MetadataLogError),
    /// The entry at this index (or in the snapshot up to it) is no record that this release knows.
    Record(u64, RecordError),
    /// A feature is at a level that this release does not have.
    Feature(String),
}

impl fmt::Display for MetadataError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Log(error) => error.fmt(f),
            Self::Record(index, error) => write!(f, "metadata entry {index}: {error}"),
            Self::Feature(what) => {
                write!(f, "{what}: a newer one wrote it; start that, or lower the level with it")
            }
        }
    }
}

impl std::error::Error for MetadataError {}

impl From<MetadataLogError> for MetadataError {
    fn from(error: MetadataLogError) -> Self {
        Self::Log(error)
    }
}

/// Hands an image to every core; ready when each has it.
pub type Publish = Box<dyn Fn(Arc<Image>) -> Pin<Box<dyn Future<Output = ()>>>>;

/// The metadata as read from the disk, with this boot's record in it. Nobody has proposed anything yet.
pub struct OpenMetadata<D: Disk> {
    driver: Driver<D>,
}

/// Where commands go in; cheap to clone, on core 0 only.
#[derive(Clone)]
pub struct Proposer {
    inbox: Rc<Inbox>,
}

#[derive(Default)]
struct Inbox {
    commands: RefCell<VecDeque<(u64, Command)>>,
    /// By ticket of those who wait; without an outcome yet, or with it.
    outcomes: RefCell<HashMap<u64, Option<Outcome>>>,
    next: std::cell::Cell<u64>,
    arrived: Signal,
    answered: Signal,
}

struct Driver<D: Disk> {
    disk: D,
    log: MetadataLog<D>,
    machine: Metadata,
    term: u64,
    effects: Effects<Effect>,
    /// Try no snapshot before the log file has this size.
    snapshot_at: u64,
}

impl<D: Disk> OpenMetadata<D> {
    /// Reads the metadata in `dir` (nothing there is an empty cluster) and writes this boot's record.
    ///
    /// `seed` is 16 random bytes, new at every start; `started` is the broker's own configuration.
    ///
    /// # Errors
    /// When files cannot be read, are damaged or of a newer release.
    pub async fn open(
        disk: D,
        dir: &Path,
        policy: Policy,
        started: Overrides,
        seed: [u8; 16],
    ) -> Result<Self, MetadataError> {
        let (log, found) = MetadataLog::open(disk.clone(), dir).await?;
        let mut machine = Metadata::new(policy, started, seed);
        if let Some(snapshot) = &found.snapshot {
            let records = decode_state(&snapshot.contents)
                .map_err(|error| MetadataError::Record(snapshot.index, error))?;
            machine.replay(records.iter().map(|record| (snapshot.index, record)));
        }
        let mut records = Vec::with_capacity(found.entries.len());
        for entry in &found.entries {
            let record = Record::decode(entry.kind, entry.version, &entry.payload)
                .map_err(|error| MetadataError::Record(entry.index, error))?;
            records.push((entry.index, record));
        }
        machine.replay(records.iter().map(|(index, record)| (*index, record)));
        if let Some(what) = features::unsupported(machine.image(), FEATURES) {
            return Err(MetadataError::Feature(what));
        }
        let term = found.hard_state.term + 1;
        let effects = Effects::new();
        let mut driver = Driver { disk, log, machine, term, effects, snapshot_at: SNAPSHOT_AFTER_BYTES };
        driver.begin_term(policy.node.0, dir).await?;
        Ok(Self { driver })
    }

    /// The metadata at this start.
    #[must_use]
    pub fn image(&self) -> Arc<Image> {
        Arc::clone(self.driver.machine.image())
    }

    /// The term of the log in which this broker leads.
    #[must_use]
    pub const fn term(&self) -> u64 {
        self.driver.term
    }

    /// Serves commands in a task of `disk`'s executor, for as long as that lives.
    #[must_use]
    pub fn serve(self, publish: Publish) -> Proposer {
        let inbox = Rc::new(Inbox::default());
        let proposer = Proposer { inbox: Rc::clone(&inbox) };
        let disk = self.driver.disk.clone();
        disk.spawn(self.driver.run(inbox, publish));
        proposer
    }
}

impl Proposer {
    /// Proposes a command; the outcome is told when it is durable and every core has the image.
    pub async fn propose(&self, command: Command) -> Outcome {
        let ticket = self.inbox.next.get();
        self.inbox.next.set(ticket + 1);
        self.inbox.outcomes.borrow_mut().insert(ticket, None);
        let waiting = Waiting { inbox: &self.inbox, ticket };
        self.inbox.commands.borrow_mut().push_back((ticket, command));
        self.inbox.arrived.notify();
        self.inbox.answered.until(|| waiting.outcome()).await
    }
}

/// Forgets the ticket in the end, whether or not its outcome came.
struct Waiting<'a> {
    inbox: &'a Inbox,
    ticket: u64,
}

impl Waiting<'_> {
    fn outcome(&self) -> Option<Outcome> {
        self.inbox.outcomes.borrow_mut().get_mut(&self.ticket)?.take()
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.inbox.outcomes.borrow_mut().remove(&self.ticket);
    }
}

impl<D: Disk> Driver<D> {
    /// A quorum of one elects itself, then notes that this process started.
    async fn begin_term(&mut self, node: i32, dir: &Path) -> Result<(), MetadataError> {
        let failed = |error| MetadataError::Log(MetadataLogError::Io(dir.to_owned(), error));
        let state = HardState { term: self.term, vote: node, commit: self.log.last_index() };
        self.log.set_hard_state(state).await.map_err(failed)?;
        self.machine.step(Tick(0), Input::Propose(0, Command::Boot), &mut self.effects);
        let effects: Vec<_> = self.effects.drain().collect();
        for effect in effects {
            if let Effect::Append(first, records) = effect {
                self.log.append(&entries(self.term, first, &records)).await.map_err(failed)?;
            }
        }
        self.machine.step(Tick(0), Input::Durable, &mut self.effects);
        // The image is handed out by `OpenMetadata::image`, and nobody waits for the reply.
        self.effects.drain().for_each(drop);
        self.snapshot_if_large().await;
        Ok(())
    }

    async fn run(mut self, inbox: Rc<Inbox>, publish: Publish) {
        loop {
            let arrived = inbox
                .arrived
                .until(|| {
                    let commands = std::mem::take(&mut *inbox.commands.borrow_mut());
                    (!commands.is_empty()).then_some(commands)
                })
                .await;
            let mut pending = VecDeque::new();
            for (ticket, command) in arrived {
                self.step(Input::Propose(ticket, command), &mut pending);
            }
            while let Some(effect) = pending.pop_front() {
                match effect {
                    Effect::Append(first, records) => {
                        let input = self.append(first, &records).await;
                        self.step(input, &mut pending);
                    }
                    Effect::Publish(image) => publish(image).await,
                    Effect::Reply(ticket, outcome) => {
                        if let Some(place) = inbox.outcomes.borrow_mut().get_mut(&ticket) {
                            *place = Some(outcome);
                        }
                        inbox.answered.notify();
                    }
                }
            }
            self.snapshot_if_large().await;
        }
    }

    fn step(&mut self, input: Input, pending: &mut VecDeque<Effect>) {
        let now = Tick(self.disk.now_ns() / 1_000_000);
        self.machine.step(now, input, &mut self.effects);
        pending.extend(self.effects.drain());
    }

    async fn append(&mut self, first: u64, records: &[Record]) -> Input {
        match self.log.append(&entries(self.term, first, records)).await {
            Ok(()) => Input::Durable,
            Err(error) if no_room(&error) => {
                tracing::warn!(%error, "a metadata change was refused");
                Input::AppendFailed(format!("the metadata log cannot be written: {error}"))
            }
            Err(error) => {
                let (path, at) = self.log.end();
                self.disk.fatal(&format!("writing the metadata log {} at byte {at}", path.display()), &error)
            }
        }
    }

    async fn snapshot_if_large(&mut self) {
        if self.log.file_bytes() < self.snapshot_at {
            return;
        }
        let image = Arc::clone(self.machine.image());
        match self.log.snapshot(image.applied(), &encode_state(&image.to_records())).await {
            Ok(()) => self.snapshot_at = SNAPSHOT_AFTER_BYTES,
            Err(error) => {
                tracing::warn!(%error, "no metadata snapshot; the log grows on");
                self.snapshot_at = self.log.file_bytes() + SNAPSHOT_AFTER_BYTES;
            }
        }
    }
}

fn no_room(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

fn entries(term: u64, first: u64, records: &[Record]) -> Vec<Entry> {
    let encode = |(index, record): (u64, &Record)| {
        let encoded = record.encode();
        Entry { term, index, kind: encoded.kind, version: encoded.version, payload: encoded.payload }
    };
    (first..).zip(records).map(encode).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use coordination::metadata::NewTopic;
    use model::{BrokerId, LeaderEpoch};
    use storage::disk::memory::MemoryDisk;
    use storage::disk::simulation::Simulation;

    async fn opened(disk: &MemoryDisk) -> OpenMetadata<MemoryDisk> {
        let policy = Policy { node: BrokerId(1), partitions_default: 1 };
        let dir = Path::new("/data/metadata");
        OpenMetadata::open(disk.clone(), dir, policy, Overrides::new(), [1; 16]).await.unwrap()
    }

    fn create(name: String) -> Command {
        let topic = NewTopic { partitions: 2, ..NewTopic::new(name) };
        Command::CreateTopics { topics: vec![topic], validate_only: false }
    }

    /// Keeps the newest image published.
    fn kept() -> (Rc<RefCell<Arc<Image>>>, Publish) {
        let kept = Rc::new(RefCell::new(Arc::new(Image::default())));
        let keep = Rc::clone(&kept);
        let publish: Publish = Box::new(move |image| {
            *keep.borrow_mut() = image;
            Box::pin(std::future::ready(()))
        });
        (kept, publish)
    }

    #[test]
    fn an_answer_comes_after_the_image_and_survives_the_process() {
        let simulation = Simulation::new(1);
        let disk = MemoryDisk::new(&simulation);
        let (image, publish) = kept();
        simulation.run_until(async {
            let metadata = opened(&disk).await;
            assert_eq!(metadata.image().leader_epoch(), LeaderEpoch(1));
            let proposer = metadata.serve(publish);
            let outcome = proposer.propose(create("a".into())).await;
            assert!(matches!(outcome, Outcome::Topics(ref each) if each[0].is_ok()), "{outcome:?}");
            assert!(image.borrow().topic("a").is_some(), "published before answered");
            assert!(proposer.inbox.outcomes.borrow().is_empty());
        });
        let left = disk.kill();
        simulation.crash();
        let disk = MemoryDisk::from_image(&simulation, left);
        simulation.run_until(async {
            let image = opened(&disk).await.image();
            assert_eq!(image.leader_epoch(), LeaderEpoch(2));
            assert_eq!(image.topic("a").unwrap().partitions, 2);
        });
    }

    #[test]
    fn many_proposers_share_commits_and_a_large_log_becomes_a_snapshot() {
        let simulation = Simulation::new(1);
        let disk = MemoryDisk::new(&simulation);
        let (image, publish) = kept();
        simulation.run_until(async {
            let mut metadata = opened(&disk).await;
            metadata.driver.snapshot_at = 40 << 10;
            let proposer = metadata.serve(publish);
            let done = Rc::new(std::cell::Cell::new(0));
            for i in 0..300 {
                let (proposer, done) = (proposer.clone(), Rc::clone(&done));
                simulation.spawn(async move {
                    proposer.propose(create(format!("topic-{i}"))).await;
                    done.set(done.get() + 1);
                });
            }
            // Gone before its answer: nothing is left behind.
            drop(futures_lite::future::poll_once(proposer.propose(create("gone".into()))).await);
            proposer.propose(create("last".into())).await;
            for i in 0..20 {
                proposer.propose(create(format!("late-{i}"))).await;
            }
            assert_eq!(done.get(), 300);
            assert!(proposer.inbox.outcomes.borrow().is_empty());
        });
        let names = simulation.run_until(disk.list_dir(Path::new("/data/metadata"))).unwrap();
        assert!(names.iter().any(|entry| entry.name.ends_with(".snapshot")), "{names:?}");
        let left = disk.kill();
        simulation.crash();
        let disk = MemoryDisk::from_image(&simulation, left);
        simulation.run_until(async {
            let again = opened(&disk).await.image();
            assert_eq!(again.topics().len(), 322);
            assert_eq!(again.topics_sorted(), image.borrow().topics_sorted());
        });
    }

    #[test]
    fn a_full_disk_refuses_commands_and_heals() {
        let simulation = Simulation::new(1);
        let disk = MemoryDisk::new(&simulation);
        let (image, publish) = kept();
        simulation.run_until(async {
            let proposer = opened(&disk).await.serve(publish);
            disk.set_capacity(0);
            let refused = proposer.propose(create("a".into())).await;
            assert!(matches!(refused, Outcome::Failed(_)), "{refused:?}");
            assert!(image.borrow().topic("a").is_none());
            disk.set_capacity(1 << 30);
            let outcome = proposer.propose(create("a".into())).await;
            assert!(matches!(outcome, Outcome::Topics(ref each) if each[0].is_ok()), "{outcome:?}");
        });
    }
}
