//! The side that accepted a request: asks the owners of its partitions, here or on other cores, and joins their answers.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use coordination::metadata::{Command, Image, Outcome};
use model::{ErrorCode, Offset, TopicPartition};
use storage::Piece;
use storage::disk::Disk;

use crate::clock::Clock;
use crate::counters::Timed;
use crate::mesh::Mesh;
use crate::ops::{
    Answer, AppendPartition, Appended, Await, DeleteRecords, EpochEnd, EpochQuery, Fetch, FetchPartition, Fetched,
    ListOffset, ListedOffset, Question, RecordsDeleted,
};
use crate::route::owner_of;
use crate::shard::Shard;

/// Records on their way to a client.
#[derive(Clone)]
pub enum Records {
    /// Memory of this core.
    Here(Piece),
    /// Copied by another core.
    Crossed(Bytes),
}

impl Records {
    /// How many bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Here(piece) => piece.bytes().len(),
            Self::Crossed(bytes) => bytes.len(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// One core as the home of connections.
pub struct Home<D: Disk> {
    /// What this core owns itself.
    pub shard: Rc<Shard<D>>,
    mesh: Rc<Mesh<Question, Answer>>,
    clock: Clock,
    tokens: Cell<u64>,
}

/// Answers that are due, by core.
type Due<T> = Vec<(usize, T)>;

impl<D: Disk> Home<D> {
    /// The home side of `shard`.
    pub fn new(shard: Rc<Shard<D>>, mesh: Rc<Mesh<Question, Answer>>, clock: Clock) -> Rc<Self> {
        Rc::new(Self { shard, mesh, clock, tokens: Cell::new(0) })
    }

    /// The metadata in force here.
    pub fn image(&self) -> Arc<Image> {
        self.shard.image()
    }

    /// The one clock.
    pub fn clock(&self) -> Clock {
        self.clock
    }

    fn owner(&self, id: TopicPartition) -> usize {
        owner_of(id, self.mesh.cores())
    }

    /// Asks one core. The first wait ends when the question is queued there, the second with the answer.
    async fn ask(&self, core: usize, question: Question) -> impl Future<Output = Answer> + use<D> {
        let begun = self.clock.elapsed();
        let hops = core != self.mesh.core();
        let answer = self.mesh.call(core, question).await;
        let (clock, counters) = (self.clock, Rc::clone(&self.shard.counters));
        async move {
            let answer = answer.await;
            if hops {
                counters.time(Timed::Hop, clock.elapsed().saturating_sub(begun));
            }
            answer
        }
    }

    /// Splits `items` by the owner of each one's partition, asks all owners, and joins in the order of `items`. `none` stands
    /// where an owner had no answer, which only happens while the broker stops.
    async fn ask_owners<T, R: Clone>(
        &self,
        items: Vec<T>,
        id: impl Fn(&T) -> TopicPartition,
        question: impl Fn(Vec<T>) -> Question,
        answer: impl Fn(Answer) -> Option<Vec<R>>,
        none: R,
    ) -> Vec<R> {
        let mut joined = vec![none; items.len()];
        let mut asked = Vec::new();
        for (core, (places, items)) in self.by_owner(items, id) {
            asked.push((places, self.ask(core, question(items)).await));
        }
        for (places, due) in asked {
            place(&mut joined, &places, answer(due.await));
        }
        joined
    }

    fn by_owner<T>(
        &self,
        items: Vec<T>,
        id: impl Fn(&T) -> TopicPartition,
    ) -> BTreeMap<usize, (Vec<usize>, Vec<T>)> {
        let mut split: BTreeMap<usize, (Vec<usize>, Vec<T>)> = BTreeMap::new();
        for (at, item) in items.into_iter().enumerate() {
            let (places, items) = split.entry(self.owner(id(&item))).or_default();
            places.push(at);
            items.push(item);
        }
        split
    }

    /// Appends one batch to each of these partitions. When this returns, their order is fixed; what it returns gives, in the same
    /// order, what became of each once they are safe.
    pub async fn append(
        &self,
        partitions: Vec<AppendPartition>,
    ) -> impl Future<Output = Vec<Appended>> + use<D> {
        let count = partitions.len();
        let mut asked = Vec::new();
        for (core, (places, items)) in self.by_owner(partitions, |append| append.partition) {
            asked.push((places, self.ask(core, Question::Append(items)).await));
        }
        async move {
            let none = Appended {
                error: ErrorCode::NotLeaderOrFollower,
                message: Some("the broker is stopping".into()),
                base_offset: Offset::NONE,
                log_start: Offset::NONE,
            };
            let mut joined = vec![none; count];
            for (places, due) in asked {
                let appended = match due.await {
                    Answer::Appended(appended) => Some(appended),
                    _ => None,
                };
                place(&mut joined, &places, appended);
            }
            joined
        }
    }

    /// Looks up offsets.
    pub async fn list_offsets(&self, queries: Vec<ListOffset>) -> Vec<ListedOffset> {
        let none = ListedOffset {
            error: ErrorCode::NotLeaderOrFollower,
            offset: Offset::NONE,
            timestamp: model::TimestampMs::NONE,
            leader_epoch: model::LeaderEpoch::NONE,
        };
        let answer = |answer| if let Answer::Listed(listed) = answer { Some(listed) } else { None };
        self.ask_owners(queries, |query| query.partition, Question::ListOffsets, answer, none).await
    }

    /// Looks up where epochs end.
    pub async fn epoch_ends(&self, queries: Vec<EpochQuery>) -> Vec<EpochEnd> {
        let none = EpochEnd {
            error: ErrorCode::NotLeaderOrFollower,
            epoch: model::LeaderEpoch::NONE,
            end: Offset::NONE,
        };
        let answer = |answer| if let Answer::EpochEnds(ends) = answer { Some(ends) } else { None };
        self.ask_owners(queries, |query| query.partition, Question::EpochEnds, answer, none).await
    }

    /// Moves log starts.
    pub async fn delete_records(&self, requests: Vec<DeleteRecords>) -> Vec<RecordsDeleted> {
        let none = RecordsDeleted { error: ErrorCode::NotLeaderOrFollower, low_watermark: Offset::NONE };
        let answer = |answer| if let Answer::Deleted(deleted) = answer { Some(deleted) } else { None };
        self.ask_owners(requests, |request| request.partition, Question::DeleteRecords, answer, none).await
    }

    /// Proposes a change of the metadata; in force on every core when it returns.
    pub async fn propose(&self, command: Command) -> Outcome {
        match self.ask(0, Question::Propose(command)).await.await {
            Answer::Metadata(outcome) => outcome,
            _ => Outcome::Failed(coordination::metadata::Refusal::new(
                ErrorCode::NotController,
                "the broker is stopping",
            )),
        }
    }

    /// Asks every core the same and waits for all.
    pub async fn ask_all(&self, question: impl Fn() -> Question) -> Vec<Answer> {
        let mut asked = Vec::new();
        for core in 0..self.mesh.cores() {
            asked.push(self.ask(core, question()).await);
        }
        let mut answers = Vec::new();
        for due in asked {
            answers.push(due.await);
        }
        answers
    }

    /// Fetches from every owner; waits as the fetch says when there is too little. In the order of its partitions.
    pub async fn fetch(&self, fetch: Fetch) -> Vec<Fetched<Records>> {
        let owners: std::collections::BTreeSet<usize> =
            fetch.partitions.iter().map(|one| self.owner(one.partition)).collect();
        match owners.first() {
            None => Vec::new(),
            Some(owner) if owners.len() == 1 => self.fetch_from(*owner, fetch).await,
            Some(_) => self.fetch_from_many(&fetch).await,
        }
    }

    async fn fetch_from(&self, core: usize, fetch: Fetch) -> Vec<Fetched<Records>> {
        if core == self.mesh.core() {
            let fetched = self.shard.fetch(fetch).await;
            return fetched.into_iter().map(|one| one.map_records(Records::Here)).collect();
        }
        match self.ask(core, Question::Fetch(fetch)).await.await {
            Answer::Fetched(fetched) => {
                fetched.into_iter().map(|one| one.map_records(Records::Crossed)).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Owners do not know of each other: collect, and when the sum falls short wait until one of them has more.
    async fn fetch_from_many(&self, fetch: &Fetch) -> Vec<Fetched<Records>> {
        let deadline = self.clock.tick().after_ms(u64::from(fetch.wait_ms));
        loop {
            let fetched = self.collect(fetch).await;
            let bytes: usize = fetched.iter().flat_map(|one| &one.records).map(Records::len).sum();
            let news = fetched.iter().any(|one| !one.error.is_ok() || one.diverging.is_some());
            let now = self.clock.tick();
            let missing = u64::from(fetch.bytes_min).saturating_sub(bytes as u64);
            if missing == 0 || news || now >= deadline || self.shard.is_stopping() {
                return fetched;
            }
            let wait_ms = u32::try_from(deadline.0 - now.0).unwrap_or(u32::MAX);
            self.await_any(&fetched, missing, wait_ms).await;
        }
    }

    async fn collect(&self, fetch: &Fetch) -> Vec<Fetched<Records>> {
        let mut room = fetch.bytes_max;
        let mut found: Vec<Option<Fetched<Records>>> = vec![None; fetch.partitions.len()];
        let mut always_one = fetch.always_one;
        for (core, (places, partitions)) in self.by_owner(fetch.partitions.clone(), |one: &FetchPartition| one.partition) {
            let part = Fetch { partitions, bytes_min: 0, bytes_max: room, wait_ms: 0, always_one, ..fetch.clone() };
            for (at, one) in places.into_iter().zip(self.fetch_from(core, part).await) {
                let bytes: usize = one.records.iter().map(Records::len).sum();
                room = room.saturating_sub(u32::try_from(bytes).unwrap_or(u32::MAX));
                always_one = always_one && bytes == 0;
                if let Some(place) = found.get_mut(at) {
                    *place = Some(one);
                }
            }
        }
        found.into_iter().flatten().collect()
    }

    /// Waits at all owners until the first says that it has more, or that the time is over.
    async fn await_any(&self, fetched: &[Fetched<Records>], missing: u64, wait_ms: u32) {
        let token = self.tokens.replace(self.tokens.get() + 1);
        let token = (token << 8) | (self.mesh.core() as u64 & 0xFF);
        let seen: Vec<(TopicPartition, Offset)> =
            fetched.iter().map(|one| (one.partition, one.high_watermark)).collect();
        let mut due: Due<Pin<Box<dyn Future<Output = Answer>>>> = Vec::new();
        for (core, (_, partitions)) in self.by_owner(seen, |seen| seen.0) {
            let wait = Await { partitions, bytes_missing: missing, wait_ms };
            due.push((core, Box::pin(self.ask(core, Question::Await(token, wait)).await)));
        }
        let first = poll_fn(|context| {
            let ready = due.iter_mut().position(|(_, answer)| answer.as_mut().poll(context).is_ready());
            ready.map_or(Poll::Pending, Poll::Ready)
        })
        .await;
        for (at, (core, _)) in due.iter().enumerate() {
            if at != first {
                drop(self.ask(*core, Question::CancelAwait(token)).await);
            }
        }
    }
}

fn place<R>(joined: &mut [R], places: &[usize], answers: Option<Vec<R>>) {
    for (at, answer) in places.iter().zip(answers.into_iter().flatten()) {
        if let Some(place) = joined.get_mut(*at) {
            *place = answer;
        }
    }
}
