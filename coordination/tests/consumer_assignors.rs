//! What assignors promise, over random groups.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use coordination::group::consumer::partitions::{count, each, has};
use coordination::group::consumer::{Assignor, MemberSpec, Partitions, Spec, Targets};
use model::TopicId;
use proptest::prelude::*;

/// Topics by number, with how many partitions they have; members with their topics and last targets.
#[derive(Clone, Debug)]
struct World {
    topics: Vec<i32>,
    members: Vec<Member>,
}

/// Topics it reads, and its last target.
type Member = (Vec<usize>, Vec<(usize, i32)>);

fn topic(number: usize) -> TopicId {
    let mut id = [0; 16];
    id[14..].copy_from_slice(&u16::try_from(number + 1).unwrap().to_be_bytes());
    TopicId(id)
}

fn partitions(all: &[(usize, i32)]) -> Partitions {
    let mut partitions = Partitions::new();
    for &(of, partition) in all {
        partitions.entry(topic(of)).or_default().insert(partition);
    }
    partitions
}

impl World {
    fn lasts(&self) -> Vec<Partitions> {
        self.members.iter().map(|(_, last)| partitions(last)).collect()
    }

    fn spec<'a>(&self, lasts: &'a [Partitions]) -> Spec<'a> {
        let mut spec = Spec::default();
        for (number, ((topics, _), last)) in self.members.iter().zip(lasts).enumerate() {
            let topics: BTreeSet<TopicId> = topics.iter().map(|number| topic(*number)).collect();
            for &topic in &topics {
                let number = usize::from(u16::from_be_bytes([topic.0[14], topic.0[15]])) - 1;
                spec.topics.insert(topic, self.topics[number]);
            }
            let topics: Arc<[TopicId]> = topics.into_iter().collect();
            let member = MemberSpec { instance_id: None, rack_id: None, topics, last };
            spec.members.insert(format!("m{number:02}").into(), member);
        }
        spec
    }
}

/// Every partition that somebody reads belongs to exactly one of its readers.
fn check_complete(spec: &Spec<'_>, targets: &Targets) {
    let mut owners: BTreeMap<(TopicId, i32), &str> = BTreeMap::new();
    for (member, target) in targets {
        for (topic, partition) in each(target) {
            assert!(spec.members[member].topics.contains(&topic), "{member} does not read {topic}");
            assert!((0..spec.topics[&topic]).contains(&partition));
            assert_eq!(owners.insert((topic, partition), member), None, "two owners of {topic}/{partition}");
        }
    }
    let total: i32 = spec.topics.values().sum();
    assert_eq!(i32::try_from(owners.len()).unwrap(), total);
}

/// The targets again, as the last ones of the same members.
fn again<'a>(spec: &Spec<'_>, targets: &'a Targets, none: &'a Partitions) -> Spec<'a> {
    let mut next = Spec { topics: spec.topics.clone(), ..Spec::default() };
    for (id, member) in &spec.members {
        let last = targets.get(id).unwrap_or(none);
        let topics = Arc::clone(&member.topics);
        next.members.insert(Arc::clone(id), MemberSpec { instance_id: None, rack_id: None, topics, last });
    }
    next
}

fn loads(spec: &Spec<'_>, targets: &Targets) -> BTreeMap<Arc<str>, usize> {
    spec.members.keys().map(|id| (Arc::clone(id), targets.get(id).map_or(0, count))).collect()
}

fn world(alike: bool) -> impl Strategy<Value = World> {
    (proptest::collection::vec(1..12_i32, 1..6), 1..9_usize).prop_flat_map(move |(topics, members)| {
        let count = topics.len();
        let own = proptest::collection::vec(0..count, 0..=count);
        let last = proptest::collection::vec((0..count + 1, -1..14_i32), 0..20);
        let members = proptest::collection::vec((own, last), members);
        (Just(topics), members).prop_map(move |(topics, mut members)| {
            if alike {
                let same = members[0].0.clone();
                members.iter_mut().for_each(|member| member.0.clone_from(&same));
            }
            World { topics, members }
        })
    })
}

proptest! {
    #[test]
    fn everything_is_shared_out_once_and_stays(world in world(false), range in any::<bool>()) {
        let assignor = if range { Assignor::Range } else { Assignor::Uniform };
        let lasts = world.lasts();
        let spec = world.spec(&lasts);
        let targets = assignor.assign(&spec);
        check_complete(&spec, &targets);
        let none = Partitions::new();
        let next = assignor.assign(&again(&spec, &targets, &none));
        let filled = |targets: &Targets| -> Targets {
            targets.iter().filter(|(_, target)| !target.is_empty()).map(|(id, target)| (Arc::clone(id), target.clone())).collect()
        };
        prop_assert_eq!(filled(&next), filled(&targets), "nothing changed, so nothing moves");
    }

    #[test]
    fn uniform_shares_of_equal_readers_differ_by_one(world in world(true)) {
        let lasts = world.lasts();
        let spec = world.spec(&lasts);
        let loads = loads(&spec, &Assignor::Uniform.assign(&spec));
        let (least, most) = (loads.values().min().unwrap(), loads.values().max().unwrap());
        prop_assert!(most - least <= 1, "{loads:?}");
    }

    #[test]
    fn uniform_leaves_nothing_to_even_out(world in world(false)) {
        let lasts = world.lasts();
        let spec = world.spec(&lasts);
        let targets = Assignor::Uniform.assign(&spec);
        let loads = loads(&spec, &targets);
        for (id, target) in &targets {
            for (topic, _) in each(target) {
                let readers = spec.members.iter().filter(|(_, member)| member.topics.contains(&topic));
                for (other, _) in readers {
                    prop_assert!(loads[other] + 1 >= loads[id], "{other} could have one of {id}: {loads:?}");
                }
            }
        }
    }

    #[test]
    fn uniform_moves_no_more_than_it_must(topics in proptest::collection::vec(1..12_i32, 1..4), members in 2..8_usize) {
        // All at home, then one more joins: what moves goes to the newcomer.
        let all: Vec<usize> = (0..topics.len()).collect();
        let mut world = World { topics, members: vec![(all.clone(), Vec::new()); members] };
        let lasts = world.lasts();
        let before = Assignor::Uniform.assign(&world.spec(&lasts));
        world.members.push((all, Vec::new()));
        let mut lasts: Vec<Partitions> = before.values().cloned().collect();
        lasts.push(Partitions::new());
        let after = Assignor::Uniform.assign(&world.spec(&lasts));
        for (id, target) in &before {
            for (topic, partition) in each(&after[id]) {
                prop_assert!(has(target, topic, partition), "{id} got what another had");
            }
        }
    }

    #[test]
    fn range_gives_the_same_partitions_of_like_topics(count in 1..12_i32, topics in 2..5_usize, members in 1..6_usize, last in proptest::collection::vec((0..5_usize, 0..5_usize, 0..12_i32), 0..20)) {
        let all: Vec<usize> = (0..topics).collect();
        let mut world = World { topics: vec![count; topics], members: vec![(all, Vec::new()); members] };
        for (member, of, partition) in last {
            world.members[member % members].1.push((of % topics, partition));
        }
        let lasts = world.lasts();
        let spec = world.spec(&lasts);
        let targets = Assignor::Range.assign(&spec);
        check_complete(&spec, &targets);
        for target in targets.values() {
            let mut sets = (0..topics).map(|number| target.get(&topic(number)));
            let first = sets.next().unwrap();
            prop_assert!(sets.all(|set| set == first), "{target:?}");
        }
        let loads = loads(&spec, &targets);
        let spread = loads.values().max().unwrap() - loads.values().min().unwrap();
        prop_assert!(spread <= topics);
    }
}

#[test]
fn range_gives_ranges() {
    let world = World { topics: vec![7], members: vec![(vec![0], Vec::new()); 3] };
    let lasts = world.lasts();
    let targets = Assignor::Range.assign(&world.spec(&lasts));
    let shares: Vec<Vec<i32>> =
        targets.values().map(|target| target[&topic(0)].iter().copied().collect()).collect();
    assert_eq!(shares, [vec![0, 1, 2], vec![3, 4], vec![5, 6]]);
}

/// This would take a while if each topic looked through all of each share.
#[test]
fn uniform_takes_many_topics_with_different_readers() {
    let all: Vec<usize> = (0..4000).collect();
    let most = all[1..].to_vec();
    let world = World { topics: vec![10; all.len()], members: vec![(all, Vec::new()), (most, Vec::new())] };
    let lasts = world.lasts();
    let spec = world.spec(&lasts);
    let targets = Assignor::Uniform.assign(&spec);
    assert!(targets.values().all(|target| count(target) == 20_000));
    let none = Partitions::new();
    assert!(Assignor::Uniform.assign(&again(&spec, &targets, &none)) == targets);
}

#[test]
fn nobody_and_nothing() {
    for assignor in Assignor::ALL {
        assert!(assignor.assign(&Spec::default()).values().all(Partitions::is_empty));
        let world = World { topics: vec![3], members: vec![(Vec::new(), Vec::new()); 2] };
        let lasts = world.lasts();
        assert!(assignor.assign(&world.spec(&lasts)).values().all(Partitions::is_empty));
        assert_eq!(Assignor::named(assignor.name()), Some(assignor));
    }
}
