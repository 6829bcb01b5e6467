//! CreateTopics: answered when the topics are durable and known to every core.

use coordination::metadata::{Command, NewTopic, Refusal, Topic};
use model::{BrokerId, ErrorCode};
use net::service::Reply;
use protocol::control::messages::CreateTopicsRequest;
use protocol::control::messages::create_topics_request::{CreatableReplicaAssignment, CreatableTopic};
use protocol::control::messages::create_topics_response::{
    CreatableTopicConfigs, CreatableTopicResult, CreateTopicsResponse,
};
use protocol::{RequestHeader, Text, Uuid, message};

use super::describe_configs::topic_values;
use super::{distinct, in_time, propose_judged, reply, told, uuid};
use crate::service::Broker;

/// First version that explains errors in words.
const MESSAGE_SINCE: i16 = 1;

/// Answers a CreateTopics request.
pub async fn handle(broker: &Broker, header: &RequestHeader, request: CreateTopicsRequest) -> Reply {
    if let Err(refusal) = in_time(request.timeout_ms) {
        let topics =
            request.topics.into_iter().map(|topic| refused(topic.name, &refusal, header.api_version));
        return reply(header, &message!(CreateTopicsResponse { topics: topics.collect() }));
    }
    let mut wanted = Vec::new();
    let judged = distinct(request.topics, |topic| topic.name.clone()).into_iter().map(|(name, topic)| {
        let judged = match topic {
            Some(topic) => {
                wanted.push(new_topic(&topic));
                Ok(())
            }
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

fn new_topic(topic: &CreatableTopic) -> NewTopic {
    let mut new = NewTopic {
        partitions: topic.num_partitions,
        replication_factor: topic.replication_factor,
        ..NewTopic::new(&*topic.name)
    };
    for config in &topic.configs {
        match &config.value {
            Some(value) => drop(new.configs.insert(config.name.to_string(), value.to_string())),
            None => new.unset.push(config.name.to_string()),
        }
    }
    if !topic.assignments.is_empty() {
        let brokers = |one: &CreatableReplicaAssignment| {
            (one.partition_index, one.broker_ids.iter().copied().map(BrokerId).collect())
        };
        new.assignment = Some(topic.assignments.iter().map(brokers).collect());
    }
    new
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
