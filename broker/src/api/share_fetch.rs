//! ShareFetch: a member of a share group says what became of records it had, and gets others, each for a while.

mod collect;

use std::any::Any;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use coordination::share::AcquireMode;
use coordination::share::session::{Begun, FetchRequest, PartitionKey, Report, SessionKey};
use model::limits::RESPONSE_PINNED_BYTES;
use model::{ErrorCode, TopicId, TopicPartition};
use net::service::{Called, Reply, Request};
use protocol::control::messages::ShareFetchRequest;
use protocol::control::messages::share_fetch_response::{
    AcquiredRecords, PartitionData, ShareFetchResponse, ShareFetchableTopicResponse,
};
use protocol::{DecodeError, RequestHeader, Text, control, message};
use shard::counters::Timed;
use shard::ops::ShareFetched;

use super::consumer_group_heartbeat::sentence;
use super::fetch::Lent;
use super::shares::{
    Said, WireBatch, acknowledge, batches, is_member_id, is_served, lock_ms, partition_of, release,
};
use super::{reply, uuid};
use crate::cluster::Cluster;
use crate::service::{Broker, Session};
use collect::{Collected, Wanted, collect};

/// First version that knows renewals (KIP-1222).
const RENEWS_SINCE: i16 = 2;

/// What a request says of its partitions.
struct Named {
    wanted: Vec<PartitionKey>,
    forgotten: Vec<PartitionKey>,
    said: Said,
}

/// Takes a ShareFetch request.
///
/// # Errors
/// When it cannot be read: the connection must close.
pub async fn handle(broker: &Rc<Broker>, session: &Session, request: Request) -> Result<Called, DecodeError> {
    let Request { header, frame, permit } = request;
    let body = header.body(&frame);
    // What it may become is charged before it is decoded, as with requests of the control plane.
    let admitted = broker.answers.admit(control::decoded_bytes(header.api_key, body.len())?).await;
    let mut asked: ShareFetchRequest = control::decode(header.api_version, body)?;
    let refused = |error: ErrorCode, why: &str| {
        let response = message!(ShareFetchResponse {
            error_code: error.code(),
            error_message: Some(sentence(error, why.to_owned())),
        });
        Ok(Called::Now(reply(&header, &response)))
    };
    let started = broker.cluster.elapsed();
    let (key, mode) = match judge(broker, &header, &asked) {
        Ok(judged) => judged,
        Err((error, why)) => return refused(error, &why),
    };
    let renews = header.api_version >= RENEWS_SINCE && asked.is_renew_ack;
    let named = names(&mut asked, renews);
    let before = broker.share_sessions.borrow().number(&key);
    let begun = broker.share_sessions.borrow_mut().begin(FetchRequest {
        key: key.clone(),
        epoch: asked.share_session_epoch,
        connection: session.share_connection(broker),
        wanted: named.wanted,
        forgotten: named.forgotten,
        acknowledges: !named.said.is_empty(),
        number: session_number(&*broker.cluster),
    });
    let begun = match begun {
        Ok(begun) => begun,
        Err(error) => {
            // It may have ended one.
            let now = broker.share_sessions.borrow().number(&key);
            if let Some(ended) = before.filter(|_| now.is_none()) {
                release(&*broker.cluster, &key, ended);
            }
            return refused(error, "");
        }
    };
    let (session, partitions) = match begun {
        Begun::Fetch { session, partitions } => (Some(session), partitions),
        Begun::Last => (None, Vec::new()),
    };
    let fetching = session.map(|session| Fetching { broker: Rc::clone(broker), key: key.clone(), session });
    let verdicts = acknowledge(broker, &key, named.said).await;
    let positive = |number: i32| u32::try_from(number).unwrap_or(0);
    let pinned = u32::try_from(RESPONSE_PINNED_BYTES).unwrap_or(u32::MAX);
    let wanted = Wanted {
        key: key.clone(),
        session: session.unwrap_or_default(),
        records_max: positive(asked.max_records),
        batch_size: positive(asked.batch_size),
        mode,
        bytes_min: positive(asked.min_bytes),
        bytes_max: positive(asked.max_bytes).min(broker.settings.fetch_bytes_max).min(pinned),
        wait_ms: positive(asked.max_wait_ms),
    };
    drop((asked, frame, admitted));
    let wait = Duration::from_millis(u64::from(wanted.wait_ms));
    let broker = Rc::clone(broker);
    let answer = async move {
        // A renewal fetches nothing.
        let partitions = if renews { Vec::new() } else { partitions };
        let image = broker.cluster.image();
        let places: Vec<Result<TopicPartition, ErrorCode>> =
            partitions.iter().map(|key| partition_of(&image, *key)).collect();
        let collected = collect(&broker, wanted, &places).await;
        let verdicts = verdicts.await;
        let answered = Answered { key: &key, session, renews };
        let reply = answered.reply(&broker, &header, &partitions, &places, collected, verdicts);
        broker.cluster.counters().time(Timed::Fetch, broker.cluster.elapsed().saturating_sub(started));
        drop(fetching);
        reply
    };
    Ok(Called::InTurn { reply: Box::pin(answer), wait, permit })
}

/// What a session that is opened now is called: the cores of a process have one clock, and microseconds have 1024 parts.
fn session_number(cluster: &dyn Cluster) -> u64 {
    let micros = u64::try_from(cluster.elapsed().as_micros()).unwrap_or(u64::MAX >> 10);
    (micros << 10) | (cluster.core() as u64 & 1023)
}

/// A fetch in a session. When that ends before it is answered, an owner may have handed out records since; nobody gets them.
struct Fetching {
    broker: Rc<Broker>,
    key: SessionKey,
    session: u64,
}

impl Drop for Fetching {
    fn drop(&mut self) {
        if self.broker.share_sessions.borrow().number(&self.key) != Some(self.session) {
            release(&*self.broker.cluster, &self.key, self.session);
        }
    }
}

/// Whether the request makes sense by itself: whose it is, and how strict the number of records.
fn judge(
    broker: &Broker,
    header: &RequestHeader,
    asked: &ShareFetchRequest,
) -> Result<(SessionKey, AcquireMode), (ErrorCode, String)> {
    if !is_served(broker) {
        return Err((ErrorCode::UnsupportedVersion, String::new()));
    }
    let invalid = |why: &str| (ErrorCode::InvalidRequest, why.to_owned());
    let group = asked.group_id.as_deref().ok_or_else(|| invalid("Invalid group id in the request."))?;
    let member = asked.member_id.as_deref().filter(|id| is_member_id(id));
    let member = member.ok_or_else(|| invalid("Invalid member id in the request."))?;
    let mode = AcquireMode::from_code(asked.share_acquire_mode);
    let mode = mode.ok_or_else(|| invalid("Invalid share acquire mode in the request."))?;
    let fetches = [asked.max_bytes, asked.min_bytes, asked.max_records, asked.max_wait_ms];
    if header.api_version >= RENEWS_SINCE && asked.is_renew_ack && fetches.iter().any(|limit| *limit != 0) {
        return Err(invalid("A request that renews fetches nothing: its limits must be 0."));
    }
    Ok((SessionKey { group: Arc::from(group), member: Arc::from(member) }, mode))
}

/// Takes the partitions out of a request.
fn names(asked: &mut ShareFetchRequest, renews: bool) -> Named {
    let mut named = Named { wanted: Vec::new(), forgotten: Vec::new(), said: Vec::new() };
    for topic in std::mem::take(&mut asked.topics) {
        let topic_id = TopicId(topic.topic_id.to_bytes());
        for partition in topic.partitions {
            let key = PartitionKey { topic: topic_id, index: partition.partition_index };
            named.wanted.push(key);
            if partition.acknowledgement_batches.is_empty() {
                continue;
            }
            let list = partition.acknowledgement_batches.into_iter();
            let list: Vec<WireBatch> =
                list.map(|one| (one.first_offset, one.last_offset, one.acknowledge_types)).collect();
            named.said.push((key, batches(list, renews)));
        }
    }
    for topic in std::mem::take(&mut asked.forgotten_topics_data) {
        let topic_id = TopicId(topic.topic_id.to_bytes());
        named
            .forgotten
            .extend(topic.partitions.iter().map(|index| PartitionKey { topic: topic_id, index: *index }));
    }
    named
}

/// A request that is answered.
struct Answered<'a> {
    key: &'a SessionKey,
    /// `None` when it ends with this.
    session: Option<u64>,
    renews: bool,
}

impl Answered<'_> {
    fn reply(
        self,
        broker: &Rc<Broker>,
        header: &RequestHeader,
        partitions: &[PartitionKey],
        places: &[Result<TopicPartition, ErrorCode>],
        collected: Collected,
        verdicts: Vec<(PartitionKey, ErrorCode)>,
    ) -> Reply {
        let Collected { mut told, loan } = collected;
        let mut verdicts: HashMap<PartitionKey, ErrorCode> = verdicts.into_iter().collect();
        let mut data: Vec<(PartitionKey, PartitionData)> = Vec::with_capacity(partitions.len());
        let mut reports: Vec<Report> = Vec::with_capacity(partitions.len());
        for (key, place) in partitions.iter().zip(places) {
            let fetched = match place {
                Ok(id) => told.remove(id).ok_or(ErrorCode::None),
                Err(error) => Err(*error),
            };
            let verdict = verdicts.remove(key);
            let one = partition_data(key.index, fetched, verdict);
            let has_news = verdict.is_some() || !one.acquired_records.is_empty();
            let error = ErrorCode::from_code(one.error_code).unwrap_or(ErrorCode::UnknownServerError);
            reports.push(Report { key: *key, error, has_news });
            data.push((*key, one));
        }
        let carried = match self.session {
            Some(session) if !self.renews => {
                broker.share_sessions.borrow_mut().finish(self.key, session, &reports)
            }
            _ => Ok(vec![true; data.len()]),
        };
        if self.session.is_none() {
            let ended = broker.share_sessions.borrow_mut().end(self.key);
            if let Some(session) = ended {
                release(&*broker.cluster, self.key, session);
            }
        }
        let carried = match carried {
            Ok(carried) => carried,
            Err(error) => {
                let response = message!(ShareFetchResponse {
                    error_code: error.code(),
                    error_message: Some(sentence(error, String::new())),
                });
                return reply(header, &response);
            }
        };
        let kept = data.into_iter().zip(carried).filter(|(_, carried)| *carried).map(|(one, _)| one);
        // Partitions that are only spoken of.
        let rest = verdicts
            .into_iter()
            .map(|(key, verdict)| (key, partition_data(key.index, Err(ErrorCode::None), Some(verdict))));
        let response = message!(ShareFetchResponse {
            acquisition_lock_timeout_ms: lock_ms(broker, &self.key.group),
            responses: topics(kept.chain(rest)),
        });
        let mut sent = reply(header, &response);
        if let Reply::Send(sent) = &mut sent {
            let bytes = sent.len() as u64;
            sent.loan = loan.map(|mut loan| {
                loan.settle(bytes);
                Box::new(Lent { loan: Some(loan), broker: Rc::clone(broker) }) as Box<dyn Any>
            });
        }
        sent
    }
}

fn partition_data(
    index: i32,
    fetched: Result<ShareFetched, ErrorCode>,
    verdict: Option<ErrorCode>,
) -> PartitionData {
    let text = |error: ErrorCode| (!error.is_ok()).then(|| Text::from(error.name()));
    let verdict = verdict.unwrap_or(ErrorCode::None);
    let mut data = message!(PartitionData {
        partition_index: index,
        acknowledge_error_code: verdict.code(),
        acknowledge_error_message: text(verdict),
    });
    let error = match fetched {
        Ok(fetched) => {
            let acquired = fetched.acquired.iter().map(|one| {
                message!(AcquiredRecords {
                    first_offset: one.first.0,
                    last_offset: one.last.0,
                    delivery_count: i16::try_from(one.delivery_count).unwrap_or(i16::MAX),
                })
            });
            data.acquired_records = acquired.collect();
            data.records = fetched.records;
            fetched.error
        }
        Err(error) => error,
    };
    (data.error_code, data.error_message) = (error.code(), text(error));
    data
}

/// By topic, each where it is first named.
fn topics(data: impl Iterator<Item = (PartitionKey, PartitionData)>) -> Vec<ShareFetchableTopicResponse> {
    let mut topics: Vec<ShareFetchableTopicResponse> = Vec::new();
    let mut places: HashMap<TopicId, usize> = HashMap::new();
    for (key, one) in data {
        let place = *places.entry(key.topic).or_insert_with(|| {
            let topic_id = uuid(key.topic);
            topics.push(message!(ShareFetchableTopicResponse { topic_id: topic_id }));
            topics.len() - 1
        });
        topics[place].partitions.push(one);
    }
    topics
}
