//! ShareAcknowledge: what a member of a share group says of the records it has.

use std::rc::Rc;
use std::sync::Arc;

use coordination::share::session::{PartitionKey, SessionKey};
use model::{ErrorCode, TopicId};
use net::service::Called;
use protocol::control::messages::ShareAcknowledgeRequest;
use protocol::control::messages::share_acknowledge_response::{
    PartitionData, ShareAcknowledgeResponse, ShareAcknowledgeTopicResponse,
};
use protocol::{RequestHeader, Text, message};

use super::consumer_group_heartbeat::sentence;
use super::shares::{Said, WireBatch, acknowledge, batches, is_member_id, is_served, lock_ms, release};
use super::{reply, uuid};
use crate::service::Broker;

/// First version that knows renewals (KIP-1222), and tells how long a lock lasts.
const RENEWS_SINCE: i16 = 2;

/// Takes a ShareAcknowledge request.
pub async fn handle(broker: &Rc<Broker>, header: &RequestHeader, request: ShareAcknowledgeRequest) -> Called {
    let refused = |error: ErrorCode, why: &str| {
        let response = message!(ShareAcknowledgeResponse {
            error_code: error.code(),
            error_message: Some(sentence(error, why.to_owned())),
        });
        Called::Now(reply(header, &response))
    };
    if !is_served(broker) {
        return refused(ErrorCode::UnsupportedVersion, "");
    }
    let Some(group) = request.group_id.as_deref() else {
        return refused(ErrorCode::InvalidRequest, "Invalid group id in the request.");
    };
    let Some(member) = request.member_id.as_deref().filter(|id| is_member_id(id)) else {
        return refused(ErrorCode::InvalidRequest, "Invalid member id in the request.");
    };
    let key = SessionKey { group: Arc::from(group), member: Arc::from(member) };
    let begun = broker.share_sessions.borrow_mut().acknowledge(&key, request.share_session_epoch);
    let last = match begun {
        Ok(last) => last,
        Err(error) => return refused(error, ""),
    };
    let renews = header.api_version >= RENEWS_SINCE && request.is_renew_ack;
    let mut said: Said = Vec::new();
    for topic in request.topics {
        let id = TopicId(topic.topic_id.to_bytes());
        for partition in topic.partitions {
            let list = partition.acknowledgement_batches.into_iter();
            let list: Vec<WireBatch> =
                list.map(|one| (one.first_offset, one.last_offset, one.acknowledge_types)).collect();
            let key = PartitionKey { topic: id, index: partition.partition_index };
            said.push((key, batches(list, renews)));
        }
    }
    let verdicts = acknowledge(broker, &key, said).await;
    // Nothing else comes on it; what was said goes first.
    let ended = if last { broker.share_sessions.borrow_mut().end(&key) } else { None };
    let leaving = ended.map(|session| Leaving { broker: Rc::clone(broker), key: key.clone(), session });
    let (broker, header) = (Rc::clone(broker), header.clone());
    Called::Later(Box::pin(async move {
        let verdicts = verdicts.await;
        drop(leaving);
        let mut response = message!(ShareAcknowledgeResponse { responses: topics(verdicts) });
        if header.api_version >= RENEWS_SINCE {
            response.acquisition_lock_timeout_ms = lock_ms(&broker, &key.group);
        }
        reply(&header, &response)
    }))
}

/// A member whose session is over: what it holds is free when its last words are durable, or nobody waits for that any more.
struct Leaving {
    broker: Rc<Broker>,
    key: SessionKey,
    session: u64,
}

impl Drop for Leaving {
    fn drop(&mut self) {
        release(&*self.broker.cluster, &self.key, self.session);
    }
}

fn topics(verdicts: Vec<(PartitionKey, ErrorCode)>) -> Vec<ShareAcknowledgeTopicResponse> {
    let mut topics: Vec<ShareAcknowledgeTopicResponse> = Vec::new();
    for (key, error) in verdicts {
        let told = message!(PartitionData {
            partition_index: key.index,
            error_code: error.code(),
            error_message: (!error.is_ok()).then(|| Text::from(error.name())),
        });
        let id = uuid(key.topic);
        match topics.last_mut() {
            Some(topic) if topic.topic_id == id => topic.partitions.push(told),
            _ => {
                topics.push(message!(ShareAcknowledgeTopicResponse { topic_id: id, partitions: vec![told] }))
            }
        }
    }
    topics
}
