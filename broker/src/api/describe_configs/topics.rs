//! The settings of a topic.

use coordination::metadata::broker_config::{Source, Synonym};
use coordination::metadata::configs::effective;
use coordination::metadata::topics::check_name;
use coordination::metadata::{Image, Refusal, Topic};
use coordination::settings::{Setting, topic};
use model::ErrorCode;
use protocol::control::messages::describe_configs_response::DescribeConfigsResourceResult;

use super::{Asked, number};

/// One setting of a topic as it is in force.
pub struct TopicValue<'a> {
    /// The setting's name.
    pub name: &'static str,
    /// Its value.
    pub value: &'a str,
    /// Who set it, as Kafka numbers sources.
    pub source: i8,
}

/// Every setting of `topic`, by name.
pub fn topic_values<'a>(image: &'a Image, topic: &'a Topic) -> impl Iterator<Item = TopicValue<'a>> {
    listed(topic).map(|setting| {
        let source = synonyms(image, topic, setting).first().map_or(Source::Default, |first| first.source);
        let value = effective(image.defaults(), &topic.overrides, setting);
        TopicValue { name: setting.name, value, source: number(source) }
    })
}

pub(super) fn described(
    image: &Image,
    name: &str,
    asked: &Asked<'_>,
) -> Result<Vec<DescribeConfigsResourceResult>, Refusal> {
    check_name(name)?;
    let unknown =
        || Refusal::new(ErrorCode::UnknownTopicOrPartition, "This server does not host this topic.");
    let topic = image.topic(name).ok_or_else(unknown)?;
    let told = |setting: &'static Setting| {
        let value = effective(image.defaults(), &topic.overrides, setting);
        asked.told(setting, Some(value), &synonyms(image, topic, setting))
    };
    Ok(listed(topic).filter(|setting| asked.wants(setting.name)).map(told).collect())
}

fn listed(topic: &Topic) -> impl Iterator<Item = &'static Setting> {
    topic::ROWS.iter().filter(|setting| !setting.hidden || topic.overrides.contains_key(setting.name))
}

/// Everywhere the value is set, the one in force first. A setting that the broker has no name for is a default only
/// where nobody set it; as in Kafka that is no synonym.
fn synonyms<'a>(image: &'a Image, topic: &'a Topic, setting: &'static Setting) -> Vec<Synonym<'a>> {
    let on_topic = topic.overrides.get(setting.name).map(|value| Synonym {
        name: setting.name,
        value,
        source: Source::Topic,
    });
    let on_broker = setting.broker.first().map(|name| image.broker().synonyms(name));
    on_topic.into_iter().chain(on_broker.into_iter().flatten()).collect()
}
