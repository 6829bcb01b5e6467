//! Metadata: the brokers, and topics with their partitions. Topics asked for by name are created when that is allowed.

use std::collections::HashSet;
use std::sync::Arc;

use coordination::metadata::{
    Command, Image, NewTopic, Topic,
    topics::{OFFSETS_TOPIC, SHARE_STATE_TOPIC, check_name, is_internal},
};
use model::{ErrorCode, TopicId};
use net::service::Reply;
use protocol::control::messages::MetadataRequest;
use protocol::control::messages::metadata_request::MetadataRequestTopic;
use protocol::control::messages::metadata_response::{
    MetadataResponse, MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use protocol::{RequestHeader, Text, Uuid, message};

use super::coordinator::{ensure_share_topic, ensure_topic};
use super::{CLUSTER_OPERATIONS, OPERATIONS_NOT_ASKED, TOPIC_OPERATIONS, reply, uuid};
use crate::cluster::propose_topics;
use crate::service::Broker;

/// First version in which a client can forbid that topics are created.
const CREATION_OPTIONAL_SINCE: i16 = 4;
/// First version that distinguishes "all topics" (null) from "none" (empty).
const NONE_SINCE: i16 = 1;
/// First version in which topics may be asked for by id; 10 and 11 have the field, but brokers never honoured it.
const BY_ID_SINCE: i16 = 12;
/// Versions that list permitted operations on the cluster.
const CLUSTER_OPERATIONS_IN: std::ops::RangeInclusive<i16> = 8..=10;

/// Answers a Metadata request.
pub async fn handle(broker: &Broker, header: &RequestHeader, request: MetadataRequest) -> Reply {
    let version = header.api_version;
    let operations = request.include_topic_authorized_operations;
    let wanted = request.topics.filter(|topics| !(topics.is_empty() && version < NONE_SINCE));
    let topics = match wanted {
        None => {
            broker.cluster.image().topics_sorted().into_iter().map(|topic| described(broker, topic)).collect()
        }
        Some(wanted) => {
            let create = version < CREATION_OPTIONAL_SINCE || request.allow_auto_topic_creation;
            if create && broker.settings.auto_create_topics {
                create_missing(broker, &wanted).await;
            }
            let image = broker.cluster.image();
            // Each topic once, as in Kafka: its partitions are many times its name.
            let mut told = HashSet::with_capacity(wanted.len());
            let news = wanted.iter().filter(|topic| told.insert((topic.topic_id, topic.name.as_ref())));
            news.map(|topic| found(broker, &image, version, topic)).collect()
        }
    };
    let topics = topics_with(topics, operations);
    let settings = &broker.settings;
    let this = message!(MetadataResponseBroker {
        node_id: settings.node.0,
        host: Text::from(settings.host.as_str()),
        port: i32::from(settings.port),
        rack: settings.rack.as_deref().map(Text::from),
    });
    let cluster_asked =
        request.include_cluster_authorized_operations && CLUSTER_OPERATIONS_IN.contains(&version);
    let response = message!(MetadataResponse {
        brokers: vec![this],
        cluster_id: Some(Text::from(settings.cluster_id.as_str())),
        controller_id: settings.node.0,
        topics: topics,
        cluster_authorized_operations: if cluster_asked { CLUSTER_OPERATIONS } else { OPERATIONS_NOT_ASKED },
    });
    reply(header, &response)
}

fn topics_with(mut topics: Vec<MetadataResponseTopic>, operations: bool) -> Vec<MetadataResponseTopic> {
    // As in Kafka of topics that are not there too, but for an id, which names nothing to be permitted on.
    let nameless = ErrorCode::UnknownTopicId.code();
    for topic in topics.iter_mut().filter(|topic| operations && topic.error_code != nameless) {
        topic.topic_authorized_operations = TOPIC_OPERATIONS;
    }
    topics
}

/// Creates what was asked for by a valid name and is not there. What fails shows in the answer as still missing.
async fn create_missing(broker: &Broker, wanted: &[MetadataRequestTopic]) {
    let image = broker.cluster.image();
    let names =
        wanted.iter().filter(|topic| topic.topic_id == Uuid::ZERO).filter_map(|topic| topic.name.as_deref());
    let mut missing: Vec<&str> =
        names.filter(|name| image.topic(name).is_none() && check_name(name).is_ok()).collect();
    missing.sort_unstable();
    missing.dedup();
    // These are not made with the defaults of others.
    if missing.contains(&OFFSETS_TOPIC) {
        ensure_topic(broker).await;
    }
    if missing.contains(&SHARE_STATE_TOPIC) {
        ensure_share_topic(broker).await;
    }
    missing.retain(|name| ![OFFSETS_TOPIC, SHARE_STATE_TOPIC].contains(name));
    if missing.is_empty() {
        return;
    }
    let new = |name: &&str| NewTopic::new(*name);
    let count = missing.len();
    let command = Command::CreateTopics { topics: missing.iter().map(new).collect(), validate_only: false };
    for refusal in propose_topics(&*broker.cluster, command, count).await.into_iter().filter_map(Result::err)
    {
        if refusal.code != ErrorCode::TopicAlreadyExists {
            tracing::info!(
                code = refusal.code.name(),
                why = refusal.message,
                "a topic was not created on request"
            );
        }
    }
}

fn found(
    broker: &Broker,
    image: &Image,
    version: i16,
    wanted: &MetadataRequestTopic,
) -> MetadataResponseTopic {
    let topic = match &wanted.name {
        _ if wanted.topic_id != Uuid::ZERO && version < BY_ID_SINCE => Err(ErrorCode::InvalidRequest),
        _ if wanted.topic_id != Uuid::ZERO => {
            image.topic_by_id(TopicId(wanted.topic_id.to_bytes())).ok_or(ErrorCode::UnknownTopicId)
        }
        None => Err(ErrorCode::InvalidRequest),
        Some(name) if check_name(name).is_err() => Err(ErrorCode::InvalidTopicException),
        Some(name) => image.topic(name).ok_or(ErrorCode::UnknownTopicOrPartition),
    };
    match topic {
        Ok(topic) => described(broker, topic),
        Err(code) => message!(MetadataResponseTopic {
            error_code: code.code(),
            // Before version 12 a name cannot be left out.
            name: wanted.name.clone().or_else(|| (version < BY_ID_SINCE).then(Text::default)),
            topic_id: wanted.topic_id,
        }),
    }
}

fn described(broker: &Broker, topic: &Arc<Topic>) -> MetadataResponseTopic {
    let (node, epoch) = (broker.settings.node.0, broker.cluster.image().leader_epoch().0);
    let partition = |index: u32| {
        message!(MetadataResponsePartition {
            partition_index: i32::try_from(index).unwrap_or(i32::MAX),
            leader_id: node,
            leader_epoch: epoch,
            replica_nodes: vec![node],
            isr_nodes: vec![node],
        })
    };
    message!(MetadataResponseTopic {
        name: Some(Text::from(&*topic.name)),
        topic_id: uuid(topic.id),
        is_internal: is_internal(&topic.name),
        partitions: (0..topic.partitions).map(partition).collect(),
    })
}
