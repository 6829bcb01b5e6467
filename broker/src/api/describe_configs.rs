//! DescribeConfigs: the settings of topics, and what this broker was started with.

mod broker_keys;

use bytes::Bytes;
use coordination::metadata::config_table::{Kind, Setting, TOPIC_SETTINGS};
use coordination::metadata::configs::{Source, effective};
use coordination::metadata::topics::check_name;
use coordination::metadata::{Image, Refusal, Topic};
use model::limits::SETTINGS_DESCRIBED_MAX;
use model::{BrokerId, ErrorCode};
use net::service::Reply;
use protocol::control::messages::DescribeConfigsRequest;
use protocol::control::messages::describe_configs_request::DescribeConfigsResource;
use protocol::control::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResponse, DescribeConfigsResult, DescribeConfigsSynonym,
};
use protocol::{RequestHeader, Text, message};

use super::{reply, told};
use crate::service::Broker;

/// Kafka's number of "topic" among resources.
pub const TOPIC: i8 = 2;
/// Kafka's number of "broker" among resources.
pub const BROKER: i8 = 4;

/// Kafka's numbers of sources of a value.
const DYNAMIC_TOPIC: i8 = 1;
const STATIC_BROKER: i8 = 4;
const DEFAULT: i8 = 5;

/// One setting of a topic as it is in force.
pub struct TopicValue<'a> {
    /// The setting's name.
    pub name: &'static str,
    /// Its value.
    pub value: &'a str,
    /// Who set it, as Kafka numbers sources.
    pub source: i8,
    setting: &'static Setting,
}

/// Every setting of `topic`, by name.
pub fn topic_values<'a>(image: &'a Image, topic: &'a Topic) -> impl Iterator<Item = TopicValue<'a>> {
    let shown = |setting: &&Setting| !setting.internal || topic.overrides.contains_key(setting.name);
    TOPIC_SETTINGS.iter().filter(shown).map(|setting| {
        let (value, source) = effective(image.defaults(), &topic.overrides, setting);
        TopicValue { name: setting.name, value, source: number(source), setting }
    })
}

const fn number(source: Source) -> i8 {
    match source {
        Source::Topic => DYNAMIC_TOPIC,
        Source::Broker => STATIC_BROKER,
        Source::Default => DEFAULT,
    }
}

/// Kafka's numbers of types of a value.
const BOOLEAN: i8 = 1;
const STRING: i8 = 2;
const INT: i8 = 3;
const LONG: i8 = 5;
const DOUBLE: i8 = 6;
const LIST: i8 = 7;

const fn type_number(kind: Kind) -> i8 {
    match kind {
        Kind::Boolean => BOOLEAN,
        Kind::Choice(_) => STRING,
        Kind::Int(..) => INT,
        Kind::Long(_) => LONG,
        Kind::Double(..) => DOUBLE,
        Kind::List(_) => LIST,
    }
}

/// What a client wants to know of one resource.
struct Asked<'a> {
    request: &'a DescribeConfigsRequest,
    /// No list, or an empty one, asks for all settings.
    names: &'a [Text],
}

impl Asked<'_> {
    fn wants(&self, name: &str) -> bool {
        self.names.is_empty() || self.names.iter().any(|wanted| **wanted == *name)
    }

    fn synonyms(
        &self,
        synonyms: impl IntoIterator<Item = DescribeConfigsSynonym>,
    ) -> Vec<DescribeConfigsSynonym> {
        if self.request.include_synonyms { synonyms.into_iter().collect() } else { Vec::new() }
    }

    fn documentation(&self, about: &'static str) -> Option<Text> {
        self.request.include_documentation.then(|| fixed(about))
    }
}

/// Answers a DescribeConfigs request.
pub fn handle(broker: &Broker, header: &RequestHeader, request: &DescribeConfigsRequest) -> Reply {
    let image = broker.cluster.image();
    let mut room = SETTINGS_DESCRIBED_MAX;
    let results = request.resources.iter().map(|resource| {
        let mut result = message!(DescribeConfigsResult {
            resource_type: resource.resource_type,
            resource_name: resource.resource_name.clone(),
        });
        match describe(broker, &image, request, resource, room) {
            Ok(configs) => {
                room -= entries(&configs).min(room);
                result.configs = configs;
            }
            Err(refusal) => (result.error_code, result.error_message) = told(&refusal),
        }
        result
    });
    reply(header, &message!(DescribeConfigsResponse { results: results.collect() }))
}

fn entries(configs: &[DescribeConfigsResourceResult]) -> usize {
    configs.iter().map(|config| 1 + config.synonyms.len()).sum()
}

fn describe(
    broker: &Broker,
    image: &Image,
    request: &DescribeConfigsRequest,
    resource: &DescribeConfigsResource,
    room: usize,
) -> Result<Vec<DescribeConfigsResourceResult>, Refusal> {
    let invalid = |text: String| Refusal::new(ErrorCode::InvalidRequest, text);
    if room == 0 {
        let text =
            format!("there are over {SETTINGS_DESCRIBED_MAX} settings to tell: ask for fewer at a time");
        return Err(Refusal::new(ErrorCode::PolicyViolation, text));
    }
    let asked = Asked { request, names: resource.configuration_keys.as_deref().unwrap_or_default() };
    let name = &*resource.resource_name;
    match resource.resource_type {
        TOPIC => topic(image, name, &asked),
        // Defaults of all brokers that can be changed while they run: there are none.
        BROKER if name.is_empty() => Ok(Vec::new()),
        BROKER => {
            check_broker(name, broker.settings.node)?;
            Ok(broker_keys::described(&broker.settings, image, &asked))
        }
        other => Err(invalid(format!("resource type {other} is not implemented by this broker"))),
    }
}

/// Whether a resource's name means this broker.
///
/// # Errors
/// `INVALID_REQUEST`.
pub fn check_broker(name: &str, node: BrokerId) -> Result<(), Refusal> {
    let text = match name.parse::<i32>() {
        Ok(id) if id == node.0 => return Ok(()),
        Ok(_) => format!("Unexpected broker id, expected {} or empty string, but received {name}", node.0),
        Err(_) => format!("Broker id must be an integer, but it is: {name}"),
    };
    Err(Refusal::new(ErrorCode::InvalidRequest, text))
}

fn topic(
    image: &Image,
    name: &str,
    asked: &Asked<'_>,
) -> Result<Vec<DescribeConfigsResourceResult>, Refusal> {
    check_name(name)?;
    let unknown =
        || Refusal::new(ErrorCode::UnknownTopicOrPartition, "This server does not host this topic.");
    let topic = image.topic(name).ok_or_else(unknown)?;
    let values = topic_values(image, topic).filter(|value| asked.wants(value.name));
    Ok(values
        .map(|value| {
            message!(DescribeConfigsResourceResult {
                name: fixed(value.name),
                value: Some(Text::from(value.value)),
                config_source: value.source,
                synonyms: asked.synonyms(synonyms(image, topic, value.setting)),
                config_type: type_number(value.setting.kind),
                documentation: asked.documentation(value.setting.about),
            })
        })
        .collect())
}

/// Everywhere the value is set, the one in force first. A setting that the broker has no name for is a default only
/// where nobody set it; as in Kafka that is no synonym.
fn synonyms(
    image: &Image,
    topic: &Topic,
    setting: &'static Setting,
) -> impl Iterator<Item = DescribeConfigsSynonym> {
    let on_topic = topic.overrides.get(setting.name).map(|value| synonym(setting.name, value, Source::Topic));
    let on_broker = setting.broker_name.and_then(|name| match image.defaults().value(setting) {
        (value, Source::Broker) => Some(synonym(name, value, Source::Broker)),
        _ => None,
    });
    let default = setting.broker_name.map(|name| synonym(name, setting.default, Source::Default));
    [on_topic, on_broker, default].into_iter().flatten()
}

fn synonym(name: &str, value: &str, source: Source) -> DescribeConfigsSynonym {
    message!(DescribeConfigsSynonym {
        name: Text::from(name),
        value: Some(Text::from(value)),
        source: number(source),
    })
}

/// Text of ours, without a copy.
fn fixed(text: &'static str) -> Text {
    Text::try_from(Bytes::from_static(text.as_bytes())).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::harness::Client;
    use protocol::control::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
    use protocol::control::messages::{CreateTopicsRequest, CreateTopicsResponse};

    fn client() -> Client {
        let client = Client::with(|settings| {
            settings.written = [("node.id", "1"), ("num.partitions", "3"), ("log.retention.hours", "2")]
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .to_vec();
        });
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

    fn ask(
        client: &Client,
        version: i16,
        resources: Vec<DescribeConfigsResource>,
    ) -> DescribeConfigsResponse {
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
            assert_eq!((setting.config_source, setting.read_only), (DYNAMIC_TOPIC, false));
            let documentation = setting.documentation.as_deref().unwrap_or_default();
            assert_eq!(documentation.is_empty(), version < 3);
            assert_eq!(setting.config_type, if version >= 3 { LONG } else { 0 });
            let synonyms: Vec<_> = setting.synonyms.iter().map(|one| (&*one.name, one.source)).collect();
            assert_eq!(synonyms, [("retention.ms", DYNAMIC_TOPIC), ("log.retention.ms", DEFAULT)]);
        }
    }

    #[test]
    fn all_settings_or_those_that_are_named() {
        let client = client();
        let count = |keys: Option<&[&str]>| {
            ask(&client, 4, vec![resource(TOPIC, "t", keys)]).results[0].configs.len()
        };
        let all = TOPIC_SETTINGS.iter().filter(|setting| !setting.internal).count();
        assert_eq!((count(None), count(Some(&[]))), (all, all));
        assert_eq!((count(Some(&["nothing"])), count(Some(&["segment.ms", "segment.ms"]))), (0, 1));
    }

    #[test]
    fn the_broker_tells_what_was_written_and_what_was_not() {
        let client = client();
        let told = ask(&client, 4, vec![resource(BROKER, "1", None)]);
        let value = |name: &str| {
            let found = told.results[0].configs.iter().find(|config| *config.name == *name).unwrap();
            assert!(found.read_only && !found.is_sensitive && found.documentation.is_some(), "{name}");
            (found.value.as_deref(), found.config_source, found.synonyms.len())
        };
        assert_eq!(value("node.id"), (Some("1"), STATIC_BROKER, 2));
        assert_eq!(value("num.partitions"), (Some("3"), STATIC_BROKER, 2));
        assert_eq!(value("log.retention.hours"), (Some("2"), STATIC_BROKER, 1));
        assert_eq!(value("log.segment.bytes"), (Some("1073741824"), DEFAULT, 1));
        assert_eq!(value("broker.rack"), (None, DEFAULT, 0));
        assert_eq!(value("advertised.listeners").0, Some("PLAINTEXT://localhost:9092"));
        assert!(told.results[0].configs.is_sorted_by(|a, b| a.name.as_str() < b.name.as_str()));
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
        for (kind, name) in [(BROKER, "2"), (BROKER, "one"), (8, "1"), (16, "m"), (32, "g"), (99, "x")] {
            assert_eq!(refused(kind, name), ErrorCode::InvalidRequest.code(), "{kind} {name}");
        }
        assert_eq!(refused(BROKER, ""), 0);
    }

    #[test]
    fn an_answer_has_a_limit() {
        let client = client();
        let told = ask(&client, 4, vec![resource(TOPIC, "t", None); 2000]);
        let described = told.results.iter().take_while(|result| result.error_code == 0).count();
        let most = SETTINGS_DESCRIBED_MAX / TOPIC_SETTINGS.len();
        assert!((most / 3..=most + 1).contains(&described), "{described}");
        assert_eq!(told.results.last().unwrap().error_code, ErrorCode::PolicyViolation.code());
    }
}
