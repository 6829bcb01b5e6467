//! Heartbeat and LeaveGroup.

use model::ErrorCode;

use super::classic::Group;
use super::coordinator::Coordinator;
use super::desk::{Desk, Then};
use super::reply::{GroupState, LeaveReply, LeftMember, Reply};
use super::request::{Heartbeat, Leave, Leaver};

impl Coordinator {
    pub(super) fn heartbeat(&mut self, ticket: u64, heartbeat: &Heartbeat) {
        let error = if heartbeat.group.is_empty() {
            ErrorCode::InvalidGroupId
        } else if let Some(group) = self.groups.get_mut(heartbeat.group.as_str()) {
            group.heartbeat(heartbeat, &mut self.desk)
        } else {
            ErrorCode::UnknownMemberId
        };
        self.desk.reply(ticket, Reply::Heartbeat(error));
    }

    pub(super) fn leave(&mut self, ticket: u64, leave: &Leave) {
        let refused = |error| Reply::Leave(LeaveReply { error, members: Vec::new() });
        if leave.group.is_empty() {
            self.desk.reply(ticket, refused(ErrorCode::InvalidGroupId));
            return;
        }
        let Some(group) = self.groups.get_mut(leave.group.as_str()) else {
            let members = leave.members.iter().map(|one| left(one, ErrorCode::UnknownMemberId)).collect();
            self.desk.reply(ticket, Reply::Leave(LeaveReply { error: ErrorCode::None, members }));
            return;
        };
        if group.state == GroupState::Dead {
            self.desk.reply(ticket, refused(ErrorCode::CoordinatorNotAvailable));
            return;
        }
        let desk = &mut self.desk;
        let members: Vec<_> = leave.members.iter().map(|one| left(one, group.let_go(one, desk))).collect();
        let anybody = members.iter().any(|member| member.error.is_ok());
        let append = match group.state {
            GroupState::Stable | GroupState::CompletingRebalance if anybody => group.rebalance(desk),
            GroupState::PreparingRebalance if anybody => group.complete_join_if_all(desk),
            _ => None,
        };
        let reply = Reply::Leave(LeaveReply { error: ErrorCode::None, members });
        match append.and_then(|id| desk.flights.get_mut(&id)) {
            // The group is empty now: the answer rides behind the record that says so.
            Some(flight) => {
                flight.then = Then::Answer { ticket, reply };
                desk.park(ticket);
            }
            None => desk.reply(ticket, reply),
        }
        group.recount(true, desk);
    }
}

fn left(leaver: &Leaver, error: ErrorCode) -> LeftMember {
    LeftMember { member_id: leaver.member_id.clone(), instance_id: leaver.instance_id.clone(), error }
}

impl Group {
    fn heartbeat(&mut self, heartbeat: &Heartbeat, desk: &mut Desk) -> ErrorCode {
        if self.state == GroupState::Dead {
            return ErrorCode::CoordinatorNotAvailable;
        }
        if let Err(error) = self.validate(&heartbeat.member_id, heartbeat.instance_id.as_deref()) {
            return error;
        }
        if heartbeat.generation != self.generation {
            return ErrorCode::IllegalGeneration;
        }
        self.refresh_session(&heartbeat.member_id, None, desk);
        if self.state == GroupState::PreparingRebalance {
            ErrorCode::RebalanceInProgress
        } else {
            ErrorCode::None
        }
    }

    fn let_go(&mut self, leaver: &Leaver, desk: &mut Desk) -> ErrorCode {
        let instance = leaver.instance_id.as_deref();
        let id = if leaver.member_id.is_empty() {
            // An operator removes a static member by its instance.
            match instance.and_then(|instance| self.statics.get(instance)) {
                Some(id) => id.to_string(),
                None => return ErrorCode::UnknownMemberId,
            }
        } else if self.pending_joins.contains_key(leaver.member_id.as_str()) {
            leaver.member_id.clone()
        } else {
            match self.validate(&leaver.member_id, instance) {
                Ok(()) => leaver.member_id.clone(),
                Err(error) => return error,
            }
        };
        self.remove(&id, desk);
        ErrorCode::None
    }
}
