//! Batches in, batches out.

use std::io::{Read, Write};

use model::batch::{BatchBuilder, Codec, Compression};
use model::{LeaderEpoch, ProducerEpoch, ProducerId};

use super::super::keys::SLOT_BYTES;
use super::super::learn::Learner;
use super::*;
use crate::compress::Writer;
use crate::decompress;

const ALL: [Compression; 5] =
    [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

const RECORD_BYTES: usize = 1 << 20;
const STEP_BYTES: usize = 256 << 10;

type Pair = (&'static str, Option<&'static str>);

fn builder(base: i64, records: &[Pair]) -> BatchBuilder {
    let mut batch = BatchBuilder::new().stored_at(Offset(base), LeaderEpoch(1));
    for (time, (key, value)) in (1000 + base..).zip(records) {
        batch = batch.record(TimestampMs(time), Some(key.as_bytes()), value.map(str::as_bytes));
    }
    batch
}

fn packed(batch: &BatchBuilder, compression: Compression) -> Vec<u8> {
    batch.build_compressed(compression, |records| {
        let mut writer = Writer::new(Codec::usual(compression)).unwrap();
        writer.write_all(records).unwrap();
        writer.finish().unwrap()
    })
}

/// A filter that has learnt these batches from `from` on.
fn filter(log: &[u8], from: i64, upto: i64) -> Filter {
    let mut learner = Learner::new(KeyMap::with_memory(1000 * SLOT_BYTES), Offset(from), RECORD_BYTES);
    learn(&mut learner, log);
    Filter {
        known: Known::Table(learner.keys),
        covered: learner.covered,
        upto: Offset(upto),
        now_ms: 5000,
        tombstones_ms: 100,
        room: Room::up_to(RECORD_BYTES),
        step_bytes: STEP_BYTES,
        producers: HashMap::new(),
        blind: false,
        out: Filtered::default(),
    }
}

fn learn(learner: &mut Learner, mut log: &[u8]) {
    while !log.is_empty() && !learner.full {
        log = &log[learner.take(log).unwrap()..];
    }
}

/// What is left of a log, and whether something is not as it was.
struct Left {
    bytes: Vec<u8>,
    changed: bool,
}

/// Filters a log, step by step.
fn left(filter: &mut Filter, mut log: &[u8]) -> Left {
    let mut left = Left { bytes: Vec::new(), changed: false };
    while !log.is_empty() {
        log = &log[filter.filter(log).unwrap()..];
        left.bytes.extend_from_slice(&filter.out.bytes);
        left.changed |= filter.out.changed;
    }
    left
}

/// What is in a log: (offset, time, key, value).
fn records(log: &[u8]) -> Vec<(i64, i64, String, Option<String>)> {
    let mut found = Vec::new();
    for batch in RecordBatch::all_in(log) {
        let batch = batch.unwrap();
        batch.check_crc().unwrap();
        let mut payload = Vec::new();
        let mut reader =
            decompress::reader(batch.compression().unwrap(), batch.payload().to_vec(), 1 << 20).unwrap();
        if batch.record_count() > 0 {
            reader.read_to_end(&mut payload).unwrap();
        }
        for record in model::batch::Records::new(&payload, batch.record_count()) {
            let record = record.unwrap();
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            let (offset, time) = (record.offset(&batch).0, record.timestamp(&batch).0);
            found.push((offset, time, text(record.key.unwrap_or(b"")), record.value.map(text)));
        }
    }
    found
}

fn one(log: &[u8]) -> RecordBatch<'_> {
    let (batch, rest) = RecordBatch::parse(log).unwrap();
    assert!(rest.is_empty());
    batch
}

#[test]
fn the_last_of_each_key_stays_where_it_was_in_every_codec() {
    for compression in ALL {
        let log = [
            packed(&builder(0, &[("a", Some("1")), ("b", Some("2")), ("a", Some("3"))]), compression),
            packed(&builder(3, &[("c", Some("4"))]), compression),
            packed(&builder(4, &[("c", Some("5")), ("d", Some("6"))]), compression),
        ]
        .concat();
        let mut filter = filter(&log, 0, 99);
        let left = left(&mut filter, &log);
        let expected = [(1, 1001, "b", "2"), (2, 1002, "a", "3"), (4, 1004, "c", "5"), (5, 1005, "d", "6")]
            .map(|(offset, time, key, value)| (offset, time, key.to_owned(), Some(value.to_owned())));
        assert_eq!(records(&left.bytes), expected, "{compression:?}");
        let shapes: Vec<_> = RecordBatch::all_in(&left.bytes)
            .map(|batch| batch.map(|batch| (batch.base_offset().0, batch.last_offset().0)).unwrap())
            .collect();
        assert_eq!(shapes, [(0, 2), (4, 5)]);
        assert!(
            RecordBatch::all_in(&left.bytes).all(|batch| batch.unwrap().compression() == Ok(compression))
        );
        let first = RecordBatch::parse(&left.bytes).unwrap().0;
        assert_eq!(first.max_timestamp(), TimestampMs(1002));
        assert!(left.changed);
        let again = self::left(&mut filter, &left.bytes);
        assert!(!again.changed && again.bytes == left.bytes);
        assert!(!filter.blind);
    }
}

#[test]
fn a_tombstone_stays_until_its_horizon_and_keeps_its_time() {
    for compression in ALL {
        let log = [
            packed(&builder(0, &[("a", Some("1"))]), compression),
            packed(&builder(1, &[("a", None), ("b", Some("2"))]), compression),
        ]
        .concat();
        let mut filter = filter(&log, 0, 99);
        let left = left(&mut filter, &log).bytes;
        assert_eq!(records(&left), [(1, 1001, "a".into(), None), (2, 1002, "b".into(), Some("2".into()))]);
        let batch = one(&left);
        assert!(batch.has_delete_horizon());
        assert_eq!((batch.base_timestamp(), batch.max_timestamp()), (TimestampMs(5100), TimestampMs(1002)));
        filter.now_ms = 5099;
        assert!(!self::left(&mut filter, &left).changed, "the horizon is set once");
        filter.now_ms = 5100;
        filter.blind = true;
        assert!(!self::left(&mut filter, &left).changed, "something may be left of what it deletes");
        filter.blind = false;
        let left = self::left(&mut filter, &left).bytes;
        assert_eq!(records(&left), [(2, 1002, "b".into(), Some("2".into()))]);
        assert!(one(&left).has_delete_horizon());
    }
}

#[test]
fn a_batch_whose_records_are_gone_stays_for_its_producer_and_at_the_end() {
    let batch = |base, producer| {
        builder(base, &[("a", Some("1")), ("a", Some("2"))])
            .producer(ProducerId(producer), ProducerEpoch(2), 7)
            .build()
    };
    let log = [batch(0, 1), batch(2, 1), batch(4, 2), batch(6, 3), batch(8, 4)].concat();
    let mut filter = filter(&log, 0, 8);
    filter.producers = [(1, 3), (2, 5), (4, 9)].into();
    let left = left(&mut filter, &log).bytes;
    let shapes: Vec<_> = RecordBatch::all_in(&left)
        .map(Result::unwrap)
        .map(|batch| {
            (batch.base_offset().0, batch.last_offset().0, batch.record_count(), batch.last_sequence())
        })
        .collect();
    assert_eq!(shapes, [(2, 3, 0, 8), (4, 5, 0, 8), (6, 7, 0, 8), (8, 9, 1, 8)]);
    assert!(!self::left(&mut filter, &left).changed);
    // Another batch has the last sequence of producer 1 by now, and what is compacted ends elsewhere.
    filter.producers.insert(1, 20);
    filter.upto = Offset(99);
    let left = self::left(&mut filter, &left).bytes;
    let bases: Vec<i64> = RecordBatch::all_in(&left).map(|batch| batch.unwrap().base_offset().0).collect();
    assert_eq!(bases, [4, 8]);
}

#[test]
fn records_without_a_key_go_and_those_not_covered_stay() {
    let log = [
        BatchBuilder::new()
            .value(TimestampMs(1), b"x")
            .record(TimestampMs(2), Some(b"a"), Some(b"y"))
            .build(),
        builder(2, &[("a", Some("1")), ("a", Some("2")), ("b", Some("3"))]).build(),
        BatchBuilder::new().stored_at(Offset(5), LeaderEpoch(1)).value(TimestampMs(1), b"x").build(),
    ]
    .concat();
    let mut filter = filter(&log, 0, 99);
    filter.covered = Offset(3);
    let left = left(&mut filter, &log).bytes;
    let offsets: Vec<i64> = records(&left).iter().map(|record| record.0).collect();
    assert_eq!(offsets, [3, 4, 5], "only what is before offset 3 is judged");
}

#[test]
fn control_batches_and_what_cannot_be_read_stay_as_they_are() {
    let control = BatchBuilder::new().record(TimestampMs(1), Some(b"a"), Some(b"")).control().build();
    let garbled = builder(1, &[("a", None)]).build_compressed(Compression::Lz4, |_| vec![9; 50]);
    let tombstone = builder(2, &[("b", None)]).delete_horizon().build();
    let last = builder(3, &[("a", Some("1"))]).build();
    let log = [control, garbled, tombstone, last].concat();
    let mut filter = filter(&log, 0, 99);
    let left = left(&mut filter, &log);
    assert!(!left.changed && left.bytes == log);
    assert!(filter.blind);
    let mut rotten = log;
    rotten[62] ^= 1;
    assert!(filter.filter(&rotten).is_err());
}

#[test]
fn a_batch_whose_offsets_do_not_ascend_says_nothing_and_stays() {
    for compression in ALL {
        let pair = builder(0, &[("a", Some("1")), ("b", Some("2"))]);
        let turned = pair.build_compressed(compression, |records| {
            let (first, second) = records.split_at(records.len() / 2);
            let mut writer = Writer::new(Codec::usual(compression)).unwrap();
            writer.write_all(&[second, first].concat()).unwrap();
            writer.finish().unwrap()
        });
        let log = [
            turned.clone(),
            packed(&builder(2, &[("a", Some("3"))]), compression),
            packed(&builder(3, &[("a", Some("4"))]), compression),
        ]
        .concat();
        // Where records stream by, and where they do not.
        for room in [RECORD_BYTES, 10] {
            let mut learner = Learner::new(KeyMap::with_memory(1000 * SLOT_BYTES), Offset(0), room);
            learn(&mut learner, &log);
            assert!(learner.covered == Offset(4) && !learner.full, "{compression:?}");
            let known = Known::Table(learner.keys);
            let mut filter = Filter { known, room: Room::up_to(room), ..filter(&log, 0, 99) };
            let left = left(&mut filter, &log);
            assert!(filter.blind && left.bytes.starts_with(&turned), "{compression:?} {room}");
        }
        let left = left(&mut filter(&log, 0, 99), &log);
        let offsets: Vec<i64> = records(&left.bytes).iter().map(|record| record.0).collect();
        assert_eq!(offsets, [1, 0, 3], "{compression:?}");
    }
}

#[test]
fn what_takes_more_memory_than_there_is_stays_as_it_is() {
    let value = vec![7; RECORD_BYTES];
    let large = BatchBuilder::new()
        .stored_at(Offset(0), LeaderEpoch(1))
        .record(TimestampMs(1), Some(b"a"), Some(&value))
        .record(TimestampMs(1), Some(b"a"), Some(b"1"));
    let log = [
        packed(&large, Compression::Zstd),
        builder(2, &[("a", Some("2"))]).build(),
        builder(3, &[("a", Some("3"))]).build(),
    ]
    .concat();
    let mut filter = filter(&log, 0, 99);
    let left = left(&mut filter, &log);
    let bases: Vec<i64> =
        RecordBatch::all_in(&left.bytes).map(|batch| batch.unwrap().base_offset().0).collect();
    assert_eq!(bases, [0, 3]);
    assert!(filter.blind && left.bytes.starts_with(&packed(&large, Compression::Zstd)));
}

#[test]
fn records_that_stream_by_become_what_they_would_have_become_in_memory() {
    for compression in ALL {
        let batch = |base: i64| {
            let mut batch = BatchBuilder::new().stored_at(Offset(base), LeaderEpoch(1));
            for offset in base..base + 70 {
                let key = (offset * 7919 % 120).to_le_bytes();
                let value = [u8::try_from(offset % 120).unwrap(); 90];
                let value = (offset % 13 != 0).then_some(&value[..]);
                batch = batch.record(TimestampMs(offset), Some(&key), value);
            }
            packed(&batch, compression)
        };
        let log: Vec<u8> = (0..5).flat_map(|n| batch(n * 70)).collect();
        let results = [RECORD_BYTES, 1000].map(|room| {
            let mut learner = Learner::new(KeyMap::with_memory(1000 * SLOT_BYTES), Offset(0), room);
            learn(&mut learner, &log);
            let known = Known::Table(learner.keys);
            let mut filter = Filter { known, room: Room::up_to(room), ..filter(&log, 0, 999) };
            let first = left(&mut filter, &log);
            filter.now_ms = 9000;
            let second = left(&mut filter, &first.bytes);
            assert!(first.changed && second.changed && !filter.blind, "{compression:?} {room}");
            (records(&first.bytes), records(&second.bytes))
        });
        assert!(results[0].0.len() > results[0].1.len() && results[0].0.len() < 200);
        assert_eq!(results[0], results[1], "{compression:?}");
    }
}

#[test]
fn several_passes_with_a_small_table_come_to_the_same() {
    let keys: Vec<String> = (0..300).map(|key| format!("key {key}")).collect();
    let mut log = Vec::new();
    let mut last = std::collections::BTreeMap::new();
    for base in (0..2000_i64).step_by(4) {
        let mut batch = BatchBuilder::new().stored_at(Offset(base), LeaderEpoch(1));
        for offset in base..base + 4 {
            let key = &keys[usize::try_from(offset * 7919 % 300).unwrap()];
            let value = (offset % 11 != 0).then(|| offset.to_le_bytes());
            batch =
                batch.record(TimestampMs(1), Some(key.as_bytes()), value.as_ref().map(|value| &value[..]));
            last.insert(key.clone(), (offset, value.is_some()));
        }
        log.extend(packed(&batch, Compression::Zstd));
    }
    let mut from = Offset(0);
    let mut passes = 0;
    while from < Offset(2000) {
        let mut learner = Learner::new(KeyMap::with_memory(70 * SLOT_BYTES), from, RECORD_BYTES);
        learn(&mut learner, &log);
        learner.pass_to(if learner.full { from } else { Offset(2000) });
        assert!(learner.covered > from);
        from = learner.covered;
        let mut filter = Filter {
            known: Known::Table(learner.keys),
            covered: from,
            tombstones_ms: 0,
            ..filter(&[], 0, 2000)
        };
        log = left(&mut filter, &log).bytes;
        passes += 1;
    }
    assert!(passes > 5, "{passes}");
    let left: std::collections::BTreeMap<i64, bool> = RecordBatch::all_in(&log)
        .flat_map(|batch| {
            let batch = batch.unwrap();
            let mut records = Records::of(&batch).unwrap();
            let mut found = Vec::new();
            while let Some(record) = records.next().unwrap() {
                found.push((batch.base_offset().0 + i64::from(record.offset_delta), record.has_value));
            }
            found
        })
        .collect();
    for (offset, has_value) in last.values() {
        assert!(left.get(offset) == Some(has_value) || !has_value, "offset {offset}");
    }
    assert!(left.keys().all(|offset| last.values().any(|(last, _)| last == offset)), "nothing else is left");
}
