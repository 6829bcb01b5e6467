//! The records of share groups and of their share partitions against bytes that Apache Kafka 4.3.1's own serializers wrote.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use coordination::group::record::{self as groups, Decoded as GroupDecoded, Record as GroupRecord};
use coordination::share::membership::Assignment;
use coordination::share::membership::record::{CurrentValue, MemberValue, Record, StateTopic, StateTopics};
use coordination::share::record::{self as states, Decoded, Record as StateRecord, ShareKey};
use coordination::share::state::{DeliveryState, PartitionState, StateBatch, StateUpdate};
use model::{LeaderEpoch, Offset, TimestampMs, TopicId};

const MEMBER_KEY: &str = "000a000473686f7000036d2d31";
const MEMBER: &str = "0000027202630b2f3132372e302e302e3103066175646974076f726465727300";
const MEMBER_PLAIN: &str = "00000002630b2f3132372e302e302e3102076f726465727300";
const EPOCH_KEY: &str = "000b000473686f70";
const EPOCH: &str = "00000000000a000000000000010200";
const TARGET_EPOCH_KEY: &str = "000c000473686f70";
const TARGET_EPOCH: &str = "00000000000a00";
const TARGET_EPOCH_TIME: &str = "00000000000a0100080000018bcfe56800";
const TARGET_KEY: &str = "000d000473686f7000036d2d31";
const TARGET: &str = "0000020102030405060708090a0b0c0d0e0f100300000000000000020000";
const CURRENT_KEY: &str = "000e000473686f7000036d2d31";
const CURRENT: &str = "00000000000a0000000900020102030405060708090a0b0c0d0e0f100300000000000000020000";
const TOPICS_KEY: &str = "000f000473686f70";
const TOPICS: &str = "0000020102030405060708090a0b0c0d0e0f10066175646974020000000300020102030405060708090a0b0c0d0e0f1006617564697403000000000000000200020102030405060708090a0b0c0d0e0f10076f72646572730000";
const TOPICS_NONE: &str = "000001010100";
const SNAPSHOT_KEY: &str = "0000000473686f700102030405060708090a0b0c0d0e0f1000000007";
const SNAPSHOT: &str = "000000000001000000020000000300000000000000640000018bcfe568000000018bcfe56801030000000000000064000000000000007702000300000000000000007800000000000000780400050001000400000015";
const SNAPSHOT_NEW: &str = "0000000000000000000200000000ffffffffffffffff0000018bcfe568000000018bcfe568010100";
const UPDATE_KEY: &str = "0001000473686f700102030405060708090a0b0c0d0e0f1000000007";
const UPDATE: &str =
    "00000000000100000003ffffffffffffffff02000000000000006400000000000000770000010001000400000000";

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn topic() -> TopicId {
    TopicId([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16])
}

fn shares() -> Assignment {
    Assignment(BTreeMap::from([(topic(), BTreeSet::from([0, 2]))]))
}

fn member(rack: Option<&str>, topics: &[&str]) -> Record {
    let value = MemberValue {
        rack: rack.map(str::to_owned),
        client_id: "c".into(),
        client_host: "/127.0.0.1".into(),
        topics: topics.iter().map(|name| (*name).to_owned()).collect(),
    };
    Record::Member { group: "shop".into(), member: "m-1".into(), value: Some(Arc::new(value)) }
}

fn topics() -> StateTopics {
    let named = |partitions: &[i32]| StateTopic {
        name: "audit".into(),
        partitions: partitions.iter().copied().collect(),
    };
    StateTopics {
        initializing: BTreeMap::from([(topic(), named(&[3]))]),
        initialized: BTreeMap::from([(topic(), named(&[0, 2]))]),
        deleting: BTreeMap::from([(topic(), "orders".to_owned())]),
    }
}

#[test]
fn records_of_groups_are_kafkas_byte_for_byte() {
    let (group, id): (Arc<str>, Arc<str>) = ("shop".into(), "m-1".into());
    let current = CurrentValue { epoch: 10, previous_epoch: 9, state: 0, assigned: shares() };
    let target_epoch = |made| Record::TargetEpoch { group: Arc::clone(&group), value: Some((10, made)) };
    let kept = |value| Record::Topics { group: Arc::clone(&group), value: Some(Arc::new(value)) };
    let all = [
        (MEMBER_KEY, MEMBER, member(Some("r"), &["audit", "orders"])),
        (MEMBER_KEY, MEMBER_PLAIN, member(None, &["orders"])),
        (EPOCH_KEY, EPOCH, Record::Epoch { group: Arc::clone(&group), value: Some((10, 258)) }),
        (TARGET_EPOCH_KEY, TARGET_EPOCH, target_epoch(0)),
        (TARGET_EPOCH_KEY, TARGET_EPOCH_TIME, target_epoch(1_700_000_000_000)),
        (
            TARGET_KEY,
            TARGET,
            Record::Target {
                group: Arc::clone(&group),
                member: Arc::clone(&id),
                value: Some(Arc::new(shares())),
            },
        ),
        (
            CURRENT_KEY,
            CURRENT,
            Record::Current { group: Arc::clone(&group), member: id, value: Some(Arc::new(current)) },
        ),
        (TOPICS_KEY, TOPICS, kept(topics())),
        (TOPICS_KEY, TOPICS_NONE, kept(StateTopics::default())),
    ];
    for (key, value, record) in all {
        let record = GroupRecord::Share(record);
        let (written_key, written) = groups::encode(&record);
        assert_eq!((hex(&written_key), hex(&written.unwrap())), (key.into(), value.into()), "{record:?}");
        let read = groups::decode(&bytes(key), Some(&bytes(value)));
        assert_eq!(read, Ok(GroupDecoded::Record(record)));
        let gone = groups::decode(&bytes(key), None).unwrap();
        let GroupDecoded::Record(gone) = gone else { panic!("unknown") };
        assert_eq!(groups::encode(&gone), (bytes(key), None));
    }
}

#[test]
fn records_of_states_are_kafkas_byte_for_byte() {
    let key = || ShareKey { group: "shop".into(), topic: topic(), partition: 7 };
    let batch = |first, last, state, delivery_count| StateBatch {
        first: Offset(first),
        last: Offset(last),
        state,
        delivery_count,
    };
    let snapshot = PartitionState {
        snapshot_epoch: 1,
        state_epoch: 2,
        leader_epoch: LeaderEpoch(3),
        start: Offset(100),
        delivery_complete_count: 21,
        created: TimestampMs(1_700_000_000_000),
        written: TimestampMs(1_700_000_000_001),
        batches: vec![
            batch(100, 119, DeliveryState::Acknowledged, 3),
            batch(120, 120, DeliveryState::Archived, 5),
        ],
    };
    let new = PartitionState {
        snapshot_epoch: 0,
        leader_epoch: LeaderEpoch(0),
        start: Offset::NONE,
        delivery_complete_count: -1,
        batches: Vec::new(),
        ..snapshot.clone()
    };
    let update = StateUpdate {
        snapshot_epoch: 1,
        leader_epoch: LeaderEpoch(3),
        start: Offset::NONE,
        delivery_complete_count: 0,
        batches: vec![batch(100, 119, DeliveryState::Available, 1)],
    };
    let of = |value| StateRecord::Snapshot { key: key(), value: Some(Arc::new(value)) };
    for (told_key, value, record) in [
        (SNAPSHOT_KEY, SNAPSHOT, of(snapshot)),
        (SNAPSHOT_KEY, SNAPSHOT_NEW, of(new)),
        (UPDATE_KEY, UPDATE, StateRecord::Update { key: key(), value: update }),
    ] {
        let (written_key, written) = states::encode(&record);
        assert_eq!(
            (hex(&written_key), hex(&written.unwrap())),
            (told_key.into(), value.into()),
            "{record:?}"
        );
        assert_eq!(states::decode(&bytes(told_key), Some(&bytes(value))), Ok(Decoded::Record(record)));
    }
}
