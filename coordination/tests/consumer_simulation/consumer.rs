//! A consumer by the consumer protocol: it tells what it uses, takes what it is given, and gives back what it is not.

use std::collections::BTreeSet;

use coordination::group::consumer::Partitions;
use coordination::group::consumer::partitions::each;
use coordination::group::{ConsumerHeartbeat, ConsumerHeartbeatReply};
use model::ErrorCode;

use super::{GROUP, Random, Used};

pub const HEARTBEAT_MS: u64 = 1000;
pub const REBALANCE_MS: u64 = 5000;
const PATIENCE_MS: u64 = 3000;

#[derive(Debug)]
pub struct Consumer {
    pub number: usize,
    pub instance: Option<String>,
    pub alive: bool,
    pub id: String,
    pub epoch: i32,
    /// What it uses.
    pub uses: Used,
    /// What it was told to use, when it has not got there.
    told: Option<(Used, u64)>,
    /// It has to say everything: it does not know what of it was heard.
    full: bool,
    /// What it said last that it uses.
    said: Option<Used>,
    pub topics: Vec<String>,
    pub regex: Option<String>,
    changed: bool,
    waits: Option<(u64, u64)>,
    next_heartbeat: u64,
}

pub fn used(partitions: &Partitions) -> Used {
    each(partitions).collect()
}

fn partitions(used: &Used) -> Partitions {
    let mut partitions = Partitions::new();
    for &(topic, partition) in used {
        partitions.entry(topic).or_default().insert(partition);
    }
    partitions
}

impl Consumer {
    pub fn new(number: usize) -> Self {
        Self {
            number,
            instance: (number % 3 == 1).then(|| format!("static{number}")),
            alive: false,
            id: String::new(),
            epoch: 0,
            uses: Used::new(),
            told: None,
            full: true,
            said: None,
            topics: vec!["a".into(), "b".into()],
            regex: (number % 4 == 2).then(|| "[c-d]".into()),
            changed: false,
            waits: None,
            next_heartbeat: 0,
        }
    }

    pub fn start(&mut self, random: &mut Random) {
        self.alive = true;
        self.id = format!("consumer{}-{:016x}", self.number, random.next());
        self.lose();
    }

    /// It drops everything, and joins (again).
    fn lose(&mut self) {
        self.uses.clear();
        (self.epoch, self.told, self.full, self.said, self.waits) = (0, None, true, None, None);
        self.next_heartbeat = 0;
    }

    /// The process ends, perhaps with a word.
    pub fn stop(&mut self, says_so: bool) -> Option<ConsumerHeartbeat> {
        let known = self.epoch > 0;
        self.alive = false;
        self.uses.clear();
        self.waits = None;
        let epoch = if self.instance.is_some() { -2 } else { -1 };
        (says_so && known).then(|| ConsumerHeartbeat { epoch, ..self.empty() })
    }

    pub fn resubscribe(&mut self, topics: &[&str]) {
        self.topics = topics.iter().map(|topic| (*topic).to_owned()).collect();
        self.changed = true;
    }

    fn empty(&self) -> ConsumerHeartbeat {
        ConsumerHeartbeat {
            group: GROUP.into(),
            member_id: self.id.clone(),
            makes_own_id: true,
            epoch: self.epoch,
            instance_id: self.instance.clone(),
            rebalance_timeout_ms: -1,
            client_id: format!("client{}", self.number),
            client_host: "/10.0.0.1".into(),
            ..ConsumerHeartbeat::default()
        }
    }

    pub fn poll(&mut self, now: u64) -> Option<ConsumerHeartbeat> {
        if !self.alive {
            return None;
        }
        if let Some((told, at)) = &self.told
            && now >= *at
        {
            self.uses.clone_from(told);
            self.told = None;
            // Even if it says what it said before: it may have got and given back something in between.
            self.said = None;
            self.next_heartbeat = now;
        }
        match self.waits {
            Some((_, until)) if now < until => return None,
            Some(_) => {
                self.waits = None;
                self.full = true;
                self.next_heartbeat = now;
            }
            None => {}
        }
        if now < self.next_heartbeat {
            return None;
        }
        self.next_heartbeat = now + HEARTBEAT_MS;
        let everything = self.full || self.epoch == 0;
        let mut ask = self.empty();
        if everything || self.changed {
            ask.topics = Some(self.topics.clone());
            ask.regex = Some(self.regex.clone().unwrap_or_default());
            self.changed = false;
        }
        if everything {
            ask.rebalance_timeout_ms = i32::try_from(REBALANCE_MS).unwrap();
        }
        if everything || self.said.as_ref() != Some(&self.uses) {
            ask.owned = Some(partitions(&self.uses));
            self.said = Some(self.uses.clone());
        }
        Some(ask)
    }

    pub fn asked(&mut self, ticket: u64, now: u64) {
        self.waits = Some((ticket, now + PATIENCE_MS));
    }

    pub fn answered(
        &mut self,
        ticket: u64,
        reply: &ConsumerHeartbeatReply,
        now: u64,
        random: &mut Random,
        calm: bool,
    ) {
        if !self.alive || self.waits.is_none_or(|(waited, _)| waited != ticket) {
            return;
        }
        self.waits = None;
        match reply.code() {
            ErrorCode::None => {}
            ErrorCode::UnknownMemberId | ErrorCode::FencedMemberEpoch | ErrorCode::GroupIdNotFound => {
                return self.lose();
            }
            // Another process of this instance id is still thought to live, or took over.
            ErrorCode::UnreleasedInstanceId => {
                self.lose();
                self.next_heartbeat = now + HEARTBEAT_MS;
                return;
            }
            ErrorCode::FencedInstanceId => return self.start(random),
            error => {
                assert!(
                    error.retriable() || error == ErrorCode::UnknownServerError,
                    "{}: {reply:?}",
                    error.name()
                );
                self.full = true;
                return;
            }
        }
        self.full = false;
        self.epoch = reply.epoch;
        if let Some(assignment) = &reply.assignment {
            let told = used(assignment);
            let revokes = self.uses.difference(&told).next().is_some();
            // What is new can be used at once; what is to be given back takes a while.
            self.uses.extend(told.iter().copied());
            let delay = match (revokes, calm) {
                (false, _) => 0,
                (true, true) => 50,
                (true, false) => random.below(2 * REBALANCE_MS),
            };
            self.told = Some((told, now + delay));
        }
    }

    /// Whether it is in the group and where it was told to be.
    pub fn is_settled(&self) -> bool {
        self.epoch > 0 && self.told.is_none()
    }

    pub fn reads(&self) -> BTreeSet<String> {
        let by_regex = self.regex.iter().flat_map(|_| ["c".to_owned(), "d".to_owned()]);
        self.topics.iter().cloned().chain(by_regex).collect()
    }
}
