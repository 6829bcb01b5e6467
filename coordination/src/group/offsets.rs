//! The committed offsets of one group, and when they expire.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::TimestampMs;

use super::limits::OFFSET_BYTES;
use super::record::OffsetValue;

#[derive(Clone, Default, Debug)]
pub(super) struct Offsets {
    topics: BTreeMap<Arc<str>, BTreeMap<i32, OffsetValue>>,
    bytes: u64,
}

/// Bytes an offset with this metadata counts for.
pub(super) const fn offset_bytes(metadata: &str) -> u64 {
    OFFSET_BYTES + metadata.len() as u64
}

impl Offsets {
    pub fn put(&mut self, topic: &Arc<str>, partition: i32, value: OffsetValue) {
        self.bytes += offset_bytes(&value.metadata);
        let partitions = self.topics.entry(Arc::clone(topic)).or_default();
        if let Some(old) = partitions.insert(partition, value) {
            self.bytes -= offset_bytes(&old.metadata);
        }
    }

    pub fn remove(&mut self, topic: &str, partition: i32) {
        let Some(partitions) = self.topics.get_mut(topic) else { return };
        if let Some(old) = partitions.remove(&partition) {
            self.bytes -= offset_bytes(&old.metadata);
        }
        if partitions.is_empty() {
            self.topics.remove(topic);
        }
    }

    pub fn get(&self, topic: &str, partition: i32) -> Option<&OffsetValue> {
        self.topics.get(topic)?.get(&partition)
    }

    pub fn topics(&self) -> impl Iterator<Item = (&Arc<str>, &BTreeMap<i32, OffsetValue>)> {
        self.topics.iter()
    }

    pub fn of_topic(&self, topic: &str) -> impl Iterator<Item = (i32, &OffsetValue)> {
        self.topics.get(topic).into_iter().flatten().map(|(&partition, value)| (partition, value))
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, i32, &OffsetValue)> {
        self.topics.iter().flat_map(|(topic, partitions)| {
            partitions.iter().map(move |(&partition, value)| (topic, partition, value))
        })
    }

    pub fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }

    pub const fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// From when on offsets of a group count as unused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum UnusedSince {
    /// This moment, whatever their commit: the group has been empty since.
    Moment(TimestampMs),
    /// Each its own commit.
    Commit,
}

impl UnusedSince {
    pub fn expired(self, value: &OffsetValue, wall: TimestampMs, retention_ms: i64) -> bool {
        if let Some(expire_time) = value.expire_time {
            return wall >= expire_time;
        }
        let since = match self {
            Self::Moment(since) => since,
            Self::Commit => value.commit_time,
        };
        wall.0.saturating_sub(since.0) >= retention_ms
    }
}
