//! Members of share groups: what Kafka 4.3.1 answers, and random lives with lost answers, failed appends and starts.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use coordination::effects::Effects;
use coordination::machine::Machine;
use coordination::metadata::{Image, Overrides, Record as MetadataRecord};
use coordination::share::limits::HEARTBEATS_PARKED_MAX;
use coordination::share::membership::record::{Decoded, Record, decode, encode};
use coordination::share::membership::{
    Assignment, Coordinator, Effect, Heartbeat, HeartbeatReply, Input, MembershipSettings, Reply, Request,
};
use model::{ErrorCode, Tick, TimestampMs, TopicId};
use proptest::prelude::*;

struct Bench {
    machine: Coordinator,
    image: Arc<Image>,
    now: u64,
    tickets: u64,
    flights: BTreeMap<u64, Vec<Record>>,
    log: Vec<Record>,
    replies: BTreeMap<u64, Reply>,
    begun: Vec<(Arc<str>, i32, Assignment)>,
}

/// Topics `t1`, `t2`, ... with so many partitions.
fn image(partitions: &[u32]) -> Arc<Image> {
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

fn settings() -> MembershipSettings {
    MembershipSettings { members_max: 4, ..MembershipSettings::default() }
}

impl Bench {
    fn new(image: Arc<Image>) -> Self {
        let mut machine = Coordinator::new(settings(), Arc::clone(&image));
        machine.loaded(Tick(0));
        let (flights, replies, begun) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        Self { machine, image, now: 0, tickets: 0, flights, log: Vec::new(), replies, begun }
    }

    fn wall(&self) -> TimestampMs {
        TimestampMs(1_000_000 + i64::try_from(self.now).unwrap())
    }

    fn step(&mut self, input: Input) {
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

    fn ask(&mut self, request: Request) -> u64 {
        self.tickets += 1;
        let (ticket, wall) = (self.tickets, self.wall());
        self.step(Input::Request { ticket, wall, request });
        ticket
    }

    fn land(&mut self, ok: bool) -> bool {
        let Some((id, records)) = self.flights.pop_first() else { return false };
        if ok {
            self.log.extend(records);
            self.step(Input::Durable(id));
        } else {
            self.step(Input::AppendFailed(id, ErrorCode::NotEnoughReplicas));
        }
        true
    }

    fn land_all(&mut self) {
        while self.land(true) {}
    }

    /// Has the states begun that were asked for.
    fn begin(&mut self, done: bool) {
        for (group, _, partitions) in std::mem::take(&mut self.begun) {
            let wall = self.wall();
            self.step(Input::Initialized { wall, group, partitions, done });
        }
    }

    fn beat(&mut self, member: &str, epoch: i32, topics: Option<&[&str]>) -> HeartbeatReply {
        let ticket = self.ask(Request::Heartbeat(heartbeat(member, epoch, topics)));
        self.land_all();
        match self.replies.remove(&ticket).unwrap() {
            Reply::Heartbeat(reply) => reply,
            other => panic!("{other:?}"),
        }
    }

    fn wait(&mut self, ms: u64) {
        let end = self.now + ms;
        while let Some(due) = self.machine.next_deadline().filter(|due| due.0 <= end) {
            self.now = self.now.max(due.0);
            let wall = self.wall();
            self.step(Input::Tick { wall });
        }
        self.now = end;
    }

    fn restart(&mut self) {
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

fn heartbeat(member: &str, epoch: i32, topics: Option<&[&str]>) -> Heartbeat {
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

fn size(reply: &HeartbeatReply) -> Option<usize> {
    reply.assigned.as_ref().map(|assigned| assigned.partitions().count())
}

/// `a` and `b` share the four partitions of `t1`.
fn two() -> Bench {
    let mut bench = Bench::new(image(&[4, 2]));
    assert_eq!(size(&bench.beat("a", 0, Some(&["t1"]))), Some(0), "their state is not begun");
    assert_eq!(bench.begun.len(), 1);
    assert_eq!((bench.begun[0].1, bench.begun[0].2.partitions().count()), (1, 4));
    bench.begin(true);
    bench.land_all();
    bench.wait(1000);
    let all = bench.beat("a", 1, None);
    assert_eq!((all.member_epoch, size(&all)), (2, Some(4)));
    bench.wait(1000);
    let half = bench.beat("b", 0, Some(&["t1"]));
    assert_eq!((half.member_epoch, size(&half)), (3, Some(2)));
    let half = bench.beat("a", 2, None);
    assert_eq!((half.member_epoch, size(&half)), (3, Some(2)));
    bench
}

#[test]
fn partitions_are_shared_out_when_their_state_is_begun() {
    let mut bench = two();
    assert!(bench.begun.is_empty());
    let quiet = bench.beat("a", 3, None);
    assert_eq!((quiet.member_epoch, size(&quiet), quiet.heartbeat_interval_ms), (3, None, 5000));
    let full = bench.beat("a", 3, Some(&["t1"]));
    assert_eq!((full.member_epoch, size(&full)), (3, Some(2)), "who says everything is told everything");
    let before = bench.log.len();
    bench.restart();
    assert_eq!(bench.beat("b", 3, None).member_epoch, 3);
    assert_eq!(bench.log.len(), before, "nothing changed");
}

#[test]
fn a_target_rests_before_the_next() {
    let mut bench = two();
    let early = bench.beat("c", 0, Some(&["t1"]));
    assert_eq!((early.member_epoch, size(&early)), (3, Some(0)), "the target of epoch 3 has nothing for it");
    bench.wait(1000);
    let later = bench.beat("c", 3, None);
    assert_eq!((later.member_epoch, size(&later)), (4, Some(1)));
}

#[test]
fn epochs_fence_and_the_last_one_is_forgiven() {
    let mut bench = two();
    for (member, epoch, error) in [
        ("a", 4, ErrorCode::FencedMemberEpoch),
        ("a", 1, ErrorCode::FencedMemberEpoch),
        ("x", 3, ErrorCode::UnknownMemberId),
        ("x", -1, ErrorCode::UnknownMemberId),
        ("a", -2, ErrorCode::InvalidRequest),
        ("", 3, ErrorCode::InvalidRequest),
    ] {
        assert_eq!(bench.beat(member, epoch, None).error, error, "{member} {epoch}");
    }
    assert_eq!(bench.beat("x", 0, None).error, ErrorCode::InvalidRequest, "it subscribes to nothing");
    let again = bench.beat("a", 2, None);
    assert_eq!((again.error, again.member_epoch), (ErrorCode::None, 3), "the answer was lost");
    assert_eq!(bench.beat("a", 0, Some(&["t1"])).member_epoch, 3, "it came back");
    bench.wait(1000);
    bench.beat("c", 0, Some(&["t1"]));
    bench.beat("d", 0, Some(&["t1"]));
    assert_eq!(bench.beat("e", 0, Some(&["t1"])).error, ErrorCode::GroupMaxSizeReached);
    let mut other = heartbeat("a", 1, None);
    other.group = "nobody".into();
    let ticket = bench.ask(Request::Heartbeat(other));
    let Reply::Heartbeat(reply) = &bench.replies[&ticket] else { panic!("no heartbeat") };
    assert_eq!(reply.error, ErrorCode::GroupIdNotFound);
}

#[test]
fn who_leaves_or_is_silent_is_gone() {
    let mut bench = two();
    assert_eq!(bench.beat("b", -1, None).member_epoch, -1);
    bench.wait(1000);
    let all = bench.beat("a", 3, None);
    assert_eq!((all.member_epoch, size(&all)), (4, Some(4)));
    let deleted = |bench: &mut Bench| {
        let ticket = bench.ask(Request::Delete("g".into()));
        bench.land_all();
        bench.replies.remove(&ticket).unwrap()
    };
    assert_eq!(deleted(&mut bench), Reply::Delete(ErrorCode::NonEmptyGroup));
    bench.wait(44_999);
    assert!(bench.flights.is_empty());
    bench.wait(1);
    assert!(bench.land(false), "given up");
    bench.wait(45_000);
    assert!(bench.land(true), "and once more, because the first time failed");
    assert_eq!(bench.beat("a", 4, None).error, ErrorCode::UnknownMemberId);
    let ticket = bench.ask(Request::Describe(vec!["g".into(), "h".into()]));
    let Reply::Describe(list) = &bench.replies[&ticket] else { panic!("no description") };
    let group = list[0].1.as_ref().unwrap();
    assert_eq!((group.epoch, group.members.len()), (5, 0));
    assert_eq!(list[1].1, Err(ErrorCode::GroupIdNotFound));
    assert_eq!(deleted(&mut bench), Reply::Delete(ErrorCode::None));
    assert_eq!(deleted(&mut bench), Reply::Delete(ErrorCode::GroupIdNotFound));
    assert_eq!((bench.machine.memory_bytes(), bench.machine.snapshot()), (0, Vec::new()));
    bench.restart();
    assert!(bench.machine.snapshot().is_empty());
}

#[test]
fn a_state_that_could_not_be_begun_is_begun_again() {
    let mut bench = Bench::new(image(&[1]));
    bench.beat("a", 0, Some(&["t1", "missing"]));
    bench.begin(false);
    bench.land_all();
    bench.beat("a", 1, None);
    assert_eq!(bench.begun.len(), 1, "it failed");
    bench.begun.clear();
    bench.beat("a", 1, None);
    assert!(bench.begun.is_empty(), "it is on its way");
    bench.wait(30_000);
    bench.beat("a", 1, None);
    assert_eq!(bench.begun.len(), 1, "it was lost");
}

#[test]
fn topics_that_come_and_go_change_the_target() {
    let mut bench = two();
    bench.image = image(&[6]);
    let image = Arc::clone(&bench.image);
    bench.step(Input::Image(image));
    bench.wait(1000);
    bench.beat("a", 3, None);
    assert_eq!(bench.begun[0].2.partitions().map(|(_, index)| index).collect::<Vec<_>>(), [4, 5]);
    bench.begin(true);
    bench.land_all();
    bench.wait(1000);
    assert_eq!(size(&bench.beat("a", 4, None)), Some(3));
    bench.image = Arc::new(Image::default());
    let image = Arc::clone(&bench.image);
    bench.step(Input::Image(image));
    bench.step(Input::TopicsDeleted(vec![TopicId([1; 16])]));
    bench.land_all();
    bench.wait(1000);
    assert_eq!(size(&bench.beat("a", 5, None)), Some(0));
    let empty =
        |record: &Record| matches!(record, Record::Target { value: Some(value), .. } if value.0.is_empty());
    assert_eq!(bench.machine.snapshot().iter().filter(|record| empty(record)).count(), 2, "of both members");
    let epoch = bench.beat("a", 6, None).member_epoch;
    bench.wait(1000);
    assert_eq!(bench.beat("a", 6, None).member_epoch, epoch, "and then it is quiet");
}

#[test]
fn offsets_are_altered_and_deleted_while_nobody_is_there() {
    let mut bench = two();
    let partitions = Assignment([(TopicId([1; 16]), BTreeSet::from([1, 2]))].into());
    let topics = BTreeSet::from([TopicId([1; 16]), TopicId([9; 16])]);
    let ask = |bench: &mut Bench, alters: bool| {
        let (partitions, topics) = (partitions.clone(), topics.clone());
        let group = "g".into();
        let ticket = bench.ask(if alters {
            Request::AlterOffsets { group, partitions }
        } else {
            Request::DeleteOffsets { group, topics }
        });
        bench.land_all();
        bench.replies.remove(&ticket).unwrap()
    };
    assert_eq!(ask(&mut bench, true), Reply::AlterOffsets(Err(ErrorCode::NonEmptyGroup)));
    assert_eq!(ask(&mut bench, false), Reply::DeleteOffsets(Err(ErrorCode::NonEmptyGroup)));
    for member in ["a", "b"] {
        bench.beat(member, -1, None);
    }
    assert_eq!(ask(&mut bench, true), Reply::AlterOffsets(Ok(6)));
    let kept = |bench: &Bench| {
        let topics = bench.machine.snapshot().into_iter().find_map(|record| match record {
            Record::Topics { value, .. } => value,
            _ => None,
        });
        let topics = topics.unwrap();
        (topics.initializing.len(), topics.initialized.len(), topics.deleting.len())
    };
    assert_eq!(kept(&bench), (1, 1, 0));
    let wall = bench.wall();
    bench.step(Input::Initialized { wall, group: "g".into(), partitions: partitions.clone(), done: true });
    bench.land_all();
    assert_eq!(kept(&bench), (0, 1, 0));
    let Reply::DeleteOffsets(Ok(gone)) = ask(&mut bench, false) else { panic!("refused") };
    assert_eq!(gone.partitions().count(), 4);
    assert_eq!(kept(&bench), (0, 0, 1));
    bench.step(Input::StateDeleted { group: "g".into(), topics: vec![TopicId([1; 16])] });
    bench.land_all();
    assert!(!bench.machine.snapshot().iter().any(|record| matches!(record, Record::Topics { .. })));
    assert_eq!(
        ask(&mut bench, false),
        Reply::DeleteOffsets(Ok(Assignment::default())),
        "there is nothing left"
    );
}

#[test]
fn one_append_at_a_time_and_so_many_who_wait() {
    let mut bench = Bench::new(image(&[4]));
    for number in 0..HEARTBEATS_PARKED_MAX + 3 {
        bench.ask(Request::Heartbeat(heartbeat(&format!("m{number}"), 0, Some(&["t1"]))));
    }
    assert_eq!((bench.flights.len(), bench.replies.len()), (1, 3));
    bench.land_all();
    let joined = |reply: &&Reply| matches!(reply, Reply::Heartbeat(reply) if reply.error.is_ok());
    assert_eq!((bench.replies.values().filter(joined).count(), bench.machine.parked()), (4, 0));
    bench.ask(Request::Heartbeat(heartbeat("m0", -1, None)));
    bench.ask(Request::Heartbeat(heartbeat("m1", -1, None)));
    let told = bench.replies.len();
    bench.step(Input::Unload);
    assert_eq!((bench.replies.len(), bench.machine.parked()), (told + 2, 0));
}

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
                self.bench.step(Input::Image(image));
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
