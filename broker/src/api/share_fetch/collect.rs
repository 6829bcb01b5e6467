//! Collecting records from the owners, one after the other: a member gets so many and no more of all of them together. When
//! none has any, it waits at all of them, and the first that may have something lets it collect again.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use coordination::share::AcquireMode;
use coordination::share::session::SessionKey;
use model::{ErrorCode, Tick, TopicPartition};
use shard::lending::Loan;
use shard::ops::{Answer, Question, Seen, ShareAwait, ShareFetch, ShareFetched};
use shard::route::owner_of;

use crate::api::waits::{Waits, first_of, token};
use crate::cluster::Asked;
use crate::service::Broker;

/// What a member wants.
pub(super) struct Wanted {
    pub key: SessionKey,
    pub session: u64,
    pub records_max: u32,
    pub batch_size: u32,
    pub mode: AcquireMode,
    pub bytes_min: u32,
    pub bytes_max: u32,
    pub wait_ms: u32,
}

/// What the owners gave, and the memory it takes.
#[derive(Default)]
pub(super) struct Collected {
    pub told: HashMap<TopicPartition, ShareFetched>,
    pub loan: Option<Loan>,
}

/// Partitions by their owner, owners and partitions in the order of service.
type Owned = (usize, Vec<TopicPartition>);

/// What there is for a member, once there is something or the time is over.
pub(super) async fn collect(
    broker: &Rc<Broker>,
    wanted: Wanted,
    places: &[Result<TopicPartition, ErrorCode>],
) -> Collected {
    let cluster = &broker.cluster;
    let mut owners: Vec<Owned> = Vec::new();
    for id in places.iter().flatten() {
        let owner = owner_of(*id, cluster.cores());
        match owners.iter_mut().find(|(known, _)| *known == owner) {
            Some((_, list)) => list.push(*id),
            None => owners.push((owner, vec![*id])),
        }
    }
    if owners.is_empty() || wanted.records_max == 0 {
        return Collected::default();
    }
    // No owner knows what the others have: each gives its part, or waits.
    let bytes_min = wanted.bytes_min.div_ceil(u32::try_from(owners.len()).unwrap_or(u32::MAX));
    let wanted = Wanted { bytes_min, ..wanted };
    // What is an error already is told at once.
    let waits = wanted.bytes_min > 0 && places.iter().all(Result::is_ok);
    let wait_ms = if waits { wanted.wait_ms } else { 0 };
    let deadline = cluster.tick().after_ms(u64::from(wait_ms));
    let mut told = HashMap::new();
    // Who is asked: all, later only who has told of something.
    let mut asked = 0..owners.len();
    loop {
        if !goes_on(broker, &wanted) {
            return Collected { told, loan: None };
        }
        let last = cluster.tick() >= deadline || cluster.is_stopping();
        let now = if last { &owners[..] } else { &owners[asked] };
        // Borrowed here and for all of them: see Fetch.
        let mut loan = cluster.borrow_memory(u64::from(wanted.bytes_max)).await;
        pass(broker, &wanted, now, last, &mut told).await;
        let bytes: u64 = told.values().map(|one| one.records.len() as u64).sum();
        loan.settle(bytes);
        let news = told.values().any(|one| !one.acquired.is_empty() || !one.error.is_ok());
        if news || last {
            let loan = (bytes > 0).then_some(loan);
            cluster.lend_again();
            return Collected { told, loan };
        }
        drop(loan);
        cluster.lend_again();
        let left = Tick(deadline.0.saturating_sub(cluster.tick().0));
        let first = wait(broker, &wanted, &owners, &told, left).await;
        asked = first..first + 1;
    }
}

/// Its connection may be gone, or the member have another session: in one that is over nothing is handed out.
fn goes_on(broker: &Broker, wanted: &Wanted) -> bool {
    broker.share_sessions.borrow().number(&wanted.key) == Some(wanted.session)
}

/// Asks each owner once, until there is enough.
async fn pass(
    broker: &Rc<Broker>,
    wanted: &Wanted,
    owners: &[Owned],
    last: bool,
    told: &mut HashMap<TopicPartition, ShareFetched>,
) {
    let cluster = &broker.cluster;
    let (mut records, mut bytes) = (wanted.records_max, wanted.bytes_max);
    for (owner, partitions) in owners {
        if records == 0 || bytes == 0 || !goes_on(broker, wanted) {
            break;
        }
        let fetch = ShareFetch {
            group: Arc::clone(&wanted.key.group),
            member: Arc::clone(&wanted.key.member),
            session: wanted.session,
            partitions: partitions.clone(),
            records_max: records,
            batch_size: wanted.batch_size,
            mode: wanted.mode,
            // What is there when the time is over is given, however little.
            bytes_min: if last { 0 } else { wanted.bytes_min },
            bytes_max: bytes,
            always_one: bytes == wanted.bytes_max,
        };
        let list = match cluster.ask(*owner, Question::ShareFetch(Box::new(fetch))).await.await {
            Answer::ShareFetched(list) => list,
            _ => partitions.iter().map(|id| failed(*id)).collect(),
        };
        for one in list {
            let acquired = one.acquired.iter().map(|run| run.last.0.abs_diff(run.first.0) + 1).sum::<u64>();
            records = records.saturating_sub(u32::try_from(acquired).unwrap_or(u32::MAX));
            bytes = bytes.saturating_sub(u32::try_from(one.records.len()).unwrap_or(u32::MAX));
            told.insert(one.partition, one);
        }
    }
}

fn failed(partition: TopicPartition) -> ShareFetched {
    ShareFetched {
        partition,
        error: ErrorCode::UnknownServerError,
        acquired: Vec::new(),
        records: bytes::Bytes::new(),
        seen: Seen { log_end: None, news: 0, turned_away: None },
    }
}

/// Waits at all owners until one may have something, or the time is over: the place of that one.
async fn wait(
    broker: &Rc<Broker>,
    wanted: &Wanted,
    owners: &[Owned],
    told: &HashMap<TopicPartition, ShareFetched>,
    left: Tick,
) -> usize {
    let wait_ms = u32::try_from(left.0).unwrap_or(u32::MAX);
    let mut waits = Waits::new(broker);
    let mut all: Vec<Asked> = Vec::with_capacity(owners.len());
    for (owner, partitions) in owners {
        let seen = partitions.iter().filter_map(|id| Some((*id, told.get(id)?.seen)));
        let group = Arc::clone(&wanted.key.group);
        let wait = ShareAwait { group, partitions: seen.collect(), wait_ms };
        let token = token(broker);
        waits.waits.push((*owner, token));
        all.push(broker.cluster.ask(*owner, Question::ShareAwait(token, Box::new(wait))).await);
    }
    let first = first_of(&mut all).await;
    // The others are cancelled.
    waits.waits.swap_remove(first);
    first
}
