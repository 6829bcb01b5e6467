//! A group has one append in flight: what comes meanwhile waits for its turn.

use std::collections::BTreeSet;
use std::sync::Arc;

use model::{ErrorCode, TopicId};

use super::coordinator::{Coordinator, Flight};
use super::group::{Assignment, Group};
use super::heartbeat::{Context, Heartbeat, HeartbeatReply, decide, leave};
use super::messages::{Effect, Refusal, Reply};
use super::record::{Record, StateTopics};
use super::topics::{alter, forget, initialized};
use crate::share::limits::GROUP_FLIGHTS_MAX;

/// What waits for its turn in a group; with the ticket of whoever waits for the answer.
#[derive(Debug)]
pub(super) enum Turn {
    Heartbeat(u64, Heartbeat),
    Delete(u64),
    Alter(u64, Assignment),
    Forget(u64, Option<BTreeSet<TopicId>>),
    /// A member was silent for too long.
    Expire(Arc<str>),
    Initialized(Option<u64>, Assignment, bool),
    Deleted(Option<u64>, Arc<[TopicId]>),
}

impl Coordinator {
    /// Takes the turns of a group, up to one that appends.
    pub(super) fn serve(&mut self, name: &Arc<str>) {
        while let Some(slot) = self.slots.get_mut(name).filter(|slot| slot.flight.is_none()) {
            let Some(turn) = slot.waiting.pop_front() else { break };
            let flight = match self.take(name, &turn) {
                Ok(flight) => flight,
                Err(refusal) => {
                    self.refuse(turn, refusal);
                    continue;
                }
            };
            if flight.records.is_empty() {
                self.follow(flight);
                continue;
            }
            let id = self.next_append;
            self.next_append += 1;
            if let Some(slot) = self.slots.get_mut(name) {
                slot.flight = Some(id);
            }
            self.out.push(Effect::Append { id, records: flight.records.clone() });
            self.flights.insert(id, flight);
        }
        self.forget_if_gone(name);
    }

    /// What a turn comes to.
    fn take(&self, name: &Arc<str>, turn: &Turn) -> Result<Flight, Refusal> {
        let affords = self.bytes < self.settings.memory_bytes_max;
        let (image, settings) = (&*self.image, &self.settings);
        let context = Context { image, settings, wall: self.wall, affords };
        let vacant = Group::default();
        let group = self.slots.get(name).map_or(&vacant, |slot| &slot.group);
        let mut flight = Flight::nothing(name);
        let rewritten = |topics: StateTopics| {
            let value = Some(Arc::new(topics));
            Record::Topics { group: Arc::clone(name), value }
        };
        match turn {
            Turn::Heartbeat(ticket, heartbeat) => {
                let decision = decide(&context, group, heartbeat)?;
                let joined = decision.reply.member_epoch >= 0;
                flight.member = joined.then(|| Arc::clone(&heartbeat.member_id));
                flight.reply = Some((*ticket, Reply::Heartbeat(decision.reply)));
                (flight.records, flight.initialize) = (decision.records, decision.initialize);
            }
            Turn::Delete(ticket) => {
                must_be_empty(group, name)?;
                let group = || Arc::clone(name);
                flight.records = vec![
                    Record::TargetEpoch { group: group(), value: None },
                    Record::Topics { group: group(), value: None },
                    Record::Epoch { group: group(), value: None },
                ];
                flight.reply = Some((*ticket, Reply::Done(ErrorCode::None)));
            }
            Turn::Alter(ticket, partitions) => {
                must_be_vacant(group)?;
                flight.records.extend(alter(&context, group, name, partitions));
                flight.reply = Some((*ticket, Reply::AlterOffsets(Ok(group.epoch))));
            }
            Turn::Forget(ticket, topics) => {
                must_be_empty(group, name)?;
                let (topics, partitions) = forget(image, &group.topics, topics.as_ref());
                flight.records.extend((topics != *group.topics).then(|| rewritten(topics)));
                flight.reply = Some((*ticket, Reply::DeleteOffsets(Ok(partitions))));
            }
            Turn::Expire(member) => {
                // It may have shown up, or left, while this waited.
                let silent = !self.sessions.contains_key(&(Arc::clone(name), Arc::clone(member)));
                if silent && group.members.contains_key(member) {
                    flight.records = leave(image, group, name, member);
                    flight.member = Some(Arc::clone(member));
                }
            }
            Turn::Initialized(ticket, partitions, done) => {
                let topics = initialized(&context, &group.topics, partitions, *done);
                flight.records.extend(topics.map(rewritten));
                flight.reply = ticket.map(|ticket| (ticket, Reply::Done(ErrorCode::None)));
            }
            Turn::Deleted(ticket, gone) => {
                let mut topics = StateTopics::clone(&group.topics);
                topics.initializing.retain(|id, _| !gone.contains(id));
                topics.initialized.retain(|id, _| !gone.contains(id));
                topics.deleting.retain(|id, _| !gone.contains(id));
                flight.records.extend((topics != *group.topics).then(|| rewritten(topics)));
                flight.reply = ticket.map(|ticket| (ticket, Reply::Done(ErrorCode::None)));
            }
        }
        Ok(flight)
    }

    /// A turn that nobody asked for.
    pub(super) fn queue(&mut self, group: &Arc<str>, turn: Turn) {
        let Some(slot) = self.slots.get_mut(group) else { return };
        slot.waiting.push_back(turn);
        if self.flights.len() < GROUP_FLIGHTS_MAX {
            self.serve(group);
        } else {
            self.later.insert(Arc::clone(group));
        }
    }

    pub(super) fn refuse(&mut self, turn: Turn, refusal: Refusal) {
        let (ticket, reply) = match turn {
            Turn::Heartbeat(ticket, heartbeat) => {
                (ticket, Reply::Heartbeat(HeartbeatReply::refused(&heartbeat.member_id, refusal)))
            }
            Turn::Delete(ticket) => (ticket, Reply::Done(refusal.0)),
            Turn::Alter(ticket, _) => (ticket, Reply::AlterOffsets(Err(refusal))),
            Turn::Forget(ticket, _) => (ticket, Reply::DeleteOffsets(Err(refusal))),
            Turn::Initialized(Some(ticket), ..) | Turn::Deleted(Some(ticket), _) => {
                (ticket, Reply::Done(refusal.0))
            }
            Turn::Expire(_) | Turn::Initialized(None, ..) | Turn::Deleted(None, _) => return,
        };
        self.reply(ticket, reply);
    }
}

fn must_be_empty(group: &Group, name: &str) -> Result<(), Refusal> {
    if group.is_gone() {
        return Err((ErrorCode::GroupIdNotFound, format!("Group {name} not found.")));
    }
    must_be_vacant(group)
}

fn must_be_vacant(group: &Group) -> Result<(), Refusal> {
    if group.members.is_empty() {
        return Ok(());
    }
    Err((ErrorCode::NonEmptyGroup, "The group is not empty.".to_owned()))
}
