//! Random lives of a consumer group, by seed: see `group_simulation`. `MILLRACE_SEEDS=100000` runs as many seeds,
//! `MILLRACE_SEED=17` runs that one.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

mod group_simulation;

use group_simulation::World;
use group_simulation::client::Phase;

const SEEDS: u64 = 60;
const TROUBLE_MS: u64 = 120_000;
const CALM_MS: u64 = 60_000;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn live(seed: u64) -> World {
    let mut world = World::new(seed);
    world.run(TROUBLE_MS);
    world.calm = true;
    world.run(TROUBLE_MS + CALM_MS);
    world.check_settled();
    world
}

#[test]
fn a_group_in_trouble_keeps_its_promises_and_settles() {
    let only = number("MILLRACE_SEED");
    let first = only.unwrap_or(1);
    let count = if only.is_some() { 1 } else { number("MILLRACE_SEEDS").unwrap_or(SEEDS) };
    let (mut settled, mut commits, mut in_the_end) = (0, 0, 0);
    for seed in first..first + count {
        // The harness shows the seed of a run that fails.
        println!("seed {seed}");
        let mut world = live(seed);
        settled += world.settled;
        commits += world.clients.iter().map(|client| client.acknowledged).sum::<i64>();
        in_the_end += world.clients.iter().filter(|client| client.phase == Phase::Settled).count();
        world.check_end();
    }
    if only.is_none() {
        // Not a world where nothing happens.
        let seeds = i64::try_from(count).unwrap();
        assert!(settled > count * 1000 && commits > seeds * 20, "{settled} {commits}");
        assert!(in_the_end as u64 > count, "{in_the_end}");
    }
}

#[test]
fn equal_seeds_are_equal_runs() {
    for seed in [3, 4, 5] {
        assert_eq!(live(seed).digest(), live(seed).digest());
    }
    assert_ne!(live(3).digest(), live(4).digest());
}
