//! A Kafka server in one process with the tests, whose delays and misdeeds are known.

mod coordinator;
mod shares;

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use model::batch::{RecordBatch, header};
use model::{ErrorCode, Offset, TimestampMs, TopicId};
use protocol::control::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use protocol::control::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use protocol::control::messages::{
    InitProducerIdResponse, ListOffsetsRequest, ListOffsetsResponse, MetadataResponse,
};
use protocol::control::{Features, decode, encode_api_versions, encode_response};
use protocol::fetch::{FetchPartitionResponse, FetchRequest, FetchResponse, FetchTopicResponse};
use protocol::produce::{
    ProducePartition, ProducePartitionResponse, ProduceRequest, ProduceResponse, ProduceTopicResponse,
};
use protocol::{ApiKey, RequestHeader, message};

use coordinator::Coordinator;
pub use coordinator::Unrest;
use shares::Shares;
pub use shares::Trouble;

/// The one topic.
pub const TOPIC: &str = "scripted";

/// What the server does wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Misdeed {
    /// Nothing.
    None,
    /// Acknowledges every tenth batch without keeping it.
    Loses,
    /// Keeps every tenth batch twice.
    Repeats,
    /// Keeps every tenth batch in front of the one before it.
    Swaps,
    /// Changes a byte of every tenth batch, and its checksum with it.
    Damages,
    /// Refuses every tenth batch with NOT_LEADER_OR_FOLLOWER, and keeps it when it comes again.
    Refuses,
    /// Ends the connection at every tenth batch.
    HangsUp,
}

/// What the server does.
#[derive(Clone, Copy, Debug)]
pub struct Script {
    pub partitions: i32,
    /// Before every answer to Produce.
    pub delay: Duration,
    /// Before the answer to this request of Produce, counted from 0, it waits so long.
    pub stall: Option<(u32, Duration)>,
    pub misdeed: Misdeed,
    pub unrest: Unrest,
    pub trouble: Trouble,
}

impl Script {
    pub const fn good(partitions: i32) -> Self {
        Self {
            partitions,
            delay: Duration::ZERO,
            stall: None,
            misdeed: Misdeed::None,
            unrest: Unrest::None,
            trouble: Trouble::None,
        }
    }
}

#[derive(Default)]
struct Log {
    batches: Vec<(i64, Vec<u8>)>,
    end: i64,
    /// The sequence that each idempotent producer's next batch must have.
    sequences: HashMap<i64, i32>,
}

impl Log {
    /// Whether the batch is its producer's next, or was here before; batches without sequences are always welcome.
    fn judge(&self, batch: &[u8]) -> ErrorCode {
        let (batch, _) = RecordBatch::parse(batch).unwrap();
        let next = self.sequences.get(&batch.producer_id().0).copied().unwrap_or(0);
        if !batch.has_producer_id() || batch.base_sequence() == next {
            ErrorCode::None
        } else if batch.last_sequence() < next {
            ErrorCode::DuplicateSequenceNumber
        } else {
            ErrorCode::OutOfOrderSequenceNumber
        }
    }

    fn count_sequences(&mut self, batch: &[u8]) {
        let (batch, _) = RecordBatch::parse(batch).unwrap();
        self.sequences.insert(batch.producer_id().0, batch.last_sequence() + 1);
    }

    fn append(&mut self, batch: &[u8]) -> i64 {
        let at = self.end;
        self.end += i64::from(RecordBatch::parse(batch).unwrap().0.record_count());
        self.batches.push((at, batch.to_vec()));
        at
    }

    /// Puts the newest batch in front of the one before it.
    fn swap(&mut self) {
        let count = self.batches.len();
        if count >= 2 {
            let before = self.batches[count - 2].0;
            self.batches.swap(count - 2, count - 1);
            let first = &self.batches[count - 2].1;
            let records = i64::from(RecordBatch::parse(first).unwrap().0.record_count());
            self.batches[count - 2].0 = before;
            self.batches[count - 1].0 = before + records;
        }
    }

    /// The batches from there on: one at least if there is one, and no more than so many bytes.
    fn read(&self, from: i64, bytes_max: usize) -> Vec<u8> {
        let mut out = Vec::new();
        for (at, batch) in &self.batches {
            let last = at + i64::from(RecordBatch::parse(batch).unwrap().0.last_offset_delta());
            if last >= from && (out.is_empty() || out.len() + batch.len() <= bytes_max) {
                let from = out.len();
                out.extend_from_slice(batch);
                header::set_base_offset(&mut out[from..], Offset(*at));
            }
        }
        out
    }
}

struct State {
    script: Script,
    logs: Vec<Log>,
    /// Of Produce.
    requests: u32,
    /// In them.
    batches: u32,
    /// In the largest of them.
    batches_most: usize,
    producer_ids: i64,
    coordinator: Coordinator,
    shares: Shares,
    /// When a batch came last.
    produced_at: Instant,
}

/// The running server. It ends with the process.
pub struct Server {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Server {
    pub fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let logs = (0..script.partitions).map(|_| Log::default()).collect();
        let state = Arc::new(Mutex::new(State {
            script,
            logs,
            requests: 0,
            batches: 0,
            batches_most: 0,
            producer_ids: 0,
            coordinator: Coordinator::default(),
            shares: Shares::default(),
            produced_at: Instant::now(),
        }));
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for socket in listener.incoming() {
                let (socket, state) = (socket.unwrap(), Arc::clone(&shared));
                // A connection that breaks is the client's to judge.
                thread::spawn(move || serve(socket, address, &state).ok());
            }
        });
        Self { address, state }
    }

    /// Whether the group has committed everything that the logs hold.
    pub fn all_committed(&self) -> bool {
        let state = self.state.lock().unwrap();
        (0..).zip(&state.logs).all(|(index, log)| state.coordinator.offsets.get(&index) == Some(&log.end))
    }

    /// Generations of the group, and requests to commit.
    pub fn generations_and_commits(&self) -> (i32, u32) {
        let group = &self.state.lock().unwrap().coordinator;
        (group.generation, group.commits)
    }

    /// What a share group was set to.
    pub fn group_setting(&self, name: &str) -> Option<String> {
        self.state.lock().unwrap().shares.configs.get(name).cloned()
    }

    /// Batches in the largest Produce request.
    pub fn batches_most(&self) -> usize {
        self.state.lock().unwrap().batches_most
    }
}

fn serve(mut socket: TcpStream, address: SocketAddr, state: &Mutex<State>) -> io::Result<()> {
    socket.set_nodelay(true)?;
    loop {
        let mut length = [0; 4];
        socket.read_exact(&mut length)?;
        let mut frame = vec![0; u32::from_be_bytes(length) as usize];
        socket.read_exact(&mut frame)?;
        let frame = Bytes::from(frame);
        let header = RequestHeader::parse(&frame).unwrap();
        let answer = match header.api() {
            Some(ApiKey::ApiVersions) => encode_api_versions(&header, ErrorCode::None, &Features::default()),
            Some(ApiKey::Metadata) => metadata(&header, address, state),
            Some(ApiKey::ListOffsets) => list_offsets(&header, &frame, state),
            Some(ApiKey::InitProducerId) => {
                let mut state = state.lock().unwrap();
                state.producer_ids += 1;
                let response =
                    message!(InitProducerIdResponse { producer_id: state.producer_ids, producer_epoch: 0 });
                encode_response(&header, &response).unwrap()
            }
            Some(ApiKey::Produce) => match produce(&header, &frame, state) {
                Some(answer) => answer,
                None => return Ok(()),
            },
            Some(ApiKey::Fetch) => fetch(&header, &frame, state),
            _ => shares::answer(&header, &frame, state)
                .unwrap_or_else(|| coordinator::answer(&header, &frame, address, state)),
        };
        let length = u32::try_from(answer.len()).unwrap();
        socket.write_all(&[&length.to_be_bytes()[..], &answer].concat())?;
    }
}

const ID: TopicId = TopicId([5; 16]);

fn metadata(header: &RequestHeader, address: SocketAddr, state: &Mutex<State>) -> Bytes {
    let partitions = 0..state.lock().unwrap().script.partitions;
    let partitions = partitions
        .map(|index| message!(MetadataResponsePartition { partition_index: index, leader_id: 1 }))
        .collect();
    let response = message!(MetadataResponse {
        brokers: vec![message!(MetadataResponseBroker {
            node_id: 1,
            host: address.ip().to_string().into(),
            port: i32::from(address.port()),
        })],
        topics: vec![message!(MetadataResponseTopic {
            name: Some(TOPIC.into()),
            topic_id: protocol::Uuid::from_bytes(ID.0),
            partitions: partitions,
        })],
    });
    encode_response(header, &response).unwrap()
}

fn list_offsets(header: &RequestHeader, frame: &Bytes, state: &Mutex<State>) -> Bytes {
    let request: ListOffsetsRequest = decode(header.api_version, header.body(frame)).unwrap();
    let state = state.lock().unwrap();
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| {
            let log = &state.logs[usize::try_from(partition.partition_index).unwrap()];
            let offset = if partition.timestamp == -2 { 0 } else { log.end };
            message!(ListOffsetsPartitionResponse {
                partition_index: partition.partition_index,
                offset: offset,
            })
        });
        message!(ListOffsetsTopicResponse { name: topic.name.clone(), partitions: partitions.collect() })
    });
    encode_response(header, &message!(ListOffsetsResponse { topics: topics.collect() })).unwrap()
}

fn produce(header: &RequestHeader, frame: &Bytes, state: &Mutex<State>) -> Option<Bytes> {
    let request = ProduceRequest::decode(header, frame).unwrap();
    let mut topics = Vec::new();
    let (script, number) = {
        let mut state = state.lock().unwrap();
        let number = state.requests;
        state.requests += 1;
        let batches = request.topics.iter().map(|topic| topic.partitions.len()).sum();
        state.batches_most = state.batches_most.max(batches);
        for topic in &request.topics {
            let indexes: HashSet<i32> = topic.partitions.iter().map(|partition| partition.index).collect();
            assert_eq!(indexes.len(), topic.partitions.len(), "a request has one batch of each partition");
            let mut partitions = Vec::new();
            for partition in &topic.partitions {
                partitions.push(append(&mut state, partition)?);
            }
            topics.push(ProduceTopicResponse { topic: topic.topic.clone(), partitions });
        }
        (state.script, number)
    };
    match script.stall {
        Some((at, stall)) if at == number => thread::sleep(stall),
        _ => thread::sleep(script.delay),
    }
    Some(ProduceResponse { topics, ..ProduceResponse::default() }.encode(header))
}

/// Does with one batch what the script says; none is the end of the connection.
fn append(state: &mut State, partition: &ProducePartition) -> Option<ProducePartitionResponse> {
    let records = partition.records.clone().unwrap();
    assert!(RecordBatch::parse(&records).unwrap().0.check_crc().is_ok(), "the generator sends good batches");
    let tenth = state.batches % 10 == 9;
    state.batches += 1;
    state.produced_at = Instant::now();
    let misdeed = state.script.misdeed;
    let log = &mut state.logs[usize::try_from(partition.index).unwrap()];
    let appended =
        |at| ProducePartitionResponse::appended(partition.index, Offset(at), TimestampMs::NONE, Offset(0));
    let refused = |error| ProducePartitionResponse::refused(partition.index, error, None);
    let refuses = tenth && matches!(misdeed, Misdeed::Refuses | Misdeed::HangsUp);
    match log.judge(&records) {
        ErrorCode::None if refuses => {}
        ErrorCode::None => log.count_sequences(&records),
        error => return Some(refused(error)),
    }
    Some(match misdeed {
        Misdeed::Loses if tenth => appended(log.end),
        Misdeed::Repeats if tenth => {
            log.append(&records);
            appended(log.append(&records))
        }
        Misdeed::Swaps if tenth => {
            let at = log.append(&records);
            log.swap();
            appended(at)
        }
        Misdeed::Damages if tenth => {
            let mut damaged = records.to_vec();
            // Behind all stamps of a batch's last record: its last byte but the number of headers.
            let last = damaged.len() - 2;
            damaged[last] ^= 1;
            header::recompute_crc(&mut damaged);
            appended(log.append(&damaged))
        }
        Misdeed::Refuses if tenth => refused(ErrorCode::NotLeaderOrFollower),
        Misdeed::HangsUp if tenth => return None,
        _ => appended(log.append(&records)),
    })
}

fn fetch(header: &RequestHeader, frame: &Bytes, state: &Mutex<State>) -> Bytes {
    let request = FetchRequest::decode(header, frame).unwrap();
    let found = Cell::new(false);
    let read = || {
        let state = state.lock().unwrap();
        let topics = request.topics.iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|partition| {
                let log = &state.logs[usize::try_from(partition.index).unwrap()];
                let bytes_max = usize::try_from(partition.max_bytes).unwrap();
                let records = log.read(partition.fetch_offset.0, bytes_max);
                found.set(found.get() || !records.is_empty());
                let mut answer = FetchPartitionResponse::refused(partition.index, ErrorCode::None);
                (answer.high_watermark, answer.last_stable_offset) = (Offset(log.end), Offset(log.end));
                answer.records = vec![Bytes::from(records)];
                answer
            });
            FetchTopicResponse { topic: topic.topic.clone(), partitions: partitions.collect() }
        });
        topics.collect()
    };
    let mut topics = read();
    for _ in 0..request.max_wait_ms / 2 {
        if found.get() {
            break;
        }
        thread::sleep(Duration::from_millis(2));
        topics = read();
    }
    let mut response: FetchResponse<Bytes> = FetchResponse::empty(ErrorCode::None, 0);
    response.topics = topics;
    Bytes::from(response.encode(header).concat())
}
