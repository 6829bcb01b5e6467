//! The share groups of one partition of `__consumer_offsets`: heartbeats, landed appends and time in; appends and
//! answers out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use model::{ErrorCode, Tick, TimestampMs, TopicId};

use super::group::{Assignment, DescribedGroup, Group};
use super::heartbeat::{
    Context, Decision, Heartbeat, HeartbeatReply, alter, decide, forget, initialized, leave,
};
use super::messages::{Effect, Input, MembershipSettings, Reply, Request};
use super::record::{Record, StateTopics};
use crate::effects::Effects;
use crate::group::desk::append_error;
use crate::machine::Machine;
use crate::metadata::image::Image;
use crate::share::limits::{GROUP_FLIGHTS_MAX, HEARTBEATS_PARKED_MAX};

/// What waits for its turn in a group.
#[derive(Debug)]
enum Turn {
    Heartbeat(u64, Heartbeat),
    Delete(u64),
    Alter(u64, Assignment),
    Forget(u64, BTreeSet<TopicId>),
    Expire(Arc<str>),
    Initialized(Assignment, bool),
    Deleted(Arc<[TopicId]>),
}

#[derive(Debug, Default)]
struct Slot {
    group: Group,
    bytes: u64,
    flight: Option<u64>,
    waiting: VecDeque<Turn>,
}

/// An append in flight, and what follows it.
#[derive(Debug)]
struct Flight {
    group: Arc<str>,
    records: Vec<Record>,
    reply: Option<(u64, Reply)>,
    /// Whose session begins anew.
    member: Option<Arc<str>>,
    initialize: Option<(i32, Assignment)>,
}

/// The share groups of one partition. A new one replays its log, is told that it is [`loaded`](Self::loaded), and then
/// takes steps.
#[derive(Debug)]
pub struct Coordinator {
    settings: MembershipSettings,
    image: Arc<Image>,
    slots: BTreeMap<Arc<str>, Slot>,
    flights: BTreeMap<u64, Flight>,
    next_append: u64,
    /// When the silence of a member has been too long, by time and by member (group first).
    due: BTreeSet<(Tick, Arc<str>, Arc<str>)>,
    sessions: BTreeMap<(Arc<str>, Arc<str>), Tick>,
    /// Groups whose turn comes when less is in flight.
    later: BTreeSet<Arc<str>>,
    parked: usize,
    bytes: u64,
    now: Tick,
    wall: TimestampMs,
    out: Vec<Effect>,
}

impl Coordinator {
    /// Of an empty log.
    #[must_use]
    pub const fn new(settings: MembershipSettings, image: Arc<Image>) -> Self {
        Self {
            settings,
            image,
            slots: BTreeMap::new(),
            flights: BTreeMap::new(),
            next_append: 0,
            due: BTreeSet::new(),
            sessions: BTreeMap::new(),
            later: BTreeSet::new(),
            parked: 0,
            bytes: 0,
            now: Tick(0),
            wall: TimestampMs(0),
            out: Vec::new(),
        }
    }

    /// Takes other settings, from the next decision on.
    pub fn set_settings(&mut self, settings: MembershipSettings) {
        self.settings = settings;
    }

    /// Applies a record of the log or of [`snapshot`](Self::snapshot), in order, before [`loaded`](Self::loaded).
    pub fn replay(&mut self, record: &Record) {
        self.apply(record);
    }

    /// All records are replayed: members have a session timeout from now to show up.
    pub fn loaded(&mut self, now: Tick) {
        self.now = now;
        for (name, slot) in &mut self.slots {
            slot.group.loaded();
            let ids: Vec<Arc<str>> = slot.group.members.keys().cloned().collect();
            let ms = self.settings.of_group(&self.image, name).session_timeout_ms;
            for id in ids {
                let until = now.after_ms(u64::try_from(ms).unwrap_or(0));
                self.due.insert((until, Arc::clone(name), Arc::clone(&id)));
                self.sessions.insert((Arc::clone(name), id), until);
            }
        }
        let names: Vec<Arc<str>> = self.slots.keys().cloned().collect();
        names.iter().for_each(|name| self.recount(name));
    }

    /// All that is durable: replayed into a new coordinator it gives this one's.
    #[must_use]
    pub fn snapshot(&self) -> Vec<Record> {
        let mut records = Vec::new();
        self.slots.iter().for_each(|(name, slot)| slot.group.records(name, &mut records));
        records
    }

    /// When the next [`Input::Tick`] is wanted; not before something lands, when much is in flight.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Tick> {
        if self.flights.len() >= GROUP_FLIGHTS_MAX {
            return None;
        }
        if self.later.is_empty() { self.due.first().map(|(at, ..)| *at) } else { Some(self.now) }
    }

    /// Requests that wait.
    #[must_use]
    pub const fn parked(&self) -> usize {
        self.parked
    }

    /// Bytes its groups are counted with.
    #[must_use]
    pub const fn memory_bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether it is a share group that something is durable of.
    #[must_use]
    pub fn knows(&self, group: &str) -> bool {
        self.slots.get(group).is_some_and(|slot| !slot.group.is_gone())
    }

    fn request(&mut self, ticket: u64, request: Request) {
        let (group, turn) = match request {
            Request::Describe(groups) => {
                let reply = Reply::Describe(groups.into_iter().map(|group| self.describe(group)).collect());
                self.out.push(Effect::Reply { ticket, reply });
                return;
            }
            Request::Heartbeat(heartbeat) => {
                (Arc::clone(&heartbeat.group), Turn::Heartbeat(ticket, heartbeat))
            }
            Request::Delete(group) => (group, Turn::Delete(ticket)),
            Request::AlterOffsets { group, partitions } => (group, Turn::Alter(ticket, partitions)),
            Request::DeleteOffsets { group, topics } => (group, Turn::Forget(ticket, topics)),
        };
        self.parked += 1;
        if self.parked > HEARTBEATS_PARKED_MAX {
            self.refuse(turn, ErrorCode::CoordinatorNotAvailable);
            return;
        }
        self.slots.entry(Arc::clone(&group)).or_default().waiting.push_back(turn);
        self.serve(&group);
    }

    fn describe(&self, group: String) -> (String, Result<DescribedGroup, ErrorCode>) {
        let known = self.slots.get(group.as_str()).filter(|slot| !slot.group.is_gone());
        let described = known.map(|slot| slot.group.described()).ok_or(ErrorCode::GroupIdNotFound);
        (group, described)
    }

    /// Takes the turns of a group, up to one that appends.
    fn serve(&mut self, name: &Arc<str>) {
        while let Some(slot) = self.slots.get_mut(name).filter(|slot| slot.flight.is_none()) {
            let Some(turn) = slot.waiting.pop_front() else { break };
            let Some(flight) = self.take(name, turn) else { continue };
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

    /// What a turn comes to; `None` when it is answered already, or nothing.
    fn take(&mut self, name: &Arc<str>, turn: Turn) -> Option<Flight> {
        let settings = self.settings.of_group(&self.image, name);
        let affords = self.bytes < self.settings.memory_bytes_max;
        let context = Context { image: &self.image, settings: &settings, wall: self.wall, affords };
        let group = &self.slots.get(name)?.group;
        let (records, reply, member, initialize) = match &turn {
            Turn::Heartbeat(ticket, heartbeat) => match decide(&context, group, heartbeat) {
                Ok(Decision { records, reply, initialize }) => {
                    let member = (reply.member_epoch >= 0).then(|| Arc::clone(&heartbeat.member_id));
                    (records, Some((*ticket, Reply::Heartbeat(reply))), member, initialize)
                }
                Err(error) => {
                    self.refuse(turn, error);
                    return None;
                }
            },
            Turn::Delete(_) | Turn::Alter(..) | Turn::Forget(..)
                if group.is_gone() || !group.members.is_empty() =>
            {
                let gone = group.is_gone();
                self.refuse(turn, if gone { ErrorCode::GroupIdNotFound } else { ErrorCode::NonEmptyGroup });
                return None;
            }
            Turn::Delete(ticket) => {
                let group = || Arc::clone(name);
                let records = vec![
                    Record::Topics { group: group(), value: None },
                    Record::TargetEpoch { group: group(), value: None },
                    Record::Epoch { group: group(), value: None },
                ];
                (records, Some((*ticket, Reply::Delete(ErrorCode::None))), None, None)
            }
            Turn::Alter(ticket, partitions) => {
                let reply = Reply::AlterOffsets(Ok(group.epoch + 1));
                (alter(&context, group, name, partitions), Some((*ticket, reply)), None, None)
            }
            Turn::Forget(ticket, topics) => {
                let (topics, partitions) = forget(&group.topics, topics);
                let topics = (topics != *group.topics)
                    .then(|| Record::Topics { group: Arc::clone(name), value: Some(Arc::new(topics)) });
                let reply = Reply::DeleteOffsets(Ok(partitions));
                (topics.into_iter().collect(), Some((*ticket, reply)), None, None)
            }
            Turn::Expire(member) => {
                // It may have shown up, or left, while this waited.
                let silent = !self.sessions.contains_key(&(Arc::clone(name), Arc::clone(member)));
                if !silent || !group.members.contains_key(member) {
                    return None;
                }
                (leave(&self.image, group, name, member), None, Some(Arc::clone(member)), None)
            }
            Turn::Initialized(partitions, done) => {
                let topics = initialized(&context, &group.topics, partitions, *done)?;
                (
                    vec![Record::Topics { group: Arc::clone(name), value: Some(Arc::new(topics)) }],
                    None,
                    None,
                    None,
                )
            }
            Turn::Deleted(gone) => {
                let mut topics = StateTopics::clone(&group.topics);
                topics.initializing.retain(|id, _| !gone.contains(id));
                topics.initialized.retain(|id, _| !gone.contains(id));
                topics.deleting.retain(|id, _| !gone.contains(id));
                if topics == *group.topics {
                    return None;
                }
                (
                    vec![Record::Topics { group: Arc::clone(name), value: Some(Arc::new(topics)) }],
                    None,
                    None,
                    None,
                )
            }
        };
        Some(Flight { group: Arc::clone(name), records, reply, member, initialize })
    }

    /// What follows when the records are durable, or there are none.
    fn follow(&mut self, flight: Flight) {
        if let Some(member) = &flight.member {
            self.begin_session(&flight.group, member);
        }
        if let Some((epoch, partitions)) = flight.initialize {
            self.out.push(Effect::Initialize { group: flight.group, epoch, partitions });
        }
        if let Some((ticket, reply)) = flight.reply {
            self.reply(ticket, reply);
        }
    }

    fn landed(&mut self, flight: Flight, result: Result<(), ErrorCode>) {
        let name = Arc::clone(&flight.group);
        if let Err(error) = result {
            // A member that could not be given up is waited for once more.
            if let (None, Some(member)) = (&flight.reply, &flight.member) {
                self.begin_session(&name, member);
            }
            if let Some((ticket, reply)) = flight.reply {
                self.reply(ticket, reply.failed(error));
            }
        } else {
            flight.records.iter().for_each(|record| self.apply(record));
            self.recount(&name);
            self.follow(flight);
        }
        if let Some(slot) = self.slots.get_mut(&name) {
            slot.flight = None;
        }
        self.serve(&name);
    }

    /// Changes what is durable: the only place that does.
    fn apply(&mut self, record: &Record) {
        let name = record.group();
        let slot = self.slots.entry(Arc::clone(name)).or_default();
        slot.group.apply(record);
        if let Record::Member { member, value: None, .. } = record {
            self.end_session(name, member);
        }
        self.forget_if_gone(name);
    }

    /// A member that is there has until then to show up again.
    fn begin_session(&mut self, group: &Arc<str>, member: &Arc<str>) {
        self.end_session(group, member);
        if self.slots.get(group).is_none_or(|slot| !slot.group.members.contains_key(member)) {
            return;
        }
        let ms = self.settings.of_group(&self.image, group).session_timeout_ms;
        let until = self.now.after_ms(u64::try_from(ms).unwrap_or(0));
        self.due.insert((until, Arc::clone(group), Arc::clone(member)));
        self.sessions.insert((Arc::clone(group), Arc::clone(member)), until);
    }

    fn end_session(&mut self, group: &Arc<str>, member: &Arc<str>) {
        if let Some(until) = self.sessions.remove(&(Arc::clone(group), Arc::clone(member))) {
            self.due.remove(&(until, Arc::clone(group), Arc::clone(member)));
        }
    }

    fn tick(&mut self) {
        while self.flights.len() < GROUP_FLIGHTS_MAX {
            if let Some(group) = self.later.pop_first() {
                self.serve(&group);
                continue;
            }
            let Some((_, group, member)) = self.due.first().filter(|(at, ..)| *at <= self.now).cloned()
            else {
                return;
            };
            self.end_session(&group, &member);
            self.queue(&group, Turn::Expire(member));
        }
    }

    /// A turn that nobody asked for.
    fn queue(&mut self, group: &Arc<str>, turn: Turn) {
        let Some(slot) = self.slots.get_mut(group) else { return };
        slot.waiting.push_back(turn);
        if self.flights.len() < GROUP_FLIGHTS_MAX {
            self.serve(group);
        } else {
            self.later.insert(Arc::clone(group));
        }
    }

    fn topics_deleted(&mut self, topics: Vec<TopicId>) {
        let topics: Arc<[TopicId]> = topics.into();
        let keeps = |kept: &BTreeMap<TopicId, _>| topics.iter().any(|id| kept.contains_key(id));
        let concerned = self.slots.iter().filter(|(_, slot)| {
            let kept = &slot.group.topics;
            keeps(&kept.initialized)
                || keeps(&kept.initializing)
                || topics.iter().any(|id| kept.deleting.contains_key(id))
        });
        let names: Vec<Arc<str>> = concerned.map(|(name, _)| Arc::clone(name)).collect();
        for name in names {
            self.queue(&name, Turn::Deleted(Arc::clone(&topics)));
        }
    }

    fn recount(&mut self, name: &Arc<str>) {
        let Some(slot) = self.slots.get_mut(name) else { return };
        let bytes = slot.group.bytes() + 2 * name.len() as u64;
        self.bytes = self.bytes - slot.bytes + bytes;
        slot.bytes = bytes;
    }

    fn forget_if_gone(&mut self, name: &Arc<str>) {
        let gone = |slot: &Slot| slot.group.is_gone() && slot.flight.is_none() && slot.waiting.is_empty();
        if self.slots.get(name).is_some_and(gone)
            && let Some(slot) = self.slots.remove(name)
        {
            self.bytes -= slot.bytes;
        }
    }

    fn refuse(&mut self, turn: Turn, error: ErrorCode) {
        match turn {
            Turn::Heartbeat(ticket, heartbeat) => {
                self.reply(ticket, Reply::Heartbeat(HeartbeatReply::failed(&heartbeat.member_id, error)));
            }
            Turn::Delete(ticket) => self.reply(ticket, Reply::Delete(error)),
            Turn::Alter(ticket, _) => self.reply(ticket, Reply::AlterOffsets(Err(error))),
            Turn::Forget(ticket, _) => self.reply(ticket, Reply::DeleteOffsets(Err(error))),
            Turn::Expire(_) | Turn::Initialized(..) | Turn::Deleted(_) => {}
        }
    }

    fn reply(&mut self, ticket: u64, reply: Reply) {
        self.parked = self.parked.saturating_sub(1);
        self.out.push(Effect::Reply { ticket, reply });
    }

    fn unload(&mut self) {
        let error = ErrorCode::NotCoordinator;
        for flight in std::mem::take(&mut self.flights).into_values() {
            if let Some((ticket, reply)) = flight.reply {
                self.reply(ticket, reply.failed(error));
            }
        }
        for slot in std::mem::take(&mut self.slots).into_values() {
            slot.waiting.into_iter().for_each(|turn| self.refuse(turn, error));
        }
        self.due.clear();
        self.sessions.clear();
        self.later.clear();
        self.bytes = 0;
    }
}

impl Machine for Coordinator {
    type Input = Input;
    type Effect = Effect;

    fn step(&mut self, now: Tick, input: Input, effects: &mut Effects<Effect>) {
        self.now = now;
        match input {
            Input::Request { ticket, wall, request } => {
                self.wall = wall;
                self.request(ticket, request);
            }
            Input::Image(image) => self.image = image,
            Input::Initialized { wall, group, partitions, done } => {
                self.wall = wall;
                self.queue(&group, Turn::Initialized(partitions, done));
            }
            Input::TopicsDeleted(topics) => self.topics_deleted(topics),
            Input::StateDeleted { group, topics } => self.queue(&group, Turn::Deleted(topics.into())),
            Input::Durable(id) => {
                // Not those that begin meanwhile.
                let landed: Vec<u64> = self.flights.range(..=id).map(|(id, _)| *id).collect();
                for flight in landed.iter().filter_map(|id| self.flights.remove(id)).collect::<Vec<_>>() {
                    self.landed(flight, Ok(()));
                }
            }
            Input::AppendFailed(id, error) => {
                if let Some(flight) = self.flights.remove(&id) {
                    self.landed(flight, Err(append_error(error)));
                }
            }
            Input::Tick { wall } => {
                self.wall = wall;
                self.tick();
            }
            Input::Unload => self.unload(),
        }
        for effect in self.out.drain(..) {
            effects.push(effect);
        }
    }
}
