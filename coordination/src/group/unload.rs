//! A coordinator whose partition goes elsewhere: everybody who waits is sent away.

use model::ErrorCode;

use super::consumer::Waiting;
use super::coordinator::Coordinator;
use super::desk::Then;
use super::reply::{JoinReply, Reply, SyncReply};
use super::request::Request;
use crate::share::membership as share;

impl Coordinator {
    pub(super) fn unload(&mut self) {
        let error = ErrorCode::NotCoordinator;
        for mut group in std::mem::take(&mut self.groups).into_values() {
            for waiting in std::mem::take(&mut group.queue.waiting) {
                if let Waiting::Request { ticket, request } = waiting {
                    self.desk.release(ticket, Reply::refused(&request, error));
                }
            }
            for member in group.members.into_values() {
                if let Some(ticket) = member.joining {
                    self.desk.release(ticket, Reply::Join(JoinReply::error(error, &member.id)));
                }
                if let Some(ticket) = member.syncing {
                    self.desk.release(ticket, Reply::Sync(SyncReply::error(error)));
                }
            }
        }
        for flight in std::mem::take(&mut self.desk.flights).into_values() {
            match flight.then {
                Then::Answer { ticket, reply } | Then::Committed { ticket, reply, .. } => {
                    self.desk.release(ticket, reply.failed(error));
                }
                Then::Consumer { replies, .. } => {
                    for (ticket, reply) in replies {
                        self.desk.release(ticket, reply.failed(error));
                    }
                }
                _ => {}
            }
            for (ticket, fetch) in flight.fetches {
                self.desk.release(ticket, Reply::refused(&Request::OffsetFetch(fetch), error));
            }
        }
        for deletion in std::mem::take(&mut self.desk.deletions).into_values() {
            let verdict = |(id, told): (String, ErrorCode)| (id, if told.is_ok() { error } else { told });
            let verdicts = deletion.verdicts.into_iter().map(verdict).collect();
            self.desk.release(deletion.ticket, Reply::Delete(verdicts));
        }
        self.step_share(share::Input::Unload);
        self.desk.timers.clear();
        self.stop_resolving();
        self.desk.bytes = 0;
    }
}
