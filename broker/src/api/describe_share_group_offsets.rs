//! DescribeShareGroupOffsets: where the share partitions of groups are, and how many records lie behind that.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use coordination::group::{Reply as GroupReply, Request as GroupRequest};
use coordination::share::membership::{Reply as ShareReply, Request};
use coordination::share::store::{Answer as StateAnswer, Ask};
use model::{ErrorCode, LeaderEpoch, Offset, TopicId, TopicPartition};
use net::service::Called;
use protocol::control::messages::DescribeShareGroupOffsetsRequest;
use protocol::control::messages::describe_share_group_offsets_request::DescribeShareGroupOffsetsRequestGroup;
use protocol::control::messages::describe_share_group_offsets_response::{
    DescribeShareGroupOffsetsResponse, DescribeShareGroupOffsetsResponseGroup as Group,
    DescribeShareGroupOffsetsResponsePartition as Partition, DescribeShareGroupOffsetsResponseTopic as Topic,
};
use protocol::{RequestHeader, Text, message};
use shard::ops::{Answer, ListOffset, OffsetQuery, Question};

use super::consumer_group_heartbeat::sentence;
use super::coordinator::ask;
use super::shares::{ask_states, is_served};
use super::{reply, uuid};
use crate::cluster::scatter;
use crate::service::Broker;

/// First version that tells the lag (KIP-1226).
const LAG_SINCE: i16 = 1;
/// "Not known", for offsets and lags.
const UNKNOWN: i64 = -1;

/// Takes a DescribeShareGroupOffsets request.
pub fn handle(
    broker: &Rc<Broker>,
    header: &RequestHeader,
    request: DescribeShareGroupOffsetsRequest,
) -> Called {
    let (broker, header) = (Rc::clone(broker), header.clone());
    Called::Later(Box::pin(async move {
        let mut groups = Vec::with_capacity(request.groups.len());
        for group in request.groups {
            let name = group.group_id.clone();
            let told = describe(&broker, group, header.api_version >= LAG_SINCE).await;
            groups.push(told.unwrap_or_else(|error| {
                message!(Group {
                    group_id: name,
                    error_code: error.code(),
                    error_message: Some(sentence(error, String::new())),
                })
            }));
        }
        reply(&header, &message!(DescribeShareGroupOffsetsResponse { groups: groups }))
    }))
}

async fn describe(
    broker: &Broker,
    wanted: DescribeShareGroupOffsetsRequestGroup,
    tells_lag: bool,
) -> Result<Group, ErrorCode> {
    if !is_served(broker) {
        return Err(ErrorCode::UnsupportedVersion);
    }
    let group: Arc<str> = Arc::from(&*wanted.group_id);
    let image = broker.cluster.image();
    let mut topics: Vec<Topic> = Vec::new();
    let mut asks: Vec<(TopicId, i32, Ask)> = Vec::new();
    match wanted.topics {
        Some(named) => {
            for topic in named {
                if let Some(known) = image.topic(&topic.topic_name) {
                    asks.extend(topic.partitions.into_iter().map(|index| (known.id, index, Ask::Summary)));
                    continue;
                }
                // As of a partition that nobody reads: that the topic is not there is no error either.
                let missing = |index: i32| {
                    let mut none = message!(Partition { partition_index: index, start_offset: UNKNOWN });
                    if tells_lag {
                        none.lag = UNKNOWN;
                    }
                    none
                };
                topics.push(message!(Topic {
                    topic_name: topic.topic_name,
                    partitions: topic.partitions.into_iter().map(missing).collect(),
                }));
            }
        }
        None => {
            let request = GroupRequest::Share(Request::Offsets(Arc::clone(&group)));
            match ask(&*broker.cluster, &group, request).await.await {
                GroupReply::Share(ShareReply::Offsets(Ok(known))) => {
                    for (id, (_, partitions)) in known {
                        asks.extend(partitions.into_iter().map(|index| (id, index, Ask::Summary)));
                    }
                }
                // It reads nothing.
                GroupReply::Share(ShareReply::Offsets(Err((ErrorCode::GroupIdNotFound, _)))) => {}
                GroupReply::Share(ShareReply::Offsets(Err((error, _)))) => return Err(error),
                _ => return Err(ErrorCode::UnknownServerError),
            }
        }
    }
    let states = ask_states(&*broker.cluster, &group, asks).await;
    let ends = ends(broker, &states).await;
    let mut told: BTreeMap<TopicId, Vec<Partition>> = BTreeMap::new();
    for (id, index, answer) in states {
        // As in Kafka, an error is not told: there is nothing to say of the partition.
        let known = match answer {
            StateAnswer::State(Ok(state)) => Some(state),
            _ => None,
        };
        let mut one = message!(Partition {
            partition_index: index,
            start_offset: known.as_ref().map_or(UNKNOWN, |state| state.start.0),
            leader_epoch: known.as_ref().map_or(0, |state| state.leader_epoch.0),
        });
        if tells_lag {
            let end = ends.get(&(id, index)).copied();
            let lag = known.zip(end).map(|(state, end)| {
                (end.0 - state.start.0 - i64::from(state.delivery_complete_count)).max(0)
            });
            one.lag = lag.unwrap_or(UNKNOWN);
        }
        told.entry(id).or_default().push(one);
    }
    for (id, partitions) in told {
        if let Some(topic) = image.topic_by_id(id) {
            let name = Text::from(&*topic.name);
            topics.push(message!(Topic { topic_name: name, topic_id: uuid(id), partitions: partitions }));
        }
    }
    Ok(message!(Group { group_id: wanted.group_id, topics: topics }))
}

/// Where the logs end of which it can be said how many records lie behind.
async fn ends(broker: &Broker, states: &[(TopicId, i32, StateAnswer)]) -> BTreeMap<(TopicId, i32), Offset> {
    let image = broker.cluster.image();
    let mut keys = Vec::new();
    let mut items: Vec<(TopicPartition, ListOffset)> = Vec::new();
    for (id, index, answer) in states {
        let StateAnswer::State(Ok(state)) = answer else { continue };
        let partition = image.topic_by_id(*id).and_then(|topic| topic.partition(*index));
        let Some(partition) = partition else { continue };
        if state.start == Offset::NONE || state.delivery_complete_count == -1 {
            continue;
        }
        keys.push((*id, *index));
        items.push((
            partition,
            ListOffset {
                partition,
                query: OffsetQuery::Latest,
                current_leader_epoch: LeaderEpoch::NONE,
                read_committed: false,
            },
        ));
    }
    let listed = scatter(&*broker.cluster, items, Question::ListOffsets, |answer| match answer {
        Answer::Listed(listed) => Some(listed),
        _ => None,
    });
    let listed = listed.await.await;
    let found = keys.into_iter().zip(listed);
    found.filter_map(|(key, one)| Some((key, one.filter(|one| one.error.is_ok())?.offset))).collect()
}
