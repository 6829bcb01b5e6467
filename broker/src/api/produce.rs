//! Produce: each batch is validated here, at home; offsets are given by the owners. When this returns, every batch is
//! queued at its owner, so the connection's next request cannot overtake it.

mod recompress;

use std::collections::BTreeMap;
use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use coordination::metadata::Topic;
use coordination::metadata::configs::TimestampType;
use coordination::metadata::topics::is_internal;
use model::batch::header::set_log_append_time;
use model::batch::{BatchError, Codec, Compression, Header, ProduceRules, validate_produce};
use model::{ErrorCode, TimestampMs, TopicPartition};
use net::service::{Called, Permit, Reply, Request};
use protocol::produce::{
    ProducePartitionResponse, ProduceRequest, ProduceResponse, ProduceTopicResponse, ZSTD_SINCE,
};
use protocol::{DecodeError, RequestHeader, TOPIC_ID_SINCE, TopicRef};
use shard::counters::Timed;
use shard::executor;
use shard::ops::{Answer, AppendPartition, Appended, Question};
use storage::KeyCheck;

use crate::cluster::scatter;
use crate::service::Broker;

/// The client id with which Kafka's tools write to internal topics.
const ADMIN_CLIENT: &str = "__admin_client";
const ACKS_ALL: i16 = -1;
const ACKS_NONE: i16 = 0;
const ACKS_LEADER: i16 = 1;

/// What is known of one partition before the owners answer.
enum Verdict {
    /// It was sent to its owner; stamped at this time, or by the producer.
    Sent(TimestampMs),
    /// It never left.
    Refused(ErrorCode, String),
}

/// What is wrong with single batches of a request.
type Keyless = BTreeMap<(usize, usize), BatchError>;

struct Plan {
    /// Topic and, per partition, its index and verdict; as in the request.
    topics: Vec<(TopicRef, Vec<(i32, Verdict)>)>,
    appends: Vec<(TopicPartition, AppendPartition)>,
    /// Appends that their topic wants in another compression, in order.
    other: Vec<Other>,
}

/// See [`Plan::other`].
struct Other {
    /// Which of the topics, which of its partitions.
    place: (usize, usize),
    /// Which of the appends.
    append: usize,
    codec: Codec,
    bytes_max: usize,
}

/// Takes a Produce request.
///
/// # Errors
/// When it cannot be read: the connection must close.
pub async fn handle(broker: &Broker, request: Request) -> Result<Called, DecodeError> {
    let Request { header, frame, mut permit } = request;
    let asked = ProduceRequest::decode(&header, &frame)?;
    drop(frame);
    let acks = asked.acks;
    let started = broker.cluster.elapsed();
    let keyless = look_for_keys(broker, &header, &asked, &mut permit).await;
    let mut plan = plan(broker, &header, asked, &keyless);
    let turn = recompress::all(broker, &mut plan, &mut permit).await;
    let question = |batches| Question::Append(batches);
    let answer = |answer| if let Answer::Appended(each) = answer { Some(each) } else { None };
    let appended = scatter(&*broker.cluster, plan.appends, question, answer).await;
    let (cluster, topics) = (Rc::clone(&broker.cluster), plan.topics);
    Ok(Called::Later(Box::pin(async move {
        let response = join(topics, appended.await);
        drop((permit, turn));
        cluster.counters().time(Timed::Produce, cluster.elapsed().saturating_sub(started));
        if acks == ACKS_NONE { unacknowledged(&response) } else { Reply::bytes(response.encode(&header)) }
    })))
}

/// With acks=0 nothing is answered; an error closes the connection, so that the client looks for what is wrong.
fn unacknowledged(response: &ProduceResponse) -> Reply {
    let failed = response.topics.iter().flat_map(|topic| &topic.partitions).find(|one| !one.error.is_ok());
    match failed {
        None => Reply::Silent,
        Some(one) => {
            let why = one.error_message.as_deref().unwrap_or_default();
            Reply::Close(format!("produce with acks=0 failed: {} {why}", one.error.name()).into())
        }
    }
}

/// Compressed batches for compacted topics in which a record has no key, by the places of topic and partition in the request. They are
/// looked through one after the other, and no more than one on a core at a time: what a codec takes for that is charged to the request meanwhile.
async fn look_for_keys(
    broker: &Broker,
    header: &RequestHeader,
    asked: &ProduceRequest,
    permit: &mut Permit,
) -> Keyless {
    let mut keyless = Keyless::new();
    for (place, wanted) in asked.topics.iter().enumerate() {
        let image = broker.cluster.image();
        let by_id = header.api_version >= TOPIC_ID_SINCE;
        let topic = if by_id { image.topic_by_id(wanted.topic.id) } else { image.topic(&wanted.topic.name) };
        if topic.is_none_or(|topic| topic.settings.cleanup_compact.is_none()) {
            continue;
        }
        for (index, partition) in wanted.partitions.iter().enumerate() {
            let is_compressed = |batch: &&Bytes| {
                Header::parse(batch).is_ok_and(|header| header.compression() != Ok(Compression::None))
            };
            let Some(batch) = partition.records.as_ref().filter(is_compressed) else { continue };
            let _turn = broker.key_checks.turn().await;
            let admitted = permit.bytes();
            permit.settle(admitted + KeyCheck::MEMORY_BYTES);
            let checked = check_keys(batch).await;
            permit.settle(admitted);
            if let Err(error) = checked {
                keyless.insert((place, index), error);
            }
        }
    }
    keyless
}

async fn check_keys(batch: &Bytes) -> Result<(), BatchError> {
    let mut check = KeyCheck::new(batch)?;
    loop {
        let step;
        (check, step) = executor::blocking(move || {
            let step = check.step();
            (check, step)
        })
        .await;
        if step? {
            return Ok(());
        }
    }
}

fn plan(broker: &Broker, header: &RequestHeader, asked: ProduceRequest, keyless: &Keyless) -> Plan {
    let image = broker.cluster.image();
    let now = broker.cluster.now();
    let refusal = refuse_all(&asked);
    let mut plan =
        Plan { topics: Vec::with_capacity(asked.topics.len()), appends: Vec::new(), other: Vec::new() };
    for (place, wanted) in asked.topics.into_iter().enumerate() {
        let by_id = header.api_version >= TOPIC_ID_SINCE;
        let topic = if by_id { image.topic_by_id(wanted.topic.id) } else { image.topic(&wanted.topic.name) };
        let mut verdicts = Vec::with_capacity(wanted.partitions.len());
        for (index, partition) in wanted.partitions.into_iter().enumerate() {
            let batch = partition.records.unwrap_or_default();
            let judged = match (topic, &refusal) {
                (None, _) if by_id => Err((ErrorCode::UnknownTopicId, String::new())),
                (None, _) => Err((ErrorCode::UnknownTopicOrPartition, String::new())),
                (Some(_), Some((code, text))) => Err((*code, (*text).to_owned())),
                (Some(topic), None) => judge(topic, partition.index, batch, header, now),
            };
            let judged = match keyless.get(&(place, index)) {
                Some(error) if judged.is_ok() => Err((error.error_code(), error.to_string())),
                _ => judged,
            };
            verdicts.push(match judged {
                Ok((append, stamped)) => {
                    if let Some(codec) = topic.and_then(|topic| recompress::wanted(topic, &append.batch)) {
                        let bytes_max = topic.map_or(0, |topic| topic.settings.max_message_bytes as usize);
                        let place = (place, verdicts.len());
                        plan.other.push(Other { place, append: plan.appends.len(), codec, bytes_max });
                    }
                    plan.appends.push((append.partition, append));
                    (partition.index, Verdict::Sent(stamped))
                }
                Err((code, text)) => (partition.index, Verdict::Refused(code, text)),
            });
        }
        plan.topics.push((wanted.topic, verdicts));
    }
    plan
}

/// What is wrong with the request as a whole.
fn refuse_all(asked: &ProduceRequest) -> Option<(ErrorCode, &'static str)> {
    if !matches!(asked.acks, ACKS_ALL | ACKS_NONE | ACKS_LEADER) {
        return Some((ErrorCode::InvalidRequiredAcks, "acks can be -1, 0 or 1"));
    }
    if asked.transactional_id.is_some() {
        return Some((ErrorCode::InvalidRequest, "transactions are not implemented by this broker yet"));
    }
    None
}

type Judged = Result<(AppendPartition, TimestampMs), (ErrorCode, String)>;

fn judge(topic: &Topic, index: i32, batch: Bytes, header: &RequestHeader, now: TimestampMs) -> Judged {
    let settings = &topic.settings;
    if is_internal(&topic.name) && header.client_id.as_deref() != Some(ADMIN_CLIENT) {
        return Err((ErrorCode::InvalidTopicException, "only the broker writes to its own topics".into()));
    }
    let partition = topic.partition(index).ok_or((ErrorCode::UnknownTopicOrPartition, String::new()))?;
    let log_append_time = settings.message_timestamp_type == TimestampType::LogAppendTime;
    let ms = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    let rules = ProduceRules {
        bytes_max: settings.max_message_bytes as usize,
        now,
        timestamp_before_ms_max: ms(settings.message_timestamp_before_max_ms),
        timestamp_after_ms_max: ms(settings.message_timestamp_after_max_ms),
        log_append_time,
        zstd: header.api_version >= ZSTD_SINCE,
        transactions: false,
        keys: settings.cleanup_compact.is_some(),
    };
    validate_produce(&batch, &rules).map_err(|error| (error.error_code(), error.to_string()))?;
    if !log_append_time {
        return Ok((AppendPartition { partition, batch }, TimestampMs::NONE));
    }
    let mut stamped = BytesMut::from(&batch[..]);
    set_log_append_time(&mut stamped, now);
    Ok((AppendPartition { partition, batch: stamped.freeze() }, now))
}

fn join(topics: Vec<(TopicRef, Vec<(i32, Verdict)>)>, appended: Vec<Option<Appended>>) -> ProduceResponse {
    let mut appended = appended.into_iter();
    let mut answer = |index, verdict| match verdict {
        Verdict::Refused(code, text) => ProducePartitionResponse::refused(
            index,
            code,
            Some(text.as_str()).filter(|text| !text.is_empty()),
        ),
        Verdict::Sent(stamped) => match appended.next().flatten() {
            Some(done) if done.error.is_ok() => {
                let duplicate = done.original_time != TimestampMs::NONE;
                let stamped = if duplicate { done.original_time } else { stamped };
                ProducePartitionResponse::appended(index, done.base_offset, stamped, done.log_start)
            }
            Some(failed) => ProducePartitionResponse {
                log_start_offset: failed.log_start,
                ..ProducePartitionResponse::refused(index, failed.error, failed.message.as_deref())
            },
            None => ProducePartitionResponse::refused(index, ErrorCode::UnknownServerError, None),
        },
    };
    let mut topic = |(topic, verdicts): (TopicRef, Vec<(i32, Verdict)>)| ProduceTopicResponse {
        topic,
        partitions: verdicts.into_iter().map(|(index, verdict)| answer(index, verdict)).collect(),
    };
    ProduceResponse { topics: topics.into_iter().map(&mut topic).collect(), ..ProduceResponse::default() }
}
