//! The metadata as every core sees it: immutable, shared by `Arc`, replaced as a whole.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use model::{LeaderEpoch, TopicId, TopicPartition};

use super::broker_config::{BrokerConfig, BrokerSettings};
use super::configs::{Overrides, TopicDefaults, TopicSettings};
use super::delta::{Record, Resource};
use super::features::{FEATURES, Feature};

/// What an altered setting takes beside its name and value.
pub(super) const SETTING_BYTES: usize = 128;

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

/// Settings of what is known by names only.
pub type Named = BTreeMap<Arc<str>, Arc<Overrides>>;

static NOTHING: Overrides = Overrides::new();

/// The metadata after a certain record.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Image {
    /// Index in the log of the last record applied; 0 before the first.
    applied: u64,
    boot: u32,
    /// First producer id that is not reserved.
    producer_ids: i64,
    broker: Arc<BrokerConfig>,
    /// What `broker` means to topics...
    defaults: Arc<TopicDefaults>,
    /// ...and to the broker itself.
    settings: BrokerSettings,
    /// Levels of features that somebody chose, by name.
    features: BTreeMap<String, i16>,
    /// Settings of groups; they need not exist.
    groups: Named,
    /// Settings of subscriptions to clients' metrics.
    client_metrics: Named,
    /// Bytes of what was altered for all of those.
    altered_bytes: usize,
    by_name: HashMap<Arc<str>, Arc<Topic>>,
    /// The same topics.
    by_id: HashMap<TopicId, Arc<Topic>>,
    /// Deleted topics whose files may still be there.
    tombstones: BTreeSet<TopicId>,
    /// Partitions of all living topics.
    partitions: u64,
}

impl Image {
    /// Of an empty log, on a broker of this configuration.
    #[must_use]
    pub fn new(config: BrokerConfig) -> Self {
        Self {
            defaults: Arc::new(TopicDefaults::of(&config)),
            settings: BrokerSettings::of(&config),
            broker: Arc::new(config),
            ..Self::default()
        }
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

    /// The level of a feature; 0 where it is not there.
    #[must_use]
    pub fn feature_level(&self, name: &str) -> i16 {
        self.feature_level_among(FEATURES, name)
    }

    /// The same where these are the features there are.
    #[must_use]
    pub fn feature_level_among(&self, features: &[Feature], name: &str) -> i16 {
        let default = || features.iter().find(|row| row.name == name).map_or(0, |row| row.default);
        self.chosen_level(name).unwrap_or_else(default)
    }

    /// Features whose level somebody chose.
    pub fn chosen_levels(&self) -> impl Iterator<Item = (&str, i16)> {
        self.features.iter().map(|(name, level)| (name.as_str(), *level))
    }

    /// The level of a feature, if somebody chose it.
    #[must_use]
    pub fn chosen_level(&self, name: &str) -> Option<i16> {
        self.features.get(name).copied()
    }

    /// Broker-wide defaults of topic settings.
    #[must_use]
    pub fn defaults(&self) -> &TopicDefaults {
        &self.defaults
    }

    /// The configuration of brokers.
    #[must_use]
    pub fn broker(&self) -> &BrokerConfig {
        &self.broker
    }

    /// What the configuration means to this broker.
    #[must_use]
    pub const fn settings(&self) -> BrokerSettings {
        self.settings
    }

    /// What was set on a group.
    #[must_use]
    pub fn group(&self, group: &str) -> &Overrides {
        self.groups.get(group).map_or(&NOTHING, |set| set)
    }

    /// Groups on which something was set, by name.
    pub fn groups(&self) -> impl Iterator<Item = &str> {
        self.groups.keys().map(|group| &**group)
    }

    /// What was set on a subscription to clients' metrics.
    #[must_use]
    pub fn client_metrics(&self, name: &str) -> &Overrides {
        self.client_metrics.get(name).map_or(&NOTHING, |set| set)
    }

    /// All subscriptions to clients' metrics.
    #[must_use]
    pub const fn all_client_metrics(&self) -> &Named {
        &self.client_metrics
    }

    /// Bytes of names and values that were altered for brokers, groups and subscriptions, and what each takes beside them.
    #[must_use]
    pub const fn altered_bytes(&self) -> usize {
        self.altered_bytes
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
        self.apply_all([(index, record)]);
    }

    /// Applies records with their indexes one after the other. What they make of the defaults of topics reaches the topics once,
    /// in the end: there may be as many settings as topics, and both by the thousand.
    pub fn apply_all<'a>(&mut self, records: impl IntoIterator<Item = (u64, &'a Record)>) {
        let mut defaults_changed = false;
        for (index, record) in records {
            defaults_changed |= self.apply_one(index, record);
        }
        // Also when they are as before: topics that were created in between know those of then.
        if defaults_changed {
            self.resolve_topics();
        }
    }

    /// Whether the defaults of topics are others now, which the topics that are there do not know yet.
    fn apply_one(&mut self, index: u64, record: &Record) -> bool {
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
            Record::ConfigChanged { resource, key, value } => {
                return self.change_config(resource, key, value.as_ref());
            }
            Record::ProducerIdsReserved { up_to } => self.producer_ids = self.producer_ids.max(*up_to),
            Record::FeatureLevelChanged { name, level } => {
                self.features.insert(name.clone(), *level);
            }
        }
        false
    }

    /// Records that make an empty image into this one: a snapshot.
    #[must_use]
    pub fn to_records(&self) -> Vec<Record> {
        let mut records =
            vec![Record::Boot { boot: self.boot }, Record::ProducerIdsReserved { up_to: self.producer_ids }];
        let level = |(name, level): (&String, &i16)| Record::FeatureLevelChanged {
            name: name.clone(),
            level: *level,
        };
        records.extend(self.features.iter().map(level));
        records.extend(self.topics_sorted().into_iter().map(|topic| Record::TopicCreated {
            id: topic.id,
            name: topic.name.to_string(),
            partitions: topic.partitions,
            configs: topic.overrides.clone(),
        }));
        records.extend(self.tombstones.iter().map(|&id| Record::TopicDeleted { id }));
        let mut changed = |resource: &Resource, set: &Overrides| {
            records.extend(set.iter().map(|(key, value)| Record::ConfigChanged {
                resource: resource.clone(),
                key: key.clone(),
                value: Some(value.clone()),
            }));
        };
        changed(&Resource::Brokers, self.broker.altered(None));
        for (node, set) in self.broker.of_single_brokers() {
            changed(&Resource::Broker(node), set);
        }
        for (group, set) in &self.groups {
            changed(&Resource::Group(group.to_string()), set);
        }
        for (name, set) in &self.client_metrics {
            changed(&Resource::ClientMetrics(name.to_string()), set);
        }
        records
    }

    /// Whether it changed the defaults of topics.
    fn change_config(&mut self, resource: &Resource, key: &str, value: Option<&String>) -> bool {
        let node = match resource {
            Resource::Topic(id) => {
                let defaults = Arc::clone(&self.defaults);
                self.change(*id, |topic| {
                    match value {
                        Some(value) => topic.overrides.insert(key.to_owned(), value.clone()),
                        None => topic.overrides.remove(key),
                    };
                    topic.settings = TopicSettings::resolve(&defaults, &topic.overrides);
                });
                return false;
            }
            Resource::Broker(node) => Some(*node),
            Resource::Brokers => None,
            Resource::Group(group) => {
                let was = change_named(&mut self.groups, group, key, value);
                self.count(group.len() + key.len(), was, value);
                return false;
            }
            Resource::ClientMetrics(name) => {
                let was = change_named(&mut self.client_metrics, name, key, value);
                self.count(name.len() + key.len(), was, value);
                return false;
            }
        };
        let was = self.broker.altered(node).get(key).map(String::len);
        self.count(key.len(), was, value);
        Arc::make_mut(&mut self.broker).change(node, key, value);
        self.settings = BrokerSettings::of(&self.broker);
        let defaults = TopicDefaults::of(&self.broker);
        let changed = defaults != *self.defaults;
        if changed {
            self.defaults = Arc::new(defaults);
        }
        changed
    }

    /// `names` are bytes of the names, `was` those of the value before.
    fn count(&mut self, names: usize, was: Option<usize>, is: Option<&String>) {
        let bytes = |value: Option<usize>| value.map_or(0, |value| SETTING_BYTES + names + value);
        self.altered_bytes = (self.altered_bytes + bytes(is.map(String::len))).saturating_sub(bytes(was));
    }

    /// Gives every topic what the present defaults mean to it. A topic to which they mean the same stays the same.
    fn resolve_topics(&mut self) {
        #[cfg(test)]
        tests::RESOLVED.with(|count| count.set(count.get() + 1));
        let defaults = &self.defaults;
        let changed: Vec<_> = self
            .by_id
            .values()
            .filter_map(|topic| {
                let settings = TopicSettings::resolve(defaults, &topic.overrides);
                (settings != topic.settings).then(|| Topic { settings, ..Topic::clone(topic) })
            })
            .collect();
        for topic in changed {
            self.remove(topic.id);
            self.insert(topic);
        }
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

/// Bytes of the value before.
fn change_named(all: &mut Named, name: &str, key: &str, value: Option<&String>) -> Option<usize> {
    let set = Arc::make_mut(all.entry(Arc::from(name)).or_default());
    let was = match value {
        Some(value) => set.insert(key.to_owned(), value.clone()),
        None => set.remove(key),
    };
    if set.is_empty() {
        all.remove(name);
    }
    was.map(|was| was.len())
}

#[cfg(test)]
mod tests;
