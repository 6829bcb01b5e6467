//! A stop with more under way than the journal has room for: it makes room, and nothing is lost.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod rig;

use std::time::Duration;

use storage::disk::Disk;

use rig::{Rig, partition};

#[test]
fn a_stop_makes_room_in_the_journal_for_what_is_queued() {
    for seed in 0..40 {
        let mut rig = Rig::new(seed);
        // Twice the ring, in many logs, a bit of it already on its way.
        for number in 0..100 {
            let len = usize::try_from(rig.random.between(5_000, 40_000)).unwrap();
            let id = partition(1, number % 7);
            let placed = rig.begin(id, len).unwrap();
            rig.acknowledged.insert(id, placed.end);
            if rig.random.one_in(20) {
                rig.wait(Duration::from_millis(1));
            }
        }
        let late = async {
            rig.disk.sleep(Duration::from_secs(3600)).await;
            panic!("seed {seed}: it waits for ever");
        };
        rig.simulation.run_until(futures_lite::future::or(rig.store.close(), late)).unwrap();
        rig.die_and_check();
    }
}
