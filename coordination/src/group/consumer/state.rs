//! The hard state of a group by the consumer protocol: what its records say, and what follows from that.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::{TimestampMs, TopicId};

use super::super::limits::{MEMBER_BYTES, OFFSET_BYTES, TOPIC_NAME_BYTES};
use super::super::reply::GroupState;
use super::partitions::{self, Partitions};
use super::record::{
    ConsumerRecord, CurrentValue, EpochValue, MemberMetadata, MemberState, ResolvedRegex, TargetEpochValue,
};

/// A member: what it said of itself, and what it has.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(in crate::group) struct Member {
    pub metadata: Arc<MemberMetadata>,
    pub current: Arc<CurrentValue>,
}

impl Member {
    pub fn uses_classic(&self) -> bool {
        self.metadata.classic.is_some()
    }

    /// Whether it is where the targets of `epoch` want it.
    pub fn is_reconciled_to(&self, epoch: i32) -> bool {
        self.current.state == MemberState::Stable && self.current.epoch == epoch
    }
}

/// A group. It changes by [`State::apply`] only, and any record can be applied: a log may hold anything.
#[derive(Clone, Debug)]
pub(in crate::group) struct State {
    pub epoch: i32,
    pub metadata_hash: i64,
    /// The epoch for which the targets were computed, and when; 0 where they never were.
    pub target_epoch: i32,
    pub target_time: TimestampMs,
    members: BTreeMap<Arc<str>, Member>,
    targets: BTreeMap<Arc<str>, Arc<Partitions>>,
    regexes: BTreeMap<Arc<str>, Arc<ResolvedRegex>>,

    /// What follows: instance id to member.
    statics: BTreeMap<String, Arc<str>>,
    /// Who holds a partition, be it to give it back.
    owners: BTreeMap<(TopicId, i32), Arc<str>>,
    /// How many members subscribe to a topic by its name, and to a regular expression.
    topic_users: BTreeMap<String, usize>,
    regex_users: BTreeMap<Arc<str>, usize>,
    classic_members: usize,
}

impl Default for State {
    fn default() -> Self {
        Self {
            epoch: 0,
            metadata_hash: 0,
            target_epoch: 0,
            target_time: TimestampMs(0),
            members: BTreeMap::new(),
            targets: BTreeMap::new(),
            regexes: BTreeMap::new(),
            statics: BTreeMap::new(),
            owners: BTreeMap::new(),
            topic_users: BTreeMap::new(),
            regex_users: BTreeMap::new(),
            classic_members: 0,
        }
    }
}

static NO_PARTITIONS: Partitions = Partitions::new();

impl State {
    pub fn apply(&mut self, record: &ConsumerRecord) {
        match record {
            ConsumerRecord::Epoch(value) => {
                let gone = EpochValue { epoch: 0, metadata_hash: 0 };
                let EpochValue { epoch, metadata_hash } = value.unwrap_or(gone);
                (self.epoch, self.metadata_hash) = (epoch, metadata_hash);
            }
            ConsumerRecord::TargetEpoch(value) => {
                let gone = TargetEpochValue { epoch: 0, time: TimestampMs(0) };
                let TargetEpochValue { epoch, time } = value.unwrap_or(gone);
                (self.target_epoch, self.target_time) = (epoch, time);
            }
            ConsumerRecord::Member { member, value: Some(metadata) } => {
                let mut changed = self.withdraw(member).unwrap_or_default();
                changed.metadata = Arc::clone(metadata);
                self.enter(member, changed);
            }
            ConsumerRecord::Member { member, value: None } => {
                self.withdraw(member);
            }
            ConsumerRecord::Current { member, value: Some(current) } => {
                let mut changed = self.withdraw(member).unwrap_or_default();
                changed.current = Arc::clone(current);
                self.enter(member, changed);
            }
            ConsumerRecord::Current { member, value: None } => {
                if let Some(mut left) = self.withdraw(member) {
                    left.current = Arc::new(CurrentValue { epoch: -1, ..CurrentValue::default() });
                    self.enter(member, left);
                }
            }
            ConsumerRecord::Target { member, value: Some(target) } => {
                self.targets.insert(Arc::clone(member), Arc::clone(target));
            }
            ConsumerRecord::Target { member, value: None } => {
                self.targets.remove(member);
            }
            ConsumerRecord::Regex { pattern, value: Some(resolved) } => {
                self.regexes.insert(Arc::clone(pattern), Arc::clone(resolved));
            }
            ConsumerRecord::Regex { pattern, value: None } => {
                self.regexes.remove(pattern);
            }
        }
    }

    /// Takes a member and everything that follows from it out.
    fn withdraw(&mut self, id: &Arc<str>) -> Option<Member> {
        let member = self.members.remove(id)?;
        let metadata = &member.metadata;
        if let Some(instance) = &metadata.instance_id
            && self.statics.get(instance) == Some(id)
        {
            self.statics.remove(instance);
        }
        for topic in &metadata.topics {
            less(&mut self.topic_users, topic.as_str());
        }
        if let Some(regex) = &metadata.regex {
            less(&mut self.regex_users, regex.as_str());
        }
        self.classic_members -= usize::from(metadata.classic.is_some());
        for (topic, partition, _) in member.current.assigned.iter().chain(member.current.revoking.iter()) {
            if self.owners.get(&(topic, partition)) == Some(id) {
                self.owners.remove(&(topic, partition));
            }
        }
        Some(member)
    }

    fn enter(&mut self, id: &Arc<str>, member: Member) {
        let metadata = &member.metadata;
        if let Some(instance) = &metadata.instance_id {
            self.statics.insert(instance.clone(), Arc::clone(id));
        }
        for topic in &metadata.topics {
            *self.topic_users.entry(topic.clone()).or_default() += 1;
        }
        if let Some(regex) = &metadata.regex {
            *self.regex_users.entry(regex.as_str().into()).or_default() += 1;
        }
        self.classic_members += usize::from(metadata.classic.is_some());
        for (topic, partition, _) in member.current.assigned.iter().chain(member.current.revoking.iter()) {
            self.owners.insert((topic, partition), Arc::clone(id));
        }
        self.members.insert(Arc::clone(id), member);
    }

    /// Records that make a group without any into this one.
    pub fn to_records(&self) -> Vec<ConsumerRecord> {
        let mut records = Vec::new();
        for (id, member) in &self.members {
            let (member, value) = (Arc::clone(id), Some(Arc::clone(&member.metadata)));
            records.push(ConsumerRecord::Member { member, value });
        }
        for (pattern, resolved) in &self.regexes {
            let (pattern, value) = (Arc::clone(pattern), Some(Arc::clone(resolved)));
            records.push(ConsumerRecord::Regex { pattern, value });
        }
        let (epoch, metadata_hash) = (self.epoch, self.metadata_hash);
        records.push(ConsumerRecord::Epoch(Some(EpochValue { epoch, metadata_hash })));
        for (id, target) in &self.targets {
            let (member, value) = (Arc::clone(id), Some(Arc::clone(target)));
            records.push(ConsumerRecord::Target { member, value });
        }
        let target = TargetEpochValue { epoch: self.target_epoch, time: self.target_time };
        records.push(ConsumerRecord::TargetEpoch(Some(target)));
        for (id, member) in &self.members {
            let (member, value) = (Arc::clone(id), Some(Arc::clone(&member.current)));
            records.push(ConsumerRecord::Current { member, value });
        }
        records
    }

    /// Tombstones of everything, the group's own last.
    pub fn tombstones(&self) -> Vec<ConsumerRecord> {
        let mut records = Vec::new();
        for id in self.members.keys() {
            records.push(ConsumerRecord::Current { member: Arc::clone(id), value: None });
        }
        for id in self.targets.keys() {
            records.push(ConsumerRecord::Target { member: Arc::clone(id), value: None });
        }
        records.push(ConsumerRecord::TargetEpoch(None));
        for id in self.members.keys() {
            records.push(ConsumerRecord::Member { member: Arc::clone(id), value: None });
        }
        for pattern in self.regexes.keys() {
            records.push(ConsumerRecord::Regex { pattern: Arc::clone(pattern), value: None });
        }
        records.push(ConsumerRecord::Epoch(None));
        records
    }

    pub const fn members(&self) -> &BTreeMap<Arc<str>, Member> {
        &self.members
    }

    pub fn member(&self, id: &str) -> Option<&Member> {
        self.members.get(id)
    }

    /// The member behind an instance id.
    pub fn static_member(&self, instance: &str) -> Option<(&Arc<str>, &Member)> {
        let id = self.statics.get(instance)?;
        self.members.get_key_value(id)
    }

    pub fn target(&self, id: &str) -> &Partitions {
        self.targets.get(id).map_or(&NO_PARTITIONS, |target| target)
    }

    pub fn has_target(&self, id: &str) -> bool {
        self.targets.contains_key(id)
    }

    /// Who holds a partition.
    pub fn owner(&self, topic: TopicId, partition: i32) -> Option<&Arc<str>> {
        self.owners.get(&(topic, partition))
    }

    pub const fn classic_members(&self) -> usize {
        self.classic_members
    }

    /// How many members subscribe by this regular expression.
    pub fn regex_users(&self, regex: &str) -> usize {
        self.regex_users.get(regex).copied().unwrap_or(0)
    }

    /// Regular expressions that members subscribe by.
    pub fn regexes_in_use(&self) -> impl ExactSizeIterator<Item = &Arc<str>> {
        self.regex_users.keys()
    }

    pub fn resolved(&self, regex: &str) -> Option<&Arc<ResolvedRegex>> {
        self.regexes.get(regex)
    }

    /// What is known of regular expressions that nobody subscribes by any more.
    pub fn regexes_unused(&self) -> Vec<Arc<str>> {
        self.regexes.keys().filter(|regex| self.regex_users(regex) == 0).cloned().collect()
    }

    /// Names of topics that somebody subscribes to; they need not be there.
    pub fn subscribed(&self) -> BTreeSet<&str> {
        let by_name = self.topic_users.keys().map(String::as_str);
        let by_regex = self.regexes.iter().filter(|(regex, _)| self.regex_users(regex) > 0);
        by_name.chain(by_regex.flat_map(|(_, resolved)| resolved.topics.iter().map(String::as_str))).collect()
    }

    pub fn is_subscribed(&self, topic: &str) -> bool {
        let resolves = |(regex, resolved): (&Arc<str>, &Arc<ResolvedRegex>)| {
            resolved.topics.contains(topic) && self.regex_users(regex) > 0
        };
        self.topic_users.contains_key(topic) || self.regexes.iter().any(resolves)
    }

    /// Names of topics that a member subscribes to. A regular expression that is not resolved means no topic.
    pub fn subscribed_by<'a>(&'a self, member: &'a MemberMetadata) -> impl Iterator<Item = &'a str> {
        let resolved = member.regex.as_ref().and_then(|regex| self.regexes.get(regex.as_str()));
        let by_regex = resolved.into_iter().flat_map(|resolved| &resolved.topics);
        member.topics.iter().chain(by_regex).map(String::as_str)
    }

    pub fn phase(&self) -> GroupState {
        if self.members.is_empty() {
            GroupState::Empty
        } else if self.epoch > self.target_epoch {
            GroupState::Assigning
        } else if self.members.values().all(|member| member.is_reconciled_to(self.target_epoch)) {
            GroupState::Stable
        } else {
            GroupState::Reconciling
        }
    }

    /// The assignor that most members want, if any wants one; of equals the first by name.
    pub fn preferred_assignor(&self) -> Option<&str> {
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        for name in self.members.values().filter_map(|member| member.metadata.assignor.as_deref()) {
            *votes.entry(name).or_default() += 1;
        }
        let most = votes.values().max().copied()?;
        votes.into_iter().find(|(_, count)| *count == most).map(|(name, _)| name)
    }

    /// How much there is to copy in a copy of it.
    pub fn entries(&self) -> usize {
        let topics = self.topic_users.len() + self.regexes.len();
        2 * self.members.len() + self.statics.len() + self.owners.len() + topics
    }

    /// What it takes in memory.
    pub fn bytes(&self) -> u64 {
        let member = |(id, member): (&Arc<str>, &Member)| {
            let metadata = &member.metadata;
            let held = member.current.assigned.len() + member.current.revoking.len();
            let classic = metadata.classic.iter().flat_map(|classic| &classic.protocols);
            let texts = 3 * id.len()
                + metadata.client_id.len()
                + metadata.client_host.len()
                + 2 * metadata.instance_id.as_ref().map_or(0, String::len)
                + metadata.rack_id.as_ref().map_or(0, String::len)
                + metadata.regex.as_ref().map_or(0, String::len)
                + metadata.topics.iter().map(|topic| 64 + topic.len()).sum::<usize>()
                + classic.map(|(name, bytes)| 64 + name.len() + bytes.len()).sum::<usize>();
            MEMBER_BYTES + texts as u64 + held as u64 * OFFSET_BYTES
        };
        let targets: u64 = self.targets.values().map(|target| 16 * partitions::count(target) as u64).sum();
        let regex = |(pattern, resolved): (&Arc<str>, &Arc<ResolvedRegex>)| {
            128 + pattern.len() as u64 + topics_bytes(&resolved.topics)
        };
        let regexes: u64 = self.regexes.iter().map(regex).sum();
        let topics: usize = self.topic_users.keys().map(|topic| TOPIC_NAME_BYTES + topic.len()).sum();
        self.members.iter().map(member).sum::<u64>() + targets + regexes + topics as u64
    }
}

/// What names of topics take in memory.
pub(super) fn topics_bytes(topics: &BTreeSet<String>) -> u64 {
    topics.iter().map(|topic| TOPIC_NAME_BYTES + topic.len()).sum::<usize>() as u64
}

fn less<K: Ord + std::borrow::Borrow<str>>(counts: &mut BTreeMap<K, usize>, key: &str) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

/// A state with changes on top that are not durable, and those changes: decisions are made on it one after the other.
#[derive(Debug)]
pub(in crate::group) struct Draft<'a> {
    base: &'a State,
    changed: Option<Box<State>>,
    pub records: Vec<ConsumerRecord>,
    /// Entries that were copied on the way.
    pub copied: usize,
}

impl<'a> Draft<'a> {
    pub const fn on(base: &'a State) -> Self {
        Self { base, changed: None, records: Vec::new(), copied: 0 }
    }

    pub fn state(&self) -> &State {
        self.changed.as_deref().unwrap_or(self.base)
    }

    pub fn push(&mut self, record: ConsumerRecord) {
        let changed = self.changed.get_or_insert_with(|| {
            self.copied += self.base.entries();
            Box::new(self.base.clone())
        });
        changed.apply(&record);
        self.records.push(record);
    }

    /// Tries a decision: what it changed stays only when it is made.
    pub fn attempt<T, E>(&mut self, decide: impl FnOnce(&mut Draft<'_>) -> Result<T, E>) -> Result<T, E> {
        let mut attempt = Draft::on(self.state());
        let made = decide(&mut attempt);
        let Draft { changed, records, copied, .. } = attempt;
        self.copied += copied;
        if made.is_ok() {
            self.changed = changed.or(self.changed.take());
            self.records.extend(records);
        }
        made
    }
}
