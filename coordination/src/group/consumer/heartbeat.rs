//! ConsumerGroupHeartbeat: members join, leave, say what changed and what they use, and hear what they may use.

use std::collections::BTreeSet;
use std::sync::Arc;

use model::ErrorCode;

use super::super::desk::Desk;
use super::super::limits::{
    MEMBER_BYTES_MAX, MEMBER_TOPICS_MAX, NAME_BYTES_MAX, REGEX_BYTES_MAX, REGEXES_MAX,
};
use super::super::reply::ConsumerHeartbeatReply;
use super::super::request::ConsumerHeartbeat;
use super::assignor::Assignor;
use super::partitions::{self, Partitions};
use super::record::{ConsumerRecord, CurrentValue, MemberMetadata, MemberState};
use super::state::{Draft, Member};
use super::{LEAVES, LEAVES_FOR_A_WHILE, Lapse, Refusal, Turn, epochs, fence, patterns, reconcile};

fn refused<T>(error: ErrorCode, why: impl Into<String>) -> Result<T, Refusal> {
    Err((error, why.into()))
}

fn unknown<T>(id: &str, group: &str) -> Result<T, Refusal> {
    refused(ErrorCode::UnknownMemberId, format!("Member {id} is not a member of group {group}."))
}

/// What needs no group to be refused; in Kafka's order and words.
pub(in crate::group) fn check(ask: &ConsumerHeartbeat, desk: &Desk) -> Result<(), Refusal> {
    let invalid = |why: &str| refused(ErrorCode::InvalidRequest, why);
    let blank = |text: &str| text.trim().is_empty();
    let needs_id = ask.makes_own_id || ask.epoch > 0 || ask.epoch == LEAVES;
    if needs_id && blank(&ask.member_id) {
        return invalid("MemberId can't be empty.");
    }
    if blank(&ask.group) {
        return invalid("GroupId can't be empty.");
    }
    if ask.instance_id.as_deref().is_some_and(blank) {
        return invalid("InstanceId can't be empty.");
    }
    if ask.rack_id.as_deref().is_some_and(blank) {
        return invalid("RackId can't be empty.");
    }
    match ask.epoch {
        0 if ask.rebalance_timeout_ms == -1 => {
            return invalid("RebalanceTimeoutMs must be provided in first request.");
        }
        0 if !ask.owned.as_ref().is_some_and(Partitions::is_empty) => {
            return invalid("TopicPartitions must be empty when (re-)joining.");
        }
        0 if ask.topics.is_none() && ask.regex.is_none() => {
            return invalid(
                "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.",
            );
        }
        LEAVES_FOR_A_WHILE if ask.instance_id.is_none() => return invalid("InstanceId can't be null."),
        epoch if epoch < LEAVES_FOR_A_WHILE => return invalid("MemberEpoch is invalid."),
        _ => {}
    }
    let offered = &desk.settings.consumer.assignors;
    if let Some(name) = &ask.assignor
        && !Assignor::named(name).is_some_and(|assignor| offered.contains(&assignor))
    {
        let names: Vec<&str> = offered.iter().map(|assignor| assignor.name()).collect();
        let names = names.join(", ");
        let why = format!("ServerAssignor {name} is not supported. Supported assignors: {names}.");
        return refused(ErrorCode::UnsupportedAssignor, why);
    }
    check_sizes(ask)
}

/// Our own bounds, which no client comes near.
fn check_sizes(ask: &ConsumerHeartbeat) -> Result<(), Refusal> {
    let names = [&ask.group, &ask.member_id, &ask.client_id, &ask.client_host];
    let mut names = names.into_iter().chain(&ask.instance_id).chain(&ask.rack_id);
    let topics = ask.topics.as_deref().unwrap_or_default();
    let bytes: usize = topics.iter().map(String::len).sum();
    if names.any(|name| name.len() > NAME_BYTES_MAX) || topics.len() > MEMBER_TOPICS_MAX {
        return refused(ErrorCode::InvalidRequest, "A name or a list of the request is too long.");
    }
    if bytes > MEMBER_BYTES_MAX || topics.iter().any(|topic| topic.len() > NAME_BYTES_MAX) {
        return refused(ErrorCode::InvalidRequest, "The names of topics are too long.");
    }
    if ask.regex.as_ref().is_some_and(|regex| regex.len() > REGEX_BYTES_MAX) {
        let why = format!("A regular expression has at most {REGEX_BYTES_MAX} bytes.");
        return refused(ErrorCode::InvalidRegularExpression, why);
    }
    Ok(())
}

pub(super) fn heartbeat(
    turn: &mut Turn<'_>,
    draft: &mut Draft<'_>,
    ask: &ConsumerHeartbeat,
) -> Result<ConsumerHeartbeatReply, Refusal> {
    check(ask, turn.desk)?;
    if ask.epoch == LEAVES || ask.epoch == LEAVES_FOR_A_WHILE {
        return leave(turn, draft, ask);
    }
    let id: Arc<str> = match ask.member_id.as_str() {
        "" => turn.desk.ids.uuid().into(),
        id => id.into(),
    };
    if ask.epoch == 0 {
        has_room(turn, draft, &id, ask)?;
    }
    admit(turn, draft, &id, ask)?;
    let before = draft.state().member(&id).cloned().unwrap_or_default();
    let changed = subscribe(turn, draft, &id, &before, metadata(ask, &before.metadata))?;
    epochs::renew_epoch(turn, draft, changed);
    epochs::renew_targets(turn, draft);
    move_on(turn, draft, &id, ask.owned.as_ref())?;
    let timeout_ms = turn.desk.settings.consumer.session_timeout_ms(&turn.desk.image, turn.group);
    turn.soft.schedule(turn.group, &id, Lapse::Session, timeout_ms, turn.desk);
    patterns::look_up_if_due(turn, draft);

    let Some(member) = draft.state().member(&id) else { return unknown(&id, turn.group) };
    let assigned = member.current.assigned.partitions();
    let says_all = ask.rebalance_timeout_ms != -1
        && (ask.topics.is_some() || ask.regex.is_some())
        && ask.owned.is_some();
    let tell = ask.epoch == 0 || says_all || assigned != before.current.assigned.partitions();
    Ok(ConsumerHeartbeatReply {
        refused: None,
        member_id: Some(id.to_string()),
        epoch: member.current.epoch,
        heartbeat_interval_ms: turn
            .desk
            .settings
            .consumer
            .heartbeat_interval_ms(&turn.desk.image, turn.group),
        assignment: tell.then_some(assigned),
    })
}

/// Whether one more member may join.
fn has_room(turn: &Turn<'_>, draft: &Draft<'_>, id: &str, ask: &ConsumerHeartbeat) -> Result<(), Refusal> {
    let state = draft.state();
    if state.member(id).is_some() {
        return Ok(());
    }
    let most = turn.desk.settings.consumer.members_max();
    let bytes: usize = ask.topics.iter().flatten().map(String::len).sum();
    if state.members().len() >= most || !turn.desk.affords(2048 + bytes as u64) {
        let why = format!("The consumer group has reached its maximum capacity of {most} members.");
        return refused(ErrorCode::GroupMaxSizeReached, why);
    }
    Ok(())
}

/// Whether whoever asks is, or may become, member `id`. A static member that is back takes the place of who it was.
fn admit(
    turn: &Turn<'_>,
    draft: &mut Draft<'_>,
    id: &Arc<str>,
    ask: &ConsumerHeartbeat,
) -> Result<(), Refusal> {
    let state = draft.state();
    let Some(instance) = &ask.instance_id else {
        return match state.member(id) {
            Some(member) => check_epoch(member, ask),
            None if ask.epoch == 0 => Ok(()),
            None => unknown(id, turn.group),
        };
    };
    let known = state.static_member(instance).map(|(id, member)| (Arc::clone(id), member.clone()));
    match known {
        None if ask.epoch == 0 => Ok(()),
        None => refused(ErrorCode::UnknownMemberId, format!("Instance id {instance} is unknown.")),
        Some((known, member)) if known == *id => check_epoch(&member, ask),
        Some((known, member)) if ask.epoch == 0 => {
            if !member.uses_classic() && member.current.epoch != LEAVES_FOR_A_WHILE {
                let why = format!(
                    "Static member {id} with instance id {instance} cannot join the group because the instance id is \
                     owned by {known} member."
                );
                return refused(ErrorCode::UnreleasedInstanceId, why);
            }
            replace(draft, &known, &member, id);
            Ok(())
        }
        Some((known, _)) => {
            let why = format!("Static member {id} with instance id {instance} was fenced by member {known}.");
            refused(ErrorCode::FencedInstanceId, why)
        }
    }
}

/// Member `id` takes the place of `old`, with all it had.
pub(super) fn replace(draft: &mut Draft<'_>, old: &Arc<str>, member: &Member, id: &Arc<str>) {
    let target = draft.state().target(old).clone();
    fence::take_out(draft, old);
    let current = CurrentValue { epoch: 0, previous_epoch: 0, ..(*member.current).clone() };
    let of = || Arc::clone(id);
    draft.push(ConsumerRecord::Member { member: of(), value: Some(Arc::clone(&member.metadata)) });
    draft.push(ConsumerRecord::Target { member: of(), value: Some(Arc::new(target)) });
    draft.push(ConsumerRecord::Current { member: of(), value: Some(Arc::new(current)) });
}

/// Whether the epoch is the member's, or the one before of a member that may not have heard of its own.
fn check_epoch(member: &Member, ask: &ConsumerHeartbeat) -> Result<(), Refusal> {
    let (asked, current) = (ask.epoch, &member.current);
    let kept =
        |owned: &Partitions| partitions::each(owned).all(|(topic, at)| current.assigned.contains(topic, at));
    let late = asked == current.previous_epoch && ask.owned.as_ref().is_some_and(kept);
    if asked == 0 || asked == current.epoch || (asked < current.epoch && late) {
        return Ok(());
    }
    let how = if asked > current.epoch { "greater" } else { "smaller" };
    let why = format!(
        "The consumer group member has a {how} member epoch ({asked}) than the one known by the group coordinator ({}). \
         The member must abandon all its partitions and rejoin.",
        current.epoch
    );
    refused(ErrorCode::FencedMemberEpoch, why)
}

/// What the member says of itself now.
fn metadata(ask: &ConsumerHeartbeat, before: &MemberMetadata) -> MemberMetadata {
    let said = |new: &Option<String>, old: &Option<String>| new.clone().or_else(|| old.clone());
    MemberMetadata {
        instance_id: said(&ask.instance_id, &before.instance_id),
        rack_id: said(&ask.rack_id, &before.rack_id),
        client_id: ask.client_id.clone(),
        client_host: ask.client_host.clone(),
        topics: match &ask.topics {
            Some(topics) => topics.iter().cloned().collect::<BTreeSet<String>>(),
            None => before.topics.clone(),
        },
        regex: said(&ask.regex, &before.regex).filter(|regex| !regex.is_empty()),
        rebalance_timeout_ms: match ask.rebalance_timeout_ms {
            -1 => before.rebalance_timeout_ms,
            timeout_ms => timeout_ms,
        },
        assignor: said(&ask.assignor, &before.assignor),
        classic: None,
    }
}

/// Stores what a member says of itself if it is new. Gives whether the group has to enter another epoch for it: not for a
/// regular expression that is still to be looked up, as that will bring one.
pub(super) fn subscribe(
    turn: &Turn<'_>,
    draft: &mut Draft<'_>,
    id: &Arc<str>,
    before: &Member,
    said: MemberMetadata,
) -> Result<bool, Refusal> {
    let state = draft.state();
    let new_group = state.epoch == 0;
    let regex_changed = said.regex != before.metadata.regex;
    let mut resolved = regex_changed && said.regex.is_none();
    if let Some(pattern) = said.regex.as_ref().filter(|_| regex_changed) {
        if state.regex_users(pattern) == 0 {
            patterns::check(pattern).map_err(|why| {
                (
                    ErrorCode::InvalidRegularExpression,
                    format!("SubscribedTopicRegex `{pattern}` is not a valid regular expression: {why}."),
                )
            })?;
            if state.regexes_in_use().len() >= REGEXES_MAX {
                let why = format!("A group has at most {REGEXES_MAX} different regular expressions.");
                return refused(ErrorCode::InvalidRegularExpression, why);
            }
        }
        resolved = state.resolved(pattern).is_some();
    }
    let names_changed = said.topics != before.metadata.topics;
    let is_new = state.member(id).is_none();
    if is_new || said != *before.metadata {
        let more = names_bytes(&said).saturating_sub(names_bytes(&before.metadata));
        if more > 0 && !turn.desk.affords(more) {
            return refused(ErrorCode::GroupMaxSizeReached, "The coordinator has no memory left for groups.");
        }
        draft.push(ConsumerRecord::Member { member: Arc::clone(id), value: Some(Arc::new(said)) });
        patterns::forget_unused(draft);
    }
    Ok(new_group || names_changed || resolved)
}

fn names_bytes(metadata: &MemberMetadata) -> u64 {
    let classic = metadata.classic.iter().flat_map(|classic| &classic.protocols);
    let names = metadata.topics.iter().map(|topic| 64 + topic.len()).sum::<usize>();
    (names + classic.map(|(name, bytes)| name.len() + bytes.len()).sum::<usize>()) as u64
}

/// Brings a member one step nearer to its target.
pub(super) fn move_on(
    turn: &mut Turn<'_>,
    draft: &mut Draft<'_>,
    id: &Arc<str>,
    owned: Option<&Partitions>,
) -> Result<(), Refusal> {
    let image = Arc::clone(&turn.desk.image);
    let fenced = |_| {
        let why = "The consumer group member is in a unknown state. The member must abandon all its partitions and rejoin.";
        (ErrorCode::FencedMemberEpoch, why.to_owned())
    };
    let Some(next) = reconcile::step(draft.state(), &image, id, owned).map_err(fenced)? else {
        return Ok(());
    };
    let (epoch, revokes) = (next.epoch, next.state == MemberState::Unrevoked);
    draft.push(ConsumerRecord::Current { member: Arc::clone(id), value: Some(Arc::new(next)) });
    // Members that use the classic protocol have timers of their own.
    let Some(member) = draft.state().member(id).filter(|member| !member.uses_classic()) else {
        return Ok(());
    };
    if revokes {
        let timeout_ms = member.metadata.rebalance_timeout_ms;
        turn.soft.schedule(turn.group, id, Lapse::Revoke(epoch), timeout_ms, turn.desk);
    } else {
        turn.soft.cancel(id, Lapse::Revoke(epoch), turn.desk);
    }
    Ok(())
}

/// A member goes; a static one perhaps only for a while, and keeps its place for its session.
fn leave(
    turn: &mut Turn<'_>,
    draft: &mut Draft<'_>,
    ask: &ConsumerHeartbeat,
) -> Result<ConsumerHeartbeatReply, Refusal> {
    let state = draft.state();
    let found = match &ask.instance_id {
        None => state.members().get_key_value(ask.member_id.as_str()),
        Some(instance) => {
            let Some(known) = state.static_member(instance) else {
                return refused(ErrorCode::UnknownMemberId, format!("Instance id {instance} is unknown."));
            };
            if **known.0 != *ask.member_id {
                let why = format!(
                    "Static member {} with instance id {instance} was fenced by member {}.",
                    ask.member_id, known.0
                );
                return refused(ErrorCode::FencedInstanceId, why);
            }
            Some(known)
        }
    };
    let Some((id, member)) = found.map(|(id, member)| (Arc::clone(id), member.clone())) else {
        return unknown(&ask.member_id, turn.group);
    };
    if ask.epoch == LEAVES_FOR_A_WHILE {
        let current = CurrentValue {
            epoch: LEAVES_FOR_A_WHILE,
            revoking: partitions::Held::default(),
            // Commits by who it was are refused from now on, and those of who it will be are not.
            assigned: member.current.assigned.reset(0),
            ..(*member.current).clone()
        };
        draft.push(ConsumerRecord::Current { member: Arc::clone(&id), value: Some(Arc::new(current)) });
        turn.soft.cancel(&id, Lapse::Revoke(member.current.epoch), turn.desk);
    } else {
        fence::remove(turn, draft, &[Arc::clone(&id)]);
    }
    Ok(ConsumerHeartbeatReply { member_id: Some(id.to_string()), epoch: ask.epoch, ..Default::default() })
}
