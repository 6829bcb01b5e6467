//! AlterShareGroupOffsets: where a share group goes on, told while nobody is in it.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use coordination::group::{Reply as GroupReply, Request as GroupRequest};
use coordination::share::membership::{Assignment, Refusal, Reply as ShareReply, Request};
use coordination::share::store::Ask;
use model::{ErrorCode, Offset, TopicId};
use net::service::Called;
use protocol::control::messages::AlterShareGroupOffsetsRequest;
use protocol::control::messages::alter_share_group_offsets_response::{
    AlterShareGroupOffsetsResponse, AlterShareGroupOffsetsResponsePartition as Partition,
    AlterShareGroupOffsetsResponseTopic as Topic,
};
use protocol::{RequestHeader, Text, message};

use super::consumer_group_heartbeat::sentence;
use super::coordinator::{ask, ensure_share_topic};
use super::shares::{ask_states, by_topic, forget, is_served};
use super::{NO_SUCH_PARTITION, reply, uuid};
use crate::service::Broker;

/// Takes an AlterShareGroupOffsets request.
pub fn handle(broker: &Rc<Broker>, header: &RequestHeader, request: AlterShareGroupOffsetsRequest) -> Called {
    let (broker, header) = (Rc::clone(broker), header.clone());
    Called::Later(Box::pin(async move {
        let response = match alter(&broker, request).await {
            Ok(topics) => message!(AlterShareGroupOffsetsResponse { responses: topics }),
            Err((error, why)) => message!(AlterShareGroupOffsetsResponse {
                error_code: error.code(),
                error_message: Some(sentence(error, why)),
            }),
        };
        reply(&header, &response)
    }))
}

async fn alter(broker: &Broker, request: AlterShareGroupOffsetsRequest) -> Result<Vec<Topic>, Refusal> {
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
    let mut starts: BTreeMap<TopicId, BTreeMap<i32, Offset>> = BTreeMap::new();
    for topic in &request.topics {
        let Some(known) = image.topic(&topic.topic_name) else { continue };
        let there = topic.partitions.iter().filter(|one| known.partition(one.partition_index).is_some());
        let list = starts.entry(known.id).or_default();
        list.extend(there.map(|one| (one.partition_index, Offset(one.start_offset))));
    }
    starts.retain(|_, list| !list.is_empty());
    ensure_share_topic(broker).await;
    let wanted: BTreeMap<TopicId, BTreeSet<i32>> =
        starts.iter().map(|(id, list)| (*id, list.keys().copied().collect())).collect();
    let partitions = Assignment(wanted);
    let request_group = Request::AlterOffsets { group: Arc::clone(&group), partitions };
    let state_epoch = match ask(&*broker.cluster, &group, GroupRequest::Share(request_group)).await.await {
        GroupReply::Share(ShareReply::AlterOffsets(Ok(epoch))) => epoch,
        GroupReply::Share(ShareReply::AlterOffsets(Err(refusal))) => return Err(refusal),
        _ => return Err((ErrorCode::UnknownServerError, String::new())),
    };
    // Whoever has the group's share partitions open knows them as they were.
    forget(&*broker.cluster, &group).await;
    let asks = starts.iter().flat_map(|(id, list)| {
        list.iter().map(|(index, start)| (*id, *index, Ask::Initialize { state_epoch, start: *start }))
    });
    let answers = ask_states(&*broker.cluster, &group, asks.collect()).await;
    for done in [true, false] {
        let partitions = by_topic(&answers, |answer| answer.code().is_ok() == done);
        if partitions.is_empty() {
            continue;
        }
        let heard =
            Request::Initialized { group: Arc::clone(&group), partitions: Assignment(partitions), done };
        if let GroupReply::Share(ShareReply::Done(error)) =
            ask(&*broker.cluster, &group, GroupRequest::Share(heard)).await.await
            && !error.is_ok()
        {
            return Err((error, String::new()));
        }
    }
    let verdicts: BTreeMap<(TopicId, i32), ErrorCode> =
        answers.iter().map(|(id, index, answer)| ((*id, *index), answer.code())).collect();
    let told = request.topics.into_iter().map(|topic| {
        let id = image.topic(&topic.topic_name).map(|known| known.id);
        let partition = |index: i32| {
            let verdict = id.and_then(|id| verdicts.get(&(id, index)).copied());
            let error = verdict.unwrap_or(ErrorCode::UnknownTopicOrPartition);
            let why = if verdict.is_none() { NO_SUCH_PARTITION } else { error.name() };
            message!(Partition {
                partition_index: index,
                error_code: error.code(),
                error_message: (!error.is_ok()).then(|| Text::from(why)),
            })
        };
        let partitions = topic.partitions.iter().map(|one| partition(one.partition_index)).collect();
        let topic_id = uuid(id.unwrap_or(TopicId::ZERO));
        message!(Topic { topic_name: topic.topic_name, topic_id: topic_id, partitions: partitions })
    });
    Ok(told.collect())
}
