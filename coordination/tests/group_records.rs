//! The records of `__consumer_offsets` against bytes that Apache Kafka 4.3.1's own serializer wrote, and against
//! bytes that are anything.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::Arc;

use bytes::Bytes;
use coordination::effects::Effects;
use coordination::group::record::{decode, encode};
use coordination::group::{
    Coordinator, Decoded, GroupSettings, GroupValue, Input, Join, MemberValue, OffsetValue, Record,
    RecordError, Request,
};
use coordination::machine::Machine;
use model::{Offset, Tick, TimestampMs, TopicId};
use proptest::prelude::*;

const OFFSET_KEY: &str = "0001000473686f7000066f726465727300000007";
const GROUP_KEY: &str = "0002000473686f70";

/// OffsetCommitValue, versions 0 to 4, then 4 with a topic id.
const OFFSET_VALUES: [&str; 6] = [
    "0000000000000000010200016d0000018bcfe56800",
    "0001000000000000010200016d0000018bcfe568000000018bcfe65260",
    "0002000000000000010200016d0000018bcfe56800",
    "000300000000000001020000000900016d0000018bcfe56800",
    "0004000000000000010200000009026d0000018bcfe5680000",
    "0004000000000000010200000009026d0000018bcfe568000100100102030405060708090a0b0c0d0e0f10",
];

/// GroupMetadataValue, versions 0 to 4.
const GROUP_VALUES: [&str; 5] = [
    "00000008636f6e73756d657200000005000572616e67650003632d31000000010003632d31000163000a2f3132372e302e302e3100002710\
     0000000201020000000103",
    "00010008636f6e73756d657200000005000572616e67650003632d31000000010003632d31000163000a2f3132372e302e302e310000ea60\
     000027100000000201020000000103",
    "00020008636f6e73756d657200000005000572616e67650003632d310000018bcfe56800000000010003632d31000163000a2f3132372e30\
     2e302e310000ea60000027100000000201020000000103",
    "00030008636f6e73756d657200000005000572616e67650003632d310000018bcfe56800000000010003632d31000169000163000a2f3132\
     372e302e302e310000ea60000027100000000201020000000103",
    "000409636f6e73756d6572000000050672616e676504632d310000018bcfe568000204632d31026902630b2f3132372e302e302e310000ea\
     600000271003010202030000",
];

const EMPTY_GROUP: &str = "0003000000000000ffffffff0000018bcfe5680000000000";

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn offset(value: Option<OffsetValue>) -> Record {
    Record::Offset { group: "shop".into(), topic: "orders".into(), partition: 7, value }
}

fn offset_value() -> OffsetValue {
    OffsetValue {
        offset: Offset(258),
        leader_epoch: 9,
        metadata: "m".into(),
        commit_time: TimestampMs(1_700_000_000_000),
        expire_time: None,
        topic_id: TopicId::ZERO,
    }
}

fn group(value: Option<GroupValue>) -> Record {
    Record::Group { group: "shop".into(), value: value.map(Arc::new) }
}

fn group_value() -> GroupValue {
    GroupValue {
        protocol_type: "consumer".into(),
        generation: 5,
        protocol: Some("range".into()),
        leader: Some("c-1".into()),
        state_since: TimestampMs(1_700_000_000_000),
        members: vec![MemberValue {
            member_id: "c-1".into(),
            instance_id: Some("i".into()),
            client_id: "c".into(),
            client_host: "/127.0.0.1".into(),
            rebalance_timeout_ms: 60_000,
            session_timeout_ms: 10_000,
            subscription: Bytes::from_static(&[1, 2]),
            assignment: Bytes::from_static(&[3]),
        }],
    }
}

fn read(key: &str, value: Option<&str>) -> Record {
    let Ok(Decoded::Record(record)) = decode(&bytes(key), value.map(bytes).as_deref()) else {
        panic!("{key} {value:?} not read")
    };
    record
}

fn written(record: &Record) -> (String, Option<String>) {
    let (key, value) = encode(record);
    (hex(&key), value.map(|value| hex(&value)))
}

#[test]
fn offsets_are_written_as_kafka_writes_them() {
    let plain = offset(Some(offset_value()));
    assert_eq!(written(&plain), (OFFSET_KEY.into(), Some(OFFSET_VALUES[4].into())));
    let topic_id = TopicId([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]);
    let with_id = offset(Some(OffsetValue { topic_id, ..offset_value() }));
    assert_eq!(written(&with_id), (OFFSET_KEY.into(), Some(OFFSET_VALUES[5].into())));
    let expire_time = Some(TimestampMs(1_700_000_060_000));
    let expiring = offset(Some(OffsetValue { expire_time, topic_id, ..offset_value() }));
    assert_eq!(written(&expiring), (OFFSET_KEY.into(), Some(OFFSET_VALUES[1].into())));
    assert_eq!(written(&offset(None)), (OFFSET_KEY.into(), None));
}

#[test]
fn offsets_of_every_version_are_read() {
    let old = OffsetValue { leader_epoch: -1, ..offset_value() };
    let expire_time = Some(TimestampMs(1_700_000_060_000));
    assert_eq!(read(OFFSET_KEY, Some(OFFSET_VALUES[0])), offset(Some(old.clone())));
    assert_eq!(
        read(OFFSET_KEY, Some(OFFSET_VALUES[1])),
        offset(Some(OffsetValue { expire_time, ..old.clone() }))
    );
    assert_eq!(read(OFFSET_KEY, Some(OFFSET_VALUES[2])), offset(Some(old)));
    for value in [OFFSET_VALUES[3], OFFSET_VALUES[4]] {
        assert_eq!(read(OFFSET_KEY, Some(value)), offset(Some(offset_value())));
    }
    let oldest_key = OFFSET_KEY.replacen("0001", "0000", 1);
    assert_eq!(read(&oldest_key, None), offset(None));
}

#[test]
fn groups_are_written_as_kafka_writes_them() {
    assert_eq!(written(&group(Some(group_value()))), (GROUP_KEY.into(), Some(GROUP_VALUES[3].into())));
    assert_eq!(written(&group(None)), (GROUP_KEY.into(), None));
    let empty = GroupValue {
        protocol_type: String::new(),
        generation: 0,
        protocol: None,
        leader: None,
        members: Vec::new(),
        ..group_value()
    };
    assert_eq!(written(&group(Some(empty))), (GROUP_KEY.into(), Some(EMPTY_GROUP.into())));
}

#[test]
fn groups_of_every_version_are_read() {
    for (version, value) in GROUP_VALUES.iter().enumerate() {
        let mut expected = group_value();
        if version < 3 {
            expected.members[0].instance_id = None;
        }
        if version < 2 {
            expected.state_since = TimestampMs::NONE;
        }
        if version < 1 {
            expected.members[0].rebalance_timeout_ms = 10_000;
        }
        assert_eq!(read(GROUP_KEY, Some(value)), group(Some(expected)), "version {version}");
    }
}

#[test]
fn other_kinds_are_skipped_and_damage_is_an_error() {
    assert_eq!(decode(&bytes("0004000161"), Some(&[])), Ok(Decoded::Unknown(4)));
    assert_eq!(decode(&bytes("0003000161"), Some(&[])), Err(RecordError::Truncated));
    assert_eq!(decode(&bytes("7fff"), None), Ok(Decoded::Unknown(32_767)));
    assert_eq!(decode(&bytes(OFFSET_KEY), Some(&bytes("0005"))), Err(RecordError::ValueVersion(5)));
    assert_eq!(decode(&bytes(GROUP_KEY), Some(&bytes("ffff"))), Err(RecordError::ValueVersion(-1)));
    assert_eq!(decode(&[], None), Err(RecordError::Truncated));
    assert_eq!(
        decode(&bytes("0002000161ff"), None).map(|_| ()),
        Ok(()),
        "what follows a key is not looked at"
    );
    assert_eq!(decode(&bytes("00020001ff"), None), Err(RecordError::NotText));
    assert_eq!(decode(&bytes("0002ffff"), None), Err(RecordError::BadLength));
    // Two thousand million members in a handful of bytes.
    let many = format!("{}7fffffff", &EMPTY_GROUP[..EMPTY_GROUP.len() - 8]);
    assert_eq!(decode(&bytes(GROUP_KEY), Some(&bytes(&many))), Err(RecordError::Truncated));
    for value in OFFSET_VALUES.into_iter().chain(GROUP_VALUES) {
        let whole = bytes(value);
        for end in 0..whole.len() {
            let key = if OFFSET_VALUES.contains(&value) { OFFSET_KEY } else { GROUP_KEY };
            assert!(decode(&bytes(key), Some(&whole[..end])).is_err(), "{value} cut at {end}");
        }
    }
}

/// Loads the records, lets time pass and somebody join: nothing panics and the snapshot is read back.
fn serve(records: &[Record]) {
    let mut machine = Coordinator::new(GroupSettings::default(), 1);
    records.iter().for_each(|record| machine.replay(record));
    let (mut effects, wall) = (Effects::new(), TimestampMs(1_700_000_000_000));
    machine.loaded(Tick(0), wall, &mut effects);
    let join = Join {
        group: "shop".into(),
        member_id: String::new(),
        instance_id: Some("1".into()),
        client_id: "x".into(),
        client_host: String::new(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 10_000,
        protocol_type: "consumer".into(),
        protocols: vec![("0".into(), Bytes::new()), ("range".into(), Bytes::new())],
        require_known_member_id: false,
        can_skip_assignment: true,
    };
    let request = Request::Join(join);
    machine.step(Tick(1), Input::Request { ticket: 1, wall, request }, &mut effects);
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
    fn anything_is_read_or_refused(key in proptest::collection::vec(any::<u8>(), 0..60),
                                   kind in 0..4_i16, version in 0..6_i16,
                                   rest in proptest::collection::vec(any::<u8>(), 0..120)) {
        let mut value = version.to_be_bytes().to_vec();
        value.extend(&rest);
        let _ = decode(&key, Some(&value));
        for key in [OFFSET_KEY, GROUP_KEY] {
            if let Ok(Decoded::Record(record)) = decode(&bytes(key), Some(&value)) {
                let (key, value) = encode(&record);
                prop_assert_eq!(decode(&key, value.as_deref()).map(|_| ()), Ok(()));
            }
        }
        let mut odd = kind.to_be_bytes().to_vec();
        odd.extend(&key);
        let _ = decode(&odd, Some(&rest));
    }

    #[test]
    fn a_damaged_record_never_panics(which in 0..11_usize, at in 0..200_usize, flip in 1..=255_u8) {
        let values: Vec<&str> = OFFSET_VALUES.into_iter().chain(GROUP_VALUES).collect();
        let mut value = bytes(values[which]);
        let at = at % value.len();
        value[at] ^= flip;
        let key = if which < 6 { OFFSET_KEY } else { GROUP_KEY };
        if let Ok(Decoded::Record(record)) = decode(&bytes(key), Some(&value)) {
            serve(&[record]);
        }
    }

    #[test]
    fn any_group_can_be_loaded(members in proptest::collection::vec((0..4_u8, 0..4_u8, any::<i32>()), 0..6),
                               generation in any::<i32>(), leader in proptest::option::of(0..5_u8),
                               protocol in proptest::option::of(0..2_u8), consumer in any::<bool>()) {
        let member = |&(id, instance, timeout): &(u8, u8, i32)| MemberValue {
            member_id: "m".repeat(id.into()),
            instance_id: (instance > 0).then(|| instance.to_string()),
            rebalance_timeout_ms: timeout,
            session_timeout_ms: timeout.wrapping_mul(7),
            ..group_value().members[0].clone()
        };
        let value = GroupValue {
            protocol_type: if consumer { "consumer".into() } else { String::new() },
            generation,
            protocol: protocol.map(|which| which.to_string()),
            leader: leader.map(|id| "m".repeat(id.into())),
            members: members.iter().map(member).collect(),
            ..group_value()
        };
        serve(&[group(Some(value))]);
    }
}
