//! A coordinator of share groups whose appends land when a test says so.

#![allow(dead_code, reason = "each test needs its part of it")]

use std::collections::BTreeMap;
use std::sync::Arc;

use coordination::effects::Effects;
use coordination::machine::Machine;
use coordination::metadata::{Image, Overrides, Record as MetadataRecord};
use coordination::share::membership::record::{Decoded, Record, decode, encode};
use coordination::share::membership::{
    Assignment, Coordinator, Effect, Heartbeat, HeartbeatReply, Input, MembershipSettings, Reply, Request,
};
use model::{ErrorCode, Tick, TimestampMs, TopicId};

pub struct Bench {
    pub machine: Coordinator,
    pub image: Arc<Image>,
    pub now: u64,
    pub tickets: u64,
    pub flights: BTreeMap<u64, Vec<Record>>,
    pub log: Vec<Record>,
    pub replies: BTreeMap<u64, Reply>,
    pub begun: Vec<(Arc<str>, i32, Assignment)>,
}

/// Topics `t1`, `t2`, ... with so many partitions.
pub fn image(partitions: &[u32]) -> Arc<Image> {
    let mut image = Image::default();
    for (number, partitions) in (1_u8..).zip(partitions) {
        let record = MetadataRecord::TopicCreated {
            id: TopicId([number; 16]),
            name: format!("t{number}"),
            partitions: *partitions,
            configs: Overrides::new(),
        };
        image.apply(number.into(), &record);
    }
    Arc::new(image)
}

pub fn settings() -> MembershipSettings {
    MembershipSettings { max_size: 4, ..MembershipSettings::default() }
}

impl Bench {
    pub fn new(image: Arc<Image>) -> Self {
        let mut machine = Coordinator::new(settings(), Arc::clone(&image));
        machine.loaded(Tick(0));
        let (flights, replies, begun) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        Self { machine, image, now: 0, tickets: 0, flights, log: Vec::new(), replies, begun }
    }

    pub fn wall(&self) -> TimestampMs {
        TimestampMs(1_000_000 + i64::try_from(self.now).unwrap())
    }

    pub fn step(&mut self, input: Input) {
        let mut effects = Effects::new();
        self.machine.step(Tick(self.now), input, &mut effects);
        for effect in effects.drain() {
            match effect {
                Effect::Append { id, records } => {
                    assert!(!records.is_empty() && self.flights.insert(id, records).is_none());
                }
                Effect::Reply { ticket, reply } => assert!(self.replies.insert(ticket, reply).is_none()),
                Effect::Initialize { group, epoch, partitions } => {
                    self.begun.push((group, epoch, partitions))
                }
            }
        }
    }

    pub fn ask(&mut self, request: Request) -> u64 {
        self.tickets += 1;
        let (ticket, wall) = (self.tickets, self.wall());
        self.step(Input::Request { ticket, wall, request });
        ticket
    }

    pub fn land(&mut self, ok: bool) -> bool {
        let Some((id, records)) = self.flights.pop_first() else { return false };
        if ok {
            self.log.extend(records);
            self.step(Input::Durable(id));
        } else {
            self.step(Input::AppendFailed(id, ErrorCode::NotEnoughReplicas));
        }
        true
    }

    pub fn land_all(&mut self) {
        while self.land(true) {}
    }

    /// Has the states begun that were asked for.
    pub fn begin(&mut self, done: bool) {
        for (group, _, partitions) in std::mem::take(&mut self.begun) {
            let wall = self.wall();
            self.step(Input::Initialized { wall, group, partitions, done });
        }
    }

    pub fn beat(&mut self, member: &str, epoch: i32, topics: Option<&[&str]>) -> HeartbeatReply {
        let ticket = self.ask(Request::Heartbeat(heartbeat(member, epoch, topics)));
        self.land_all();
        match self.replies.remove(&ticket).unwrap() {
            Reply::Heartbeat(reply) => reply,
            other => panic!("{other:?}"),
        }
    }

    pub fn wait(&mut self, ms: u64) {
        let end = self.now + ms;
        while let Some(due) = self.machine.next_deadline().filter(|due| due.0 <= end) {
            self.now = self.now.max(due.0);
            let wall = self.wall();
            self.step(Input::Tick { wall });
        }
        self.now = end;
    }

    pub fn restart(&mut self) {
        self.flights.clear();
        self.begun.clear();
        self.machine = Coordinator::new(settings(), Arc::clone(&self.image));
        for record in &self.log {
            let (key, value) = encode(record);
            let Decoded::Record(record) = decode(&key, value.as_deref()).unwrap() else {
                panic!("{record:?}")
            };
            self.machine.replay(&record);
        }
        self.machine.loaded(Tick(self.now));
    }
}

pub fn heartbeat(member: &str, epoch: i32, topics: Option<&[&str]>) -> Heartbeat {
    Heartbeat {
        group: "g".into(),
        member_id: member.into(),
        member_epoch: epoch,
        rack: None,
        client_id: "c".into(),
        client_host: "/10.0.0.1".into(),
        topics: topics.map(|topics| topics.iter().map(|&topic| topic.to_owned()).collect()),
    }
}

pub fn size(reply: &HeartbeatReply) -> Option<usize> {
    reply.assigned.as_ref().map(|assigned| assigned.partitions().count())
}
