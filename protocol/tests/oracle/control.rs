//! Every advertised version of every API: what a client of it sends decodes, and what we answer it can read.

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages as oracle;
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Message};
use model::ErrorCode;
use protocol::api::APIS;
use protocol::control::{self, KafkaRequest, KafkaResponse, messages as ours};
use protocol::fetch::{FetchRequest, FetchResponse};
use protocol::produce::{ProduceRequest, ProduceResponse};
use protocol::{ApiKey, RequestHeader, Uuid, message};

use crate::{read_response, request_frame, some_header};

/// Reads a response as the oracle and writes it again: the same bytes, or one side is wrong.
fn same_to_oracle<M: Decodable + Encodable + HeaderVersion>(header: &RequestHeader, frame: Bytes) {
    let message: M = read_response(header, frame.clone());
    let mut again = BytesMut::new();
    oracle::ResponseHeader::default()
        .with_correlation_id(header.correlation_id)
        .encode(&mut again, M::header_version(header.api_version))
        .unwrap();
    message.encode(&mut again, header.api_version).unwrap();
    assert_eq!(again, frame);
}

/// A request with default fields, as the oracle writes it.
fn default_request<M: Default + Encodable + HeaderVersion>(
    key: ApiKey,
    version: i16,
) -> (RequestHeader, Bytes) {
    let frame = request_frame(key.number(), version, &M::default());
    let header = RequestHeader::parse(&frame).unwrap();
    assert_eq!(header.api(), Some(key));
    (header, frame)
}

/// What the oracle does not know yet.
const YOUNGER: &[(ApiKey, i16)] = &[
    (ApiKey::ListOffsets, 11),
    (ApiKey::OffsetCommit, 10),
    (ApiKey::OffsetFetch, 10),
    (ApiKey::DescribeLogDirs, 5),
    (ApiKey::ShareFetch, 2),
    (ApiKey::ShareAcknowledge, 2),
    (ApiKey::DescribeShareGroupOffsets, 1),
];

/// One API of the control plane in one version: our types, then the oracle's.
fn control_case<Q, S, OQ, OS>(key: ApiKey, version: i16)
where
    Q: KafkaRequest + Default + PartialEq + std::fmt::Debug,
    S: KafkaResponse + Default,
    OQ: Message + Default + Encodable + HeaderVersion,
    OS: Message + Decodable + Encodable + HeaderVersion,
{
    let response = S::default();
    // Some versions are younger than the oracle: there our own encoder has to do.
    if version > OQ::VERSIONS.max {
        assert!(YOUNGER.contains(&(key, version)), "{key:?} {version}");
        let frame = control::encode_request(version, 1, None, &Q::default()).unwrap();
        let header = RequestHeader::parse(&frame).unwrap();
        assert_eq!(control::decode::<Q>(version, header.body(&frame)), Ok(Q::default()));
        let encoded = control::encode_response(&header, &response).unwrap();
        assert!(control::decode_response::<S>(version, &encoded).is_ok());
        return;
    }
    let (header, frame) = default_request::<OQ>(key, version);
    assert_eq!(control::decode::<Q>(version, header.body(&frame)), Ok(Q::default()), "{key:?} {version}");
    same_to_oracle::<OS>(&header, control::encode_response(&header, &response).unwrap());
}

fn case(key: ApiKey, version: i16) {
    use oracle as o;
    macro_rules! control {
        ($request:ident, $response:ident) => {
            control_case::<ours::$request, ours::$response, o::$request, o::$response>(key, version)
        };
    }
    match key {
        ApiKey::Produce => {
            let (header, frame) = default_request::<o::ProduceRequest>(key, version);
            assert_eq!(ProduceRequest::decode(&header, &frame), Ok(ProduceRequest::default()));
            same_to_oracle::<o::ProduceResponse>(&header, ProduceResponse::default().encode(&header));
        }
        ApiKey::Fetch => {
            let (header, frame) = default_request::<o::FetchRequest>(key, version);
            let request = FetchRequest::decode(&header, &frame).unwrap();
            assert_eq!((request.replica_id, request.topics.len()), (-1, 0));
            let response = FetchResponse::<Bytes>::empty(ErrorCode::None, 0).encode(&header);
            same_to_oracle::<o::FetchResponse>(&header, response.concat().into());
        }
        ApiKey::ListOffsets => control!(ListOffsetsRequest, ListOffsetsResponse),
        ApiKey::Metadata => control!(MetadataRequest, MetadataResponse),
        ApiKey::OffsetCommit => control!(OffsetCommitRequest, OffsetCommitResponse),
        ApiKey::OffsetFetch => control!(OffsetFetchRequest, OffsetFetchResponse),
        ApiKey::FindCoordinator => control!(FindCoordinatorRequest, FindCoordinatorResponse),
        ApiKey::JoinGroup => control!(JoinGroupRequest, JoinGroupResponse),
        ApiKey::Heartbeat => control!(HeartbeatRequest, HeartbeatResponse),
        ApiKey::LeaveGroup => control!(LeaveGroupRequest, LeaveGroupResponse),
        ApiKey::SyncGroup => control!(SyncGroupRequest, SyncGroupResponse),
        ApiKey::DescribeGroups => control!(DescribeGroupsRequest, DescribeGroupsResponse),
        ApiKey::ListGroups => control!(ListGroupsRequest, ListGroupsResponse),
        ApiKey::ConsumerGroupHeartbeat => {
            control!(ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse)
        }
        ApiKey::ConsumerGroupDescribe => {
            control!(ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse)
        }
        ApiKey::ShareGroupHeartbeat => control!(ShareGroupHeartbeatRequest, ShareGroupHeartbeatResponse),
        ApiKey::ShareGroupDescribe => control!(ShareGroupDescribeRequest, ShareGroupDescribeResponse),
        ApiKey::ShareFetch => control!(ShareFetchRequest, ShareFetchResponse),
        ApiKey::ShareAcknowledge => control!(ShareAcknowledgeRequest, ShareAcknowledgeResponse),
        ApiKey::DescribeShareGroupOffsets => {
            control!(DescribeShareGroupOffsetsRequest, DescribeShareGroupOffsetsResponse)
        }
        ApiKey::AlterShareGroupOffsets => {
            control!(AlterShareGroupOffsetsRequest, AlterShareGroupOffsetsResponse)
        }
        ApiKey::DeleteShareGroupOffsets => {
            control!(DeleteShareGroupOffsetsRequest, DeleteShareGroupOffsetsResponse)
        }
        ApiKey::DeleteGroups => control!(DeleteGroupsRequest, DeleteGroupsResponse),
        ApiKey::OffsetDelete => control!(OffsetDeleteRequest, OffsetDeleteResponse),
        ApiKey::ApiVersions => control!(ApiVersionsRequest, ApiVersionsResponse),
        ApiKey::CreateTopics => control!(CreateTopicsRequest, CreateTopicsResponse),
        ApiKey::DeleteTopics => control!(DeleteTopicsRequest, DeleteTopicsResponse),
        ApiKey::DeleteRecords => control!(DeleteRecordsRequest, DeleteRecordsResponse),
        ApiKey::InitProducerId => control!(InitProducerIdRequest, InitProducerIdResponse),
        ApiKey::OffsetForLeaderEpoch => control!(OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse),
        ApiKey::DescribeConfigs => control!(DescribeConfigsRequest, DescribeConfigsResponse),
        ApiKey::CreatePartitions => control!(CreatePartitionsRequest, CreatePartitionsResponse),
        ApiKey::AlterConfigs => control!(AlterConfigsRequest, AlterConfigsResponse),
        ApiKey::IncrementalAlterConfigs => {
            control!(IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse)
        }
        ApiKey::ListConfigResources => control!(ListConfigResourcesRequest, ListConfigResourcesResponse),
        ApiKey::DescribeCluster => control!(DescribeClusterRequest, DescribeClusterResponse),
        ApiKey::AlterClientQuotas => control!(AlterClientQuotasRequest, AlterClientQuotasResponse),
        ApiKey::AlterPartitionReassignments => {
            control!(AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse)
        }
        ApiKey::AlterReplicaLogDirs => control!(AlterReplicaLogDirsRequest, AlterReplicaLogDirsResponse),
        ApiKey::AlterUserScramCredentials => {
            control!(AlterUserScramCredentialsRequest, AlterUserScramCredentialsResponse)
        }
        ApiKey::DescribeClientQuotas => control!(DescribeClientQuotasRequest, DescribeClientQuotasResponse),
        ApiKey::DescribeLogDirs => control!(DescribeLogDirsRequest, DescribeLogDirsResponse),
        ApiKey::DescribeProducers => control!(DescribeProducersRequest, DescribeProducersResponse),
        ApiKey::DescribeQuorum => control!(DescribeQuorumRequest, DescribeQuorumResponse),
        ApiKey::DescribeUserScramCredentials => {
            control!(DescribeUserScramCredentialsRequest, DescribeUserScramCredentialsResponse)
        }
        ApiKey::ElectLeaders => control!(ElectLeadersRequest, ElectLeadersResponse),
        ApiKey::ListPartitionReassignments => {
            control!(ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse)
        }
        ApiKey::GetTelemetrySubscriptions => {
            control!(GetTelemetrySubscriptionsRequest, GetTelemetrySubscriptionsResponse)
        }
        ApiKey::PushTelemetry => control!(PushTelemetryRequest, PushTelemetryResponse),
        ApiKey::UnregisterBroker => control!(UnregisterBrokerRequest, UnregisterBrokerResponse),
        ApiKey::UpdateFeatures => control!(UpdateFeaturesRequest, UpdateFeaturesResponse),
        ApiKey::DescribeTopicPartitions => {
            control!(DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse)
        }
    }
}

#[test]
fn every_advertised_version_decodes_and_answers() {
    for api in APIS {
        for version in api.min..=api.max {
            case(api.key, version);
        }
    }
}

#[test]
fn versions_beyond_the_table_are_not_dispatched() {
    for api in APIS {
        for version in [api.min - 1, api.max + 1, i16::MIN, i16::MAX] {
            let header = some_header(api.key.number(), version);
            assert_eq!(header.api(), None, "{} {version}", api.name);
        }
    }
}

#[test]
fn api_versions_states_the_table() {
    for version in 0..=4 {
        let header = some_header(18, version);
        let frame = control::encode_api_versions(&header, ErrorCode::None, &control::Features::default());
        let read: oracle::ApiVersionsResponse = read_response(&header, frame);
        assert_eq!((read.error_code, read.api_keys.len()), (0, APIS.len()));
        for (row, api) in read.api_keys.iter().zip(APIS) {
            let produce = api.key == ApiKey::Produce;
            assert_eq!(row.api_key, api.key.number());
            assert_eq!(row.min_version, if produce { 0 } else { api.min });
            assert_eq!(row.max_version, api.max);
        }
    }
}

#[test]
fn api_versions_of_the_future_gets_version_0_and_the_range() {
    for version in [5, 6, i16::MAX, -1] {
        let frame = control::encode_api_versions(
            &some_header(18, version),
            ErrorCode::None,
            &control::Features::default(),
        );
        let read: oracle::ApiVersionsResponse = read_response(&some_header(18, 0), frame);
        assert_eq!(read.error_code, ErrorCode::UnsupportedVersion.code());
        let row = &read.api_keys[0];
        assert_eq!((read.api_keys.len(), row.api_key, row.min_version, row.max_version), (1, 18, 0, 4));
    }
}

#[test]
fn an_invalid_api_versions_request_gets_its_error_and_no_rows() {
    let header = some_header(18, 4);
    let frame =
        control::encode_api_versions(&header, ErrorCode::InvalidRequest, &control::Features::default());
    let read: oracle::ApiVersionsResponse = read_response(&header, frame);
    assert_eq!((read.error_code, read.api_keys.len()), (ErrorCode::InvalidRequest.code(), 0));
}

#[test]
fn a_metadata_answer_is_read_as_meant_in_every_version() {
    use ours::metadata_response::{MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic};
    for version in 0..=13 {
        let partition = message!(MetadataResponsePartition {
            partition_index: 3,
            leader_id: 1,
            replica_nodes: vec![1],
            isr_nodes: vec![1],
            leader_epoch: if version >= 7 { 4 } else { -1 },
        });
        let topic = message!(MetadataResponseTopic {
            name: Some("topic".into()),
            topic_id: if version >= 10 { Uuid::from_bytes([7; 16]) } else { Uuid::ZERO },
            partitions: vec![partition],
        });
        let response = message!(ours::MetadataResponse {
            brokers: vec![message!(MetadataResponseBroker { node_id: 1, host: "host".into(), port: 9092 })],
            topics: vec![topic],
            cluster_id: Some("cluster".into()),
            controller_id: if version >= 1 { 1 } else { -1 },
        });
        let header = some_header(3, version);
        let frame = control::encode_response(&header, &response).unwrap();
        let read: oracle::MetadataResponse = read_response(&header, frame.clone());
        assert_eq!((read.brokers[0].node_id.0, read.brokers[0].port), (1, 9092));
        assert_eq!(read.brokers[0].host.as_str(), "host");
        let topic = &read.topics[0];
        assert_eq!(topic.name.as_ref().map(|name| name.0.as_str()), Some("topic"));
        assert_eq!(topic.topic_id.into_bytes(), if version >= 10 { [7; 16] } else { [0; 16] });
        assert_eq!((topic.partitions[0].partition_index, topic.partitions[0].leader_id.0), (3, 1));
        let (correlation_id, own): (i32, ours::MetadataResponse) =
            control::decode_response(version, &frame).unwrap();
        assert_eq!((correlation_id, own.topics.len()), (77, 1));
    }
}

#[test]
fn oversized_bodies_are_refused_before_decoding() {
    let body = Bytes::from(vec![0; control::body_bytes_max(3) + 1]);
    assert!(control::decode::<ours::MetadataRequest>(0, body).is_err());
}
