//! OffsetCommit, OffsetFetch and OffsetDelete.

use std::sync::Arc;

use model::{ErrorCode, Offset, TimestampMs, TopicId};

use super::classic::Group;
use super::consumer;
use super::coordinator::Coordinator;
use super::desk::{Desk, Then};
use super::limits::{NAME_BYTES_MAX, OFFSET_METADATA_BYTES_MAX, TOPIC_BYTES_MAX};
use super::offsets::offset_bytes;
use super::record::{OffsetValue, Record};
use super::reply::{
    CommittedOffset, FetchedTopic, GroupState, OffsetDeleteReply, OffsetFetchReply, Reply, TopicVerdict,
};
use super::request::{
    CommitPartition, CommitTopic, OffsetCommit, OffsetDelete, OffsetFetch, PartitionsOf, Request,
};

impl Coordinator {
    pub(super) fn offset_commit(&mut self, ticket: u64, commit: OffsetCommit) {
        if let Err(error) = self.may_commit(&commit) {
            self.desk.reply(ticket, Reply::refused(&Request::OffsetCommit(commit), error));
            return;
        }
        let desk = &mut self.desk;
        let id: Arc<str> = commit.group.as_str().into();
        let group = self.groups.entry(Arc::clone(&id)).or_insert_with(|| Group::new(id));
        if matches!(group.state, GroupState::Stable | GroupState::PreparingRebalance) {
            // A commit is a sign of life.
            group.refresh_session(&commit.member_id, None, desk);
        }
        let mut draft = Draft { expire_time: None, records: Vec::new(), keys: Vec::new(), reserved: 0 };
        draft.expire_time = commit.retention_ms.map(|ms| TimestampMs(desk.wall.0.saturating_add(ms)));
        let verdicts = commit.topics.iter().map(|topic| draft.commit_topic(group, topic, desk)).collect();
        let reply = Reply::OffsetCommit(verdicts);
        if draft.records.is_empty() {
            desk.reply(ticket, reply);
        } else {
            let Draft { records, keys, reserved, .. } = draft;
            desk.bytes += reserved;
            desk.park(ticket);
            group.append(desk, records, Then::Committed { ticket, reply, keys, reserved });
        }
        group.recount(false, desk);
        self.forget_if_vacant(&commit.group);
    }

    fn may_commit(&self, commit: &OffsetCommit) -> Result<(), ErrorCode> {
        if commit.group.len() > NAME_BYTES_MAX {
            return Err(ErrorCode::InvalidGroupId);
        }
        match self.groups.get(commit.group.as_str()) {
            Some(group) => group.may_commit(commit),
            // Somebody outside of group management: this makes a "simple" group.
            None if commit.generation < 0 => Ok(()),
            None if commit.knows_group_not_found => Err(ErrorCode::GroupIdNotFound),
            None => Err(ErrorCode::IllegalGeneration),
        }
    }

    pub(super) fn offset_fetch(&mut self, ticket: u64, fetch: OffsetFetch) {
        let group = self.groups.get(fetch.group.as_str());
        let consumer = group.and_then(|group| group.consumer.as_ref());
        if let Some(consumer) = consumer
            && let Err(error) = consumer::may_fetch(&consumer.state, fetch.member.as_ref())
        {
            self.desk.reply(ticket, Reply::refused(&Request::OffsetFetch(fetch), error));
            return;
        }
        match self.wait_until_stable(ticket, fetch, u64::MAX) {
            Some(fetch) => {
                let reply = self.fetched(&fetch);
                self.desk.reply(ticket, reply);
            }
            None => {
                self.desk.park(ticket);
            }
        }
    }

    /// Puts a fetch that asks for it behind the commits of its group that are on their way, up to the append `newest`; gives it
    /// back when there is nothing to wait for. As in Kafka it does not wait for what came later: there might be no end to that.
    pub(super) fn wait_until_stable(
        &mut self,
        ticket: u64,
        fetch: OffsetFetch,
        newest: u64,
    ) -> Option<OffsetFetch> {
        let group = self.groups.get(fetch.group.as_str());
        let unstable = group.is_some_and(|group| !group.committing.is_empty());
        if fetch.require_stable
            && unstable
            && let Some((_, flight)) = self.desk.flights.range_mut(..=newest).next_back()
        {
            flight.fetches.push((ticket, fetch));
            return None;
        }
        Some(fetch)
    }

    /// What is durable now.
    pub(super) fn fetched(&self, fetch: &OffsetFetch) -> Reply {
        let group = self.groups.get(fetch.group.as_str());
        let topics = match (&fetch.topics, group) {
            (Some(topics), _) => topics.iter().map(|wanted| fetch_topic(group, wanted)).collect(),
            (None, Some(group)) => {
                let topic =
                    |(topic, partitions): (&Arc<str>, &std::collections::BTreeMap<i32, OffsetValue>)| {
                        let partitions =
                            partitions.iter().map(|(&partition, value)| committed(partition, Some(value)));
                        FetchedTopic { topic: topic.to_string(), partitions: partitions.collect() }
                    };
                group.offsets.topics().map(topic).collect()
            }
            (None, None) => Vec::new(),
        };
        Reply::OffsetFetch(OffsetFetchReply { error: ErrorCode::None, topics })
    }

    pub(super) fn offset_delete(&mut self, ticket: u64, delete: &OffsetDelete) {
        let refused = |error| Reply::OffsetDelete(OffsetDeleteReply { error, topics: Vec::new() });
        if delete.group.is_empty() {
            self.desk.reply(ticket, refused(ErrorCode::InvalidGroupId));
            return;
        }
        let Some(group) = self.groups.get_mut(delete.group.as_str()) else {
            self.desk.reply(ticket, refused(ErrorCode::GroupIdNotFound));
            return;
        };
        if let Err(error) = group.may_delete_offsets() {
            self.desk.reply(ticket, refused(error));
            return;
        }
        let mut records = Vec::new();
        let verdicts = delete.topics.iter().map(|topic| delete_topic(group, topic, &mut records)).collect();
        let reply = Reply::OffsetDelete(OffsetDeleteReply { error: ErrorCode::None, topics: verdicts });
        if records.is_empty() {
            self.desk.reply(ticket, reply);
        } else {
            self.desk.park(ticket);
            group.append(&mut self.desk, records, Then::Answer { ticket, reply });
        }
    }
}

/// A commit being made into records.
struct Draft {
    expire_time: Option<TimestampMs>,
    records: Vec<Record>,
    keys: Vec<(Arc<str>, i32)>,
    reserved: u64,
}

impl Draft {
    fn commit_topic(&mut self, group: &mut Group, topic: &CommitTopic, desk: &Desk) -> TopicVerdict {
        let name: Arc<str> = topic.name.as_str().into();
        let partitions = topic.partitions.iter().map(|one| {
            let verdict = self.commit_one(group, &name, topic.topic_id, one, desk);
            (one.partition, verdict.err().unwrap_or(ErrorCode::None))
        });
        let partitions = partitions.collect();
        TopicVerdict { topic: topic.name.clone(), topic_id: topic.topic_id, partitions }
    }

    fn commit_one(
        &mut self,
        group: &mut Group,
        topic: &Arc<str>,
        topic_id: TopicId,
        wanted: &CommitPartition,
        desk: &Desk,
    ) -> Result<(), ErrorCode> {
        if topic.len() > TOPIC_BYTES_MAX {
            return Err(ErrorCode::InvalidTopicException);
        }
        let units = wanted.metadata.encode_utf16().count();
        let units_max = usize::try_from(desk.settings.offset_metadata_bytes_max).unwrap_or(usize::MAX);
        if units > units_max || wanted.metadata.len() > OFFSET_METADATA_BYTES_MAX {
            return Err(ErrorCode::OffsetMetadataTooLarge);
        }
        let (key, bytes) = ((Arc::clone(topic), wanted.partition), offset_bytes(&wanted.metadata));
        let old = group.offsets.get(topic, wanted.partition);
        let more = bytes.saturating_sub(old.map_or(0, |old| offset_bytes(&old.metadata)));
        if more > 0 && !desk.affords(self.reserved + more) {
            return Err(ErrorCode::InvalidCommitOffsetSize);
        }
        self.reserved += more;
        let value = OffsetValue {
            offset: wanted.offset,
            leader_epoch: wanted.leader_epoch,
            metadata: wanted.metadata.clone(),
            commit_time: wanted.commit_time.unwrap_or(desk.wall),
            expire_time: self.expire_time,
            topic_id,
        };
        let (group_id, partition) = (Arc::clone(&group.id), wanted.partition);
        let topic = Arc::clone(topic);
        self.records.push(Record::Offset { group: group_id, topic, partition, value: Some(value) });
        let pending = group.committing.entry(key.clone()).or_insert((0, topic_id));
        pending.0 += 1;
        self.keys.push(key);
        Ok(())
    }
}

impl Group {
    fn may_commit(&self, commit: &OffsetCommit) -> Result<(), ErrorCode> {
        if self.state == GroupState::Dead {
            return Err(ErrorCode::CoordinatorNotAvailable);
        }
        if let Some(consumer) = &self.consumer {
            return consumer::may_commit(&consumer.state, commit);
        }
        if commit.generation < 0 && self.state == GroupState::Empty {
            return Ok(());
        }
        if commit.generation < 0 && commit.member_id.is_empty() && commit.instance_id.is_none() {
            return Err(ErrorCode::UnknownMemberId);
        }
        self.validate(&commit.member_id, commit.instance_id.as_deref())?;
        if commit.generation != self.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        if self.state == GroupState::CompletingRebalance {
            // It knows of this generation but has not synced: it will commit after that.
            return Err(ErrorCode::RebalanceInProgress);
        }
        Ok(())
    }

    /// A commit landed, or not: its keys are no longer on their way.
    pub fn commit_landed(&mut self, keys: &[(Arc<str>, i32)]) {
        for key in keys {
            if let Some(pending) = self.committing.get_mut(key) {
                pending.0 -= 1;
                if pending.0 == 0 {
                    self.committing.remove(key);
                }
            }
        }
    }

    pub fn tombstone(&self, topic: &Arc<str>, partition: i32) -> Record {
        Record::Offset { group: Arc::clone(&self.id), topic: Arc::clone(topic), partition, value: None }
    }

    /// Tombstones of all its offsets, those on their way included.
    pub fn tombstones(&self) -> Vec<Record> {
        let durable = self.offsets.iter().map(|(topic, partition, _)| self.tombstone(topic, partition));
        let coming = self.committing.keys().filter(|(topic, at)| self.offsets.get(topic, *at).is_none());
        durable.chain(coming.map(|(topic, partition)| self.tombstone(topic, *partition))).collect()
    }
}

fn committed(partition: i32, value: Option<&OffsetValue>) -> CommittedOffset {
    match value {
        Some(value) => CommittedOffset {
            partition,
            offset: value.offset,
            leader_epoch: value.leader_epoch,
            metadata: value.metadata.clone(),
        },
        None => {
            CommittedOffset { partition, offset: Offset::NONE, leader_epoch: -1, metadata: String::new() }
        }
    }
}

fn fetch_topic(group: Option<&Group>, wanted: &PartitionsOf) -> FetchedTopic {
    let one = |&partition: &i32| {
        committed(partition, group.and_then(|group| group.offsets.get(&wanted.topic, partition)))
    };
    FetchedTopic { topic: wanted.topic.clone(), partitions: wanted.partitions.iter().map(one).collect() }
}

fn delete_topic(group: &Group, wanted: &PartitionsOf, records: &mut Vec<Record>) -> TopicVerdict {
    let topic: Arc<str> = wanted.topic.as_str().into();
    let used = group.is_subscribed(&topic);
    if !used {
        for &partition in &wanted.partitions {
            let coming = group.committing.contains_key(&(Arc::clone(&topic), partition));
            if coming || group.offsets.get(&topic, partition).is_some() {
                records.push(group.tombstone(&topic, partition));
            }
        }
    }
    let verdict = if used { ErrorCode::GroupSubscribedToTopic } else { ErrorCode::None };
    let partitions = wanted.partitions.iter().map(|&partition| (partition, verdict)).collect();
    TopicVerdict { topic: wanted.topic.clone(), topic_id: TopicId::ZERO, partitions }
}
