//! A data directory with something in every kind of file, and a client to look at it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use model::batch::{BatchBuilder, RecordBatch};
use model::{ProducerEpoch, ProducerId, TimestampMs};
use protocol::control::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use protocol::control::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use protocol::control::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use protocol::control::messages::{
    CreateTopicsRequest, CreateTopicsResponse, FindCoordinatorRequest, FindCoordinatorResponse,
    OffsetCommitRequest, OffsetCommitResponse, OffsetFetchRequest, OffsetFetchResponse,
};
use protocol::message;

use super::broker::{Broker, copy_tree};
use super::wire::Wire;

/// The topic whose files are damaged, and one that must not care.
pub const VICTIM: &str = "victim";
pub const OTHER: &str = "other";
/// Records of each; one to a batch.
pub const RECORDS: i64 = 200;
pub const RECORD_BYTES: usize = 3000;
/// The group's last commit.
pub const COMMITTED: i64 = 77;
/// KAFKA_STORAGE_ERROR
pub const STORAGE_ERROR: i16 = 56;
/// A coordinator writes a snapshot after so many commits of [`METADATA_BYTES`].
const COMMITS: i64 = 2300;
const METADATA_BYTES: usize = 4000;

/// A directory on the disk of the build, removed in the end.
pub struct Scratch(pub PathBuf);

impl Scratch {
    pub fn new(name: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("faults-{}-{number}-{name}", std::process::id());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// A copy of a data directory, to be damaged.
    pub fn copy_of(name: &str, template: &Path) -> Self {
        let scratch = Self::new(name);
        copy_tree(template, &scratch.data());
        scratch
    }

    pub fn data(&self) -> PathBuf {
        self.0.join("data")
    }

    pub fn launch(&self) -> Result<Broker, String> {
        self.launch_with(&[])
    }

    /// One core, little memory, small segments of the offsets topic.
    pub fn launch_with(&self, more: &[&str]) -> Result<Broker, String> {
        let arguments = ["--cores", "1", "--memory", "64MiB", "--set", "offsets.topic.num.partitions=1"];
        let arguments: Vec<String> = arguments.iter().chain(more).map(ToString::to_string).collect();
        // A log of this start only.
        let _ = fs::remove_file(self.0.join("log"));
        let binary = Path::new(env!("CARGO_BIN_EXE_millrace"));
        Broker::launch(binary, &self.data(), &self.0.join("log"), &arguments).ready()
    }

    /// Files of the data directory whose path ends like that, sorted.
    pub fn files(&self, below: &str, end: &str) -> Vec<PathBuf> {
        let mut found = Vec::new();
        files_below(&self.data(), &mut found);
        found.retain(|path| {
            let path = path.strip_prefix(self.data()).unwrap().to_string_lossy();
            path.starts_with(below) && path.ends_with(end)
        });
        found.sort();
        found
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left behind lies in the target directory.
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub fn files_below(directory: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files_below(&path, into) } else { into.push(path) }
    }
}

/// A data directory with both topics, a group and its coordinator's snapshot; after a clean stop, or killed.
pub fn template(name: &str, clean: bool) -> Scratch {
    let scratch = Scratch::new(name);
    let mut broker = scratch.launch().unwrap();
    let mut wire = Wire::connect(&broker.address).unwrap();
    create_topic(&mut wire, VICTIM);
    create_topic(&mut wire, OTHER);
    commit_until(&mut wire, COMMITTED);
    for offset in 0..RECORDS {
        for topic in [VICTIM, OTHER] {
            assert_eq!(produce(&mut wire, topic, offset), (0, offset));
        }
    }
    while scratch.files("topics", "coordinator").is_empty() {
        thread::sleep(Duration::from_millis(10));
    }
    if clean {
        assert_eq!(broker.stop(), Some(0), "{}", broker.log());
    } else {
        broker.kill();
    }
    scratch
}

pub fn create_topic(wire: &mut Wire, name: &str) {
    let config = message!(CreatableTopicConfig {
        name: "internal.segment.bytes".into(),
        value: Some("131072".into())
    });
    let topic = message!(CreatableTopic {
        name: name.into(),
        num_partitions: 1,
        replication_factor: 1,
        configs: vec![config],
    });
    let request = message!(CreateTopicsRequest { topics: vec![topic], timeout_ms: 60_000 });
    let response: CreateTopicsResponse = wire.ask(7, &request).unwrap();
    assert_eq!(response.topics[0].error_code, 0);
}

/// Appends the record that belongs at `offset`, as an idempotent producer; error and offset.
pub fn produce(wire: &mut Wire, topic: &str, offset: i64) -> (i16, i64) {
    try_produce(wire, topic, offset).unwrap()
}

/// The same with a broker that may go away.
pub fn try_produce(wire: &mut Wire, topic: &str, offset: i64) -> io::Result<(i16, i64)> {
    let id = ProducerId(i64::try_from(topic.len()).unwrap());
    let batch = BatchBuilder::new()
        .producer(id, ProducerEpoch(0), i32::try_from(offset).unwrap())
        .value(now(), &value(topic, offset));
    wire.send_batch(topic, 0, &batch.build())?;
    wire.batch_answer(topic)
}

fn now() -> TimestampMs {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    TimestampMs(i64::try_from(since.as_millis()).unwrap())
}

fn value(topic: &str, offset: i64) -> Vec<u8> {
    format!("{topic} {offset} ").into_bytes().into_iter().cycle().take(RECORD_BYTES).collect()
}

/// Reads from `offset` on: the records up to the end or the first error, and that error.
pub fn read(wire: &mut Wire, topic: &str, offset: i64) -> (i64, i16) {
    let mut next = offset;
    loop {
        let fetched = wire.fetch(topic, 0, next).unwrap();
        if fetched.error != 0 || fetched.records.is_empty() {
            return (next, fetched.error);
        }
        for batch in RecordBatch::all_in(&fetched.records) {
            let batch = batch.unwrap();
            batch.check_crc().unwrap();
            for record in batch.records() {
                let record = record.unwrap();
                if record.offset(&batch).0 < next {
                    continue;
                }
                assert_eq!(record.offset(&batch).0, next, "offsets of {topic} follow one another");
                assert_eq!(record.value.unwrap(), value(topic, next), "{topic} at {next}");
                next += 1;
            }
        }
    }
}

/// Commits offsets 1 to `last`, the last one alone, with enough around it to make a snapshot due.
fn commit_until(wire: &mut Wire, last: i64) {
    let request = message!(FindCoordinatorRequest { coordinator_keys: vec!["g".into()] });
    let response: FindCoordinatorResponse = wire.ask(4, &request).unwrap();
    assert_eq!(response.coordinators[0].error_code, 0);
    let large = "m".repeat(METADATA_BYTES);
    for round in 0..COMMITS / 100 {
        (0..100).for_each(|place| wire.tell(9, &commit_of(round * 100 + place, &large)).unwrap());
        (0..100).for_each(|_| heard_commit(wire));
    }
    wire.tell(9, &commit_of(last, "last")).unwrap();
    heard_commit(wire);
}

fn heard_commit(wire: &mut Wire) {
    let response: OffsetCommitResponse = wire.hear(9).unwrap();
    let error = response.topics[0].partitions[0].error_code;
    // It may still load while the first ones come.
    assert!(error == 0 || error == 14, "{error}");
}

fn commit_of(offset: i64, metadata: &str) -> OffsetCommitRequest {
    let partition = message!(OffsetCommitRequestPartition {
        committed_offset: offset,
        committed_metadata: Some(metadata.into()),
    });
    let topic = message!(OffsetCommitRequestTopic { name: VICTIM.into(), partitions: vec![partition] });
    message!(OffsetCommitRequest {
        group_id: "g".into(),
        generation_id_or_member_epoch: -1,
        topics: vec![topic],
    })
}

/// The committed offset, or the error instead.
pub fn committed(wire: &mut Wire) -> Result<i64, i16> {
    loop {
        let topic = message!(OffsetFetchRequestTopics { name: VICTIM.into(), partition_indexes: vec![0] });
        let group = message!(OffsetFetchRequestGroup { group_id: "g".into(), topics: Some(vec![topic]) });
        let request = message!(OffsetFetchRequest { groups: vec![group] });
        let response: OffsetFetchResponse = wire.ask(9, &request).unwrap();
        let group = &response.groups[0];
        match group.error_code {
            0 => return Ok(group.topics[0].partitions[0].committed_offset),
            14 => thread::sleep(Duration::from_millis(5)),
            error => return Err(error),
        }
    }
}

/// Flips a bit.
pub fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 0x10;
    fs::write(path, bytes).unwrap();
}
