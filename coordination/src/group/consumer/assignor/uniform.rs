//! Everybody gets as many partitions as the others, or one more; what a member was to have stays where it was, as far
//! as that allows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::TopicId;

use super::{Spec, Targets, sticky};

pub(super) fn assign(spec: &Spec<'_>) -> Targets {
    let mut subscriptions = spec.members.values().map(|member| &member.topics);
    let first = subscriptions.next();
    if subscriptions.all(|topics| Some(topics) == first) { homogeneous(spec) } else { heterogeneous(spec) }
}

/// Every partition of the topics that somebody subscribes to.
fn all_partitions(spec: &Spec<'_>) -> Vec<(TopicId, i32)> {
    let subscribed: BTreeSet<TopicId> =
        spec.members.values().flat_map(|member| member.topics.iter().copied()).collect();
    let topics = subscribed.iter().filter_map(|topic| Some((*topic, *spec.topics.get(topic)?)));
    topics.flat_map(|(topic, count)| (0..count).map(move |partition| (topic, partition))).collect()
}

/// What one member gets.
type Share = Vec<(TopicId, i32)>;

/// What each member keeps at first, in the order of members: nothing twice.
fn kept(spec: &Spec<'_>) -> (Vec<Share>, BTreeSet<(TopicId, i32)>) {
    let mut taken = BTreeSet::new();
    let mut kept = Vec::with_capacity(spec.members.len());
    for member in spec.members.values() {
        kept.push(sticky(member, spec).filter(|partition| taken.insert(*partition)).collect());
    }
    (kept, taken)
}

fn ids(spec: &Spec<'_>) -> Vec<Arc<str>> {
    spec.members.keys().cloned().collect()
}

fn targets(ids: Vec<Arc<str>>, shares: Vec<Share>) -> Targets {
    let mut targets = Targets::new();
    for (id, share) in ids.into_iter().zip(shares) {
        let target = targets.entry(id).or_default();
        for (topic, partition) in share {
            target.entry(topic).or_default().insert(partition);
        }
    }
    targets
}

/// All members subscribe to the same: shares differ by one at most, and nothing moves that need not.
fn homogeneous(spec: &Spec<'_>) -> Targets {
    let (mut shares, mut taken) = kept(spec);
    let ids = ids(spec);
    let all = all_partitions(spec);
    if ids.is_empty() {
        return Targets::new();
    }
    let (least, mut larger) = (all.len() / ids.len(), all.len() % ids.len());
    // Whoever has most keeps one more.
    let mut by_size: Vec<usize> = (0..ids.len()).collect();
    by_size.sort_by_key(|&member| std::cmp::Reverse(shares.get(member).map_or(0, Vec::len)));
    let mut wanting = Vec::new();
    for member in by_size {
        let quota = least + usize::from(larger > 0);
        larger = larger.saturating_sub(1);
        let Some(share) = shares.get_mut(member) else { continue };
        for partition in share.drain(quota.min(share.len())..) {
            taken.remove(&partition);
        }
        if share.len() < quota {
            wanting.push((member, quota - share.len()));
        }
    }
    let mut free = all.into_iter().filter(|partition| !taken.contains(partition));
    wanting.sort_unstable();
    for (member, missing) in wanting {
        if let Some(share) = shares.get_mut(member) {
            share.extend(free.by_ref().take(missing));
        }
    }
    targets(ids, shares)
}

/// Members subscribe to different topics: no partition could move to a member that has two less.
fn heterogeneous(spec: &Spec<'_>) -> Targets {
    let (shares, taken) = kept(spec);
    let ids = ids(spec);
    let mut loads: Vec<usize> = shares.iter().map(Vec::len).collect();
    let mut subscribers: BTreeMap<TopicId, Vec<usize>> = BTreeMap::new();
    for (number, member) in spec.members.values().enumerate() {
        for topic in member.topics.iter() {
            subscribers.entry(*topic).or_default().push(number);
        }
    }
    let nothing = |(&topic, members): (&TopicId, &Vec<usize>)| (topic, vec![Vec::new(); members.len()]);
    let mut owned: BTreeMap<TopicId, Vec<Vec<i32>>> = subscribers.iter().map(nothing).collect();
    // Each share is looked at once: there may be many topics, and large shares.
    for (member, share) in shares.iter().enumerate() {
        for (topic, partition) in share {
            let place = subscribers.get(topic).and_then(|members| members.binary_search(&member).ok());
            if let (Some(place), Some(of_topic)) = (place, owned.get_mut(topic)) {
                give(of_topic, place, *partition);
            }
        }
    }
    // The topics that fewest can read are shared out first: the others make up for them.
    let mut order: Vec<TopicId> = subscribers.keys().copied().collect();
    order.sort_by_key(|topic| subscribers.get(topic).map_or(0, Vec::len));
    for topic in &order {
        let (Some(members), Some(of_topic)) = (subscribers.get(topic), owned.get_mut(topic)) else {
            continue;
        };
        let count = spec.topics.get(topic).copied().unwrap_or(0);
        let mut by_load: BTreeSet<(usize, usize)> = places(members, &loads).collect();
        for partition in (0..count).filter(|partition| !taken.contains(&(*topic, *partition))) {
            let Some((load, place)) = by_load.pop_first() else { break };
            give(of_topic, place, partition);
            load_of(&mut loads, members, place, load + 1);
            by_load.insert((load + 1, place));
        }
    }
    // Each move takes from one who has two more than the other, so the sum of squares falls and this ends.
    loop {
        let mut moved = false;
        for topic in &order {
            let (Some(members), Some(of_topic)) = (subscribers.get(topic), owned.get_mut(topic)) else {
                continue;
            };
            moved |= even_out(members, of_topic, &mut loads);
        }
        if !moved {
            break;
        }
    }
    let mut targets: Targets = ids.iter().map(|id| (Arc::clone(id), BTreeMap::new())).collect();
    for (topic, of_topic) in owned {
        let members = subscribers.get(&topic).into_iter().flatten();
        for (member, share) in members.zip(of_topic) {
            let target = ids.get(*member).and_then(|id| targets.get_mut(id));
            if let (Some(target), false) = (target, share.is_empty()) {
                target.insert(topic, share.into_iter().collect());
            }
        }
    }
    targets
}

/// Load and place in its topic of each subscriber.
fn places<'a>(members: &'a [usize], loads: &'a [usize]) -> impl Iterator<Item = (usize, usize)> + 'a {
    members.iter().enumerate().map(|(place, member)| (loads.get(*member).copied().unwrap_or(0), place))
}

fn give(of_topic: &mut [Vec<i32>], place: usize, partition: i32) {
    if let Some(share) = of_topic.get_mut(place) {
        share.push(partition);
    }
}

fn load_of(loads: &mut [usize], members: &[usize], place: usize, load: usize) {
    if let Some(of) = members.get(place).and_then(|member| loads.get_mut(*member)) {
        *of = load;
    }
}

/// Moves partitions of one topic from who has most to who has least, while that makes them more equal.
fn even_out(members: &[usize], of_topic: &mut [Vec<i32>], loads: &mut [usize]) -> bool {
    let mut by_load: BTreeSet<(usize, usize)> = places(members, loads).collect();
    let mut owners: BTreeSet<(usize, usize)> = by_load
        .iter()
        .filter(|(_, place)| of_topic.get(*place).is_some_and(|share| !share.is_empty()))
        .copied()
        .collect();
    let mut moved = false;
    while let (Some(&(most, from)), Some(&(least, to))) = (owners.last(), by_load.first()) {
        if least + 1 >= most {
            break;
        }
        let Some(partition) = of_topic.get_mut(from).and_then(Vec::pop) else { break };
        give(of_topic, to, partition);
        for (place, load, change) in [(from, most, most - 1), (to, least, least + 1)] {
            by_load.remove(&(load, place));
            owners.remove(&(load, place));
            by_load.insert((change, place));
            if of_topic.get(place).is_some_and(|share| !share.is_empty()) {
                owners.insert((change, place));
            }
            load_of(loads, members, place, change);
        }
        moved = true;
    }
    moved
}
