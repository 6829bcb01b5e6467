//! Sets of partitions, and sets of partitions that a member holds.

use std::collections::{BTreeMap, BTreeSet};

use model::TopicId;

/// Partitions by topic. No topic is in it without a partition.
pub type Partitions = BTreeMap<TopicId, BTreeSet<i32>>;

/// Partitions that a member holds, each with the epoch in which it was assigned (KIP-1251). No topic is in it without a
/// partition.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Held(BTreeMap<TopicId, BTreeMap<i32, i32>>);

impl Held {
    /// All of `partitions`, assigned in `epoch`.
    #[must_use]
    pub fn since(partitions: &Partitions, epoch: i32) -> Self {
        let mut held = Self::default();
        for (topic, partition) in each(partitions) {
            held.insert(topic, partition, epoch);
        }
        held
    }

    /// Adds a partition, or changes since when it is held.
    pub fn insert(&mut self, topic: TopicId, partition: i32, epoch: i32) {
        self.0.entry(topic).or_default().insert(partition, epoch);
    }

    /// The epoch in which a partition was assigned, if it is held.
    #[must_use]
    pub fn epoch(&self, topic: TopicId, partition: i32) -> Option<i32> {
        self.0.get(&topic)?.get(&partition).copied()
    }

    /// Whether the partition is held.
    #[must_use]
    pub fn contains(&self, topic: TopicId, partition: i32) -> bool {
        self.epoch(topic, partition).is_some()
    }

    /// Whether nothing is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many are held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.values().map(BTreeMap::len).sum()
    }

    /// Topic, partition and epoch of each.
    pub fn iter(&self) -> impl Iterator<Item = (TopicId, i32, i32)> {
        self.0.iter().flat_map(|(&topic, partitions)| {
            partitions.iter().map(move |(&partition, &epoch)| (topic, partition, epoch))
        })
    }

    /// The topics of which partitions are held, with those and their epochs.
    pub fn topics(&self) -> impl ExactSizeIterator<Item = (TopicId, &BTreeMap<i32, i32>)> {
        self.0.iter().map(|(&topic, partitions)| (topic, partitions))
    }

    /// The same without the epochs.
    #[must_use]
    pub fn partitions(&self) -> Partitions {
        self.0.iter().map(|(&topic, partitions)| (topic, partitions.keys().copied().collect())).collect()
    }

    /// The same partitions, all since `epoch`.
    #[must_use]
    pub fn reset(&self, epoch: i32) -> Self {
        Self::since(&self.partitions(), epoch)
    }
}

impl FromIterator<(TopicId, i32, i32)> for Held {
    fn from_iter<I: IntoIterator<Item = (TopicId, i32, i32)>>(items: I) -> Self {
        let mut held = Self::default();
        for (topic, partition, epoch) in items {
            held.insert(topic, partition, epoch);
        }
        held
    }
}

/// Topic and partition of each.
pub fn each(partitions: &Partitions) -> impl Iterator<Item = (TopicId, i32)> {
    partitions
        .iter()
        .flat_map(|(&topic, partitions)| partitions.iter().map(move |&partition| (topic, partition)))
}

/// Whether the partition is in the set.
#[must_use]
pub fn has(partitions: &Partitions, topic: TopicId, partition: i32) -> bool {
    partitions.get(&topic).is_some_and(|partitions| partitions.contains(&partition))
}

/// How many there are.
#[must_use]
pub fn count(partitions: &Partitions) -> usize {
    partitions.values().map(BTreeSet::len).sum()
}
