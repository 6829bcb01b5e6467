//! Committed offsets outlive the process, with and without a snapshot of their coordinator.

use std::thread;
use std::time::Duration;

use model::ErrorCode;
use protocol::control::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use protocol::control::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use protocol::control::messages::{
    FindCoordinatorRequest, FindCoordinatorResponse, OffsetCommitRequest, OffsetCommitResponse,
    OffsetFetchRequest, OffsetFetchResponse,
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
    let partition = message!(OffsetCommitRequestPartition {
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

/// The committed offset and its metadata; waits for as long as the coordinator loads.
fn committed(client: &mut Client) -> (i64, String) {
    loop {
        let topic = message!(OffsetFetchRequestTopics { name: TOPIC.into(), partition_indexes: vec![0] });
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
    let metadata = "m".repeat(4000);
    let commits: Vec<OffsetCommitRequest> = (1..=2200).map(|offset| commit_of(offset, &metadata)).collect();
    for commits in commits.chunks(100) {
        let responses: Vec<OffsetCommitResponse> = client.ask_all(9, commits);
        assert!(responses.iter().all(|response| response.topics[0].partitions[0].error_code == 0));
    }
    let snapshots = || {
        let mut files = Vec::new();
        files_below(&scratch.0, &mut files);
        files.retain(|file| file.ends_with("coordinator"));
        files
    };
    while snapshots().is_empty() {
        thread::sleep(Duration::from_millis(10));
    }
    commit(&mut client, 5000, "last");
    drop(broker);

    let broker = Broker::start(&scratch.data_dir(), &[]);
    assert_eq!(committed(&mut Client::connect(&broker.ready)), (5000, "last".into()));
    let line = broker.wait_for_log("a group coordinator is loaded");
    let records: u64 =
        line.split("records=").nth(1).unwrap().split_whitespace().next().unwrap().parse().unwrap();
    assert!(records < 2200, "{records} records were read: {line}");

    // A damaged one is passed over, and the log says all of it again.
    let snapshot = snapshots().remove(0);
    drop(broker);
    let mut bytes = std::fs::read(&snapshot).unwrap();
    bytes[40] ^= 1;
    std::fs::write(&snapshot, bytes).unwrap();
    let broker = Broker::start(&scratch.data_dir(), &[]);
    assert_eq!(committed(&mut Client::connect(&broker.ready)), (5000, "last".into()));
}
