//! Random lives of a share partition against a model that keeps every record by itself.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

mod share_world;

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use share_world::{World, log, steps};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn records_are_one_members_at_a_time_until_they_are_finished(log in log(), steps in steps()) {
        let mut world = World::new(log);
        for step in steps {
            world.step(step);
        }
        world.settle();
        for (first, last) in world.log.clone() {
            for offset in first.max(world.log_start)..=last {
                prop_assert!(world.delivered.contains_key(&offset), "{} was never delivered", offset);
            }
        }
    }
}

/// Not a world where nothing happens.
#[test]
fn random_lives_are_eventful() {
    let mut runner = TestRunner::deterministic();
    let mut seen: BTreeMap<&'static str, u64> = BTreeMap::new();
    for _ in 0..300 {
        let (log, steps) = (log(), steps()).new_tree(&mut runner).unwrap().current();
        let mut world = World::new(log);
        for step in steps {
            world.step(step);
        }
        for (what, often) in world.seen {
            *seen.entry(what).or_default() += often;
        }
    }
    println!("{seen:?}");
    assert!(seen.len() == 9 && seen.values().all(|often| *often > 100), "{seen:?}");
}
