//! When a group enters another epoch, and what its members are to have in it.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::TopicId;

use super::super::INITIAL_EPOCH;
use super::Turn;
use super::assignor::{Assignor, MemberSpec, Spec};
use super::record::{ConsumerRecord, EpochValue, TargetEpochValue};
use super::state::{Draft, State};
use crate::metadata::Image;

/// A number for the topics that a group subscribes to, as they are: it changes when one comes, goes or grows. Never 0 where
/// there is one. The number is ours; a Kafka broker that reads it would only compute the targets once more.
fn metadata_hash(state: &State, image: &Image) -> i64 {
    // FNV-1a.
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut found = false;
    for topic in state.subscribed().into_iter().filter_map(|name| image.topic(name)) {
        found = true;
        let count = topic.partitions.to_be_bytes();
        for byte in topic.name.bytes().chain([0]).chain(topic.id.0).chain(count) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
    if found { hash.max(1).cast_signed() } else { 0 }
}

/// Enters the next epoch if `changed`, or if topics changed since the last one.
pub(super) fn renew_epoch(turn: &mut Turn<'_>, draft: &mut Draft<'_>, changed: bool) {
    let image = Arc::clone(&turn.desk.image);
    if !changed && turn.soft.seen == Some(image.applied()) {
        return;
    }
    turn.soft.seen = Some(image.applied());
    let metadata_hash = metadata_hash(draft.state(), &image);
    if changed || metadata_hash != draft.state().metadata_hash {
        // A group begins with its first epoch, and joining is the next; nobody has named a topic where a pattern is still to be looked up.
        let first = draft.state().epoch == 0 && draft.state().subscribed().is_empty();
        let epoch = draft.state().epoch.max(INITIAL_EPOCH).saturating_add(i32::from(!first));
        draft.push(ConsumerRecord::Epoch(Some(EpochValue { epoch, metadata_hash })));
    }
}

/// Computes the targets for the epoch, unless they were or were computed only just.
pub(super) fn renew_targets(turn: &Turn<'_>, draft: &mut Draft<'_>) {
    let state = draft.state();
    let (desk, image) = (&*turn.desk, Arc::clone(&turn.desk.image));
    let interval_ms = desk.settings.consumer.assignment_interval_ms(&image, turn.group);
    let since_ms = desk.wall.0.saturating_sub(state.target_time.0);
    let just_now = state.target_epoch > 0 && (0..i64::from(interval_ms)).contains(&since_ms);
    if state.epoch <= state.target_epoch || just_now {
        return;
    }
    let wanted = state.preferred_assignor().and_then(Assignor::named);
    let offered = &desk.settings.consumer.assignors;
    let default = offered.first().copied().unwrap_or(Assignor::Uniform);
    let assignor = wanted.filter(|wanted| offered.contains(wanted)).unwrap_or(default);
    let mut targets = assignor.assign(&spec(state, &image));
    let changes: Vec<ConsumerRecord> = state
        .members()
        .keys()
        .filter_map(|member| {
            let target = targets.remove(member).unwrap_or_default();
            let same = state.has_target(member) && *state.target(member) == target;
            let (member, value) = (Arc::clone(member), Some(Arc::new(target)));
            (!same).then_some(ConsumerRecord::Target { member, value })
        })
        .collect();
    let (epoch, time) = (state.epoch, desk.wall);
    changes.into_iter().for_each(|change| draft.push(change));
    draft.push(ConsumerRecord::TargetEpoch(Some(TargetEpochValue { epoch, time })));
}

/// Names of topics, and a regular expression.
type Subscription<'a> = (Vec<&'a str>, Option<&'a str>);

/// What the assignor is told.
fn spec<'a>(state: &'a State, image: &Image) -> Spec<'a> {
    let mut spec = Spec::default();
    // Most members subscribe to the same.
    let mut known: BTreeMap<Subscription<'_>, Arc<[TopicId]>> = BTreeMap::new();
    for (id, member) in state.members() {
        let metadata = &member.metadata;
        let names: Vec<&str> = metadata.topics.iter().map(String::as_str).collect();
        let topics = known.entry((names, metadata.regex.as_deref())).or_insert_with(|| {
            let topics = state.subscribed_by(metadata).filter_map(|name| image.topic(name));
            let mut ids: Vec<TopicId> = topics
                .map(|topic| {
                    spec.topics.insert(topic.id, i32::try_from(topic.partitions).unwrap_or(i32::MAX));
                    topic.id
                })
                .collect();
            ids.sort_unstable();
            ids.dedup();
            ids.into()
        });
        let member = MemberSpec {
            instance_id: metadata.instance_id.as_deref(),
            rack_id: metadata.rack_id.as_deref(),
            topics: Arc::clone(topics),
            last: state.target(id),
        };
        spec.members.insert(Arc::clone(id), member);
    }
    spec
}
