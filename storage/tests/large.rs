//! Appends that the journal has no room for: they come back whole like any other, or were refused.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod rig;

use std::time::Duration;

use storage::StoreError;
use storage::disk::memory::{Fault, Operation};

use rig::{Rig, partition};

/// More than a quarter of the ring, and more than all of it.
const SIZES: [usize; 2] = [400_000, 3_000_000];

#[test]
fn large_and_small_appends_follow_each_other() {
    let id = partition(1, 0);
    for seed in 0..30 {
        let mut rig = Rig::new(seed);
        for round in 0..8 {
            if !rig.random.one_in(3) {
                let small = rig.random.between(1, 6);
                rig.append_all(id, usize::try_from(small).unwrap());
            }
            if rig.random.one_in(4) {
                let log = rig.log(id);
                rig.simulation.run_until(rig.store.put_to_rest(&log)).unwrap();
            }
            rig.append_large(id, SIZES[round % 2]).unwrap();
            if rig.random.one_in(4) {
                rig.check(&rig.acknowledged);
            }
        }
        rig.append(id, 10).unwrap();
        let counters = rig.store.counters();
        assert!(counters.extent_bytes > 8 * 400_000 && counters.journal_bytes < 4 << 20, "{counters:?}");
        rig.check(&rig.acknowledged);
        rig.die_and_check();
    }
}

#[test]
fn what_is_cut_off_while_it_is_written_was_never_there() {
    let id = partition(1, 0);
    let (mut ended, mut cut) = (0, 0);
    for seed in 0..200 {
        let mut rig = Rig::new(seed);
        rig.append_all(id, 3);
        let log = rig.log(id);
        let batch = rig.batch(id, SIZES[0]);
        let steps = rig.random.between(1, 160);
        let appending = async {
            let placed = rig.store.append_large(&log, batch, model::LeaderEpoch(1), 1).await.unwrap();
            rig.store.durable(placed.ticket).await;
            placed.end
        };
        match rig.simulation.run_steps(steps, appending) {
            Some(end) => {
                ended += 1;
                rig.acknowledged.insert(id, end);
            }
            None => cut += 1,
        }
        drop(log);
        rig.die_and_check();
    }
    assert!(ended > 20 && cut > 20, "{ended} ended, {cut} cut: the moment must vary");
}

#[test]
fn a_failed_write_is_told_and_the_next_try_succeeds() {
    let id = partition(1, 0);
    let mut failures = 0;
    for seed in 0..30 {
        let mut rig = Rig::new(seed);
        rig.append_all(id, 3);
        rig.wait(Duration::from_millis(50));
        let skip = u32::try_from(seed % 5).unwrap();
        let full = seed % 2 == 0;
        let fault = Fault::once(Operation::Write, ".log").after(skip);
        rig.disk.inject(if full { fault.with_code(libc::ENOSPC) } else { fault });
        let before = rig.log(id).end();
        let mut told = 0;
        while let Err(error) = rig.append_large(id, SIZES[1]) {
            assert_eq!(error == StoreError::DiskFull, full, "{error}");
            assert_eq!(rig.log(id).end(), before);
            told += 1;
            rig.wait(Duration::from_secs(2));
        }
        assert_eq!(rig.log(id).end().0, before.0 + 1);
        assert!(told <= 2, "it goes on");
        failures += told;
        rig.append_all(id, 3);
        rig.check(&rig.acknowledged);
        rig.die_and_check();
    }
    assert!(failures >= 20, "{failures}: the fault must hit");
}

#[test]
fn more_than_a_request_may_bring_is_refused() {
    let id = partition(1, 0);
    let mut rig = Rig::new(1);
    assert!(matches!(rig.append_large(id, 5 << 20), Err(StoreError::TooLarge { .. })));
    rig.append(id, 10).unwrap();
    rig.die_and_check();
}
