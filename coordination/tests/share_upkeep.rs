//! The log of a share coordinator stays bounded: what no start needs is deleted, and what is quiet does not keep the rest.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

mod store_bench;

use coordination::share::limits::SNAPSHOTS_PER_APPEND;
use coordination::share::record::Record;
use coordination::share::state::DeliveryState;
use coordination::share::store::{Answer, Ask, Input, StoreSettings};
use model::{ErrorCode, Offset};
use store_bench::{Bench, batch, initialize, key, write};

const DONE: Answer = Answer::Done(ErrorCode::None);
/// Kafka's default of both intervals.
const INTERVAL_MS: u64 = 300_000;

/// So many share partitions, just begun.
fn begun(partitions: i32) -> Bench {
    let mut bench = Bench::new(StoreSettings::default());
    bench.machine.loaded(model::Tick(0));
    for partition in 0..partitions {
        assert_eq!(bench.done(key(partition), initialize(0, 0)), DONE);
    }
    bench
}

fn accept(bench: &mut Bench, partition: i32, offset: i64) {
    let batches = [batch(offset, offset, DeliveryState::Acknowledged, 1)];
    assert_eq!(bench.done(key(partition), write((0, 0), offset + 1, 0, &batches)), DONE);
}

/// Epoch, and when it was made and written.
fn snapshot(record: &Record) -> (i32, i64, i64) {
    let Record::Snapshot { value: Some(state), .. } = record else { panic!("{record:?}") };
    (state.snapshot_epoch, state.created.0, state.written.0)
}

#[test]
fn one_that_is_busy_beside_others_that_are_quiet_keeps_no_more_than_its_last_minutes() {
    let mut bench = begun(200);
    let mut longest = 0;
    for second in 0..6 * 3600 {
        accept(&mut bench, 0, second);
        bench.rest(1000);
        longest = longest.max(bench.log.len() - bench.log_start);
    }
    assert!(bench.log.len() > 21_600, "what was written: {}", bench.log.len());
    // Twenty minutes of it, and twice a snapshot of each.
    assert!(longest < 4 * 300 + 2 * 200 + 10, "{longest}");
    let before = bench.machine.snapshot();
    bench.restart();
    assert_eq!(bench.machine.snapshot(), before);
}

#[test]
fn what_is_quiet_is_written_once_more_and_then_no_more() {
    let mut bench = begun(i32::try_from(SNAPSHOTS_PER_APPEND).unwrap() + 3);
    let begun = bench.log.len();
    bench.rest(INTERVAL_MS - 1);
    assert_eq!((bench.log.len(), bench.log_start), (begun, 0));
    bench.rest(1);
    assert_eq!(bench.log.len(), 2 * begun, "one snapshot each, in two appends");
    assert_eq!((snapshot(&bench.log[0]), snapshot(&bench.log[begun])), ((0, 77, 77), (1, 77, 300_077)));
    for _ in 0..50 {
        bench.rest(INTERVAL_MS);
    }
    assert_eq!((bench.log.len(), bench.log_start), (2 * begun, begun));
    // One that wakes up has the others written again.
    bench.rest(1);
    for offset in 0..501 {
        accept(&mut bench, 0, offset);
    }
    bench.rest(INTERVAL_MS - 1);
    assert_eq!(bench.log.len(), 2 * begun + 501 + begun - 1, "all but the one that is new");
}

#[test]
fn what_is_gone_keeps_nothing() {
    let mut bench = begun(2);
    assert_eq!(bench.done(key(0), Ask::Delete), DONE);
    assert_eq!(bench.machine.needed_from(), Some(Offset(1)));
    assert_eq!(bench.done(key(1), Ask::Delete), DONE);
    bench.rest(INTERVAL_MS);
    assert_eq!((bench.log.len(), bench.log_start), (4, 3), "the last tombstone stays, as in Kafka");
    bench.restart();
    assert!(bench.machine.is_empty());
    assert_eq!(Bench::new(StoreSettings::default()).machine.needed_from(), None);
}

#[test]
fn after_a_start_from_a_snapshot_the_log_says_all_again_before_any_of_it_goes() {
    let mut bench = begun(3);
    bench.rest(INTERVAL_MS);
    bench.restart_from_snapshot();
    assert_eq!(bench.machine.needed_from(), None);
    let before = bench.machine.snapshot();
    bench.rest(INTERVAL_MS);
    assert_eq!((bench.log.len(), bench.machine.needed_from()), (9, Some(Offset(6))));
    bench.rest(INTERVAL_MS);
    assert_eq!((bench.log.len(), bench.log_start), (9, 6));
    bench.restart();
    assert_eq!(bench.machine.len(), before.len());
}

#[test]
fn a_snapshot_that_fails_is_made_with_the_next_round_and_nobody_waits_for_ever() {
    let mut bench = begun(2);
    bench.now += INTERVAL_MS;
    bench.step(Input::Tick { wall: bench.wall() });
    assert_eq!(bench.flights.len(), 1);
    let ticket = bench.ask(key(1), write((0, 0), 5, 0, &[]));
    assert!(bench.flights.len() == 1 && !bench.answers.contains_key(&ticket), "behind the snapshot");
    bench.land(false);
    bench.land(true);
    assert_eq!(bench.answers.remove(&ticket), Some(DONE));
    assert_eq!((bench.log.len(), bench.machine.needed_from()), (3, Some(Offset(0))));
    bench.rest(INTERVAL_MS);
    assert_eq!((bench.log.len(), bench.machine.needed_from()), (5, Some(Offset(3))));
}

#[test]
fn without_share_groups_the_log_stays_as_it_is() {
    let mut bench = begun(2);
    assert_eq!(bench.done(key(0), Ask::Delete), DONE);
    bench.machine.set_served(false);
    for _ in 0..3 {
        bench.rest(INTERVAL_MS);
    }
    assert_eq!((bench.log.len(), bench.log_start), (3, 0));
    bench.machine.set_served(true);
    bench.rest(INTERVAL_MS);
    assert_eq!((bench.log.len(), bench.log_start), (4, 1));
}
