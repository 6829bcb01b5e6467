//! Share groups from end to end: members join, take records, say what became of them, and leave.

mod beginning;
mod budget;
mod upkeep;
mod waiting;

use std::time::Duration;

use model::ErrorCode;
use model::batch::RecordBatch;
use protocol::control::messages::*;
use protocol::{Uuid, message};

use super::super::harness::{Client, produce};
use super::create;
use super::data::batch;

use alter_share_group_offsets_request::{
    AlterShareGroupOffsetsRequestPartition, AlterShareGroupOffsetsRequestTopic,
};
use delete_share_group_offsets_request::DeleteShareGroupOffsetsRequestTopic;
use describe_share_group_offsets_request::DescribeShareGroupOffsetsRequestGroup;
use incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use share_acknowledge_request::{AcknowledgePartition, AcknowledgeTopic};
use share_fetch_request::{AcknowledgementBatch, FetchPartition, FetchTopic};
use share_fetch_response::PartitionData;

const ACCEPT: i8 = 1;
const RELEASE: i8 = 2;
const REJECT: i8 = 3;
const RENEW: i8 = 4;
/// ConfigResource's number of groups.
const GROUP: i8 = 32;

/// A topic `t` of one partition, and a group `g` that begins at its start.
fn client() -> Client {
    ready(Client::new())
}

fn ready(client: Client) -> Client {
    assert_eq!(create(&client, "t", 1, &[]), 0);
    set(&client, "share.auto.offset.reset", "earliest");
    let key = message!(FindCoordinatorRequest { coordinator_keys: vec!["g".into()] });
    let found: FindCoordinatorResponse = client.ask(6, &key);
    assert_eq!(found.coordinators[0].error_code, 0);
    client
}

fn set(client: &Client, name: &str, value: &str) {
    let config = message!(AlterableConfig { name: name.into(), value: Some(value.into()) });
    let resource = message!(AlterConfigsResource {
        resource_type: GROUP,
        resource_name: "g".into(),
        configs: vec![config],
    });
    let request = message!(IncrementalAlterConfigsRequest { resources: vec![resource] });
    let response: IncrementalAlterConfigsResponse = client.ask(1, &request);
    assert_eq!(response.responses[0].error_code, 0, "{:?}", response.responses[0].error_message);
}

fn rest(client: &Client, ms: u64) {
    client.simulation.run_until(client.simulation.sleep(Duration::from_millis(ms)));
}

fn beat(client: &Client, member: &str, epoch: i32) -> ShareGroupHeartbeatResponse {
    let joins = epoch == 0;
    client.ask(
        1,
        &message!(ShareGroupHeartbeatRequest {
            group_id: "g".into(),
            member_id: member.into(),
            member_epoch: epoch,
            subscribed_topic_names: joins.then(|| vec!["t".into()]),
        }),
    )
}

/// Beats until the member has partition 0; gives its epoch and the topic's id.
fn join(client: &Client, member: &str) -> (i32, Uuid) {
    let mut told = beat(client, member, 0);
    for _ in 0..20 {
        assert_eq!(told.error_code, 0, "{:?}", told.error_message);
        let assigned = told.assignment.as_ref().map(|all| &all.topic_partitions);
        if let Some(topic) = assigned.and_then(|topics| topics.first()) {
            assert_eq!(topic.partitions, [0]);
            return (told.member_epoch, topic.topic_id);
        }
        rest(client, 600);
        told = beat(client, member, told.member_epoch);
    }
    panic!("{member} was given nothing");
}

fn put(client: &Client, values: &[&str]) {
    let _ = client.response(produce("t", -1, &[(0, batch(client, values))]));
}

struct Asks<'a> {
    member: &'a str,
    epoch: i32,
    topic: Uuid,
    wait_ms: i32,
    said: &'a [(i64, i64, i8)],
}

fn batches(said: &[(i64, i64, i8)]) -> Vec<AcknowledgementBatch> {
    let one = |(first, last, kind): &(i64, i64, i8)| {
        message!(AcknowledgementBatch {
            first_offset: *first,
            last_offset: *last,
            acknowledge_types: vec![*kind],
        })
    };
    said.iter().map(one).collect()
}

fn fetch(client: &Client, asks: &Asks<'_>) -> ShareFetchResponse {
    client.ask(2, &fetching(asks))
}

fn fetching(asks: &Asks<'_>) -> ShareFetchRequest {
    let partition = message!(FetchPartition { acknowledgement_batches: batches(asks.said) });
    let topic = message!(FetchTopic { topic_id: asks.topic, partitions: vec![partition] });
    let names = asks.epoch == 0 || !asks.said.is_empty();
    message!(ShareFetchRequest {
        group_id: Some("g".into()),
        member_id: Some(asks.member.into()),
        share_session_epoch: asks.epoch,
        max_wait_ms: asks.wait_ms,
        min_bytes: 1,
        max_bytes: 1 << 20,
        max_records: 100,
        batch_size: 100,
        topics: if names { vec![topic] } else { Vec::new() },
    })
}

/// What is acquired, and the values of it.
fn acquired(response: &ShareFetchResponse) -> (Vec<(i64, i64, i16)>, Vec<String>) {
    assert_eq!(response.error_code, 0, "{:?}", response.error_message);
    let Some(data) = response.responses.first().and_then(|topic| topic.partitions.first()) else {
        return (Vec::new(), Vec::new());
    };
    assert_eq!(data.error_code, 0, "{:?}", data.error_message);
    let runs: Vec<_> = data
        .acquired_records
        .iter()
        .map(|run| (run.first_offset, run.last_offset, run.delivery_count))
        .collect();
    (runs.clone(), values(data, &runs))
}

fn values(data: &PartitionData, runs: &[(i64, i64, i16)]) -> Vec<String> {
    let mut values = Vec::new();
    for batch in RecordBatch::all_in(&data.records) {
        let batch = batch.unwrap();
        let base = batch.base_offset().0;
        for (offset, record) in (base..).zip(batch.records()) {
            if runs.iter().any(|(first, last, _)| (*first..=*last).contains(&offset)) {
                values.push(String::from_utf8(record.unwrap().value.unwrap().to_vec()).unwrap());
            }
        }
    }
    values
}

fn acknowledge(client: &Client, asks: &Asks<'_>) -> ShareAcknowledgeResponse {
    use share_acknowledge_request::AcknowledgementBatch as Batch;
    let one = |(first, last, kind): &(i64, i64, i8)| {
        message!(Batch { first_offset: *first, last_offset: *last, acknowledge_types: vec![*kind] })
    };
    let partition =
        message!(AcknowledgePartition { acknowledgement_batches: asks.said.iter().map(one).collect() });
    let topic = message!(AcknowledgeTopic { topic_id: asks.topic, partitions: vec![partition] });
    client.ask(
        2,
        &message!(ShareAcknowledgeRequest {
            group_id: Some("g".into()),
            member_id: Some(asks.member.into()),
            share_session_epoch: asks.epoch,
            is_renew_ack: asks.said.iter().any(|(.., kind)| *kind == RENEW),
            topics: vec![topic],
        }),
    )
}

fn verdict(response: &ShareAcknowledgeResponse) -> i16 {
    assert_eq!(response.error_code, 0, "{:?}", response.error_message);
    response.responses[0].partitions[0].error_code
}

#[test]
fn members_share_the_records_of_a_partition() {
    let client = client();
    let (_, topic) = join(&client, "a");
    put(&client, &["0", "1", "2"]);
    let asks = |member, epoch, said| Asks { member, epoch, topic, wait_ms: 500, said };
    let first = fetch(&client, &asks("a", 0, &[]));
    assert_eq!(acquired(&first), (vec![(0, 2, 1)], vec!["0".into(), "1".into(), "2".into()]));
    assert_eq!(first.acquisition_lock_timeout_ms, 30_000);

    // What one holds no other gets; what comes is another's.
    join(&client, "b");
    assert_eq!(acquired(&fetch(&client, &asks("b", 0, &[]))).0, []);
    put(&client, &["3"]);
    assert_eq!(acquired(&fetch(&client, &asks("b", 1, &[]))), (vec![(3, 3, 1)], vec!["3".into()]));

    // One accepted, one given back, one rejected: the one given back is delivered again.
    let told = acknowledge(&client, &asks("a", 1, &[(0, 0, ACCEPT), (1, 1, RELEASE), (2, 2, REJECT)]));
    assert_eq!((verdict(&told), told.acquisition_lock_timeout_ms), (0, 30_000));
    let again = fetch(&client, &asks("b", 2, &[(3, 3, ACCEPT)]));
    assert_eq!(again.responses[0].partitions[0].acknowledge_error_code, 0);
    assert_eq!(acquired(&again), (vec![(1, 1, 2)], vec!["1".into()]));
    let late = acknowledge(&client, &asks("a", 2, &[(1, 1, ACCEPT)]));
    assert_eq!(verdict(&late), ErrorCode::InvalidRecordState.code());
    let renewed = acknowledge(&client, &asks("b", 3, &[(1, 1, RENEW)]));
    assert_eq!(verdict(&renewed), 0);

    // The session ends: what it held is free, and that it was delivered counts.
    let ends = acknowledge(&client, &asks("b", -1, &[]));
    assert_eq!(ends.error_code, 0);
    let last = fetch(&client, &asks("a", 3, &[]));
    assert_eq!(acquired(&last).0, [(1, 1, 3)]);
    let wrong = fetch(&client, &asks("a", 3, &[]));
    assert_eq!(wrong.error_code, ErrorCode::InvalidShareSessionEpoch.code());
    let gone = fetch(&client, &asks("b", 4, &[]));
    assert_eq!(gone.error_code, ErrorCode::ShareSessionNotFound.code());
}

#[test]
fn a_lock_that_runs_out_wakes_who_waits() {
    let client = client();
    let (_, topic) = join(&client, "a");
    put(&client, &["0"]);
    let asks = |member, epoch, wait_ms| Asks { member, epoch, topic, wait_ms, said: &[] };
    assert_eq!(acquired(&fetch(&client, &asks("a", 0, 500))).0, [(0, 0, 1)]);
    let before = client.simulation.now_ms();
    assert_eq!(acquired(&fetch(&client, &asks("b", 0, 60_000))).0, [(0, 0, 2)]);
    let waited = client.simulation.now_ms() - before;
    assert!((29_000..31_000).contains(&waited), "{waited}");
}

#[test]
fn new_records_wake_who_waits() {
    let client = client();
    let (_, topic) = join(&client, "a");
    let asks = |epoch, wait_ms| Asks { member: "a", epoch, topic, wait_ms, said: &[] };
    let before = client.simulation.now_ms();
    assert_eq!(acquired(&fetch(&client, &asks(0, 700))).0, []);
    assert!(client.simulation.now_ms() - before >= 700, "it waited");
    put(&client, &["0"]);
    let before = client.simulation.now_ms();
    assert_eq!(acquired(&fetch(&client, &asks(1, 60_000))).0, [(0, 0, 1)]);
    assert!(client.simulation.now_ms() - before < 1000);
}

#[test]
fn groups_are_described_and_of_one_kind() {
    let client = client();
    let (epoch, _) = join(&client, "a");
    let names = vec!["g".into(), "h".into(), "".into()];
    let described: ShareGroupDescribeResponse =
        client.ask(1, &message!(ShareGroupDescribeRequest { group_ids: names }));
    let group = described.groups.iter().find(|group| &*group.group_id == "g").unwrap();
    assert_eq!((&*group.group_state, &*group.assignor_name, group.group_epoch), ("Stable", "simple", epoch));
    assert_eq!(&*group.members[0].assignment.topic_partitions[0].topic_name, "t");
    let missing = described.groups.iter().find(|group| &*group.group_id == "h").unwrap();
    assert_eq!(missing.error_message.as_deref(), Some("Group h not found."));

    let listed: ListGroupsResponse =
        client.ask(5, &message!(ListGroupsRequest { types_filter: vec!["share".into()] }));
    let listed: Vec<_> = listed
        .groups
        .iter()
        .map(|group| (&*group.group_id, &*group.protocol_type, &*group.group_state))
        .collect();
    assert_eq!(listed, [("g", "share", "Stable")]);
    let classic = message!(DescribeGroupsRequest { groups: vec!["g".into(), "h".into()] });
    let told: DescribeGroupsResponse = client.ask(6, &classic);
    let not_found = ErrorCode::GroupIdNotFound.code();
    for (group, why) in told.groups.iter().zip(["Group g is not a classic group.", "Group h not found."]) {
        assert_eq!((group.error_code, &*group.group_state), (not_found, "Dead"));
        assert_eq!(group.error_message.as_deref(), Some(why));
    }
    let told: DescribeGroupsResponse = client.ask(5, &classic);
    assert!(told.groups.iter().all(|group| (group.error_code, &*group.group_state) == (0, "Dead")));

    let joins = message!(JoinGroupRequest {
        group_id: "g".into(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 10_000,
        protocol_type: "consumer".into(),
        protocols: vec![message!(join_group_request::JoinGroupRequestProtocol { name: "range".into() })],
    });
    let refused: JoinGroupResponse = client.ask(9, &joins);
    assert_eq!(refused.error_code, ErrorCode::InconsistentGroupProtocol.code());
    let joins = message!(ConsumerGroupHeartbeatRequest {
        group_id: "g".into(),
        member_id: "m".into(),
        rebalance_timeout_ms: 1000,
        subscribed_topic_names: Some(vec!["t".into()]),
        topic_partitions: Some(Vec::new()),
    });
    let refused: ConsumerGroupHeartbeatResponse = client.ask(1, &joins);
    assert_eq!(refused.error_message.as_deref(), Some("Group g is not a consumer group."));

    let delete = message!(DeleteGroupsRequest { groups_names: vec!["g".into()] });
    let told: DeleteGroupsResponse = client.ask(2, &delete);
    assert_eq!(told.results[0].error_code, ErrorCode::NonEmptyGroup.code());
    assert_eq!(beat(&client, "a", -1).member_epoch, -1);
    let told: DeleteGroupsResponse = client.ask(2, &delete);
    assert_eq!(told.results[0].error_code, 0);
    let told: DeleteGroupsResponse = client.ask(2, &delete);
    assert_eq!(told.results[0].error_code, ErrorCode::GroupIdNotFound.code());
    // Now it may be of another kind, and then no share group.
    let told: ConsumerGroupHeartbeatResponse = client.ask(1, &joins);
    assert_eq!(told.error_code, 0);
    let refused = beat(&client, "a", 0);
    assert_eq!(refused.error_message.as_deref(), Some("Group g is not a share group."));
}

/// Start and lag of partition 0.
fn described(client: &Client) -> Option<(i64, i64)> {
    let group = message!(DescribeShareGroupOffsetsRequestGroup { group_id: "g".into(), topics: None });
    let request = message!(DescribeShareGroupOffsetsRequest { groups: vec![group] });
    let told: DescribeShareGroupOffsetsResponse = client.ask(1, &request);
    assert_eq!(told.groups[0].error_code, 0);
    let one = &told.groups[0].topics.first()?.partitions[0];
    Some((one.start_offset, one.lag))
}

#[test]
fn offsets_are_described_altered_and_deleted() {
    let client = client();
    let (_, topic) = join(&client, "a");
    put(&client, &["0", "1", "2", "3"]);
    let asks = |epoch, said| Asks { member: "a", epoch, topic, wait_ms: 500, said };
    assert_eq!(acquired(&fetch(&client, &asks(0, &[]))).0, [(0, 3, 1)]);
    assert_eq!(verdict(&acknowledge(&client, &asks(1, &[(0, 1, ACCEPT), (3, 3, ACCEPT)]))), 0);
    // What is written tells where it began before that: the rest is in the count of what is finished.
    assert_eq!(described(&client), Some((0, 1)));

    let alter = |partition, start| {
        let partition = message!(AlterShareGroupOffsetsRequestPartition {
            partition_index: partition,
            start_offset: start,
        });
        let topic = message!(AlterShareGroupOffsetsRequestTopic {
            topic_name: "t".into(),
            partitions: vec![partition]
        });
        message!(AlterShareGroupOffsetsRequest { group_id: "g".into(), topics: vec![topic] })
    };
    let told: AlterShareGroupOffsetsResponse = client.ask(0, &alter(0, 1));
    assert_eq!(told.error_code, ErrorCode::NonEmptyGroup.code());
    assert_eq!(acknowledge(&client, &asks(-1, &[])).error_code, 0);
    beat(&client, "a", -1);
    let told: AlterShareGroupOffsetsResponse = client.ask(0, &alter(0, 1));
    assert_eq!((told.error_code, told.responses[0].partitions[0].error_code), (0, 0));
    let told: AlterShareGroupOffsetsResponse = client.ask(0, &alter(5, 1));
    assert_eq!(told.responses[0].partitions[0].error_code, ErrorCode::UnknownTopicOrPartition.code());
    assert_eq!(described(&client), Some((1, 3)));
    join(&client, "b");
    assert_eq!(acquired(&fetch(&client, &Asks { member: "b", ..asks(0, &[]) })).0, [(1, 3, 1)]);

    beat(&client, "b", -1);
    let topic = message!(DeleteShareGroupOffsetsRequestTopic { topic_name: "t".into() });
    let delete = message!(DeleteShareGroupOffsetsRequest { group_id: "g".into(), topics: vec![topic] });
    let told: DeleteShareGroupOffsetsResponse = client.ask(0, &delete);
    assert_eq!((told.error_code, told.responses[0].error_code), (0, 0), "{:?}", told.error_message);
    assert_eq!(described(&client), None);
    let told: DeleteShareGroupOffsetsResponse = client.ask(0, &delete);
    assert_eq!(told.responses[0].error_message.as_deref(), Some("There is no offset information to delete."));
}

#[test]
fn senseless_requests_are_refused() {
    let client = client();
    let (_, topic) = join(&client, "a");
    let long = "m".repeat(37);
    let told: ShareGroupHeartbeatResponse = client.ask(
        1,
        &message!(ShareGroupHeartbeatRequest { group_id: "g".into(), member_id: long.as_str().into() }),
    );
    assert_eq!(told.error_message.as_deref(), Some("Invalid member id in the request."));
    let asks = |epoch, said| Asks { member: "a", epoch, topic, wait_ms: 0, said };
    let told = fetch(&client, &asks(0, &[(0, 0, ACCEPT)]));
    assert_eq!(told.error_code, ErrorCode::InvalidRequest.code(), "there is nothing to speak of yet");
    fetch(&client, &asks(0, &[]));
    assert_eq!(verdict(&acknowledge(&client, &asks(1, &[(0, 0, 9)]))), ErrorCode::InvalidRequest.code());
    let strange = Asks { topic: Uuid::from_bytes([9; 16]), ..asks(2, &[(0, 0, ACCEPT)]) };
    assert_eq!(verdict(&acknowledge(&client, &strange)), ErrorCode::UnknownTopicId.code());
    assert_eq!(acknowledge(&client, &asks(0, &[])).error_code, ErrorCode::InvalidShareSessionEpoch.code());
}
