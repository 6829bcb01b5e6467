//! Requests as bytes through the handlers, two cores and the storage below, and back.

use bytes::{Buf, BufMut, Bytes};
use model::batch::{BatchBuilder, RecordBatch};
use model::{ErrorCode, ProducerEpoch, ProducerId, TimestampMs};
use net::service::Reply;
use protocol::api::APIS;
use protocol::control::messages::*;
use protocol::{ApiKey, Text, Uuid, message};

use super::harness::{Client, Wanted, fetch, frame, joined, produce};

use create_topics_request::{CreatableTopic, CreatableTopicConfig};
use list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};

fn create(client: &Client, name: &str, partitions: i32, configs: &[(&str, &str)]) -> i16 {
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

fn batch(client: &Client, values: &[&str]) -> Vec<u8> {
    let now = TimestampMs(client.simulation.now_ms());
    values.iter().fold(BatchBuilder::new(), |batch, value| batch.value(now, value.as_bytes())).build()
}

/// Index, error, base offset and append time of each partition of a Produce 8 response.
fn produced(mut response: Bytes) -> Vec<(i32, i16, i64, i64)> {
    response.advance(4 + 4);
    let name = usize::from(response.get_u16());
    response.advance(name);
    let count = response.get_i32();
    let partition = |_| {
        let found = (response.get_i32(), response.get_i16(), response.get_i64(), response.get_i64());
        response.advance(8 + 4);
        let message = response.get_i16();
        response.advance(usize::try_from(message).unwrap_or(0));
        found
    };
    (0..count).map(partition).collect()
}

/// Index, error, high watermark and values of one partition.
type FetchedPartition = (i32, i16, i64, Vec<String>);

/// Session and partitions of a Fetch 11 response.
fn fetched(mut response: Bytes) -> (i32, Vec<FetchedPartition>) {
    response.advance(4 + 4);
    assert_eq!(response.get_i16(), 0);
    let session = response.get_i32();
    let mut found = Vec::new();
    for _ in 0..response.get_i32() {
        let name = usize::from(response.get_u16());
        response.advance(name);
        for _ in 0..response.get_i32() {
            let (index, error, high_watermark) = (response.get_i32(), response.get_i16(), response.get_i64());
            response.advance(8 + 8 + 4 + 4);
            let length = usize::try_from(response.get_i32()).unwrap();
            let records = response.split_to(length);
            let values = RecordBatch::all_in(&records).flat_map(|batch| {
                let values = batch.unwrap().records().map(|record| record.unwrap().value.unwrap().to_vec());
                values.map(|value| String::from_utf8(value).unwrap()).collect::<Vec<_>>()
            });
            found.push((index, error, high_watermark, values.collect()));
        }
    }
    (session, found)
}

fn wanted(session: (i32, i32), partitions: &[(i32, i64)]) -> Wanted {
    Wanted { session, wait_ms: 0, bytes_min: 1, partitions: partitions.to_vec() }
}

#[test]
fn what_is_produced_is_fetched_from_both_cores() {
    let client = Client::new();
    assert_eq!(create(&client, "t", 4, &[]), 0);
    let batches: Vec<_> = (0..4).map(|index| (index, batch(&client, &["a", "b"]))).collect();
    let answers = produced(client.response(produce("t", -1, &batches)));
    assert_eq!(answers, [(0, 0, 0, -1), (1, 0, 0, -1), (2, 0, 0, -1), (3, 0, 0, -1)]);
    let answers = produced(client.response(produce("t", 1, &[(2, batch(&client, &["c"]))])));
    assert_eq!(answers, [(2, 0, 2, -1)]);
    let asked = wanted((0, -1), &[(0, 0), (1, 1), (2, 2), (3, 2)]);
    let (_, partitions) = fetched(client.response(fetch("t", &asked)));
    let values: Vec<_> = partitions.iter().map(|(index, .., values)| (*index, values.join(""))).collect();
    // A fetch gives whole batches: the client skips what it did not ask for.
    assert_eq!(values, [(0, "ab".into()), (1, "ab".into()), (2, "c".into()), (3, String::new())]);
}

#[test]
fn pipelined_batches_keep_their_order() {
    let client = Client::new();
    create(&client, "t", 1, &[]);
    client.simulation.run_until(async {
        let mut replies = Vec::new();
        for i in 0..20 {
            let batch = batch(&client, &[&format!("{i}")]);
            replies.push(client.begin(produce("t", -1, &[(0, batch)])).await);
        }
        for (i, reply) in replies.into_iter().enumerate() {
            let Reply::Send(response) = reply.await else { panic!("no response") };
            assert_eq!(produced(joined(&response))[0].2, i64::try_from(i).unwrap());
        }
    });
}

#[test]
fn a_fetch_over_several_cores_waits_for_bytes_or_time() {
    let client = Client::new();
    create(&client, "t", 2, &[]);
    let asked = Wanted { wait_ms: 500, ..wanted((0, -1), &[(0, 0), (1, 0)]) };
    let before = client.simulation.now_ms();
    let (_, nothing) = fetched(client.response(fetch("t", &asked)));
    assert!(nothing.iter().all(|(.., values)| values.is_empty()));
    assert!(client.simulation.now_ms() - before >= 500, "it waited");
    client.simulation.run_until(async {
        let asked = Wanted { wait_ms: 60_000, ..wanted((0, -1), &[(0, 0), (1, 0)]) };
        let waiting = client.begin(fetch("t", &asked)).await;
        let appended = client.begin(produce("t", -1, &[(1, batch(&client, &["x"]))])).await;
        let before = client.simulation.now_ms();
        let (_, reply) = futures_lite::future::zip(appended, waiting).await;
        let Reply::Send(response) = reply else { panic!("no response") };
        assert_eq!(fetched(joined(&response)).1[1].3, ["x"]);
        assert!(client.simulation.now_ms() - before < 60_000, "the bytes let it go");
    });
}

#[test]
fn sessions_tell_only_what_changed() {
    let client = Client::new();
    create(&client, "t", 3, &[]);
    let (session, all) = fetched(client.response(fetch("t", &wanted((0, 0), &[(0, 0), (1, 0), (2, 0)]))));
    assert_eq!((session != 0, all.len()), (true, 3));
    client.response(produce("t", -1, &[(1, batch(&client, &["x"]))]));
    let (_, changed) = fetched(client.response(fetch("t", &wanted((session, 1), &[]))));
    assert_eq!(changed, [(1, 0, 1, vec!["x".to_owned()])]);
    let (_, unknown) = fetched(client.response(fetch("t", &wanted((session, 2), &[(1, 1), (9, 0)]))));
    assert_eq!(unknown, [(9, ErrorCode::UnknownTopicOrPartition.code(), -1, vec![])]);
}

#[test]
fn idempotence_is_kept_across_requests() {
    let client = Client::new();
    create(&client, "t", 1, &[]);
    let plain = message!(InitProducerIdRequest { transactional_id: None });
    let id: InitProducerIdResponse = client.ask(5, &plain);
    assert_eq!((id.error_code, id.producer_id, id.producer_epoch), (0, 0, 0));
    let next: InitProducerIdResponse = client.ask(2, &plain);
    assert_eq!(next.producer_id, 1);
    let now = TimestampMs(client.simulation.now_ms());
    let sequenced = |first| {
        let builder = BatchBuilder::new().producer(ProducerId(id.producer_id), ProducerEpoch(0), first);
        vec![(0, builder.value(now, b"v").build())]
    };
    let send = |first| {
        let (_, error, base, _) = produced(client.response(produce("t", -1, &sequenced(first))))[0];
        (error, base)
    };
    assert_eq!([send(0), send(1)], [(0, 0), (0, 1)]);
    assert_eq!(send(0), (0, 0), "a duplicate has the original's offset");
    assert_eq!(send(5), (ErrorCode::OutOfOrderSequenceNumber.code(), -1));
    let transactional = message!(InitProducerIdRequest { transactional_id: Some("tx".into()) });
    let refused: InitProducerIdResponse = client.ask(5, &transactional);
    assert_eq!((refused.error_code, refused.producer_id), (ErrorCode::InvalidRequest.code(), -1));
}

#[test]
fn what_is_wrong_is_told_per_partition() {
    let client = Client::new();
    create(&client, "t", 1, &[("max.message.bytes", "100"), ("min.insync.replicas", "2")]);
    let code =
        |acks, index, batch: Vec<u8>| produced(client.response(produce("t", acks, &[(index, batch)])))[0].1;
    let good = || batch(&client, &["x"]);
    assert_eq!(code(7, 0, good()), ErrorCode::InvalidRequiredAcks.code());
    assert_eq!(code(-1, 0, good()), ErrorCode::NotEnoughReplicas.code());
    assert_eq!(code(1, 1, good()), ErrorCode::UnknownTopicOrPartition.code());
    assert_eq!(code(1, 0, batch(&client, &[&"x".repeat(100)])), ErrorCode::MessageTooLarge.code());
    let mut rotten = good();
    rotten[65] ^= 1;
    assert_eq!(code(1, 0, rotten), ErrorCode::CorruptMessage.code());
    assert_eq!(code(1, 0, good()), 0);
    let unknown = client.response(produce("nobody", 1, &[(0, good())]));
    assert_eq!(produced(unknown)[0].1, ErrorCode::UnknownTopicOrPartition.code());
    // acks=0: silence, or the end of the connection.
    assert!(matches!(client.send(produce("t", 0, &[(0, good())])), Reply::Silent));
    assert!(matches!(client.send(produce("nobody", 0, &[(0, good())])), Reply::Close(_)));
}

#[test]
fn the_broker_stamps_where_the_topic_says_so() {
    let client = Client::new();
    create(&client, "t", 1, &[("message.timestamp.type", "LogAppendTime")]);
    let old = BatchBuilder::new().value(TimestampMs(5), b"x").build();
    let (_, error, base, stamped) = produced(client.response(produce("t", -1, &[(0, old)])))[0];
    assert_eq!((error, base), (0, 0));
    assert!(stamped > 5);
    let (_, partitions) = fetched(client.response(fetch("t", &wanted((0, -1), &[(0, 0)]))));
    assert_eq!(partitions[0].3, ["x"]);
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
fn offsets_are_listed_and_records_deleted() {
    let client = Client::new();
    create(&client, "t", 1, &[]);
    let start = client.simulation.now_ms();
    for i in 0..3 {
        let batch = BatchBuilder::new().value(TimestampMs(start + i * 100), b"x").build();
        client.response(produce("t", -1, &[(0, batch)]));
    }
    let offsets: Vec<_> =
        [-1, -2, -3, -4, -5, -6, start + 50, start + 999].map(|time| list(&client, 11, time)).into();
    assert_eq!(offsets, [(0, 3), (0, 0), (0, 2), (0, 0), (0, -1), (0, -1), (0, 1), (0, -1)]);
    assert_eq!(list(&client, 6, -3), (ErrorCode::UnsupportedVersion.code(), -1));

    let partition =
        message!(delete_records_request::DeleteRecordsPartition { partition_index: 0, offset: 2 });
    let topic = message!(delete_records_request::DeleteRecordsTopic {
        name: "t".into(),
        partitions: vec![partition]
    });
    let request = message!(DeleteRecordsRequest { topics: vec![topic] });
    let response: DeleteRecordsResponse = client.ask(2, &request);
    assert_eq!(response.topics[0].partitions[0].low_watermark, 2);
    assert_eq!(list(&client, 11, -2), (0, 2));
    let (_, gone) = fetched(client.response(fetch("t", &wanted((0, -1), &[(0, 1)]))));
    assert_eq!(gone[0].1, ErrorCode::OffsetOutOfRange.code());
}

#[test]
fn metadata_creates_on_request_only_where_it_may() {
    let metadata = |client: &Client, name: &str, create: bool| -> MetadataResponse {
        let topic = message!(metadata_request::MetadataRequestTopic { name: Some(name.into()) });
        let request =
            message!(MetadataRequest { topics: Some(vec![topic]), allow_auto_topic_creation: create });
        client.ask(13, &request)
    };
    let client = Client::new();
    let unknown = ErrorCode::UnknownTopicOrPartition.code();
    assert_eq!(metadata(&client, "t", false).topics[0].error_code, unknown);
    let response = metadata(&client, "t", true);
    assert_eq!((response.topics[0].error_code, response.topics[0].partitions.len()), (0, 2));
    assert_eq!(response.cluster_id.as_deref(), Some("test-cluster"));
    assert_eq!((response.brokers[0].node_id, response.brokers[0].port), (1, 9092));
    assert_eq!(
        metadata(&client, "no way", true).topics[0].error_code,
        ErrorCode::InvalidTopicException.code()
    );
    let forbidden = Client::with(|settings| settings.auto_create_topics = false);
    assert_eq!(metadata(&forbidden, "t", true).topics[0].error_code, unknown);
}

#[test]
fn a_deleted_topic_is_unknown_by_id_and_its_name_is_free() {
    let client = Client::new();
    create(&client, "t", 1, &[]);
    let all: MetadataResponse = client.ask(13, &message!(MetadataRequest { topics: None }));
    let id = all.topics[0].topic_id;
    assert_ne!(id, Uuid::ZERO);
    let by_id = message!(delete_topics_request::DeleteTopicState { topic_id: id, name: None });
    let request = message!(DeleteTopicsRequest { topics: vec![by_id] });
    let response: DeleteTopicsResponse = client.ask(6, &request);
    assert_eq!((response.responses[0].error_code, response.responses[0].name.as_deref()), (0, Some("t")));
    let again: DeleteTopicsResponse = client.ask(6, &request);
    assert_eq!(again.responses[0].error_code, ErrorCode::UnknownTopicId.code());
    assert_eq!(create(&client, "t", 1, &[]), 0);
    let topic = message!(metadata_request::MetadataRequestTopic { topic_id: id, name: None });
    let known: MetadataResponse = client.ask(13, &message!(MetadataRequest { topics: Some(vec![topic]) }));
    assert_eq!(known.topics[0].error_code, ErrorCode::UnknownTopicId.code());
    let locked = Client::with(|settings| settings.delete_topics = false);
    create(&locked, "t", 1, &[]);
    let by_name = message!(DeleteTopicsRequest { topic_names: vec!["t".into()] });
    let refused: DeleteTopicsResponse = locked.ask(5, &by_name);
    assert_eq!(refused.responses[0].error_code, ErrorCode::TopicDeletionDisabled.code());
}

#[test]
fn settings_are_described_and_altered() {
    let client = Client::new();
    create(&client, "t", 1, &[("retention.ms", "5")]);
    let describe = |kind: i8, name: &str| -> describe_configs_response::DescribeConfigsResult {
        let resource = message!(describe_configs_request::DescribeConfigsResource {
            resource_type: kind,
            resource_name: name.into(),
        });
        let request = message!(DescribeConfigsRequest { resources: vec![resource], include_synonyms: true });
        let response: DescribeConfigsResponse = client.ask(4, &request);
        response.results[0].clone()
    };
    let value = |name: &str| {
        let described = describe(2, "t");
        let found = described.configs.iter().find(|config| *config.name == *name).unwrap();
        (found.value.as_deref().unwrap().to_owned(), found.config_source, found.synonyms.len())
    };
    assert_eq!(value("retention.ms"), ("5".into(), 1, 2));
    assert_eq!(value("flush.messages"), ("1".into(), 5, 1));
    let alter = |name: &str, operation: i8, to: Option<&str>| -> i16 {
        let config = message!(incremental_alter_configs_request::AlterableConfig {
            name: name.into(),
            config_operation: operation,
            value: to.map(Text::from),
        });
        let resource = message!(incremental_alter_configs_request::AlterConfigsResource {
            resource_type: 2,
            resource_name: "t".into(),
            configs: vec![config],
        });
        let request = message!(IncrementalAlterConfigsRequest { resources: vec![resource] });
        let response: IncrementalAlterConfigsResponse = client.ask(1, &request);
        response.responses[0].error_code
    };
    assert_eq!(alter("retention.ms", 0, Some("9")), 0);
    assert_eq!(value("retention.ms"), ("9".into(), 1, 2));
    assert_eq!(alter("retention.ms", 1, None), 0);
    assert_eq!(value("retention.ms"), ("604800000".into(), 5, 1));
    assert_eq!(alter("cleanup.policy", 0, Some("compact")), ErrorCode::InvalidConfig.code());
    assert_eq!(alter("retention.ms", 9, Some("1")), ErrorCode::InvalidRequest.code());
    assert_eq!(describe(2, "nobody").error_code, ErrorCode::UnknownTopicOrPartition.code());
    let own = describe(4, "1");
    let secret = own.configs.iter().find(|config| &*config.name == "ssl.key.password").unwrap();
    assert!(secret.is_sensitive && secret.value.is_none());
    assert_eq!(describe(4, "2").error_code, ErrorCode::InvalidRequest.code());
}

#[test]
fn topics_are_described_page_by_page() {
    let client = Client::new();
    create(&client, "a", 3, &[]);
    create(&client, "b", 2, &[]);
    let mut pages = Vec::new();
    let mut cursor = None;
    loop {
        let request =
            message!(DescribeTopicPartitionsRequest { response_partition_limit: 2, cursor: cursor.take() });
        let page: DescribeTopicPartitionsResponse = client.ask(0, &request);
        let topic = |topic: &describe_topic_partitions_response::DescribeTopicPartitionsResponseTopic| {
            let indexes: Vec<_> = topic.partitions.iter().map(|one| one.partition_index).collect();
            (topic.name.as_deref().unwrap().to_owned(), indexes)
        };
        pages.push(page.topics.iter().map(topic).collect::<Vec<_>>());
        let Some(next) = page.next_cursor else { break };
        cursor = Some(message!(describe_topic_partitions_request::Cursor {
            topic_name: next.topic_name,
            partition_index: next.partition_index,
        }));
    }
    let (a, b) = ("a".to_owned(), "b".to_owned());
    assert_eq!(
        pages,
        [vec![(a.clone(), vec![0, 1])], vec![(a, vec![2]), (b.clone(), vec![0])], vec![(b, vec![1])]]
    );
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
                ApiKey::DescribeConfigs => default_of!(DescribeConfigsRequest, DescribeConfigsResponse),
                ApiKey::CreatePartitions => default_of!(CreatePartitionsRequest, CreatePartitionsResponse),
                ApiKey::IncrementalAlterConfigs => {
                    default_of!(IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse);
                }
                ApiKey::DescribeCluster => default_of!(DescribeClusterRequest, DescribeClusterResponse),
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
    assert!(matches!(client.send(frame(50, 0).freeze()), Reply::Close(_)));
    let mut future = client.response(frame(18, 99).freeze());
    future.advance(4);
    assert_eq!(future.get_i16(), ErrorCode::UnsupportedVersion.code());
    let mut follower = fetch("t", &wanted((0, -1), &[(0, 0)])).to_vec();
    follower[10..14].copy_from_slice(&3_i32.to_be_bytes());
    assert!(matches!(client.send(Bytes::from(follower)), Reply::Close(_)));
}
