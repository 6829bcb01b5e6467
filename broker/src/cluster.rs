//! What a home core sees of the broker: the newest metadata, and the cores that own partitions.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use coordination::metadata::{Command, Image, Outcome, Refusal, Topic};
use futures_lite::future::BoxedLocal;
use model::{ErrorCode, Tick, TimestampMs, TopicPartition};
use shard::clock::Clock;
use shard::counters::{Counters, Timed};
use shard::executor::{self, Queue, spawn};
use shard::lending::Loan;
use shard::mesh::Mesh;
use shard::ops::{Answer, Fetch, Fetched, Question};
use shard::route::owner_of;
use shard::shard::Shard;
use storage::Piece;
use storage::disk::{Disk, Space};

/// A question that is queued; the answer comes later.
pub type Asked = BoxedLocal<Answer>;

/// A future that borrows.
pub type Local<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// The cores of this broker, as seen from one of them.
pub trait Cluster: 'static {
    /// This core.
    fn core(&self) -> usize;

    /// How many there are.
    fn cores(&self) -> usize;

    /// The metadata in force here.
    fn image(&self) -> Arc<Image>;

    /// This core's counters.
    fn counters(&self) -> &Counters;

    /// Logical time.
    fn tick(&self) -> Tick;

    /// Time since the process started, to measure with.
    fn elapsed(&self) -> Duration;

    /// Wall time.
    fn now(&self) -> TimestampMs;

    /// Whether the broker was asked to stop: nobody waits for more.
    fn is_stopping(&self) -> bool;

    /// Whether fetches wait, on any core, for memory that their answers may take.
    fn lacks_memory(&self) -> bool;

    /// Asks `core`, which may be this one. Ready when the question is queued there, behind all that was asked before.
    fn ask(&self, core: usize, question: Question) -> Local<'_, Asked>;

    /// Tells `core` something; does not wait itself.
    fn tell(&self, core: usize, question: Question);

    /// Tells `core` that nobody waits any more for what has this name.
    fn cancel(&self, core: usize, token: u64) {
        self.tell(core, Question::CancelAwait(token));
    }

    /// A fetch of partitions of this core: the records stay where they are.
    fn fetch_here(&self, fetch: Fetch) -> BoxedLocal<(Vec<Fetched<Piece>>, Option<Loan>)>;

    /// Memory of this core for about this many bytes of an answer; waits for its turn.
    fn borrow_memory(&self, bytes: u64) -> BoxedLocal<Loan>;

    /// Some of this core's memory came back: whoever waits for it looks again.
    fn lend_again(&self);

    /// How large the file system of the data directory is.
    fn space(&self) -> BoxedLocal<io::Result<Space>>;

    /// Runs `work` on a thread where it may take its time; see [`apart`].
    fn run_apart(&self, work: Box<dyn FnOnce() + Send>) -> BoxedLocal<()>;
}

/// The real one.
pub struct Node<D: Disk> {
    mesh: Rc<Mesh<Question, Answer>>,
    shard: Rc<Shard<D>>,
    clock: Clock,
}

impl<D: Disk> Node<D> {
    /// From this core's end of the mesh and what it owns.
    #[must_use]
    pub const fn new(mesh: Rc<Mesh<Question, Answer>>, shard: Rc<Shard<D>>, clock: Clock) -> Self {
        Self { mesh, shard, clock }
    }
}

impl<D: Disk> Cluster for Node<D> {
    fn core(&self) -> usize {
        self.mesh.core()
    }

    fn cores(&self) -> usize {
        self.mesh.cores()
    }

    fn image(&self) -> Arc<Image> {
        self.shard.image()
    }

    fn counters(&self) -> &Counters {
        &self.shard.counters
    }

    fn tick(&self) -> Tick {
        self.clock.tick()
    }

    fn elapsed(&self) -> Duration {
        self.clock.elapsed()
    }

    fn now(&self) -> TimestampMs {
        self.clock.now()
    }

    fn is_stopping(&self) -> bool {
        self.shard.is_stopping()
    }

    fn lacks_memory(&self) -> bool {
        self.shard.lenders().iter().any(|lender| lender.is_waited_for())
    }

    #[allow(clippy::async_yields_async, reason = "queued first, answered later")]
    fn ask(&self, core: usize, question: Question) -> Local<'_, Asked> {
        Box::pin(async move {
            let begun = self.clock.elapsed();
            let answer = self.mesh.call(core, question).await;
            if core == self.mesh.core() {
                return Box::pin(answer) as Asked;
            }
            let (clock, shard) = (self.clock, Rc::clone(&self.shard));
            Box::pin(async move {
                let answer = answer.await;
                shard.counters.time(Timed::Hop, clock.elapsed().saturating_sub(begun));
                answer
            })
        })
    }

    fn tell(&self, core: usize, question: Question) {
        let mesh = Rc::clone(&self.mesh);
        spawn(Queue::Serve, async move { drop(mesh.call(core, question).await) });
    }

    fn fetch_here(&self, fetch: Fetch) -> BoxedLocal<(Vec<Fetched<Piece>>, Option<Loan>)> {
        self.shard.fetch_apart(fetch)
    }

    fn borrow_memory(&self, bytes: u64) -> BoxedLocal<Loan> {
        let shard = Rc::clone(&self.shard);
        Box::pin(async move { shard.borrow_memory(bytes).await })
    }

    fn lend_again(&self) {
        self.shard.lend_again();
    }

    fn space(&self) -> BoxedLocal<io::Result<Space>> {
        let shard = Rc::clone(&self.shard);
        Box::pin(async move { shard.store.space().await })
    }

    fn run_apart(&self, work: Box<dyn FnOnce() + Send>) -> BoxedLocal<()> {
        Box::pin(executor::blocking(work))
    }
}

/// What `work` comes to on a thread where it may take its time; `None` when it panics.
pub async fn apart<T: Send + 'static>(
    cluster: &dyn Cluster,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (told, answer) = std::sync::mpsc::channel();
    // Nobody hears it when this request's connection ended meanwhile.
    cluster.run_apart(Box::new(move || drop(told.send(work())))).await;
    answer.try_recv().ok()
}

/// Sends each item to the owner of its partition, all items of one owner in one question, in the order given. Ready when
/// all are queued; the future it gives has the answers in the order of the items, `None` where an owner failed.
pub async fn scatter<T: 'static, A: 'static>(
    cluster: &dyn Cluster,
    items: Vec<(TopicPartition, T)>,
    question: fn(Vec<T>) -> Question,
    answer: fn(Answer) -> Option<Vec<A>>,
) -> BoxedLocal<Vec<Option<A>>> {
    let count = items.len();
    let mut owners: BTreeMap<usize, (Vec<usize>, Vec<T>)> = BTreeMap::new();
    for (place, (partition, item)) in items.into_iter().enumerate() {
        let (places, list) = owners.entry(owner_of(partition, cluster.cores())).or_default();
        places.push(place);
        list.push(item);
    }
    let mut asked = Vec::with_capacity(owners.len());
    for (owner, (places, list)) in owners {
        asked.push((places, cluster.ask(owner, question(list)).await));
    }
    Box::pin(async move {
        let mut joined: Vec<Option<A>> = (0..count).map(|_| None).collect();
        for (places, asked) in asked {
            let answers = answer(asked.await).unwrap_or_default();
            for (place, one) in places.into_iter().zip(answers) {
                joined[place] = Some(one);
            }
        }
        joined
    })
}

/// Proposes a metadata command; its outcome is durable and in force on every core.
///
/// # Errors
/// When the command as a whole failed.
pub async fn propose(cluster: &dyn Cluster, command: Command) -> Result<Outcome, Refusal> {
    match cluster.ask(0, Question::Propose(command)).await.await {
        Answer::Metadata(Outcome::Failed(refusal)) => Err(refusal),
        Answer::Metadata(outcome) => Ok(outcome),
        Answer::Failed(why) => Err(Refusal::new(ErrorCode::UnknownServerError, why)),
        _ => Err(Refusal::new(ErrorCode::UnknownServerError, "the metadata gave no answer")),
    }
}

/// Proposes a command about `count` topics: a verdict for each, in order.
pub async fn propose_topics(
    cluster: &dyn Cluster,
    command: Command,
    count: usize,
) -> Vec<Result<Arc<Topic>, Refusal>> {
    let refusal = match propose(cluster, command).await {
        Ok(Outcome::Topics(each)) if each.len() == count => return each,
        Ok(_) => Refusal::new(ErrorCode::UnknownServerError, "the metadata gave no answer"),
        Err(refusal) => refusal,
    };
    vec![Err(refusal); count]
}
