//! DescribeTopicPartitions: topics by name, page by page (KIP-966).

use coordination::metadata::Image;
use coordination::metadata::topics::check_name;
use coordination::metadata::topics::is_internal;
use model::ErrorCode;
use net::service::Reply;
use protocol::control::messages::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponse, DescribeTopicPartitionsResponsePartition,
    DescribeTopicPartitionsResponseTopic,
};
use protocol::control::messages::{
    DescribeTopicPartitionsRequest, describe_topic_partitions_request as request,
};
use protocol::{RequestHeader, Text, message};

use super::{TOPIC_OPERATIONS, reply, uuid};
use crate::service::Broker;

/// Where the answer begins: a topic's name and a partition of it.
type Start = (String, u32);

/// Answers a DescribeTopicPartitions request.
pub fn handle(broker: &Broker, header: &RequestHeader, request: DescribeTopicPartitionsRequest) -> Reply {
    let image = broker.cluster.image();
    let named: Vec<Text> = request.topics.into_iter().map(|topic| topic.name).collect();
    let Some(start) = start(request.cursor.as_ref(), &named) else {
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
    // As in Kafka, whoever wants fewer than one partition gets one.
    let wanted = u32::try_from(request.response_partition_limit).unwrap_or(0);
    let limit = wanted.min(broker.settings.described_partitions_max).max(1);
    reply(header, &page(broker, &image, names, &start, limit))
}

/// Where the answer begins; none when the cursor cannot be: below partition 0, or at a topic that is not asked for.
fn start(cursor: Option<&request::Cursor>, named: &[Text]) -> Option<Start> {
    let Some(cursor) = cursor else { return Some((String::new(), 0)) };
    let index = u32::try_from(cursor.partition_index).ok()?;
    let name = &cursor.topic_name;
    (named.is_empty() || named.contains(name)).then(|| (name.to_string(), index))
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
        let first = if *name == *start.0 { start.1 } else { 0 };
        if room == 0 {
            response.next_cursor = Some(cursor(name, first));
            break;
        }
        let Some(topic) = image.topic(&name) else {
            let code = match check_name(&name) {
                Ok(()) => ErrorCode::UnknownTopicOrPartition,
                Err(refusal) => refusal.code,
            };
            response.topics.push(message!(DescribeTopicPartitionsResponseTopic {
                error_code: code.code(),
                name: Some(name),
                topic_authorized_operations: TOPIC_OPERATIONS,
            }));
            continue;
        };
        let end = topic.partitions.min(first.saturating_add(room));
        let partitions = (first..end).map(|index| partition(broker, image, index));
        response.topics.push(message!(DescribeTopicPartitionsResponseTopic {
            name: Some(name.clone()),
            topic_id: uuid(topic.id),
            is_internal: is_internal(&name),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::harness::Client;
    use coordination::metadata::topics::TOPIC_NAME_BYTES_MAX;
    use protocol::control::messages::create_topics_request::CreatableTopic;
    use protocol::control::messages::{CreateTopicsRequest, CreateTopicsResponse};

    fn client(topics: &[(&str, i32)]) -> Client {
        let client = Client::new();
        let topics = topics.iter().map(|(name, partitions)| {
            message!(CreatableTopic {
                name: (*name).into(),
                num_partitions: *partitions,
                replication_factor: 1
            })
        });
        let request = message!(CreateTopicsRequest { topics: topics.collect(), timeout_ms: 1000 });
        let _: CreateTopicsResponse = client.ask(7, &request);
        client
    }

    type Page = (Vec<(String, i16, usize)>, Option<(String, i32)>);

    /// Name, error and number of partitions of each topic, and the next cursor.
    fn ask(client: &Client, names: &[&str], cursor: Option<(&str, i32)>, limit: i32) -> Page {
        let topics = names.iter().map(|name| message!(request::TopicRequest { name: (*name).into() }));
        let cursor = cursor.map(|(name, index)| {
            message!(request::Cursor { topic_name: name.into(), partition_index: index })
        });
        let request = message!(DescribeTopicPartitionsRequest {
            topics: topics.collect(),
            response_partition_limit: limit,
            cursor: cursor,
        });
        let page: DescribeTopicPartitionsResponse = client.ask(0, &request);
        let topic = |topic: DescribeTopicPartitionsResponseTopic| {
            (topic.name.unwrap_or_default().to_string(), topic.error_code, topic.partitions.len())
        };
        let cursor = page.next_cursor.map(|cursor| (cursor.topic_name.to_string(), cursor.partition_index));
        (page.topics.into_iter().map(topic).collect(), cursor)
    }

    #[test]
    fn limits_below_one_mean_one() {
        let client = client(&[("a", 2)]);
        for limit in [1, 0, -1] {
            assert_eq!(ask(&client, &["a"], None, limit), (vec![("a".into(), 0, 1)], Some(("a".into(), 1))));
        }
        assert_eq!(ask(&client, &["a"], None, i32::MAX), (vec![("a".into(), 0, 2)], None));
    }

    #[test]
    fn a_full_page_points_to_the_next_topic_even_if_there_is_none() {
        let client = client(&[("a", 2)]);
        let unknown = ErrorCode::UnknownTopicOrPartition.code();
        assert_eq!(
            ask(&client, &["b", "a", "b"], None, 2),
            (vec![("a".into(), 0, 2)], Some(("b".into(), 0)))
        );
        assert_eq!(ask(&client, &["b", "a"], Some(("b", 0)), 2), (vec![("b".into(), unknown, 0)], None));
        let long = "n".repeat(TOPIC_NAME_BYTES_MAX + 1);
        assert_eq!(ask(&client, &[&long], None, 2).0[0].1, ErrorCode::InvalidTopicException.code());
    }

    #[test]
    fn a_cursor_that_cannot_be_is_refused() {
        let client = client(&[("a", 2), ("c", 1)]);
        let refused = (vec![("a".into(), ErrorCode::InvalidRequest.code(), 0)], None);
        assert_eq!(ask(&client, &["a"], Some(("b", 0)), 9), refused);
        assert_eq!(ask(&client, &["a"], Some(("a", -1)), 9), refused);
        let beyond = ask(&client, &["a"], Some(("a", 7)), 9);
        assert_eq!(beyond, (vec![("a".into(), 0, 0)], None));
        // Of all topics: a topic may be deleted between two pages.
        assert_eq!(ask(&client, &[], Some(("b", 1)), 9), (vec![("c".into(), 0, 1)], None));
    }
}
