//! Members of share groups: what Kafka 4.3.1 answers.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

mod share_bench;

use std::collections::BTreeSet;
use std::sync::Arc;

use coordination::metadata::Image;
use coordination::share::limits::HEARTBEATS_PARKED_MAX;
use coordination::share::membership::record::Record;
use coordination::share::membership::{Assignment, Input, Reply, Request};
use model::{ErrorCode, TopicId};

use share_bench::{Bench, heartbeat, image, size};

/// `a` and `b` share the four partitions of `t1`.
fn two() -> Bench {
    let mut bench = Bench::new(image(&[4, 2]));
    assert_eq!(size(&bench.beat("a", 0, Some(&["t1"]))), Some(0), "their state is not begun");
    assert_eq!(bench.begun.len(), 1);
    assert_eq!((bench.begun[0].1, bench.begun[0].2.partitions().count()), (2, 4));
    bench.begin(true);
    bench.land_all();
    bench.wait(1000);
    let all = bench.beat("a", 2, None);
    assert_eq!((all.member_epoch, size(&all)), (3, Some(4)));
    bench.wait(1000);
    let half = bench.beat("b", 0, Some(&["t1"]));
    assert_eq!((half.member_epoch, size(&half)), (4, Some(2)));
    let half = bench.beat("a", 3, None);
    assert_eq!((half.member_epoch, size(&half)), (4, Some(2)));
    bench
}

#[test]
fn partitions_are_shared_out_when_their_state_is_begun() {
    let mut bench = two();
    assert!(bench.begun.is_empty());
    let quiet = bench.beat("a", 4, None);
    assert_eq!((quiet.member_epoch, size(&quiet), quiet.heartbeat_interval_ms), (4, None, 5000));
    let full = bench.beat("a", 4, Some(&["t1"]));
    assert_eq!((full.member_epoch, size(&full)), (4, Some(2)), "who says everything is told everything");
    let before = bench.log.len();
    bench.restart();
    assert_eq!(bench.beat("b", 4, None).member_epoch, 4);
    assert_eq!(bench.log.len(), before, "nothing changed");
}

#[test]
fn a_target_rests_before_the_next() {
    let mut bench = two();
    let early = bench.beat("c", 0, Some(&["t1"]));
    assert_eq!((early.member_epoch, size(&early)), (4, Some(0)), "the target of epoch 4 has nothing for it");
    bench.wait(1000);
    let later = bench.beat("c", 4, None);
    assert_eq!((later.member_epoch, size(&later)), (5, Some(1)));
}

#[test]
fn epochs_fence_and_the_last_one_is_forgiven() {
    let mut bench = two();
    for (member, epoch, error) in [
        ("a", 5, ErrorCode::FencedMemberEpoch),
        ("a", 2, ErrorCode::FencedMemberEpoch),
        ("x", 3, ErrorCode::UnknownMemberId),
        ("x", -1, ErrorCode::UnknownMemberId),
        ("a", -2, ErrorCode::InvalidRequest),
        ("", 3, ErrorCode::InvalidRequest),
    ] {
        assert_eq!(bench.beat(member, epoch, None).error, error, "{member} {epoch}");
    }
    assert_eq!(bench.beat("x", 0, None).error, ErrorCode::InvalidRequest, "it subscribes to nothing");
    let again = bench.beat("a", 3, None);
    assert_eq!((again.error, again.member_epoch), (ErrorCode::None, 4), "the answer was lost");
    assert_eq!(bench.beat("a", 0, Some(&["t1"])).member_epoch, 4, "it came back");
    bench.wait(1000);
    bench.beat("c", 0, Some(&["t1"]));
    bench.beat("d", 0, Some(&["t1"]));
    assert_eq!(bench.beat("e", 0, Some(&["t1"])).error, ErrorCode::GroupMaxSizeReached);
    let mut other = heartbeat("a", 2, None);
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
    let all = bench.beat("a", 4, None);
    assert_eq!((all.member_epoch, size(&all)), (5, Some(4)));
    let deleted = |bench: &mut Bench| {
        let ticket = bench.ask(Request::Delete("g".into()));
        bench.land_all();
        bench.replies.remove(&ticket).unwrap()
    };
    assert_eq!(deleted(&mut bench), Reply::Done(ErrorCode::NonEmptyGroup));
    bench.wait(44_999);
    assert!(bench.flights.is_empty());
    bench.wait(1);
    assert!(bench.land(false), "given up");
    bench.wait(45_000);
    assert!(bench.land(true), "and once more, because the first time failed");
    assert_eq!(bench.beat("a", 5, None).error, ErrorCode::UnknownMemberId);
    let ticket = bench.ask(Request::Describe(vec!["g".into(), "h".into()]));
    let Reply::Describe(list) = &bench.replies[&ticket] else { panic!("no description") };
    let group = list[0].1.as_ref().unwrap();
    assert_eq!((group.epoch, group.members.len()), (6, 0));
    assert_eq!(list[1].1, Err((ErrorCode::GroupIdNotFound, "Group h not found.".to_owned())));
    assert_eq!(deleted(&mut bench), Reply::Done(ErrorCode::None));
    assert_eq!(deleted(&mut bench), Reply::Done(ErrorCode::GroupIdNotFound));
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
    bench.beat("a", 2, None);
    assert_eq!(bench.begun.len(), 1, "it failed");
    bench.begun.clear();
    bench.beat("a", 2, None);
    assert!(bench.begun.is_empty(), "it is on its way");
    bench.wait(30_000);
    bench.beat("a", 2, None);
    assert_eq!(bench.begun.len(), 1, "it was lost");
}

#[test]
fn topics_that_come_and_go_change_the_target() {
    let mut bench = two();
    bench.image = image(&[6]);
    let image = Arc::clone(&bench.image);
    bench.machine.set_image(image);
    bench.wait(1000);
    bench.beat("a", 4, None);
    assert_eq!(bench.begun[0].2.partitions().map(|(_, index)| index).collect::<Vec<_>>(), [4, 5]);
    bench.begin(true);
    bench.land_all();
    bench.wait(1000);
    assert_eq!(size(&bench.beat("a", 5, None)), Some(3));
    bench.image = Arc::new(Image::default());
    let image = Arc::clone(&bench.image);
    bench.machine.set_image(image);
    bench.step(Input::TopicsDeleted(vec![TopicId([1; 16])]));
    bench.land_all();
    bench.wait(1000);
    assert_eq!(size(&bench.beat("a", 6, None)), Some(0));
    let empty =
        |record: &Record| matches!(record, Record::Target { value: Some(value), .. } if value.0.is_empty());
    assert_eq!(bench.machine.snapshot().iter().filter(|record| empty(record)).count(), 2, "of both members");
    let epoch = bench.beat("a", 7, None).member_epoch;
    bench.wait(1000);
    assert_eq!(bench.beat("a", 7, None).member_epoch, epoch, "and then it is quiet");
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
            Request::DeleteOffsets { group, topics: Some(topics) }
        });
        bench.land_all();
        bench.replies.remove(&ticket).unwrap()
    };
    let not_empty = (ErrorCode::NonEmptyGroup, "The group is not empty.".to_owned());
    assert_eq!(ask(&mut bench, true), Reply::AlterOffsets(Err(not_empty.clone())));
    assert_eq!(ask(&mut bench, false), Reply::DeleteOffsets(Err(not_empty)));
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
    let Reply::DeleteOffsets(Ok(again)) = ask(&mut bench, false) else { panic!("refused") };
    assert_eq!(again, gone, "it may have failed");
    let ticket = bench.ask(Request::StateDeleted { group: "g".into(), topics: vec![TopicId([1; 16])] });
    bench.land_all();
    assert_eq!(bench.replies.remove(&ticket), Some(Reply::Done(ErrorCode::None)));
    assert_eq!(kept(&bench), (0, 0, 0));
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
