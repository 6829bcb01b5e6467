//! A member's share session with one broker: which partitions it takes from, what it holds, and what the next request says.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use protocol::control::messages::ShareFetchRequest;
use protocol::control::messages::share_acknowledge_request::{
    AcknowledgePartition, AcknowledgeTopic, AcknowledgementBatch as ApartBatch, ShareAcknowledgeRequest,
};
use protocol::control::messages::share_fetch_request::{
    AcknowledgementBatch, FetchPartition, FetchTopic, ForgottenTopic,
};
use protocol::{Text, Uuid, message};

use super::records::Held;
use crate::cluster::Cluster;
use crate::plan::Share;

/// Epoch of a request that opens a session.
const OPENS: i32 = 0;
/// Epoch of a request that ends one.
const ENDS: i32 = -1;

/// What a request says of records, by partition.
pub type Said = BTreeMap<usize, Vec<Held>>;

/// See the module.
#[derive(Debug)]
pub struct Session {
    group: Text,
    member: Text,
    /// Of the next request.
    epoch: i32,
    /// Partitions that the broker takes from for it.
    known: BTreeSet<usize>,
    /// Acquired, and nothing was said of it.
    held: Said,
}

impl Session {
    /// Not open.
    pub fn new(group: &Text, member: &Text) -> Self {
        let (group, member) = (group.clone(), member.clone());
        Self { group, member, epoch: OPENS, known: BTreeSet::new(), held: Said::new() }
    }

    /// Whether the broker knows of it.
    pub const fn is_open(&self) -> bool {
        self.epoch != OPENS
    }

    /// Whether anything is to be said.
    pub fn holds(&self) -> bool {
        !self.held.is_empty()
    }

    /// These records are the member's now.
    pub fn hold(&mut self, place: usize, runs: Vec<Held>) {
        if !runs.is_empty() {
            self.held.entry(place).or_default().extend(runs);
        }
    }

    /// It is over, and what was held is the broker's to give to others.
    pub fn lose(&mut self) {
        (self.epoch, self.known) = (OPENS, BTreeSet::new());
        self.held.clear();
    }

    /// A request was taken.
    pub fn step(&mut self) {
        self.epoch = self.epoch.checked_add(1).unwrap_or(1);
    }

    /// The next request for records of `wanted`, for which the broker may wait so long, and what it says of those before.
    pub fn fetch(
        &mut self,
        cluster: &Cluster,
        share: &Share,
        wait: Duration,
        wanted: &BTreeSet<usize>,
    ) -> (ShareFetchRequest, Said) {
        let said = if self.is_open() { std::mem::take(&mut self.held) } else { Said::new() };
        let named = wanted.difference(&self.known).copied();
        let named: BTreeSet<usize> = named.chain(said.keys().copied()).collect();
        let forgotten: BTreeSet<usize> = self.known.difference(wanted).copied().collect();
        self.known.clone_from(wanted);
        let topics = by_topic(cluster, &named).into_iter().map(|(topic_id, places)| {
            let partitions = places.into_iter().map(|(place, index)| {
                let batches = said.get(&place).into_iter().flatten().map(|run| {
                    message!(AcknowledgementBatch {
                        first_offset: run.first,
                        last_offset: run.last(),
                        acknowledge_types: run.types(),
                    })
                });
                message!(FetchPartition {
                    partition_index: index,
                    acknowledgement_batches: batches.collect()
                })
            });
            message!(FetchTopic { topic_id: topic_id, partitions: partitions.collect() })
        });
        let topics = topics.collect();
        let forgotten = by_topic(cluster, &forgotten).into_iter().map(|(topic_id, places)| {
            let partitions = places.into_iter().map(|(_, index)| index).collect();
            message!(ForgottenTopic { topic_id: topic_id, partitions: partitions })
        });
        let request = message!(ShareFetchRequest {
            group_id: Some(self.group.clone()),
            member_id: Some(self.member.clone()),
            share_session_epoch: self.epoch,
            max_wait_ms: i32::try_from(wait.as_millis()).unwrap_or(i32::MAX),
            min_bytes: share.bytes_min,
            max_bytes: share.bytes_max,
            max_records: share.records_max,
            batch_size: share.run_records,
            share_acquire_mode: share.acquire_mode,
            topics: topics,
            forgotten_topics_data: forgotten.collect(),
        });
        (request, said)
    }

    /// A request that says what became of records and asks for none; the session ends with it, if it is the last.
    pub fn acknowledge(&mut self, cluster: &Cluster, last: bool) -> (ShareAcknowledgeRequest, Said) {
        let said = std::mem::take(&mut self.held);
        let named: BTreeSet<usize> = said.keys().copied().collect();
        let topics = by_topic(cluster, &named).into_iter().map(|(topic_id, places)| {
            let partitions = places.into_iter().map(|(place, index)| {
                let batches = said.get(&place).into_iter().flatten().map(|run| {
                    message!(ApartBatch {
                        first_offset: run.first,
                        last_offset: run.last(),
                        acknowledge_types: run.types(),
                    })
                });
                let batches = batches.collect();
                message!(AcknowledgePartition { partition_index: index, acknowledgement_batches: batches })
            });
            message!(AcknowledgeTopic { topic_id: topic_id, partitions: partitions.collect() })
        });
        let topics = topics.collect();
        let request = message!(ShareAcknowledgeRequest {
            group_id: Some(self.group.clone()),
            member_id: Some(self.member.clone()),
            share_session_epoch: if last { ENDS } else { self.epoch },
            topics: topics,
        });
        (request, said)
    }
}

/// Partitions by the ids of their topics: places and indexes.
fn by_topic(cluster: &Cluster, places: &BTreeSet<usize>) -> Vec<(Uuid, Vec<(usize, i32)>)> {
    let mut topics: Vec<(Uuid, Vec<(usize, i32)>)> = Vec::new();
    let mut last = None;
    for place in places {
        let partition = cluster.partitions[*place];
        if last != Some(partition.topic) {
            topics.push((Uuid::from_bytes(cluster.topics[partition.topic].id.0), Vec::new()));
            last = Some(partition.topic);
        }
        if let Some((_, list)) = topics.last_mut() {
            list.push((*place, partition.index));
        }
    }
    topics
}

#[cfg(test)]
mod tests {
    use super::super::records::{ACCEPT, REJECT};
    use super::*;
    use crate::cluster::{Partition, Topic};

    fn cluster() -> Cluster {
        let topic = |id: u8| Topic { name: id.to_string(), id: model::TopicId([id; 16]) };
        let partition = |topic: usize, index: i32| Partition { topic, index, leader: 1 };
        let mut cluster = Cluster::default();
        cluster.topics.extend([topic(1), topic(2)]);
        cluster.partitions.extend([partition(0, 0), partition(0, 1), partition(1, 0)]);
        cluster
    }

    fn share() -> Share {
        Share {
            groups: 1,
            consumers: 1,
            name: String::new(),
            configs: Vec::new(),
            records_max: 7,
            run_records: 5,
            acquire_mode: 1,
            mix: crate::plan::Mix { release: 0.0, reject: 0.0 },
            commit_sync: false,
            bytes_max: 100,
            bytes_min: 1,
            wait: WAIT,
            stamping: crate::stamp::Stamping::None,
        }
    }

    const WAIT: Duration = Duration::from_millis(20);

    /// Topic, partition, batches as (first, last, types).
    type Named = Vec<(u8, i32, Vec<(i64, i64, Vec<i8>)>)>;

    fn named(request: &ShareFetchRequest) -> Named {
        let topics = request.topics.iter();
        let all = topics.flat_map(|topic| topic.partitions.iter().map(move |one| (topic.topic_id, one)));
        all.map(|(id, one)| {
            let batches = one.acknowledgement_batches.iter();
            let batches = batches.map(|of| (of.first_offset, of.last_offset, of.acknowledge_types.clone()));
            (id.to_bytes()[0], one.partition_index, batches.collect())
        })
        .collect()
    }

    fn held(first: i64, kinds: &[i8]) -> Held {
        Held { first, kinds: kinds.to_vec(), own: Vec::new() }
    }

    #[test]
    fn a_request_names_what_has_changed_and_what_is_said() {
        let (cluster, share) = (cluster(), share());
        let mut session = Session::new(&"g".into(), &"m".into());
        let all: BTreeSet<usize> = [0, 1, 2].into();
        let (request, said) = session.fetch(&cluster, &share, WAIT, &all);
        assert_eq!(named(&request), [(1, 0, vec![]), (1, 1, vec![]), (2, 0, vec![])]);
        assert!(request.share_session_epoch == 0 && said.is_empty());
        let limits = (request.max_records, request.batch_size, request.share_acquire_mode);
        assert_eq!((limits, request.max_wait_ms), ((7, 5, 1), 20));
        session.step();
        session.hold(1, vec![held(5, &[ACCEPT, ACCEPT]), held(9, &[ACCEPT, REJECT])]);
        session.hold(0, Vec::new());
        let (request, said) = session.fetch(&cluster, &share, WAIT, &[0, 1].into());
        let batches = vec![(5, 6, vec![ACCEPT]), (9, 10, vec![ACCEPT, REJECT])];
        assert_eq!(named(&request), [(1, 1, batches)]);
        assert_eq!((request.share_session_epoch, said.len(), session.holds()), (1, 1, false));
        assert_eq!(request.forgotten_topics_data[0].topic_id.to_bytes(), [2; 16]);
        // Nothing new: nothing is named.
        session.step();
        let (request, _) = session.fetch(&cluster, &share, WAIT, &[0, 1].into());
        assert!(request.topics.is_empty() && request.forgotten_topics_data.is_empty());
    }

    #[test]
    fn a_session_that_is_lost_begins_again_and_says_nothing() {
        let (cluster, share) = (cluster(), share());
        let mut session = Session::new(&"g".into(), &"m".into());
        session.fetch(&cluster, &share, WAIT, &[0].into());
        session.step();
        session.hold(0, vec![held(5, &[ACCEPT])]);
        session.lose();
        assert!(!session.is_open() && !session.holds());
        let (request, said) = session.fetch(&cluster, &share, WAIT, &[0].into());
        assert_eq!((request.share_session_epoch, named(&request)), (0, vec![(1, 0, vec![])]));
        assert!(said.is_empty());
    }

    #[test]
    fn the_last_request_ends_the_session() {
        let cluster = cluster();
        let mut session = Session::new(&"g".into(), &"m".into());
        session.step();
        session.hold(2, vec![held(5, &[REJECT])]);
        let (request, said) = session.acknowledge(&cluster, true);
        assert_eq!((request.share_session_epoch, said.len()), (-1, 1));
        let partition = &request.topics[0].partitions[0];
        assert_eq!(partition.acknowledgement_batches[0].acknowledge_types, [REJECT]);
        assert_eq!(session.acknowledge(&cluster, false).0.share_session_epoch, 1);
    }
}
