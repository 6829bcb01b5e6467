//! What becomes of a pass when the log is another one meanwhile.

use std::time::Duration;

use futures_lite::future::zip;

use super::*;

/// So slow that a pass over a few hundred records takes some seconds.
fn slow() -> CompactionLimits {
    CompactionLimits { bytes_per_second: 50_000, ..limits(1 << 20) }
}

#[test]
fn nothing_goes_any_more_once_the_policy_does_not_say_compact() {
    let rig = configured(Rig::new(30));
    fill(&rig, 300, 20);
    let before = records(&rig);
    let log = rig.log(id());
    let policy_changes = async {
        rig.disk.sleep(Duration::from_secs(1)).await;
        log.configure(&Rc::new(LogSettings { segment_bytes: SEGMENT_BYTES, ..LogSettings::default() }));
    };
    let (done, ()) = rig.simulation.run_until(zip(rig.store.compact(&log, slow(), 100), policy_changes));
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
