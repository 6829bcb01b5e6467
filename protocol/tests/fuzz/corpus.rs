//! Well-formed requests to start from: one file each, beside the tests.

use std::path::PathBuf;

use bytes::Bytes;
use kafka_protocol::messages as oracle;
use kafka_protocol::protocol::{Encodable, StrBytes};
use model::TimestampMs;
use model::batch::BatchBuilder;
use protocol::api::APIS;
use protocol::control::{encode_request, messages as m};
use protocol::{ApiKey, Uuid, message};

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/__fuzz__/request_frame/corpus")
}

/// All of it, in the order of names.
pub fn read() -> Vec<Vec<u8>> {
    let mut files: Vec<_> =
        std::fs::read_dir(directory()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() > 30, "the corpus is gone");
    files.iter().map(|file| std::fs::read(file).unwrap()).collect()
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn produce(version: i16) -> Bytes {
    let batch = BatchBuilder::new()
        .record_with_headers(TimestampMs(1), Some(b"k"), Some(b"v"), &[(b"h", Some(b"1"))])
        .value(TimestampMs(2), b"w");
    let partition = oracle::produce_request::PartitionProduceData::default()
        .with_index(1)
        .with_records(Some(batch.build().into()));
    let topic = oracle::produce_request::TopicProduceData::default()
        .with_name(oracle::TopicName(text(if version < 13 { "t" } else { "" })))
        .with_partition_data(vec![partition.clone(), partition]);
    let request = oracle::ProduceRequest::default().with_acks(-1).with_topic_data(vec![topic.clone(), topic]);
    by_oracle(ApiKey::Produce, version, &request)
}

fn fetch(version: i16) -> Bytes {
    let partition = oracle::fetch_request::FetchPartition::default().with_partition(1).with_fetch_offset(5);
    let topic = oracle::fetch_request::FetchTopic::default()
        .with_topic(oracle::TopicName(text(if version < 13 { "t" } else { "" })))
        .with_partitions(vec![partition.clone(), partition]);
    let mut request = oracle::FetchRequest::default().with_topics(vec![topic]);
    if version >= 7 {
        let forgotten = oracle::fetch_request::ForgottenTopic::default()
            .with_topic(oracle::TopicName(text(if version < 13 { "f" } else { "" })))
            .with_partitions(vec![1, 2]);
        request = request.with_session_id(4).with_forgotten_topics_data(vec![forgotten]);
    }
    if version >= 12 {
        request = request.with_cluster_id(Some(text("c")));
    }
    by_oracle(ApiKey::Fetch, version, &request)
}

fn by_oracle<M: Encodable + kafka_protocol::protocol::HeaderVersion>(
    key: ApiKey,
    version: i16,
    body: &M,
) -> Bytes {
    let mut frame = bytes::BytesMut::new();
    oracle::RequestHeader::default()
        .with_request_api_key(key.number())
        .with_request_api_version(version)
        .with_client_id(Some(text("corpus")))
        .encode(&mut frame, M::header_version(version))
        .unwrap();
    body.encode(&mut frame, version).unwrap();
    frame.freeze()
}

/// A request with something in each list.
fn request(key: ApiKey, version: i16) -> Bytes {
    macro_rules! encode {
        ($request:expr) => {
            encode_request(version, 1, Some("corpus"), &$request).unwrap()
        };
    }
    let name = || "topic".into();
    match key {
        ApiKey::Produce => produce(version),
        ApiKey::Fetch => fetch(version),
        ApiKey::ListOffsets => {
            use m::list_offsets_request::{ListOffsetsPartition as P, ListOffsetsTopic as T};
            let topic = message!(T { name: name(), partitions: vec![message!(P { timestamp: -2 })] });
            encode!(message!(m::ListOffsetsRequest { topics: vec![topic] }))
        }
        ApiKey::Metadata => {
            let topic = message!(m::metadata_request::MetadataRequestTopic { name: Some(name()) });
            encode!(message!(m::MetadataRequest { topics: Some(vec![topic]) }))
        }
        ApiKey::OffsetCommit => {
            use m::offset_commit_request::{
                OffsetCommitRequestPartition as P, OffsetCommitRequestTopic as T,
            };
            let partition = message!(P { committed_offset: 3, committed_metadata: Some("why".into()) });
            let mut topic = message!(T { partitions: vec![partition] });
            if version < 10 {
                topic.name = name();
            } else {
                topic.topic_id = protocol::Uuid::from_bytes([7; 16]);
            }
            encode!(message!(m::OffsetCommitRequest { group_id: "group".into(), topics: vec![topic] }))
        }
        ApiKey::OffsetFetch if version < 8 => {
            use m::offset_fetch_request::OffsetFetchRequestTopic as T;
            let topics = Some(vec![message!(T { name: name(), partition_indexes: vec![0, 1] })]);
            encode!(message!(m::OffsetFetchRequest { group_id: "group".into(), topics: topics }))
        }
        ApiKey::OffsetFetch => {
            use m::offset_fetch_request::{OffsetFetchRequestGroup as G, OffsetFetchRequestTopics as T};
            let mut topic = message!(T { partition_indexes: vec![0, 1] });
            if version < 10 {
                topic.name = name();
            } else {
                topic.topic_id = protocol::Uuid::from_bytes([7; 16]);
            }
            let group = message!(G { group_id: "group".into(), topics: Some(vec![topic]) });
            encode!(message!(m::OffsetFetchRequest { groups: vec![group] }))
        }
        ApiKey::OffsetDelete => {
            use m::offset_delete_request::{
                OffsetDeleteRequestPartition as P, OffsetDeleteRequestTopic as T,
            };
            let topic = message!(T { name: name(), partitions: vec![message!(P { partition_index: 1 })] });
            encode!(message!(m::OffsetDeleteRequest { group_id: "group".into(), topics: vec![topic] }))
        }
        ApiKey::FindCoordinator if version < 4 => {
            encode!(message!(m::FindCoordinatorRequest { key: "group".into() }))
        }
        ApiKey::FindCoordinator => {
            let keys = vec!["group".into(), "other".into()];
            encode!(message!(m::FindCoordinatorRequest { coordinator_keys: keys }))
        }
        ApiKey::JoinGroup => {
            use m::join_group_request::JoinGroupRequestProtocol as P;
            let protocol = message!(P { name: "range".into(), metadata: Bytes::from_static(&[0, 1, 2]) });
            encode!(message!(m::JoinGroupRequest {
                group_id: "group".into(),
                protocol_type: "consumer".into(),
                protocols: vec![protocol],
            }))
        }
        ApiKey::SyncGroup => {
            use m::sync_group_request::SyncGroupRequestAssignment as A;
            let given = message!(A { member_id: "member".into(), assignment: Bytes::from_static(&[0, 1]) });
            encode!(message!(m::SyncGroupRequest { group_id: "group".into(), assignments: vec![given] }))
        }
        ApiKey::Heartbeat => {
            encode!(message!(m::HeartbeatRequest { group_id: "group".into(), member_id: "member".into() }))
        }
        ApiKey::LeaveGroup if version < 3 => {
            encode!(message!(m::LeaveGroupRequest { group_id: "group".into(), member_id: "member".into() }))
        }
        ApiKey::LeaveGroup => {
            let member = message!(m::leave_group_request::MemberIdentity { member_id: "member".into() });
            encode!(message!(m::LeaveGroupRequest { group_id: "group".into(), members: vec![member] }))
        }
        ApiKey::DescribeGroups => {
            encode!(message!(m::DescribeGroupsRequest { groups: vec![name(), name()] }))
        }
        ApiKey::ConsumerGroupHeartbeat => {
            use m::consumer_group_heartbeat_request::TopicPartitions as T;
            let owned = message!(T { partitions: vec![0, 1] });
            encode!(message!(m::ConsumerGroupHeartbeatRequest {
                group_id: "group".into(),
                member_id: "member".into(),
                subscribed_topic_names: Some(vec![name(), name()]),
                topic_partitions: Some(vec![owned]),
            }))
        }
        ApiKey::ConsumerGroupDescribe => {
            encode!(message!(m::ConsumerGroupDescribeRequest { group_ids: vec![name(), name()] }))
        }
        ApiKey::ShareGroupHeartbeat => {
            encode!(message!(m::ShareGroupHeartbeatRequest {
                group_id: "group".into(),
                member_id: "member".into(),
                subscribed_topic_names: Some(vec![name(), name()]),
            }))
        }
        ApiKey::ShareGroupDescribe => {
            encode!(message!(m::ShareGroupDescribeRequest { group_ids: vec![name(), name()] }))
        }
        ApiKey::ShareFetch => {
            use m::share_fetch_request::{AcknowledgementBatch as B, FetchPartition as P, FetchTopic as T};
            let batch = message!(B { last_offset: 1, acknowledge_types: vec![1, 2] });
            let partition = message!(P { partition_index: 1, acknowledgement_batches: vec![batch] });
            encode!(message!(m::ShareFetchRequest {
                group_id: Some("group".into()),
                member_id: Some("member".into()),
                topics: vec![message!(T { partitions: vec![partition] })],
            }))
        }
        ApiKey::ShareAcknowledge => {
            use m::share_acknowledge_request::{
                AcknowledgePartition as P, AcknowledgeTopic as T, AcknowledgementBatch as B,
            };
            let batch = message!(B { last_offset: 1, acknowledge_types: vec![3] });
            let partition = message!(P { partition_index: 1, acknowledgement_batches: vec![batch] });
            encode!(message!(m::ShareAcknowledgeRequest {
                group_id: Some("group".into()),
                member_id: Some("member".into()),
                topics: vec![message!(T { partitions: vec![partition] })],
            }))
        }
        ApiKey::DescribeShareGroupOffsets => {
            use m::describe_share_group_offsets_request::{
                DescribeShareGroupOffsetsRequestGroup as G, DescribeShareGroupOffsetsRequestTopic as T,
            };
            let topic = message!(T { topic_name: name(), partitions: vec![0, 1] });
            let group = message!(G { group_id: "group".into(), topics: Some(vec![topic]) });
            encode!(message!(m::DescribeShareGroupOffsetsRequest { groups: vec![group] }))
        }
        ApiKey::AlterShareGroupOffsets => {
            use m::alter_share_group_offsets_request::{
                AlterShareGroupOffsetsRequestPartition as P, AlterShareGroupOffsetsRequestTopic as T,
            };
            let partition = message!(P { partition_index: 1, start_offset: 5 });
            let topic = message!(T { topic_name: name(), partitions: vec![partition] });
            encode!(message!(m::AlterShareGroupOffsetsRequest {
                group_id: "group".into(),
                topics: vec![topic]
            }))
        }
        ApiKey::DeleteShareGroupOffsets => {
            use m::delete_share_group_offsets_request::DeleteShareGroupOffsetsRequestTopic as T;
            let topic = message!(T { topic_name: name() });
            encode!(message!(m::DeleteShareGroupOffsetsRequest {
                group_id: "group".into(),
                topics: vec![topic]
            }))
        }
        ApiKey::DeleteGroups => {
            encode!(message!(m::DeleteGroupsRequest { groups_names: vec![name(), name()] }))
        }
        ApiKey::ListGroups if version < 4 => encode!(m::ListGroupsRequest::default()),
        ApiKey::ListGroups => {
            encode!(message!(m::ListGroupsRequest { states_filter: vec!["Stable".into(), "Empty".into()] }))
        }
        ApiKey::ApiVersions if version < 3 => encode!(m::ApiVersionsRequest::default()),
        ApiKey::ApiVersions => {
            let (software, number) = ("client".into(), "1.0".into());
            encode!(message!(m::ApiVersionsRequest {
                client_software_name: software,
                client_software_version: number
            }))
        }
        ApiKey::CreateTopics => {
            use m::create_topics_request::{
                CreatableReplicaAssignment as A, CreatableTopic as T, CreatableTopicConfig as C,
            };
            let config = message!(C { name: "retention.ms".into(), value: Some("1".into()) });
            let assignment = message!(A { partition_index: 0, broker_ids: vec![1] });
            let topic = message!(T { name: name(), assignments: vec![assignment], configs: vec![config] });
            encode!(message!(m::CreateTopicsRequest { topics: vec![topic] }))
        }
        ApiKey::DeleteTopics if version < 6 => {
            encode!(message!(m::DeleteTopicsRequest { topic_names: vec![name(), name()] }))
        }
        ApiKey::DeleteTopics => {
            let topic = message!(m::delete_topics_request::DeleteTopicState { name: Some(name()) });
            encode!(message!(m::DeleteTopicsRequest { topics: vec![topic] }))
        }
        ApiKey::DeleteRecords => {
            use m::delete_records_request::{DeleteRecordsPartition as P, DeleteRecordsTopic as T};
            let topic = message!(T { name: name(), partitions: vec![message!(P { offset: 3 })] });
            encode!(message!(m::DeleteRecordsRequest { topics: vec![topic] }))
        }
        ApiKey::InitProducerId => {
            encode!(message!(m::InitProducerIdRequest { transactional_id: Some(name()) }))
        }
        ApiKey::OffsetForLeaderEpoch => {
            use m::offset_for_leader_epoch_request::{
                OffsetForLeaderPartition as P, OffsetForLeaderTopic as T,
            };
            let topic = message!(T { topic: name(), partitions: vec![message!(P { leader_epoch: 3 })] });
            encode!(message!(m::OffsetForLeaderEpochRequest { topics: vec![topic] }))
        }
        ApiKey::DescribeConfigs => {
            use m::describe_configs_request::DescribeConfigsResource as R;
            let resource = message!(R { resource_name: name(), configuration_keys: Some(vec![name()]) });
            encode!(message!(m::DescribeConfigsRequest { resources: vec![resource] }))
        }
        ApiKey::CreatePartitions => {
            use m::create_partitions_request::{CreatePartitionsAssignment as A, CreatePartitionsTopic as T};
            let assignments = Some(vec![message!(A { broker_ids: vec![1] })]);
            let topic = message!(T { name: name(), count: 2, assignments: assignments });
            encode!(message!(m::CreatePartitionsRequest { topics: vec![topic] }))
        }
        ApiKey::AlterConfigs => {
            use m::alter_configs_request::{AlterConfigsResource as R, AlterableConfig as C};
            let resource =
                message!(R { resource_name: name(), configs: vec![message!(C { value: Some("1".into()) })] });
            encode!(message!(m::AlterConfigsRequest { resources: vec![resource] }))
        }
        ApiKey::IncrementalAlterConfigs => {
            use m::incremental_alter_configs_request::{AlterConfigsResource as R, AlterableConfig as C};
            let resource =
                message!(R { resource_name: name(), configs: vec![message!(C { value: Some("1".into()) })] });
            encode!(message!(m::IncrementalAlterConfigsRequest { resources: vec![resource] }))
        }
        ApiKey::ListConfigResources if version == 0 => encode!(m::ListConfigResourcesRequest::default()),
        ApiKey::ListConfigResources => {
            encode!(message!(m::ListConfigResourcesRequest { resource_types: vec![2, 32] }))
        }
        ApiKey::DescribeCluster => encode!(m::DescribeClusterRequest::default()),
        ApiKey::AlterReplicaLogDirs => {
            use m::alter_replica_log_dirs_request::{AlterReplicaLogDir as D, AlterReplicaLogDirTopic as T};
            let topic = message!(T { name: name(), partitions: vec![0, 1] });
            let dir = message!(D { path: "/data".into(), topics: vec![topic] });
            encode!(message!(m::AlterReplicaLogDirsRequest { dirs: vec![dir] }))
        }
        ApiKey::DescribeLogDirs => {
            use m::describe_log_dirs_request::DescribableLogDirTopic as T;
            let topics = Some(vec![message!(T { topic: name(), partitions: vec![0, 1] })]);
            encode!(message!(m::DescribeLogDirsRequest { topics: topics }))
        }
        ApiKey::ElectLeaders => {
            use m::elect_leaders_request::TopicPartitions as T;
            let topics = Some(vec![message!(T { topic: name(), partitions: vec![0, 1] })]);
            encode!(message!(m::ElectLeadersRequest { topic_partitions: topics }))
        }
        ApiKey::AlterPartitionReassignments => {
            use m::alter_partition_reassignments_request::{
                ReassignablePartition as P, ReassignableTopic as T,
            };
            let partition = message!(P { replicas: Some(vec![1, 2]) });
            let topic = message!(T { name: name(), partitions: vec![partition] });
            encode!(message!(m::AlterPartitionReassignmentsRequest { topics: vec![topic] }))
        }
        ApiKey::ListPartitionReassignments => {
            use m::list_partition_reassignments_request::ListPartitionReassignmentsTopics as T;
            let topics = Some(vec![message!(T { name: name(), partition_indexes: vec![0, 1] })]);
            encode!(message!(m::ListPartitionReassignmentsRequest { topics: topics }))
        }
        ApiKey::DescribeClientQuotas => {
            use m::describe_client_quotas_request::ComponentData as C;
            let component = message!(C { entity_type: "user".into(), match_: Some("a".into()) });
            encode!(message!(m::DescribeClientQuotasRequest { components: vec![component] }))
        }
        ApiKey::AlterClientQuotas => {
            use m::alter_client_quotas_request::{EntityData as D, EntryData as E, OpData as O};
            let who = message!(D { entity_type: "user".into(), entity_name: Some("a".into()) });
            let what = message!(O { key: "producer_byte_rate".into(), value: 5.0 });
            let entry = message!(E { entity: vec![who], ops: vec![what] });
            encode!(message!(m::AlterClientQuotasRequest { entries: vec![entry] }))
        }
        ApiKey::DescribeUserScramCredentials => {
            use m::describe_user_scram_credentials_request::UserName as U;
            let users = Some(vec![message!(U { name: "a".into() })]);
            encode!(message!(m::DescribeUserScramCredentialsRequest { users: users }))
        }
        ApiKey::AlterUserScramCredentials => {
            use m::alter_user_scram_credentials_request::{
                ScramCredentialDeletion as D, ScramCredentialUpsertion as U,
            };
            let set = message!(U {
                name: "a".into(),
                mechanism: 1,
                iterations: 4096,
                salt: Bytes::from_static(b"salt")
            });
            let delete = message!(D { name: "b".into(), mechanism: 2 });
            encode!(message!(m::AlterUserScramCredentialsRequest {
                deletions: vec![delete],
                upsertions: vec![set],
            }))
        }
        ApiKey::DescribeQuorum => {
            use m::describe_quorum_request::{PartitionData as P, TopicData as T};
            let topic = message!(T { topic_name: name(), partitions: vec![P::default()] });
            encode!(message!(m::DescribeQuorumRequest { topics: vec![topic] }))
        }
        ApiKey::UpdateFeatures => {
            use m::update_features_request::FeatureUpdateKey as F;
            let update = message!(F { feature: "metadata.version".into(), max_version_level: 30 });
            encode!(message!(m::UpdateFeaturesRequest { feature_updates: vec![update] }))
        }
        ApiKey::DescribeProducers => {
            use m::describe_producers_request::TopicRequest as T;
            let topic = message!(T { name: name(), partition_indexes: vec![0, 1] });
            encode!(message!(m::DescribeProducersRequest { topics: vec![topic] }))
        }
        ApiKey::GetTelemetrySubscriptions => {
            encode!(message!(m::GetTelemetrySubscriptionsRequest {
                client_instance_id: Uuid::from_bytes([7; 16])
            }))
        }
        ApiKey::PushTelemetry => encode!(message!(m::PushTelemetryRequest {
            client_instance_id: Uuid::from_bytes([7; 16]),
            metrics: Bytes::from_static(b"\x0a\x02\x0a\x00"),
        })),
        ApiKey::UnregisterBroker => encode!(message!(m::UnregisterBrokerRequest { broker_id: 2 })),
        ApiKey::DescribeTopicPartitions => {
            use m::describe_topic_partitions_request::TopicRequest as T;
            encode!(message!(m::DescribeTopicPartitionsRequest {
                topics: vec![message!(T { name: name() })]
            }))
        }
    }
}

/// Writes the oldest, the first flexible and the newest version of every API.
#[test]
#[ignore = "writes into the source tree"]
fn write_corpus() {
    std::fs::create_dir_all(directory()).unwrap();
    for api in APIS {
        let mut versions = vec![api.min, api.flexible_since.clamp(api.min, api.max), api.max];
        versions.dedup();
        for version in versions {
            let file = directory().join(format!("{}-{version}", api.name));
            std::fs::write(file, request(api.key, version)).unwrap();
        }
    }
}

/// The corpus means what its names say.
#[test]
fn corpus_decodes() {
    for frame in read() {
        let frame = Bytes::from(frame);
        let header = protocol::RequestHeader::parse(&frame).unwrap();
        assert!(header.api().is_some());
        super::decode_request(&frame);
    }
}
