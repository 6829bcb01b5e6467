//! The way to the coordinator of a group: which partition of `__consumer_offsets` it is, and the core that owns that.

use coordination::group::{Reply as GroupReply, Request as GroupRequest, partition_of};
use coordination::metadata::alter::{Changes, Target};
use coordination::metadata::configs::ConfigChange;
use coordination::metadata::topics::{OFFSETS_TOPIC, SHARE_STATE_TOPIC};
use coordination::metadata::{Command, Image, NewTopic, Overrides};
use futures_lite::future::BoxedLocal;
use model::{ErrorCode, TopicPartition};
use protocol::Text;
use shard::ops::{Answer, Question};
use shard::route::owner_of;

use crate::cluster::{Cluster, propose, propose_topics};
use crate::service::Broker;

/// The broker settings that an internal topic is made with. That of groups is made when the first one is looked for, that of
/// share partitions when the first member of a share group joins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InternalTopic {
    /// `offsets.topic.num.partitions`, `share.coordinator.state.topic.num.partitions`.
    pub partitions: i32,
    /// `offsets.topic.segment.bytes`, `share.coordinator.state.topic.segment.bytes`.
    pub segment_bytes: i32,
}

/// Partitions of the topic; none when there is no such topic yet.
pub fn coordinators(image: &Image) -> Vec<TopicPartition> {
    let topic = image.topic(OFFSETS_TOPIC);
    let all = |topic: &std::sync::Arc<coordination::metadata::Topic>| {
        (0..topic.partitions).map(|partition| TopicPartition { topic: topic.id, partition }).collect()
    };
    topic.map(all).unwrap_or_default()
}

/// The partition that coordinates a group.
pub fn coordinator_of(image: &Image, group: &str) -> Option<TopicPartition> {
    let topic = image.topic(OFFSETS_TOPIC)?;
    Some(TopicPartition { topic: topic.id, partition: partition_of(group, topic.partitions) })
}

/// Asks the coordinator of `group`. Ready when the request is queued there, behind all that this connection asked before.
pub async fn ask(cluster: &dyn Cluster, group: &str, request: GroupRequest) -> BoxedLocal<GroupReply> {
    match coordinator_of(&cluster.image(), group) {
        Some(partition) => ask_partition(cluster, partition, request).await,
        None => {
            let refused = GroupReply::refused(&request, ErrorCode::NotCoordinator);
            Box::pin(std::future::ready(refused))
        }
    }
}

/// Asks one coordinator.
pub async fn ask_partition(
    cluster: &dyn Cluster,
    partition: TopicPartition,
    request: GroupRequest,
) -> BoxedLocal<GroupReply> {
    let refused = GroupReply::refused(&request, ErrorCode::CoordinatorNotAvailable);
    let owner = owner_of(partition, cluster.cores());
    let asked = cluster.ask(owner, Question::Group(partition, Box::new(request))).await;
    Box::pin(async move {
        match asked.await {
            Answer::Group(reply) => *reply,
            _ => refused,
        }
    })
}

/// Makes the topic of groups if it is not there. True when it is there in the end.
pub async fn ensure_topic(broker: &Broker) -> bool {
    if let Some(topic) = broker.cluster.image().topic(OFFSETS_TOPIC) {
        if topic.overrides.get("cleanup.policy").is_some_and(String::is_empty) {
            compact_from_now_on(broker).await;
        }
        return true;
    }
    ensure(broker, OFFSETS_TOPIC, broker.settings.offsets_topic, &[("cleanup.policy", "compact")]).await
}

/// The same of the topic of share partitions. Its records say what has changed, so it keeps them all, whatever other topics do.
pub async fn ensure_share_topic(broker: &Broker) -> bool {
    let kept = [("cleanup.policy", "delete"), ("retention.ms", "-1"), ("retention.bytes", "-1")];
    ensure(broker, SHARE_STATE_TOPIC, broker.settings.share_state_topic, &kept).await
}

async fn ensure(broker: &Broker, name: &'static str, settings: InternalTopic, kept: &[(&str, &str)]) -> bool {
    if broker.cluster.image().topic(name).is_some() {
        return true;
    }
    let segment_bytes = settings.segment_bytes.to_string();
    let others = [("compression.type", "producer"), ("segment.bytes", &segment_bytes)];
    let mut configs = Overrides::new();
    for (name, value) in kept.iter().chain(&others) {
        configs.insert((*name).to_owned(), (*value).to_owned());
    }
    let topic = NewTopic { partitions: settings.partitions, configs, ..NewTopic::new(name) };
    let command = Command::CreateTopics { topics: vec![topic], validate_only: false };
    for outcome in propose_topics(&*broker.cluster, command, 1).await {
        if let Err(refusal) = outcome
            && refusal.code != ErrorCode::TopicAlreadyExists
        {
            tracing::error!(code = refusal.code.name(), why = refusal.message, "cannot make {name}");
        }
    }
    broker.cluster.image().topic(name).is_some()
}

/// Releases before there was compaction made the topic with a policy that keeps everything.
async fn compact_from_now_on(broker: &Broker) {
    let policy = ("cleanup.policy".to_owned(), ConfigChange::Set("compact".to_owned()));
    let resources = vec![(Target::Topic(OFFSETS_TOPIC.to_owned()), Changes::Some(vec![policy]))];
    let command = Command::AlterConfigs { resources, validate_only: false };
    if let Err(refusal) = propose(&*broker.cluster, command).await {
        tracing::warn!(
            code = refusal.code.name(),
            why = refusal.message,
            "{OFFSETS_TOPIC} is not compacted yet"
        );
    }
}

/// Text as the coordinator keeps it: its own, not a slice of the request.
pub fn owned(text: &Text) -> String {
    text.to_string()
}

/// The same where it may be missing.
pub fn owned_if_any(text: Option<&Text>) -> Option<String> {
    text.map(owned)
}
