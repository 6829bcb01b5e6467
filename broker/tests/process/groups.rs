//! Committed offsets outlive the process, with and without a snapshot of their coordinator; deleted ones stay deleted.

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use model::ErrorCode;
use protocol::control::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use protocol::control::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use protocol::control::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use protocol::control::messages::{
    FindCoordinatorRequest, FindCoordinatorResponse, OffsetCommitRequest, OffsetCommitResponse,
    OffsetDeleteRequest, OffsetDeleteResponse, OffsetFetchRequest, OffsetFetchResponse,
};
use protocol::message;

use super::harness::{Broker, Client, Scratch, TOPIC, files_below};

const GROUP: &str = "group";

fn find_coordinator(client: &mut Client) {
    let request = message!(FindCoordinatorRequest { coordinator_keys: vec![GROUP.into()] });
    let response: FindCoordinatorResponse = client.ask(4, &request);
    assert_eq!(response.coordinators[0].error_code, 0);
}

/// A commit of one who is in no group.
fn commit_of(offset: i64, metadata: &str) -> OffsetCommitRequest {
    commit_for(0, offset, metadata)
}

fn commit_for(partition_index: i32, offset: i64, metadata: &str) -> OffsetCommitRequest {
    let partition = message!(OffsetCommitRequestPartition {
        partition_index: partition_index,
        committed_offset: offset,
        committed_metadata: Some(metadata.into()),
    });
    let topic = message!(OffsetCommitRequestTopic { name: TOPIC.into(), partitions: vec![partition] });
    message!(OffsetCommitRequest {
        group_id: GROUP.into(),
        generation_id_or_member_epoch: -1,
        topics: vec![topic],
    })
}

/// Acknowledged on return.
fn commit(client: &mut Client, offset: i64, metadata: &str) {
    let response: OffsetCommitResponse = client.ask(9, &commit_of(offset, metadata));
    assert_eq!(response.topics[0].partitions[0].error_code, 0);
}

/// Commits these many large ones, up to this offset.
fn commit_many(client: &mut Client, count: i64, last: i64) {
    let metadata = "m".repeat(4000);
    let commits: Vec<OffsetCommitRequest> =
        (last - count + 1..=last).map(|offset| commit_of(offset, &metadata)).collect();
    for commits in commits.chunks(100) {
        let responses: Vec<OffsetCommitResponse> = client.ask_all(9, commits);
        assert!(responses.iter().all(|response| response.topics[0].partitions[0].error_code == 0));
    }
}

/// The one snapshot of a coordinator, once it is there.
fn snapshot_in(scratch: &Scratch) -> PathBuf {
    loop {
        let mut files = Vec::new();
        files_below(&scratch.0, &mut files);
        files.retain(|file| file.ends_with("coordinator"));
        if let Some(file) = files.pop() {
            return file;
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// The committed offset and its metadata; waits for as long as the coordinator loads.
fn committed(client: &mut Client) -> (i64, String) {
    committed_for(client, 0)
}

fn committed_for(client: &mut Client, partition: i32) -> (i64, String) {
    loop {
        let partition_indexes = vec![partition];
        let topic =
            message!(OffsetFetchRequestTopics { name: TOPIC.into(), partition_indexes: partition_indexes });
        let group = message!(OffsetFetchRequestGroup { group_id: GROUP.into(), topics: Some(vec![topic]) });
        let response: OffsetFetchResponse =
            client.ask(9, &message!(OffsetFetchRequest { groups: vec![group] }));
        let group = &response.groups[0];
        if group.error_code == ErrorCode::CoordinatorLoadInProgress.code() {
            thread::sleep(Duration::from_millis(10));
            continue;
        }
        assert_eq!(group.error_code, 0);
        let found = &group.topics[0].partitions[0];
        return (found.committed_offset, found.metadata.as_deref().unwrap_or_default().to_owned());
    }
}

#[test]
fn committed_offsets_outlive_kill_and_stop() {
    let scratch = Scratch::new();
    let broker = Broker::start(&scratch.data_dir(), &[]);
    let mut client = Client::connect(&broker.ready);
    client.create_topic();
    find_coordinator(&mut client);
    assert_eq!(committed(&mut client), (-1, String::new()));
    for offset in 1..=50 {
        commit(&mut client, offset, "first");
    }
    drop(broker); // Killed.

    let broker = Broker::start(&scratch.data_dir(), &[]);
    let mut client = Client::connect(&broker.ready);
    assert_eq!(committed(&mut client), (50, "first".into()));
    commit(&mut client, 51, "second");
    broker.signal(libc::SIGTERM);
    assert_eq!(broker.end().0, Some(0));

    let broker = Broker::start(&scratch.data_dir(), &[]);
    assert_eq!(committed(&mut Client::connect(&broker.ready)), (51, "second".into()));
}

#[test]
fn a_coordinator_starts_from_its_snapshot() {
    let scratch = Scratch::new();
    let broker = Broker::start(&scratch.data_dir(), &[]);
    let mut client = Client::connect(&broker.ready);
    client.create_topic();
    find_coordinator(&mut client);
    // A snapshot is due after 8 MiB of commits.
    commit_many(&mut client, 2200, 2200);
    let snapshot = snapshot_in(&scratch);
    commit(&mut client, 5000, "last");
    drop(broker);

    let broker = Broker::start(&scratch.data_dir(), &[]);
    assert_eq!(committed(&mut Client::connect(&broker.ready)), (5000, "last".into()));
    let line = broker.wait_for_log("a group coordinator is loaded");
    let records: u64 =
        line.split("records=").nth(1).unwrap().split_whitespace().next().unwrap().parse().unwrap();
    assert!(records < 2200, "{records} records were read: {line}");

    // A damaged one is passed over, and the log says all of it again.
    drop(broker);
    let mut bytes = std::fs::read(&snapshot).unwrap();
    bytes[40] ^= 1;
    std::fs::write(&snapshot, bytes).unwrap();
    let broker = Broker::start(&scratch.data_dir(), &[]);
    assert_eq!(committed(&mut Client::connect(&broker.ready)), (5000, "last".into()));
}

#[test]
fn a_snapshot_from_before_compaction_brings_nothing_back() {
    let scratch = Scratch::new();
    let settings = [
        "offsets.topic.segment.bytes=1048576",
        "log.cleaner.backoff.ms=20",
        "log.cleaner.min.cleanable.ratio=0.01",
        "log.cleaner.delete.retention.ms=0",
    ];
    let settings: Vec<&str> = settings.iter().flat_map(|setting| ["--set", *setting]).collect();
    let broker = Broker::start(&scratch.data_dir(), &settings);
    let mut client = Client::connect(&broker.ready);
    assert_eq!(client.create(TOPIC, 2), 0);
    find_coordinator(&mut client);
    let deleted: OffsetCommitResponse = client.ask(9, &commit_for(1, 7, ""));
    assert_eq!(deleted.topics[0].partitions[0].error_code, 0);
    commit_many(&mut client, 2200, 2200);
    let snapshot = snapshot_in(&scratch);
    let before = std::fs::read(&snapshot).unwrap();
    let partition = message!(OffsetDeleteRequestPartition { partition_index: 1 });
    let topic = message!(OffsetDeleteRequestTopic { name: TOPIC.into(), partitions: vec![partition] });
    let request = message!(OffsetDeleteRequest { group_id: GROUP.into(), topics: vec![topic] });
    let response: OffsetDeleteResponse = client.ask(0, &request);
    assert_eq!((response.error_code, response.topics[0].partitions[0].error_code), (0, 0));
    assert_eq!(committed_for(&mut client, 1).0, -1);
    // The first pass over the tombstone gives it no time to stay, the next one lets it go.
    for round in 1..=4 {
        let written = || broker.metric("millrace_compaction_written_bytes_total{core=\"0\"}");
        let (already, begun) = (written(), Instant::now());
        commit_many(&mut client, 300, 2200 + round * 300);
        while written() == already {
            assert!(begun.elapsed() < Duration::from_secs(60), "nothing is compacted");
            thread::sleep(Duration::from_millis(20));
        }
    }
    drop(broker);
    std::fs::write(&snapshot, before).unwrap();
    let broker = Broker::start(&scratch.data_dir(), &settings);
    let mut client = Client::connect(&broker.ready);
    assert_eq!(committed_for(&mut client, 1).0, -1, "what was deleted is back");
    assert_eq!(committed(&mut client).0, 3400);
}
