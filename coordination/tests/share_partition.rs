//! Random lives of a share partition against a model that keeps every record by itself.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use coordination::share::state::{DeliveryState, PartitionState, StateUpdate};
use coordination::share::{
    AckBatch, AckType, Acquire, AcquireMode, HeldState, LogBatch, SharePartition, ShareSettings, StateWrite,
};
use model::{ErrorCode, LeaderEpoch, Offset, Tick, TimestampMs};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

const SETTINGS: ShareSettings = ShareSettings {
    delivery_count_limit: 3,
    record_locks_max: 40,
    lock_duration_ms: 1000,
    renew_enabled: true,
};

#[derive(Clone, Debug)]
enum Step {
    /// Member, strictly, records, batches of the log that are read.
    Acquire(u8, bool, u8, u8),
    /// Member, first offset behind the start, records less one, what is said of them.
    Acknowledge(u8, i8, u8, Vec<u8>),
    /// The oldest write is durable, or failed.
    Land(bool),
    Wait(u16),
    Release(u8),
    LogStart(u8),
    /// A batch of the log is compacted away.
    Compact(u8),
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let types = proptest::collection::vec(0..5_u8, 1..8);
    let step = prop_oneof![
        8 => (0..3_u8, any::<bool>(), 0..12_u8, 0..4_u8)
            .prop_map(|(member, strict, max, reach)| Step::Acquire(member, strict, max, reach)),
        8 => (0..3_u8, -2..20_i8, 0..8_u8, types)
            .prop_map(|(member, first, more, types)| Step::Acknowledge(member, first, more, types)),
        8 => prop::bool::weighted(0.8).prop_map(Step::Land),
        3 => (0..1500_u16).prop_map(Step::Wait),
        1 => (0..3_u8).prop_map(Step::Release),
        1 => (0..6_u8).prop_map(Step::LogStart),
        1 => any::<u8>().prop_map(Step::Compact),
        1 => Just(Step::Restart),
    ];
    proptest::collection::vec(step, 1..120)
}

/// Batches of a log: what is between them is not there.
fn log() -> impl Strategy<Value = Vec<(i64, i64)>> {
    proptest::collection::vec((0..3_i64, 0..7_i64), 1..12).prop_map(|list| {
        let mut at = 0;
        let batch = |(gap, more)| {
            let first = at + if gap == 2 { 3 } else { 0 };
            at = first + more + 1;
            (first, first + more)
        };
        list.into_iter().map(batch).collect()
    })
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Is {
    Free,
    Held { member: u8, deadline: u64, becoming: Option<DeliveryState> },
    Done,
    Dead,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Record {
    is: Is,
    count: u16,
}

/// What a write makes of each of its records when it is durable.
type Becoming = Vec<(i64, Record)>;

struct World {
    partition: SharePartition,
    kept: PartitionState,
    writes: VecDeque<(StateWrite, Becoming)>,
    log: Vec<(i64, i64)>,
    log_start: i64,
    now: u64,
    records: BTreeMap<i64, Record>,
    start: i64,
    delivered: BTreeMap<i64, u32>,
    /// How often what happened.
    seen: BTreeMap<&'static str, u64>,
}

impl World {
    fn new(log: Vec<(i64, i64)>) -> Self {
        let kept = PartitionState {
            snapshot_epoch: 0,
            state_epoch: 1,
            leader_epoch: LeaderEpoch(0),
            start: Offset(0),
            delivery_complete_count: 0,
            created: TimestampMs(0),
            written: TimestampMs(0),
            batches: Vec::new(),
        };
        let partition = SharePartition::new(SETTINGS, LeaderEpoch(1), &kept, Offset(0));
        Self {
            partition,
            kept,
            writes: VecDeque::new(),
            log,
            log_start: 0,
            now: 0,
            records: BTreeMap::new(),
            start: 0,
            delivered: BTreeMap::new(),
            seen: BTreeMap::new(),
        }
    }

    fn saw(&mut self, what: &'static str, often: usize) {
        *self.seen.entry(what).or_default() += often as u64;
    }

    fn end(&self) -> i64 {
        self.records.last_key_value().map_or(self.start, |(offset, _)| offset + 1)
    }

    /// Locks end at multiples of 50 ms.
    fn deadline(&self) -> u64 {
        (self.now + u64::from(SETTINGS.lock_duration_ms)).div_ceil(50) * 50
    }

    fn in_log(&self, offset: i64) -> bool {
        self.log.iter().any(|(first, last)| (*first..=*last).contains(&offset))
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Acquire(member, strict, max, reach) => self.acquire(member, strict, max, reach),
            Step::Acknowledge(member, first, more, types) => self.acknowledge(member, first, more, &types),
            Step::Land(ok) => self.land(ok),
            Step::Wait(ms) => self.wait(u64::from(ms)),
            Step::Release(member) => self.release(member),
            Step::LogStart(by) => {
                self.log_start = (self.log_start + i64::from(by)).min(self.log.last().unwrap().1 + 1);
                self.partition.log_start_moved(Offset(self.log_start));
                self.records.retain(|offset, _| *offset >= self.log_start);
                self.start = self.start.max(self.log_start);
            }
            Step::Compact(which) => {
                if self.log.len() > 1 {
                    // The last one stays: a log does not forget where it ends.
                    self.log.remove(usize::from(which) % (self.log.len() - 1));
                }
            }
            Step::Restart => self.restart(),
        }
        self.advance();
        self.check();
    }

    fn acquire(&mut self, member: u8, strict: bool, max: u8, reach: u8) {
        let at = self.partition.next_fetch_offset();
        let free = self.records.iter().find(|(_, record)| record.is == Is::Free);
        assert_eq!(at.0, free.map_or(self.end(), |(offset, _)| *offset));
        let read = self.log.iter().filter(|(_, last)| *last >= at.0 && *last >= self.log_start);
        let batches: Vec<LogBatch> = read
            .take(usize::from(reach))
            .map(|(first, last)| LogBatch { first: Offset(*first), last: Offset(*last) })
            .collect();
        let name: Arc<str> = member.to_string().into();
        let mode = if strict { AcquireMode::RecordLimit } else { AcquireMode::BatchOptimized };
        let request =
            Acquire { member: &name, mode, records_max: max.into(), batch_size: 5, fetch_offset: at };
        let before = self.end() - self.start;
        let list = self.partition.acquire(Tick(self.now), &request, &batches);
        let mut taken = 0;
        let deadline = self.deadline();
        for one in &list {
            for offset in one.first.0..=one.last.0 {
                taken += 1;
                assert!(self.in_log(offset) && offset >= self.start, "{offset} is there");
                let new = Record { is: Is::Free, count: 0 };
                let record = self.records.entry(offset).or_insert(new);
                assert_eq!(record.is, Is::Free, "{offset} is nobody's");
                record.count += 1;
                assert_eq!(record.count, one.delivery_count);
                record.is = Is::Held { member, deadline, becoming: None };
                *self.delivered.entry(offset).or_default() += 1;
            }
        }
        assert!(!strict || taken <= u32::from(max));
        // What it says is not in the log is not.
        for held in self.partition.held().filter(|held| held.state == HeldState::Archived) {
            for offset in held.first.0..=held.last.0 {
                let new = Record { is: Is::Free, count: 0 };
                let gone = !self.log.iter().any(|(first, last)| (*first..=*last).contains(&offset));
                let record = self.records.entry(offset).or_insert(new);
                if record.is == Is::Free {
                    assert!(gone, "{offset} was given up and is in the log");
                    record.is = Is::Dead;
                }
            }
        }
        // Those that the start moved over at once.
        for offset in self.start..self.partition.start().0 {
            let gone = !self.in_log(offset);
            let record = self.records.entry(offset).or_insert(Record { is: Is::Free, count: 0 });
            if record.is == Is::Free {
                assert!(gone, "{offset} was passed over and is in the log");
                record.is = Is::Dead;
            }
        }
        self.saw("acquired", taken as usize);
        self.saw("delivered again", list.iter().filter(|one| one.delivery_count > 1).count());
        let grown = self.end() - self.start.max(0);
        if before >= i64::from(SETTINGS.record_locks_max) {
            assert!(grown <= before, "nothing new above the limit");
        }
    }

    /// Who acknowledges what: often somebody what is held.
    fn aim(&self, member: u8, first: i64, more: u8, well: bool) -> (u8, i64, i64) {
        let holder = |record: &Record| match record.is {
            Is::Held { member, becoming: None, .. } => Some(member),
            _ => None,
        };
        let mut held = self.records.range(first..).filter_map(|(at, record)| Some((*at, holder(record)?)));
        match held.next().filter(|_| well) {
            Some((first, member)) => {
                let all = held.zip(first + 1..).take_while(|((at, of), next)| at == next && *of == member);
                (member, first, first + i64::try_from(all.take(more.into()).count()).unwrap())
            }
            None => (member, first, first + i64::from(more)),
        }
    }

    fn acknowledge(&mut self, member: u8, first: i8, more: u8, types: &[u8]) {
        let first = self.start + i64::from(first);
        let (member, first, last) = self.aim(member, first, more, !types.len().is_multiple_of(3));
        let more = last - first;
        let code =
            |index: usize| AckType::from_code(i8::try_from(types[index % types.len()]).unwrap()).unwrap();
        let count = if types.len() == 1 { 1 } else { usize::try_from(more).unwrap() + 1 };
        let said: Vec<AckType> = (0..count).map(code).collect();
        let batch = AckBatch { first: Offset(first), last: Offset(last), types: said.clone() };
        let result = self.partition.acknowledge(Tick(self.now), &member.to_string(), &[batch]);
        if last >= self.end() && last >= self.start {
            assert_eq!(result, Err(ErrorCode::InvalidRequest));
            return;
        }
        let range = first.max(self.start)..=last;
        let holds = |record: &Record| matches!(record.is, Is::Held { member: of, becoming: None, .. } if of == member);
        if range.clone().any(|offset| !holds(&self.records[&offset])) {
            assert_eq!(result, Err(ErrorCode::InvalidRecordState));
            self.saw("refused", 1);
            return;
        }
        let mut becoming = Becoming::new();
        let renewed = self.deadline();
        for offset in range {
            let what = if said.len() == 1 { said[0] } else { said[usize::try_from(offset - first).unwrap()] };
            let record = self.records.get_mut(&offset).unwrap();
            let Is::Held { deadline, becoming: next, .. } = &mut record.is else { unreachable!() };
            let is = match what {
                AckType::Renew => {
                    *deadline = renewed;
                    continue;
                }
                AckType::Accept => Is::Done,
                AckType::Gap | AckType::Reject => Is::Dead,
                AckType::Release if record.count >= SETTINGS.delivery_count_limit => Is::Dead,
                AckType::Release => Is::Free,
            };
            *next = Some(state_of(is));
            becoming.push((offset, Record { is, count: record.count }));
        }
        let write = result.unwrap();
        assert_eq!(write.is_some(), !becoming.is_empty());
        self.saw("acknowledged", becoming.len());
        self.writes.extend(write.map(|write| (write, becoming)));
    }

    fn release(&mut self, member: u8) {
        let mut becoming = Becoming::new();
        for (offset, record) in &mut self.records {
            if let Is::Held { member: of, becoming: next @ None, .. } = &mut record.is
                && *of == member
            {
                *next = Some(DeliveryState::Available);
                becoming.push((*offset, Record { is: Is::Free, count: record.count - 1 }));
            }
        }
        let write = self.partition.release(&member.to_string());
        assert_eq!(write.is_some(), !becoming.is_empty());
        self.writes.extend(write.map(|write| (write, becoming)));
    }

    fn land(&mut self, ok: bool) {
        let Some((write, becoming)) = self.writes.pop_front() else { return };
        if ok {
            self.kept.apply(&StateUpdate {
                snapshot_epoch: 0,
                leader_epoch: write.leader_epoch,
                start: write.start,
                delivery_complete_count: write.delivery_complete_count,
                batches: write.batches,
            });
        }
        let result = if ok { Ok(()) } else { Err(ErrorCode::CoordinatorNotAvailable) };
        self.partition.landed(write.id, result);
        self.saw(if ok { "written" } else { "taken back" }, becoming.len());
        for (offset, next) in becoming {
            let Some(record) = self.records.get_mut(&offset) else { continue };
            if ok {
                *record = next;
            } else if let Is::Held { becoming, .. } = &mut record.is {
                *becoming = None;
            }
        }
        if !ok {
            self.wait(0);
        }
    }

    fn wait(&mut self, ms: u64) {
        self.now += ms;
        while self.partition.next_deadline().is_some_and(|due| due.0 <= self.now) {
            let write = self.partition.expire(Tick(self.now));
            self.writes.extend(write.map(|write| (write, Becoming::new())));
        }
        let (mut expired, mut given_up) = (0, 0);
        for record in self.records.values_mut() {
            if let Is::Held { deadline, becoming: None, .. } = record.is
                && deadline <= self.now
            {
                let over = record.count >= SETTINGS.delivery_count_limit;
                record.is = if over { Is::Dead } else { Is::Free };
                expired += 1;
                given_up += usize::from(over);
            }
        }
        self.saw("expired", expired);
        self.saw("given up", given_up);
    }

    fn restart(&mut self) {
        self.writes.clear();
        let start = self.kept.start.max(Offset(self.log_start));
        self.partition = SharePartition::new(SETTINGS, LeaderEpoch(1), &self.kept, start);
        self.start = start.0;
        self.records.clear();
        for batch in &self.kept.batches {
            let is = match batch.state {
                DeliveryState::Available => Is::Free,
                DeliveryState::Acknowledged => Is::Done,
                DeliveryState::Archived => Is::Dead,
            };
            for offset in batch.first.0.max(self.start)..=batch.last.0 {
                self.records.insert(offset, Record { is, count: batch.delivery_count });
            }
        }
        for offset in self.start..self.end() {
            self.records.entry(offset).or_insert(Record { is: Is::Free, count: 0 });
        }
        self.saw("kept over a start", self.records.len());
    }

    /// The start moves over what is finished, and over nothing else.
    fn advance(&mut self) {
        while let Some(first) =
            self.records.first_entry().filter(|first| matches!(first.get().is, Is::Done | Is::Dead))
        {
            assert_eq!(*first.key(), self.start);
            first.remove();
            self.start += 1;
        }
    }

    fn check(&self) {
        assert_eq!((self.partition.start().0, self.partition.end().0), (self.start, self.end()));
        let mut finished = 0;
        let mut at = self.start;
        for held in self.partition.held() {
            assert_eq!(held.first.0, at);
            at = held.last.0 + 1;
            for offset in held.first.0..=held.last.0 {
                let record = self.records[&offset];
                let is = match &held.state {
                    HeldState::Available => Is::Free,
                    HeldState::Acknowledged => Is::Done,
                    HeldState::Archived => Is::Dead,
                    HeldState::Acquired { member, deadline, becoming } => Is::Held {
                        member: member.parse().unwrap(),
                        deadline: deadline.0,
                        becoming: *becoming,
                    },
                };
                assert_eq!(Record { is, count: held.delivery_count }, record, "{offset}");
                let ends = matches!(is, Is::Done | Is::Dead)
                    || matches!(
                        is,
                        Is::Held {
                            becoming: Some(DeliveryState::Acknowledged | DeliveryState::Archived),
                            ..
                        }
                    );
                finished += u64::from(ends);
            }
        }
        assert_eq!(at, self.end());
        assert_eq!(self.partition.delivery_complete_count(), finished);
        // A state that is kept leads to one that could have been.
        for batch in &self.kept.batches {
            assert!(batch.delivery_count <= SETTINGS.delivery_count_limit);
        }
    }

    /// Nobody fails any more: every record of the log is delivered to somebody who accepts it, or was given up.
    fn settle(&mut self) {
        let end = self.log.last().unwrap().1 + 1;
        for round in 0..10_000 {
            if self.start == end {
                break;
            }
            assert!(round < 9999, "it does not get on: {} of {end}", self.start);
            while !self.writes.is_empty() {
                self.land(true);
            }
            self.wait(2000);
            self.step(Step::Acquire(1, true, 10, 3));
            let held = self.partition.held();
            let mine: Vec<(Offset, Offset)> = held
                .filter(|held| matches!(held.state, HeldState::Acquired { .. }))
                .map(|held| (held.first, held.last))
                .collect();
            for (first, last) in mine {
                let more = u8::try_from(last.0 - first.0).unwrap();
                self.step(Step::Acknowledge(1, i8::try_from(first.0 - self.start).unwrap(), more, vec![1]));
            }
            while !self.writes.is_empty() {
                self.step(Step::Land(true));
            }
        }
        assert_eq!(self.kept.start.0.max(self.partition.start().0), end);
    }
}

const fn state_of(is: Is) -> DeliveryState {
    match is {
        Is::Done => DeliveryState::Acknowledged,
        Is::Dead => DeliveryState::Archived,
        Is::Free | Is::Held { .. } => DeliveryState::Available,
    }
}

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
