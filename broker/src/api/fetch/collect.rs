//! Collecting from the owners, and waiting at them.

use std::collections::BTreeMap;
use std::rc::Rc;

use coordination::fetch_session::{PartitionKey, Wish};
use model::{ErrorCode, Tick, TopicPartition};
use net::service::Chunk;
use protocol::fetch::Piece as _;
use shard::lending::Loan;
use shard::ops::{Answer, Await, Fetch, FetchPartition, Fetched, Question};
use shard::route::owner_of;
use storage::Piece;

use super::{Limits, fetch_partition};
use crate::api::waits::{Waits, first_of, token};
use crate::cluster::Asked;
use crate::service::Broker;

/// One fetch under way.
pub(super) struct Collector {
    broker: Rc<Broker>,
    /// Per owner: places in the order of service, and what is wanted there.
    owners: BTreeMap<usize, (Vec<usize>, Vec<FetchPartition>)>,
    /// Wishes that mean a partition; the others are errors already.
    count: usize,
    /// Some wish is an error already: the client hears of it at once.
    news: bool,
    limits: Limits,
}

type Collected = Vec<Option<Fetched<Chunk>>>;

impl Collector {
    pub(super) fn new(
        broker: Rc<Broker>,
        wishes: &[(PartitionKey, Wish)],
        places: &[Result<TopicPartition, ErrorCode>],
        limits: Limits,
    ) -> Self {
        let mut owners: BTreeMap<usize, (Vec<usize>, Vec<FetchPartition>)> = BTreeMap::new();
        let mut count = 0;
        for (partition, (_, wish)) in places.iter().zip(wishes) {
            if let Ok(partition) = partition {
                let owner = owner_of(*partition, broker.cluster.cores());
                let (places, wanted) = owners.entry(owner).or_default();
                places.push(count);
                wanted.push(fetch_partition(*partition, wish));
                count += 1;
            }
        }
        let news = count < places.len();
        // An owner whose next batch does not fit has given half of its share or more, and there may be nothing at the others.
        let share = limits.bytes_max / u32::try_from(owners.len()).unwrap_or(1).max(1);
        let limits = Limits { bytes_min: limits.bytes_min.min(share / 2), ..limits };
        Self { broker, owners, count, news, limits }
    }

    /// What the owners have, in the order of service, once it is enough or the time is over; and the memory it takes.
    pub(super) async fn run(self) -> (Collected, Option<Loan>) {
        let wait_ms = if self.news { 0 } else { self.limits.wait_ms };
        if self.owners.len() <= 1 {
            return self.collect(self.limits.bytes_min, wait_ms, false).await;
        }
        let deadline = self.broker.cluster.tick().after_ms(u64::from(wait_ms));
        loop {
            // Borrowed here and for all of them: a fetch that holds what one owner lent while it waits for another's
            // could wait for ever. A batch may be larger than its owner's share; one of each as large as can be would be all
            // the memory there is, so it is charged once it is there.
            let mut loan = self.broker.cluster.borrow_memory(u64::from(self.limits.bytes_max)).await;
            let (mut collected, _) = self.collect(0, 0, true).await;
            let bytes: u64 = collected.iter().flatten().map(records_bytes).sum();
            loan.settle(bytes);
            let missing = u64::from(self.limits.bytes_min).saturating_sub(bytes);
            let news = collected
                .iter()
                .any(|one| one.as_ref().is_none_or(|one| !one.error.is_ok() || one.diverging.is_some()));
            let now = self.broker.cluster.tick();
            if missing == 0 || news || now >= deadline || self.broker.cluster.is_stopping() {
                let loan = (bytes > 0).then_some(loan);
                self.broker.cluster.lend_again();
                return (collected, loan);
            }
            // What is collected again later holds no memory until then.
            collected.iter_mut().flatten().for_each(|one| one.records = Vec::new());
            drop(loan);
            self.broker.cluster.lend_again();
            self.wait(&collected, missing, Tick(deadline.0 - now.0)).await;
        }
    }

    /// Asks every owner; those of other cores copy, this one gives what it holds. The one owner lends what is not `paid`.
    async fn collect(&self, bytes_min: u32, wait_ms: u32, paid: bool) -> (Collected, Option<Loan>) {
        let cluster = &self.broker.cluster;
        let owners = u32::try_from(self.owners.len()).unwrap_or(1).max(1);
        let mut here = None;
        let mut asked: Vec<(&[usize], Asked)> = Vec::new();
        let mut waits = Waits::new(&self.broker);
        for (&owner, (places, wanted)) in &self.owners {
            let token = (wait_ms > 0).then(|| token(&self.broker));
            waits.waits.extend(token.map(|token| (owner, token)));
            let fetch = Fetch {
                partitions: wanted.clone(),
                bytes_min,
                bytes_max: self.limits.bytes_max / owners,
                wait_ms,
                read_committed: self.limits.read_committed,
                always_one: true,
                paid,
                token,
            };
            if owner == cluster.core() {
                here = Some((places, cluster.fetch_here(fetch)));
            } else {
                asked.push((places, cluster.ask(owner, Question::Fetch(fetch)).await));
            }
        }
        let mut collected: Collected = (0..self.count).map(|_| None).collect();
        let mut lent = None;
        if let Some((places, fetching)) = here {
            let (each, loan) = fetching.await;
            lent = lent.or(loan);
            for (place, fetched) in places.iter().zip(each) {
                collected[*place] = Some(fetched.map_records(shared));
            }
        }
        for (places, asked) in asked {
            if let Answer::Fetched(each, loan) = asked.await {
                lent = lent.or(loan);
                for (place, fetched) in places.iter().zip(each) {
                    collected[*place] = Some(fetched.map_records(Chunk::Bytes));
                }
            }
        }
        waits.waits.clear();
        self.trim(&mut collected);
        (collected, lent)
    }

    /// Each owner may have given one batch larger than its share: together they keep to the limit, but for the first.
    fn trim(&self, collected: &mut Collected) {
        let mut room = u64::from(self.limits.bytes_max);
        let mut first = true;
        for fetched in collected.iter_mut().flatten().filter(|fetched| !fetched.records.is_empty()) {
            let bytes = records_bytes(fetched);
            if first || bytes <= room {
                room = room.saturating_sub(bytes);
            } else {
                fetched.records.clear();
            }
            first = false;
        }
    }

    /// Waits at all owners until one can tell of more, or the time is over.
    async fn wait(&self, collected: &Collected, missing: u64, left: Tick) {
        let cluster = &self.broker.cluster;
        let wait_ms = u32::try_from(left.0).unwrap_or(u32::MAX);
        let mut waits = Waits::new(&self.broker);
        let mut all: Vec<Asked> = Vec::with_capacity(self.owners.len());
        for (&owner, (places, _)) in &self.owners {
            let seen = places.iter().filter_map(|place| collected[*place].as_ref());
            // As far as waiting goes, what was seen ends at the high watermark.
            let partitions = seen.map(|fetched| (fetched.partition, fetched.high_watermark)).collect();
            let token = token(&self.broker);
            let question = Question::Await(token, Await { partitions, bytes_missing: missing, wait_ms });
            waits.waits.push((owner, token));
            all.push(cluster.ask(owner, question).await);
        }
        let first = first_of(&mut all).await;
        // The others are cancelled.
        waits.waits.swap_remove(first);
    }
}

fn records_bytes(fetched: &Fetched<Chunk>) -> u64 {
    fetched.records.iter().map(|chunk| chunk.size_bytes() as u64).sum()
}

/// Records of this core, where they are.
fn shared(piece: Piece) -> Chunk {
    Chunk::Shared(piece.owner, piece.range)
}
