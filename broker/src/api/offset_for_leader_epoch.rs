//! OffsetForLeaderEpoch: where an epoch ends in the log, from the owners.

use model::{LeaderEpoch, TopicPartition};
use net::service::Called;
use protocol::control::messages::OffsetForLeaderEpochRequest;
use protocol::control::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderEpochResponse, OffsetForLeaderTopicResult,
};
use protocol::{RequestHeader, message};
use shard::ops::{Answer, EpochQuery, Question};

use super::{Verdicts, join, partition_named, reply};
use crate::cluster::scatter;
use crate::service::Broker;

/// Takes an OffsetForLeaderEpoch request.
pub async fn handle(broker: &Broker, header: &RequestHeader, request: OffsetForLeaderEpochRequest) -> Called {
    let image = broker.cluster.image();
    let mut topics = Verdicts::new();
    let mut queries: Vec<(TopicPartition, EpochQuery)> = Vec::new();
    for topic in request.topics {
        let mut verdicts = Vec::with_capacity(topic.partitions.len());
        for wanted in topic.partitions {
            let found = partition_named(&image, &topic.topic, wanted.partition).map(|partition| {
                let epoch = LeaderEpoch(wanted.leader_epoch);
                let current_leader_epoch = LeaderEpoch(wanted.current_leader_epoch);
                queries.push((partition, EpochQuery { partition, epoch, current_leader_epoch }));
            });
            verdicts.push((wanted.partition, found));
        }
        topics.push((topic.topic, verdicts));
    }
    let answer = |answer| if let Answer::EpochEnds(each) = answer { Some(each) } else { None };
    let ends = scatter(&*broker.cluster, queries, Question::EpochEnds, answer).await;
    let header = header.clone();
    Called::Later(Box::pin(async move {
        let topics = join(topics, ends.await).into_iter().map(|(name, ends)| {
            let partitions = ends.into_iter().map(|(index, end)| match end {
                Err(code) => message!(EpochEndOffset { partition: index, error_code: code.code() }),
                Ok(end) => message!(EpochEndOffset {
                    partition: index,
                    error_code: end.error.code(),
                    leader_epoch: end.epoch.0,
                    end_offset: end.end.0,
                }),
            });
            message!(OffsetForLeaderTopicResult { topic: name, partitions: partitions.collect() })
        });
        reply(&header, &message!(OffsetForLeaderEpochResponse { topics: topics.collect() }))
    }))
}
