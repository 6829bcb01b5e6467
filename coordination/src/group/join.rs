//! JoinGroup: newcomers, members that come back, and static members under a new id.

use std::sync::Arc;

use model::ErrorCode;

use super::classic::Group;
use super::coordinator::Coordinator;
use super::desk::{Desk, Then};
use super::limits::{GROUP_MEMBERS_MAX, MEMBER_BYTES_MAX, MEMBER_PROTOCOLS_MAX, NAME_BYTES_MAX};
use super::member::{Member, protocol_bytes};
use super::reply::{GroupState, JoinReply, Reply};
use super::request::Join;
use super::timers::Timer;

impl Coordinator {
    pub(super) fn join(&mut self, ticket: u64, join: &Join) {
        if let Err(error) = admit(&self.desk, join) {
            self.desk.reply(ticket, Reply::Join(JoinReply::error(error, &join.member_id)));
            return;
        }
        let newcomer = join.member_id.is_empty();
        let fresh = !self.groups.contains_key(join.group.as_str());
        if fresh && !newcomer {
            let unknown = JoinReply::error(ErrorCode::UnknownMemberId, &join.member_id);
            self.desk.reply(ticket, Reply::Join(unknown));
            return;
        }
        let desk = &mut self.desk;
        let id: Arc<str> = join.group.as_str().into();
        let group = self.groups.entry(Arc::clone(&id)).or_insert_with(|| {
            let mut group = Group::new(id);
            group.since = desk.wall;
            group
        });
        if group.accepts(&join.member_id, desk) {
            group.join(ticket, join, desk);
        } else {
            group.remove(&join.member_id, desk);
            desk.reply(ticket, Reply::Join(JoinReply::error(ErrorCode::GroupMaxSizeReached, "")));
        }
        if fresh {
            let record = group.blank();
            group.append(desk, vec![record], Then::Created);
        }
        group.recount(true, desk);
    }
}

/// What needs no group to be refused.
pub(super) fn admit(desk: &Desk, join: &Join) -> Result<(), ErrorCode> {
    let settings = &desk.settings;
    if join.group.is_empty() || join.group.len() > NAME_BYTES_MAX {
        return Err(ErrorCode::InvalidGroupId);
    }
    let allowed = settings.session_timeout_ms_min..=settings.session_timeout_ms_max;
    if !allowed.contains(&join.session_timeout_ms) {
        return Err(ErrorCode::InvalidSessionTimeout);
    }
    let names = [&join.client_id, &join.client_host, &join.protocol_type];
    let mut names = names.into_iter().chain(&join.instance_id).chain(join.protocols.iter().map(|one| &one.0));
    let metadata = protocol_bytes(&join.protocols);
    if names.any(|name| name.len() > NAME_BYTES_MAX)
        || join.protocols.len() > MEMBER_PROTOCOLS_MAX
        || metadata > MEMBER_BYTES_MAX
    {
        return Err(ErrorCode::InvalidRequest);
    }
    if join.member_id.is_empty() && !desk.affords((2048 + metadata) as u64) {
        return Err(ErrorCode::GroupMaxSizeReached);
    }
    Ok(())
}

impl Group {
    /// What Kafka writes for a group that was only just thought of.
    pub fn blank(&self) -> super::record::Record {
        let value = super::record::GroupValue {
            protocol_type: String::new(),
            generation: 0,
            protocol: None,
            leader: None,
            state_since: self.since,
            members: Vec::new(),
        };
        super::record::Record::Group { group: Arc::clone(&self.id), value: Some(Arc::new(value)) }
    }

    /// Whether `group.max.size` lets this member join. While a rebalance gathers, those who joined count, so that an
    /// oversized group sheds the last to come back.
    fn accepts(&self, member_id: &str, desk: &Desk) -> bool {
        let most = desk.settings.members_max();
        let known = self.members.get(member_id);
        match self.state {
            GroupState::Empty | GroupState::Dead | GroupState::Assigning | GroupState::Reconciling => true,
            GroupState::PreparingRebalance => {
                known.is_some_and(|member| member.joining.is_some()) || self.joining() < most
            }
            GroupState::CompletingRebalance | GroupState::Stable => {
                known.is_some() || self.members.len() < most
            }
        }
    }

    fn join(&mut self, ticket: u64, join: &Join, desk: &mut Desk) {
        let refused = if self.state == GroupState::Dead {
            Some(ErrorCode::CoordinatorNotAvailable)
        } else if !self.supports(&join.protocol_type, &join.protocols) {
            Some(ErrorCode::InconsistentGroupProtocol)
        } else {
            None
        };
        if let Some(error) = refused {
            desk.reply(ticket, Reply::Join(JoinReply::error(error, &join.member_id)));
        } else if join.member_id.is_empty() {
            self.join_newcomer(ticket, join, desk);
        } else if self.pending_joins.contains_key(join.member_id.as_str()) {
            if join.instance_id.is_some() {
                // Only dynamic members are given an id before they join.
                let odd = JoinReply::error(ErrorCode::UnknownServerError, &join.member_id);
                desk.reply(ticket, Reply::Join(odd));
                return;
            }
            self.join_member(ticket, join, join.member_id.as_str().into(), desk);
        } else if let Err(error) = self.validate(&join.member_id, join.instance_id.as_deref()) {
            desk.reply(ticket, Reply::Join(JoinReply::error(error, &join.member_id)));
        } else {
            self.rejoin(ticket, join, desk);
        }
    }

    fn join_newcomer(&mut self, ticket: u64, join: &Join, desk: &mut Desk) {
        let name = join.instance_id.as_ref().unwrap_or(&join.client_id);
        let id: Arc<str> = desk.ids.member_id(name).into();
        match &join.instance_id {
            Some(instance) => match self.statics.get(instance).cloned() {
                Some(old) => self.replace_static(ticket, join, &old, id, desk),
                None => self.join_member(ticket, join, id, desk),
            },
            None if join.require_known_member_id && self.pending_joins.len() >= GROUP_MEMBERS_MAX => {
                // They vanish with their sessions.
                let later = JoinReply::error(ErrorCode::CoordinatorNotAvailable, "");
                desk.reply(ticket, Reply::Join(later));
            }
            None if join.require_known_member_id => {
                let timer = Timer::Session { group: Arc::clone(&self.id), member: Arc::clone(&id) };
                let key = desk.timers.schedule(desk.after(join.session_timeout_ms), timer);
                let reply = JoinReply::error(ErrorCode::MemberIdRequired, &id);
                self.pending_joins.insert(id, Some(key));
                desk.reply(ticket, Reply::Join(reply));
            }
            None => self.join_member(ticket, join, id, desk),
        }
    }

    /// Adds a member that was none, and rebalances.
    fn join_member(&mut self, ticket: u64, join: &Join, id: Arc<str>, desk: &mut Desk) {
        if let Some(mut timer) = self.pending_joins.remove(&id) {
            desk.timers.cancel(&mut timer);
        }
        if self.state == GroupState::PreparingRebalance && self.state_before == GroupState::Empty {
            self.newcomers = true;
        }
        if self.members.is_empty() {
            self.protocol_type = Some(join.protocol_type.clone());
        }
        let mut member = Member::new(Arc::clone(&id), join);
        member.joining = Some(desk.park(ticket));
        self.add(member);
        // It cannot send heartbeats before it knows its id, and nobody notices when its connection is gone.
        let timeout_ms = i32::try_from(desk.settings.new_member_join_timeout_ms).unwrap_or(i32::MAX);
        self.refresh_session(&id, Some(timeout_ms), desk);
        self.rebalance(desk);
    }

    /// A member that the group knows joins again.
    fn rejoin(&mut self, ticket: u64, join: &Join, desk: &mut Desk) {
        let same = self.members.get(join.member_id.as_str()).is_some_and(|one| one.matches(&join.protocols));
        let leader = self.is_leader(&join.member_id);
        match self.state {
            GroupState::PreparingRebalance => self.update_member(ticket, join, desk),
            // It did not hear the answer: the same one again.
            GroupState::CompletingRebalance if same => {
                let members = if leader { self.everybody() } else { Vec::new() };
                desk.reply(ticket, Reply::Join(JoinReply { members, ..self.joined(&join.member_id) }));
            }
            // The leader joins again when something else than members changed, as the partitions of a topic.
            GroupState::Stable if same && !leader => {
                desk.reply(ticket, Reply::Join(self.joined(&join.member_id)));
            }
            GroupState::CompletingRebalance | GroupState::Stable => self.update_member(ticket, join, desk),
            GroupState::Empty | GroupState::Dead | GroupState::Assigning | GroupState::Reconciling => {
                let unknown = JoinReply::error(ErrorCode::UnknownMemberId, &join.member_id);
                desk.reply(ticket, Reply::Join(unknown));
            }
        }
    }

    fn update_member(&mut self, ticket: u64, join: &Join, desk: &mut Desk) {
        self.await_join(ticket, join, &join.member_id, desk);
        self.rebalance(desk);
    }

    /// Takes what `join` says of a member, and its ticket. An older JoinGroup of it that still waits is told to join
    /// again: whoever sent it has given up.
    fn await_join(&mut self, ticket: u64, join: &Join, id: &str, desk: &mut Desk) {
        let Some(member) = self.members.get_mut(id) else { return };
        member.update(join);
        if let Some(older) = member.joining.replace(desk.park(ticket)) {
            let again = JoinReply::error(ErrorCode::RebalanceInProgress, id);
            desk.release(older, Reply::Join(again));
        }
    }

    /// A static member came back without knowing its id (it was restarted): it takes the place of `old`, which is
    /// fenced. A stable group that would choose the same protocol goes on without a rebalance (KIP-345).
    fn replace_static(&mut self, ticket: u64, join: &Join, old: &str, new: Arc<str>, desk: &mut Desk) {
        let old_leader = self.leader.clone();
        let Some(mut before) = self.members.remove(old) else { return };
        self.dismiss(&mut before, ErrorCode::FencedInstanceId, old, desk);
        desk.timers.cancel(&mut before.session);
        self.pending_syncs.remove(old);
        let member = Member { id: Arc::clone(&new), is_new: false, ..before.clone() };
        if let Some(instance) = &member.instance {
            self.statics.insert(instance.clone(), Arc::clone(&new));
        }
        if self.is_leader(old) {
            self.leader = Some(Arc::clone(&new));
        }
        self.members.insert(Arc::clone(&new), member);
        self.await_join(ticket, join, &new, desk);
        self.refresh_session(&new, None, desk);
        match self.state {
            GroupState::Stable if self.select_protocol() == self.protocol => {
                let leader = if join.can_skip_assignment { self.leader.clone() } else { old_leader };
                let skips = join.can_skip_assignment && self.is_leader(&new);
                let reply = JoinReply {
                    leader: leader.as_deref().unwrap_or_default().to_owned(),
                    skip_assignment: skips,
                    members: if skips { self.everybody() } else { Vec::new() },
                    ..self.joined(&new)
                };
                let (old, reply) = (Box::new(before), Box::new(reply));
                let then = Then::Rejoined { ticket, generation: self.generation, old, new_id: new, reply };
                let record = self.value(|member| member.assignment.clone());
                self.append(desk, vec![record], then);
            }
            GroupState::Stable => {
                self.rebalance(desk);
            }
            // The leader may be assigning to the old id just now.
            GroupState::CompletingRebalance => {
                self.prepare_rebalance(desk);
            }
            _ => {
                self.complete_join_if_all(desk);
            }
        }
    }

    /// The record with a static member's new id landed, or not: then the old id holds again. If a rebalance began
    /// meanwhile the member simply is in it.
    pub fn rejoined(
        &mut self,
        (ticket, generation): (u64, i32),
        old: Member,
        new_id: &str,
        reply: JoinReply,
        result: Result<(), ErrorCode>,
        desk: &mut Desk,
    ) {
        let stable = self.state == GroupState::Stable && self.generation == generation;
        let waiting = self.members.get_mut(new_id).filter(|member| stable && member.joining == Some(ticket));
        let Some(member) = waiting else { return };
        member.joining = None;
        let Err(error) = result else {
            desk.release(ticket, Reply::Join(reply));
            self.refresh_session(new_id, None, desk);
            return;
        };
        if let Some(mut replaced) = self.members.remove(new_id) {
            desk.timers.cancel(&mut replaced.session);
            let old_id = Arc::clone(&old.id);
            if let Some(instance) = &old.instance {
                self.statics.insert(instance.clone(), Arc::clone(&old_id));
            }
            if self.is_leader(new_id) {
                self.leader = Some(Arc::clone(&old_id));
            }
            self.members.insert(Arc::clone(&old_id), Member { assignment: replaced.assignment, ..old });
            self.refresh_session(&old_id, None, desk);
        }
        desk.release(ticket, Reply::Join(JoinReply { error, ..self.joined("") }));
    }
}
