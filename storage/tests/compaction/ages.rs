//! How old segments are, whatever the log has been through since.

use super::*;

/// Appends a record of this time.
fn append_at(rig: &Rig, time: i64) {
    let batch = BatchBuilder::new().record(TimestampMs(time), Some(b"a"), Some(b"1")).build();
    let placed = rig.store.append(&rig.log(id()), Bytes::from(batch), LeaderEpoch(1), time.max(0)).unwrap();
    rig.simulation.run_until(rig.store.durable(placed.ticket));
}

fn rest(rig: &Rig) {
    let log = rig.log(id());
    assert!(rig.simulation.run_until(rig.store.put_to_rest(&log)).unwrap() && !log.is_loaded());
}

fn bases(rig: &Rig) -> Vec<i64> {
    rig.store.segments(&rig.log(id())).iter().map(|(base, ..)| base.0).collect()
}

/// Nothing but an age is enough.
fn aging(mut rig: Rig) -> Rig {
    let never_by_share = 1_000_000;
    rig.compaction =
        Some(CompactionSettings { dirty_ppm_min: never_by_share, lag_ms_max: 10_000, ..settings() });
    rig
}

fn due(rig: &Rig, now_ms: i64) -> bool {
    let log = rig.log(id());
    rig.simulation.run_until(rig.store.date_new(&log)).unwrap();
    log.compaction_due(now_ms).is_some()
}

#[test]
fn a_log_that_rests_between_its_records_is_rolled_and_becomes_due() {
    let rig = aging(configured(Rig::new(20)));
    for time in (1000..=21_000).step_by(2000) {
        append_at(&rig, time);
        rest(&rig);
    }
    assert_eq!(bases(&rig), [0, 6], "the first record of each is 10 s old at most");
    assert!(!due(&rig, 11_000));
    assert!(due(&rig, 11_001), "the first record was written at 1000");
    compact(&rig, 1 << 20, 21_000);
    assert!(!due(&rig, 1_000_000), "nothing that is sealed is new");
}

#[test]
fn a_start_makes_no_segment_younger() {
    let rig = aging(configured(Rig::new(21)));
    for time in [1000, 9000] {
        append_at(&rig, time);
    }
    rig.simulation.run_until(rig.store.close()).unwrap();
    let rig = aging(reboot(&rig, rig.disk.kill()));
    append_at(&rig, 12_000);
    assert_eq!(bases(&rig), [0, 2]);
    let rig = aging(reboot(&rig, rig.disk.kill()));
    assert!(!due(&rig, 11_000) && due(&rig, 11_001));
}

#[test]
fn a_record_without_a_time_makes_no_segment_old() {
    let rig = aging(configured(Rig::new(22)));
    for time in [-1, 50_000, 55_000] {
        append_at(&rig, time);
        rest(&rig);
    }
    assert_eq!(bases(&rig), [0]);
}

#[test]
fn records_without_a_time_are_as_young_as_the_segment_behind_them() {
    let mut rig = configured(Rig::new(23));
    rig.compaction = Some(CompactionSettings { lag_ms_min: 1000, ..settings() });
    for now_ms in [5000, 5001, 5002, 5003] {
        let batch = BatchBuilder::new().record(TimestampMs::NONE, Some(b"a"), Some(&[7; 10_000])).build();
        let placed = rig.store.append(&rig.log(id()), Bytes::from(batch), LeaderEpoch(1), now_ms).unwrap();
        rig.simulation.run_until(rig.store.durable(placed.ticket));
    }
    assert_eq!(bases(&rig), [0, 2]);
    assert!(!due(&rig, 6001) && due(&rig, 6002), "the second segment was begun at 5002");
}
