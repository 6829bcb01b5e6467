//! The coordinator of the state of share partitions: what Kafka 4.3.1 answers, and random lives with failures and
//! starts against a model that keeps every record by itself.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

mod store_bench;

use std::collections::BTreeMap;
use std::sync::Arc;

use coordination::share::limits::STATE_REQUESTS_PARKED_MAX;
use coordination::share::record::Record;
use coordination::share::state::{DeliveryState, PartitionState, StateBatch};
use coordination::share::store::{Answer, Ask, Input, ShareStates, StoreSettings};
use model::{ErrorCode, Offset, Tick};
use proptest::prelude::*;
use store_bench::{Bench, batch, initialize, key, read, write};

fn summary(bench: &mut Bench, partition: i32) -> (i32, i32, i64, i32) {
    let Answer::State(Ok(state)) = bench.done(key(partition), Ask::Summary) else { panic!("no state") };
    (state.state_epoch, state.leader_epoch.0, state.start.0, state.delivery_complete_count)
}

const DONE: Answer = Answer::Done(ErrorCode::None);

/// At state epoch 2, leader epoch 3, start 10, four records finished.
fn seeded() -> Bench {
    let mut bench = Bench::new(StoreSettings::default());
    assert_eq!(bench.done(key(0), initialize(2, 10)), DONE);
    assert!(matches!(bench.done(key(0), read(3)), Answer::State(Ok(_))));
    assert_eq!(bench.done(key(0), write((2, 3), 10, 4, &[])), DONE);
    assert_eq!(summary(&mut bench, 0), (2, 3, 10, 4));
    bench
}

#[test]
fn older_epochs_are_fenced_and_minus_one_is_not() {
    let fenced_state = Answer::Done(ErrorCode::FencedStateEpoch);
    let fenced_leader = Answer::Done(ErrorCode::FencedLeaderEpoch);
    for (epochs, answer, left) in [
        ((2, 3), DONE, (2, 3, 20, 1)),
        ((7, 9), DONE, (2, 3, 20, 1)),
        ((-1, -1), DONE, (2, 3, 20, 1)),
        ((1, 3), fenced_state.clone(), (2, 3, 10, 4)),
        ((2, 2), fenced_leader.clone(), (2, 3, 10, 4)),
    ] {
        let mut bench = seeded();
        assert_eq!(bench.done(key(0), write(epochs, 20, 1, &[])), answer, "{epochs:?}");
        assert_eq!(summary(&mut bench, 0), left, "{epochs:?}");
        bench.restart();
        assert_eq!(summary(&mut bench, 0), left, "{epochs:?}");
    }
    let mut bench = seeded();
    assert_eq!(bench.done(key(0), read(2)), Answer::State(Err(ErrorCode::FencedLeaderEpoch)));
    assert!(matches!(bench.done(key(0), read(4)), Answer::State(Ok(_))));
    assert_eq!(bench.done(key(0), write((2, 3), 20, 1, &[])), fenced_leader);
    assert_eq!(bench.done(key(0), initialize(1, 0)), fenced_state);
    assert_eq!(bench.done(key(0), initialize(3, 40)), DONE);
    assert_eq!(summary(&mut bench, 0), (3, 0, 40, 0), "a new beginning has no leader yet");
    assert_eq!(bench.done(key(0), write((3, 3), 40, 0, &[])), fenced_leader, "but remembers the last");
}

#[test]
fn what_was_never_begun_can_only_be_deleted() {
    let mut bench = Bench::new(StoreSettings::default());
    assert_eq!(bench.done(key(0), read(0)), Answer::State(Err(ErrorCode::InvalidRequest)));
    assert_eq!(bench.done(key(0), Ask::Summary), Answer::State(Err(ErrorCode::InvalidRequest)));
    assert_eq!(bench.done(key(0), write((0, 0), 0, 0, &[])), Answer::Done(ErrorCode::InvalidRequest));
    assert_eq!(bench.done(key(0), Ask::Delete), DONE);
    assert!(bench.log.is_empty() && bench.machine.is_empty());
    assert_eq!(bench.done(key(0), initialize(0, -1)), DONE);
    assert_eq!(summary(&mut bench, 0), (0, 0, -1, -1));
    assert_eq!(bench.done(key(0), Ask::Delete), DONE);
    assert!(bench.machine.is_empty() && bench.machine.memory_bytes() == 0);
    bench.restart();
    assert!(bench.machine.is_empty());
}

#[test]
fn after_so_many_updates_comes_a_snapshot_with_all_of_them() {
    let mut bench = Bench::new(StoreSettings { updates_per_snapshot: 2, ..StoreSettings::default() });
    bench.done(key(0), initialize(1, 0));
    let accepted = |first, last| batch(first, last, DeliveryState::Acknowledged, 1);
    for (start, count, batches) in [
        (0, 1, vec![accepted(5, 14), accepted(0, 9)]),
        (10, 2, vec![accepted(0, 19)]),
        (12, 3, vec![accepted(20, 29)]),
        (12, 3, vec![accepted(30, 39)]),
    ] {
        assert_eq!(bench.done(key(0), write((1, 0), start, count, &batches)), DONE);
    }
    let shown: Vec<_> = bench
        .log
        .iter()
        .map(|record| match record {
            Record::Snapshot { value: Some(state), .. } => {
                (state.snapshot_epoch, state.start.0, state.batches.clone(), true)
            }
            Record::Update { value, .. } => {
                (value.snapshot_epoch, value.start.0, value.batches.clone(), false)
            }
            Record::Snapshot { .. } => panic!("a tombstone"),
        })
        .collect();
    let expected = [
        (0, 0, vec![], true),
        (0, 0, vec![accepted(0, 14)], false),
        (0, 10, vec![accepted(10, 19)], false),
        (1, 12, vec![accepted(12, 29)], true),
        (1, 12, vec![accepted(30, 39)], false),
    ];
    assert_eq!(shown, expected);
}

#[test]
fn writes_gather_behind_the_one_in_flight() {
    let mut bench = seeded();
    let before = bench.log.len();
    for number in 0..10 {
        bench.ask(key(0), write((2, 3), 10, number, &[]));
    }
    let reader = bench.ask(key(0), read(-1));
    assert_eq!(bench.flights.len(), 1, "one append at a time");
    bench.land(true);
    assert_eq!(bench.flights.first_key_value().unwrap().1.len(), 9);
    assert!(!bench.answers.contains_key(&reader));
    bench.land(true);
    assert_eq!(bench.log.len(), before + 10);
    let Answer::State(Ok(state)) = &bench.answers[&reader] else { panic!("no state") };
    assert_eq!(state.delivery_complete_count, 9);
    assert_eq!(bench.machine.parked(), 0);
}

#[test]
fn those_who_wait_are_bounded_and_told_when_it_ends() {
    let mut bench = seeded();
    bench.answers.clear();
    for _ in 0..STATE_REQUESTS_PARKED_MAX + 5 {
        bench.ask(key(0), write((2, 3), 10, 1, &[]));
    }
    let refused =
        bench.answers.values().filter(|answer| **answer == Answer::Done(ErrorCode::CoordinatorNotAvailable));
    assert_eq!((refused.count(), bench.machine.parked()), (5, STATE_REQUESTS_PARKED_MAX));
    bench.step(Input::Unload);
    assert_eq!(bench.answers.len(), STATE_REQUESTS_PARKED_MAX + 5);
    assert!(bench.machine.is_empty() && bench.machine.parked() == 0);
    let mut bench = Bench::new(StoreSettings { memory_bytes_max: 1000, ..StoreSettings::default() });
    let told: Vec<Answer> = (0..9).map(|partition| bench.done(key(partition), initialize(0, 0))).collect();
    assert!(told.contains(&Answer::Done(ErrorCode::CoordinatorNotAvailable)) && told[0] == DONE);
}

#[derive(Clone, Debug)]
enum Step {
    Initialize(i32, i64),
    Write(i64, Vec<(i64, i64, u8, u16)>),
    Read(i32),
    Delete,
    Land(bool),
    Rest(u64),
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<(i32, Step)>> {
    let batches = proptest::collection::vec((0..30_i64, 0..8_i64, 0..3_u8, 0..4_u16), 0..4);
    let step = prop_oneof![
        2 => (0..3_i32, 0..5_i64).prop_map(|(epoch, start)| Step::Initialize(epoch, start)),
        8 => (-1..20_i64, batches).prop_map(|(start, batches)| Step::Write(start, batches)),
        2 => (0..3_i32).prop_map(Step::Read),
        1 => Just(Step::Delete),
        8 => prop::bool::weighted(0.8).prop_map(Step::Land),
        3 => (0..400_000_u64).prop_map(Step::Rest),
        1 => Just(Step::Restart),
    ];
    proptest::collection::vec((0..2_i32, step), 1..80)
}

/// Deliveries and state of each record.
type Ranks = BTreeMap<i64, (u16, i8)>;

fn lay(into: &mut Ranks, batches: &[StateBatch]) {
    for batch in batches {
        for offset in batch.first.0..=batch.last.0 {
            let rank = (batch.delivery_count, batch.state.code());
            let old = into.entry(offset).or_insert(rank);
            *old = rank.max(*old);
        }
    }
}

/// What those who were told of a success know of a partition: its start, and its records one by one.
#[derive(Default)]
struct Told {
    asked: BTreeMap<u64, (i32, Ask)>,
    known: BTreeMap<i32, (i64, Ranks)>,
}

impl Told {
    fn hear(&mut self, answers: &mut BTreeMap<u64, Answer>) {
        for (ticket, answer) in std::mem::take(answers) {
            let Some((partition, ask)) = self.asked.remove(&ticket).filter(|_| answer == DONE) else {
                continue;
            };
            match ask {
                Ask::Initialize { start, .. } => {
                    self.known.insert(partition, (start.0, Ranks::new()));
                }
                Ask::Delete => {
                    self.known.remove(&partition);
                }
                Ask::Write(write) => {
                    let (start, records) = self.known.get_mut(&partition).unwrap();
                    lay(records, &write.batches);
                    if write.start != Offset::NONE {
                        *start = write.start.0;
                    }
                    records.retain(|offset, _| *offset >= *start);
                }
                Ask::Read { .. } | Ask::Summary => {}
            }
        }
    }
}

fn expanded(state: &PartitionState) -> (i64, Ranks) {
    let mut records = BTreeMap::new();
    for batch in &state.batches {
        for offset in batch.first.0..=batch.last.0 {
            let old = records.insert(offset, (batch.delivery_count, batch.state.code()));
            assert_eq!(old, None);
        }
    }
    (state.start.0, records)
}

fn states(machine: &ShareStates) -> BTreeMap<i32, Arc<PartitionState>> {
    let kept = machine.snapshot().into_iter().map(|record| match record {
        Record::Snapshot { key, value: Some(state) } => (key.partition, state),
        other => panic!("{other:?}"),
    });
    kept.collect()
}

/// Whoever was told of a success finds it, and nobody finds anything else.
fn check(bench: &Bench, told: &Told) {
    let kept = states(&bench.machine);
    let kept: BTreeMap<i32, (i64, Ranks)> =
        kept.iter().map(|(partition, state)| (*partition, expanded(state))).collect();
    assert_eq!(kept, told.known);
}

proptest! {
    #[test]
    fn what_is_kept_is_what_was_told_to_be_durable(steps in steps(), updates_per_snapshot in 0..4_u32) {
        let settings = StoreSettings { updates_per_snapshot, ..StoreSettings::default() };
        let (mut bench, mut told) = (Bench::new(settings), Told::default());
        bench.machine.loaded(Tick(0));
        // Starts only grow, as those who write see to it.
        let mut start = 0;
        for (partition, step) in steps {
            let ask = match step {
                Step::Initialize(epoch, at) => {
                    start += at;
                    initialize(epoch, start)
                }
                Step::Write(at, batches) => {
                    let from = if at == -1 { -1 } else { start += at / 8; start };
                    let batches: Vec<StateBatch> = batches.iter().map(|(first, more, code, count)| {
                        let state = DeliveryState::from_code(i8::try_from(code * 2).unwrap()).unwrap();
                        batch(start + first, start + first + more, state, *count)
                    }).collect();
                    write((-1, -1), from, 0, &batches)
                }
                Step::Read(epoch) => read(epoch),
                Step::Delete => Ask::Delete,
                Step::Land(ok) => {
                    bench.land(ok);
                    told.hear(&mut bench.answers);
                    check(&bench, &told);
                    continue;
                }
                Step::Rest(ms) => {
                    bench.now += ms;
                    bench.step(Input::Tick { wall: bench.wall() });
                    check(&bench, &told);
                    continue;
                }
                Step::Restart => {
                    bench.restart();
                    told.asked.clear();
                    check(&bench, &told);
                    continue;
                }
            };
            told.asked.insert(bench.tickets + 1, (partition, ask.clone()));
            bench.ask(key(partition), ask);
            told.hear(&mut bench.answers);
            check(&bench, &told);
        }
        while bench.land(true) {}
        prop_assert_eq!(bench.machine.parked(), 0);
        // A snapshot says the same as the log.
        let mut again = ShareStates::new(settings);
        bench.machine.snapshot().iter().for_each(|record| again.replay(record, None));
        prop_assert_eq!(states(&again), states(&bench.machine));
        bench.restart();
        prop_assert_eq!(states(&again), states(&bench.machine));
        prop_assert_eq!(again.memory_bytes(), bench.machine.memory_bytes());
    }
}
