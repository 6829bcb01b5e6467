//! Produce in both directions.

use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response as oracle;
use kafka_protocol::messages::{BrokerId, ProduceRequest as OracleRequest, TopicName, TransactionalId};
use model::{ErrorCode, Offset, TimestampMs};
use protocol::produce::{
    ProducePartition, ProducePartitionResponse, ProduceRequest, ProduceResponse, ProduceTopic,
    ProduceTopicResponse,
};
use protocol::{ApiKey, NodeEndpoint, RequestHeader};
use uuid::Uuid;

use crate::random::Rng;
use crate::{ROUNDS, read_response, request_frame, some_header, str_of};

fn random_request(rng: &mut Rng, version: i16) -> ProduceRequest {
    ProduceRequest {
        transactional_id: rng.maybe(Rng::text),
        acks: rng.i16(),
        timeout_ms: rng.i32(),
        topics: rng.list(3, |rng| ProduceTopic {
            topic: rng.topic(version),
            partitions: rng.list(3, |rng| ProducePartition {
                index: rng.i32(),
                records: rng.maybe(|rng| rng.bytes(300)),
            }),
        }),
    }
}

fn to_oracle(request: &ProduceRequest, version: i16) -> OracleRequest {
    let mut unknown = OracleRequest::default();
    if version >= 9 {
        unknown = unknown.with_unknown_tagged_field(9, "what a later client adds".into());
    }
    unknown
        .with_transactional_id(request.transactional_id.as_deref().map(|id| TransactionalId(str_of(id))))
        .with_acks(request.acks)
        .with_timeout_ms(request.timeout_ms)
        .with_topic_data(
            request
                .topics
                .iter()
                .map(|topic| {
                    TopicProduceData::default()
                        .with_name(TopicName(str_of(&topic.topic.name)))
                        .with_topic_id(Uuid::from_bytes(topic.topic.id.0))
                        .with_partition_data(
                            topic
                                .partitions
                                .iter()
                                .map(|partition| {
                                    PartitionProduceData::default()
                                        .with_index(partition.index)
                                        .with_records(partition.records.clone())
                                })
                                .collect(),
                        )
                })
                .collect(),
        )
}

#[test]
fn requests_read_as_the_oracle_wrote_them() {
    let api = ApiKey::Produce.api();
    for version in api.min..=api.max {
        for seed in 0..ROUNDS {
            let request = random_request(&mut Rng::new(seed), version);
            let frame = request_frame(0, version, &to_oracle(&request, version));
            let header = RequestHeader::parse(&frame).unwrap();
            assert_eq!(ProduceRequest::decode(&header, &frame), Ok(request), "version {version} seed {seed}");
        }
    }
}

#[test]
fn records_are_slices_of_the_frame() {
    let request = ProduceRequest {
        topics: vec![ProduceTopic {
            partitions: vec![ProducePartition { index: 0, records: Some("records".into()) }],
            ..ProduceTopic::default()
        }],
        ..ProduceRequest::default()
    };
    let frame = request_frame(0, 13, &to_oracle(&request, 13));
    let decoded = ProduceRequest::decode(&RequestHeader::parse(&frame).unwrap(), &frame).unwrap();
    let records = decoded.topics[0].partitions[0].records.as_ref().unwrap();
    assert!(frame.as_ptr_range().contains(&records.as_ptr()));
}

fn random_response(rng: &mut Rng, version: i16) -> ProduceResponse {
    ProduceResponse {
        topics: rng.list(3, |rng| ProduceTopicResponse {
            topic: rng.topic(version),
            partitions: rng.list(3, |rng| ProducePartitionResponse {
                index: rng.i32(),
                error: ErrorCode::ALL[rng.index(ErrorCode::ALL.len())],
                base_offset: Offset(rng.i64()),
                log_append_time: TimestampMs(rng.i64()),
                log_start_offset: Offset(rng.i64()),
                record_errors: rng.list(2, |rng| (rng.i32(), rng.maybe(Rng::text))),
                error_message: rng.maybe(Rng::text),
                current_leader: rng.maybe(Rng::leader),
            }),
        }),
        throttle_time_ms: rng.i32(),
        node_endpoints: rng.list(2, Rng::endpoint),
    }
}

fn expected_partition(
    partition: &ProducePartitionResponse,
    version: i16,
) -> oracle::PartitionProduceResponse {
    let mut expected = oracle::PartitionProduceResponse::default()
        .with_index(partition.index)
        .with_error_code(partition.error.code())
        .with_base_offset(partition.base_offset.0)
        .with_log_append_time_ms(partition.log_append_time.0);
    if version >= 5 {
        expected.log_start_offset = partition.log_start_offset.0;
    }
    if version >= 8 {
        expected.record_errors = partition
            .record_errors
            .iter()
            .map(|(index, message)| {
                oracle::BatchIndexAndErrorMessage::default()
                    .with_batch_index(*index)
                    .with_batch_index_error_message(message.as_deref().map(str_of))
            })
            .collect();
        expected.error_message = partition.error_message.as_deref().map(str_of);
    }
    if let (true, Some(leader)) = (version >= 10, partition.current_leader) {
        expected.current_leader = oracle::LeaderIdAndEpoch::default()
            .with_leader_id(BrokerId(leader.leader_id))
            .with_leader_epoch(leader.leader_epoch.0);
    }
    expected
}

fn expected_endpoint(endpoint: &NodeEndpoint) -> oracle::NodeEndpoint {
    oracle::NodeEndpoint::default()
        .with_node_id(BrokerId(endpoint.node_id))
        .with_host(str_of(&endpoint.host))
        .with_port(i32::from(endpoint.port))
        .with_rack(endpoint.rack.as_deref().map(str_of))
}

#[test]
fn responses_are_read_by_the_oracle_as_meant() {
    let api = ApiKey::Produce.api();
    for version in api.min..=api.max {
        for seed in 0..ROUNDS {
            let response = random_response(&mut Rng::new(seed), version);
            let mut expected = kafka_protocol::messages::ProduceResponse::default()
                .with_throttle_time_ms(response.throttle_time_ms);
            for topic in &response.topics {
                expected.responses.push(
                    oracle::TopicProduceResponse::default()
                        .with_name(TopicName(str_of(&topic.topic.name)))
                        .with_topic_id(Uuid::from_bytes(topic.topic.id.0))
                        .with_partition_responses(
                            topic.partitions.iter().map(|p| expected_partition(p, version)).collect(),
                        ),
                );
            }
            if version >= 10 {
                expected.node_endpoints = response.node_endpoints.iter().map(expected_endpoint).collect();
            }
            let header = some_header(0, version);
            let read: kafka_protocol::messages::ProduceResponse =
                read_response(&header, response.encode(&header));
            assert_eq!(read, expected, "version {version} seed {seed}");
        }
    }
}
