//! Members that use the classic protocol in a group by the consumer protocol: what they are to have comes from the group's
//! assignor, and JoinGroup, SyncGroup and Heartbeat bring them there.

use std::sync::Arc;

use bytes::Bytes;
use model::ErrorCode;

use super::super::join::admit;
use super::super::limits::NAME_BYTES_MAX;
use super::super::reply::{JoinReply, LeaveReply, LeftMember, SyncReply};
use super::super::request::{Heartbeat, Join, Leave, Leaver, Sync};
use super::record::{ClassicMetadata, MemberMetadata, MemberState};
use super::state::{Draft, Member, State};
use super::{Lapse, Refusal, Turn, embedded, epochs, fence, heartbeat, reconcile};

/// The protocol type of consumers.
pub(super) const CONSUMER: &str = "consumer";

pub(super) fn join(turn: &mut Turn<'_>, draft: &mut Draft<'_>, ask: &Join) -> Result<JoinReply, ErrorCode> {
    admit(turn.desk, ask)?;
    if ask.member_id.len() > NAME_BYTES_MAX {
        return Err(ErrorCode::InvalidRequest);
    }
    let state = draft.state();
    let newcomer = ask.member_id.is_empty();
    let most = turn.desk.settings.consumer.members_max();
    if state.member(&ask.member_id).is_none() && state.members().len() >= most {
        return Err(ErrorCode::GroupMaxSizeReached);
    }
    let migration = turn.desk.settings.consumer.migration;
    if !migration.upgrade && !migration.downgrade || !supports(state, ask) {
        return Err(ErrorCode::InconsistentGroupProtocol);
    }
    let id: Arc<str> = if newcomer {
        let name = ask.instance_id.as_ref().unwrap_or(&ask.client_id);
        turn.desk.ids.member_id(name).into()
    } else {
        ask.member_id.as_str().into()
    };
    if newcomer && ask.require_known_member_id && ask.instance_id.is_none() {
        return Ok(JoinReply::error(ErrorCode::MemberIdRequired, &id));
    }
    let Some((_, metadata)) = ask.protocols.first() else { return Err(ErrorCode::InconsistentGroupProtocol) };
    let subscription = embedded::subscription(metadata).map_err(|_| ErrorCode::InconsistentGroupProtocol)?;
    take_place(draft, ask, &id)?;
    let before = draft.state().member(&id).cloned().unwrap_or_default();
    let said = MemberMetadata {
        instance_id: ask.instance_id.clone().or_else(|| before.metadata.instance_id.clone()),
        rack_id: subscription.rack_id.clone().or_else(|| before.metadata.rack_id.clone()),
        client_id: ask.client_id.clone(),
        client_host: ask.client_host.clone(),
        topics: subscription.topics.clone(),
        regex: None,
        rebalance_timeout_ms: ask.rebalance_timeout_ms,
        assignor: before.metadata.assignor.clone(),
        classic: Some(ClassicMetadata {
            session_timeout_ms: ask.session_timeout_ms,
            protocols: own(&ask.protocols),
        }),
    };
    let code = |(code, _): Refusal| code;
    let changed = heartbeat::subscribe(turn, draft, &id, &before, said).map_err(code)?;
    epochs::renew_epoch(turn, draft, changed);
    epochs::renew_targets(turn, draft);
    // Who joins has given back whatever it does not say it has.
    let owned = embedded::with_ids(&subscription.owned, &turn.desk.image);
    heartbeat::move_on(turn, draft, &id, Some(&owned)).map_err(code)?;
    turn.soft.cancel(&id, Lapse::Join, turn.desk);
    turn.soft.schedule(turn.group, &id, Lapse::Session, ask.session_timeout_ms, turn.desk);
    turn.soft.schedule(turn.group, &id, Lapse::Sync, ask.rebalance_timeout_ms, turn.desk);
    let generation = draft.state().member(&id).map_or(-1, |member| member.current.epoch);
    Ok(JoinReply {
        generation,
        protocol_type: Some(CONSUMER.to_owned()),
        protocol: ask.protocols.first().map(|(name, _)| name.clone()),
        // Nobody leads: an empty id is nobody's.
        ..JoinReply::error(ErrorCode::None, &id)
    })
}

/// Whether all members that use the classic protocol have a protocol in common with this one.
fn supports(state: &State, ask: &Join) -> bool {
    let classic = state.members().values().filter_map(|member| member.metadata.classic.as_ref());
    let others: Vec<&ClassicMetadata> = classic.collect();
    let has =
        |classic: &&ClassicMetadata, name: &str| classic.protocols.iter().any(|(known, _)| known == name);
    ask.protocol_type == CONSUMER
        && ask.protocols.iter().any(|(name, _)| others.iter().all(|classic| has(classic, name)))
}

/// Copies: a slice of a request would keep the whole request alive.
fn own(protocols: &[(String, Bytes)]) -> Vec<(String, Bytes)> {
    protocols.iter().map(|(name, metadata)| (name.clone(), Bytes::copy_from_slice(metadata))).collect()
}

/// A static member may take the place of who had its instance id before; who knows its id must still have it.
fn take_place(draft: &mut Draft<'_>, ask: &Join, id: &Arc<str>) -> Result<(), ErrorCode> {
    let Some(instance) = &ask.instance_id else { return Ok(()) };
    let known = draft.state().static_member(instance).map(|(id, member)| (Arc::clone(id), member.clone()));
    match known {
        None if ask.member_id.is_empty() => Ok(()),
        None => Err(ErrorCode::UnknownMemberId),
        Some((known, member)) if ask.member_id.is_empty() => {
            heartbeat::replace(draft, &known, &member, id);
            Ok(())
        }
        Some((known, _)) if *known != *ask.member_id => Err(ErrorCode::FencedInstanceId),
        Some(_) => Ok(()),
    }
}

/// The member that asks, if it is one of this generation that uses the classic protocol.
fn member<'a>(
    state: &'a State,
    id: &str,
    instance: Option<&str>,
    generation: i32,
) -> Result<(&'a Arc<str>, &'a Member), ErrorCode> {
    let found = match instance {
        None => state.members().get_key_value(id),
        Some(instance) => match state.static_member(instance) {
            Some((known, _)) if **known != *id => return Err(ErrorCode::FencedInstanceId),
            found => found,
        },
    };
    let (id, member) = found.filter(|(_, member)| member.uses_classic()).ok_or(ErrorCode::UnknownMemberId)?;
    if generation != member.current.epoch {
        return Err(ErrorCode::IllegalGeneration);
    }
    Ok((id, member))
}

pub(super) fn sync(turn: &mut Turn<'_>, draft: &Draft<'_>, ask: &Sync) -> Result<SyncReply, ErrorCode> {
    let state = draft.state();
    let (id, member) = member(state, &ask.member_id, ask.instance_id.as_deref(), ask.generation)?;
    let Some(classic) = &member.metadata.classic else { return Err(ErrorCode::UnknownMemberId) };
    let Some((protocol, metadata)) = classic.protocols.first() else {
        return Err(ErrorCode::InconsistentGroupProtocol);
    };
    if ask.protocol_type.as_ref().is_some_and(|kind| kind != CONSUMER)
        || ask.protocol.as_ref().is_some_and(|name| name != protocol)
    {
        return Err(ErrorCode::InconsistentGroupProtocol);
    }
    if state.epoch > member.current.epoch && member.current.state != MemberState::Unrevoked {
        await_join(turn, id, member);
        return Err(ErrorCode::RebalanceInProgress);
    }
    turn.soft.cancel(id, Lapse::Sync, turn.desk);
    turn.soft.schedule(turn.group, id, Lapse::Session, classic.session_timeout_ms, turn.desk);
    let version = embedded::subscription(metadata).map_or(0, |subscription| subscription.version);
    let assigned = member.current.assigned.partitions();
    Ok(SyncReply {
        error: ErrorCode::None,
        protocol_type: ask.protocol_type.clone(),
        protocol: ask.protocol.clone(),
        assignment: embedded::encode_assignment(version, &assigned, &turn.desk.image),
    })
}

/// It has to join again, and not at its leisure.
fn await_join(turn: &mut Turn<'_>, id: &Arc<str>, member: &Member) {
    if turn.soft.is_idle(id, Lapse::Join) {
        let timeout_ms = member.metadata.rebalance_timeout_ms;
        turn.soft.schedule(turn.group, id, Lapse::Join, timeout_ms, turn.desk);
    }
}

/// A member is to join again when there is a new epoch, when it was told to give something back, and when what it waits
/// for is free.
pub(super) fn heartbeat(turn: &mut Turn<'_>, draft: &Draft<'_>, ask: &Heartbeat) -> Result<(), ErrorCode> {
    let state = draft.state();
    let (id, member) = member(state, &ask.member_id, ask.instance_id.as_deref(), ask.generation)?;
    let timeout_ms = member.metadata.classic.as_ref().map_or(0, |classic| classic.session_timeout_ms);
    turn.soft.schedule(turn.group, id, Lapse::Session, timeout_ms, turn.desk);
    let rejoins = match member.current.state {
        MemberState::Unrevoked => true,
        MemberState::Unreleased => !reconcile::waits_for_others(state, id),
        MemberState::Stable | MemberState::Unknown(_) => false,
    };
    if rejoins || member.current.epoch < state.epoch {
        await_join(turn, id, member);
        return Err(ErrorCode::RebalanceInProgress);
    }
    Ok(())
}

pub(super) fn leave(turn: &mut Turn<'_>, draft: &mut Draft<'_>, ask: &Leave) -> LeaveReply {
    let mut gone = Vec::new();
    let members = ask.members.iter().map(|leaver| {
        let error = match who_leaves(draft.state(), leaver) {
            Ok(id) => {
                if !gone.contains(&id) {
                    gone.push(id);
                }
                ErrorCode::None
            }
            Err(error) => error,
        };
        let (member_id, instance_id) = (leaver.member_id.clone(), leaver.instance_id.clone());
        LeftMember { member_id, instance_id, error }
    });
    let members = members.collect();
    fence::remove(turn, draft, &gone);
    LeaveReply { error: ErrorCode::None, members }
}

fn who_leaves(state: &State, leaver: &Leaver) -> Result<Arc<str>, ErrorCode> {
    let found = match &leaver.instance_id {
        None => state.members().get_key_value(leaver.member_id.as_str()).map(|(id, _)| id),
        Some(instance) => match state.static_member(instance) {
            // An operator removes a static member by its instance.
            Some((known, _)) if !leaver.member_id.is_empty() && **known != *leaver.member_id => {
                return Err(ErrorCode::FencedInstanceId);
            }
            found => found.map(|(id, _)| id),
        },
    };
    found.cloned().ok_or(ErrorCode::UnknownMemberId)
}
