//! The records of groups by the consumer protocol against bytes that Apache Kafka 4.3.1's own serializer wrote, and against
//! bytes that are anything.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::Arc;

use bytes::Bytes;
use coordination::effects::Effects;
use coordination::group::consumer::{
    ClassicMetadata, ConsumerRecord, CurrentValue, EpochValue, Held, MemberMetadata, MemberState, Partitions,
    ResolvedRegex, TargetEpochValue,
};
use coordination::group::record::{decode, encode};
use coordination::group::{
    ConsumerHeartbeat, Coordinator, Decoded, GroupSettings, Input, Join, Record, RecordError, Request,
};
use coordination::machine::Machine;
use coordination::metadata::{Image, Overrides, Record as Change};
use model::{Tick, TimestampMs, TopicId};
use proptest::prelude::*;

const EPOCH_KEY: &str = "0003000473686f70";
const EPOCH: &str = "00000000000a00";
const EPOCH_HASH: &str = "00000000000a0100080000000000000102";
const MEMBER_KEY: &str = "0005000473686f7000036d2d31";
const MEMBER: &str =
    "00000269027202630b2f3132372e302e302e3103066175646974076f726465727304742e2a0000ea600672616e676500";
const MEMBER_PLAIN: &str = "0000000002630b2f3132372e302e302e3102076f726465727301ffffffff0000";
const MEMBER_CLASSIC: &str =
    "0000000002630b2f3132372e302e302e3102076f7264657273010000ea60000100110100002710020672616e67650301020000";
const TARGET_EPOCH_KEY: &str = "0006000473686f70";
const TARGET_EPOCH: &str = "00000000000a00";
const TARGET_EPOCH_TIME: &str = "00000000000a0100080000018bcfe56800";
const TARGET_KEY: &str = "0007000473686f7000036d2d31";
const TARGET: &str = "0000020102030405060708090a0b0c0d0e0f100300000000000000020000";
const CURRENT_KEY: &str = "0008000473686f7000036d2d31";
const CURRENT: &str = "00000000000a0000000901020102030405060708090a0b0c0d0e0f1003000000000000000201000903000000070000000a020102030405060708090a0b0c0d0e0f100200000003010005020000000800";
/// Without the epochs of partitions, as Kafka before 4.3 wrote it.
const CURRENT_OLD: &str = "00000000000a0000000900020102030405060708090a0b0c0d0e0f10030000000000000002000100";
const REGEX_KEY: &str = "0010000473686f700003742e2a";
const REGEX: &str = "00000303743103743200000000000000050000018bcfe5680000";
/// ConsumerGroupPartitionMetadata, of Kafka before 4.1.
const OLD_METADATA_KEY: &str = "0004000473686f70";

const ALL: [(&str, &str); 11] = [
    (EPOCH_KEY, EPOCH),
    (EPOCH_KEY, EPOCH_HASH),
    (MEMBER_KEY, MEMBER),
    (MEMBER_KEY, MEMBER_PLAIN),
    (MEMBER_KEY, MEMBER_CLASSIC),
    (TARGET_EPOCH_KEY, TARGET_EPOCH),
    (TARGET_EPOCH_KEY, TARGET_EPOCH_TIME),
    (TARGET_KEY, TARGET),
    (CURRENT_KEY, CURRENT),
    (CURRENT_KEY, CURRENT_OLD),
    (REGEX_KEY, REGEX),
];

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn topic() -> TopicId {
    TopicId([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16])
}

fn of(change: ConsumerRecord) -> Record {
    Record::Consumer { group: "shop".into(), change }
}

fn member(value: MemberMetadata) -> Record {
    of(ConsumerRecord::Member { member: "m-1".into(), value: Some(Arc::new(value)) })
}

fn current(value: CurrentValue) -> Record {
    of(ConsumerRecord::Current { member: "m-1".into(), value: Some(Arc::new(value)) })
}

fn full_member() -> MemberMetadata {
    MemberMetadata {
        instance_id: Some("i".into()),
        rack_id: Some("r".into()),
        client_id: "c".into(),
        client_host: "/127.0.0.1".into(),
        topics: ["audit".into(), "orders".into()].into(),
        regex: Some("t.*".into()),
        rebalance_timeout_ms: 60_000,
        assignor: Some("range".into()),
        classic: None,
    }
}

fn plain_member() -> MemberMetadata {
    MemberMetadata {
        client_id: "c".into(),
        client_host: "/127.0.0.1".into(),
        topics: ["orders".into()].into(),
        ..MemberMetadata::default()
    }
}

fn full_current() -> CurrentValue {
    CurrentValue {
        epoch: 10,
        previous_epoch: 9,
        state: MemberState::Unrevoked,
        assigned: [(topic(), 0, 7), (topic(), 2, 10)].into_iter().collect(),
        revoking: [(topic(), 3, 8)].into_iter().collect(),
    }
}

fn target() -> Partitions {
    Partitions::from([(topic(), [0, 2].into())])
}

fn read(key: &str, value: Option<&str>) -> Record {
    match decode(&bytes(key), value.map(bytes).as_deref()) {
        Ok(Decoded::Record(record)) => record,
        other => panic!("{key} {value:?}: {other:?}"),
    }
}

/// Written as Kafka does, and read back.
fn check(record: &Record, key: &str, value: &str) {
    let (is_key, is_value) = encode(record);
    assert_eq!((hex(&is_key), is_value.map(|value| hex(&value))), (key.to_owned(), Some(value.to_owned())));
    assert_eq!(read(key, Some(value)), *record);
}

#[test]
fn records_are_written_and_read_as_kafka_does() {
    let epoch = |metadata_hash| of(ConsumerRecord::Epoch(Some(EpochValue { epoch: 10, metadata_hash })));
    check(&epoch(0), EPOCH_KEY, EPOCH);
    check(&epoch(258), EPOCH_KEY, EPOCH_HASH);
    check(&member(full_member()), MEMBER_KEY, MEMBER);
    check(&member(plain_member()), MEMBER_KEY, MEMBER_PLAIN);
    let targets = |time| of(ConsumerRecord::TargetEpoch(Some(TargetEpochValue { epoch: 10, time })));
    check(&targets(TimestampMs(0)), TARGET_EPOCH_KEY, TARGET_EPOCH);
    check(&targets(TimestampMs(1_700_000_000_000)), TARGET_EPOCH_KEY, TARGET_EPOCH_TIME);
    let value = Some(Arc::new(target()));
    check(&of(ConsumerRecord::Target { member: "m-1".into(), value }), TARGET_KEY, TARGET);
    check(&current(full_current()), CURRENT_KEY, CURRENT);
    let resolved = ResolvedRegex {
        topics: ["t1".into(), "t2".into()].into(),
        version: 5,
        time: TimestampMs(1_700_000_000_000),
    };
    let regex = ConsumerRecord::Regex { pattern: "t.*".into(), value: Some(Arc::new(resolved)) };
    check(&of(regex), REGEX_KEY, REGEX);
}

#[test]
fn what_kafka_writes_otherwise_is_read_too() {
    let classic = ClassicMetadata {
        session_timeout_ms: 10_000,
        protocols: vec![("range".into(), Bytes::from_static(&[1, 2]))],
    };
    let expected = MemberMetadata { rebalance_timeout_ms: 60_000, classic: Some(classic), ..plain_member() };
    check(&member(expected), MEMBER_KEY, MEMBER_CLASSIC);
    let old = CurrentValue {
        state: MemberState::Stable,
        assigned: Held::since(&target(), 10),
        revoking: Held::default(),
        ..full_current()
    };
    assert_eq!(read(CURRENT_KEY, Some(CURRENT_OLD)), current(old));
}

#[test]
fn tombstones_are_keys_alone() {
    let member = || Arc::<str>::from("m-1");
    for (change, key) in [
        (ConsumerRecord::Epoch(None), EPOCH_KEY),
        (ConsumerRecord::Member { member: member(), value: None }, MEMBER_KEY),
        (ConsumerRecord::TargetEpoch(None), TARGET_EPOCH_KEY),
        (ConsumerRecord::Target { member: member(), value: None }, TARGET_KEY),
        (ConsumerRecord::Current { member: member(), value: None }, CURRENT_KEY),
        (ConsumerRecord::Regex { pattern: "t.*".into(), value: None }, REGEX_KEY),
    ] {
        assert!(change.is_tombstone());
        let record = of(change);
        assert_eq!(encode(&record), (bytes(key), None));
        assert_eq!(read(key, None), record);
    }
}

#[test]
fn other_kinds_are_skipped_and_damage_is_an_error() {
    assert_eq!(decode(&bytes(OLD_METADATA_KEY), Some(&[0, 0])), Ok(Decoded::Unknown(4)));
    for (key, value) in ALL {
        let whole = bytes(value);
        for end in 0..whole.len() {
            assert!(decode(&bytes(key), Some(&whole[..end])).is_err(), "{value} cut at {end}");
        }
        let newer = [&[0, 1], &whole[2..]].concat();
        assert_eq!(decode(&bytes(key), Some(&newer)), Err(RecordError::ValueVersion(1)));
    }
    // Four thousand million partitions in a handful of bytes.
    let many = format!("0000{}ffffffff0f", "00".repeat(9));
    assert_eq!(decode(&bytes(CURRENT_KEY), Some(&bytes(&many))), Err(RecordError::Truncated));
}

/// Loads the records, lets time pass and members come: nothing panics and the snapshot is read back.
fn serve(records: &[Record]) {
    let mut image = Image::default();
    let change =
        Change::TopicCreated { id: topic(), name: "orders".into(), partitions: 3, configs: Overrides::new() };
    image.apply(1, &change);
    let mut machine = Coordinator::new(GroupSettings::default(), 1);
    machine.set_image(Arc::new(image));
    records.iter().for_each(|record| machine.replay(record));
    let (mut effects, wall) = (Effects::new(), TimestampMs(1_700_000_000_000));
    machine.loaded(Tick(0), wall, &mut effects);
    let beat = |member: &str, epoch, instance: Option<&str>| {
        Request::ConsumerHeartbeat(Box::new(ConsumerHeartbeat {
            group: "shop".into(),
            member_id: member.into(),
            makes_own_id: true,
            epoch,
            instance_id: instance.map(str::to_owned),
            rebalance_timeout_ms: 1000,
            topics: Some(vec!["orders".into()]),
            owned: Some(Partitions::new()),
            ..ConsumerHeartbeat::default()
        }))
    };
    let mut metadata = vec![0, 0, 0, 0, 0, 1, 0, 6];
    metadata.extend(b"orders\xff\xff\xff\xff");
    let join = Request::Join(Join {
        group: "shop".into(),
        member_id: "m-1".into(),
        instance_id: None,
        client_id: "x".into(),
        client_host: String::new(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 10_000,
        protocol_type: "consumer".into(),
        protocols: vec![("range".into(), metadata.into())],
        require_known_member_id: false,
        can_skip_assignment: true,
    });
    let requests =
        [beat("m-2", 0, None), beat("m-1", 0, None), beat("m-3", 0, Some("i")), join, beat("m-1", -1, None)];
    for (ticket, request) in (0..).zip(requests) {
        machine.step(Tick(1), Input::Request { ticket, wall, request }, &mut effects);
        machine.step(Tick(1), Input::Durable(u64::MAX), &mut effects);
    }
    for now in [2, 5_000, 100_000, 4_000_000_000] {
        machine.step(Tick(now), Input::Tick { wall }, &mut effects);
        machine.step(Tick(now), Input::Durable(u64::MAX), &mut effects);
    }
    for record in machine.snapshot() {
        let (key, value) = encode(&record);
        assert!(matches!(decode(&key, value.as_deref()), Ok(Decoded::Record(_))));
    }
}

proptest! {
    #[test]
    fn anything_is_read_or_refused(which in 0..11_usize, rest in proptest::collection::vec(any::<u8>(), 0..120)) {
        let mut value = vec![0, 0];
        value.extend(&rest);
        if let Ok(Decoded::Record(record)) = decode(&bytes(ALL[which].0), Some(&value)) {
            let (key, value) = encode(&record);
            prop_assert_eq!(decode(&key, value.as_deref()), Ok(Decoded::Record(record)));
        }
    }

    #[test]
    fn damaged_records_never_panic(flips in proptest::collection::vec((0..11_usize, 0..200_usize, 0..=255_u8), 1..14)) {
        let damaged = |(which, at, flip): (usize, usize, u8)| {
            let (key, value) = ALL[which];
            let mut value = bytes(value);
            let at = at % value.len();
            value[at] ^= flip;
            match decode(&bytes(key), Some(&value)) {
                Ok(Decoded::Record(record)) => Some(record),
                _ => None,
            }
        };
        let records: Vec<Record> = flips.into_iter().filter_map(damaged).collect();
        serve(&records);
    }
}
