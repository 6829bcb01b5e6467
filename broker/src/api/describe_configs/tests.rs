//! What clients are told of settings.

use super::*;
use crate::service::harness::Client;
use coordination::settings::{broker, group, topic};
use protocol::control::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use protocol::control::messages::{CreateTopicsRequest, CreateTopicsResponse};

fn client() -> Client {
    let written = [
        ("node.id", "1"),
        ("num.partitions", "3"),
        ("log.retention.hours", "2"),
        ("log.roll.hours", "3"),
        ("log.roll.ms", "5000000"),
        ("ssl.key.password", ""),
        ("listener.name.a.max.connections", "77"),
        ("rsm.config.key", ""),
    ];
    let client = Client::started(&written, |_| {});
    let setting = message!(CreatableTopicConfig { name: "retention.ms".into(), value: Some("5".into()) });
    let topic = message!(CreatableTopic {
        name: "t".into(),
        num_partitions: 1,
        replication_factor: 1,
        configs: vec![setting],
    });
    let request = message!(CreateTopicsRequest { topics: vec![topic], timeout_ms: 1000 });
    let _: CreateTopicsResponse = client.ask(7, &request);
    client
}

fn resource(kind: i8, name: &str, keys: Option<&[&str]>) -> DescribeConfigsResource {
    let keys = keys.map(|keys| keys.iter().map(|key| Text::from(*key)).collect());
    message!(DescribeConfigsResource {
        resource_type: kind,
        resource_name: name.into(),
        configuration_keys: keys,
    })
}

fn ask(client: &Client, version: i16, resources: Vec<DescribeConfigsResource>) -> DescribeConfigsResponse {
    let request = message!(DescribeConfigsRequest {
        resources: resources,
        include_synonyms: true,
        include_documentation: version >= 3,
    });
    client.ask(version, &request)
}

#[test]
fn types_and_documentation_come_with_version_3() {
    let client = client();
    for version in 1..=4 {
        let told = ask(&client, version, vec![resource(TOPIC, "t", Some(&["retention.ms"]))]);
        let [setting] = &told.results[0].configs[..] else { panic!("one was asked for") };
        assert_eq!((&*setting.name, setting.value.as_deref()), ("retention.ms", Some("5")));
        assert_eq!((setting.config_source, setting.read_only), (1, false));
        let documentation = setting.documentation.as_deref().unwrap_or_default();
        assert_eq!(documentation.is_empty(), version < 3);
        assert_eq!(setting.config_type, if version >= 3 { 5 } else { 0 });
        let synonyms: Vec<_> = setting.synonyms.iter().map(|one| (&*one.name, one.source)).collect();
        assert_eq!(synonyms, [("retention.ms", 1)]);
    }
}

#[test]
fn all_settings_or_those_that_are_named() {
    let client = client();
    let count =
        |keys: Option<&[&str]>| ask(&client, 4, vec![resource(TOPIC, "t", keys)]).results[0].configs.len();
    let all = topic::ROWS.iter().filter(|setting| !setting.hidden).count();
    assert_eq!((count(None), count(Some(&[]))), (all, all));
    assert_eq!((count(Some(&["nothing"])), count(Some(&["segment.ms", "segment.ms"]))), (0, 1));
}

/// Names, values and sources of a setting's synonyms.
type Told = (Option<String>, i8, Vec<(String, i8)>);

fn told(client: &Client, kind: i8, resource: &str, name: &str) -> Told {
    let answer = ask(client, 4, vec![self::resource(kind, resource, Some(&[name]))]);
    let [found] = &answer.results[0].configs[..] else { panic!("{name} is not there") };
    let synonyms = found.synonyms.iter().map(|one| {
        let value = one.value.as_deref().unwrap_or("null");
        (format!("{}={value}", &*one.name), one.source)
    });
    (found.value.as_deref().map(str::to_owned), found.config_source, synonyms.collect())
}

fn synonyms(all: &[(&str, i8)]) -> Vec<(String, i8)> {
    all.iter().map(|(text, source)| ((*text).to_owned(), *source)).collect()
}

/// Each answer is that of Apache Kafka 4.3.1, started with the same.
#[test]
fn the_broker_tells_what_was_written_and_what_was_not() {
    let client = client();
    let broker = |name: &str| told(&client, BROKER, "1", name);
    let text = |text: &str| Some(text.to_owned());
    let retention = synonyms(&[("log.retention.hours=2", 4), ("log.retention.hours=168", 5)]);
    assert_eq!(broker("log.retention.hours"), (text("2"), 4, retention));
    assert_eq!(broker("log.retention.ms"), (None, 5, vec![]));
    let roll = synonyms(&[("log.roll.ms=5000000", 4), ("log.roll.hours=3", 4), ("log.roll.hours=168", 5)]);
    assert_eq!(broker("log.roll.ms"), (text("5000000"), 4, roll.clone()));
    assert_eq!(told(&client, TOPIC, "t", "segment.ms"), (text("5000000"), 4, roll));
    assert_eq!(broker("ssl.key.password"), (None, 4, synonyms(&[("ssl.key.password=null", 4)])));
    assert_eq!(broker("rsm.config.key"), (None, 4, synonyms(&[("rsm.config.key=null", 4)])));
    let of_listener =
        synonyms(&[("listener.name.a.max.connections=77", 4), ("max.connections=2147483647", 5)]);
    assert_eq!(broker("listener.name.a.max.connections"), (text("77"), 4, of_listener));
    assert_eq!(broker("node.id"), (text("1"), 4, synonyms(&[("node.id=1", 4)])));
    assert_eq!(
        broker("num.partitions"),
        (text("3"), 4, synonyms(&[("num.partitions=3", 4), ("num.partitions=1", 5)]))
    );
    assert_eq!(broker("broker.rack"), (None, 5, vec![]));
    // Not Kafka's: what is told to clients stands here whether or not it was written.
    assert_eq!(broker("advertised.listeners").0, text("PLAINTEXT://localhost:9092"));
}

#[test]
fn every_setting_is_listed_with_type_and_documentation() {
    let client = client();
    let all =
        |kind: i8, name: &str| ask(&client, 4, vec![resource(kind, name, None)]).results.remove(0).configs;
    let broker = all(BROKER, "1");
    assert!(broker.is_sorted_by(|a, b| a.name.as_str() < b.name.as_str()));
    let rows = broker::all().filter(|setting| !setting.hidden).count();
    assert_eq!(broker.len(), rows + 2, "and two that are in no table");
    for setting in broker.iter().filter(|setting| broker::named(&setting.name).is_some()) {
        assert!(setting.config_type > 0 && setting.documentation.is_some(), "{}", &*setting.name);
        assert_eq!(setting.is_sensitive, setting.config_type == 9, "{}", &*setting.name);
    }
    let read_only = |name: &str| broker.iter().find(|setting| &*setting.name == name).unwrap().read_only;
    assert!(read_only("num.partitions") && !read_only("log.retention.ms") && !read_only("listeners"));
    let of_group = all(GROUP, "nobody yet");
    assert_eq!(of_group.len(), group::ROWS.len());
    assert!(of_group.iter().all(|setting| !setting.read_only && setting.config_source == 5));
    let bound = synonyms(&[("group.consumer.session.timeout.ms=45000", 5)]);
    assert_eq!(told(&client, GROUP, "g", "consumer.session.timeout.ms").2, bound);
    let own = synonyms(&[("share.isolation.level=read_uncommitted", 5)]);
    assert_eq!(told(&client, GROUP, "g", "share.isolation.level").2, own);
}

#[test]
fn what_is_not_there_is_refused() {
    let client = client();
    let refused = |kind: i8, name: &str| {
        let told = ask(&client, 4, vec![resource(kind, name, None)]);
        let result = &told.results[0];
        let message = result.error_message.as_deref().unwrap_or_default();
        assert!(result.configs.is_empty() && (result.error_code == 0) == message.is_empty());
        result.error_code
    };
    assert_eq!(refused(TOPIC, "nobody"), ErrorCode::UnknownTopicOrPartition.code());
    assert_eq!(refused(TOPIC, "a b"), ErrorCode::InvalidTopicException.code());
    for (kind, name) in
        [(BROKER, "2"), (BROKER, "one"), (8, "1"), (CLIENT_METRICS, ""), (GROUP, ""), (99, "x")]
    {
        assert_eq!(refused(kind, name), ErrorCode::InvalidRequest.code(), "{kind} {name}");
    }
    let of_all = ask(&client, 4, vec![resource(BROKER, "", None)]).results.remove(0);
    let names: Vec<_> = of_all.configs.iter().map(|setting| &*setting.name).collect();
    assert_eq!((of_all.error_code, &names[..]), (0, &["min.insync.replicas"][..]));
}

#[test]
fn an_answer_has_a_limit() {
    let client = client();
    let told = ask(&client, 4, vec![resource(TOPIC, "t", None); 2000]);
    let described = told.results.iter().take_while(|result| result.error_code == 0).count();
    let most = SETTINGS_DESCRIBED_MAX / topic::ROWS.len();
    assert!((most / 3..=most + 1).contains(&described), "{described}");
    assert_eq!(told.results.last().unwrap().error_code, ErrorCode::PolicyViolation.code());
}
