//! What is known of the cluster: its brokers, who leads which partition, which versions it speaks.

use std::collections::{BTreeMap, HashMap};
use std::net::{SocketAddr, ToSocketAddrs};

use model::{ErrorCode, TopicId};
use protocol::ApiKey;
use protocol::control::messages::{ApiVersionsResponse, MetadataResponse};
use protocol::{TOPIC_ID_SINCE, TopicRef};

/// Which version of each API to use: the highest that both sides know.
#[derive(Clone, Debug, Default)]
pub struct Versions(BTreeMap<i16, i16>);

impl Versions {
    /// From a broker's answer.
    pub fn agreed(response: &ApiVersionsResponse) -> Self {
        let agree = |theirs: &protocol::control::messages::api_versions_response::ApiVersion| {
            let ours = protocol::api::find(theirs.api_key)?;
            let version = ours.max.min(theirs.max_version);
            (version >= ours.min.max(theirs.min_version)).then_some((theirs.api_key, version))
        };
        Self(response.api_keys.iter().filter_map(agree).collect())
    }

    /// The version of this API.
    ///
    /// # Errors
    /// The broker does not serve it in any version that we speak.
    pub fn of(&self, key: ApiKey) -> Result<i16, String> {
        self.0
            .get(&key.number())
            .copied()
            .ok_or_else(|| format!("the broker does not serve {}", key.api().name))
    }
}

/// A topic.
#[derive(Clone, Debug)]
pub struct Topic {
    /// Its name.
    pub name: String,
    /// Its id, or zero from brokers that have none.
    pub id: TopicId,
}

/// A partition. It is known by its place in [`Cluster::partitions`] everywhere else.
#[derive(Clone, Copy, Debug)]
pub struct Partition {
    /// Place in [`Cluster::topics`].
    pub topic: usize,
    /// Number in its topic.
    pub index: i32,
    /// Node id of its leader, or -1.
    pub leader: i32,
}

/// The cluster as of the last answer to Metadata.
#[derive(Clone, Debug, Default)]
pub struct Cluster {
    /// Where each node listens.
    pub brokers: BTreeMap<i32, SocketAddr>,
    /// The topics of the run.
    pub topics: Vec<Topic>,
    /// Their partitions, topic by topic.
    pub partitions: Vec<Partition>,
    /// What it speaks.
    pub versions: Versions,
    by_name: HashMap<String, usize>,
    by_id: HashMap<TopicId, usize>,
    /// First partition of each topic.
    firsts: Vec<usize>,
}

impl Cluster {
    /// The cluster, of these topics only, all of which must be there.
    ///
    /// # Errors
    /// A topic or a leader is missing, by name.
    pub fn new(names: &[String], versions: Versions, response: &MetadataResponse) -> Result<Self, String> {
        let mut cluster = Self { versions, brokers: brokers(response), ..Self::default() };
        for name in names {
            let found = response.topics.iter().find(|topic| topic.name.as_deref() == Some(name));
            let topic = found.ok_or_else(|| format!("topic {name} is not in the broker's answer"))?;
            if topic.error_code != 0 {
                return Err(format!("topic {name}: {}", error_name(topic.error_code)));
            }
            let place = cluster.topics.len();
            let id = TopicId(topic.topic_id.to_bytes());
            cluster.topics.push(Topic { name: name.clone(), id });
            cluster.by_name.insert(name.clone(), place);
            cluster.by_id.insert(id, place);
            cluster.firsts.push(cluster.partitions.len());
            let mut leaders = BTreeMap::new();
            for partition in &topic.partitions {
                leaders.insert(partition.partition_index, partition.leader_id);
            }
            for (number, (index, leader)) in (0..).zip(leaders) {
                if index != number {
                    return Err(format!("topic {name} has no partition {number}"));
                }
                if leader < 0 {
                    return Err(format!("partition {index} of topic {name} has no leader"));
                }
                cluster.partitions.push(Partition { topic: place, index, leader });
            }
        }
        Ok(cluster)
    }

    /// Takes over who leads, as far as the answer says so.
    pub fn update(&mut self, response: &MetadataResponse) {
        self.brokers.extend(brokers(response));
        for topic in &response.topics {
            let Some(place) = topic.name.as_deref().and_then(|name| self.by_name.get(name)).copied() else {
                continue;
            };
            for partition in &topic.partitions {
                if let Some(known) = self.partition_at(place, partition.partition_index)
                    && partition.leader_id >= 0
                {
                    self.partitions[known].leader = partition.leader_id;
                }
            }
        }
    }

    /// Place of a partition that an answer names.
    pub fn find(&self, topic: &TopicRef, index: i32) -> Option<usize> {
        let place =
            if topic.name.is_empty() { self.by_id.get(&topic.id) } else { self.by_name.get(&*topic.name) };
        self.partition_at(*place?, index)
    }

    fn partition_at(&self, topic: usize, index: i32) -> Option<usize> {
        let at = self.firsts.get(topic)? + usize::try_from(index).ok()?;
        self.partitions.get(at).filter(|partition| partition.topic == topic).map(|_| at)
    }

    /// How a request of this version of Produce or Fetch names a topic.
    pub fn reference(&self, topic: usize, version: i16) -> TopicRef {
        let topic = &self.topics[topic];
        if version >= TOPIC_ID_SINCE {
            TopicRef { name: protocol::Text::default(), id: topic.id }
        } else {
            TopicRef { name: topic.name.as_str().into(), id: TopicId::ZERO }
        }
    }

    /// What people call a partition.
    pub fn name(&self, partition: usize) -> String {
        let partition = self.partitions[partition];
        format!("{}-{}", self.topics[partition.topic].name, partition.index)
    }

    /// Version of Produce or Fetch, below topic ids where the cluster has none.
    ///
    /// # Errors
    /// As [`Versions::of`].
    pub fn data_version(&self, key: ApiKey) -> Result<i16, String> {
        let version = self.versions.of(key)?;
        let named = self.topics.iter().all(|topic| topic.id != TopicId::ZERO);
        Ok(if named { version } else { version.min(TOPIC_ID_SINCE - 1) })
    }
}

fn brokers(response: &MetadataResponse) -> BTreeMap<i32, SocketAddr> {
    let address = |host: &str, port: i32| resolve(&format!("{host}:{port}")).ok();
    let brokers = response.brokers.iter();
    brokers.filter_map(|broker| Some((broker.node_id, address(&broker.host, broker.port)?))).collect()
}

/// An address by its name. This asks the system and may block: brokers that are told by their addresses do not.
///
/// # Errors
/// There is no such host, in words.
pub fn resolve(host_port: &str) -> Result<SocketAddr, String> {
    let host_port =
        if host_port.rsplit_once(':').is_some() { host_port.to_owned() } else { format!("{host_port}:9092") };
    let found = host_port.to_socket_addrs().map_err(|error| format!("{host_port}: {error}"))?;
    let found: Vec<SocketAddr> = found.collect();
    // Brokers on localhost listen on IPv4 more often than not.
    let best = found.iter().find(|address| address.is_ipv4()).or(found.first());
    best.copied().ok_or_else(|| format!("{host_port}: no address"))
}

/// Kafka's name of an error.
pub fn error_name(code: i16) -> String {
    ErrorCode::from_code(code).map_or_else(|| format!("error {code}"), |error| error.name().to_owned())
}

#[cfg(test)]
mod tests {
    use protocol::control::messages::metadata_response::{
        MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
    };
    use protocol::message;

    use super::*;

    fn answer(leaders: &[i32]) -> MetadataResponse {
        let partitions = leaders.iter().zip(0..).map(|(leader, index)| {
            message!(MetadataResponsePartition { partition_index: index, leader_id: *leader })
        });
        let mut partitions: Vec<_> = partitions.collect();
        partitions.reverse();
        let topic = |name: &str, id: u8, partitions: Vec<_>| {
            message!(MetadataResponseTopic {
                name: Some(name.into()),
                topic_id: protocol::Uuid::from_bytes([id; 16]),
                partitions: partitions,
            })
        };
        message!(MetadataResponse {
            brokers: vec![message!(MetadataResponseBroker { node_id: 1, host: "127.0.0.1".into(), port: 9 })],
            topics: vec![
                topic("b", 2, vec![message!(MetadataResponsePartition { leader_id: 1 })]),
                topic("a", 1, partitions),
            ],
        })
    }

    #[test]
    fn partitions_are_found_by_name_and_by_id() {
        let names = ["a".to_owned(), "b".to_owned()];
        let mut cluster = Cluster::new(&names, Versions::default(), &answer(&[1, 1, 2])).unwrap();
        assert_eq!(cluster.partitions.len(), 4);
        let by_name = |name: &str| TopicRef { name: name.into(), id: TopicId::ZERO };
        assert_eq!(cluster.find(&by_name("a"), 2), Some(2));
        assert_eq!(cluster.find(&by_name("b"), 0), Some(3));
        assert_eq!(cluster.find(&cluster.reference(1, 13), 0), Some(3));
        for (name, index) in [("a", 3), ("a", -1), ("b", 1), ("c", 0)] {
            assert_eq!(cluster.find(&by_name(name), index), None, "{name}-{index}");
        }
        assert_eq!(cluster.partitions[2].leader, 2);
        // No leader at the moment is no news.
        cluster.update(&answer(&[2, -1, 2]));
        assert_eq!(cluster.partitions.iter().map(|p| p.leader).collect::<Vec<_>>(), [2, 1, 2, 1]);
    }

    #[test]
    fn what_is_missing_is_named() {
        let error = |names: &[&str], leaders: &[i32]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            Cluster::new(&names, Versions::default(), &answer(leaders)).unwrap_err()
        };
        assert!(error(&["zzz"], &[1]).contains("zzz"));
        assert!(error(&["a"], &[1, -1]).contains("partition 1"));
    }
}
