//! What administrators are told of the directory, the quorum and the features of a running broker.

use std::path::Path;

use protocol::control::messages::describe_log_dirs_response::DescribeLogDirsResult;
use protocol::control::messages::describe_quorum_request::{PartitionData, TopicData};
use protocol::control::messages::update_features_request::FeatureUpdateKey;
use protocol::control::messages::{
    ApiVersionsRequest, ApiVersionsResponse, DescribeConfigsRequest, DescribeConfigsResponse,
    DescribeLogDirsRequest, DescribeLogDirsResponse, DescribeProducersRequest, DescribeProducersResponse,
    DescribeQuorumRequest, DescribeQuorumResponse, GetTelemetrySubscriptionsRequest,
    GetTelemetrySubscriptionsResponse, IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
    PushTelemetryRequest, PushTelemetryResponse, UpdateFeaturesRequest, UpdateFeaturesResponse,
    describe_configs_request, describe_producers_request, incremental_alter_configs_request,
};
use protocol::{Text, message};

use super::harness::{Broker, Client, Scratch, TOPIC};

fn directory(client: &mut Client) -> DescribeLogDirsResult {
    let response: DescribeLogDirsResponse = client.ask(5, &message!(DescribeLogDirsRequest { topics: None }));
    response.results[0].clone()
}

/// Epoch and high watermark.
fn quorum(client: &mut Client) -> (i32, i64) {
    let topic = message!(TopicData {
        topic_name: "__cluster_metadata".into(),
        partitions: vec![PartitionData::default()]
    });
    let response: DescribeQuorumResponse =
        client.ask(2, &message!(DescribeQuorumRequest { topics: vec![topic] }));
    let partition = &response.topics[0].partitions[0];
    assert_eq!((partition.error_code, partition.leader_id), (0, 1));
    assert_ne!(partition.current_voters[0].replica_directory_id, protocol::Uuid::ZERO);
    (partition.leader_epoch, partition.high_watermark)
}

fn levels(client: &mut Client) -> Vec<(String, i16)> {
    let request = message!(ApiVersionsRequest {
        client_software_name: "test".into(),
        client_software_version: "1".into(),
    });
    let response: ApiVersionsResponse = client.ask(4, &request);
    response.finalized_features.iter().map(|one| (one.name.to_string(), one.max_version_level)).collect()
}

#[test]
fn what_administrators_are_told_is_so_before_and_after_a_kill() {
    let scratch = Scratch::new();
    let broker = Broker::start(&scratch.data_dir(), &[]);
    let mut client = Client::connect(&broker.ready);
    client.create_topic();
    for _ in 0..3 {
        client.produce(&[b'x'; 1000]).unwrap();
    }
    let before = directory(&mut client);
    let path = Path::new(&scratch.data_dir()).canonicalize().unwrap();
    assert_eq!((&*before.log_dir, before.error_code), (path.to_str().unwrap(), 0));
    assert!(0 < before.usable_bytes && before.usable_bytes < before.total_bytes);
    let sizes = |directory: &DescribeLogDirsResult| {
        let topic = directory.topics.iter().find(|topic| &*topic.name == TOPIC).unwrap();
        topic.partitions.iter().map(|one| one.partition_size).collect::<Vec<_>>()
    };
    let [size] = sizes(&before)[..] else { panic!("{before:?}") };
    assert!((3_000..4_000).contains(&size), "{size}");
    let asked =
        message!(describe_producers_request::TopicRequest { name: TOPIC.into(), partition_indexes: vec![0] });
    let producers: DescribeProducersResponse =
        client.ask(0, &message!(DescribeProducersRequest { topics: vec![asked] }));
    let partition = &producers.topics[0].partitions[0];
    assert_eq!((partition.error_code, partition.active_producers.len()), (0, 0), "nobody is idempotent");
    let first = quorum(&mut client);
    let update = message!(FeatureUpdateKey { feature: "metadata.version".into(), max_version_level: 30 });
    let request = message!(UpdateFeaturesRequest { feature_updates: vec![update] });
    let updated: UpdateFeaturesResponse = client.ask(2, &request);
    assert_eq!((updated.error_code, updated.error_message), (0, None));
    let every = [
        ("eligible.leader.replicas.version", 1),
        ("group.version", 1),
        ("kraft.version", 1),
        ("metadata.version", 30),
        ("share.version", 1),
    ];
    let every = every.map(|(name, level)| (name.to_owned(), level));
    assert_eq!(levels(&mut client), every);
    assert_eq!(quorum(&mut client), first, "where there is one level nobody chooses");
    assert_eq!(client.create("another", 1), 0);
    assert_eq!(quorum(&mut client), (first.0, first.1 + 1), "a topic is an entry of the metadata log");
    broker.signal(libc::SIGKILL);
    broker.end();

    let broker = Broker::start(&scratch.data_dir(), &[]);
    let mut client = Client::connect(&broker.ready);
    assert_eq!(sizes(&directory(&mut client)), [size], "recovered from the journal");
    let again = quorum(&mut client);
    assert!(again.0 == first.0 + 1 && again.1 > first.1, "{first:?} {again:?}");
    assert_eq!(levels(&mut client), every);
}

/// Of subscriptions to clients' metrics among the resources with settings.
const CLIENT_METRICS: i8 = 16;

fn subscribe(client: &mut Client, settings: &[(&str, &str)]) {
    use incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
    let configs = settings.iter().map(|(name, value)| {
        message!(AlterableConfig { name: Text::from(*name), value: Some(Text::from(*value)) })
    });
    let resource = message!(AlterConfigsResource {
        resource_type: CLIENT_METRICS,
        resource_name: "everything".into(),
        configs: configs.collect(),
    });
    let response: IncrementalAlterConfigsResponse =
        client.ask(1, &message!(IncrementalAlterConfigsRequest { resources: vec![resource] }));
    assert_eq!(response.responses[0].error_code, 0, "{response:?}");
}

fn subscription(client: &mut Client) -> Vec<(String, String)> {
    let resource = message!(describe_configs_request::DescribeConfigsResource {
        resource_type: CLIENT_METRICS,
        resource_name: "everything".into(),
        configuration_keys: None,
    });
    let response: DescribeConfigsResponse =
        client.ask(4, &message!(DescribeConfigsRequest { resources: vec![resource] }));
    let told = response.results[0].configs.iter();
    told.map(|one| (one.name.to_string(), one.value.as_deref().unwrap_or_default().to_owned())).collect()
}

/// A gauge `a.b` of 1, as OTLP.
const METRICS: &[u8] =
    b"\x0a\x16\x12\x14\x12\x12\x0a\x03a.b\x2a\x0b\x0a\x09\x31\x01\x00\x00\x00\x00\x00\x00\x00";

#[test]
fn subscriptions_outlive_a_kill_and_pushes_are_told_until_the_client_goes() {
    let scratch = Scratch::new();
    let broker = Broker::start(&scratch.data_dir(), &[]);
    let mut client = Client::connect(&broker.ready);
    subscribe(&mut client, &[("metrics", "a."), ("interval.ms", "1000"), ("match", "client_id=te.*")]);
    let written = [("interval.ms", "1000"), ("match", "client_id=te.*"), ("metrics", "a.")];
    let written = written.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(subscription(&mut client), written);
    broker.signal(libc::SIGKILL);
    broker.end();

    let broker = Broker::start(&scratch.data_dir(), &[]);
    let mut client = Client::connect(&broker.ready);
    assert_eq!(subscription(&mut client), written);
    let told: GetTelemetrySubscriptionsResponse = client.ask(0, &GetTelemetrySubscriptionsRequest::default());
    let metrics: Vec<&str> = told.requested_metrics.iter().map(|name| &**name).collect();
    assert_eq!((told.error_code, metrics, told.push_interval_ms), (0, vec!["a."], 1000));
    let push = message!(PushTelemetryRequest {
        client_instance_id: told.client_instance_id,
        subscription_id: told.subscription_id,
        metrics: METRICS.into(),
    });
    let pushed: PushTelemetryResponse = client.ask(0, &push);
    assert_eq!(pushed.error_code, 0);
    let of_client = |text: &str| text.lines().filter(|line| line.starts_with("a_b{")).count();
    assert_eq!(of_client(&broker.get("/metrics/clients")), 1);
    drop(client);
    while of_client(&broker.get("/metrics/clients")) > 0 {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}
