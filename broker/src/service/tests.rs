//! Requests as bytes through the handlers, two cores and the storage below, and back.

mod control;
pub(crate) mod data;
mod details;
mod memory;
mod recompress;
mod shares;

use bytes::{Buf, BufMut, Bytes};
use model::ErrorCode;
use net::service::Reply;
use protocol::api::APIS;
use protocol::control::messages::*;
use protocol::{ApiKey, message};

use super::harness::{Client, fetch, frame};
use data::wanted;

use create_topics_request::{CreatableTopic, CreatableTopicConfig};
use list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};

pub(crate) fn create(client: &Client, name: &str, partitions: i32, configs: &[(&str, &str)]) -> i16 {
    let configs = configs.iter().map(|(name, value)| {
        message!(CreatableTopicConfig { name: (*name).into(), value: Some((*value).into()) })
    });
    let topic = message!(CreatableTopic {
        name: name.into(),
        num_partitions: partitions,
        replication_factor: -1,
        configs: configs.collect(),
    });
    let request = message!(CreateTopicsRequest { topics: vec![topic], timeout_ms: 1000 });
    let response: CreateTopicsResponse = client.ask(7, &request);
    response.topics[0].error_code
}

fn list(client: &Client, version: i16, timestamp: i64) -> (i16, i64) {
    let partition = message!(ListOffsetsPartition { partition_index: 0, timestamp: timestamp });
    let topic = message!(ListOffsetsTopic { name: "t".into(), partitions: vec![partition] });
    let request = message!(ListOffsetsRequest { replica_id: -1, topics: vec![topic] });
    let response: ListOffsetsResponse = client.ask(version, &request);
    let found = &response.topics[0].partitions[0];
    (found.error_code, found.offset)
}

#[test]
fn every_version_of_every_api_is_answered() {
    let client = Client::new();
    create(&client, "t", 1, &[]);
    for api in APIS {
        for version in api.min..=api.max {
            macro_rules! default_of {
                ($request:ty, $response:ty) => {{
                    let _: $response = client.ask(version, &<$request>::default());
                }};
            }
            match api.key {
                // Their codecs are tested version by version in `protocol`; here, from outside, in one.
                ApiKey::Produce | ApiKey::Fetch => {}
                ApiKey::ListOffsets => {
                    assert_eq!(list(&client, version, -1), (0, 0));
                }
                ApiKey::Metadata => default_of!(MetadataRequest, MetadataResponse),
                ApiKey::GetTelemetrySubscriptions => {
                    default_of!(GetTelemetrySubscriptionsRequest, GetTelemetrySubscriptionsResponse);
                }
                ApiKey::PushTelemetry => default_of!(PushTelemetryRequest, PushTelemetryResponse),
                ApiKey::ApiVersions => {
                    let request = message!(ApiVersionsRequest {
                        client_software_name: "test".into(),
                        client_software_version: "1.0".into(),
                    });
                    let response: ApiVersionsResponse = client.ask(version, &request);
                    assert_eq!((response.error_code, response.api_keys.len()), (0, APIS.len()));
                }
                ApiKey::CreateTopics => default_of!(CreateTopicsRequest, CreateTopicsResponse),
                ApiKey::DeleteTopics => default_of!(DeleteTopicsRequest, DeleteTopicsResponse),
                ApiKey::DeleteRecords => default_of!(DeleteRecordsRequest, DeleteRecordsResponse),
                ApiKey::InitProducerId => default_of!(InitProducerIdRequest, InitProducerIdResponse),
                ApiKey::OffsetForLeaderEpoch => {
                    let partition = message!(offset_for_leader_epoch_request::OffsetForLeaderPartition {
                        leader_epoch: 1,
                    });
                    let topic = message!(offset_for_leader_epoch_request::OffsetForLeaderTopic {
                        topic: "t".into(),
                        partitions: vec![partition],
                    });
                    let request = message!(OffsetForLeaderEpochRequest { topics: vec![topic] });
                    let response: OffsetForLeaderEpochResponse = client.ask(version, &request);
                    assert_eq!(response.topics[0].partitions[0].end_offset, 0);
                }
                ApiKey::OffsetCommit => default_of!(OffsetCommitRequest, OffsetCommitResponse),
                ApiKey::OffsetFetch => default_of!(OffsetFetchRequest, OffsetFetchResponse),
                ApiKey::OffsetDelete => default_of!(OffsetDeleteRequest, OffsetDeleteResponse),
                ApiKey::FindCoordinator => default_of!(FindCoordinatorRequest, FindCoordinatorResponse),
                ApiKey::JoinGroup => default_of!(JoinGroupRequest, JoinGroupResponse),
                ApiKey::SyncGroup => default_of!(SyncGroupRequest, SyncGroupResponse),
                ApiKey::Heartbeat => default_of!(HeartbeatRequest, HeartbeatResponse),
                ApiKey::LeaveGroup => default_of!(LeaveGroupRequest, LeaveGroupResponse),
                ApiKey::ListGroups => default_of!(ListGroupsRequest, ListGroupsResponse),
                ApiKey::DescribeGroups => default_of!(DescribeGroupsRequest, DescribeGroupsResponse),
                ApiKey::ConsumerGroupHeartbeat => {
                    default_of!(ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse);
                }
                ApiKey::ConsumerGroupDescribe => {
                    default_of!(ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse);
                }
                ApiKey::ShareGroupHeartbeat => {
                    default_of!(ShareGroupHeartbeatRequest, ShareGroupHeartbeatResponse);
                }
                ApiKey::ShareGroupDescribe => {
                    default_of!(ShareGroupDescribeRequest, ShareGroupDescribeResponse);
                }
                ApiKey::ShareFetch => {
                    default_of!(ShareFetchRequest, ShareFetchResponse);
                }
                ApiKey::ShareAcknowledge => {
                    default_of!(ShareAcknowledgeRequest, ShareAcknowledgeResponse);
                }
                ApiKey::DescribeShareGroupOffsets => {
                    default_of!(DescribeShareGroupOffsetsRequest, DescribeShareGroupOffsetsResponse);
                }
                ApiKey::AlterShareGroupOffsets => {
                    default_of!(AlterShareGroupOffsetsRequest, AlterShareGroupOffsetsResponse);
                }
                ApiKey::DeleteShareGroupOffsets => {
                    default_of!(DeleteShareGroupOffsetsRequest, DeleteShareGroupOffsetsResponse);
                }
                ApiKey::DeleteGroups => default_of!(DeleteGroupsRequest, DeleteGroupsResponse),
                ApiKey::DescribeConfigs => default_of!(DescribeConfigsRequest, DescribeConfigsResponse),
                ApiKey::CreatePartitions => default_of!(CreatePartitionsRequest, CreatePartitionsResponse),
                ApiKey::AlterConfigs => default_of!(AlterConfigsRequest, AlterConfigsResponse),
                ApiKey::IncrementalAlterConfigs => {
                    default_of!(IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse);
                }
                ApiKey::ListConfigResources => {
                    default_of!(ListConfigResourcesRequest, ListConfigResourcesResponse);
                }
                ApiKey::DescribeCluster => default_of!(DescribeClusterRequest, DescribeClusterResponse),
                ApiKey::AlterClientQuotas => {
                    default_of!(AlterClientQuotasRequest, AlterClientQuotasResponse);
                }
                ApiKey::AlterPartitionReassignments => {
                    default_of!(AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse);
                }
                ApiKey::AlterReplicaLogDirs => {
                    default_of!(AlterReplicaLogDirsRequest, AlterReplicaLogDirsResponse);
                }
                ApiKey::AlterUserScramCredentials => {
                    default_of!(AlterUserScramCredentialsRequest, AlterUserScramCredentialsResponse);
                }
                ApiKey::DescribeClientQuotas => {
                    default_of!(DescribeClientQuotasRequest, DescribeClientQuotasResponse);
                }
                ApiKey::DescribeLogDirs => {
                    default_of!(DescribeLogDirsRequest, DescribeLogDirsResponse);
                }
                ApiKey::DescribeProducers => {
                    default_of!(DescribeProducersRequest, DescribeProducersResponse);
                }
                ApiKey::DescribeQuorum => {
                    default_of!(DescribeQuorumRequest, DescribeQuorumResponse);
                }
                ApiKey::DescribeUserScramCredentials => {
                    default_of!(DescribeUserScramCredentialsRequest, DescribeUserScramCredentialsResponse);
                }
                ApiKey::ElectLeaders => {
                    default_of!(ElectLeadersRequest, ElectLeadersResponse);
                }
                ApiKey::ListPartitionReassignments => {
                    default_of!(ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse);
                }
                ApiKey::UnregisterBroker => {
                    default_of!(UnregisterBrokerRequest, UnregisterBrokerResponse);
                }
                ApiKey::UpdateFeatures => {
                    default_of!(UpdateFeaturesRequest, UpdateFeaturesResponse);
                }
                ApiKey::DescribeTopicPartitions => {
                    default_of!(DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse);
                }
            }
        }
    }
}

#[test]
fn what_cannot_be_read_costs_the_connection_and_unknown_versions_of_api_versions_do_not() {
    let client = Client::new();
    let mut cut = frame(3, 8);
    cut.put_i32(1000);
    assert!(matches!(client.send(cut.freeze()), Reply::Close(_)));
    assert!(matches!(client.send(frame(1000, 0).freeze()), Reply::Close(_)));
    let mut future = client.response(frame(18, 99).freeze());
    future.advance(4);
    assert_eq!(future.get_i16(), ErrorCode::UnsupportedVersion.code());
    let mut follower = fetch("t", &wanted((0, -1), &[(0, 0)])).to_vec();
    follower[10..14].copy_from_slice(&3_i32.to_be_bytes());
    assert!(matches!(client.send(Bytes::from(follower)), Reply::Close(_)));
}
