//! The share groups of one partition of `__consumer_offsets`: heartbeats, landed appends and time in; appends and
//! answers out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use model::{ErrorCode, Tick, TimestampMs, TopicId};

use super::group::{Assignment, DescribedGroup, Group};
use super::messages::{Effect, Input, Refusal, Reply, Request};
use super::record::{Record, StateTopics};
use super::settings::MembershipSettings;
use super::turns::Turn;
use crate::effects::Effects;
use crate::group::desk::append_error;
use crate::machine::Machine;
use crate::metadata::image::Image;
use crate::share::limits::{GROUP_FLIGHTS_MAX, HEARTBEATS_PARKED_MAX};

#[derive(Debug, Default)]
pub(super) struct Slot {
    pub group: Group,
    pub bytes: u64,
    pub flight: Option<u64>,
    pub waiting: VecDeque<Turn>,
}

/// An append in flight, and what follows it.
#[derive(Debug)]
pub(super) struct Flight {
    pub group: Arc<str>,
    pub records: Vec<Record>,
    pub reply: Option<(u64, Reply)>,
    /// Whose session begins anew.
    pub member: Option<Arc<str>>,
    pub initialize: Option<(i32, Assignment)>,
}

impl Flight {
    pub fn nothing(group: &Arc<str>) -> Self {
        let group = Arc::clone(group);
        Self { group, records: Vec::new(), reply: None, member: None, initialize: None }
    }
}

/// The share groups of one partition. A new one replays its log, is told that it is [`loaded`](Self::loaded), and then
/// takes steps.
#[derive(Debug)]
pub struct Coordinator {
    pub(super) settings: MembershipSettings,
    pub(super) image: Arc<Image>,
    pub(super) slots: BTreeMap<Arc<str>, Slot>,
    pub(super) flights: BTreeMap<u64, Flight>,
    pub(super) next_append: u64,
    /// When the silence of a member has been too long, by time and by member (group first).
    due: BTreeSet<(Tick, Arc<str>, Arc<str>)>,
    pub(super) sessions: BTreeMap<(Arc<str>, Arc<str>), Tick>,
    /// Groups whose turn comes when less is in flight.
    pub(super) later: BTreeSet<Arc<str>>,
    parked: usize,
    pub(super) bytes: u64,
    now: Tick,
    pub(super) wall: TimestampMs,
    pub(super) out: Vec<Effect>,
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

    /// What groups and members may take, from the next decision on: see [`MembershipSettings::memory_bytes_max`].
    pub const fn set_memory_bytes_max(&mut self, bytes: u64) {
        self.settings.memory_bytes_max = bytes;
    }

    /// Takes the topics there are, and the settings of groups, from the next decision on. Groups look at it with the next
    /// heartbeat of a member.
    pub fn set_image(&mut self, image: Arc<Image>) {
        self.image = image;
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
            let until = now.after_ms(self.settings.session_timeout_ms(&self.image, name));
            for id in ids {
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

    /// Whether it is a share group, or about to be one.
    #[must_use]
    pub fn knows(&self, group: &str) -> bool {
        self.slots.contains_key(group)
    }

    /// Whether there is such a share group.
    pub(crate) fn has(&self, group: &str) -> bool {
        self.known(group).is_ok()
    }

    /// Deleted topics that some group still tells of: they went while nobody asked for this coordinator.
    #[must_use]
    pub fn missing_topics(&self) -> Vec<TopicId> {
        let kept = self.slots.values().map(|slot| &slot.group.topics);
        let begun = |kept: &StateTopics| -> Vec<TopicId> {
            let begun = kept.initializing.keys().chain(kept.initialized.keys());
            begun.chain(kept.deleting.keys()).copied().collect()
        };
        let ids = kept.flat_map(|kept| begun(kept));
        let ids = ids.filter(|id| self.image.topic_by_id(*id).is_none());
        ids.collect::<BTreeSet<TopicId>>().into_iter().collect()
    }

    /// Groups that something is durable of, and whether somebody is in them; by id.
    pub fn groups(&self) -> impl Iterator<Item = (&Arc<str>, bool)> {
        let there = self.slots.iter().filter(|(_, slot)| !slot.group.is_gone());
        there.map(|(name, slot)| (name, !slot.group.members.is_empty()))
    }

    fn request(&mut self, ticket: u64, request: Request) {
        let (group, turn) = match request {
            Request::Describe(groups) => {
                let reply = Reply::Describe(groups.into_iter().map(|group| self.describe(group)).collect());
                self.out.push(Effect::Reply { ticket, reply });
                return;
            }
            Request::Offsets(group) => {
                let known = self.known(&group).map(|known| {
                    let begun = known.topics.initialized.iter();
                    begun.map(|(id, topic)| (*id, (topic.name.clone(), topic.partitions.clone()))).collect()
                });
                self.out.push(Effect::Reply { ticket, reply: Reply::Offsets(known) });
                return;
            }
            Request::Heartbeat(heartbeat) => {
                (Arc::clone(&heartbeat.group), Turn::Heartbeat(ticket, heartbeat))
            }
            Request::Delete(group) => (group, Turn::Delete(ticket)),
            Request::AlterOffsets { group, partitions } => (group, Turn::Alter(ticket, partitions)),
            Request::DeleteOffsets { group, topics } => (group, Turn::Forget(ticket, topics)),
            Request::Initialized { group, partitions, done } => {
                (group, Turn::Initialized(Some(ticket), partitions, done))
            }
            Request::StateDeleted { group, topics } => (group, Turn::Deleted(Some(ticket), topics.into())),
        };
        self.parked += 1;
        if self.parked > HEARTBEATS_PARKED_MAX {
            self.refuse(turn, (ErrorCode::CoordinatorNotAvailable, String::new()));
            return;
        }
        self.slots.entry(Arc::clone(&group)).or_default().waiting.push_back(turn);
        self.serve(&group);
    }

    fn known(&self, group: &str) -> Result<&Group, Refusal> {
        let known = self.slots.get(group).map(|slot| &slot.group).filter(|group| !group.is_gone());
        known.ok_or_else(|| (ErrorCode::GroupIdNotFound, format!("Group {group} not found.")))
    }

    /// A group in detail.
    pub(crate) fn describe(&self, group: String) -> (String, Result<DescribedGroup, Refusal>) {
        let described = self.known(&group).map(Group::described);
        (group, described)
    }

    /// What follows when the records are durable, or there are none.
    pub(super) fn follow(&mut self, flight: Flight) {
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
        slot.group.apply(record, self.wall);
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
        let until = self.now.after_ms(self.settings.session_timeout_ms(&self.image, group));
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
            self.queue(&name, Turn::Deleted(None, Arc::clone(&topics)));
        }
    }

    fn recount(&mut self, name: &Arc<str>) {
        let Some(slot) = self.slots.get_mut(name) else { return };
        let bytes = slot.group.bytes() + 2 * name.len() as u64;
        self.bytes = self.bytes - slot.bytes + bytes;
        slot.bytes = bytes;
    }

    pub(super) fn forget_if_gone(&mut self, name: &Arc<str>) {
        let gone = |slot: &Slot| slot.group.is_gone() && slot.flight.is_none() && slot.waiting.is_empty();
        if self.slots.get(name).is_some_and(gone)
            && let Some(slot) = self.slots.remove(name)
        {
            self.bytes -= slot.bytes;
        }
    }

    pub(super) fn reply(&mut self, ticket: u64, reply: Reply) {
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
            let refusal = || (error, String::new());
            slot.waiting.into_iter().for_each(|turn| self.refuse(turn, refusal()));
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
            Input::Initialized { wall, group, partitions, done } => {
                self.wall = wall;
                self.queue(&group, Turn::Initialized(None, partitions, done));
            }
            Input::TopicsDeleted(topics) => self.topics_deleted(topics),
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
