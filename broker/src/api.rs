//! One file per API: validate, split per owner, join, translate. Versioned structures end here.

pub mod alter_client_quotas;
pub mod alter_configs;
pub mod alter_partition_reassignments;
pub mod alter_replica_log_dirs;
pub mod alter_share_group_offsets;
pub mod alter_user_scram_credentials;
pub mod altering;
pub mod consumer_group_describe;
pub mod consumer_group_heartbeat;
pub mod coordinator;
pub mod create_partitions;
pub mod create_topics;
pub mod delete_groups;
pub mod delete_records;
pub mod delete_share_group_offsets;
pub mod delete_topics;
pub mod describe_client_quotas;
pub mod describe_cluster;
pub mod describe_configs;
pub mod describe_groups;
pub mod describe_log_dirs;
pub mod describe_producers;
pub mod describe_quorum;
pub mod describe_share_group_offsets;
pub mod describe_topic_partitions;
pub mod describe_user_scram_credentials;
pub mod elect_leaders;
pub mod fetch;
pub mod find_coordinator;
pub mod get_telemetry_subscriptions;
pub mod heartbeat;
pub mod incremental_alter_configs;
pub mod init_producer_id;
pub mod join_group;
pub mod leave_group;
pub mod list_config_resources;
pub mod list_groups;
pub mod list_offsets;
pub mod list_partition_reassignments;
pub mod metadata;
pub mod offset_commit;
pub mod offset_delete;
pub mod offset_fetch;
pub mod offset_for_leader_epoch;
pub mod produce;
pub mod push_telemetry;
pub mod share_acknowledge;
pub mod share_fetch;
pub mod share_group_describe;
pub mod share_group_heartbeat;
pub mod shares;
pub mod sync_group;
pub mod unregister_broker;
pub mod update_features;
mod waits;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;
use std::sync::Arc;

use bytes::Bytes;
use coordination::metadata::{Command, Image, Refusal, Topic, TopicRef};
use model::{ErrorCode, TopicId, TopicPartition};
use net::service::Reply;
use protocol::control::KafkaResponse;
use protocol::{RequestHeader, Text, Uuid};

use crate::cluster::propose_topics;
use crate::service::Broker;

/// "Not asked for", where a response could list permitted operations.
pub const OPERATIONS_NOT_ASKED: i32 = i32::MIN;
/// Every operation on a topic, as bits by Kafka's operation codes: nothing is forbidden yet.
pub const TOPIC_OPERATIONS: i32 = 1 << 3 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 8 | 1 << 10 | 1 << 11;
/// Every operation on a group.
pub const GROUP_OPERATIONS: i32 = 1 << 3 | 1 << 6 | 1 << 8 | 1 << 10 | 1 << 11;
/// Every operation on the cluster.
pub const CLUSTER_OPERATIONS: i32 = 1 << 5 | 1 << 7 | 1 << 8 | 1 << 9 | 1 << 10 | 1 << 11 | 1 << 12;

/// What Kafka says of a topic or partition that is not there, where it says anything.
pub const NO_SUCH_PARTITION: &str = "This server does not host this topic-partition.";

/// Topics of a request by name and, per partition, its index and what came of it.
pub type PerPartition<T> = Vec<(Text, Vec<(i32, Result<T, ErrorCode>)>)>;
/// Whether the owners were asked, or why not.
pub type Verdicts = PerPartition<()>;

/// What the owners answered, each in the place of the verdict that let it be asked for.
pub fn join<A>(verdicts: Verdicts, answers: Vec<Option<A>>) -> PerPartition<A> {
    let mut answers = answers.into_iter();
    let mut answer = |(index, verdict): (i32, Result<(), ErrorCode>)| {
        (index, verdict.and_then(|()| answers.next().flatten().ok_or(ErrorCode::UnknownServerError)))
    };
    let mut topic =
        |(topic, partitions): (Text, Vec<_>)| (topic, partitions.into_iter().map(&mut answer).collect());
    verdicts.into_iter().map(&mut topic).collect()
}

/// A response as the reply to the request of `header`.
pub fn reply<M: KafkaResponse>(header: &RequestHeader, response: &M) -> Reply {
    match protocol::control::encode_response(header, response) {
        Ok(bytes) => Reply::bytes(bytes),
        Err(error) => {
            tracing::error!(api = header.api_key, version = header.api_version, %error, "a response cannot be encoded");
            Reply::Close("the broker failed to encode its response".into())
        }
    }
}

/// The partition that a request names by topic name and index.
///
/// # Errors
/// `UNKNOWN_TOPIC_OR_PARTITION`.
pub fn partition_named(image: &Image, topic: &str, index: i32) -> Result<TopicPartition, ErrorCode> {
    let topic = image.topic(topic).ok_or(ErrorCode::UnknownTopicOrPartition)?;
    topic.partition(index).ok_or(ErrorCode::UnknownTopicOrPartition)
}

/// Whether an isolation level means only records of committed transactions.
///
/// # Errors
/// Kafka has no code for a level that does not exist: it fails as it does whenever it is at a loss.
pub const fn read_committed(isolation_level: i8) -> Result<bool, ErrorCode> {
    match isolation_level {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(ErrorCode::UnknownServerError),
    }
}

/// How often each key occurs.
pub fn occurrences<K: Hash + Eq>(keys: impl Iterator<Item = K>) -> HashMap<K, u32> {
    let mut counts = HashMap::new();
    for key in keys {
        *counts.entry(key).or_insert(0) += 1;
    }
    counts
}

/// Items by key, in the order of first appearance; without the item where several have that key.
pub fn distinct<T, K: Hash + Eq + Clone>(
    items: impl IntoIterator<Item = T>,
    key: impl Fn(&T) -> K,
) -> Vec<(K, Option<T>)> {
    let mut places = HashMap::new();
    let mut distinct: Vec<(K, Option<T>)> = Vec::new();
    for item in items {
        let key = key(&item);
        match places.entry(key.clone()) {
            Entry::Vacant(entry) => {
                entry.insert(distinct.len());
                distinct.push((key, Some(item)));
            }
            Entry::Occupied(entry) => distinct[*entry.get()].1 = None,
        }
    }
    distinct
}

/// Proposes a command about those topics that were judged to be fit for it, and gives the verdict on each, in order.
/// `judged` has the items of `command` in its order.
pub async fn propose_judged<K>(
    broker: &Broker,
    judged: Vec<(K, Result<(), Refusal>)>,
    command: Command,
) -> impl Iterator<Item = (K, Result<Arc<Topic>, Refusal>)> {
    let count = judged.iter().filter(|(_, verdict)| verdict.is_ok()).count();
    let done = if count == 0 { Vec::new() } else { propose_topics(&*broker.cluster, command, count).await };
    let mut done = done.into_iter();
    judged.into_iter().map(move |(key, verdict)| {
        let unanswered = || Err(Refusal::new(ErrorCode::UnknownServerError, "no answer"));
        (key, verdict.and_then(|()| done.next().unwrap_or_else(unanswered)))
    })
}

/// A topic as the metadata machine is told of it.
pub fn topic_ref(name: Option<&Text>, id: Uuid) -> TopicRef {
    match name {
        Some(name) => TopicRef::Name(name.to_string()),
        None => TopicRef::Id(TopicId(id.to_bytes())),
    }
}

/// A refusal's code and sentence as fields of a response.
pub fn told(refusal: &Refusal) -> (i16, Option<Text>) {
    (refusal.code.code(), (!refusal.message.is_empty()).then(|| Text::from(refusal.message.as_str())))
}

/// What a request comes to whose time is over before it began: Kafka's controller does not look at such requests. It says no more.
///
/// # Errors
/// `REQUEST_TIMED_OUT`.
pub fn in_time(timeout_ms: i32) -> Result<(), Refusal> {
    if timeout_ms > 0 { Ok(()) } else { Err(Refusal::new(ErrorCode::RequestTimedOut, "")) }
}

/// The same where each partition of a topic is told so: once in memory, and short on the wire whatever a client calls a topic.
pub fn told_to_each(refusal: &Refusal) -> (i16, Option<Text>) {
    let text = match refusal.message.char_indices().nth(TOLD_TO_EACH_MAX) {
        Some((end, _)) => Text::from(format!("{}...", &refusal.message[..end]).as_str()),
        None => Text::from(refusal.message.as_str()),
    };
    (refusal.code.code(), (!refusal.message.is_empty()).then_some(text))
}

/// Characters of a sentence that each partition of a request may be told: enough for the longest name that a topic can have.
const TOLD_TO_EACH_MAX: usize = 340;

/// A sentence that takes no memory.
pub fn fixed(text: &'static str) -> Text {
    Text::try_from(Bytes::from_static(text.as_bytes())).unwrap_or_default()
}

/// An id as a field of a response.
pub const fn uuid(id: TopicId) -> Uuid {
    Uuid::from_bytes(id.0)
}

#[cfg(test)]
mod tests {
    use super::distinct;

    #[test]
    fn what_has_a_key_of_its_own_is_kept_and_every_key_is_told_once() {
        let items = ["b1", "a1", "c1", "a2", "a3", "c2"];
        let told = distinct(items, |item| item.as_bytes()[0]);
        assert_eq!(told, [(b'b', Some("b1")), (b'a', None), (b'c', None)]);
    }
}
