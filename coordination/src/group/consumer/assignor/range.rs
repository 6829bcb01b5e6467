//! Topic by topic, each member gets a range. Topics with as many partitions and the same subscribers are shared out
//! alike, so that whoever reads one partition of a join has the other too. What a member was to have stays where it
//! was, as far as that allows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::TopicId;

use super::{Spec, Targets};

pub(super) fn assign(spec: &Spec<'_>) -> Targets {
    // Static members first, by their instance: their order outlives restarts.
    let mut members: Vec<&Arc<str>> = spec.members.keys().collect();
    members.sort_by_key(|id| {
        let instance = spec.members.get(*id).and_then(|member| member.instance_id);
        (instance.is_none(), instance, *id)
    });
    let mut subscribers: BTreeMap<TopicId, Vec<usize>> = BTreeMap::new();
    for (number, id) in members.iter().enumerate() {
        let topics = spec.members.get(*id).into_iter().flat_map(|member| member.topics.iter());
        for topic in topics {
            subscribers.entry(*topic).or_default().push(number);
        }
    }
    let mut alike: BTreeMap<(i32, Vec<usize>), Vec<TopicId>> = BTreeMap::new();
    for (topic, of_topic) in subscribers {
        let count = spec.topics.get(&topic).copied().unwrap_or(0);
        alike.entry((count, of_topic)).or_default().push(topic);
    }
    let mut targets: Targets = spec.members.keys().map(|id| (Arc::clone(id), BTreeMap::new())).collect();
    for ((count, of_topics), topics) in alike {
        let last = last_owners(spec, &members, &of_topics, &topics, count);
        for (share, member) in shares(count, of_topics.len(), &last).into_iter().zip(&of_topics) {
            let Some(target) = members.get(*member).and_then(|id| targets.get_mut(*id)) else { continue };
            if !share.is_empty() {
                for topic in &topics {
                    target.insert(*topic, share.clone());
                }
            }
        }
    }
    targets
}

/// Which of the subscribers was to have each partition, in the first of the topics in which one was.
fn last_owners(
    spec: &Spec<'_>,
    members: &[&Arc<str>],
    of_topics: &[usize],
    topics: &[TopicId],
    count: i32,
) -> BTreeMap<i32, usize> {
    let mut owners = BTreeMap::new();
    for topic in topics {
        for (place, member) in of_topics.iter().enumerate() {
            let last = members.get(*member).and_then(|id| spec.members.get(*id)?.last.get(topic));
            for &partition in last.into_iter().flat_map(|last| last.range(0..count.max(0))) {
                owners.entry(partition).or_insert(place);
            }
        }
    }
    owners
}

/// The partitions of each subscriber: equally many, or one more for some; first what it had, then ranges.
fn shares(count: i32, subscribers: usize, last: &BTreeMap<i32, usize>) -> Vec<BTreeSet<i32>> {
    let mut shares = vec![BTreeSet::new(); subscribers];
    let total = usize::try_from(count).unwrap_or(0);
    let (Some(least), Some(mut larger)) = (total.checked_div(subscribers), total.checked_rem(subscribers))
    else {
        return shares;
    };
    let mut more = vec![false; subscribers];
    for (&partition, &place) in last {
        let (Some(share), Some(more)) = (shares.get_mut(place), more.get_mut(place)) else { continue };
        if share.len() < least {
            share.insert(partition);
        } else if larger > 0 && !*more {
            (*more, larger) = (true, larger - 1);
            share.insert(partition);
        }
    }
    let taken: BTreeSet<i32> = shares.iter().flatten().copied().collect();
    let mut free = (0..count).filter(|partition| !taken.contains(partition));
    for (share, more) in shares.iter_mut().zip(more) {
        let extra = !more && larger > 0;
        larger -= usize::from(extra);
        let missing = (least + usize::from(extra)).saturating_sub(share.len());
        share.extend(free.by_ref().take(missing));
    }
    shares
}
