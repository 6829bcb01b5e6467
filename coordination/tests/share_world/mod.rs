//! A share partition, and what it should be record by record.

mod acts;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use coordination::share::state::{DeliveryState, PartitionState, StateUpdate};
use coordination::share::{
    AckBatch, AckType, Acquire, AcquireMode, HeldState, LogBatch, SharePartition, ShareSettings, StateWrite,
};
use model::{ErrorCode, LeaderEpoch, Offset, Tick, TimestampMs};
use proptest::prelude::*;

pub const SETTINGS: ShareSettings = ShareSettings {
    delivery_count_limit: 3,
    record_locks_max: 40,
    lock_duration_ms: 1000,
    renew_enabled: true,
};

#[derive(Clone, Debug)]
pub enum Step {
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

pub fn steps() -> impl Strategy<Value = Vec<Step>> {
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
pub fn log() -> impl Strategy<Value = Vec<(i64, i64)>> {
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
pub enum Is {
    Free,
    Held { member: u8, deadline: u64, becoming: Option<DeliveryState> },
    Done,
    Dead,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Record {
    is: Is,
    count: u16,
}

/// What a write makes of each of its records when it is durable.
type Becoming = Vec<(i64, Record)>;

pub struct World {
    pub partition: SharePartition,
    pub kept: PartitionState,
    pub writes: VecDeque<(StateWrite, Becoming)>,
    pub log: Vec<(i64, i64)>,
    pub log_start: i64,
    pub now: u64,
    pub records: BTreeMap<i64, Record>,
    pub start: i64,
    pub delivered: BTreeMap<i64, u32>,
    /// How often what happened.
    pub seen: BTreeMap<&'static str, u64>,
}

impl World {
    pub fn new(log: Vec<(i64, i64)>) -> Self {
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

    pub fn saw(&mut self, what: &'static str, often: usize) {
        *self.seen.entry(what).or_default() += often as u64;
    }

    pub fn end(&self) -> i64 {
        self.records.last_key_value().map_or(self.start, |(offset, _)| offset + 1)
    }

    /// Locks end at multiples of 50 ms.
    pub fn deadline(&self) -> u64 {
        (self.now + u64::from(SETTINGS.lock_duration_ms)).div_ceil(50) * 50
    }

    pub fn in_log(&self, offset: i64) -> bool {
        self.log.iter().any(|(first, last)| (*first..=*last).contains(&offset))
    }

    pub fn step(&mut self, step: Step) {
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

    /// The start moves over what is finished, and over nothing else.
    pub fn advance(&mut self) {
        while let Some(first) =
            self.records.first_entry().filter(|first| matches!(first.get().is, Is::Done | Is::Dead))
        {
            assert_eq!(*first.key(), self.start);
            first.remove();
            self.start += 1;
        }
    }

    pub fn check(&self) {
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
    pub fn settle(&mut self) {
        let end = self.log.last().unwrap().1 + 1;
        for round in 0..10_000 {
            if self.start == end {
                break;
            }
            assert!(round < 9999, "it does not get on: {} of {end}", self.start);
            while !self.writes.is_empty() {
                self.step(Step::Land(true));
            }
            self.step(Step::Wait(2000));
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

pub const fn state_of(is: Is) -> DeliveryState {
    match is {
        Is::Done => DeliveryState::Acknowledged,
        Is::Dead => DeliveryState::Archived,
        Is::Free | Is::Held { .. } => DeliveryState::Available,
    }
}
