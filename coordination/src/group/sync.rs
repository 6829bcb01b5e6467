//! SyncGroup: the leader's assignment is stored, then everybody has its part.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use model::ErrorCode;

use super::classic::Group;
use super::coordinator::Coordinator;
use super::desk::{Desk, Then};
use super::reply::{GroupState, Reply, SyncReply};
use super::request::Sync;

impl Coordinator {
    pub(super) fn sync(&mut self, ticket: u64, sync: &Sync) {
        let refused =
            if sync.group.is_empty() { ErrorCode::InvalidGroupId } else { ErrorCode::UnknownMemberId };
        let group = self.groups.get_mut(sync.group.as_str());
        let Some(group) = group.filter(|group| group.state != GroupState::Empty) else {
            self.desk.reply(ticket, Reply::Sync(SyncReply::error(refused)));
            return;
        };
        group.sync(ticket, sync, &mut self.desk);
        group.recount(true, &mut self.desk);
    }
}

impl Group {
    fn sync(&mut self, ticket: u64, sync: &Sync, desk: &mut Desk) {
        if let Err(error) = self.may_sync(sync) {
            desk.reply(ticket, Reply::Sync(SyncReply::error(error)));
            return;
        }
        let id = sync.member_id.as_str();
        self.pending_syncs.remove(id);
        if self.pending_syncs.is_empty() {
            desk.timers.cancel(&mut self.sync_timer);
        }
        let Some(member) = self.members.get_mut(id) else { return };
        if self.state == GroupState::Stable {
            let reply = SyncReply {
                error: ErrorCode::None,
                protocol_type: self.protocol_type.clone(),
                protocol: self.protocol.clone(),
                assignment: member.assignment.clone(),
            };
            desk.reply(ticket, Reply::Sync(reply));
            return;
        }
        if let Some(older) = member.syncing.replace(desk.park(ticket)) {
            desk.release(older, Reply::Sync(SyncReply::error(ErrorCode::RebalanceInProgress)));
        }
        if self.is_leader(id) && self.storing != Some(self.generation) {
            self.store(sync, desk);
        }
    }

    fn may_sync(&self, sync: &Sync) -> Result<(), ErrorCode> {
        if self.state == GroupState::Dead {
            return Err(ErrorCode::CoordinatorNotAvailable);
        }
        self.validate(&sync.member_id, sync.instance_id.as_deref())?;
        if sync.generation != self.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        let differs =
            |said: &Option<String>, is: &Option<String>| said.is_some() && is.is_some() && said != is;
        if differs(&sync.protocol_type, &self.protocol_type) || differs(&sync.protocol, &self.protocol) {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        if self.state == GroupState::PreparingRebalance {
            return Err(ErrorCode::RebalanceInProgress);
        }
        Ok(())
    }

    /// Appends the generation with the leader's assignments; members it forgot get an empty one, strangers none.
    fn store(&mut self, sync: &Sync, desk: &mut Desk) {
        let mut assignments: BTreeMap<Arc<str>, Bytes> = BTreeMap::new();
        for (id, assignment) in &sync.assignments {
            if let Some((id, _)) = self.members.get_key_value(id.as_str()) {
                assignments.insert(Arc::clone(id), Bytes::copy_from_slice(assignment));
            }
        }
        let record = self.value(|member| assignments.get(&member.id).cloned().unwrap_or_default());
        self.storing = Some(self.generation);
        let generation = self.generation;
        self.append(desk, vec![record], Then::Assigned { generation, assignments });
    }

    /// The generation is stored, or not. A rebalance that began meanwhile makes it the past.
    pub fn assigned(
        &mut self,
        generation: i32,
        mut assignments: BTreeMap<Arc<str>, Bytes>,
        result: Result<(), ErrorCode>,
        desk: &mut Desk,
    ) {
        if self.storing == Some(generation) {
            self.storing = None;
        }
        if self.state != GroupState::CompletingRebalance || generation != self.generation {
            return;
        }
        if let Err(error) = result {
            self.reset_assignments(error, desk);
            self.rebalance(desk);
            return;
        }
        for member in self.members.values_mut() {
            member.assignment = assignments.remove(&member.id).unwrap_or_default();
        }
        self.hand_out(ErrorCode::None, desk);
        self.transition(GroupState::Stable, desk);
    }
}
