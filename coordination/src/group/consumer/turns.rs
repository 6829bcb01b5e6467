//! Requests to a group take turns: one append of it is on its way, whoever comes meanwhile goes with the next.

use std::collections::VecDeque;
use std::sync::Arc;

use model::ErrorCode;

use super::super::classic::Group;
use super::super::coordinator::Coordinator;
use super::super::desk::{Desk, Then};
use super::super::limits::{ENTRIES_PER_APPEND, RECORDS_PER_APPEND};
use super::super::record::Record;
use super::super::reply::{ConsumerHeartbeatReply, GroupState, JoinReply, Reply, SyncReply};
use super::super::request::{ConsumerHeartbeat, Request};
use super::state::Draft;
use super::{Consumer, Lapse, Refusal, Resolved, Turn, fence, heartbeat, join, migrate, patterns};

/// What waits for its turn.
#[derive(Debug)]
pub(in crate::group) enum Waiting {
    /// A request, parked.
    Request { ticket: u64, request: Box<Request> },
    /// A timer fired.
    Lapsed { member: Arc<str>, lapse: Lapse },
    /// Regular expressions were looked up.
    Resolved(Resolved),
}

/// Who waits at one group.
#[derive(Debug, Default)]
pub(in crate::group) struct Queue {
    /// An append of this group by the consumer protocol, or of its change of protocol, is on its way.
    pub storing: bool,
    pub waiting: VecDeque<Waiting>,
}

impl Queue {
    pub fn is_idle(&self) -> bool {
        !self.storing && self.waiting.is_empty()
    }
}

/// How an append changes the protocol of its group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::group) enum Change {
    /// It is by the consumer protocol from now on.
    Upgrade,
    /// It is by the classic protocol from now on, with its members.
    Downgrade,
    /// It had no members, and is no more.
    End,
}

impl Coordinator {
    /// Whether requests about members of this group take turns.
    pub(in crate::group) fn takes_turns(&self, request: &Request) -> Option<Arc<str>> {
        let name = match request {
            Request::Join(join) => &join.group,
            Request::Sync(sync) => &sync.group,
            Request::Heartbeat(heartbeat) => &heartbeat.group,
            Request::Leave(leave) => &leave.group,
            Request::ConsumerHeartbeat(heartbeat) => &heartbeat.group,
            _ => return None,
        };
        let group = self.groups.get(name.as_str())?;
        let turns = group.state != GroupState::Dead && (group.consumer.is_some() || group.queue.storing);
        turns.then(|| Arc::clone(&group.id))
    }

    /// A heartbeat to a group that is not by the consumer protocol, or not at all: whoever joins makes it one.
    pub(in crate::group) fn consumer_heartbeat(&mut self, ticket: u64, ask: &ConsumerHeartbeat) {
        let known = self.groups.get(ask.group.as_str());
        let refused = match heartbeat::check(ask, &self.desk) {
            Err(refused) => Some(refused),
            Ok(()) if known.is_some_and(|group| group.state == GroupState::Dead) => {
                Some((ErrorCode::CoordinatorNotAvailable, "The group is being deleted.".to_owned()))
            }
            Ok(()) if ask.epoch == 0 => None,
            Ok(()) if known.is_some() => {
                Some((ErrorCode::GroupIdNotFound, format!("Group {} is not a consumer group.", ask.group)))
            }
            Ok(()) => Some((ErrorCode::GroupIdNotFound, format!("Consumer group {} not found.", ask.group))),
        };
        if let Some((error, why)) = refused {
            let reply = ConsumerHeartbeatReply::error(error, why);
            self.desk.reply(ticket, Reply::ConsumerHeartbeat(reply));
            return;
        }
        let id: Arc<str> = ask.group.as_str().into();
        let group = self.groups.entry(Arc::clone(&id)).or_insert_with(|| Group::new(id));
        if let Err((error, why)) = group.upgrade(ticket, ask, &mut self.desk) {
            let reply = ConsumerHeartbeatReply::error(error, why);
            self.desk.reply(ticket, Reply::ConsumerHeartbeat(reply));
        }
        group.recount(true, &mut self.desk);
        self.forget_if_vacant(&ask.group);
    }

    /// A timer of a member fired.
    pub(in crate::group) fn lapsed(&mut self, id: &Arc<str>, member: &Arc<str>, lapse: Lapse) {
        let consumer = self.groups.get_mut(id).and_then(|group| group.consumer.as_mut());
        if let Some(consumer) = consumer {
            consumer.soft.fired(member, lapse);
            self.enqueue(id, Waiting::Lapsed { member: Arc::clone(member), lapse });
        }
    }

    /// Puts something behind what waits already.
    pub(in crate::group) fn enqueue(&mut self, id: &Arc<str>, waiting: Waiting) {
        if let Some(group) = self.groups.get_mut(id) {
            group.queue.waiting.push_back(waiting);
            self.take_turns(id);
        }
    }

    /// Decides on what waits, until there is something to store or nobody is left.
    pub(in crate::group) fn take_turns(&mut self, id: &Arc<str>) {
        loop {
            let Some(group) = self.groups.get_mut(id) else { return };
            if group.queue.storing || group.queue.waiting.is_empty() {
                return;
            }
            if group.consumer.is_some() {
                group.take_turns(&mut self.desk);
                self.resolve_soon();
                continue;
            }
            // It is by the classic protocol now.
            if let Some(Waiting::Request { ticket, request }) = group.queue.waiting.pop_front() {
                self.desk.unpark();
                self.request(ticket, *request);
            }
        }
    }

    /// An append of a group by the consumer protocol landed, with its records applied, or not.
    pub(in crate::group) fn consumer_landed(
        &mut self,
        id: &Arc<str>,
        replies: Vec<(u64, Reply)>,
        change: Option<Change>,
        result: Result<(), ErrorCode>,
    ) {
        let desk = &mut self.desk;
        if let Some(group) = self.groups.get_mut(id) {
            group.queue.storing = false;
            match (change, result) {
                (Some(Change::Upgrade), Ok(())) => group.forget_classic(desk),
                (Some(Change::Upgrade), Err(_)) => group.thaw(desk),
                (Some(Change::Downgrade), Ok(())) => group.restored(desk),
                _ => {}
            }
            if let Some(consumer) = &mut group.consumer {
                if result.is_err() {
                    // What the epoch was to take in has to be looked at again, and regular expressions looked up: not at
                    // once, as what cannot be stored would be tried with each heartbeat.
                    consumer.soft.seen = None;
                    consumer.soft.resolved = consumer.soft.resolved.map(|(_, at)| (None, at));
                }
                consumer.arm(id, desk);
            }
        }
        for (ticket, reply) in replies {
            let reply = if let Err(error) = result { reply.failed(error) } else { reply };
            self.desk.release(ticket, reply);
        }
        if let Some(group) = self.groups.get_mut(id) {
            group.recount(true, &mut self.desk);
        }
        self.take_turns(id);
    }
}

impl Group {
    /// One append's worth of turns.
    fn take_turns(&mut self, desk: &mut Desk) {
        let Some(mut consumer) = self.consumer.take() else { return };
        let (mut replies, mut change) = (Vec::new(), None);
        let Consumer { state, soft } = &mut *consumer;
        let mut draft = Draft::on(state);
        while change.is_none()
            && draft.records.len() < RECORDS_PER_APPEND
            && draft.copied < ENTRIES_PER_APPEND
        {
            let ends = |waiting: &Waiting| match waiting {
                Waiting::Request { request, .. } => migrate::ends(request, draft.state()),
                _ => false,
            };
            if self.queue.waiting.front().is_some_and(ends) {
                // It stays in front: the group by the classic protocol sees to it.
                change = Some(Change::End);
                break;
            }
            let Some(waiting) = self.queue.waiting.pop_front() else { break };
            let mut turn = Turn { group: &self.id, soft: &mut *soft, desk: &mut *desk };
            match waiting {
                Waiting::Request { ticket, request } => {
                    replies.push((ticket, answer(&mut turn, &mut draft, &request)));
                }
                Waiting::Lapsed { member, lapse } => fence::lapsed(&mut turn, &mut draft, &member, lapse),
                Waiting::Resolved(resolved) => patterns::resolved(&mut turn, &mut draft, resolved),
            }
            if !draft.records.is_empty() && migrate::is_to_downgrade(draft.state(), desk) {
                change = Some(Change::Downgrade);
            }
        }
        let classic = match change {
            Some(Change::Downgrade) => Some(migrate::to_classic(&self.id, draft.state(), desk)),
            Some(Change::End) => {
                self.since = desk.wall;
                Some(self.blank())
            }
            Some(Change::Upgrade) | None => None,
        };
        if change.is_some() {
            let tombstones = draft.state().tombstones();
            tombstones.into_iter().for_each(|record| draft.push(record));
        }
        let group = &self.id;
        let changes = draft.records.into_iter();
        let changes = changes.map(|change| Record::Consumer { group: Arc::clone(group), change });
        // What the group is from now on stands behind the end of what it was.
        let records: Vec<Record> = changes.chain(classic).collect();
        self.consumer = Some(consumer);
        if records.is_empty() {
            replies.into_iter().for_each(|(ticket, reply)| desk.release(ticket, reply));
        } else {
            self.queue.storing = true;
            self.append(desk, records, Then::Consumer { replies, change });
        }
    }
}

fn answer(turn: &mut Turn<'_>, draft: &mut Draft<'_>, request: &Request) -> Reply {
    match request {
        Request::ConsumerHeartbeat(ask) => {
            let made = draft.attempt(|draft| heartbeat::heartbeat(turn, draft, ask));
            if made.is_err() {
                // It may have been about to take in new metadata.
                turn.soft.seen = None;
            }
            let refused = |(error, why): Refusal| ConsumerHeartbeatReply::error(error, why);
            Reply::ConsumerHeartbeat(made.unwrap_or_else(refused))
        }
        Request::Join(ask) => {
            let made = draft.attempt(|draft| join::join(turn, draft, ask));
            if made.is_err() {
                turn.soft.seen = None;
            }
            Reply::Join(made.unwrap_or_else(|error| JoinReply::error(error, &ask.member_id)))
        }
        Request::Sync(ask) => Reply::Sync(join::sync(turn, draft, ask).unwrap_or_else(SyncReply::error)),
        Request::Heartbeat(ask) => {
            Reply::Heartbeat(join::heartbeat(turn, draft, ask).err().unwrap_or(ErrorCode::None))
        }
        Request::Leave(ask) => Reply::Leave(join::leave(turn, draft, ask)),
        other => Reply::refused(other, ErrorCode::UnknownServerError),
    }
}
