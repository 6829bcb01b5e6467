//! What one heartbeat changes: the member, the group's epoch, its target, and what the member has of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::{ErrorCode, TimestampMs, TopicId};

use super::assignor::{Wish, assign};
use super::group::{Assignment, Group, Member, elapsed_ms, ids, metadata_hash};
use super::messages::MembershipSettings;
use super::record::{CurrentValue, MemberValue, Record, StateTopics};
use crate::metadata::image::Image;
use crate::share::limits::{SHARE_MEMBERS_MAX, SUBSCRIPTION_TOPICS_MAX};

/// Epoch of a member that joins.
const JOINS: i32 = 0;
/// Epoch of a member that leaves.
const LEAVES: i32 = -1;

/// ShareGroupHeartbeat.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Heartbeat {
    /// The group.
    pub group: Arc<str>,
    /// The id that the member gave itself.
    pub member_id: Arc<str>,
    /// 0 joins, -1 leaves, else as it was last told.
    pub member_epoch: i32,
    /// Its rack; `None` when that did not change.
    pub rack: Option<String>,
    /// The client's id.
    pub client_id: String,
    /// Where it comes from.
    pub client_host: String,
    /// The topics it subscribes to, by name; `None` when they did not change.
    pub topics: Option<Vec<String>>,
}

/// The answer to a heartbeat.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HeartbeatReply {
    /// Nothing else counts when there is one.
    pub error: ErrorCode,
    /// The member's id.
    pub member_id: Arc<str>,
    /// The member's epoch.
    pub member_epoch: i32,
    /// When the next heartbeat is wanted.
    pub heartbeat_interval_ms: i32,
    /// What it takes records from, when that changed or it asked for it.
    pub assigned: Option<Assignment>,
}

impl HeartbeatReply {
    pub(super) fn failed(member_id: &Arc<str>, error: ErrorCode) -> Self {
        let member_id = Arc::clone(member_id);
        Self { error, member_id, member_epoch: 0, heartbeat_interval_ms: 0, assigned: None }
    }
}

/// What a decision rests on, beside the group.
pub(super) struct Context<'a> {
    pub image: &'a Image,
    pub settings: &'a MembershipSettings,
    pub wall: TimestampMs,
    /// Whether there is memory for one more member.
    pub affords: bool,
}

/// What is to be done: the records first.
#[derive(Debug)]
pub(super) struct Decision {
    pub records: Vec<Record>,
    pub reply: HeartbeatReply,
    /// Partitions whose state is to be begun, and the epoch of the group.
    pub initialize: Option<(i32, Assignment)>,
}

/// Whether a heartbeat makes sense, whatever the group.
fn check(heartbeat: &Heartbeat) -> Result<(), ErrorCode> {
    let nothing = heartbeat.group.is_empty() || heartbeat.member_id.is_empty();
    let odd_rack = heartbeat.rack.as_deref() == Some("");
    let joins_nothing =
        heartbeat.member_epoch == JOINS && heartbeat.topics.as_ref().is_none_or(Vec::is_empty);
    let too_many = heartbeat.topics.as_ref().is_some_and(|topics| topics.len() > SUBSCRIPTION_TOPICS_MAX);
    if nothing || odd_rack || joins_nothing || too_many || heartbeat.member_epoch < LEAVES {
        return Err(ErrorCode::InvalidRequest);
    }
    Ok(())
}

/// Decides a heartbeat.
///
/// # Errors
/// What the member is told instead.
pub(super) fn decide(
    context: &Context<'_>,
    group: &Group,
    heartbeat: &Heartbeat,
) -> Result<Decision, ErrorCode> {
    check(heartbeat)?;
    let id = &heartbeat.member_id;
    if heartbeat.member_epoch != JOINS && group.is_gone() {
        return Err(ErrorCode::GroupIdNotFound);
    }
    let known = group.members.get(id);
    if heartbeat.member_epoch == LEAVES {
        known.ok_or(ErrorCode::UnknownMemberId)?;
        let reply = reply(context, heartbeat, LEAVES, None);
        let records = leave(context.image, group, &heartbeat.group, id);
        return Ok(Decision { records, reply, initialize: None });
    }
    let members_max = usize::try_from(context.settings.members_max).unwrap_or(usize::MAX);
    if known.is_none() && group.members.len() >= members_max.min(SHARE_MEMBERS_MAX) {
        return Err(ErrorCode::GroupMaxSizeReached);
    }
    match known {
        None if heartbeat.member_epoch != JOINS => return Err(ErrorCode::UnknownMemberId),
        None if !context.affords => return Err(ErrorCode::GroupMaxSizeReached),
        Some(member) if !member.accepts(heartbeat.member_epoch) => return Err(ErrorCode::FencedMemberEpoch),
        _ => {}
    }
    Ok(go_on(context, group, heartbeat, known))
}

impl Member {
    /// Its epoch, or the one before: the answer that told of the new one may be lost.
    fn accepts(&self, epoch: i32) -> bool {
        epoch == JOINS
            || epoch == self.current.epoch
            || (epoch < self.current.epoch && epoch == self.current.previous_epoch)
    }
}

fn reply(
    context: &Context<'_>,
    heartbeat: &Heartbeat,
    epoch: i32,
    assigned: Option<Assignment>,
) -> HeartbeatReply {
    HeartbeatReply {
        error: ErrorCode::None,
        member_id: Arc::clone(&heartbeat.member_id),
        member_epoch: epoch,
        heartbeat_interval_ms: context.settings.heartbeat_interval_ms,
        assigned,
    }
}

/// A member that joins or goes on.
fn go_on(context: &Context<'_>, group: &Group, heartbeat: &Heartbeat, known: Option<&Member>) -> Decision {
    let (id, name) = (&heartbeat.member_id, &heartbeat.group);
    let (image, mut records) = (context.image, Vec::new());
    let old = known.cloned().unwrap_or_default();
    let metadata = Arc::new(told(heartbeat, &old.metadata));
    if known.is_none() || metadata != old.metadata {
        let value = Some(Arc::clone(&metadata));
        records.push(Record::Member { group: Arc::clone(name), member: Arc::clone(id), value });
    }
    let resubscribed = known.is_none() || metadata.topics != old.metadata.topics;

    let names = group.subscribed(id, Some(&metadata));
    let hash = metadata_hash(image, names.iter().copied());
    let mut epoch = group.epoch;
    if resubscribed || hash != group.metadata_hash || group.target_lags(image) {
        epoch += 1;
        records.push(Record::Epoch { group: Arc::clone(name), value: Some((epoch, hash)) });
    }

    let (mut target, mut target_epoch) = (Arc::clone(&old.target), group.target_epoch);
    let rested = group.target_made == 0
        || elapsed_ms(group.target_made, context.wall) >= i64::from(context.settings.assignment_interval_ms);
    if epoch > group.target_epoch && rested {
        target_epoch = epoch;
        let made = retarget(context, group, (name, id), &metadata, &mut records);
        target = made.unwrap_or(target);
        let value = Some((epoch, context.wall.0.max(0)));
        records.push(Record::TargetEpoch { group: Arc::clone(name), value });
    }

    let current = reconciled(image, &old, &metadata, &target, target_epoch, resubscribed);
    let assigned = (heartbeat.member_epoch == JOINS
        || heartbeat.topics.is_some()
        || current.assigned != old.current.assigned)
        .then(|| current.assigned.clone());
    let reply = reply(context, heartbeat, current.epoch, assigned);
    if known.is_none() || current != *old.current {
        let value = Some(Arc::new(current));
        records.push(Record::Current { group: Arc::clone(name), member: Arc::clone(id), value });
    }
    let initialize = initialize(context, group, &names).map(|(topics, partitions)| {
        records.push(Record::Topics { group: Arc::clone(name), value: Some(Arc::new(topics)) });
        (epoch, partitions)
    });
    Decision { records, reply, initialize }
}

/// What the member is now by its own words.
fn told(heartbeat: &Heartbeat, old: &MemberValue) -> MemberValue {
    let sorted =
        |topics: &Vec<String>| topics.iter().cloned().collect::<BTreeSet<String>>().into_iter().collect();
    MemberValue {
        rack: heartbeat.rack.clone().or_else(|| old.rack.clone()),
        client_id: heartbeat.client_id.clone(),
        client_host: heartbeat.client_host.clone(),
        topics: heartbeat.topics.as_ref().map_or_else(|| old.topics.clone(), sorted),
    }
}

/// Shares the partitions out anew, and adds a record for each member whose target changes; gives that of the member
/// that asks when it is one of them.
fn retarget(
    context: &Context<'_>,
    group: &Group,
    (name, id): (&Arc<str>, &Arc<str>),
    metadata: &MemberValue,
    records: &mut Vec<Record>,
) -> Option<Arc<Assignment>> {
    let nothing = Assignment::default();
    let topics = |metadata: &MemberValue| ids(context.image, metadata.topics.iter().map(String::as_str));
    let mut wishes: BTreeMap<Arc<str>, Wish<'_>> = BTreeMap::new();
    for (other, member) in &group.members {
        let metadata = if other == id { metadata } else { &member.metadata };
        wishes.insert(Arc::clone(other), Wish { has: &member.target, wants: topics(metadata) });
    }
    wishes.entry(Arc::clone(id)).or_insert_with(|| Wish { has: &nothing, wants: topics(metadata) });
    let begun = group.topics.initialized.iter();
    let assignable = begun.map(|(topic, known)| (*topic, known.partitions.clone())).collect();
    let mut mine = None;
    for (member, target) in assign(&wishes, &assignable) {
        if wishes.get(&member).is_some_and(|wish| *wish.has == target) {
            continue;
        }
        let target = Arc::new(target);
        if member == *id {
            mine = Some(Arc::clone(&target));
        }
        records.push(Record::Target { group: Arc::clone(name), member, value: Some(target) });
    }
    mine
}

/// What the member has now: a share group's partitions are shared, so nobody has to give one up first.
fn reconciled(
    image: &Image,
    old: &Member,
    metadata: &MemberValue,
    target: &Assignment,
    target_epoch: i32,
    resubscribed: bool,
) -> CurrentValue {
    let wanted = ids(image, metadata.topics.iter().map(String::as_str));
    let current = &*old.current;
    if target_epoch != current.epoch {
        let assigned = target.only(&wanted);
        return CurrentValue { epoch: target_epoch, previous_epoch: current.epoch, state: 0, assigned };
    }
    let assigned = if resubscribed { current.assigned.only(&wanted) } else { current.assigned.clone() };
    CurrentValue { assigned, ..current.clone() }
}

/// The partitions whose state must be begun, and what is known of topics then. One that is being begun for long is
/// begun again.
fn initialize(
    context: &Context<'_>,
    group: &Group,
    names: &BTreeSet<&str>,
) -> Option<(StateTopics, Assignment)> {
    let mut topics = StateTopics::clone(&group.topics);
    let mut begin: BTreeMap<TopicId, BTreeSet<i32>> = BTreeMap::new();
    for topic in names.iter().filter_map(|name| context.image.topic(name)) {
        let begun = group.topics.initialized.get(&topic.id);
        let beginning = group.topics.initializing.get(&topic.id).filter(|beginning| {
            elapsed_ms(beginning.since, context.wall) < i64::from(context.settings.initialize_retry_ms)
        });
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
        entry.since = context.wall.0;
        topics.deleting.remove(&topic.id);
        begin.insert(topic.id, missing);
    }
    (!begin.is_empty()).then_some((topics, Assignment(begin)))
}

/// The records of a member that leaves or is given up.
pub(super) fn leave(image: &Image, group: &Group, name: &Arc<str>, id: &Arc<str>) -> Vec<Record> {
    let (group_id, member) = (|| Arc::clone(name), || Arc::clone(id));
    let hash = metadata_hash(image, group.subscribed(id, None));
    vec![
        Record::Current { group: group_id(), member: member(), value: None },
        Record::Target { group: group_id(), member: member(), value: None },
        Record::Member { group: group_id(), member: member(), value: None },
        Record::Epoch { group: group_id(), value: Some((group.epoch + 1, hash)) },
    ]
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
            (begun.name, begun.since) = (name, context.wall.0);
            begun.partitions.extend(indices);
        }
    }
    (topics != *known).then_some(topics)
}

/// The records of partitions whose offsets are about to be altered: what has an older epoch is fenced by that.
pub(super) fn alter(
    context: &Context<'_>,
    group: &Group,
    name: &Arc<str>,
    partitions: &Assignment,
) -> Vec<Record> {
    let mut topics = StateTopics::clone(&group.topics);
    for (id, indices) in &partitions.0 {
        let entry = topics.initializing.entry(*id).or_default();
        entry.name = context.image.topic_by_id(*id).map_or_else(String::new, |topic| topic.name.to_string());
        entry.partitions.extend(indices);
        entry.since = context.wall.0;
        topics.deleting.remove(id);
    }
    vec![
        Record::Epoch { group: Arc::clone(name), value: Some((group.epoch + 1, group.metadata_hash)) },
        Record::Topics { group: Arc::clone(name), value: Some(Arc::new(topics)) },
    ]
}

/// What is known of topics when the state of some is about to be deleted, and of which partitions that is.
pub(super) fn forget(known: &StateTopics, forgotten: &BTreeSet<TopicId>) -> (StateTopics, Assignment) {
    let mut topics = known.clone();
    let mut partitions: BTreeMap<TopicId, BTreeSet<i32>> = BTreeMap::new();
    for id in forgotten {
        for gone in [topics.initializing.remove(id), topics.initialized.remove(id)].into_iter().flatten() {
            partitions.entry(*id).or_default().extend(gone.partitions);
            topics.deleting.insert(*id, gone.name);
        }
    }
    (topics, Assignment(partitions))
}
