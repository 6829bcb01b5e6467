//! What the requests about share groups (KIP-932) have in common.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use coordination::metadata::Image;
use coordination::metadata::features::SHARE_VERSION;
use coordination::share::record::ShareKey;
use coordination::share::session::{PartitionKey, SessionKey};
use coordination::share::store::{Answer as StateAnswer, Ask, coordinator_of};
use coordination::share::{AckBatch, AckType, ShareSettings};
use futures_lite::future::BoxedLocal;
use model::{ErrorCode, TopicId, TopicPartition};
use shard::ops::{Answer, Question, ShareAcknowledge};
use shard::route::owner_of;

use crate::cluster::{Asked, Cluster};
use crate::service::Broker;

/// First level of `share.version` in which there are share groups.
const SERVED_SINCE: i16 = 1;

/// The longest id of a member, in characters: what Kafka's clients make of a UUID has 22.
const MEMBER_ID_MAX: usize = 36;

/// Whether there are share groups.
pub fn is_served(broker: &Broker) -> bool {
    broker.cluster.image().feature_level(SHARE_VERSION) >= SERVED_SINCE
}

/// Whether it can be a member's id. As Kafka counts: in UTF-16.
pub fn is_member_id(id: &str) -> bool {
    !id.is_empty() && id.encode_utf16().count() <= MEMBER_ID_MAX
}

/// How long the group's members have a record, as they are told.
pub fn lock_ms(broker: &Broker, group: &str) -> i32 {
    let ms = ShareSettings::of(&broker.cluster.image(), group).lock_duration_ms;
    i32::try_from(ms).unwrap_or(i32::MAX)
}

/// A connection with share sessions: they end with it, and what their members hold is free.
#[derive(Debug)]
pub struct ShareConnection {
    broker: Held,
    id: u64,
}

struct Held(Rc<Broker>);

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Broker")
    }
}

impl ShareConnection {
    /// Another one.
    pub fn new(broker: Rc<Broker>) -> Self {
        let id = broker.share_connections.get();
        broker.share_connections.set(id + 1);
        Self { broker: Held(broker), id }
    }

    /// Its name.
    pub const fn id(&self) -> u64 {
        self.id
    }
}

impl Drop for ShareConnection {
    fn drop(&mut self) {
        let broker = &self.broker.0;
        let ended = broker.share_sessions.borrow_mut().disconnected(self.id);
        for (key, session) in ended {
            release(&*broker.cluster, &key, session);
        }
    }
}

/// The session of a member is over: what it holds on any core is free. It may hold records of partitions that it had forgotten.
pub fn release(cluster: &dyn Cluster, key: &SessionKey, session: u64) {
    for core in 0..cluster.cores() {
        let (group, member) = (Arc::clone(&key.group), Arc::clone(&key.member));
        cluster.tell(core, Question::ShareRelease { group, member, session });
    }
}

/// The partition that a session means.
pub fn partition_of(image: &Image, key: PartitionKey) -> Result<TopicPartition, ErrorCode> {
    let topic = image.topic_by_id(key.topic).ok_or(ErrorCode::UnknownTopicId)?;
    topic.partition(key.index).ok_or(ErrorCode::UnknownTopicOrPartition)
}

/// A batch as the wire has it: first offset, last offset, types.
pub type WireBatch = (i64, i64, Vec<i8>);

/// What a member says of records of a partition, as far as the request alone tells whether it makes sense.
///
/// # Errors
/// `INVALID_REQUEST`: a type that is none, or a renewal in a request that does not say that it has some.
pub fn batches(list: Vec<WireBatch>, renews: bool) -> Result<Vec<AckBatch>, ErrorCode> {
    let one = |(first, last, types): WireBatch| {
        let kind = |code: i8| match AckType::from_code(code) {
            Some(AckType::Renew) if !renews => Err(ErrorCode::InvalidRequest),
            Some(kind) => Ok(kind),
            None => Err(ErrorCode::InvalidRequest),
        };
        let types = types.into_iter().map(kind).collect::<Result<Vec<AckType>, ErrorCode>>()?;
        Ok(AckBatch { first: model::Offset(first), last: model::Offset(last), types })
    };
    list.into_iter().map(one).collect()
}

/// What a member says of partitions, or why that is refused already.
pub type Said = Vec<(PartitionKey, Result<Vec<AckBatch>, ErrorCode>)>;

/// What one owner is told of its partitions.
type Spoken = Vec<(TopicPartition, Vec<AckBatch>)>;

/// Tells the owners. Ready when that is queued; the future it gives has a verdict for each, in order.
pub async fn acknowledge(
    broker: &Broker,
    key: &SessionKey,
    said: Said,
) -> BoxedLocal<Vec<(PartitionKey, ErrorCode)>> {
    let cluster = &*broker.cluster;
    let image = cluster.image();
    let mut verdicts: Vec<(PartitionKey, ErrorCode)> = Vec::with_capacity(said.len());
    let mut owners: BTreeMap<usize, (Vec<usize>, Spoken)> = BTreeMap::new();
    for (place, (partition, batches)) in said.into_iter().enumerate() {
        let meant = batches.and_then(|batches| Ok((partition_of(&image, partition)?, batches)));
        verdicts.push((partition, meant.as_ref().err().copied().unwrap_or(ErrorCode::None)));
        if let Ok((id, batches)) = meant
            && !batches.is_empty()
        {
            let (places, list) = owners.entry(owner_of(id, cluster.cores())).or_default();
            places.push(place);
            list.push((id, batches));
        }
    }
    let mut asked: Vec<(Vec<usize>, Asked)> = Vec::with_capacity(owners.len());
    for (owner, (places, partitions)) in owners {
        let (group, member) = (Arc::clone(&key.group), Arc::clone(&key.member));
        let question = Question::ShareAcknowledge(Box::new(ShareAcknowledge { group, member, partitions }));
        asked.push((places, cluster.ask(owner, question).await));
    }
    Box::pin(async move {
        for (places, asked) in asked {
            let told = match asked.await {
                Answer::ShareAcknowledged(told) => told,
                _ => Vec::new(),
            };
            let mut told = told.into_iter();
            for place in places {
                verdicts[place].1 = told.next().unwrap_or(ErrorCode::UnknownServerError);
            }
        }
        verdicts
    })
}

/// Asks the share coordinators of a group's partitions the same of each; answers with the partition.
pub async fn ask_states(
    cluster: &dyn Cluster,
    group: &Arc<str>,
    asks: Vec<(TopicId, i32, Ask)>,
) -> Vec<(TopicId, i32, StateAnswer)> {
    let image = cluster.image();
    let mut asked: Vec<(TopicId, i32, StateAnswer, Option<Asked>)> = Vec::with_capacity(asks.len());
    for (topic, partition, ask) in asks {
        let refused = StateAnswer::refused(&ask, ErrorCode::CoordinatorNotAvailable);
        let key = ShareKey { group: Arc::clone(group), topic, partition };
        let waits = match coordinator_of(&image, &key) {
            Some(at) => {
                let question = Question::ShareState { partition: at, key, asks: vec![ask] };
                Some(cluster.ask(owner_of(at, cluster.cores()), question).await)
            }
            None => None,
        };
        asked.push((topic, partition, refused, waits));
    }
    let mut answers = Vec::with_capacity(asked.len());
    for (topic, partition, refused, waits) in asked {
        let answer = match waits {
            Some(asked) => match asked.await {
                Answer::ShareState(mut list) => list.pop().unwrap_or(refused),
                _ => refused,
            },
            None => refused,
        };
        answers.push((topic, partition, answer));
    }
    answers
}

/// Indices by topic, of those that are `wanted`.
pub fn by_topic<'a>(
    answers: &'a [(TopicId, i32, StateAnswer)],
    wanted: impl Fn(&StateAnswer) -> bool + 'a,
) -> BTreeMap<TopicId, BTreeSet<i32>> {
    let mut sorted: BTreeMap<TopicId, BTreeSet<i32>> = BTreeMap::new();
    for (topic, partition, _) in answers.iter().filter(|(.., answer)| wanted(answer)) {
        sorted.entry(*topic).or_default().insert(*partition);
    }
    sorted
}

/// Has every core close the share partitions of a group, which are about to be others.
pub async fn forget(cluster: &dyn Cluster, group: &Arc<str>) {
    let mut told = Vec::with_capacity(cluster.cores());
    for core in 0..cluster.cores() {
        told.push(cluster.ask(core, Question::ShareForget(Arc::clone(group))).await);
    }
    for told in told {
        told.await;
    }
}
