//! DescribeConfigs: the settings of topics, and what this broker was started with.

use coordination::metadata::config_table::{Kind, Setting, TOPIC_SETTINGS};
use coordination::metadata::configs::{Source, effective};
use coordination::metadata::topics::check_name;
use coordination::metadata::{Image, Refusal, Topic};
use model::ErrorCode;
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

/// Kafka's number of a value's type.
const fn type_number(kind: Kind) -> i8 {
    match kind {
        Kind::Boolean => 1,
        Kind::Choice(_) => 2,
        Kind::Int(..) => 3,
        Kind::Long(_) => 5,
        Kind::Double(..) => 6,
        Kind::List(_) => 7,
    }
}

/// Answers a DescribeConfigs request.
pub fn handle(broker: &Broker, header: &RequestHeader, request: &DescribeConfigsRequest) -> Reply {
    let image = broker.cluster.image();
    let results = request.resources.iter().map(|resource| {
        let described = match resource.resource_type {
            TOPIC => topic(&image, request, resource),
            BROKER => this_broker(broker, resource),
            _ => Err(Refusal::new(
                ErrorCode::InvalidRequest,
                format!("resource type {} is not implemented by this broker", resource.resource_type),
            )),
        };
        let mut result = message!(DescribeConfigsResult {
            resource_type: resource.resource_type,
            resource_name: resource.resource_name.clone(),
        });
        match described {
            Ok(configs) => result.configs = configs,
            Err(refusal) => (result.error_code, result.error_message) = told(&refusal),
        }
        result
    });
    reply(header, &message!(DescribeConfigsResponse { results: results.collect() }))
}

/// Whether the client asked for a setting of this name; no list, or an empty one, asks for all.
fn asked_for(resource: &DescribeConfigsResource, name: &str) -> bool {
    let keys = resource.configuration_keys.as_deref().unwrap_or_default();
    keys.is_empty() || keys.iter().any(|key| **key == *name)
}

fn topic(
    image: &Image,
    request: &DescribeConfigsRequest,
    resource: &DescribeConfigsResource,
) -> Result<Vec<DescribeConfigsResourceResult>, Refusal> {
    check_name(&resource.resource_name)?;
    let unknown =
        || Refusal::new(ErrorCode::UnknownTopicOrPartition, "This server does not host this topic.");
    let topic = image.topic(&resource.resource_name).ok_or_else(unknown)?;
    let values = topic_values(image, topic).filter(|value| asked_for(resource, value.name));
    Ok(values
        .map(|value| {
            let documentation = request.include_documentation.then(|| Text::from(value.setting.about));
            message!(DescribeConfigsResourceResult {
                name: Text::from(value.name),
                value: Some(Text::from(value.value)),
                config_source: value.source,
                synonyms: if request.include_synonyms {
                    synonyms(image, topic, value.setting)
                } else {
                    Vec::new()
                },
                config_type: type_number(value.setting.kind),
                documentation: documentation,
            })
        })
        .collect())
}

/// Everywhere the value is set, the one in force first.
fn synonyms(image: &Image, topic: &Topic, setting: &'static Setting) -> Vec<DescribeConfigsSynonym> {
    let synonym = |name: &str, value: &str, source: Source| {
        message!(DescribeConfigsSynonym {
            name: Text::from(name),
            value: Some(Text::from(value)),
            source: number(source),
        })
    };
    let mut found = Vec::new();
    if let Some(value) = topic.overrides.get(setting.name) {
        found.push(synonym(setting.name, value, Source::Topic));
    }
    let on_broker = setting.broker_name.unwrap_or(setting.name);
    if let (value, Source::Broker) = image.defaults().value(setting) {
        found.push(synonym(on_broker, value, Source::Broker));
    }
    found.push(synonym(on_broker, setting.default, Source::Default));
    found
}

/// What this broker was started with. An empty name means defaults that can be changed while running: there are none.
fn this_broker(
    broker: &Broker,
    resource: &DescribeConfigsResource,
) -> Result<Vec<DescribeConfigsResourceResult>, Refusal> {
    let name = &*resource.resource_name;
    if name.is_empty() {
        return Ok(Vec::new());
    }
    let node = broker.settings.node.0;
    if name.parse() != Ok(node) {
        let text = format!("Unexpected broker id, expected {node} or empty string, but received {name}");
        return Err(Refusal::new(ErrorCode::InvalidRequest, text));
    }
    let written = broker.settings.written.iter().filter(|(key, _)| asked_for(resource, key));
    Ok(written
        .map(|(key, value)| {
            let secret = key.contains("password") || key.contains("jaas");
            message!(DescribeConfigsResourceResult {
                name: Text::from(key.as_str()),
                value: (!secret).then(|| Text::from(value.as_str())),
                read_only: true,
                config_source: STATIC_BROKER,
                is_sensitive: secret,
                config_type: 2,
            })
        })
        .collect())
}
