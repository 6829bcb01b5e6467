//! What one heartbeat changes: the member, the group's epoch, its target, and what the member has of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::{ErrorCode, TimestampMs};

use super::assignor::{Wish, assign};
use super::group::{Assignment, Group, Member, elapsed_ms, ids, metadata_hash};
use super::messages::Refusal;
use super::record::{CurrentValue, MemberValue, Record};
use super::settings::MembershipSettings;
use super::topics::initialize;
use crate::group::INITIAL_EPOCH;
use crate::group::limits::{NAME_BYTES_MAX, TOPIC_BYTES_MAX};
use crate::metadata::image::Image;
use crate::share::limits::SUBSCRIPTION_TOPICS_MAX;

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
    /// For people, with an error; empty where its name says it.
    pub why: String,
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
    pub(super) fn refused(member_id: &Arc<str>, (error, why): Refusal) -> Self {
        let member_id = Arc::clone(member_id);
        Self { error, why, member_id, member_epoch: 0, heartbeat_interval_ms: 0, assigned: None }
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

/// Whether a heartbeat makes sense, whatever the group: in Kafka's words.
fn check(heartbeat: &Heartbeat) -> Result<(), Refusal> {
    let blank = |text: &str| text.trim().is_empty();
    let no_name = |name: &String| name.len() > TOPIC_BYTES_MAX;
    let topics = heartbeat.topics.as_ref();
    let why = if blank(&heartbeat.member_id) {
        "MemberId can't be empty."
    } else if blank(&heartbeat.group) {
        "GroupId can't be empty."
    } else if heartbeat.rack.as_deref().is_some_and(blank) {
        "RackId can't be empty."
    } else if heartbeat.member_epoch == JOINS && topics.is_none_or(Vec::is_empty) {
        "SubscribedTopicNames must be set in first request."
    } else if heartbeat.member_epoch < LEAVES {
        "MemberEpoch is invalid."
    } else if topics.is_some_and(|topics| topics.len() > SUBSCRIPTION_TOPICS_MAX) {
        "SubscribedTopicNames has too many topics."
    } else if heartbeat.group.len() > NAME_BYTES_MAX
        || topics.is_some_and(|topics| topics.iter().any(no_name))
    {
        "A name is longer than it can be."
    } else {
        return Ok(());
    };
    Err((ErrorCode::InvalidRequest, why.to_owned()))
}

/// Decides a heartbeat.
///
/// # Errors
/// What the member is told instead.
pub(super) fn decide(
    context: &Context<'_>,
    group: &Group,
    heartbeat: &Heartbeat,
) -> Result<Decision, Refusal> {
    check(heartbeat)?;
    let (name, id) = (&heartbeat.group, &heartbeat.member_id);
    if heartbeat.member_epoch != JOINS && group.is_gone() {
        let which = if heartbeat.member_epoch == LEAVES { "Group" } else { "Share group" };
        return Err((ErrorCode::GroupIdNotFound, format!("{which} {name} not found.")));
    }
    let known = group.members.get(id);
    let stranger = || (ErrorCode::UnknownMemberId, format!("Member {id} is not a member of group {name}."));
    if heartbeat.member_epoch == LEAVES {
        known.ok_or_else(stranger)?;
        // It has nothing to keep time for.
        let reply = HeartbeatReply { heartbeat_interval_ms: 0, ..reply(context, heartbeat, LEAVES, None) };
        let records = leave(context.image, group, &heartbeat.group, id);
        return Ok(Decision { records, reply, initialize: None });
    }
    let members_max = context.settings.members_max();
    if known.is_none() && (group.members.len() >= members_max) {
        let why = format!("The share group has reached its maximum capacity of {members_max} members.");
        return Err((ErrorCode::GroupMaxSizeReached, why));
    }
    match known {
        None if heartbeat.member_epoch != JOINS => return Err(stranger()),
        None if !context.affords => return Err((ErrorCode::GroupMaxSizeReached, String::new())),
        Some(member) => member.accept(heartbeat.member_epoch)?,
        None => {}
    }
    Ok(go_on(context, group, heartbeat, known))
}

impl Member {
    /// Takes its epoch, or the one before: the answer that told of the new one may be lost.
    fn accept(&self, epoch: i32) -> Result<(), Refusal> {
        let (now, before) = (self.current.epoch, self.current.previous_epoch);
        if epoch == JOINS || epoch == now || (epoch < now && epoch == before) {
            return Ok(());
        }
        let why = if epoch > now {
            format!("greater member epoch ({epoch}) than the one known by the group coordinator ({now}).")
        } else {
            format!(
                "smaller member epoch ({epoch}) than the one known by the group coordinator ({now}), \
                 and it does not match the previous member epoch ({before})."
            )
        };
        let rest = "The member must abandon all its partitions and rejoin.";
        Err((ErrorCode::FencedMemberEpoch, format!("The share group member has a {why} {rest}")))
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
        why: String::new(),
        member_id: Arc::clone(&heartbeat.member_id),
        member_epoch: epoch,
        heartbeat_interval_ms: context.settings.heartbeat_interval_ms(context.image, &heartbeat.group),
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
        epoch = epoch.max(INITIAL_EPOCH) + 1;
        records.push(Record::Epoch { group: Arc::clone(name), value: Some((epoch, hash)) });
    }

    let (mut target, mut target_epoch) = (Arc::clone(&old.target), group.target_epoch);
    let rested = group.target_made == 0
        || elapsed_ms(group.target_made, context.wall)
            >= i64::from(context.settings.assignment_interval_ms(context.image, &heartbeat.group));
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
