//! DeleteTopics: answered when the tombstones are durable and known to every core; files go in the background.

use coordination::metadata::{Command, Refusal, TopicRef};
use model::{ErrorCode, TopicId};
use net::service::Reply;
use protocol::control::messages::DeleteTopicsRequest;
use protocol::control::messages::delete_topics_response::{DeletableTopicResult, DeleteTopicsResponse};
use protocol::{RequestHeader, Text, Uuid, message};

use super::{distinct, in_time, propose_judged, reply, told, topic_ref, uuid};
use crate::service::Broker;

/// A topic as the request names it.
type Named = (Option<Text>, Uuid);

/// First version in which topics may be named by id.
const BY_ID_SINCE: i16 = 6;
/// First version that knows the code TOPIC_DELETION_DISABLED.
const DISABLED_SINCE: i16 = 3;
/// First version that explains errors in words.
const MESSAGE_SINCE: i16 = 5;

/// Answers a DeleteTopics request.
pub async fn handle(broker: &Broker, header: &RequestHeader, request: DeleteTopicsRequest) -> Reply {
    let version = header.api_version;
    let wanted: Vec<Named> = if version >= BY_ID_SINCE {
        request.topics.into_iter().map(|topic| (topic.name, topic.topic_id)).collect()
    } else {
        request.topic_names.into_iter().map(|name| (Some(name), Uuid::ZERO)).collect()
    };
    let mut topics: Vec<TopicRef> = Vec::new();
    let judged = distinct(wanted.iter().cloned(), Named::clone).into_iter().map(|(named, once)| {
        let verdict = judge(broker, version, &named, once.is_none());
        if verdict.is_ok() {
            topics.push(topic_ref(named.0.as_ref(), named.1));
        }
        (named, verdict)
    });
    let judged: Vec<_> = judged.collect();
    let responses: Vec<_> = match in_time(request.timeout_ms) {
        Err(refusal) if !topics.is_empty() => {
            wanted.into_iter().map(|named| refused(named, &refusal, version)).collect()
        }
        _ => {
            let deleted = propose_judged(broker, judged, Command::DeleteTopics(topics)).await;
            let deleted = deleted.map(|(named, verdict)| match verdict {
                Ok(topic) => message!(DeletableTopicResult {
                    name: Some(Text::from(&*topic.name)),
                    topic_id: uuid(topic.id),
                }),
                Err(refusal) => refused(named, &refusal, version),
            });
            deleted.collect()
        }
    };
    reply(header, &message!(DeleteTopicsResponse { responses: responses }))
}

fn refused((name, id): Named, refusal: &Refusal, version: i16) -> DeletableTopicResult {
    let (error_code, error_message) = told(refusal);
    message!(DeletableTopicResult {
        name: name,
        topic_id: id,
        error_code: error_code,
        error_message: error_message.filter(|_| version >= MESSAGE_SINCE),
    })
}

fn judge(broker: &Broker, version: i16, (name, id): &Named, repeated: bool) -> Result<(), Refusal> {
    if !broker.settings.delete_topics {
        let code = if version >= DISABLED_SINCE {
            ErrorCode::TopicDeletionDisabled
        } else {
            ErrorCode::InvalidRequest
        };
        return Err(Refusal::new(code, "Topic deletion is disabled."));
    }
    if repeated {
        return Err(Refusal::new(ErrorCode::InvalidRequest, "Duplicate topic in request."));
    }
    match (name, TopicId(id.to_bytes())) {
        (None, TopicId::ZERO) => {
            Err(Refusal::new(ErrorCode::InvalidRequest, "Neither topic name nor id were given."))
        }
        (Some(_), TopicId::ZERO) | (None, _) => Ok(()),
        (Some(_), _) => {
            Err(Refusal::new(ErrorCode::InvalidRequest, "You may not specify both topic name and topic id."))
        }
    }
}
