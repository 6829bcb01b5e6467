//! A coordinator at its limits: one step never emits more than `Effects` holds, and memory has its budget.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::Arc;

use bytes::Bytes;
use coordination::effects::Effects;
use coordination::group::consumer::{ConsumerRecord, Partitions};
use coordination::group::limits::{GROUP_MEMBERS_MAX, JOINS_PARKED_MAX, REQUESTS_PARKED_MAX};
use coordination::group::{
    CommitPartition, CommitTopic, ConsumerHeartbeat, Coordinator, Effect, GroupSettings, Input, Join,
    OffsetCommit, Record, Reply, Request,
};
use coordination::machine::Machine;
use coordination::metadata::{Image, Overrides, Record as Change};
use model::{ErrorCode, Offset, Tick, TimestampMs, TopicId};

struct Bench {
    machine: Coordinator,
    now: u64,
    tickets: u64,
    appends: Vec<(u64, Vec<Record>)>,
    replies: Vec<(u64, Reply)>,
}

impl Bench {
    fn new(settings: GroupSettings) -> Self {
        let mut machine = Coordinator::new(settings, 1);
        machine.loaded(Tick(0), TimestampMs(0), &mut Effects::new());
        Self { machine, now: 0, tickets: 0, appends: Vec::new(), replies: Vec::new() }
    }

    /// Panics when a step emits more than a step may.
    fn step(&mut self, input: Input) {
        let mut effects = Effects::new();
        self.machine.step(Tick(self.now), input, &mut effects);
        for effect in effects.drain() {
            match effect {
                Effect::Append { id, records } => self.appends.push((id, records)),
                Effect::Reply { ticket, reply } => self.replies.push((ticket, reply)),
                Effect::InitializeShares { .. } => panic!("there are no share groups"),
            }
        }
    }

    fn ask(&mut self, request: Request) -> u64 {
        self.tickets += 1;
        let (ticket, wall) = (self.tickets, TimestampMs(i64::try_from(self.now).unwrap()));
        self.step(Input::Request { ticket, wall, request });
        ticket
    }

    fn land(&mut self) {
        if let Some((last, _)) = self.appends.last() {
            let last = *last;
            self.appends.clear();
            self.step(Input::Durable(last));
        }
    }

    fn tick(&mut self, ms: u64) {
        let end = self.now + ms;
        while let Some(due) = self.machine.next_deadline().filter(|due| due.0 <= end) {
            self.now = self.now.max(due.0);
            self.step(Input::Tick { wall: TimestampMs(i64::try_from(self.now).unwrap()) });
        }
        self.now = end;
    }
}

fn join(group: &str, client: &str, metadata: usize) -> Request {
    Request::Join(Join {
        group: group.into(),
        member_id: String::new(),
        instance_id: None,
        client_id: client.into(),
        client_host: "/10.0.0.1".into(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 60_000,
        protocol_type: "consumer".into(),
        protocols: vec![("range".into(), Bytes::from(vec![0; metadata]))],
        require_known_member_id: false,
        can_skip_assignment: false,
    })
}

fn commit(group: &str, topics: std::ops::Range<usize>) -> Request {
    let topic = |number: usize| CommitTopic {
        name: format!("topic-{number}"),
        topic_id: TopicId::ZERO,
        partitions: vec![CommitPartition {
            partition: 0,
            offset: Offset(1),
            leader_epoch: -1,
            metadata: String::new(),
            commit_time: None,
        }],
    };
    Request::OffsetCommit(OffsetCommit {
        group: group.into(),
        member_id: String::new(),
        instance_id: None,
        generation: -1,
        retention_ms: None,
        knows_group_not_found: true,
        topics: topics.map(topic).collect(),
    })
}

#[test]
fn a_full_group_joins_in_one_step_and_the_next_member_is_refused() {
    let mut bench = Bench::new(GroupSettings::default());
    for _ in 0..GROUP_MEMBERS_MAX {
        bench.ask(join("g", "c", 10));
    }
    bench.ask(join("g", "c", 10));
    let Some((_, Reply::Join(refused))) = bench.replies.pop() else { panic!("parked above the limit") };
    assert_eq!(refused.error, ErrorCode::GroupMaxSizeReached);
    bench.land();
    bench.tick(60_000);
    assert_eq!(bench.replies.len(), GROUP_MEMBERS_MAX);
    // Nobody syncs: everybody is dropped.
    bench.tick(120_000);
    bench.land();
    assert_eq!(bench.machine.snapshot().len(), 1);
}

#[test]
fn more_requests_than_can_wait_are_told_to_come_again_and_all_are_answered_at_once() {
    let mut bench = Bench::new(GroupSettings::default());
    for number in 0..JOINS_PARKED_MAX + 10 {
        bench.ask(join(&format!("g{}", number % 50), "c", 10));
    }
    assert_eq!((bench.machine.parked(), bench.replies.len()), (JOINS_PARKED_MAX, 10));
    // Rebalances leave room for the rest.
    for number in JOINS_PARKED_MAX..REQUESTS_PARKED_MAX + 10 {
        bench.ask(commit(&format!("s{}", number % 50), number..number + 1));
    }
    assert_eq!((bench.machine.parked(), bench.replies.len()), (REQUESTS_PARKED_MAX, 20));
    let refused = |reply: &Reply| match reply {
        Reply::Join(join) => join.error == ErrorCode::CoordinatorNotAvailable,
        Reply::OffsetCommit(topics) => topics[0].partitions[0].1 == ErrorCode::CoordinatorNotAvailable,
        _ => false,
    };
    assert!(bench.replies.iter().all(|(_, reply)| refused(reply)));
    bench.replies.clear();
    bench.step(Input::Unload);
    assert_eq!(bench.replies.len(), REQUESTS_PARKED_MAX);
    assert_eq!((bench.machine.parked(), bench.machine.memory_bytes()), (0, 0));
}

#[test]
fn many_groups_and_offsets_expire_over_several_ticks() {
    let mut bench = Bench::new(GroupSettings { offsets_retention_minutes: 1, ..GroupSettings::default() });
    for number in 0..1000 {
        bench.ask(commit(&format!("g{number}"), 0..3));
        bench.land();
    }
    for part in 0..30 {
        bench.ask(commit("wide", part * 1000..part * 1000 + 1000));
        bench.land();
    }
    assert_eq!(bench.machine.snapshot().len(), 33_000);
    bench.tick(600_000);
    assert!(bench.appends.len() > 1000, "one append per group, and several for the wide one");
    assert!(bench.appends.iter().all(|(_, records)| records.len() <= 1024));
    bench.land();
    assert!(bench.machine.is_empty());
    assert_eq!(bench.machine.memory_bytes(), 0);
}

#[test]
fn a_long_list_of_groups_is_deleted_as_far_as_one_step_goes() {
    let mut bench = Bench::new(GroupSettings::default());
    let groups: Vec<String> = (0..3000).map(|number| format!("g{number}")).collect();
    for group in &groups {
        bench.ask(commit(group, 0..1));
        bench.land();
    }
    bench.replies.clear();
    let mut rest = groups;
    for _ in 0..6 {
        bench.ask(Request::Delete(std::mem::take(&mut rest)));
        bench.land();
        let Some((_, Reply::Delete(verdicts))) = bench.replies.pop() else { panic!("no answer") };
        let again = verdicts.into_iter().filter(|(_, error)| *error == ErrorCode::CoordinatorNotAvailable);
        rest = again.map(|(group, _)| group).collect();
    }
    assert!(rest.is_empty() && bench.machine.is_empty());
}

#[test]
fn topics_with_offsets_in_many_groups_are_forgotten_in_one_step() {
    let mut bench = Bench::new(GroupSettings::default());
    for number in 0..3000 {
        bench.ask(commit(&format!("g{number}"), 0..2));
        bench.land();
    }
    let topics = vec![("topic-0".into(), TopicId([1; 16])), ("topic-1".into(), TopicId([2; 16]))];
    bench.step(Input::TopicsDeleted { wall: TimestampMs(0), topics });
    bench.land();
    assert!(bench.machine.snapshot().is_empty());
}

#[test]
fn memory_has_its_budget_and_what_exists_goes_on() {
    let memory_bytes_max = 100_000;
    let mut bench = Bench::new(GroupSettings { memory_bytes_max, ..GroupSettings::default() });
    for number in 0..2000 {
        bench.ask(commit("s", number..number + 1));
        bench.ask(join("g", "c", 5000));
        bench.land();
        assert!(bench.machine.memory_bytes() < memory_bytes_max + 10_000);
    }
    let last =
        |bench: &Bench, ticket: u64| bench.replies.iter().find(|(of, _)| *of == ticket).unwrap().1.clone();
    let refused = bench.ask(commit("s", 5000..5001));
    let Reply::OffsetCommit(topics) = last(&bench, refused) else { panic!("another kind") };
    assert_eq!(topics[0].partitions[0].1, ErrorCode::InvalidCommitOffsetSize);
    let known = bench.ask(commit("s", 0..1));
    bench.land();
    let Reply::OffsetCommit(topics) = last(&bench, known) else { panic!("another kind") };
    assert_eq!(topics[0].partitions[0].1, ErrorCode::None);
    let large = Bench::new(GroupSettings::default()).ask(join("g", "c", 10));
    assert_eq!(large, 1);
    let mut bench = Bench::new(GroupSettings::default());
    let ticket = bench.ask(join("g", "c", 2 << 20));
    let Reply::Join(join) = last(&bench, ticket) else { panic!("another kind") };
    assert_eq!(join.error, ErrorCode::InvalidRequest);
}

/// Topics of these names, with a partition each.
fn image(names: impl Iterator<Item = String>) -> Arc<Image> {
    let mut image = Image::default();
    for (number, name) in names.enumerate() {
        let index = number as u64 + 1;
        let id = TopicId(u128::from(index).to_be_bytes());
        image.apply(index, &Change::TopicCreated { id, name, partitions: 1, configs: Overrides::new() });
    }
    Arc::new(image)
}

/// A heartbeat of a member in this epoch, and what is looked up behind it. Gives its next epoch.
fn beat(bench: &mut Bench, member: &str, regex: &str, epoch: i32) -> i32 {
    let joins = epoch == 0;
    bench.ask(Request::ConsumerHeartbeat(Box::new(ConsumerHeartbeat {
        group: "g".into(),
        member_id: member.into(),
        makes_own_id: true,
        epoch,
        instance_id: None,
        rack_id: None,
        rebalance_timeout_ms: if joins { 60_000 } else { -1 },
        client_id: "c".into(),
        client_host: "/10.0.0.1".into(),
        topics: joins.then(Vec::new),
        regex: joins.then(|| regex.into()),
        assignor: None,
        owned: joins.then(Partitions::new),
    })));
    bench.land();
    bench.tick(0);
    bench.land();
    let Some((_, Reply::ConsumerHeartbeat(reply))) = bench.replies.pop() else { panic!("no answer") };
    assert_eq!(reply.refused, None);
    reply.epoch
}

/// How many topics each regular expression means that was looked up.
fn resolved(bench: &Bench) -> Vec<(String, usize)> {
    let records = bench.machine.snapshot().into_iter().filter_map(|record| match record {
        Record::Consumer { change: ConsumerRecord::Regex { pattern, value }, .. } => {
            Some((pattern.to_string(), value?.topics.len()))
        }
        _ => None,
    });
    records.collect()
}

#[test]
fn what_regular_expressions_mean_has_to_fit_the_budget() {
    let memory_bytes_max = 100_000;
    let mut bench = Bench::new(GroupSettings { memory_bytes_max, ..GroupSettings::default() });
    let name = |number| format!("{}-{number}", if number % 200 == 0 { "few" } else { "many" });
    bench.machine.set_image(image((0..2000).map(name)));
    beat(&mut bench, "m1", "many-.*", 0);
    let epoch = beat(&mut bench, "m2", "few-.*", 0);
    assert_eq!(resolved(&bench), [("few-.*".to_owned(), 10)]);
    assert!(bench.machine.memory_bytes() < memory_bytes_max);
    // It is tried again, after a while.
    bench.machine.set_memory_bytes_max(10 << 20);
    let epoch = beat(&mut bench, "m2", "few-.*", epoch);
    assert_eq!(resolved(&bench).len(), 1);
    bench.tick(10_000);
    beat(&mut bench, "m2", "few-.*", epoch);
    assert_eq!(resolved(&bench), [("few-.*".to_owned(), 10), ("many-.*".to_owned(), 1990)]);
}

#[test]
fn one_append_takes_so_much_of_what_regular_expressions_mean() {
    let mut bench = Bench::new(GroupSettings::default());
    // Each of them means more than REGEX_BYTES_PER_APPEND.
    bench.machine.set_image(image((0..14_000).map(|number| format!("t-{number:0>240}"))));
    beat(&mut bench, "m1", "t-.*", 0);
    let epoch = beat(&mut bench, "m2", "t.*", 0);
    assert_eq!(resolved(&bench), [("t.*".to_owned(), 14_000)]);
    bench.tick(10_000);
    beat(&mut bench, "m2", "t.*", epoch);
    assert_eq!(resolved(&bench), [("t-.*".to_owned(), 14_000), ("t.*".to_owned(), 14_000)]);
}
