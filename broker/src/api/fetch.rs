//! Fetch: what a session or a request wants, split over the owners; what they have, joined in the order of service.
//!
//! With one owner it waits there. With several, each says what it has; only when that is too little the fetch waits at all
//! of them, and the first that can tell more lets it collect again (storage.md, section 8).

mod collect;
mod respond;

use std::any::Any;
use std::rc::Rc;
use std::time::Duration;

use coordination::fetch_session::{PartitionKey, SessionRequest, TopicKey, Wish};
use coordination::metadata::topics::TOPIC_NAME_BYTES_MAX;
use model::limits::RESPONSE_PINNED_BYTES;
use model::{ErrorCode, Offset, TopicPartition};
use net::service::{Called, Chunk, Reply, Request, Response};
use protocol::fetch::{FetchPartitionResponse, FetchRequest, FetchResponse, FetchTopicResponse};
use protocol::{DecodeError, TOPIC_ID_SINCE, TopicRef};
use shard::counters::Timed;
use shard::lending::Loan;
use shard::ops::{FetchPartition, Fetched};

use super::read_committed;
use crate::service::Broker;
use collect::Collector;

/// What one owner had of one partition, or why nothing was asked of it.
type Outcome = Result<Fetched<Chunk>, ErrorCode>;

/// What a wish takes beside its bytes in the request, until the fetch is answered: itself, the partition it means, and its place
/// among those of the owner; and once it has begun the same again on its way to the owner, what was collected, and the places
/// where it waits for more, which are some 64 bytes there.
const WISH_BYTES: usize = size_of::<(PartitionKey, Wish)>()
    + size_of::<Result<TopicPartition, ErrorCode>>()
    + size_of::<usize>()
    + 2 * size_of::<FetchPartition>()
    + size_of::<Option<Fetched<Chunk>>>()
    + size_of::<(TopicPartition, Offset)>()
    + 64;

/// Limits of one fetch, cut to what one answer may carry.
#[derive(Clone, Copy, Debug)]
struct Limits {
    bytes_min: u32,
    bytes_max: u32,
    wait_ms: u32,
    read_committed: bool,
}

/// The memory of an answer. Once it is sent, the next one need not wait until somebody looks.
pub(super) struct Lent {
    pub loan: Option<Loan>,
    pub broker: Rc<Broker>,
}

impl Drop for Lent {
    fn drop(&mut self) {
        drop(self.loan.take());
        self.broker.cluster.lend_again();
    }
}

/// Takes a Fetch request.
///
/// # Errors
/// When it cannot be read: the connection must close.
pub async fn handle(broker: &Rc<Broker>, request: Request) -> Result<Called, DecodeError> {
    let Request { header, frame, mut permit } = request;
    let asked = FetchRequest::decode(&header, &frame)?;
    if asked.replica_id >= 0 {
        return Ok(Called::Now(Reply::Close(
            "a fetch of a replica, and this broker has no followers".into(),
        )));
    }
    let started = broker.cluster.elapsed();
    let isolation = read_committed(asked.isolation_level);
    let limits = limits(broker, &asked, isolation.unwrap_or(false));
    let by_id = header.api_version >= TOPIC_ID_SINCE;
    let begun = broker.sessions.borrow_mut().begin(broker.cluster.tick(), session_request(&asked, by_id));
    let failed = isolation.err().map(|code| failed(&asked, by_id, code));
    let named_bytes = frame.len();
    drop((asked, frame));
    let (context, wishes) = match begun {
        Ok(begun) => begun,
        Err(code) => {
            let empty: FetchResponse<Chunk> = FetchResponse::empty(code, 0);
            return Ok(Called::Now(Reply::Send(Response::from(empty.encode(&header)))));
        }
    };
    let places = resolve(broker, &wishes);
    // As in Kafka, it does not matter where there is nothing to fetch.
    if let Some(failed) = failed.filter(|_| places.iter().any(Result::is_ok)) {
        return Ok(Called::Now(Reply::Send(Response::from(failed.encode(&header)))));
    }
    // A session may want far more than its request names.
    permit.settle(named_bytes + wishes.len() * WISH_BYTES);
    let collector = Collector::new(Rc::clone(broker), &wishes, &places, limits);
    let broker = Rc::clone(broker);
    let wait = Duration::from_millis(u64::from(limits.wait_ms));
    let reply = async move {
        let (collected, mut loan) = collector.run().await;
        let mut collected = collected.into_iter();
        let outcomes: Vec<Outcome> = places
            .into_iter()
            .map(|place| place.and_then(|_| collected.next().flatten().ok_or(ErrorCode::UnknownServerError)))
            .collect();
        let response = respond::response(&broker, context, wishes, outcomes, limits.read_committed);
        broker.cluster.counters().time(Timed::Fetch, broker.cluster.elapsed().saturating_sub(started));
        let mut response = Response::from(response.encode(&header));
        if let Some(loan) = &mut loan {
            loan.settle(response.len() as u64);
        }
        response.loan = loan.map(|loan| Box::new(Lent { loan: Some(loan), broker }) as Box<dyn Any>);
        Reply::Send(response)
    };
    Ok(Called::InTurn { reply: Box::pin(reply), wait, permit })
}

fn limits(broker: &Broker, asked: &FetchRequest, read_committed: bool) -> Limits {
    let positive = |number: i32| u32::try_from(number).unwrap_or(0);
    let pinned = u32::try_from(RESPONSE_PINNED_BYTES).unwrap_or(u32::MAX);
    let bytes_max = positive(asked.max_bytes).min(broker.settings.fetch_bytes_max).min(pinned);
    Limits {
        bytes_min: positive(asked.min_bytes),
        bytes_max,
        wait_ms: positive(asked.max_wait_ms),
        read_committed,
    }
}

/// The answer when the request as a whole failed: for the partitions it names too, where clients may look only there.
fn failed(asked: &FetchRequest, by_id: bool, code: ErrorCode) -> FetchResponse<Chunk> {
    let mut response = FetchResponse::empty(code, asked.session_id);
    if !by_id {
        response.topics.extend(asked.topics.iter().map(|topic| {
            FetchTopicResponse {
                topic: topic.topic.clone(),
                partitions: topic
                    .partitions
                    .iter()
                    .map(|wanted| FetchPartitionResponse::refused(wanted.index, code))
                    .collect(),
            }
        }));
    }
    response
}

fn session_request(asked: &FetchRequest, by_id: bool) -> SessionRequest {
    // Made once per topic: a request may name a hundred thousand partitions of one.
    let key = |topic: &TopicRef| {
        if by_id {
            return TopicKey::Id(topic.id);
        }
        // No topic has a longer name, and a session would keep it.
        let name: String = topic.name.chars().take(TOPIC_NAME_BYTES_MAX + 1).collect();
        TopicKey::Name(name.into())
    };
    let wish = |wanted: &protocol::fetch::FetchPartition| Wish {
        offset: wanted.fetch_offset,
        bytes_max: wanted.max_bytes,
        current_leader_epoch: wanted.current_leader_epoch,
        last_fetched_epoch: wanted.last_fetched_epoch,
    };
    let mut request = SessionRequest {
        session_id: asked.session_id,
        session_epoch: asked.session_epoch,
        by_id,
        wishes: Vec::new(),
        forgotten: Vec::new(),
    };
    for topic in &asked.topics {
        let key = key(&topic.topic);
        let of = |index| PartitionKey { topic: key.clone(), index };
        request.wishes.extend(topic.partitions.iter().map(|wanted| (of(wanted.index), wish(wanted))));
    }
    for topic in &asked.forgotten {
        let key = key(&topic.topic);
        let of = |index: &i32| PartitionKey { topic: key.clone(), index: *index };
        request.forgotten.extend(topic.partitions.iter().map(of));
    }
    request
}

/// Which partition each wish means.
fn resolve(broker: &Broker, wishes: &[(PartitionKey, Wish)]) -> Vec<Result<TopicPartition, ErrorCode>> {
    let image = broker.cluster.image();
    let meant = |(key, _): &(PartitionKey, Wish)| {
        let (topic, unknown) = match &key.topic {
            TopicKey::Name(name) => (image.topic(name), ErrorCode::UnknownTopicOrPartition),
            TopicKey::Id(id) => (image.topic_by_id(*id), ErrorCode::UnknownTopicId),
        };
        topic.ok_or(unknown)?.partition(key.index).ok_or(ErrorCode::UnknownTopicOrPartition)
    };
    wishes.iter().map(meant).collect()
}

fn fetch_partition(partition: TopicPartition, wish: &Wish) -> FetchPartition {
    FetchPartition {
        partition,
        offset: wish.offset,
        bytes_max: u32::try_from(wish.bytes_max).unwrap_or(0),
        current_leader_epoch: wish.current_leader_epoch,
        last_fetched_epoch: wish.last_fetched_epoch,
    }
}
