//! DescribeConfigs: the settings of topics, brokers, groups and subscriptions to clients' metrics, with their synonyms, types and documentation.

mod brokers;
mod client_metrics;
mod groups;
mod topics;

use std::collections::BTreeSet;

use coordination::metadata::broker_config::{Source, Synonym};
use coordination::metadata::{Image, Refusal};
use coordination::settings::{Kind, Setting};
use model::limits::SETTINGS_DESCRIBED_MAX;
use model::{BrokerId, ErrorCode};
use net::service::Reply;
use protocol::control::messages::DescribeConfigsRequest;
use protocol::control::messages::describe_configs_request::DescribeConfigsResource;
use protocol::control::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResponse, DescribeConfigsResult, DescribeConfigsSynonym,
};
use protocol::{RequestHeader, Text, message};

pub use topics::topic_values;

use super::{fixed, reply, told};
use crate::service::Broker;

/// Kafka's number of "topic" among resources.
pub const TOPIC: i8 = 2;
/// Kafka's number of "broker" among resources.
pub const BROKER: i8 = 4;
/// Kafka's number of "broker logger" among resources.
pub const BROKER_LOGGER: i8 = 8;
/// Kafka's number of "client metrics" among resources.
pub const CLIENT_METRICS: i8 = 16;
/// Kafka's number of "group" among resources.
pub const GROUP: i8 = 32;

/// Kafka's number of a source of a value.
const fn number(source: Source) -> i8 {
    match source {
        Source::Topic => 1,
        Source::Broker => 2,
        Source::Brokers => 3,
        Source::Started => 4,
        Source::Default => 5,
        Source::ClientMetrics => 7,
        Source::Group => 8,
    }
}

/// Kafka's number of a type of a value.
const fn type_number(kind: Kind) -> i8 {
    match kind {
        Kind::Boolean => 1,
        Kind::Text | Kind::SomeText | Kind::Choice(_) | Kind::ChoiceAnyCase(_) | Kind::OffsetReset => 2,
        Kind::Int(..) | Kind::IntOrMinusOne(..) => 3,
        Kind::Short(_) => 4,
        Kind::Long(_) => 5,
        Kind::Double(..) => 6,
        Kind::List(_) | Kind::Replicas => 7,
        Kind::Class => 8,
        Kind::Password => 9,
    }
}

/// What a client wants to know of one resource.
struct Asked<'a> {
    request: &'a DescribeConfigsRequest,
    /// No list, or an empty one, asks for all settings.
    names: BTreeSet<&'a str>,
}

impl Asked<'_> {
    fn wants(&self, name: &str) -> bool {
        self.names.is_empty() || self.names.contains(name)
    }

    /// A setting as it is told: in force is the first of its synonyms.
    fn told(
        &self,
        setting: &Setting,
        value: Option<&str>,
        synonyms: &[Synonym<'_>],
    ) -> DescribeConfigsResourceResult {
        let secret = setting.kind == Kind::Password;
        let source = synonyms.first().map_or(Source::Default, |synonym| synonym.source);
        message!(DescribeConfigsResourceResult {
            name: fixed(setting.name),
            value: value.filter(|_| !secret).map(Text::from),
            config_source: number(source),
            is_sensitive: secret,
            synonyms: self.synonyms(synonyms, secret),
            config_type: type_number(setting.kind),
            documentation: self.request.include_documentation.then(|| fixed(setting.documentation())),
        })
    }

    fn synonyms(&self, synonyms: &[Synonym<'_>], secret: bool) -> Vec<DescribeConfigsSynonym> {
        if !self.request.include_synonyms {
            return Vec::new();
        }
        let told = |synonym: &Synonym<'_>| {
            message!(DescribeConfigsSynonym {
                name: Text::from(synonym.name),
                value: Some(synonym.value).filter(|_| !secret).map(Text::from),
                source: number(synonym.source),
            })
        };
        synonyms.iter().map(told).collect()
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
    let names = resource.configuration_keys.iter().flatten().map(|name| &**name).collect();
    let asked = Asked { request, names };
    let name = &*resource.resource_name;
    match resource.resource_type {
        TOPIC => topics::described(image, name, &asked),
        BROKER if name.is_empty() => Ok(brokers::described_default(image, &asked)),
        BROKER => {
            check_broker(name, broker.settings.node)?;
            Ok(brokers::described(&broker.settings, image, &asked))
        }
        GROUP if name.is_empty() => Err(invalid("Group name must not be empty".into())),
        GROUP => Ok(groups::described(image, name, &asked)),
        CLIENT_METRICS if name.is_empty() => {
            Err(invalid("Client metrics subscription name must not be empty".into()))
        }
        CLIENT_METRICS => Ok(client_metrics::described(image, name, &asked)),
        other => Err(invalid(format!("resource type {other} is not implemented by this broker"))),
    }
}

/// Whether a resource's name means this broker.
fn check_broker(name: &str, node: BrokerId) -> Result<(), Refusal> {
    let text = match name.parse::<i32>() {
        Ok(id) if id == node.0 => return Ok(()),
        Ok(_) => format!("Unexpected broker id, expected {} or empty string, but received {name}", node.0),
        Err(_) => format!("Broker id must be an integer, but it is: {name}"),
    };
    Err(Refusal::new(ErrorCode::InvalidRequest, text))
}

/// Text of ours, without a copy.
#[cfg(test)]
mod tests;
