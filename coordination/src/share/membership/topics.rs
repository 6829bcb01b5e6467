//! Which partitions have a state in `__share_group_state`, or are to have one: it is begun before a partition is shared out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::TopicId;

use super::group::{Assignment, Group, elapsed_ms};
use super::heartbeat::Context;
use super::record::{Record, StateTopics};
use crate::metadata::image::Image;

/// The partitions whose state must be begun, and what is known of topics then. One that is being begun for long is
/// begun again.
pub(super) fn initialize(
    context: &Context<'_>,
    group: &Group,
    names: &BTreeSet<&str>,
) -> Option<(StateTopics, Assignment)> {
    let mut topics = StateTopics::clone(&group.topics);
    let mut begin: BTreeMap<TopicId, BTreeSet<i32>> = BTreeMap::new();
    let waited_ms = elapsed_ms(group.topics_since, context.wall);
    let retry = waited_ms >= i64::from(context.settings.initialize_retry_ms);
    for topic in names.iter().filter_map(|name| context.image.topic(name)) {
        let begun = group.topics.initialized.get(&topic.id);
        let beginning = group.topics.initializing.get(&topic.id).filter(|_| !retry);
        let has =
            |index: &i32| [begun, beginning].iter().flatten().any(|known| known.partitions.contains(index));
        let count = i32::try_from(topic.partitions).unwrap_or(i32::MAX);
        let missing: BTreeSet<i32> = (0..count).filter(|index| !has(index)).collect();
        if missing.is_empty() {
            continue;
        }
        let entry = topics.initializing.entry(topic.id).or_default();
        entry.name = topic.name.to_string();
        entry.partitions.extend(&missing);
        topics.deleting.remove(&topic.id);
        begin.insert(topic.id, missing);
    }
    (!begin.is_empty()).then_some((topics, Assignment(begin)))
}

/// What is known of topics when the state of partitions is begun (`done`), or could not be.
pub(super) fn initialized(
    context: &Context<'_>,
    known: &StateTopics,
    partitions: &Assignment,
    done: bool,
) -> Option<StateTopics> {
    let mut topics = known.clone();
    for (id, indices) in &partitions.0 {
        let mut name = context.image.topic_by_id(*id).map(|topic| topic.name.to_string());
        if let Some(beginning) = topics.initializing.get_mut(id) {
            beginning.partitions.retain(|index| !indices.contains(index));
            name = name.or_else(|| Some(beginning.name.clone()));
            if beginning.partitions.is_empty() {
                topics.initializing.remove(id);
            }
        }
        // A topic that was deleted meanwhile has no state.
        if let Some(name) = name.filter(|_| done && context.image.topic_by_id(*id).is_some()) {
            let begun = topics.initialized.entry(*id).or_default();
            begun.name = name;
            begun.partitions.extend(indices);
        }
    }
    (topics != *known).then_some(topics)
}

/// The record of partitions whose offsets are about to be altered, if there are any.
pub(super) fn alter(
    context: &Context<'_>,
    group: &Group,
    name: &Arc<str>,
    partitions: &Assignment,
) -> Option<Record> {
    if partitions.0.is_empty() {
        return None;
    }
    let mut topics = StateTopics::clone(&group.topics);
    for (id, indices) in &partitions.0 {
        let entry = topics.initializing.entry(*id).or_default();
        entry.name = context.image.topic_by_id(*id).map_or_else(String::new, |topic| topic.name.to_string());
        entry.partitions.extend(indices);
        topics.deleting.remove(id);
    }
    Some(Record::Topics { group: Arc::clone(name), value: Some(Arc::new(topics)) })
}

/// What is known of topics when the state of some is about to be deleted, or of all (`None`), and of which partitions that
/// is. Of topics that were about to be before, all are deleted again.
pub(super) fn forget(
    image: &Image,
    known: &StateTopics,
    forgotten: Option<&BTreeSet<TopicId>>,
) -> (StateTopics, Assignment) {
    let mut topics = known.clone();
    let mut partitions: BTreeMap<TopicId, BTreeSet<i32>> = BTreeMap::new();
    let whole = forgotten.is_none();
    let all: BTreeSet<TopicId>;
    let forgotten = match forgotten {
        Some(some) => some,
        None => {
            let begun = known.initializing.keys().chain(known.initialized.keys());
            all = begun.chain(known.deleting.keys()).copied().collect();
            &all
        }
    };
    for id in forgotten {
        let mut gone = BTreeSet::new();
        if let Some(topic) = image.topic_by_id(*id).filter(|_| known.deleting.contains_key(id)) {
            gone.extend(0..i32::try_from(topic.partitions).unwrap_or(i32::MAX));
        }
        // Of a list, only what has a state; as in Kafka.
        let beginning = if whole { topics.initializing.remove(id) } else { None };
        for begun in [beginning, topics.initialized.remove(id)].into_iter().flatten() {
            gone.extend(begun.partitions);
            topics.deleting.insert(*id, begun.name);
        }
        if !gone.is_empty() {
            partitions.insert(*id, gone);
        }
    }
    (topics, Assignment(partitions))
}
