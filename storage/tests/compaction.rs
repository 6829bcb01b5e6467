//! Compaction of a whole log: what stays, where it stands, and that it survives whatever happens on the way.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "compaction/ages.rs"]
mod ages;
#[path = "compaction/changes.rs"]
mod changes;
#[path = "compaction/readers.rs"]
mod readers;
mod rig;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use bytes::Bytes;
use model::batch::{BatchBuilder, RecordBatch};
use model::{LeaderEpoch, Offset, TimestampMs, TopicPartition};
use storage::disk::Disk;
use storage::disk::memory::{Image, Operation};
use storage::disk::random::Random;
use storage::paths::Paths;
use storage::{Compacted, CompactionLimits, CompactionSettings, LogSettings, ReadLimits, StoreError};

use rig::{Rig, partition};

const SEGMENT_BYTES: u64 = 30_000;

/// Value and offset by key; no value is a tombstone.
type Contents = BTreeMap<String, (i64, Option<String>)>;

fn id() -> TopicPartition {
    partition(1, 0)
}

fn settings() -> CompactionSettings {
    CompactionSettings { tombstones_ms: 1000, dirty_ppm_min: 0, ..CompactionSettings::default() }
}

fn configured(mut rig: Rig) -> Rig {
    rig.segment_bytes = SEGMENT_BYTES;
    rig.compaction = Some(settings());
    rig
}

fn reboot(rig: &Rig, image: Image) -> Rig {
    rig.simulation.crash();
    configured(Rig::boot(u64::from(rig.number) + 50, rig.number + 1, image, BTreeSet::new()))
}

/// Appends a batch of these and waits until it is durable.
fn append(rig: &Rig, records: &[(String, Option<String>)]) {
    let log = rig.log(id());
    let mut batch = BatchBuilder::new();
    for (key, value) in records {
        batch = batch.record(TimestampMs(1), Some(key.as_bytes()), value.as_ref().map(String::as_bytes));
    }
    let placed = rig.store.append(&log, Bytes::from(batch.build()), LeaderEpoch(1), 1).unwrap();
    rig.simulation.run_until(rig.store.durable(placed.ticket));
}

/// Appends `count` batches of three records with one of `keys` keys each.
fn fill(rig: &Rig, count: usize, keys: usize) {
    fill_with(rig, count, |n| format!("key {}", n * 7919 % keys));
}

/// Appends `count` batches of three records; the key of each by its offset.
fn fill_with(rig: &Rig, count: usize, key: impl Fn(usize) -> String) {
    for _ in 0..count {
        let end = usize::try_from(rig.log(id()).end().0).unwrap();
        let record = |n: usize| {
            let value = format!("{n} ").repeat(100);
            (key(n), (!n.is_multiple_of(13)).then_some(value))
        };
        append(rig, &[record(end), record(end + 1), record(end + 2)]);
    }
}

/// All records from the start on, in order: (offset, key, value).
fn records(rig: &Rig) -> Vec<(i64, String, Option<String>)> {
    let log = rig.log(id());
    let mut found: Vec<(i64, String, Option<String>)> = Vec::new();
    let mut at = log.log_start();
    while at < log.durable_end() {
        let pieces = rig.simulation.run_until(rig.store.read(&log, at, ReadLimits::bytes(10_000))).unwrap();
        let before = at;
        for piece in &pieces {
            for batch in RecordBatch::all_in(piece.bytes()) {
                let batch = batch.unwrap();
                batch.check_crc().unwrap();
                let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
                for record in batch.records() {
                    let record = record.unwrap();
                    found.push((record.offset(&batch).0, text(record.key.unwrap()), record.value.map(text)));
                }
                at = batch.last_offset().next();
            }
        }
        if pieces.is_empty() {
            break; // It was cut off behind its last batch.
        }
        assert!(at > before, "nothing at {before}");
    }
    assert!(found.windows(2).all(|pair| pair[0].0 < pair[1].0), "in the order of their offsets");
    found
}

fn contents(rig: &Rig) -> Contents {
    records(rig).into_iter().map(|(offset, key, value)| (key, (offset, value))).collect()
}

/// The last of each key is as it was; a tombstone may be gone, with all that it deletes.
fn check(rig: &Rig, expected: &Contents) {
    let found = contents(rig);
    for (key, last) in expected {
        let gone = last.1.is_none() && !found.contains_key(key);
        assert!(found.get(key) == Some(last) || gone, "{key}: {:?} is not {last:?}", found.get(key));
    }
    assert!(found.keys().all(|key| expected.contains_key(key)));
}

fn limits(key_bytes: u64) -> CompactionLimits {
    CompactionLimits { key_bytes, batch_bytes_max: 16 << 20 }
}

/// Passes until everything is compacted; how many.
fn compact(rig: &Rig, key_bytes: u64, now_ms: i64) -> usize {
    for pass in 1.. {
        let log = rig.log(id());
        let done: Compacted =
            rig.simulation.run_until(rig.store.compact(&log, limits(key_bytes), now_ms)).unwrap();
        assert!(!done.abandoned);
        if !done.unfinished {
            return pass;
        }
    }
    unreachable!()
}

fn files(rig: &Rig) -> Vec<String> {
    let dir = Paths::new("/data").partition(id());
    let listed = rig.simulation.run_until(rig.disk.list_dir(&dir)).unwrap();
    listed.into_iter().map(|entry| entry.name).filter(|name| name.ends_with(".log")).collect()
}

#[test]
fn the_last_record_of_every_key_stays_at_its_offset() {
    let rig = configured(Rig::new(1));
    fill(&rig, 300, 20);
    let before = records(&rig);
    let expected = contents(&rig);
    let log = rig.log(id());
    let (end, size, segments) = (log.end(), log.size_bytes(), rig.store.segments(&log).len());
    assert!(segments > 10, "{segments}");
    assert_eq!(log.thinned_to(), Offset(0));
    assert_eq!(compact(&rig, 1 << 20, 100), 1);
    check(&rig, &expected);
    assert!(log.size_bytes() < size / 4, "{} of {size} bytes are left", log.size_bytes());
    assert_eq!((log.end(), log.log_start()), (end, Offset(0)));
    assert!(records(&rig).iter().all(|record| before.contains(record)), "offsets never change");
    let active = rig.store.segments(&log).last().unwrap().0;
    assert_eq!((log.compacted_to(), log.thinned_to()), (active, active));
    let counters = rig.store.counters();
    assert!(counters.compaction_read_bytes > size && counters.compaction_errors == 0);
    assert_eq!(files(&rig).len(), rig.store.segments(&log).len(), "old segments are gone: {:?}", files(&rig));
    // Nothing is new: nothing is done.
    let written = rig.store.counters().compaction_written_bytes;
    assert_eq!(compact(&rig, 1 << 20, 100), 1);
    assert_eq!(rig.store.counters().compaction_written_bytes, written);
    // A start finds it so, and goes on.
    rig.simulation.run_until(rig.store.close()).unwrap();
    let rig = reboot(&rig, rig.disk.kill());
    check(&rig, &expected);
    assert_eq!(rig.log(id()).compacted_to(), active);
    fill(&rig, 100, 20);
    let expected = contents(&rig);
    compact(&rig, 1 << 20, 100);
    check(&rig, &expected);
    assert!(rig.store.segments(&rig.log(id())).len() < segments, "what got small has become one");
}

#[test]
fn a_small_table_takes_several_passes() {
    let rig = configured(Rig::with_cache(2, 64 << 20));
    fill(&rig, 200, 300);
    let expected = contents(&rig);
    let passes = compact(&rig, 0, 100);
    assert!(passes > 3, "{passes}");
    let once = |rig: &Rig| {
        check(rig, &expected);
        let sealed = rig.log(id()).compacted_to();
        let found = records(rig);
        for (offset, key, _) in found.iter().filter(|(offset, ..)| *offset < sealed.0) {
            let newest = found.iter().rfind(|other| other.1 == *key && other.0 < sealed.0).unwrap();
            assert_eq!(newest.0, *offset, "{key} is there twice");
        }
    };
    // Whatever was in memory of what went.
    once(&rig);
    once(&reboot(&rig, rig.disk.kill()));
}

/// Memory for a list of so many records, and a table of 57 keys.
const fn for_list(records: u64) -> u64 {
    records / 8 * 6
}

#[test]
fn keys_that_the_table_has_no_room_for_go_to_a_list() {
    let rig = configured(Rig::new(10));
    fill(&rig, 200, 300);
    let expected = contents(&rig);
    let reads = rig.store.counters().compaction_read_bytes;
    assert_eq!(compact(&rig, for_list(1000), 100), 1);
    assert!(rig.store.counters().compaction_read_bytes > reads);
    check(&rig, &expected);
    let log = rig.log(id());
    assert_eq!(log.compacted_to(), rig.store.segments(&log).last().unwrap().0);
    assert_eq!(files(&rig).len(), rig.store.segments(&log).len(), "the list is gone: {:?}", files(&rig));
    let sealed = log.compacted_to();
    let found = records(&rig);
    let keys: BTreeSet<&str> =
        found.iter().filter(|record| record.0 < sealed.0).map(|record| &*record.1).collect();
    assert_eq!(keys.len(), found.iter().filter(|record| record.0 < sealed.0).count(), "no key comes twice");
    // What was compacted is old now, and goes when something new has its key.
    fill(&rig, 200, 300);
    let expected = contents(&rig);
    assert_eq!(compact(&rig, for_list(2000), 100), 1);
    check(&rig, &expected);
    // A list with room for what is old and little that is new covers less than the table, or nothing.
    fill(&rig, 200, 300);
    let expected = contents(&rig);
    assert!(compact(&rig, for_list(320), 100) > 1);
    check(&rig, &expected);
}

#[test]
fn tombstones_go_when_their_time_has_come() {
    let rig = configured(Rig::new(3));
    append(&rig, &[("a".into(), Some("1".into())), ("b".into(), Some("1".into()))]);
    append(&rig, &[("a".into(), None)]);
    fill(&rig, 40, 5);
    compact(&rig, 1 << 20, 5000);
    let has = |rig: &Rig, key: &str| contents(rig).get(key).cloned();
    assert_eq!(has(&rig, "a"), Some((2, None)));
    fill(&rig, 40, 5);
    compact(&rig, 1 << 20, 5999);
    assert_eq!(has(&rig, "a"), Some((2, None)), "its time has not come");
    fill(&rig, 40, 5);
    compact(&rig, 1 << 20, 6000);
    assert_eq!(has(&rig, "a"), None);
    assert_eq!(has(&rig, "b"), Some((1, Some("1".into()))));
}

#[test]
fn young_records_stay_for_their_time() {
    let mut rig = configured(Rig::new(4));
    rig.compaction = Some(CompactionSettings { lag_ms_min: 1000, ..settings() });
    fill(&rig, 100, 5);
    let before = records(&rig);
    let log = rig.log(id());
    assert_eq!(log.compaction_due(1000), None, "records of time 1 are not 1000 ms old");
    compact(&rig, 1 << 20, 1000);
    assert_eq!(records(&rig), before);
    let settings = Rc::new(LogSettings { compaction: rig.compaction, ..LogSettings::default() });
    assert!(!log.may_compact(&settings, 1000), "somebody has looked");
    assert!(log.may_compact(&settings, 1001));
    assert!(log.compaction_due(1001).is_some());
    compact(&rig, 1 << 20, 1001);
    assert!(records(&rig).len() < before.len() / 2);
    let none = Rc::new(LogSettings::default());
    assert!(!log.may_compact(&none, 9000), "the policy says delete");
}

#[test]
fn what_is_enough_is_a_share_of_the_log_or_an_age() {
    let mut rig = configured(Rig::new(5));
    rig.compaction = Some(CompactionSettings { dirty_ppm_min: 500_000, lag_ms_max: 10_000, ..settings() });
    fill(&rig, 100, 1000);
    let log = rig.log(id());
    assert_eq!(log.compaction_due(100), Some(1_000_000), "nothing of it was compacted");
    compact(&rig, 1 << 20, 100);
    fill(&rig, 50, 1000);
    assert_eq!(log.compaction_due(100), None, "a third is new");
    assert!(log.compaction_due(10_002).is_some_and(|part| part < 500_000), "but it waits for too long");
    fill(&rig, 100, 1000);
    assert!(log.compaction_due(100).is_some_and(|part| part > 500_000));
}

/// A log of several segments, some of it compacted before, closed in order.
fn closed(seed: u64, keys: usize) -> (Image, Contents) {
    let rig = configured(Rig::new(seed));
    fill(&rig, 60, keys);
    compact(&rig, 1 << 20, 100);
    fill(&rig, 60, keys);
    let expected = contents(&rig);
    rig.simulation.run_until(rig.store.close()).unwrap();
    let image = rig.disk.kill();
    rig.simulation.crash();
    (image, expected)
}

#[test]
fn a_crash_at_any_step_loses_nothing() {
    crash_at_any_step(10, 1 << 20);
}

#[test]
fn nor_does_one_that_leaves_a_list() {
    crash_at_any_step(100, for_list(800));
}

fn crash_at_any_step(keys: usize, key_bytes: u64) {
    let (image, expected) = closed(6, keys);
    let mut ended = false;
    let mut seed = 0;
    while !ended {
        seed += 1;
        let mut rig = configured(Rig::boot(seed, 2, image.clone(), BTreeSet::new()));
        let log = rig.log(id());
        let store = Rc::clone(&rig.store);
        let passing = async move { store.compact(&log, limits(key_bytes), 5000).await.unwrap() };
        ended = rig.simulation.run_steps(seed * 3, passing).is_some();
        let killed = rig.disk.kill();
        for image in [killed.power_cut(&mut Random::new(seed)), killed] {
            rig = reboot(&rig, image);
            check(&rig, &expected);
            compact(&rig, 1 << 20, 100);
            check(&rig, &expected);
            assert_eq!(rig.store.counters().damaged_reads, 0);
            let listed = rig.store.segments(&rig.log(id())).len();
            assert_eq!(files(&rig).len(), listed, "{:?}", files(&rig));
        }
    }
    assert!(seed > 30, "{seed} crashes only");
}

#[test]
fn a_log_may_be_cut_off_within_what_was_compacted() {
    for to in [0, 1, 5, 100, 170, 177, 178, 181, 300, 340] {
        let (image, _) = closed(7, 10);
        let rig = configured(Rig::boot(7, 2, image, BTreeSet::new()));
        compact(&rig, 1 << 20, 100);
        let log = rig.log(id());
        let kept: Vec<_> = records(&rig).into_iter().filter(|(offset, ..)| *offset < to).collect();
        let end = rig.simulation.run_until(rig.store.truncate(&log, Offset(to))).unwrap();
        assert!(end <= Offset(to) && end == log.end(), "{end} behind {to}");
        let kept: Vec<_> = kept.into_iter().filter(|(offset, ..)| *offset < end.0).collect();
        assert_eq!(records(&rig), kept);
        fill(&rig, 3, 10);
        let expected = records(&rig);
        assert_eq!(expected[..kept.len()], kept, "what was kept is followed by what is new");
        let image = if to % 2 == 0 { rig.disk.kill() } else { rig.disk.power_cut(&mut Random::new(1)) };
        let rig = reboot(&rig, image);
        assert_eq!(records(&rig), expected, "after a crash");
        fill(&rig, 100, 10);
        let expected = contents(&rig);
        compact(&rig, 1 << 20, 100);
        check(&rig, &expected);
        let rig = reboot(&rig, rig.disk.power_cut(&mut Random::new(2)));
        check(&rig, &expected);
    }
}

#[test]
fn a_damaged_segment_is_an_error_and_stays() {
    let (image, _) = closed(8, 10);
    let rig = configured(Rig::boot(8, 2, image, BTreeSet::new()));
    let log = rig.log(id());
    let segments = rig.store.segments(&log);
    let (base, ..) = *segments.iter().find(|(_, size, _)| *size > 8000).unwrap();
    let path = Paths::new("/data").partition(id());
    let name = files(&rig).into_iter().find(|name| name.starts_with(&format!("{:020}", base.0))).unwrap();
    assert!(rig.disk.flip(&path.join(name), 4200, 0x10));
    let before = files(&rig);
    let done = rig.simulation.run_until(rig.store.compact(&log, limits(1 << 20), 100));
    let Err(StoreError::Damaged(what)) = done else { panic!("{done:?}") };
    assert!(what.contains(&format!("{:020}", base.0)), "{what}");
    assert_eq!(files(&rig), before);
    assert_eq!(rig.store.counters().compaction_errors, 1);
}

#[test]
fn a_log_with_nothing_new_is_not_touched() {
    let rig = configured(Rig::new(9));
    fill(&rig, 100, 10);
    compact(&rig, 1 << 20, 100);
    rig.simulation.run_until(rig.store.close()).unwrap();
    let rig = reboot(&rig, rig.disk.kill());
    let log = rig.store.log(id());
    let settings = Rc::new(LogSettings { compaction: rig.compaction, ..LogSettings::default() });
    let listings = rig.disk.operations(Operation::List);
    assert!(!log.may_compact(&settings, 1_000_000));
    assert!(!log.is_loaded());
    assert_eq!(rig.disk.operations(Operation::List), listings);
}
