//! DescribeQuorum: the quorum of the metadata log is this broker.

use model::ErrorCode;
use net::service::Reply;
use protocol::control::messages::describe_quorum_response::{
    Listener, Node, PartitionData, ReplicaState, TopicData,
};
use protocol::control::messages::{DescribeQuorumRequest, DescribeQuorumResponse, describe_quorum_request};
use protocol::{RequestHeader, Text, Uuid, message};

use super::reply;
use crate::service::Broker;

/// Kafka's name of the metadata log: a topic of one partition.
const METADATA: &str = "__cluster_metadata";
/// The only listener.
const LISTENER: &str = "PLAINTEXT";
/// First version that tells when replicas were seen.
const TIMES_SINCE: i16 = 1;
/// First version that tells directories and nodes.
const NODES_SINCE: i16 = 2;

/// Answers a DescribeQuorum request.
pub fn handle(broker: &Broker, header: &RequestHeader, request: DescribeQuorumRequest) -> Reply {
    if !means_metadata(&request) {
        return reply(header, &unknown(request, header.api_version));
    }
    let settings = &broker.settings;
    // Entries are numbered from 1, without gaps.
    let end = i64::try_from(broker.cluster.image().applied()).unwrap_or(i64::MAX).saturating_add(1);
    let mut this = message!(ReplicaState { replica_id: settings.node.0, log_end_offset: end });
    if header.api_version >= TIMES_SINCE {
        let now = broker.cluster.now().0;
        (this.last_fetch_timestamp, this.last_caught_up_timestamp) = (now, now);
    }
    let mut response = DescribeQuorumResponse::default();
    if header.api_version >= NODES_SINCE {
        this.replica_directory_id = Uuid::from_bytes(settings.directory);
        let listener = message!(Listener {
            name: LISTENER.into(),
            host: Text::from(settings.host.as_str()),
            port: settings.port,
        });
        response.nodes = vec![message!(Node { node_id: settings.node.0, listeners: vec![listener] })];
    }
    let partition = message!(PartitionData {
        leader_id: settings.node.0,
        leader_epoch: broker.quorum_epoch,
        high_watermark: end,
        current_voters: vec![this],
    });
    response.topics = vec![message!(TopicData { topic_name: METADATA.into(), partitions: vec![partition] })];
    reply(header, &response)
}

fn means_metadata(request: &DescribeQuorumRequest) -> bool {
    let [topic] = &request.topics[..] else { return false };
    let [partition] = &topic.partitions[..] else { return false };
    &*topic.topic_name == METADATA && partition.partition_index == 0
}

fn unknown(request: DescribeQuorumRequest, version: i16) -> DescribeQuorumResponse {
    let partition = |asked: describe_quorum_request::PartitionData| {
        let mut told = message!(PartitionData {
            partition_index: asked.partition_index,
            error_code: ErrorCode::UnknownTopicOrPartition.code(),
        });
        if version >= NODES_SINCE {
            told.error_message = Some(super::NO_SUCH_PARTITION.into());
        }
        told
    };
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.into_iter().map(partition).collect();
        message!(TopicData { topic_name: topic.topic_name, partitions: partitions })
    });
    message!(DescribeQuorumResponse { topics: topics.collect() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::harness::{Client, QUORUM_EPOCH};
    use crate::service::tests::create;

    fn request(topic: &str, partitions: &[i32]) -> DescribeQuorumRequest {
        let partition =
            |index: &i32| message!(describe_quorum_request::PartitionData { partition_index: *index });
        let partitions = partitions.iter().map(partition).collect();
        let topic =
            message!(describe_quorum_request::TopicData { topic_name: topic.into(), partitions: partitions });
        message!(DescribeQuorumRequest { topics: vec![topic] })
    }

    #[test]
    fn the_quorum_is_this_broker_in_every_version() {
        let client = Client::new();
        for version in 0..=2 {
            let ask = || -> DescribeQuorumResponse { client.ask(version, &request(METADATA, &[0])) };
            let before = ask().topics[0].partitions[0].high_watermark;
            create(&client, &format!("t{version}"), 1, &[]);
            let response = ask();
            assert_eq!((response.error_code, response.topics.len()), (0, 1));
            let told = &response.topics[0].partitions[0];
            assert_eq!((told.error_code, told.leader_id, told.leader_epoch), (0, 1, QUORUM_EPOCH));
            assert_eq!(told.high_watermark, before + 1, "a topic is one entry");
            let [voter] = &told.current_voters[..] else { panic!("{told:?}") };
            assert_eq!((voter.replica_id, voter.log_end_offset), (1, before + 1));
            assert_eq!(voter.last_caught_up_timestamp > 0, version >= 1);
            assert_eq!(voter.replica_directory_id.to_bytes() == [2; 16], version >= 2);
            assert_eq!(response.nodes.len(), usize::from(version >= 2));
            assert!(told.observers.is_empty());
        }
    }

    #[test]
    fn there_is_no_other_log() {
        let client = Client::new();
        for (topic, partitions) in [("t", &[0][..]), (METADATA, &[1]), (METADATA, &[0, 0])] {
            let response: DescribeQuorumResponse = client.ask(2, &request(topic, partitions));
            let codes: Vec<_> = response.topics[0].partitions.iter().map(|one| one.error_code).collect();
            assert_eq!(codes, vec![3; partitions.len()], "{topic}");
        }
        let response: DescribeQuorumResponse = client.ask(2, &DescribeQuorumRequest::default());
        assert!(response.topics.is_empty());
    }
}
