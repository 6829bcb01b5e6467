//! DescribeLogDirs: the one data directory, the file system it is on, and the size of every log in it.

use std::collections::{BTreeMap, BTreeSet};

use coordination::metadata::{Image, Topic};
use model::{ErrorCode, TopicPartition};
use net::service::Reply;
use protocol::control::messages::describe_log_dirs_request::DescribableLogDirTopic;
use protocol::control::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use protocol::control::messages::{DescribeLogDirsRequest, DescribeLogDirsResponse};
use protocol::{RequestHeader, Text, message};
use shard::ops::{Answer, Question};

use super::reply;
use crate::cluster::scatter;
use crate::service::Broker;

/// Answers a DescribeLogDirs request.
pub async fn handle(broker: &Broker, header: &RequestHeader, request: DescribeLogDirsRequest) -> Reply {
    let log_dir = Text::from(broker.settings.data_dir.as_str());
    let result = match broker.cluster.space().await {
        Ok(space) => match sizes(broker, request.topics).await {
            Some(topics) => message!(DescribeLogDirsResult {
                log_dir: log_dir,
                topics: topics,
                total_bytes: i64::try_from(space.total).unwrap_or(i64::MAX),
                usable_bytes: i64::try_from(space.free).unwrap_or(i64::MAX),
            }),
            None => message!(DescribeLogDirsResult {
                log_dir: log_dir,
                error_code: ErrorCode::UnknownServerError.code(),
            }),
        },
        Err(error) => {
            tracing::warn!(directory = broker.settings.data_dir, %error, "the file system does not tell its size");
            message!(DescribeLogDirsResult {
                log_dir: log_dir,
                error_code: ErrorCode::KafkaStorageError.code(),
            })
        }
    };
    reply(header, &message!(DescribeLogDirsResponse { results: vec![result] }))
}

/// `None` when an owner did not answer: what is not told would be taken for not there.
async fn sizes(
    broker: &Broker,
    asked: Option<Vec<DescribableLogDirTopic>>,
) -> Option<Vec<DescribeLogDirsTopic>> {
    let image = broker.cluster.image();
    let partitions = wanted(&image, asked);
    let answer = |answer| if let Answer::Sizes(each) = answer { Some(each) } else { None };
    let questions = partitions.iter().map(|partition| (*partition, *partition)).collect();
    let sizes = scatter(&*broker.cluster, questions, Question::Sizes, answer).await.await;
    let mut topics: Vec<DescribeLogDirsTopic> = Vec::new();
    let mut last = None;
    for (place, size) in partitions.into_iter().zip(sizes) {
        let size = size?;
        let Some(topic) = image.topic_by_id(place.topic) else { continue };
        if last.replace(place.topic) != Some(place.topic) {
            topics.push(message!(DescribeLogDirsTopic { name: Text::from(&*topic.name) }));
        }
        // One replica, which leads: nothing lags behind it, and no log is on its way to another directory.
        let told = message!(DescribeLogDirsPartition {
            partition_index: i32::try_from(place.partition).unwrap_or(i32::MAX),
            partition_size: i64::try_from(size).unwrap_or(i64::MAX),
        });
        if let Some(topic) = topics.last_mut() {
            topic.partitions.push(told);
        }
    }
    Some(topics)
}

/// The partitions that are meant and are there, each once, those of one topic together.
fn wanted(image: &Image, asked: Option<Vec<DescribableLogDirTopic>>) -> Vec<TopicPartition> {
    let all = |topic: &Topic| {
        (0..topic.partitions)
            .map(|partition| TopicPartition { topic: topic.id, partition })
            .collect::<Vec<_>>()
    };
    let Some(asked) = asked else {
        return image.topics_sorted().into_iter().flat_map(|topic| all(topic)).collect();
    };
    let mut wanted: BTreeMap<Text, BTreeSet<TopicPartition>> = BTreeMap::new();
    for topic in asked {
        let Some(found) = image.topic(&topic.topic) else { continue };
        let partitions = topic.partitions.into_iter().filter_map(|index| found.partition(index));
        wanted.entry(topic.topic).or_default().extend(partitions);
    }
    wanted.into_values().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::harness::{Client, produce};
    use crate::service::tests::create;
    use crate::service::tests::data::batch;

    fn ask(client: &Client, topics: Option<Vec<DescribableLogDirTopic>>) -> DescribeLogDirsResult {
        let response: DescribeLogDirsResponse =
            client.ask(5, &message!(DescribeLogDirsRequest { topics: topics }));
        assert_eq!((response.error_code, response.results.len()), (0, 1));
        response.results[0].clone()
    }

    fn told(result: &DescribeLogDirsResult) -> Vec<(String, Vec<(i32, i64)>)> {
        let partitions = |topic: &DescribeLogDirsTopic| {
            topic.partitions.iter().map(|one| (one.partition_index, one.partition_size)).collect()
        };
        result.topics.iter().map(|topic| (topic.name.to_string(), partitions(topic))).collect()
    }

    #[test]
    fn sizes_are_those_of_the_logs_and_every_partition_is_told_once() {
        let client = Client::new();
        create(&client, "b", 2, &[]);
        create(&client, "a", 1, &[]);
        let batch = batch(&client, &["value"]);
        let size = i64::try_from(batch.len()).unwrap();
        client.response(produce("b", -1, &[(1, batch)]));
        let all = ask(&client, None);
        assert_eq!((&*all.log_dir, all.error_code, all.is_cordoned), ("/data", 0, false));
        assert_eq!(all.total_bytes, 1 << 40);
        assert!(0 < all.usable_bytes && all.usable_bytes < all.total_bytes);
        assert_eq!(told(&all), [("a".into(), vec![(0, 0)]), ("b".into(), vec![(0, 0), (1, size)])]);
        let topic = |name: &str, partitions: &[i32]| {
            message!(DescribableLogDirTopic { topic: name.into(), partitions: partitions.to_vec() })
        };
        let some = vec![topic("b", &[1, 7, 1, -1]), topic("nowhere", &[0]), topic("b", &[1])];
        assert_eq!(told(&ask(&client, Some(some))), [("b".into(), vec![(1, size)])]);
        assert_eq!(told(&ask(&client, Some(vec![]))), []);
    }

    #[test]
    fn old_versions_have_no_volume() {
        let client = Client::new();
        for version in 1..=5 {
            let response: DescribeLogDirsResponse = client.ask(version, &DescribeLogDirsRequest::default());
            assert_eq!(response.results[0].total_bytes > 0, version >= 4, "{version}");
        }
    }
}
