//! What becomes of a pass when the log is another one meanwhile.

use std::time::Duration;

use futures_lite::future::zip;

use super::*;

/// Bytes per second with which a pass over a few hundred records takes some seconds.
const SLOW: u64 = 50_000;

#[test]
fn nothing_goes_any_more_once_the_policy_does_not_say_compact() {
    let rig = configured(Rig::new(30));
    fill(&rig, 300, 20);
    let before = records(&rig);
    let log = rig.log(id());
    rig.store.set_compaction_speed(SLOW);
    let policy_changes = async {
        rig.disk.sleep(Duration::from_secs(1)).await;
        log.configure(&Rc::new(LogSettings { segment_bytes: SEGMENT_BYTES, ..LogSettings::default() }));
    };
    let passing = rig.store.compact(&log, limits(1 << 20), 100);
    let (done, ()) = rig.simulation.run_until(zip(passing, policy_changes));
    let done = done.unwrap();
    assert!(done.abandoned && done.replaced == 0, "{done:?}");
    assert_eq!(records(&rig), before);
    assert_eq!(
        files(&rig).len(),
        rig.store.segments(&log).len(),
        "what was begun is gone: {:?}",
        files(&rig)
    );
}

#[test]
fn another_speed_counts_at_once() {
    let rig = configured(Rig::new(31));
    fill(&rig, 300, 20);
    let log = rig.log(id());
    rig.store.set_compaction_speed(100);
    let begun = rig.simulation.now_ms();
    let speed_changes = async {
        rig.disk.sleep(Duration::from_secs(1)).await;
        rig.store.set_compaction_speed(u64::MAX);
    };
    let passing = rig.store.compact(&log, limits(1 << 20), 100);
    let (done, ()) = rig.simulation.run_until(zip(passing, speed_changes));
    assert!(done.unwrap().replaced > 0);
    let passed = rig.simulation.now_ms() - begun;
    assert!((1000..10_000).contains(&passed), "a wait of minutes ends: {passed} ms");
}

#[test]
fn what_is_before_the_log_start_goes_whatever_the_policy_says() {
    let rig = configured(Rig::new(32));
    fill(&rig, 100, 20);
    let log = rig.log(id());
    let settings = Rc::new(LogSettings {
        segment_bytes: SEGMENT_BYTES,
        delete_retained: false,
        retention_ms: 1,
        retention_bytes: 1,
        compaction: rig.compaction,
        ..LogSettings::default()
    });
    // Only what has come to its segment goes.
    assert!(rig.simulation.run_until(rig.store.put_to_rest(&log)).unwrap());
    rig.log(id()).configure(&settings);
    let retain = || rig.simulation.run_until(rig.store.retain(&log, 1_000_000)).unwrap();
    let before = rig.store.segments(&log);
    assert_eq!((retain(), log.log_start()), (0, Offset(0)), "age and size do not count");
    rig.simulation.run_until(rig.store.set_log_start(&log, before[2].0)).unwrap();
    assert!(log.may_retire(&settings, 1_000_000));
    assert_eq!((retain(), log.log_start()), (2, before[2].0));
    assert_eq!(rig.store.segments(&log), before[2..]);
    // Nobody got round to it before the log was at rest.
    let active = before.last().unwrap().0;
    rig.simulation.run_until(rig.store.set_log_start(&log, active)).unwrap();
    assert!(rig.simulation.run_until(rig.store.put_to_rest(&log)).unwrap());
    assert!(log.may_retire(&settings, 1_000_000));
    rig.log(id());
    assert_eq!(retain(), before.len() - 3);
    assert!(rig.simulation.run_until(rig.store.put_to_rest(&log)).unwrap());
    assert!(!log.may_retire(&settings, 1_000_000));
}

#[test]
fn retention_takes_segments_out_of_a_pass_that_goes_on() {
    let rig = configured(Rig::new(33));
    fill(&rig, 300, 20);
    let expected = contents(&rig);
    rig.simulation.run_until(rig.store.close()).unwrap();
    let image = rig.disk.kill();
    rig.simulation.crash();
    for seconds in 0..16 {
        let rig = configured(Rig::boot(seconds, 2, image.clone(), BTreeSet::new()));
        let log = rig.log(id());
        // Several segments become one.
        log.configure(&Rc::new(LogSettings {
            segment_bytes: 4 * SEGMENT_BYTES,
            compaction: rig.compaction,
            ..LogSettings::default()
        }));
        let segments = rig.store.segments(&log);
        assert!(segments.len() > 8);
        rig.store.set_compaction_speed(SLOW);
        let retaining = async {
            for moved in [1, 3, 6] {
                rig.disk.sleep(Duration::from_secs(seconds.max(1))).await;
                rig.store.set_log_start(&log, segments[moved].0).await.unwrap();
                rig.store.trim(&log).await.unwrap();
            }
        };
        let passing = rig.store.compact(&log, limits(1 << 20), 100);
        let (done, ()) = rig.simulation.run_until(zip(passing, retaining));
        assert!(!done.unwrap().abandoned, "seed {seconds}");
        rig.simulation.run_until(rig.store.trim(&log)).unwrap();
        let sealed = log.compacted_to();
        assert_eq!(sealed, segments.last().unwrap().0);
        check(&rig, &expected);
        let found = records(&rig);
        let keys = found.iter().filter(|(offset, ..)| *offset < sealed.0).map(|record| &*record.1);
        let (count, keys) = (keys.clone().count(), keys.collect::<BTreeSet<&str>>());
        assert_eq!(keys.len(), count, "no key comes twice");
        assert_eq!(files(&rig).len(), rig.store.segments(&log).len(), "{:?}", files(&rig));
        let rig = reboot(&rig, rig.disk.kill());
        assert_eq!(records(&rig), found);
    }
}
