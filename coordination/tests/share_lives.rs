//! Members of share groups: random lives with lost answers, failed appends and starts.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

mod share_bench;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use coordination::share::membership::record::Record;
use coordination::share::membership::{Assignment, Coordinator, Reply, Request};
use model::{ErrorCode, TopicId};
use proptest::prelude::*;

use share_bench::{Bench, heartbeat, image, settings};

#[derive(Clone, Debug)]
enum Step {
    /// Member, topics (bits) when it says them.
    Beat(u8, Option<u8>),
    Leave(u8),
    Land(bool),
    /// The answers that came are heard.
    Hear,
    Begin(bool),
    Wait(u16),
    Partitions(u8),
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        10 => (0..5_u8, proptest::option::weighted(0.3, 1..4_u8)).prop_map(|(member, topics)| Step::Beat(member, topics)),
        1 => (0..5_u8).prop_map(Step::Leave),
        10 => prop::bool::weighted(0.85).prop_map(Step::Land),
        6 => Just(Step::Hear),
        4 => any::<bool>().prop_map(Step::Begin),
        4 => (0..3000_u16).prop_map(Step::Wait),
        1 => (1..6_u8).prop_map(Step::Partitions),
        1 => Just(Step::Restart),
    ];
    proptest::collection::vec(step, 1..100)
}

/// What a member believes.
#[derive(Clone, Default)]
struct Client {
    epoch: i32,
    topics: u8,
    asked: Option<u64>,
}

fn names(bits: u8) -> Vec<&'static str> {
    ["t1", "t2"]
        .into_iter()
        .enumerate()
        .filter(|(bit, _)| bits >> bit & 1 == 1)
        .map(|(_, name)| name)
        .collect()
}

struct World {
    bench: Bench,
    clients: Vec<Client>,
    epochs: BTreeMap<String, i32>,
    partitions: u32,
}

impl World {
    fn beat(&mut self, member: u8, topics: Option<u8>) {
        let client = &mut self.clients[usize::from(member)];
        if client.asked.is_some() {
            return;
        }
        if let Some(topics) = topics {
            client.topics = topics;
        }
        let says = topics.is_some() || client.epoch == 0;
        if client.topics == 0 {
            client.topics = 1;
        }
        let list = names(client.topics);
        let request = heartbeat(&format!("m{member}"), client.epoch, says.then_some(&list[..]));
        let ticket = self.bench.ask(Request::Heartbeat(request));
        self.clients[usize::from(member)].asked = Some(ticket);
    }

    fn hear(&mut self) {
        for client in &mut self.clients {
            let Some(Reply::Heartbeat(reply)) =
                client.asked.and_then(|ticket| self.bench.replies.remove(&ticket))
            else {
                continue;
            };
            client.asked = None;
            match reply.error {
                ErrorCode::None => client.epoch = reply.member_epoch.max(0),
                ErrorCode::FencedMemberEpoch | ErrorCode::UnknownMemberId | ErrorCode::GroupIdNotFound => {
                    client.epoch = 0;
                }
                _ => {}
            }
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Beat(member, topics) => self.beat(member, topics),
            Step::Leave(member) => {
                let client = &mut self.clients[usize::from(member)];
                if client.asked.is_none() && client.epoch > 0 {
                    let leave = heartbeat(&format!("m{member}"), -1, None);
                    client.asked = Some(self.bench.ask(Request::Heartbeat(leave)));
                    client.epoch = 0;
                }
            }
            Step::Land(ok) => {
                self.bench.land(ok);
            }
            Step::Hear => self.hear(),
            Step::Begin(done) => self.bench.begin(done),
            Step::Wait(ms) => self.bench.wait(ms.into()),
            Step::Partitions(count) => {
                self.partitions = self.partitions.max(count.into());
                self.bench.image = image(&[self.partitions, 2]);
                let image = Arc::clone(&self.bench.image);
                self.bench.machine.set_image(image);
            }
            Step::Restart => {
                self.bench.restart();
                // Answers that were on their way are lost.
                for client in &mut self.clients {
                    client.asked = None;
                }
                self.bench.replies.clear();
            }
        }
        self.check();
    }

    fn check(&mut self) {
        // A group is exactly its durable log, and its epoch only rises.
        let mut again = Coordinator::new(settings(), Arc::clone(&self.bench.image));
        self.bench.log.iter().for_each(|record| again.replay(record));
        assert_eq!(again.snapshot(), self.bench.machine.snapshot());
        for record in again.snapshot() {
            if let Record::Epoch { group, value: Some((epoch, _)) } = record {
                let before = self.epochs.insert(group.to_string(), epoch).unwrap_or(0);
                assert!(epoch >= before);
            }
        }
    }

    /// Nothing fails any more: all members have the newest epoch, and every partition has a member.
    fn settle(&mut self) {
        for _ in 0..16 {
            for member in 0..3 {
                self.beat(member, None);
            }
            self.bench.land_all();
            self.hear();
            self.bench.begin(true);
            self.bench.land_all();
            self.bench.wait(5000);
        }
        self.check();
        let ticket = self.bench.ask(Request::Describe(vec!["g".into()]));
        let Some(Reply::Describe(list)) = self.bench.replies.remove(&ticket) else {
            panic!("no description")
        };
        let group = list[0].1.clone().unwrap();
        assert_eq!(group.epoch, group.assignment_epoch);
        let mut has: BTreeSet<(TopicId, i32)> = BTreeSet::new();
        let mut wanted: BTreeSet<(TopicId, i32)> = BTreeSet::new();
        for member in &group.members {
            assert_eq!(member.epoch, group.epoch, "{}", member.member_id);
            for topic in &member.metadata.topics {
                let topic = self.bench.image.topic(topic).unwrap();
                let count = i32::try_from(topic.partitions).unwrap();
                wanted.extend((0..count).map(|index| (topic.id, index)));
            }
            has.extend(member.assigned.partitions());
        }
        assert_eq!(has, wanted);
        let mut shares: BTreeMap<Arc<str>, Vec<Assignment>> = BTreeMap::new();
        for record in self.bench.machine.snapshot() {
            match record {
                Record::Target { member, value: Some(value), .. } => {
                    shares.entry(member).or_default().push(Assignment::clone(&value));
                }
                Record::Current { member, value: Some(value), .. } => {
                    shares.entry(member).or_default().push(value.assigned.clone());
                }
                _ => {}
            }
        }
        assert!(shares.values().all(|both| both[0] == both[1]), "each has its target: {shares:?}");
        let quiet = self.bench.log.len();
        self.settle_once();
        assert_eq!(self.bench.log.len(), quiet, "and then it is quiet");
    }

    fn settle_once(&mut self) {
        for member in 0..3 {
            self.beat(member, None);
        }
        self.bench.land_all();
        self.hear();
    }
}

proptest! {
    #[test]
    fn groups_keep_their_promises_and_settle(steps in steps()) {
        let clients = vec![Client::default(); 5];
        let mut world = World { bench: Bench::new(image(&[3, 2])), clients, epochs: BTreeMap::new(), partitions: 3 };
        for step in steps {
            world.step(step);
        }
        world.settle();
    }
}
