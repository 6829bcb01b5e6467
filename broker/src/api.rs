//! One file per API: validate, split per owner, join, translate. Versioned structures end here.

pub mod create_partitions;
pub mod create_topics;
pub mod delete_records;
pub mod delete_topics;
pub mod describe_cluster;
pub mod describe_configs;
pub mod describe_topic_partitions;
pub mod fetch;
pub mod incremental_alter_configs;
pub mod init_producer_id;
pub mod list_offsets;
pub mod metadata;
pub mod offset_for_leader_epoch;
pub mod produce;

use std::collections::HashMap;
use std::hash::Hash;

use coordination::metadata::{Image, Refusal, TopicRef};
use model::{ErrorCode, TopicId, TopicPartition};
use protocol::control::KafkaResponse;
use protocol::{RequestHeader, Text, Uuid};

use net::service::Reply;

/// "Not asked for", where a response could list permitted operations.
pub const OPERATIONS_NOT_ASKED: i32 = i32::MIN;
/// Every operation on a topic, as bits by Kafka's operation codes: nothing is forbidden yet.
pub const TOPIC_OPERATIONS: i32 = 1 << 3 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 8 | 1 << 10 | 1 << 11;
/// Every operation on the cluster.
pub const CLUSTER_OPERATIONS: i32 = 1 << 5 | 1 << 7 | 1 << 8 | 1 << 9 | 1 << 10 | 1 << 11 | 1 << 12;

/// Topics of a request by name and, per partition, its index and whether its owner was asked or why not.
pub type Verdicts = Vec<(Text, Vec<(i32, Result<(), ErrorCode>)>)>;

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

/// A topic as the metadata machine is told of it.
pub fn topic_ref(name: Option<&Text>, id: Uuid) -> TopicRef {
    match name {
        Some(name) => TopicRef::Name(name.to_string()),
        None => TopicRef::Id(TopicId(id.to_bytes())),
    }
}

/// A refusal's code and sentence as fields of a response.
pub fn told(refusal: &Refusal) -> (i16, Option<Text>) {
    (refusal.code.code(), Some(Text::from(refusal.message.as_str())))
}

/// An id as a field of a response.
pub const fn uuid(id: TopicId) -> Uuid {
    Uuid::from_bytes(id.0)
}
