//! A coordinator of states of share partitions with its log, for tests.

#![allow(dead_code, reason = "each test takes what it needs")]

use std::collections::BTreeMap;

use coordination::effects::Effects;
use coordination::machine::Machine;
use coordination::share::record::{Decoded, Record, ShareKey, decode, encode};
use coordination::share::state::{DeliveryState, StateBatch};
use coordination::share::store::{Answer, Ask, Effect, Input, ShareStates, StoreSettings, Write};
use model::{ErrorCode, LeaderEpoch, Offset, Tick, TimestampMs, TopicId};

pub struct Bench {
    pub machine: ShareStates,
    pub settings: StoreSettings,
    pub tickets: u64,
    pub flights: BTreeMap<u64, Vec<Record>>,
    pub log: Vec<Record>,
    /// The log begins here: what is before it is deleted.
    pub log_start: usize,
    pub now: u64,
    pub answers: BTreeMap<u64, Answer>,
}

impl Bench {
    pub fn new(settings: StoreSettings) -> Self {
        Self {
            machine: ShareStates::new(settings),
            settings,
            tickets: 0,
            flights: BTreeMap::new(),
            log: Vec::new(),
            log_start: 0,
            now: 0,
            answers: BTreeMap::new(),
        }
    }

    pub fn step(&mut self, input: Input) {
        let mut effects = Effects::new();
        self.machine.step(Tick(self.now), input, &mut effects);
        for effect in effects.drain() {
            match effect {
                Effect::Append { id, records } => {
                    assert!(!records.is_empty() && self.flights.insert(id, records).is_none());
                }
                Effect::Reply { ticket, answer } => assert!(self.answers.insert(ticket, answer).is_none()),
                Effect::Prune { below } => {
                    let below = usize::try_from(below.0).unwrap();
                    assert!(below <= self.log.len(), "only what is durable is superfluous");
                    self.log_start = self.log_start.max(below);
                }
            }
        }
    }

    pub fn ask(&mut self, key: ShareKey, ask: Ask) -> u64 {
        self.tickets += 1;
        self.step(Input::Request { ticket: self.tickets, wall: self.wall(), key, ask });
        self.tickets
    }

    pub fn wall(&self) -> TimestampMs {
        TimestampMs(77 + i64::try_from(self.now).unwrap())
    }

    /// Lets time pass, and the machine see to what is due; appends land.
    pub fn rest(&mut self, ms: u64) {
        self.now += ms;
        while self.machine.next_deadline().is_some_and(|at| at <= Tick(self.now)) {
            self.step(Input::Tick { wall: self.wall() });
            while self.land(true) {}
        }
    }

    pub fn land(&mut self, ok: bool) -> bool {
        let Some((id, records)) = self.flights.pop_first() else { return false };
        if ok {
            let base = Offset(i64::try_from(self.log.len()).unwrap());
            self.log.extend(records);
            self.step(Input::Durable { id, base });
        } else {
            self.step(Input::AppendFailed(id, ErrorCode::NotEnoughReplicas));
        }
        true
    }

    /// Asks, and lands all there is.
    pub fn done(&mut self, key: ShareKey, ask: Ask) -> Answer {
        let ticket = self.ask(key, ask);
        while self.land(true) {}
        self.answers.remove(&ticket).unwrap()
    }

    pub fn restart(&mut self) {
        self.flights.clear();
        self.machine = ShareStates::new(self.settings);
        for (offset, record) in self.log.iter().enumerate().skip(self.log_start) {
            let (key, value) = encode(record);
            let Ok(Decoded::Record(record)) = decode(&key, value.as_deref()) else { panic!("{record:?}") };
            self.machine.replay(&record, Some(Offset(i64::try_from(offset).unwrap())));
        }
        self.machine.loaded(Tick(self.now));
    }

    /// A start from the coordinator's own snapshot, made now.
    pub fn restart_from_snapshot(&mut self) {
        let records = self.machine.snapshot();
        self.flights.clear();
        self.machine = ShareStates::new(self.settings);
        records.iter().for_each(|record| self.machine.replay(record, None));
        self.machine.loaded(Tick(self.now));
    }
}

pub fn key(partition: i32) -> ShareKey {
    ShareKey { group: "g".into(), topic: TopicId([1; 16]), partition }
}

pub fn batch(first: i64, last: i64, state: DeliveryState, delivery_count: u16) -> StateBatch {
    StateBatch { first: Offset(first), last: Offset(last), state, delivery_count }
}

pub fn write(epochs: (i32, i32), start: i64, count: i32, batches: &[StateBatch]) -> Ask {
    Ask::Write(Write {
        state_epoch: epochs.0,
        leader_epoch: LeaderEpoch(epochs.1),
        start: Offset(start),
        delivery_complete_count: count,
        batches: batches.to_vec(),
    })
}

pub fn initialize(state_epoch: i32, start: i64) -> Ask {
    Ask::Initialize { state_epoch, start: Offset(start) }
}

pub fn read(leader_epoch: i32) -> Ask {
    Ask::Read { leader_epoch: LeaderEpoch(leader_epoch) }
}
