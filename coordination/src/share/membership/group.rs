//! One share group: what is durable of it, and what that says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::{TimestampMs, TopicId};

use super::record::{CurrentValue, MemberValue, Record, StateTopics};
use crate::group::INITIAL_EPOCH;
use crate::metadata::image::Image;

/// Partitions by topic.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Assignment(pub BTreeMap<TopicId, BTreeSet<i32>>);

impl Assignment {
    /// All of them, in order.
    pub fn partitions(&self) -> impl Iterator<Item = (TopicId, i32)> + '_ {
        self.0.iter().flat_map(|(topic, indices)| indices.iter().map(|index| (*topic, *index)))
    }

    /// Those of topics that are wanted.
    pub(super) fn only(&self, wanted: &BTreeSet<TopicId>) -> Self {
        let of = |(topic, indices): (&TopicId, &BTreeSet<i32>)| (*topic, indices.clone());
        Self(self.0.iter().filter(|(topic, _)| wanted.contains(topic)).map(of).collect())
    }
}

/// A member as it is durable.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Member {
    /// It said something of itself; a log that was compacted may tell its target before.
    pub known: bool,
    pub metadata: Arc<MemberValue>,
    pub current: Arc<CurrentValue>,
    pub target: Arc<Assignment>,
}

/// A group. Without an epoch it never was, or is gone.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Group {
    pub epoch: i32,
    pub metadata_hash: i64,
    pub target_epoch: i32,
    /// Milliseconds since 1970; 0 when that was not written.
    pub target_made: i64,
    pub members: BTreeMap<Arc<str>, Member>,
    pub topics: Arc<StateTopics>,
    /// Something was written of its topics, be it that there are none.
    pub has_topics: bool,
    /// Not durable: when what is written of topics came here. After a start 0, for what was being begun then is so no more.
    pub topics_since: i64,
}

/// A group, for those who look.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DescribedGroup {
    /// Of the group.
    pub epoch: i32,
    /// Of its target.
    pub assignment_epoch: i32,
    /// Nobody: it is empty. Else it is stable, there is no other state.
    pub members: Vec<DescribedMember>,
}

/// A member, for those who look.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DescribedMember {
    /// Its id.
    pub member_id: Arc<str>,
    /// Its rack, id, host and topics.
    pub metadata: Arc<MemberValue>,
    /// Its epoch.
    pub epoch: i32,
    /// What it takes records from.
    pub assigned: Assignment,
}

impl Group {
    /// Changes what is durable: the only place that does. It is `wall` o'clock, or 0 while the log is read.
    pub fn apply(&mut self, record: &Record, wall: TimestampMs) {
        match record {
            Record::Member { member, value: Some(value), .. } => {
                let member = self.members.entry(Arc::clone(member)).or_default();
                (member.known, member.metadata) = (true, Arc::clone(value));
            }
            Record::Member { member, value: None, .. } => {
                self.members.remove(member);
            }
            Record::Epoch { value, .. } => {
                let (epoch, hash) = value.unwrap_or_default();
                (self.epoch, self.metadata_hash) = (epoch, hash);
            }
            Record::TargetEpoch { value, .. } => {
                let (epoch, made) = value.unwrap_or_default();
                (self.target_epoch, self.target_made) = (epoch, made);
            }
            Record::Target { member, value: Some(value), .. } => {
                self.members.entry(Arc::clone(member)).or_default().target = Arc::clone(value);
            }
            Record::Current { member, value: Some(value), .. } => {
                self.members.entry(Arc::clone(member)).or_default().current = Arc::clone(value);
            }
            Record::Target { member, value: None, .. } => {
                if let Some(member) = self.members.get_mut(member) {
                    member.target = Arc::default();
                }
            }
            Record::Current { member, value: None, .. } => {
                if let Some(member) = self.members.get_mut(member) {
                    member.current = Arc::default();
                }
            }
            Record::Topics { value, .. } => {
                (self.has_topics, self.topics) = (value.is_some(), value.clone().unwrap_or_default());
                self.topics_since = if self.has_topics { wall.0 } else { 0 };
            }
        }
    }

    /// All records of the log are applied: of members that never said anything, nothing is left.
    pub fn loaded(&mut self) {
        self.members.retain(|_, member| member.known);
    }

    /// Nothing is left of it.
    pub fn is_gone(&self) -> bool {
        *self == Self::default()
    }

    /// Records that give this group.
    pub fn records(&self, group: &Arc<str>, records: &mut Vec<Record>) {
        let group = || Arc::clone(group);
        if self.epoch != 0 {
            records.push(Record::Epoch { group: group(), value: Some((self.epoch, self.metadata_hash)) });
        }
        for (id, member) in &self.members {
            let value = Some(Arc::clone(&member.metadata));
            records.push(Record::Member { group: group(), member: Arc::clone(id), value });
        }
        if self.target_epoch != 0 {
            let value = Some((self.target_epoch, self.target_made));
            records.push(Record::TargetEpoch { group: group(), value });
        }
        for (id, member) in &self.members {
            let value = Some(Arc::clone(&member.target));
            records.push(Record::Target { group: group(), member: Arc::clone(id), value });
            let value = Some(Arc::clone(&member.current));
            records.push(Record::Current { group: group(), member: Arc::clone(id), value });
        }
        if self.has_topics {
            records.push(Record::Topics { group: group(), value: Some(Arc::clone(&self.topics)) });
        }
    }

    /// The topics that members subscribe to, one of them as given.
    pub fn subscribed<'a>(&'a self, except: &str, and: Option<&'a MemberValue>) -> BTreeSet<&'a str> {
        let others =
            self.members.iter().filter(|(id, _)| &***id != except).map(|(_, member)| &*member.metadata);
        others.chain(and).flat_map(|metadata| metadata.topics.iter().map(String::as_str)).collect()
    }

    /// Whether the target has not the partitions that have a state by now.
    pub fn target_lags(&self, image: &Image) -> bool {
        if self.members.is_empty() || self.target_epoch < self.epoch {
            return false;
        }
        let subscribed = self.subscribed("", None);
        let mut shared_out: BTreeMap<TopicId, BTreeSet<i32>> = BTreeMap::new();
        for member in self.members.values() {
            for (topic, partition) in member.target.partitions() {
                shared_out.entry(topic).or_default().insert(partition);
            }
        }
        let wanted = ids(image, subscribed);
        let mut begun = self.topics.initialized.iter().filter(|(id, _)| wanted.contains(id));
        begun.any(|(id, topic)| {
            !topic.partitions.is_empty()
                && shared_out.get(id).is_none_or(|shared| *shared != topic.partitions)
        })
    }

    pub fn described(&self) -> DescribedGroup {
        let member = |(id, member): (&Arc<str>, &Member)| DescribedMember {
            member_id: Arc::clone(id),
            metadata: Arc::clone(&member.metadata),
            epoch: member.current.epoch,
            assigned: member.current.assigned.clone(),
        };
        let members = self.members.iter().map(member).collect();
        let (epoch, assignment_epoch) = (self.epoch.max(INITIAL_EPOCH), self.target_epoch.max(INITIAL_EPOCH));
        DescribedGroup { epoch, assignment_epoch, members }
    }

    /// Bytes it is counted with.
    pub fn bytes(&self) -> u64 {
        let names = |list: &[String]| list.iter().map(|name| 48 + name.len()).sum::<usize>();
        let share = |one: &Assignment| one.0.values().map(|indices| 64 + 8 * indices.len()).sum::<usize>();
        let member = |(id, member): (&Arc<str>, &Member)| {
            let text = &member.metadata;
            512 + 2 * id.len()
                + text.client_id.len()
                + text.client_host.len()
                + names(&text.topics)
                + share(&member.target)
                + share(&member.current.assigned)
        };
        let topics = self.topics.initialized.values().chain(self.topics.initializing.values());
        let topics: usize = topics.map(|topic| 128 + topic.name.len() + 8 * topic.partitions.len()).sum();
        (512 + topics + self.members.iter().map(member).sum::<usize>()) as u64
    }
}

/// The ids of topics, as far as they exist.
pub(super) fn ids<'a>(image: &Image, names: impl IntoIterator<Item = &'a str>) -> BTreeSet<TopicId> {
    names.into_iter().filter_map(|name| Some(image.topic(name)?.id)).collect()
}

/// What changes when one of the topics is made, deleted or gets partitions. Not the hash that Kafka has: a group that
/// moves from there to here, or back, begins one epoch more.
pub(super) fn metadata_hash<'a>(image: &Image, names: impl IntoIterator<Item = &'a str>) -> i64 {
    // FNV-1a.
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut mix = |bytes: &[u8]| {
        for byte in bytes {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    };
    for topic in names.into_iter().filter_map(|name| image.topic(name)) {
        mix(&topic.id.0);
        mix(&topic.partitions.to_be_bytes());
    }
    i64::from_be_bytes(hash.to_be_bytes())
}

/// Milliseconds between two times of day; 0 when they are the wrong way round.
pub(super) const fn elapsed_ms(from: i64, to: TimestampMs) -> i64 {
    if to.0 > from { to.0 - from } else { 0 }
}
