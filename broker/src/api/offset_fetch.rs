//! OffsetFetch: committed offsets of one group, or of several.

use coordination::group::{
    CommittedOffset, FetchedTopic, OffsetFetch, OffsetFetchReply, PartitionsOf, Reply as GroupReply,
    Request as GroupRequest,
};
use coordination::metadata::Image;
use futures_lite::future::BoxedLocal;
use model::{ErrorCode, Offset, TopicId};
use net::service::Called;
use protocol::control::messages::OffsetFetchRequest;
use protocol::control::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use protocol::control::messages::offset_fetch_response::{
    OffsetFetchResponse, OffsetFetchResponseGroup, OffsetFetchResponsePartition,
    OffsetFetchResponsePartitions, OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use protocol::{RequestHeader, Text, Uuid, message};

use super::coordinator::{ask, owned};
use super::{reply, uuid};
use crate::service::Broker;

/// First version with an error for the whole group.
const GROUP_ERROR_SINCE: i16 = 2;
/// First version that asks for several groups.
const SEVERAL_SINCE: i16 = 8;
/// First version that names topics by id.
const BY_ID_SINCE: i16 = 10;

/// Takes an OffsetFetch request.
pub async fn handle(broker: &Broker, header: &RequestHeader, request: OffsetFetchRequest) -> Called {
    if header.api_version < SEVERAL_SINCE {
        one_group(broker, header, request).await
    } else {
        several_groups(broker, header, request).await
    }
}

async fn one_group(broker: &Broker, header: &RequestHeader, request: OffsetFetchRequest) -> Called {
    let topics: Option<Vec<PartitionsOf>> = request.topics.map(|topics| {
        let named = |topic: protocol::control::messages::offset_fetch_request::OffsetFetchRequestTopic| {
            PartitionsOf { topic: owned(&topic.name), partitions: topic.partition_indexes }
        };
        topics.into_iter().map(named).collect()
    });
    let asked = topics.clone().unwrap_or_default();
    let group = owned(&request.group_id);
    let require_stable = request.require_stable;
    let fetch = OffsetFetch { group: group.clone(), topics, require_stable, member: None };
    let fetched = ask(&*broker.cluster, &group, GroupRequest::OffsetFetch(fetch)).await;
    let header = header.clone();
    Called::Later(Box::pin(async move {
        let fetched = offsets_of(fetched).await;
        // Before there was a place for it, the group's error stood at every partition.
        let at_partitions = !fetched.error.is_ok() && header.api_version < GROUP_ERROR_SINCE;
        let found = if at_partitions { nothing(asked) } else { fetched.topics };
        let error = if at_partitions { fetched.error } else { ErrorCode::None };
        let topics = found.into_iter().map(|topic| {
            let partitions = topic.partitions.into_iter().map(|one| {
                message!(OffsetFetchResponsePartition {
                    partition_index: one.partition,
                    committed_offset: one.offset.0,
                    committed_leader_epoch: one.leader_epoch,
                    metadata: Some(Text::from(one.metadata)),
                    error_code: error.code(),
                })
            });
            message!(OffsetFetchResponseTopic {
                name: Text::from(topic.topic),
                partitions: partitions.collect(),
            })
        });
        let code = fetched.error.code();
        reply(&header, &message!(OffsetFetchResponse { topics: topics.collect(), error_code: code }))
    }))
}

/// No offset for any of these.
fn nothing(asked: Vec<PartitionsOf>) -> Vec<FetchedTopic> {
    let none = |partition| CommittedOffset {
        partition,
        offset: Offset::NONE,
        leader_epoch: -1,
        metadata: String::new(),
    };
    let topic = |topic: PartitionsOf| FetchedTopic {
        topic: topic.topic,
        partitions: topic.partitions.into_iter().map(none).collect(),
    };
    asked.into_iter().map(topic).collect()
}

/// One group of a request for several.
struct Asked {
    group: Text,
    /// Topics of the request that are not known by their id.
    unknown: Vec<OffsetFetchRequestTopics>,
    fetched: BoxedLocal<GroupReply>,
}

async fn several_groups(broker: &Broker, header: &RequestHeader, request: OffsetFetchRequest) -> Called {
    let by_id = header.api_version >= BY_ID_SINCE;
    let image = broker.cluster.image();
    let mut asked = Vec::with_capacity(request.groups.len());
    for group in request.groups {
        asked.push(ask_for(broker, &image, by_id, request.require_stable, group).await);
    }
    let header = header.clone();
    Called::Later(Box::pin(async move {
        let mut groups = Vec::with_capacity(asked.len());
        for one in asked {
            let fetched = offsets_of(one.fetched).await;
            groups.push(group_answer(&image, by_id, one.group, one.unknown, fetched));
        }
        reply(&header, &message!(OffsetFetchResponse { groups: groups }))
    }))
}

async fn ask_for(
    broker: &Broker,
    image: &Image,
    by_id: bool,
    require_stable: bool,
    group: OffsetFetchRequestGroup,
) -> Asked {
    let mut unknown = Vec::new();
    let topics = group.topics.map(|topics| {
        let mut known = Vec::with_capacity(topics.len());
        for topic in topics {
            let name = if by_id {
                image.topic_by_id(TopicId(topic.topic_id.to_bytes())).map(|topic| topic.name.to_string())
            } else {
                Some(owned(&topic.name))
            };
            match name {
                Some(name) => known.push(PartitionsOf { topic: name, partitions: topic.partition_indexes }),
                None => unknown.push(topic),
            }
        }
        known
    });
    let name = owned(&group.group_id);
    // An id without an epoch, or the other way round, is judged too: only neither says nothing.
    let says_who = group.member_id.is_some() || group.member_epoch >= 0;
    let member =
        says_who.then(|| (group.member_id.as_ref().map(owned).unwrap_or_default(), group.member_epoch));
    let fetch = OffsetFetch { group: name.clone(), topics, require_stable, member };
    let fetched = ask(&*broker.cluster, &name, GroupRequest::OffsetFetch(fetch)).await;
    Asked { group: group.group_id, unknown, fetched }
}

fn group_answer(
    image: &Image,
    by_id: bool,
    group: Text,
    unknown: Vec<OffsetFetchRequestTopics>,
    fetched: OffsetFetchReply,
) -> OffsetFetchResponseGroup {
    if !fetched.error.is_ok() {
        return message!(OffsetFetchResponseGroup { group_id: group, error_code: fetched.error.code() });
    }
    let mut topics = Vec::with_capacity(fetched.topics.len() + unknown.len());
    for topic in fetched.topics {
        let id = image.topic(&topic.topic).map_or(Uuid::ZERO, |topic| uuid(topic.id));
        // Offsets of a topic that is gone cannot be named by id.
        if by_id && id == Uuid::ZERO {
            continue;
        }
        let partitions = topic.partitions.into_iter().map(|one| {
            message!(OffsetFetchResponsePartitions {
                partition_index: one.partition,
                committed_offset: one.offset.0,
                committed_leader_epoch: one.leader_epoch,
                metadata: Some(Text::from(one.metadata)),
            })
        });
        topics.push(message!(OffsetFetchResponseTopics {
            name: if by_id { Text::from("") } else { Text::from(topic.topic) },
            topic_id: if by_id { id } else { Uuid::ZERO },
            partitions: partitions.collect(),
        }));
    }
    for topic in unknown {
        let partitions = topic.partition_indexes.into_iter().map(|index| {
            message!(OffsetFetchResponsePartitions {
                partition_index: index,
                committed_offset: Offset::NONE.0,
                committed_leader_epoch: -1,
                metadata: Some(Text::from("")),
                error_code: ErrorCode::UnknownTopicId.code(),
            })
        });
        topics.push(message!(OffsetFetchResponseTopics {
            topic_id: topic.topic_id,
            partitions: partitions.collect(),
        }));
    }
    message!(OffsetFetchResponseGroup { group_id: group, topics: topics })
}

async fn offsets_of(fetched: BoxedLocal<GroupReply>) -> OffsetFetchReply {
    match fetched.await {
        GroupReply::OffsetFetch(fetched) => fetched,
        _ => OffsetFetchReply { error: ErrorCode::UnknownServerError, topics: Vec::new() },
    }
}
