//! What clients can alter, and what they are told otherwise.

use super::*;
use crate::service::harness::Client;
use protocol::Text;
use protocol::control::messages::alter_configs_request;
use protocol::control::messages::create_topics_request::CreatableTopic;
use protocol::control::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use protocol::control::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use protocol::control::messages::{
    AlterConfigsRequest, AlterConfigsResponse, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
};
use protocol::control::messages::{
    CreateTopicsRequest, CreateTopicsResponse, DescribeConfigsRequest, DescribeConfigsResponse,
    describe_configs_request,
};
use protocol::message;

const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

fn client() -> Client {
    let client = Client::new();
    let topic =
        |name: &str| message!(CreatableTopic { name: name.into(), num_partitions: 1, replication_factor: 1 });
    let request = message!(CreateTopicsRequest { topics: vec![topic("t"), topic("u")], timeout_ms: 1000 });
    let _: CreateTopicsResponse = client.ask(7, &request);
    client
}

type Edit<'a> = (&'a str, i8, Option<&'a str>);

fn resource(kind: i8, name: &str, changes: &[Edit<'_>]) -> AlterConfigsResource {
    let configs = changes.iter().map(|(name, operation, value)| {
        message!(AlterableConfig {
            name: (*name).into(),
            config_operation: *operation,
            value: value.map(Text::from),
        })
    });
    message!(AlterConfigsResource {
        resource_type: kind,
        resource_name: name.into(),
        configs: configs.collect(),
    })
}

/// Code and sentence for each resource.
fn ask(client: &Client, resources: Vec<AlterConfigsResource>, validate_only: bool) -> Vec<(i16, String)> {
    let request =
        message!(IncrementalAlterConfigsRequest { resources: resources, validate_only: validate_only });
    let mut answers = Vec::new();
    // Both versions say the same; the second finds what the first did.
    for version in [0, 1] {
        let response: IncrementalAlterConfigsResponse = client.ask(version, &request);
        let told = |one: AlterConfigsResourceResponse| {
            (one.error_code, one.error_message.unwrap_or_default().to_string())
        };
        answers.push(response.responses.into_iter().map(told).collect::<Vec<_>>());
    }
    assert_eq!(answers[0], answers[1]);
    answers.remove(0)
}

fn alter(client: &Client, kind: i8, name: &str, changes: &[Edit<'_>]) -> (i16, String) {
    ask(client, vec![resource(kind, name, changes)], false).remove(0)
}

/// The value and whether the topic has it of its own.
fn value(client: &Client, topic: &str, name: &str) -> (String, bool) {
    let resource = message!(describe_configs_request::DescribeConfigsResource {
        resource_type: TOPIC,
        resource_name: topic.into(),
        configuration_keys: Some(vec![name.into()]),
    });
    let response: DescribeConfigsResponse =
        client.ask(4, &message!(DescribeConfigsRequest { resources: vec![resource] }));
    let found = &response.results[0].configs[0];
    (found.value.as_deref().unwrap_or_default().to_owned(), found.config_source == 1)
}

#[test]
fn each_topic_stands_for_itself_and_is_changed_as_a_whole() {
    let client = client();
    let resources = vec![
        resource(TOPIC, "t", &[("retention.ms", SET, Some("7")), ("segment.bytes", SET, Some("1"))]),
        resource(TOPIC, "u", &[("retention.ms", SET, Some("7"))]),
        resource(TOPIC, "nobody", &[("retention.ms", SET, Some("7"))]),
    ];
    let codes: Vec<_> = ask(&client, resources, false).into_iter().map(|(code, _)| code).collect();
    assert_eq!(codes, [ErrorCode::InvalidConfig.code(), 0, ErrorCode::UnknownTopicOrPartition.code()]);
    assert!(!value(&client, "t", "retention.ms").1, "one bad value spoils the topic's change");
    assert_eq!(value(&client, "u", "retention.ms"), ("7".into(), true));
}

#[test]
fn a_trial_changes_nothing() {
    let client = client();
    let good = || vec![resource(TOPIC, "t", &[("retention.ms", SET, Some("7"))])];
    let bad = || vec![resource(TOPIC, "t", &[("retention.ms", SET, Some("-7"))])];
    assert_eq!(ask(&client, good(), true)[0].0, 0);
    assert_eq!(ask(&client, bad(), true)[0].0, ErrorCode::InvalidConfig.code());
    assert!(!value(&client, "t", "retention.ms").1);
}

#[test]
fn lists_are_appended_to_and_subtracted_from() {
    let client = client();
    let name = "leader.replication.throttled.replicas";
    let change = |operation, to| {
        assert_eq!(alter(&client, TOPIC, "t", &[(name, operation, Some(to))]).0, 0);
        value(&client, "t", name).0
    };
    assert_eq!(change(APPEND, "0:1,1:1"), "0:1,1:1");
    assert_eq!(change(APPEND, "1:1,2:1"), "0:1,1:1,2:1");
    assert_eq!(change(SUBTRACT, "0:1,9:9"), "1:1,2:1");
    let number = alter(&client, TOPIC, "t", &[("retention.ms", APPEND, Some("1"))]);
    assert_eq!(number.0, ErrorCode::InvalidConfig.code());
    // The value of a deletion is of no interest.
    assert_eq!(alter(&client, TOPIC, "t", &[(name, DELETE, Some("x"))]).0, 0);
    assert_eq!(value(&client, "t", name), (String::new(), false));
}

/// Each sentence is that of Apache Kafka 4.3.1, but where it is said.
#[test]
fn what_cannot_be_changed_is_refused_with_kafkas_sentence() {
    let client = client();
    let (request, config) = (ErrorCode::InvalidRequest.code(), ErrorCode::InvalidConfig.code());
    let twice = [("retention.ms", SET, Some("1")), ("retention.ms", DELETE, None)];
    let nulls = [("retention.ms", SET, None), ("segment.ms", APPEND, None)];
    let one = [("log.retention.ms", SET, Some("1"))];
    for (kind, name, changes, code, sentence) in [
        (TOPIC, "t", &twice[..], request, "Error due to duplicate config keys"),
        (TOPIC, "t", &nulls[..], request, "Null value not supported for : retention.ms, segment.ms"),
        // Kafka is at a loss here and says nothing.
        (TOPIC, "t", &[("retention.ms", 4, Some("1"))], request, "Unknown operations type 4"),
        (BROKER, "1", &[("log.retention.ms", 9, Some("1"))], request, "Unknown operations type 9"),
        (TOPIC, "", &[("retention.ms", SET, Some("1"))], request, "Default topic resources are not allowed."),
        (
            TOPIC,
            "t",
            &[("retention.mss", SET, Some("1"))],
            config,
            "Unknown topic config name: retention.mss",
        ),
        (BROKER, "2", &one, request, "Unexpected broker id, expected 1, but received 2"),
        (BROKER, "one", &one, request, "Node id must be an integer, but it is: one"),
        (
            BROKER,
            "1",
            &[("num.partitions", SET, Some("1"))],
            request,
            "Cannot update these configs dynamically: [num.partitions]",
        ),
        (GROUP, "", &[], request, "Default group resources are not allowed."),
        (99, "x", &[], request, "Unknown resource type 99"),
        // Kafka changes log levels so.
        (8, "1", &[("root", SET, Some("DEBUG"))], request, "Unknown resource type 8"),
        // A secret would stand in the metadata log, for nothing.
        (
            BROKER,
            "1",
            &[("sasl.jaas.config", SET, Some("x"))],
            request,
            "sasl.jaas.config is not implemented by this broker: SASL is not there yet and listeners are PLAINTEXT",
        ),
    ] {
        let told = alter(&client, kind, name, changes);
        assert_eq!(told, (code, sentence.to_owned()), "{kind} {name:?} {changes:?}");
    }
    let bad_name = alter(&client, TOPIC, "a b", &[]);
    assert_eq!(bad_name.0, ErrorCode::InvalidTopicException.code());
    let same = || resource(TOPIC, "t", &[]);
    let (code, message) = ask(&client, vec![same(), same()], false).remove(1);
    assert_eq!((code, message.as_str()), (request, "Each resource must appear at most once."));
}

/// The older API: the same in every version.
fn replace(
    client: &Client,
    kind: i8,
    name: &str,
    configs: &[(&str, Option<&str>)],
    validate_only: bool,
) -> (i16, String) {
    let config = |(name, value): &(&str, Option<&str>)| {
        message!(alter_configs_request::AlterableConfig {
            name: (*name).into(),
            value: value.map(Text::from)
        })
    };
    let resource = message!(alter_configs_request::AlterConfigsResource {
        resource_type: kind,
        resource_name: name.into(),
        configs: configs.iter().map(config).collect(),
    });
    let request = message!(AlterConfigsRequest { resources: vec![resource], validate_only: validate_only });
    let mut answers = [0, 1, 2].map(|version| {
        let mut response: AlterConfigsResponse = client.ask(version, &request);
        let one = response.responses.remove(0);
        (one.error_code, one.error_message.unwrap_or_default().to_string())
    });
    assert!(answers[0] == answers[1] && answers[1] == answers[2]);
    std::mem::take(&mut answers[0])
}

#[test]
fn the_older_api_replaces_everything() {
    let client = client();
    assert_eq!(replace(&client, TOPIC, "t", &[("retention.ms", Some("7000"))], false).0, 0);
    assert_eq!(replace(&client, TOPIC, "t", &[("segment.ms", Some("8000"))], true).0, 0);
    assert_eq!(value(&client, "t", "retention.ms"), ("7000".into(), true), "only a trial");
    assert_eq!(replace(&client, TOPIC, "t", &[("segment.ms", Some("8000"))], false).0, 0);
    assert_eq!(value(&client, "t", "segment.ms"), ("8000".into(), true));
    assert!(!value(&client, "t", "retention.ms").1, "what is not named goes back");
    let null = replace(&client, TOPIC, "t", &[("segment.ms", None)], false);
    assert_eq!(null.1, "Null value not supported for : segment.ms");
    let unknown = replace(&client, TOPIC, "nobody", &[("segment.ms", Some("1"))], false);
    assert_eq!(
        unknown,
        (ErrorCode::UnknownTopicOrPartition.code(), "The topic 'nobody' does not exist.".into())
    );
    assert_eq!(replace(&client, TOPIC, "t", &[], false).0, 0);
    assert!(!value(&client, "t", "segment.ms").1);
}

/// What is told of one setting: its value, its source, and the sources of its synonyms.
fn told(client: &Client, kind: i8, resource: &str, name: &str) -> Option<(String, i8, Vec<i8>)> {
    let resource = message!(describe_configs_request::DescribeConfigsResource {
        resource_type: kind,
        resource_name: resource.into(),
        configuration_keys: Some(vec![name.into()]),
    });
    let request = message!(DescribeConfigsRequest { resources: vec![resource], include_synonyms: true });
    let response: DescribeConfigsResponse = client.ask(4, &request);
    let found = response.results[0].configs.first()?;
    let sources = found.synonyms.iter().map(|one| one.source).collect();
    Some((found.value.as_deref().unwrap_or_default().to_owned(), found.config_source, sources))
}

#[test]
fn brokers_are_altered_one_or_all_and_topics_follow() {
    let client = client();
    let set =
        |name: &str, value: &str| alter(&client, BROKER, name, &[("log.retention.ms", SET, Some(value))]).0;
    let delete = |name: &str| alter(&client, BROKER, name, &[("log.retention.ms", DELETE, None)]).0;
    let topic = || told(&client, TOPIC, "t", "retention.ms").unwrap();
    assert_eq!(set("1", "77000000") + set("", "66000000"), 0);
    assert_eq!(topic(), ("77000000".into(), 2, vec![2, 3, 5]));
    assert_eq!(told(&client, BROKER, "1", "log.retention.ms"), Some(topic()));
    assert_eq!(told(&client, BROKER, "", "log.retention.ms"), Some(("66000000".into(), 3, vec![3])));
    assert_eq!(alter(&client, TOPIC, "t", &[("retention.ms", SET, Some("55"))]).0, 0);
    assert_eq!(topic(), ("55".into(), 1, vec![1, 2, 3, 5]));
    assert_eq!(alter(&client, TOPIC, "t", &[("retention.ms", DELETE, None)]).0 + delete("1"), 0);
    assert_eq!(topic(), ("66000000".into(), 3, vec![3, 5]));
    assert_eq!(delete(""), 0);
    assert_eq!(topic(), ("604800000".into(), 5, vec![]));
    assert_eq!(told(&client, BROKER, "", "log.retention.ms"), None);
    // What nobody knows is kept, and not told.
    assert_eq!(alter(&client, BROKER, "1", &[("plug.in", SET, Some("x"))]).0, 0);
    assert_eq!(told(&client, BROKER, "1", "plug.in"), Some((String::new(), 2, vec![2])));
    assert_eq!(replace(&client, BROKER, "1", &[("num.io.threads", Some("9"))], false).0, 0);
    assert_eq!(told(&client, BROKER, "1", "plug.in"), None);
    assert_eq!(told(&client, BROKER, "1", "num.io.threads"), Some(("9".into(), 2, vec![2, 5])));
}

#[test]
fn groups_have_settings_before_they_exist() {
    let client = client();
    let name = "consumer.session.timeout.ms";
    assert_eq!(alter(&client, GROUP, "g", &[(name, SET, Some("50000"))]).0, 0);
    assert_eq!(told(&client, GROUP, "g", name), Some(("50000".into(), 8, vec![8, 5])));
    assert_eq!(told(&client, GROUP, "h", name), Some(("45000".into(), 5, vec![5])));
    let short = alter(&client, GROUP, "g", &[(name, SET, Some("5"))]);
    assert!(short.1.ends_with("or equal to group.consumer.min.session.timeout.ms"), "{}", short.1);
    assert_eq!(replace(&client, GROUP, "g", &[], false).0, 0);
    assert_eq!(told(&client, GROUP, "g", name), Some(("45000".into(), 5, vec![5])));
}

#[test]
fn what_is_altered_has_a_limit() {
    let client = client();
    let value = "x".repeat(30_000);
    let fill = |key: usize| alter(&client, BROKER, "1", &[(&format!("plug.in.{key}"), SET, Some(&value))]).0;
    let refused = (0..40).find(|key| fill(*key) != 0);
    let most = model::limits::SETTINGS_ALTERED_BYTES_MAX / 30_000;
    assert_eq!(refused, Some(most));
    assert_eq!(fill(most), ErrorCode::PolicyViolation.code());
    assert_eq!(fill(0), 0, "what is so already takes nothing");
    assert_eq!(replace(&client, BROKER, "1", &[], false).0 + fill(most), 0);
}
