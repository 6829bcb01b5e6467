//! A rebalance: members join, the generation begins, the silent are dropped.

use std::sync::Arc;

use bytes::Bytes;
use model::ErrorCode;

use super::classic::Group;
use super::desk::{Desk, Then};
use super::reply::{GroupState, JoinMember, JoinReply, Reply, SyncReply};
use super::timers::Timer;

impl Group {
    /// Something about the members changed: begins a rebalance, or ends the one that runs if everybody joined. Gives
    /// the append that stores the group as empty, when that came out of it.
    pub fn rebalance(&mut self, desk: &mut Desk) -> Option<u64> {
        match self.state {
            GroupState::Stable | GroupState::CompletingRebalance | GroupState::Empty => {
                self.prepare_rebalance(desk)
            }
            GroupState::PreparingRebalance
            | GroupState::Dead
            | GroupState::Assigning
            | GroupState::Reconciling => self.complete_join_if_all(desk),
        }
    }

    /// Begins a rebalance. The first one of an empty group waits for more members before it can end.
    pub fn prepare_rebalance(&mut self, desk: &mut Desk) -> Option<u64> {
        if self.state == GroupState::CompletingRebalance {
            self.reset_assignments(ErrorCode::RebalanceInProgress, desk);
        }
        self.pending_syncs.clear();
        desk.timers.cancel(&mut self.sync_timer);
        let first = self.state == GroupState::Empty;
        self.transition(GroupState::PreparingRebalance, desk);
        if first {
            let delay_ms = u64::from(desk.settings.initial_rebalance_delay_ms);
            let longest_ms = u64::try_from(self.rebalance_timeout_ms()).unwrap_or(0);
            self.newcomers = false;
            self.wait_for_newcomers(delay_ms, longest_ms.saturating_sub(delay_ms), desk);
            return None;
        }
        if self.all_joined() {
            return self.complete_join(desk);
        }
        self.wait_for_members(desk);
        None
    }

    fn wait_for_newcomers(&mut self, delay_ms: u64, remaining_ms: u64, desk: &mut Desk) {
        desk.timers.cancel(&mut self.join_timer);
        let timer = Timer::InitialJoin { group: Arc::clone(&self.id), delay_ms, remaining_ms };
        self.join_timer = Some(desk.timers.schedule(desk.now.after_ms(delay_ms), timer));
    }

    pub fn wait_for_members(&mut self, desk: &mut Desk) {
        desk.timers.cancel(&mut self.join_timer);
        let at = desk.after(self.rebalance_timeout_ms());
        self.join_timer = Some(desk.timers.schedule(at, Timer::Join { group: Arc::clone(&self.id) }));
    }

    /// Ends the joining if nobody is missing. The first rebalance ends by its timer only.
    pub fn complete_join_if_all(&mut self, desk: &mut Desk) -> Option<u64> {
        let first = self.state_before == GroupState::Empty;
        if self.state == GroupState::PreparingRebalance && !first && self.all_joined() {
            return self.complete_join(desk);
        }
        None
    }

    /// The first rebalance waited: again if somebody came meanwhile and the rebalance timeout allows.
    pub fn initial_join_due(&mut self, delay_ms: u64, remaining_ms: u64, desk: &mut Desk) {
        if self.newcomers && remaining_ms > 0 {
            self.newcomers = false;
            let delay_next = u64::from(desk.settings.initial_rebalance_delay_ms).min(remaining_ms);
            self.wait_for_newcomers(delay_next, remaining_ms.saturating_sub(delay_ms), desk);
        } else {
            self.complete_join(desk);
        }
    }

    /// Ends the joining: drops dynamic members that did not come, begins the next generation and answers everybody
    /// who waits. Gives the append that stores the group as empty, when nobody is left.
    pub fn complete_join(&mut self, desk: &mut Desk) -> Option<u64> {
        desk.timers.cancel(&mut self.join_timer);
        if self.state != GroupState::PreparingRebalance {
            return None;
        }
        let gone = self.members.values().filter(|one| one.joining.is_none() && one.instance.is_none());
        let gone: Vec<Arc<str>> = gone.map(|member| Arc::clone(&member.id)).collect();
        for id in gone {
            self.remove(&id, desk);
        }
        if !self.members.is_empty() && !self.elect_joined_leader() {
            // Only static members that did not come: their sessions decide.
            self.wait_for_members(desk);
            return None;
        }
        self.generation = self.generation.checked_add(1).unwrap_or(1);
        self.pending_syncs.clear();
        self.protocol = self.select_protocol();
        self.subscribed = self.read_subscriptions();
        if self.members.is_empty() {
            self.transition(GroupState::Empty, desk);
            let record = self.value(|_| Bytes::new());
            return Some(self.append(desk, vec![record], Then::Nothing));
        }
        self.transition(GroupState::CompletingRebalance, desk);
        self.begin_generation(desk);
        None
    }

    /// A leader that did not come back hands over to one who did; says whether there is a leader that joined.
    fn elect_joined_leader(&mut self) -> bool {
        let leader = self.leader.as_ref().and_then(|id| self.members.get(id));
        if leader.is_some_and(|member| member.joining.is_some()) {
            return true;
        }
        let joined = self.members.values().find(|member| member.joining.is_some());
        let Some(joined) = joined.map(|member| Arc::clone(&member.id)) else { return false };
        self.leader = Some(joined);
        true
    }

    fn begin_generation(&mut self, desk: &mut Desk) {
        let everybody = self.everybody();
        let ids: Vec<Arc<str>> = self.members.keys().cloned().collect();
        for id in ids {
            let members = if self.is_leader(&id) { everybody.clone() } else { Vec::new() };
            let reply = JoinReply { members, ..self.joined(&id) };
            if let Some(member) = self.members.get_mut(&id) {
                member.is_new = false;
                if let Some(ticket) = member.joining.take() {
                    desk.release(ticket, Reply::Join(reply));
                }
            }
            self.refresh_session(&id, None, desk);
            self.pending_syncs.insert(id);
        }
        desk.timers.cancel(&mut self.sync_timer);
        let timer = Timer::Sync { group: Arc::clone(&self.id), generation: self.generation };
        self.sync_timer = Some(desk.timers.schedule(desk.after(self.rebalance_timeout_ms()), timer));
    }

    /// What the leader is told of the members.
    pub fn everybody(&self) -> Vec<JoinMember> {
        let protocol = self.protocol.as_deref().unwrap_or_default();
        let member = |member: &super::member::Member| JoinMember {
            member_id: member.id.to_string(),
            instance_id: member.instance.clone(),
            metadata: member.metadata(protocol),
        };
        self.members.values().map(member).collect()
    }

    /// Counts a member's silence from now: its session timeout, or `timeout_ms`.
    pub fn refresh_session(&mut self, id: &str, timeout_ms: Option<i32>, desk: &mut Desk) {
        let Some(member) = self.members.get_mut(id) else { return };
        desk.timers.cancel(&mut member.session);
        let at = desk.after(timeout_ms.unwrap_or(member.session_timeout_ms));
        let timer = Timer::Session { group: Arc::clone(&self.id), member: Arc::clone(&member.id) };
        member.session = Some(desk.timers.schedule(at, timer));
    }

    /// A member, or an id that was only given out, was silent for too long.
    pub fn session_expired(&mut self, id: &str, desk: &mut Desk) {
        if self.pending_joins.contains_key(id) {
            self.remove(id, desk);
            if self.state == GroupState::PreparingRebalance && self.all_joined() {
                self.complete_join(desk);
            }
            return;
        }
        let Some(member) = self.members.get_mut(id) else { return };
        member.session = None;
        if member.excused() {
            return;
        }
        self.remove(id, desk);
        match self.state {
            GroupState::Stable | GroupState::CompletingRebalance => {
                self.rebalance(desk);
            }
            GroupState::PreparingRebalance if self.all_joined() => {
                self.complete_join(desk);
            }
            _ => {}
        }
    }

    /// The generation waited long enough: whoever did not sync is dropped.
    pub fn sync_expired(&mut self, generation: i32, desk: &mut Desk) {
        let synced = matches!(self.state, GroupState::CompletingRebalance | GroupState::Stable);
        if !synced || generation != self.generation || self.pending_syncs.is_empty() {
            return;
        }
        for id in std::mem::take(&mut self.pending_syncs) {
            self.remove(&id, desk);
        }
        self.prepare_rebalance(desk);
    }

    /// Nobody has an assignment any more; whoever waits for one is told `error`.
    pub fn reset_assignments(&mut self, error: ErrorCode, desk: &mut Desk) {
        for member in self.members.values_mut() {
            member.assignment = Bytes::new();
        }
        self.hand_out(error, desk);
    }

    /// Answers everybody who waits in SyncGroup, and counts their silence from now.
    pub fn hand_out(&mut self, error: ErrorCode, desk: &mut Desk) {
        let (protocol_type, protocol) = match error {
            ErrorCode::None => (self.protocol_type.clone(), self.protocol.clone()),
            _ => (None, None),
        };
        let waiting = self.members.values_mut().filter_map(|member| {
            let ticket = member.syncing.take()?;
            Some((Arc::clone(&member.id), ticket, member.assignment.clone()))
        });
        for (id, ticket, assignment) in waiting.collect::<Vec<_>>() {
            let (protocol_type, protocol) = (protocol_type.clone(), protocol.clone());
            desk.release(ticket, Reply::Sync(SyncReply { error, protocol_type, protocol, assignment }));
            self.refresh_session(&id, None, desk);
        }
    }
}
