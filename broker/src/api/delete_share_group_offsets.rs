//! DeleteShareGroupOffsets: a share group forgets topics, while nobody is in it.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;

use coordination::group::{Reply as GroupReply, Request as GroupRequest};
use coordination::share::membership::{Refusal, Reply as ShareReply, Request};
use coordination::share::store::Ask;
use model::{ErrorCode, TopicId};
use net::service::Called;
use protocol::control::messages::DeleteShareGroupOffsetsRequest;
use protocol::control::messages::delete_share_group_offsets_response::{
    DeleteShareGroupOffsetsResponse, DeleteShareGroupOffsetsResponseTopic as Topic,
};
use protocol::{RequestHeader, Text, message};

use super::consumer_group_heartbeat::sentence;
use super::coordinator::ask;
use super::shares::{ask_states, by_topic, forget, is_served};
use super::{NO_SUCH_PARTITION, reply, uuid};
use crate::service::Broker;

/// Takes a DeleteShareGroupOffsets request.
pub fn handle(
    broker: &Rc<Broker>,
    header: &RequestHeader,
    request: DeleteShareGroupOffsetsRequest,
) -> Called {
    let (broker, header) = (Rc::clone(broker), header.clone());
    Called::Later(Box::pin(async move {
        let response = match delete(&broker, request).await {
            Ok(topics) => message!(DeleteShareGroupOffsetsResponse { responses: topics }),
            Err((error, why)) => message!(DeleteShareGroupOffsetsResponse {
                error_code: error.code(),
                error_message: Some(sentence(error, why)),
            }),
        };
        reply(&header, &response)
    }))
}

async fn delete(broker: &Broker, request: DeleteShareGroupOffsetsRequest) -> Result<Vec<Topic>, Refusal> {
    if !is_served(broker) {
        return Err((ErrorCode::UnsupportedVersion, String::new()));
    }
    if request.group_id.is_empty() {
        return Err((ErrorCode::InvalidGroupId, String::new()));
    }
    if request.topics.is_empty() {
        return Ok(Vec::new());
    }
    let group: Arc<str> = Arc::from(&*request.group_id);
    let image = broker.cluster.image();
    let ids: BTreeSet<TopicId> =
        request.topics.iter().filter_map(|topic| Some(image.topic(&topic.topic_name)?.id)).collect();
    let forgotten = delete_states(broker, &group, Some(ids)).await?;
    let told = request.topics.into_iter().map(|topic| {
        let id = image.topic(&topic.topic_name).map(|known| known.id);
        let verdict =
            id.and_then(|id| forgotten.iter().find(|(known, _)| *known == id)).map(|(_, error)| *error);
        let (error, why) = match (id, verdict) {
            (Some(_), Some(error)) => (error, error.name()),
            (Some(_), None) => {
                (ErrorCode::UnknownTopicOrPartition, "There is no offset information to delete.")
            }
            (None, _) => (ErrorCode::UnknownTopicOrPartition, NO_SUCH_PARTITION),
        };
        message!(Topic {
            topic_name: topic.topic_name,
            topic_id: uuid(id.filter(|_| verdict.is_some()).unwrap_or(TopicId::ZERO)),
            error_code: error.code(),
            error_message: (!error.is_ok()).then(|| Text::from(why)),
        })
    });
    Ok(told.collect())
}

/// Deletes what is kept of topics for a group, or of all (`None`): a verdict for each of which something was.
///
/// # Errors
/// The group is none, or somebody is in it.
pub async fn delete_states(
    broker: &Broker,
    group: &Arc<str>,
    topics: Option<BTreeSet<TopicId>>,
) -> Result<Vec<(TopicId, ErrorCode)>, Refusal> {
    let request = Request::DeleteOffsets { group: Arc::clone(group), topics };
    let partitions = match ask(&*broker.cluster, group, GroupRequest::Share(request)).await.await {
        GroupReply::Share(ShareReply::DeleteOffsets(Ok(partitions))) => partitions,
        GroupReply::Share(ShareReply::DeleteOffsets(Err(refusal))) => return Err(refusal),
        _ => return Err((ErrorCode::UnknownServerError, String::new())),
    };
    // Whoever has the group's share partitions open knows them as they were.
    forget(&*broker.cluster, group).await;
    let asks = partitions.partitions().map(|(id, index)| (id, index, Ask::Delete)).collect();
    let answers = ask_states(&*broker.cluster, group, asks).await;
    let mut verdicts: Vec<(TopicId, ErrorCode)> = Vec::new();
    for (id, _, answer) in &answers {
        match verdicts.iter_mut().find(|(known, _)| known == id) {
            Some((_, verdict)) if verdict.is_ok() => *verdict = answer.code(),
            Some(_) => {}
            None => verdicts.push((*id, answer.code())),
        }
    }
    let failed = by_topic(&answers, |answer| !answer.code().is_ok());
    let gone: Vec<TopicId> =
        verdicts.iter().map(|(id, _)| *id).filter(|id| !failed.contains_key(id)).collect();
    if !gone.is_empty() {
        let heard = Request::StateDeleted { group: Arc::clone(group), topics: gone };
        if let GroupReply::Share(ShareReply::Done(error)) =
            ask(&*broker.cluster, group, GroupRequest::Share(heard)).await.await
            && !error.is_ok()
        {
            return Err((error, String::new()));
        }
    }
    Ok(verdicts)
}
