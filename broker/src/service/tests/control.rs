//! Topics, settings and what is told of them.

use model::ErrorCode;
use protocol::control::messages::*;
use protocol::{Text, Uuid, message};

use super::super::harness::Client;
use super::create;

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
    let request = message!(DeleteTopicsRequest { topics: vec![by_id], timeout_ms: 1000 });
    let response: DeleteTopicsResponse = client.ask(6, &request);
    assert_eq!((response.responses[0].error_code, response.responses[0].name.as_deref()), (0, Some("t")));
    let mut late = request.clone();
    late.timeout_ms = 0;
    let timed_out: DeleteTopicsResponse = client.ask(6, &late);
    let told = &timed_out.responses[0];
    assert_eq!((told.error_code, told.topic_id), (ErrorCode::RequestTimedOut.code(), id));
    assert_eq!((told.name.as_deref(), told.error_message.as_deref()), (None, None));
    let again: DeleteTopicsResponse = client.ask(6, &request);
    assert_eq!(again.responses[0].error_code, ErrorCode::UnknownTopicId.code());
    assert_eq!(create(&client, "t", 1, &[]), 0);
    let topic = message!(metadata_request::MetadataRequestTopic { topic_id: id, name: None });
    let known: MetadataResponse = client.ask(13, &message!(MetadataRequest { topics: Some(vec![topic]) }));
    assert_eq!(known.topics[0].error_code, ErrorCode::UnknownTopicId.code());
    let locked = Client::with(|settings| settings.delete_topics = false);
    create(&locked, "t", 1, &[]);
    let by_name = message!(DeleteTopicsRequest { topic_names: vec!["t".into()], timeout_ms: 1000 });
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
    assert_eq!(value("retention.ms"), ("5".into(), 1, 1));
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
    assert_eq!(value("retention.ms"), ("9".into(), 1, 1));
    assert_eq!(alter("retention.ms", 1, None), 0);
    assert_eq!(value("retention.ms"), ("604800000".into(), 5, 0));
    assert_eq!(alter("cleanup.policy", 0, Some("shred")), ErrorCode::InvalidConfig.code());
    assert_eq!(alter("cleanup.policy", 2, Some("compact")), 0);
    assert_eq!(value("cleanup.policy"), ("delete,compact".into(), 1, 2));
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
fn a_topic_that_is_named_again_and_again_is_told_once() {
    let client = Client::new();
    create(&client, "t", 100, &[]);
    let names = [Some("t"), Some("u"), Some("t"), Some("t")];
    let topics =
        names.map(|name| message!(metadata_request::MetadataRequestTopic { name: name.map(Text::from) }));
    let request =
        message!(MetadataRequest { topics: Some(topics.to_vec()), allow_auto_topic_creation: false });
    let response: MetadataResponse = client.ask(12, &request);
    let told: Vec<_> = response
        .topics
        .iter()
        .map(|topic| (topic.name.as_deref().unwrap(), topic.partitions.len()))
        .collect();
    assert_eq!(told, [("t", 100), ("u", 0)]);
}
