//! Which member takes records from which partitions: Kafka's `simple` assignor (KIP-932).
//!
//! Every partition has a member, and with more members than partitions each has as many as it takes for all of them to
//! have one. Who has much gives some up before anything else moves. When all members subscribe to the same topics all
//! partitions are shared out at once, else those of each topic by themselves.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use model::TopicId;

use super::group::Assignment;

/// A partition to share out.
type Partition = (TopicId, i32);

/// What each member has now, and the topics it wants.
#[derive(Clone, Debug)]
pub struct Wish<'a> {
    /// The target so far.
    pub has: &'a Assignment,
    /// Topics it subscribes to, as far as they exist.
    pub wants: BTreeSet<TopicId>,
}

/// The next target of each member. `assignable` are the partitions that have a state; others are left out.
#[must_use]
pub fn assign(
    members: &BTreeMap<Arc<str>, Wish<'_>>,
    assignable: &BTreeMap<TopicId, BTreeSet<i32>>,
) -> BTreeMap<Arc<str>, Assignment> {
    let wishes: Vec<&Wish<'_>> = members.values().collect();
    let alike = wishes.windows(2).all(|pair| pair[0].wants == pair[1].wants);
    let wanted: BTreeSet<TopicId> = wishes.iter().flat_map(|wish| wish.wants.iter().copied()).collect();
    let of = |topic: &TopicId| {
        let partitions = assignable.get(topic).into_iter().flatten();
        partitions.map(|partition| (*topic, *partition)).collect::<Vec<Partition>>()
    };
    let mut shares: Vec<Assignment> = vec![Assignment::default(); wishes.len()];
    let mut add = |partitions: &[Partition], takers: &[usize]| {
        let had: Vec<&Assignment> =
            takers.iter().filter_map(|taker| wishes.get(*taker)).map(|wish| wish.has).collect();
        for (taker, share) in takers.iter().zip(share_out(partitions, &had)) {
            let Some(into) = shares.get_mut(*taker) else { continue };
            for (topic, partition) in share {
                into.0.entry(topic).or_default().insert(partition);
            }
        }
    };
    if alike {
        let partitions: Vec<Partition> = wanted.iter().flat_map(of).collect();
        add(&partitions, &(0..wishes.len()).collect::<Vec<usize>>());
    } else {
        for topic in &wanted {
            let takers = wishes.iter().enumerate().filter(|(_, wish)| wish.wants.contains(topic));
            add(&of(topic), &takers.map(|(taker, _)| taker).collect::<Vec<usize>>());
        }
    }
    members.keys().cloned().zip(shares).collect()
}

/// Shares `partitions` out among as many takers as `had` has.
fn share_out(partitions: &[Partition], had: &[&Assignment]) -> Vec<BTreeSet<Partition>> {
    if partitions.is_empty() || had.is_empty() {
        return vec![BTreeSet::new(); had.len()];
    }
    let sharing = had.len().div_ceil(partitions.len());
    let places = sharing * partitions.len();
    // All places, in shares that differ by one at most.
    let share =
        |taker: usize| (places * (taker + 1)).div_ceil(had.len()) - (places * taker).div_ceil(had.len());

    let mut takers: BTreeMap<Partition, BTreeSet<usize>> =
        partitions.iter().map(|partition| (*partition, BTreeSet::new())).collect();
    let mut shares: Vec<BTreeSet<Partition>> = Vec::with_capacity(had.len());
    for (taker, had) in had.iter().enumerate() {
        let mut keeps = BTreeSet::new();
        for partition in had.partitions() {
            if keeps.len() < share(taker)
                && let Some(takers) = takers.get_mut(&partition)
                && takers.len() < sharing
            {
                takers.insert(taker);
                keeps.insert(partition);
            }
        }
        shares.push(keeps);
    }
    let mut unfilled: VecDeque<usize> = shares
        .iter()
        .enumerate()
        .filter(|(taker, has)| has.len() < share(*taker))
        .map(|(taker, _)| taker)
        .collect();
    for (partition, takers) in &mut takers {
        // Each may have it already: then the partition has fewer members than it could, as in Kafka.
        for _ in 0..unfilled.len() {
            if takers.len() >= sharing {
                break;
            }
            let Some(taker) = unfilled.pop_front() else { break };
            let Some(has) = shares.get_mut(taker) else { continue };
            if takers.insert(taker) {
                has.insert(*partition);
            }
            if has.len() < share(taker) {
                unfilled.push_back(taker);
            }
        }
    }
    shares
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn topic(byte: u8) -> TopicId {
        TopicId([byte; 16])
    }

    fn assignable(counts: &[i32]) -> BTreeMap<TopicId, BTreeSet<i32>> {
        (1..).zip(counts).map(|(byte, count)| (topic(byte), (0..*count).collect())).collect()
    }

    fn run(
        has: &BTreeMap<Arc<str>, Assignment>,
        wants: &BTreeMap<Arc<str>, Vec<u8>>,
        assignable: &BTreeMap<TopicId, BTreeSet<i32>>,
    ) -> BTreeMap<Arc<str>, Assignment> {
        let nothing = Assignment::default();
        let wish = |(member, wants): (&Arc<str>, &Vec<u8>)| {
            let wants = wants.iter().map(|byte| topic(*byte)).collect();
            (Arc::clone(member), Wish { has: has.get(member).unwrap_or(&nothing), wants })
        };
        assign(&wants.iter().map(wish).collect(), assignable)
    }

    fn members(count: usize, wants: &[u8]) -> BTreeMap<Arc<str>, Vec<u8>> {
        (0..count).map(|number| (format!("m{number:03}").into(), wants.to_vec())).collect()
    }

    fn sizes(assigned: &BTreeMap<Arc<str>, Assignment>) -> Vec<usize> {
        assigned.values().map(|one| one.partitions().count()).collect()
    }

    #[test]
    fn partitions_are_shared_when_there_are_more_members() {
        let none = BTreeMap::new();
        assert_eq!(sizes(&run(&none, &members(2, &[1]), &assignable(&[5]))), [3, 2]);
        assert_eq!(sizes(&run(&none, &members(5, &[1]), &assignable(&[2]))), [2, 1, 1, 1, 1]);
        assert_eq!(sizes(&run(&none, &members(3, &[1]), &assignable(&[0]))), [0, 0, 0]);
        assert_eq!(sizes(&run(&none, &members(4, &[1, 2]), &assignable(&[1, 1]))), [1, 1, 1, 1]);
        assert!(run(&none, &BTreeMap::new(), &assignable(&[3])).is_empty());
    }

    #[test]
    fn topics_go_to_those_who_want_them() {
        let mut wants = members(3, &[1]);
        wants.insert("m001".into(), vec![2]);
        wants.insert("m002".into(), vec![1, 2]);
        let assigned = run(&BTreeMap::new(), &wants, &assignable(&[4, 2]));
        let of = |member: &str, byte| assigned[member].0.get(&topic(byte)).map_or(0, BTreeSet::len);
        assert_eq!((of("m000", 1), of("m000", 2)), (2, 0));
        assert_eq!((of("m001", 1), of("m001", 2)), (0, 1));
        assert_eq!((of("m002", 1), of("m002", 2)), (2, 1));
    }

    proptest! {
        #[test]
        fn shares_are_even_whole_and_stay(rounds in proptest::collection::vec((1..12_usize, 0..6_i32, 0..4_i32), 1..5)) {
            let mut has = BTreeMap::new();
            for (count, first, second) in rounds {
                let (wants, assignable) = (members(count, &[1, 2]), assignable(&[first, second]));
                let next = run(&has, &wants, &assignable);
                let total = usize::try_from(first + second).unwrap();
                let places = if total == 0 { 0 } else { count.div_ceil(total) * total };
                prop_assert!(sizes(&next).iter().all(|size| *size <= places.div_ceil(count)));
                for (topic, partitions) in &assignable {
                    for partition in partitions {
                        let takers = next.values().filter(|one| one.partitions().any(|it| it == (*topic, *partition)));
                        let takers = takers.count();
                        prop_assert!(takers >= 1 && takers <= count.div_ceil(total));
                    }
                }
                prop_assert_eq!(&run(&next, &wants, &assignable), &next, "what is even stays");
                has = next;
            }
        }
    }
}
