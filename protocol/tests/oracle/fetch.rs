//! Fetch in both directions.

use bytes::Bytes;
use kafka_protocol::messages::fetch_request as oracle_request;
use kafka_protocol::messages::fetch_response as oracle;
use kafka_protocol::messages::{
    BrokerId, FetchRequest as OracleRequest, FetchResponse as OracleResponse, ProducerId as OracleProducerId,
    TopicName,
};
use model::{ErrorCode, LeaderEpoch, Offset, ProducerId};
use protocol::fetch::{
    AbortedTransaction, EpochEnd, FetchPartition, FetchPartitionResponse, FetchRequest, FetchResponse,
    FetchTopic, FetchTopicResponse, ForgottenTopic,
};
use protocol::{ApiKey, RequestHeader, Text};
use uuid::Uuid;

use crate::random::Rng;
use crate::{ROUNDS, read_response, request_frame, some_header, str_of};

/// What does not exist in `version` has the value that says so.
fn random_request(rng: &mut Rng, version: i16) -> FetchRequest {
    let sessions = version >= 7;
    FetchRequest {
        cluster_id: if version >= 12 { rng.maybe(Rng::text) } else { None },
        replica_id: rng.i32(),
        replica_epoch: if version >= 15 { rng.i64() } else { -1 },
        max_wait_ms: rng.i32(),
        min_bytes: rng.i32(),
        max_bytes: rng.i32(),
        isolation_level: i8::try_from(rng.below(4)).unwrap() - 1,
        session_id: if sessions { rng.i32() } else { 0 },
        session_epoch: if sessions { rng.i32() } else { -1 },
        topics: rng.list(3, |rng| FetchTopic {
            topic: rng.topic(version),
            partitions: rng.list(3, |rng| random_partition(rng, version)),
        }),
        forgotten: if sessions {
            rng.list(3, |rng| ForgottenTopic { topic: rng.topic(version), partitions: rng.list(3, Rng::i32) })
        } else {
            Vec::new()
        },
        rack_id: if version >= 11 { rng.text() } else { Text::default() },
    }
}

fn random_partition(rng: &mut Rng, version: i16) -> FetchPartition {
    FetchPartition {
        index: rng.i32(),
        current_leader_epoch: LeaderEpoch(if version >= 9 { rng.i32() } else { -1 }),
        fetch_offset: Offset(rng.i64()),
        last_fetched_epoch: LeaderEpoch(if version >= 12 { rng.i32() } else { -1 }),
        log_start_offset: Offset(if version >= 5 { rng.i64() } else { -1 }),
        max_bytes: rng.i32(),
        replica_directory_id: if version >= 17 && rng.chance() { rng.uuid() } else { [0; 16] },
        high_watermark: Offset(if version >= 18 { rng.i64() } else { i64::MAX }),
    }
}

fn to_oracle(request: &FetchRequest, version: i16) -> OracleRequest {
    let mut sent = OracleRequest::default()
        .with_cluster_id(request.cluster_id.as_deref().map(str_of))
        .with_max_wait_ms(request.max_wait_ms)
        .with_min_bytes(request.min_bytes)
        .with_max_bytes(request.max_bytes)
        .with_isolation_level(request.isolation_level)
        .with_session_id(request.session_id)
        .with_session_epoch(request.session_epoch)
        .with_rack_id(str_of(&request.rack_id));
    if version >= 15 {
        sent.replica_state = oracle_request::ReplicaState::default()
            .with_replica_id(BrokerId(request.replica_id))
            .with_replica_epoch(request.replica_epoch);
    } else {
        sent.replica_id = BrokerId(request.replica_id);
    }
    if version >= 12 {
        sent = sent.with_unknown_tagged_field(9, "what a later client adds".into());
    }
    for topic in &request.topics {
        sent.topics.push(
            oracle_request::FetchTopic::default()
                .with_topic(TopicName(str_of(&topic.topic.name)))
                .with_topic_id(Uuid::from_bytes(topic.topic.id.0))
                .with_partitions(topic.partitions.iter().map(to_oracle_partition).collect()),
        );
    }
    for topic in &request.forgotten {
        sent.forgotten_topics_data.push(
            oracle_request::ForgottenTopic::default()
                .with_topic(TopicName(str_of(&topic.topic.name)))
                .with_topic_id(Uuid::from_bytes(topic.topic.id.0))
                .with_partitions(topic.partitions.clone()),
        );
    }
    sent
}

fn to_oracle_partition(partition: &FetchPartition) -> oracle_request::FetchPartition {
    oracle_request::FetchPartition::default()
        .with_partition(partition.index)
        .with_current_leader_epoch(partition.current_leader_epoch.0)
        .with_fetch_offset(partition.fetch_offset.0)
        .with_last_fetched_epoch(partition.last_fetched_epoch.0)
        .with_log_start_offset(partition.log_start_offset.0)
        .with_partition_max_bytes(partition.max_bytes)
        .with_replica_directory_id(Uuid::from_bytes(partition.replica_directory_id))
        .with_high_watermark(partition.high_watermark.0)
}

#[test]
fn requests_read_as_the_oracle_wrote_them() {
    let api = ApiKey::Fetch.api();
    for version in api.min..=api.max {
        for seed in 0..ROUNDS {
            let request = random_request(&mut Rng::new(seed), version);
            let frame = request_frame(1, version, &to_oracle(&request, version));
            let header = RequestHeader::parse(&frame).unwrap();
            assert_eq!(FetchRequest::decode(&header, &frame), Ok(request), "version {version} seed {seed}");
        }
    }
}

fn random_response(rng: &mut Rng, version: i16) -> FetchResponse<Bytes> {
    FetchResponse {
        throttle_time_ms: rng.i32(),
        error: ErrorCode::ALL[rng.index(ErrorCode::ALL.len())],
        session_id: rng.i32(),
        topics: rng.list(3, |rng| FetchTopicResponse {
            topic: rng.topic(version),
            partitions: rng.list(3, |rng| FetchPartitionResponse {
                index: rng.i32(),
                error: ErrorCode::ALL[rng.index(ErrorCode::ALL.len())],
                high_watermark: Offset(rng.i64()),
                last_stable_offset: Offset(rng.i64()),
                log_start_offset: Offset(rng.i64()),
                diverging_epoch: rng
                    .maybe(|rng| EpochEnd { epoch: LeaderEpoch(rng.i32()), end_offset: Offset(rng.i64()) }),
                current_leader: rng.maybe(Rng::leader),
                aborted_transactions: rng.maybe(|rng| {
                    rng.list(2, |rng| AbortedTransaction {
                        producer_id: ProducerId(rng.i64()),
                        first_offset: Offset(rng.i64()),
                    })
                }),
                preferred_read_replica: rng.i32(),
                records: rng.list(3, |rng| rng.bytes(200)),
            }),
        }),
        node_endpoints: rng.list(2, Rng::endpoint),
    }
}

fn expected_partition(partition: &FetchPartitionResponse<Bytes>, version: i16) -> oracle::PartitionData {
    let mut expected = oracle::PartitionData::default()
        .with_partition_index(partition.index)
        .with_error_code(partition.error.code())
        .with_high_watermark(partition.high_watermark.0)
        .with_last_stable_offset(partition.last_stable_offset.0)
        .with_records(Some(Bytes::from(partition.records.concat())))
        .with_aborted_transactions(partition.aborted_transactions.as_ref().map(|aborted| {
            aborted
                .iter()
                .map(|aborted| {
                    oracle::AbortedTransaction::default()
                        .with_producer_id(OracleProducerId(aborted.producer_id.0))
                        .with_first_offset(aborted.first_offset.0)
                })
                .collect()
        }));
    if version >= 5 {
        expected.log_start_offset = partition.log_start_offset.0;
    }
    if version >= 11 {
        expected.preferred_read_replica = BrokerId(partition.preferred_read_replica);
    }
    if version >= 12 {
        if let Some(diverging) = partition.diverging_epoch {
            expected.diverging_epoch = oracle::EpochEndOffset::default()
                .with_epoch(diverging.epoch.0)
                .with_end_offset(diverging.end_offset.0);
        }
        if let Some(leader) = partition.current_leader {
            expected.current_leader = oracle::LeaderIdAndEpoch::default()
                .with_leader_id(BrokerId(leader.leader_id))
                .with_leader_epoch(leader.leader_epoch.0);
        }
    }
    expected
}

fn expected_response(response: &FetchResponse<Bytes>, version: i16) -> OracleResponse {
    let mut expected = OracleResponse::default().with_throttle_time_ms(response.throttle_time_ms);
    if version >= 7 {
        expected = expected.with_error_code(response.error.code()).with_session_id(response.session_id);
    }
    for topic in &response.topics {
        expected.responses.push(
            oracle::FetchableTopicResponse::default()
                .with_topic(TopicName(str_of(&topic.topic.name)))
                .with_topic_id(Uuid::from_bytes(topic.topic.id.0))
                .with_partitions(topic.partitions.iter().map(|p| expected_partition(p, version)).collect()),
        );
    }
    if version >= 16 {
        for endpoint in &response.node_endpoints {
            expected.node_endpoints.push(
                oracle::NodeEndpoint::default()
                    .with_node_id(BrokerId(endpoint.node_id))
                    .with_host(str_of(&endpoint.host))
                    .with_port(i32::from(endpoint.port))
                    .with_rack(endpoint.rack.as_deref().map(str_of)),
            );
        }
    }
    expected
}

#[test]
fn responses_are_read_by_the_oracle_as_meant() {
    let api = ApiKey::Fetch.api();
    for version in api.min..=api.max {
        for seed in 0..ROUNDS {
            let response = random_response(&mut Rng::new(seed), version);
            let expected = expected_response(&response, version);
            let records: Vec<_> = response
                .topics
                .iter()
                .flat_map(|topic| &topic.partitions)
                .flat_map(|partition| &partition.records)
                .map(|piece| (piece.as_ptr(), piece.len()))
                .collect();
            let header = some_header(1, version);
            let pieces = response.encode(&header);
            // The records themselves came through, not copies of them.
            let mut sent = pieces.iter().map(|piece| (piece.as_ptr(), piece.len()));
            assert!(records.iter().all(|piece| sent.any(|sent| sent == *piece)), "records were copied");
            let read: OracleResponse = read_response(&header, Bytes::from(pieces.concat()));
            assert_eq!(read, expected, "version {version} seed {seed}");
        }
    }
}
