//! What happens when an append has landed, or has not: records apply, and those who waited are answered.

use std::collections::BTreeSet;
use std::sync::Arc;

use model::ErrorCode;

use super::classic::Group;
use super::coordinator::Coordinator;
use super::desk::{Desk, Flight, Then};
use super::reply::{GroupState, JoinReply, Reply};
use crate::share::membership as share;

impl Coordinator {
    /// All appends up to this one are durable.
    pub(super) fn durable(&mut self, id: u64) {
        while let Some(first) = self.desk.flights.first_entry().filter(|first| *first.key() <= id) {
            let (number, flight) = first.remove_entry();
            let mut touched: BTreeSet<&Arc<str>> = BTreeSet::new();
            for record in &flight.records {
                self.apply(record);
                touched.insert(record.group());
            }
            for id in touched {
                if let Some(group) = self.groups.get_mut(id) {
                    group.recount(false, &mut self.desk);
                }
            }
            self.landed(number, flight, Ok(()));
        }
    }

    /// An append landed (its records are applied), or not: what rides behind it happens.
    pub(super) fn landed(&mut self, number: u64, flight: Flight, result: Result<(), ErrorCode>) {
        let error = result.err().unwrap_or(ErrorCode::None);
        let told = |reply: Reply| if error.is_ok() { reply } else { reply.failed(error) };
        let id = flight.group.unwrap_or_else(|| "".into());
        if let Some(group) = self.groups.get_mut(&id) {
            group.flights = group.flights.saturating_sub(1);
        }
        let group = self.groups.get_mut(&id);
        match flight.then {
            Then::Nothing => {}
            Then::Answer { ticket, reply } => self.desk.release(ticket, told(reply)),
            Then::Created => {
                if let (Err(error), Some(group)) = (result, group) {
                    group.creation_failed(error, &mut self.desk);
                }
            }
            Then::Assigned { generation, assignments } => {
                // One that is changing its protocol rebalances if that fails.
                if let Some(group) = group.filter(|group| !group.queue.storing) {
                    group.assigned(generation, assignments, result, &mut self.desk);
                    group.recount(true, &mut self.desk);
                }
            }
            Then::Rejoined { ticket, generation, old, new_id, reply } => {
                if let Some(group) = group {
                    group.rejoined((ticket, generation), *old, &new_id, *reply, result, &mut self.desk);
                    group.recount(true, &mut self.desk);
                }
            }
            Then::Committed { ticket, reply, keys, reserved } => {
                self.desk.bytes -= reserved;
                if let Some(group) = group {
                    group.commit_landed(&keys);
                }
                self.desk.release(ticket, told(reply));
            }
            Then::Deleted { deletion, place } => {
                // It is still there when its tombstone, or an earlier part of them, failed.
                let verdict = match group {
                    Some(group) => {
                        group.revive();
                        if error.is_ok() { ErrorCode::CoordinatorNotAvailable } else { error }
                    }
                    None => ErrorCode::None,
                };
                self.deleted(deletion, place, verdict);
            }
            Then::Expired { whole } => {
                if let Some(group) = group.filter(|_| whole) {
                    group.revive();
                }
            }
            Then::Consumer { replies, change } => self.consumer_landed(&id, replies, change, result),
            Then::Share(append) => self.step_share(match result {
                Ok(()) => share::Input::Durable(append),
                Err(error) => share::Input::AppendFailed(append, error),
            }),
        }
        self.forget_if_vacant(&id);
        for (ticket, fetch) in flight.fetches {
            // A younger append may have failed before an older one landed: then it waits on.
            if let Some(fetch) = self.wait_until_stable(ticket, fetch, number) {
                let reply = self.fetched(&fetch);
                self.desk.release(ticket, reply);
            }
        }
    }
}

impl Group {
    /// The first record of the group failed: who came is told so, and it is as if it never was.
    fn creation_failed(&mut self, error: ErrorCode, desk: &mut Desk) {
        if self.durable || self.generation > 0 {
            return;
        }
        let ids: Vec<Arc<str>> = self.members.keys().chain(self.pending_joins.keys()).cloned().collect();
        for id in ids {
            if let Some(member) = self.members.get_mut(&id)
                && let Some(ticket) = member.joining.take()
            {
                desk.release(ticket, Reply::Join(JoinReply::error(error, "")));
            }
            self.remove(&id, desk);
        }
        desk.timers.cancel(&mut self.join_timer);
        if self.state != GroupState::Dead {
            self.state = GroupState::Empty;
        }
        self.protocol_type = None;
        self.recount(true, desk);
    }
}
