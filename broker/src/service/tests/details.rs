//! Details of answers in which the differential runner (conformance/differential) told us from Apache Kafka.

use bytes::Buf;
use model::batch::BatchBuilder;
use model::{ErrorCode, ProducerEpoch, ProducerId, TimestampMs};
use protocol::control::messages::*;
use protocol::message;

use super::super::harness::{Client, fetch, produce};
use super::data::{batch, produced, wanted};
use super::{CreatableTopic, ListOffsetsPartition, ListOffsetsTopic, create};

const NOT_ASKED: i32 = i32::MIN;

#[test]
fn an_epoch_is_told_before_its_first_record_and_what_is_no_epoch_costs_nothing() {
    let client = Client::new();
    create(&client, "t", 1, &[]);
    let ask = |timestamp| {
        let partition = message!(ListOffsetsPartition { partition_index: 0, timestamp: timestamp });
        let topic = message!(ListOffsetsTopic { name: "t".into(), partitions: vec![partition] });
        let request = message!(ListOffsetsRequest { replica_id: -1, topics: vec![topic] });
        let response: ListOffsetsResponse = client.ask(6, &request);
        response.topics[0].partitions[0].leader_epoch
    };
    assert_eq!([ask(-1), ask(-2)], [1, 1]);
    let end = |leader_epoch| {
        let partition = message!(offset_for_leader_epoch_request::OffsetForLeaderPartition {
            leader_epoch: leader_epoch
        });
        let topic = message!(offset_for_leader_epoch_request::OffsetForLeaderTopic {
            topic: "t".into(),
            partitions: vec![partition]
        });
        let request = message!(OffsetForLeaderEpochRequest { topics: vec![topic] });
        let response: OffsetForLeaderEpochResponse = client.ask(4, &request);
        let told = &response.topics[0].partitions[0];
        (told.error_code, told.leader_epoch, told.end_offset)
    };
    assert_eq!(end(1), (0, 1, 0));
    for nonsense in [-1, -2, i32::MIN, 2, i32::MAX] {
        assert_eq!(end(nonsense), (0, -1, -1), "{nonsense}");
    }
}

#[test]
fn a_partition_asked_for_twice_is_refused_once() {
    let client = Client::new();
    create(&client, "t", 2, &[]);
    let topic = |indexes: &[i32]| {
        let partition =
            |index: &i32| message!(ListOffsetsPartition { partition_index: *index, timestamp: -1 });
        message!(ListOffsetsTopic { name: "t".into(), partitions: indexes.iter().map(partition).collect() })
    };
    let request = message!(ListOffsetsRequest { replica_id: -1, topics: vec![topic(&[0, 1]), topic(&[0])] });
    let response: ListOffsetsResponse = client.ask(5, &request);
    let told: Vec<_> = response.topics.iter().flat_map(|topic| &topic.partitions).collect();
    let told: Vec<_> = told.iter().map(|one| (one.partition_index, one.error_code)).collect();
    assert_eq!(told, [(0, ErrorCode::InvalidRequest.code()), (1, 0)]);
    assert_eq!(response.topics.len(), 1);
}

#[test]
fn a_duplicate_tells_when_its_original_was_stamped_and_a_lost_producer_where_the_log_begins() {
    let client = Client::new();
    create(&client, "t", 1, &[]);
    let now = client.simulation.now_ms();
    let batch = |sequence| {
        let batch = BatchBuilder::new().producer(ProducerId(5), ProducerEpoch(0), sequence);
        batch.value(TimestampMs(now), b"v").build()
    };
    let send = |sequence| client.response(produce("t", -1, &[(0, batch(sequence))]));
    assert_eq!(produced(send(0)), [(0, 0, 0, -1)]);
    assert_eq!(produced(send(0)), [(0, 0, 0, now)]);
    // Behind index, error, base offset and append time of the one partition: its log start.
    let log_start = |sequence| {
        let mut response = send(sequence);
        response.advance(4 + 4 + 2 + 1 + 4 + 4);
        let error = response.get_i16();
        response.advance(8 + 8);
        (error, response.get_i64())
    };
    assert_eq!(log_start(1), (0, 0));
    assert_eq!(log_start(9), (ErrorCode::OutOfOrderSequenceNumber.code(), 0));
}

#[test]
fn what_is_not_there_is_told_before_what_is_wrong() {
    let client = Client::new();
    create(&client, "t", 1, &[]);
    let codes =
        |topic: &str, acks, batch| produced(client.response(produce(topic, acks, &[(0, batch)])))[0].1;
    let good = batch(&client, &["a"]);
    assert_eq!(codes("nowhere", 2, good.clone()), ErrorCode::UnknownTopicOrPartition.code());
    assert_eq!(codes("t", 2, good), ErrorCode::InvalidRequiredAcks.code());
    let now = TimestampMs(client.simulation.now_ms());
    let transactional =
        BatchBuilder::new().producer(ProducerId(1), ProducerEpoch(0), 0).transactional().value(now, b"v");
    let refused = ErrorCode::TransactionalIdAuthorizationFailed.code();
    assert_eq!(codes("t", -1, transactional.build()), refused);
}

#[test]
fn a_fetch_of_nothing_known_lists_no_aborted_transactions() {
    let client = Client::new();
    create(&client, "t", 1, &[]);
    // Of an unknown partition an empty list; of one that was looked at and has no such offset, null.
    for (index, offset, error, aborted) in
        [(7, 0, ErrorCode::UnknownTopicOrPartition, 0), (0, 9, ErrorCode::OffsetOutOfRange, -1)]
    {
        let mut response = client.response(fetch("t", &wanted((0, -1), &[(index, offset)])));
        response.advance(4 + 4 + 2 + 4 + 4 + 2 + 1 + 4 + 4);
        assert_eq!(response.get_i16(), error.code());
        response.advance(8 + 8 + 8);
        assert_eq!(response.get_i32(), aborted, "{error:?}");
    }
}

#[test]
fn success_has_kafkas_words_and_what_is_missing_its_operations() {
    let client = Client::new();
    let topic = message!(CreatableTopic { name: "t".into(), num_partitions: 1, replication_factor: 1 });
    let request = message!(CreateTopicsRequest { topics: vec![topic], timeout_ms: 1000 });
    let created: CreateTopicsResponse = client.ask(7, &request);
    assert_eq!(created.topics[0].error_message, None);
    let found: FindCoordinatorResponse = client.ask(2, &message!(FindCoordinatorRequest { key: "g".into() }));
    assert_eq!(found.error_message.as_deref(), Some("NONE"));
    let keys = vec!["g".into()];
    let found: FindCoordinatorResponse =
        client.ask(4, &message!(FindCoordinatorRequest { coordinator_keys: keys }));
    assert_eq!(found.coordinators[0].error_message.as_deref(), Some(""));
    let missing = message!(metadata_request::MetadataRequestTopic { name: Some("nowhere".into()) });
    let request = message!(MetadataRequest {
        topics: Some(vec![missing]),
        allow_auto_topic_creation: false,
        include_topic_authorized_operations: true,
    });
    let told: MetadataResponse = client.ask(9, &request);
    assert_ne!(told.topics[0].topic_authorized_operations, NOT_ASKED);
    let told: DescribeClusterResponse = client.ask(1, &message!(DescribeClusterRequest { endpoint_type: 3 }));
    assert_eq!(&*told.cluster_id, "");
}

#[test]
fn a_topic_that_is_only_tried_has_an_id_and_counts_beside_an_assignment_are_the_first_fault() {
    let client = Client::new();
    let topic = message!(CreatableTopic { name: "t".into(), num_partitions: 1, replication_factor: 1 });
    let request = message!(CreateTopicsRequest { topics: vec![topic], validate_only: true });
    let tried: CreateTopicsResponse = client.ask(7, &request);
    assert_ne!(tried.topics[0].topic_id, protocol::Uuid::ZERO);
    let gap = message!(create_topics_request::CreatableReplicaAssignment {
        partition_index: 3,
        broker_ids: vec![1]
    });
    for (count, error) in [(1, ErrorCode::InvalidRequest), (-1, ErrorCode::InvalidReplicaAssignment)] {
        let topic = message!(CreatableTopic {
            name: "t".into(),
            num_partitions: count,
            replication_factor: -1,
            assignments: vec![gap.clone()],
        });
        let request = message!(CreateTopicsRequest { topics: vec![topic] });
        let refused: CreateTopicsResponse = client.ask(7, &request);
        assert_eq!(refused.topics[0].error_code, error.code());
    }
}
