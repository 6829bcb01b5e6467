//! Where a group is: offsets committed and asked for. Partitions are named by their places in the cluster.

use std::collections::{BTreeMap, HashMap};
use std::io;

use model::TopicId;
use protocol::control::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use protocol::control::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use protocol::control::messages::{OffsetCommitRequest, OffsetFetchRequest};
use protocol::{ApiKey, Text, TopicRef, Uuid, message};

use super::membership::is_rebalance;
use super::{Membership, refuse};
use crate::cluster::error_name;
use crate::link::PATIENCE;

/// First version of OffsetCommit and OffsetFetch that names topics by their ids.
const IDS_SINCE: i16 = 10;
/// First version of OffsetFetch that asks for several groups.
const GROUPS_SINCE: i16 = 8;
/// How long the broker keeps offsets is its own to say.
const RETENTION_OF_BROKER: i64 = -1;

impl Membership {
    /// The topic by its place, as this version names it.
    fn name(&self, topic: usize, version: i16) -> (Text, Uuid) {
        let topic = &self.at.core.cluster.borrow().topics[topic];
        match version {
            IDS_SINCE.. => (Text::default(), Uuid::from_bytes(topic.id.0)),
            _ => (topic.name.as_str().into(), Uuid::from_bytes(TopicId::ZERO.0)),
        }
    }

    /// The partitions of each topic.
    fn by_topic<T>(&self, places: impl Iterator<Item = (usize, T)>) -> BTreeMap<usize, Vec<(i32, T)>> {
        let cluster = self.at.core.cluster.borrow();
        let mut topics: BTreeMap<usize, Vec<(i32, T)>> = BTreeMap::new();
        for (place, with) in places {
            let partition = cluster.partitions[place];
            topics.entry(partition.topic).or_default().push((partition.index, with));
        }
        topics
    }

    /// Commits these offsets. Refusals that a rebalance explains are counted, and no more.
    pub async fn commit(&self, offsets: &[(usize, i64)]) -> io::Result<()> {
        if offsets.is_empty() {
            return Ok(());
        }
        let version = self.at.version(ApiKey::OffsetCommit)?;
        let topics = self.by_topic(offsets.iter().copied()).into_iter().map(|(topic, partitions)| {
            let (name, id) = self.name(topic, version);
            let partitions = partitions.into_iter().map(|(index, offset)| {
                message!(OffsetCommitRequestPartition {
                    partition_index: index,
                    committed_offset: offset,
                    committed_leader_epoch: -1,
                    committed_metadata: Some(Text::default()),
                })
            });
            message!(OffsetCommitRequestTopic { name: name, topic_id: id, partitions: partitions.collect() })
        });
        let request = message!(OffsetCommitRequest {
            group_id: self.at.group.clone(),
            generation_id_or_member_epoch: self.generation,
            member_id: self.id.clone(),
            retention_time_ms: RETENTION_OF_BROKER,
            topics: topics.collect(),
        });
        let answer = self.at.ask(ApiKey::OffsetCommit, &request, PATIENCE).await?;
        let codes = answer.topics.iter().flat_map(|topic| &topic.partitions).map(|answer| answer.error_code);
        // One error per request: its reason is that of all partitions as a rule.
        match codes.into_iter().find(|code| *code != 0) {
            Some(code) if is_rebalance(code) => {
                self.at.core.error(&format!("commit: {}", error_name(code)));
                Ok(())
            }
            Some(code) => refuse(code),
            None => Ok(()),
        }
    }

    /// The offsets that the group has committed for these partitions, as far as it has.
    pub async fn committed(&self, places: &[usize]) -> io::Result<HashMap<usize, i64>> {
        if places.is_empty() {
            return Ok(HashMap::new());
        }
        let version = self.at.version(ApiKey::OffsetFetch)?;
        let topics = self.by_topic(places.iter().map(|place| (*place, ())));
        let topics = topics.into_iter().map(|(topic, partitions)| {
            let indexes: Vec<i32> = partitions.into_iter().map(|(index, ())| index).collect();
            (self.name(topic, version), indexes)
        });
        let request = if version >= GROUPS_SINCE {
            let topics = topics.map(|((name, id), indexes)| {
                message!(OffsetFetchRequestTopics { name: name, topic_id: id, partition_indexes: indexes })
            });
            let group = message!(OffsetFetchRequestGroup {
                group_id: self.at.group.clone(),
                member_epoch: -1,
                topics: Some(topics.collect()),
            });
            message!(OffsetFetchRequest { groups: vec![group] })
        } else {
            let topics = topics.map(|((name, _), indexes)| {
                message!(OffsetFetchRequestTopic { name: name, partition_indexes: indexes })
            });
            message!(OffsetFetchRequest { group_id: self.at.group.clone(), topics: Some(topics.collect()) })
        };
        let answer = self.at.ask(ApiKey::OffsetFetch, &request, PATIENCE).await?;
        refuse(answer.error_code)?;
        let mut found = HashMap::new();
        for topic in &answer.topics {
            for answer in &topic.partitions {
                refuse(answer.error_code)?;
                let topic = TopicRef { name: topic.name.clone(), id: TopicId::ZERO };
                self.note(&mut found, &topic, answer.partition_index, answer.committed_offset);
            }
        }
        for group in &answer.groups {
            refuse(group.error_code)?;
            for topic in &group.topics {
                for answer in &topic.partitions {
                    refuse(answer.error_code)?;
                    let topic = TopicRef { name: topic.name.clone(), id: TopicId(topic.topic_id.to_bytes()) };
                    self.note(&mut found, &topic, answer.partition_index, answer.committed_offset);
                }
            }
        }
        Ok(found)
    }

    fn note(&self, found: &mut HashMap<usize, i64>, topic: &TopicRef, index: i32, offset: i64) {
        if let Some(place) = self.at.core.cluster.borrow().find(topic, index)
            && offset >= 0
        {
            found.insert(place, offset);
        }
    }
}
