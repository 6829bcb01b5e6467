//! DeleteRecords: moves log starts at the owners; answered when that is durable.

use coordination::metadata::topics::is_internal;
use model::{ErrorCode, Offset, TopicPartition};
use net::service::Reply;
use protocol::control::messages::DeleteRecordsRequest;
use protocol::control::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsResponse, DeleteRecordsTopicResult,
};
use protocol::{RequestHeader, message};
use shard::ops::{Answer, DeleteRecords, Question};

use super::{Verdicts, join, partition_named, reply};
use crate::cluster::scatter;
use crate::service::Broker;

/// Answers a DeleteRecords request.
pub async fn handle(broker: &Broker, header: &RequestHeader, request: DeleteRecordsRequest) -> Reply {
    let image = broker.cluster.image();
    let mut topics = Verdicts::new();
    let mut wishes: Vec<(TopicPartition, DeleteRecords)> = Vec::new();
    for topic in request.topics {
        let mut verdicts = Vec::with_capacity(topic.partitions.len());
        for wanted in topic.partitions {
            let found = partition_named(&image, &topic.name, wanted.partition_index).and_then(|partition| {
                // What the broker keeps there is its own to let go of.
                if is_internal(&topic.name) {
                    return Err(ErrorCode::InvalidTopicException);
                }
                wishes.push((partition, DeleteRecords { partition, before: Offset(wanted.offset) }));
                Ok(())
            });
            verdicts.push((wanted.partition_index, found));
        }
        topics.push((topic.name, verdicts));
    }
    let answer = |answer| if let Answer::Deleted(each) = answer { Some(each) } else { None };
    let deleted = scatter(&*broker.cluster, wishes, Question::DeleteRecords, answer).await.await;
    let topics = join(topics, deleted).into_iter().map(|(name, partitions)| {
        let partitions = partitions.into_iter().map(|(index, done)| {
            let (code, low_watermark) = match done {
                Ok(done) => (done.error, done.low_watermark),
                Err(code) => (code, Offset::NONE),
            };
            message!(DeleteRecordsPartitionResult {
                partition_index: index,
                low_watermark: low_watermark.0,
                error_code: code.code(),
            })
        });
        message!(DeleteRecordsTopicResult { name: name, partitions: partitions.collect() })
    });
    reply(header, &message!(DeleteRecordsResponse { topics: topics.collect() }))
}
