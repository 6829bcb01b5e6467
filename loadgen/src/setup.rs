//! Before a run: topics, leaders, offsets, producer ids. One request at a time on plain blocking sockets, because no
//! executor runs yet and nothing is measured.

mod share;

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use protocol::control::messages::create_partitions_request::CreatePartitionsTopic;
use protocol::control::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use protocol::control::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use protocol::control::messages::metadata_request::MetadataRequestTopic;
use protocol::control::messages::{
    ApiVersionsRequest, CreatePartitionsRequest, CreateTopicsRequest, InitProducerIdRequest,
    ListOffsetsRequest, MetadataRequest, MetadataResponse,
};
use protocol::control::{self, KafkaRequest, RequestResponsePair};
use protocol::{ApiKey, message};

use crate::cluster::{Cluster, Versions, error_name, resolve};

pub use share::{Seat, gather};

/// How long to wait for a cluster, for leaders, for one answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// Partitions asked for in one request: Kafka refuses more than some 10,000.
const PARTITIONS_AT_ONCE: i32 = 5000;
/// Largest answer that is believed.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// Why a run cannot begin.
#[derive(Debug)]
pub struct SetupError(pub String);

impl std::fmt::Display for SetupError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SetupError {}

impl std::convert::From<String> for SetupError {
    fn from(text: String) -> Self {
        Self(text)
    }
}

/// A connection.
#[derive(Debug)]
pub struct Client {
    socket: TcpStream,
    address: SocketAddr,
    client_id: String,
    versions: Versions,
    correlation_id: i32,
}

impl Client {
    /// Connects and asks what is spoken.
    fn connect(address: SocketAddr, client_id: &str) -> Result<Self, SetupError> {
        let failed = |error: io::Error| SetupError(format!("cannot reach {address}: {error}"));
        let socket = TcpStream::connect_timeout(&address, PATIENCE).map_err(failed)?;
        socket.set_nodelay(true).map_err(failed)?;
        socket.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
        let mut client = Self {
            socket,
            address,
            client_id: client_id.to_owned(),
            versions: Versions::default(),
            correlation_id: 0,
        };
        let request = message!(ApiVersionsRequest {
            client_software_name: "millrace-loadgen".into(),
            client_software_version: env!("CARGO_PKG_VERSION").into(),
        });
        // Version 3 is refused by brokers before 2.4, which answer in version 0: none that speaks our Fetch does.
        let response = client.call_in(3, &request)?;
        if response.error_code != 0 {
            return Err(SetupError(format!("{address}: ApiVersions: {}", error_name(response.error_code))));
        }
        client.versions = Versions::agreed(&response);
        Ok(client)
    }

    /// The first of `addresses` that answers.
    ///
    /// # Errors
    /// None did: what the last one said.
    pub fn connect_any(addresses: &[String], client_id: &str) -> Result<Self, SetupError> {
        let mut last = SetupError("no --bootstrap address".to_owned());
        for address in addresses {
            match resolve(address).map_err(SetupError).and_then(|address| Self::connect(address, client_id)) {
                Ok(client) => return Ok(client),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Asks in the highest version both know.
    pub fn call<M: RequestResponsePair>(
        &mut self,
        key: ApiKey,
        request: &M,
    ) -> Result<M::Response, SetupError> {
        self.call_in(self.versions.of(key)?, request)
    }

    fn call_in<M: RequestResponsePair>(
        &mut self,
        version: i16,
        request: &M,
    ) -> Result<M::Response, SetupError> {
        self.try_call(version, request).map_err(|error| {
            SetupError(format!(
                "{}: request with key {}: {error}",
                self.address,
                <M as KafkaRequest>::API_KEY.value()
            ))
        })
    }

    fn try_call<M: RequestResponsePair>(&mut self, version: i16, request: &M) -> io::Result<M::Response> {
        let answer = self.exchange(version, request)?;
        let (correlation_id, response) =
            control::decode_response(version, &answer).map_err(io::Error::other)?;
        if correlation_id != self.correlation_id {
            return Err(io::Error::other("an answer to something else"));
        }
        Ok(response)
    }

    /// Sends a request and takes the frame that comes.
    fn exchange<M: KafkaRequest>(&mut self, version: i16, request: &M) -> io::Result<Bytes> {
        self.correlation_id += 1;
        let frame = control::encode_request(version, self.correlation_id, Some(&self.client_id), request)
            .map_err(io::Error::other)?;
        let length = u32::try_from(frame.len()).map_err(io::Error::other)?;
        self.socket.write_all(&[&length.to_be_bytes()[..], &frame].concat())?;
        let mut length = [0; 4];
        self.socket.read_exact(&mut length)?;
        let length = u32::from_be_bytes(length) as usize;
        if length > ANSWER_BYTES_MAX {
            return Err(io::Error::other(format!("an answer of {length} bytes: is this a Kafka broker?")));
        }
        let mut answer = Vec::new();
        Read::by_ref(&mut self.socket).take(length as u64).read_to_end(&mut answer)?;
        if answer.len() < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(Bytes::from(answer))
    }

    fn metadata(&mut self, names: &[String]) -> Result<MetadataResponse, SetupError> {
        self.call(ApiKey::Metadata, &metadata_request(names))
    }
}

/// Asks for these topics without creating any.
pub fn metadata_request(names: &[String]) -> MetadataRequest {
    let topics = names.iter().map(|name| message!(MetadataRequestTopic { name: Some(name.as_str().into()) }));
    message!(MetadataRequest { topics: Some(topics.collect()), allow_auto_topic_creation: false })
}

/// What topics have to be like if they are not there.
#[derive(Clone, Debug)]
pub struct NewTopics {
    /// Their names.
    pub names: Vec<String>,
    /// Partitions of each.
    pub partitions: i32,
    /// Replicas, or -1.
    pub replication: i16,
    /// Settings.
    pub configs: Vec<(String, String)>,
}

/// Creates the topics that are missing and waits until every partition has a leader.
///
/// # Errors
/// The broker refuses, or no leaders come.
pub fn prepare(client: &mut Client, topics: &NewTopics) -> Result<Cluster, SetupError> {
    let unknown = model::ErrorCode::UnknownTopicOrPartition.code();
    let response = client.metadata(&topics.names)?;
    let missing: Vec<&String> = topics
        .names
        .iter()
        .filter(|name| {
            let found = response.topics.iter().find(|topic| topic.name.as_deref() == Some(name));
            found.is_none_or(|topic| topic.error_code == unknown)
        })
        .collect();
    if !missing.is_empty() {
        create(client, topics, &missing)?;
    }
    let until = Instant::now() + PATIENCE;
    loop {
        let response = client.metadata(&topics.names)?;
        match Cluster::new(&topics.names, client.versions.clone(), &response) {
            Ok(cluster) => return Ok(cluster),
            Err(error) if Instant::now() > until => return Err(SetupError(error)),
            Err(_) => thread::sleep(Duration::from_millis(50)),
        }
    }
}

fn create(client: &mut Client, topics: &NewTopics, missing: &[&String]) -> Result<(), SetupError> {
    let configs = topics.configs.iter().map(|(name, value)| {
        message!(CreatableTopicConfig { name: name.as_str().into(), value: Some(value.as_str().into()) })
    });
    let configs: Vec<_> = configs.collect();
    let first = topics.partitions.min(PARTITIONS_AT_ONCE);
    // Nor too many topics, for a broker that creates one after the other.
    let at_once = usize::try_from(PARTITIONS_AT_ONCE / first.max(1)).unwrap_or(1).clamp(1, 100);
    for names in missing.chunks(at_once) {
        let new = names.iter().map(|name| {
            message!(CreatableTopic {
                name: name.as_str().into(),
                num_partitions: first,
                replication_factor: topics.replication,
                configs: configs.clone(),
            })
        });
        let request = message!(CreateTopicsRequest { topics: new.collect(), timeout_ms: 30_000 });
        let response = client.call(ApiKey::CreateTopics, &request)?;
        let exists = model::ErrorCode::TopicAlreadyExists.code();
        if let Some(refused) = response.topics.iter().find(|topic| ![0, exists].contains(&topic.error_code)) {
            let words = refused.error_message.as_deref().unwrap_or_default();
            let error = error_name(refused.error_code);
            return Err(SetupError(format!("topic {} cannot be created: {error} {words}", &*refused.name)));
        }
    }
    missing.iter().try_for_each(|name| grow(client, name, first, topics.partitions))
}

/// Adds partitions to a new topic, from so many to so many.
fn grow(client: &mut Client, name: &str, from: i32, to: i32) -> Result<(), SetupError> {
    let step = usize::try_from(PARTITIONS_AT_ONCE).unwrap_or(1);
    for before in (from..to).step_by(step) {
        let count = before.saturating_add(PARTITIONS_AT_ONCE).min(to);
        let topic = message!(CreatePartitionsTopic { name: name.into(), count: count, assignments: None });
        let request = message!(CreatePartitionsRequest { topics: vec![topic], timeout_ms: 30_000 });
        let response = client.call(ApiKey::CreatePartitions, &request)?;
        if let Some(refused) = response.results.iter().find(|result| result.error_code != 0) {
            let words = refused.error_message.as_deref().unwrap_or_default();
            let error = error_name(refused.error_code);
            return Err(SetupError(format!("topic {name} cannot have {count} partitions: {error} {words}")));
        }
    }
    Ok(())
}

/// A place in every log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Edge {
    /// The first record.
    Earliest,
    /// Behind the last.
    Latest,
}

/// Offsets of all partitions, asked of their leaders, who may need a moment to know of a new topic.
///
/// # Errors
/// A leader cannot be reached, or refuses.
pub fn offsets(cluster: &Cluster, client_id: &str, edge: Edge) -> Result<Vec<i64>, SetupError> {
    let until = Instant::now() + PATIENCE;
    loop {
        match ask_offsets(cluster, client_id, edge)? {
            Ok(offsets) => return Ok(offsets),
            Err(refused) if Instant::now() > until => return Err(refused),
            Err(_) => thread::sleep(Duration::from_millis(100)),
        }
    }
}

/// Asks once; the inner error may pass by itself.
fn ask_offsets(
    cluster: &Cluster,
    client_id: &str,
    edge: Edge,
) -> Result<Result<Vec<i64>, SetupError>, SetupError> {
    let mut offsets = vec![-1; cluster.partitions.len()];
    let timestamp = if edge == Edge::Earliest { -2 } else { -1 };
    for (node, address) in &cluster.brokers {
        let led = || cluster.partitions.iter().filter(|partition| partition.leader == *node);
        if led().next().is_none() {
            continue;
        }
        let mut client = Client::connect(*address, client_id)?;
        let topics = cluster.topics.iter().enumerate().filter_map(|(place, topic)| {
            let partitions: Vec<_> = led()
                .filter(|partition| partition.topic == place)
                .map(|partition| {
                    message!(ListOffsetsPartition { partition_index: partition.index, timestamp: timestamp })
                })
                .collect();
            let name = topic.name.as_str().into();
            (!partitions.is_empty())
                .then(|| message!(ListOffsetsTopic { name: name, partitions: partitions }))
        });
        let request = message!(ListOffsetsRequest { replica_id: -1, topics: topics.collect() });
        let response = client.call(ApiKey::ListOffsets, &request)?;
        for topic in &response.topics {
            let reference = protocol::TopicRef { name: topic.name.clone(), id: model::TopicId::ZERO };
            for partition in &topic.partitions {
                let Some(place) = cluster.find(&reference, partition.partition_index) else { continue };
                if partition.error_code != 0 {
                    let error = error_name(partition.error_code);
                    let refused = SetupError(format!("offsets of {}: {error}", cluster.name(place)));
                    let code = model::ErrorCode::from_code(partition.error_code);
                    let passes = code.is_some_and(model::ErrorCode::retriable);
                    return if passes { Ok(Err(refused)) } else { Err(refused) };
                }
                offsets[place] = partition.offset;
            }
        }
    }
    match offsets.iter().position(|offset| *offset < 0) {
        Some(place) => Err(SetupError(format!("no offset of {} was told", cluster.name(place)))),
        None => Ok(Ok(offsets)),
    }
}

/// The request for a new producer id, outside of transactions.
pub fn producer_id_request() -> InitProducerIdRequest {
    message!(InitProducerIdRequest {
        transactional_id: None,
        transaction_timeout_ms: i32::MAX,
        producer_id: -1,
        producer_epoch: -1,
    })
}

/// Ids for idempotent producers.
///
/// # Errors
/// The broker gives none.
pub fn producer_ids(client: &mut Client, count: u32) -> Result<Vec<(i64, i16)>, SetupError> {
    let until = Instant::now() + PATIENCE;
    let mut ids = Vec::new();
    while ids.len() < count as usize {
        let response = client.call(ApiKey::InitProducerId, &producer_id_request())?;
        match model::ErrorCode::from_code(response.error_code) {
            Some(model::ErrorCode::None) => ids.push((response.producer_id, response.producer_epoch)),
            Some(error) if error.retriable() && Instant::now() < until => {
                thread::sleep(Duration::from_millis(100));
            }
            _ => return Err(SetupError(format!("InitProducerId: {}", error_name(response.error_code)))),
        }
    }
    Ok(ids)
}
