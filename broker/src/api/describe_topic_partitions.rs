//! DescribeTopicPartitions: topics by name, page by page (KIP-966).

use coordination::metadata::Image;
use coordination::metadata::topics::check_name;
use model::ErrorCode;
use net::service::Reply;
use protocol::control::messages::DescribeTopicPartitionsRequest;
use protocol::control::messages::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponse, DescribeTopicPartitionsResponsePartition,
    DescribeTopicPartitionsResponseTopic,
};
use protocol::{RequestHeader, Text, message};

use super::{TOPIC_OPERATIONS, reply, uuid};
use crate::service::Broker;

/// Where the answer begins: a topic's name and a partition of it.
type Start = (String, u32);

/// Answers a DescribeTopicPartitions request.
pub fn handle(broker: &Broker, header: &RequestHeader, request: DescribeTopicPartitionsRequest) -> Reply {
    let image = broker.cluster.image();
    let start = match &request.cursor {
        None => Some((String::new(), 0)),
        Some(cursor) => {
            u32::try_from(cursor.partition_index).ok().map(|index| (cursor.topic_name.to_string(), index))
        }
    };
    let named: Vec<Text> = request.topics.into_iter().map(|topic| topic.name).collect();
    let (Some(start), Some(limit)) = (start, limit(broker, request.response_partition_limit)) else {
        let refused = named.into_iter().map(|name| failed(name, ErrorCode::InvalidRequest));
        return reply(header, &message!(DescribeTopicPartitionsResponse { topics: refused.collect() }));
    };
    let mut names: Vec<Text> = if named.is_empty() {
        image.topics_sorted().into_iter().map(|topic| Text::from(&*topic.name)).collect()
    } else {
        named
    };
    names.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
    names.dedup();
    names.retain(|name| **name >= *start.0);
    reply(header, &page(broker, &image, names, &start, limit))
}

/// Partitions the answer may have; `None` when the client wants fewer than one.
fn limit(broker: &Broker, wanted: i32) -> Option<u32> {
    u32::try_from(wanted)
        .ok()
        .filter(|wanted| *wanted > 0)
        .map(|wanted| wanted.min(broker.settings.described_partitions_max))
}

fn page(
    broker: &Broker,
    image: &Image,
    names: Vec<Text>,
    start: &Start,
    limit: u32,
) -> DescribeTopicPartitionsResponse {
    let mut room = limit;
    let mut response = DescribeTopicPartitionsResponse::default();
    for name in names {
        let Some(topic) = image.topic(&name) else {
            let code = match check_name(&name) {
                Ok(()) => ErrorCode::UnknownTopicOrPartition,
                Err(refusal) => refusal.code,
            };
            response.topics.push(failed(name, code));
            continue;
        };
        let first = if *name == *start.0 { start.1 } else { 0 };
        let end = topic.partitions.min(first.saturating_add(room));
        if room == 0 {
            response.next_cursor = Some(cursor(name, first));
            break;
        }
        let partitions = (first..end).map(|index| partition(broker, image, index));
        response.topics.push(message!(DescribeTopicPartitionsResponseTopic {
            name: Some(name.clone()),
            topic_id: uuid(topic.id),
            partitions: partitions.collect(),
            topic_authorized_operations: TOPIC_OPERATIONS,
        }));
        room -= end.saturating_sub(first);
        if end < topic.partitions && end >= first {
            response.next_cursor = Some(cursor(name, end));
            break;
        }
    }
    response
}

fn cursor(topic_name: Text, index: u32) -> Cursor {
    let partition_index = i32::try_from(index).unwrap_or(i32::MAX);
    message!(Cursor { topic_name: topic_name, partition_index: partition_index })
}

fn failed(name: Text, code: ErrorCode) -> DescribeTopicPartitionsResponseTopic {
    message!(DescribeTopicPartitionsResponseTopic { error_code: code.code(), name: Some(name) })
}

fn partition(broker: &Broker, image: &Image, index: u32) -> DescribeTopicPartitionsResponsePartition {
    let node = broker.settings.node.0;
    message!(DescribeTopicPartitionsResponsePartition {
        partition_index: i32::try_from(index).unwrap_or(i32::MAX),
        leader_id: node,
        leader_epoch: image.leader_epoch().0,
        replica_nodes: vec![node],
        isr_nodes: vec![node],
        eligible_leader_replicas: Some(Vec::new()),
        last_known_elr: Some(Vec::new()),
    })
}
