//! The metadata as every core sees it: immutable, shared by `Arc`, replaced as a whole.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use model::{LeaderEpoch, TopicId, TopicPartition};

use super::configs::{Overrides, TopicDefaults, TopicSettings};
use super::delta::{Record, Resource};

/// One living topic.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Topic {
    /// Its identity for life.
    pub id: TopicId,
    /// Its name.
    pub name: Arc<str>,
    /// It has partitions 0 to this, at least one.
    pub partitions: u32,
    /// Settings as written on it.
    pub overrides: Overrides,
    /// What they mean.
    pub settings: TopicSettings,
}

impl Topic {
    /// Its partition `index`, if it has it.
    #[must_use]
    pub fn partition(&self, index: i32) -> Option<TopicPartition> {
        let partition = u32::try_from(index).ok()?;
        (partition < self.partitions).then_some(TopicPartition { topic: self.id, partition })
    }
}

/// The metadata after a certain record.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Image {
    /// Index in the log of the last record applied; 0 before the first.
    applied: u64,
    boot: u32,
    /// First producer id that is not reserved.
    producer_ids: i64,
    defaults: Arc<TopicDefaults>,
    by_name: HashMap<Arc<str>, Arc<Topic>>,
    /// The same topics.
    by_id: HashMap<TopicId, Arc<Topic>>,
    /// Deleted topics whose files may still be there.
    tombstones: BTreeSet<TopicId>,
    /// Partitions of all living topics.
    partitions: u64,
}

impl Image {
    /// Of an empty log, on a broker with these defaults.
    #[must_use]
    pub fn new(defaults: TopicDefaults) -> Self {
        Self { defaults: Arc::new(defaults), ..Self::default() }
    }

    /// Index in the metadata log of the last record in here.
    #[must_use]
    pub const fn applied(&self) -> u64 {
        self.applied
    }

    /// Number of the present start of the broker, from 1; 0 before the first.
    #[must_use]
    pub const fn boot(&self) -> u32 {
        self.boot
    }

    /// The epoch in which this broker leads its partitions: the number of its boot. No earlier process used it.
    #[must_use]
    pub fn leader_epoch(&self) -> LeaderEpoch {
        LeaderEpoch(i32::try_from(self.boot).unwrap_or(i32::MAX))
    }

    /// First producer id nobody has.
    #[must_use]
    pub const fn producer_ids(&self) -> i64 {
        self.producer_ids
    }

    /// Broker-wide defaults of topic settings.
    #[must_use]
    pub fn defaults(&self) -> &TopicDefaults {
        &self.defaults
    }

    /// The living topic of this name.
    #[must_use]
    pub fn topic(&self, name: &str) -> Option<&Arc<Topic>> {
        self.by_name.get(name)
    }

    /// The living topic of this id.
    #[must_use]
    pub fn topic_by_id(&self, id: TopicId) -> Option<&Arc<Topic>> {
        self.by_id.get(&id)
    }

    /// All living topics, in no order.
    pub fn topics(&self) -> impl ExactSizeIterator<Item = &Arc<Topic>> {
        self.by_name.values()
    }

    /// All living topics, by name.
    #[must_use]
    pub fn topics_sorted(&self) -> Vec<&Arc<Topic>> {
        let mut topics: Vec<_> = self.by_name.values().collect();
        topics.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        topics
    }

    /// Partitions of all living topics.
    #[must_use]
    pub const fn partitions(&self) -> u64 {
        self.partitions
    }

    /// Topics that were deleted and whose files may still be there: the only ones whose files may be removed.
    #[must_use]
    pub const fn tombstones(&self) -> &BTreeSet<TopicId> {
        &self.tombstones
    }

    /// Whether this id was ever given out and is not wholly forgotten.
    #[must_use]
    pub fn knows(&self, id: TopicId) -> bool {
        self.by_id.contains_key(&id) || self.tombstones.contains(&id)
    }

    /// Applies the record at `index`. Total: a record that makes no sense here changes nothing but `applied`, on
    /// every core and in every replay alike.
    pub fn apply(&mut self, index: u64, record: &Record) {
        self.applied = index;
        match record {
            Record::Boot { boot } => self.boot = *boot,
            Record::TopicCreated { id, name, partitions, configs } => {
                self.remove(*id);
                if let Some(namesake) = self.by_name.get(name.as_str()).map(|topic| topic.id) {
                    self.remove(namesake);
                }
                self.insert(Topic {
                    id: *id,
                    name: Arc::from(name.as_str()),
                    partitions: *partitions,
                    settings: TopicSettings::resolve(&self.defaults, configs),
                    overrides: configs.clone(),
                });
            }
            Record::PartitionsAdded { id, partitions } => {
                self.change(*id, |topic| topic.partitions = topic.partitions.max(*partitions));
            }
            Record::TopicDeleted { id } => {
                self.remove(*id);
                self.tombstones.insert(*id);
            }
            Record::TopicFilesRemoved { id } => {
                self.tombstones.remove(id);
            }
            Record::ConfigChanged { resource: Resource::Topic(id), key, value } => {
                let defaults = Arc::clone(&self.defaults);
                self.change(*id, |topic| {
                    match value {
                        Some(value) => topic.overrides.insert(key.clone(), value.clone()),
                        None => topic.overrides.remove(key),
                    };
                    topic.settings = TopicSettings::resolve(&defaults, &topic.overrides);
                });
            }
            Record::ProducerIdsReserved { up_to } => self.producer_ids = self.producer_ids.max(*up_to),
        }
    }

    /// Records that make an empty image into this one: a snapshot.
    #[must_use]
    pub fn to_records(&self) -> Vec<Record> {
        let mut records =
            vec![Record::Boot { boot: self.boot }, Record::ProducerIdsReserved { up_to: self.producer_ids }];
        records.extend(self.topics_sorted().into_iter().map(|topic| Record::TopicCreated {
            id: topic.id,
            name: topic.name.to_string(),
            partitions: topic.partitions,
            configs: topic.overrides.clone(),
        }));
        records.extend(self.tombstones.iter().map(|&id| Record::TopicDeleted { id }));
        records
    }

    fn insert(&mut self, topic: Topic) {
        self.partitions += u64::from(topic.partitions);
        let topic = Arc::new(topic);
        self.by_name.insert(Arc::clone(&topic.name), Arc::clone(&topic));
        self.by_id.insert(topic.id, topic);
    }

    fn remove(&mut self, id: TopicId) {
        if let Some(topic) = self.by_id.remove(&id) {
            self.partitions -= u64::from(topic.partitions);
            self.by_name.remove(&topic.name);
        }
    }

    fn change(&mut self, id: TopicId, change: impl FnOnce(&mut Topic)) {
        if let Some(topic) = self.by_id.get(&id) {
            let mut topic = Topic::clone(topic);
            self.remove(id);
            change(&mut topic);
            self.insert(topic);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn created(byte: u8, name: &str) -> Record {
        Record::TopicCreated {
            id: TopicId([byte; 16]),
            name: name.into(),
            partitions: 3,
            configs: Overrides::new(),
        }
    }

    #[test]
    fn a_snapshot_rebuilds_the_image() {
        let id = TopicId([1; 16]);
        let resource = Resource::Topic(id);
        let records = [
            Record::Boot { boot: 1 },
            created(1, "a"),
            created(2, "b"),
            Record::PartitionsAdded { id, partitions: 9 },
            Record::ConfigChanged { resource, key: "retention.ms".into(), value: Some("5".into()) },
            Record::TopicDeleted { id: TopicId([2; 16]) },
            Record::ProducerIdsReserved { up_to: 2000 },
            Record::Boot { boot: 2 },
        ];
        let mut image = Image::default();
        for (index, record) in (1..).zip(&records) {
            image.apply(index, record);
        }
        assert_eq!(image.leader_epoch(), LeaderEpoch(2));
        assert_eq!(image.partitions(), 9);
        assert!(image.topic("b").is_none() && image.knows(TopicId([2; 16])));
        let topic = image.topic("a").unwrap();
        assert_eq!(topic.settings.retention_ms, Some(5));
        assert!(
            topic.partition(8).is_some() && topic.partition(9).is_none() && topic.partition(-1).is_none()
        );

        let mut rebuilt = Image::default();
        for record in image.to_records() {
            rebuilt.apply(image.applied(), &record);
        }
        assert_eq!(rebuilt, image);
    }

    #[test]
    fn records_without_a_subject_change_nothing() {
        let mut image = Image::default();
        image.apply(1, &Record::PartitionsAdded { id: TopicId([7; 16]), partitions: 9 });
        image.apply(2, &Record::TopicFilesRemoved { id: TopicId([7; 16]) });
        assert_eq!(image.topics().len(), 0);
        assert_eq!(image.applied(), 2);
    }
}
