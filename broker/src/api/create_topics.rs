//! CreateTopics: answered when the topics are durable and known to every core.

use coordination::metadata::placement::Assignment;
use coordination::metadata::{Command, NewTopic, Overrides, Refusal, Topic};
use model::{BrokerId, ErrorCode};
use net::service::Reply;
use protocol::control::messages::CreateTopicsRequest;
use protocol::control::messages::create_topics_request::{CreatableReplicaAssignment, CreatableTopic};
use protocol::control::messages::create_topics_response::{
    CreatableTopicConfigs, CreatableTopicResult, CreateTopicsResponse,
};
use protocol::{RequestHeader, Text, Uuid, message};

use super::describe_configs::topic_values;
use super::{distinct, propose_judged, reply, told, uuid};
use crate::service::Broker;

/// First version that explains errors in words.
const MESSAGE_SINCE: i16 = 1;

/// Answers a CreateTopics request.
pub async fn handle(broker: &Broker, header: &RequestHeader, request: CreateTopicsRequest) -> Reply {
    let mut wanted = Vec::new();
    let judged = distinct(request.topics, |topic| topic.name.clone()).into_iter().map(|(name, topic)| {
        let judged = match topic {
            Some(topic) => new_topic(&topic).map(|new| wanted.push(new)),
            None => Err(Refusal::new(ErrorCode::InvalidRequest, "Duplicate topic name.")),
        };
        (name, judged)
    });
    let judged = judged.collect();
    let command = Command::CreateTopics { topics: wanted, validate_only: request.validate_only };
    let created = propose_judged(broker, judged, command).await;
    let topics = created.map(|(name, topic)| match topic {
        Ok(topic) => created_topic(broker, name, &topic),
        Err(refusal) => refused(name, &refusal, header.api_version),
    });
    reply(header, &message!(CreateTopicsResponse { topics: topics.collect() }))
}

fn new_topic(topic: &CreatableTopic) -> Result<NewTopic, Refusal> {
    let mut configs = Overrides::new();
    for config in &topic.configs {
        let Some(value) = &config.value else {
            let text = format!("Null value not supported for topic configs: {}", &*config.name);
            return Err(Refusal::new(ErrorCode::InvalidConfig, text));
        };
        configs.insert(config.name.to_string(), value.to_string());
    }
    Ok(NewTopic {
        name: topic.name.to_string(),
        partitions: topic.num_partitions,
        replication_factor: topic.replication_factor,
        assignment: assignment(topic)?,
        configs,
    })
}

fn assignment(topic: &CreatableTopic) -> Result<Option<Assignment>, Refusal> {
    let mut given: Vec<_> = topic.assignments.iter().collect();
    if given.is_empty() {
        return Ok(None);
    }
    given.sort_by_key(|one| one.partition_index);
    // Counts beside an assignment are worse than an assignment with gaps: the command refuses them.
    let counted = topic.num_partitions != -1 || topic.replication_factor != -1;
    let gaps = (0..).zip(&given).any(|(index, one)| one.partition_index != index);
    if gaps && !counted {
        let text = "partitions should be a consecutive 0-based integer sequence";
        return Err(Refusal::new(ErrorCode::InvalidReplicaAssignment, text));
    }
    let brokers = |one: &&CreatableReplicaAssignment| one.broker_ids.iter().copied().map(BrokerId).collect();
    Ok(Some(given.iter().map(brokers).collect()))
}

fn created_topic(broker: &Broker, name: Text, topic: &Topic) -> CreatableTopicResult {
    let image = broker.cluster.image();
    let configs = topic_values(&image, topic).map(|value| {
        message!(CreatableTopicConfigs {
            name: Text::from(value.name),
            value: Some(Text::from(value.value)),
            config_source: value.source,
        })
    });
    message!(CreatableTopicResult {
        name: name,
        topic_id: uuid(topic.id),
        error_message: None,
        num_partitions: i32::try_from(topic.partitions).unwrap_or(i32::MAX),
        replication_factor: 1,
        configs: Some(configs.collect()),
    })
}

fn refused(name: Text, refusal: &Refusal, version: i16) -> CreatableTopicResult {
    let (error_code, error_message) = told(refusal);
    message!(CreatableTopicResult {
        name: name,
        topic_id: Uuid::ZERO,
        error_code: error_code,
        error_message: error_message.filter(|_| version >= MESSAGE_SINCE),
        num_partitions: -1,
        replication_factor: -1,
        configs: Some(Vec::new()),
    })
}
