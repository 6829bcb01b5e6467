//! The coordinator: requests, landed appends and timers in; appends and answers out.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::{ErrorCode, Tick, TimestampMs, TopicId};

use super::classic::Group;
use super::consumer::{ConsumerRecord, Resolver, Waiting};
use super::desk::{Desk, Effect, append_error};
use super::limits::TIMERS_PER_TICK;
use super::record::Record;
use super::reply::Reply;
use super::request::Request;
use super::settings::GroupSettings;
use super::timers::Timer;
use crate::effects::Effects;
use crate::machine::Machine;
use crate::metadata::Image;
use crate::share::membership as share;

/// What can happen to a coordinator.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Input {
    /// A client asks; the answer carries the ticket, which is not used again while it is open.
    Request {
        /// Names the request.
        ticket: u64,
        /// The time of day, for records.
        wall: TimestampMs,
        /// What is asked.
        request: Request,
    },
    /// The append with this id and all before it that have not failed are durable.
    Durable(u64),
    /// The append with this id failed; nothing of it is in the log or ever will be.
    AppendFailed(u64, ErrorCode),
    /// Time passed: what is due at the step's `now` happens. Some may be left, see [`Coordinator::next_deadline`].
    Tick {
        /// The time of day, for records and expiry.
        wall: TimestampMs,
    },
    /// These topics, by name and id, are deleted.
    TopicsDeleted {
        /// The time of day.
        wall: TimestampMs,
        /// Which.
        topics: Vec<(String, TopicId)>,
    },
    /// The state of these partitions of a share group is begun, or could not be.
    SharesInitialized {
        /// The time of day.
        wall: TimestampMs,
        /// The group.
        group: Arc<str>,
        /// Which.
        partitions: share::Assignment,
        /// Whether it is.
        done: bool,
    },
    /// The partition goes elsewhere: everybody who waits is told NOT_COORDINATOR, and all is forgotten.
    Unload,
}

/// The groups of one partition of `__consumer_offsets`.
///
/// A new one replays the log (or a snapshot and what follows it), is told that it is [`loaded`](Self::loaded), and
/// then takes steps.
#[derive(Debug)]
pub struct Coordinator {
    pub(super) groups: BTreeMap<Arc<str>, Group>,
    pub(super) desk: Desk,
    /// Looks up regular expressions.
    pub(super) resolver: Resolver,
    /// Share groups: all of it but the log and the time is their own.
    pub(super) share: share::Coordinator,
}

impl Coordinator {
    /// Of an empty log. `seed` makes member ids: random, new at every start.
    #[must_use]
    pub fn new(settings: GroupSettings, seed: u64) -> Self {
        let share = share::Coordinator::new(settings.share.clone(), Arc::default());
        let desk = Desk::new(settings, seed);
        Self { groups: BTreeMap::new(), desk, resolver: Resolver::default(), share }
    }

    /// Takes the topics there are, and the settings of groups, from the next decision on. Groups by the consumer protocol
    /// look at it with the next heartbeat of a member.
    pub fn set_image(&mut self, image: Arc<Image>) {
        self.share.set_image(Arc::clone(&image));
        self.desk.image = image;
    }

    /// Applies a record of the log or of a snapshot, in order, before [`loaded`](Self::loaded).
    pub fn replay(&mut self, record: &Record) {
        self.apply(record);
    }

    /// All records are replayed: members of the groups found have a session timeout from now to show up.
    pub fn loaded(&mut self, now: Tick, wall: TimestampMs, effects: &mut Effects<Effect>) {
        (self.desk.now, self.desk.wall) = (now, wall);
        for group in self.groups.values_mut() {
            if let Some(consumer) = &mut group.consumer {
                consumer.arm(&group.id, &mut self.desk);
                group.recount(true, &mut self.desk);
                continue;
            }
            group.restore();
            let ids: Vec<Arc<str>> = group.members.keys().cloned().collect();
            for id in &ids {
                group.refresh_session(id, None, &mut self.desk);
            }
            if ids.len() > self.desk.settings.members_max() {
                // The setting was lowered: the rebalance sheds the last to come back.
                group.prepare_rebalance(&mut self.desk);
            }
            group.recount(true, &mut self.desk);
        }
        self.share.loaded(now);
        self.drop_missing_share_topics();
        self.schedule_expiry();
        self.hand_over(effects);
    }

    /// The whole hard state: replayed into a new coordinator it gives this one's.
    #[must_use]
    pub fn snapshot(&self) -> Vec<Record> {
        let mut records = Vec::new();
        for (id, group) in &self.groups {
            if let Some(kept) = &group.kept {
                records.push(Record::Group { group: Arc::clone(id), value: Some(Arc::clone(kept)) });
            }
            for change in group.consumer.iter().flat_map(|consumer| consumer.state.to_records()) {
                records.push(Record::Consumer { group: Arc::clone(id), change });
            }
            for (topic, partition, value) in group.offsets.iter() {
                let (group, topic, value) = (Arc::clone(id), Arc::clone(topic), Some(value.clone()));
                records.push(Record::Offset { group, topic, partition, value });
            }
        }
        records.extend(self.share.snapshot().into_iter().map(Record::Share));
        records
    }

    /// When the next [`Input::Tick`] is wanted; in the past when the last one left something to do.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Tick> {
        self.desk.timers.next_deadline().into_iter().chain(self.share.next_deadline()).min()
    }

    /// Requests that wait for a rebalance or an append.
    #[must_use]
    pub const fn parked(&self) -> usize {
        self.desk.parked() + self.share.parked()
    }

    /// Bytes its groups, members, offsets and commits in flight are counted with, against
    /// [`GroupSettings::memory_bytes_max`].
    #[must_use]
    pub const fn memory_bytes(&self) -> u64 {
        self.desk.bytes + self.share.memory_bytes()
    }

    /// Groups it knows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.groups.len()
    }

    /// Whether it knows no group.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Takes other settings, from the next decision on.
    pub fn set_settings(&mut self, settings: GroupSettings) {
        self.share.set_settings(settings.share.clone());
        self.desk.settings = settings;
    }

    /// What groups, members and offsets may take, from the next decision on: see [`GroupSettings::memory_bytes_max`].
    pub const fn set_memory_bytes_max(&mut self, bytes: u64) {
        self.desk.settings.memory_bytes_max = bytes.saturating_sub(self.share.memory_bytes());
        self.share.set_memory_bytes_max(bytes.saturating_sub(self.desk.bytes));
    }

    pub(super) fn request(&mut self, ticket: u64, request: Request) {
        if let Some(refused) = self.refused_by_share_group(&request) {
            self.desk.reply(ticket, refused);
            return;
        }
        let turns = self.takes_turns(&request);
        let light = match request {
            Request::List(_) | Request::Describe(_) | Request::ConsumerDescribe(_) | Request::Share(_) => {
                true
            }
            Request::Heartbeat(_) => turns.is_none(),
            _ => false,
        };
        if self.desk.is_full_for(&request) && !light {
            self.desk.reply(ticket, Reply::refused(&request, ErrorCode::CoordinatorNotAvailable));
            return;
        }
        if let Some(group) = turns {
            let ticket = self.desk.park(ticket);
            self.enqueue(&group, Waiting::Request { ticket, request: Box::new(request) });
            return;
        }
        match request {
            Request::Join(join) => self.join(ticket, &join),
            Request::Sync(sync) => self.sync(ticket, &sync),
            Request::Heartbeat(heartbeat) => self.heartbeat(ticket, &heartbeat),
            Request::Leave(leave) => self.leave(ticket, &leave),
            Request::OffsetCommit(commit) => self.offset_commit(ticket, commit),
            Request::OffsetFetch(fetch) => self.offset_fetch(ticket, fetch),
            Request::OffsetDelete(delete) => self.offset_delete(ticket, &delete),
            Request::List(filter) => self.list(ticket, &filter),
            Request::Describe(groups) => self.describe(ticket, &groups),
            Request::Delete(groups) => self.delete(ticket, &groups),
            Request::ConsumerHeartbeat(heartbeat) => self.consumer_heartbeat(ticket, &heartbeat),
            Request::ConsumerDescribe(groups) => self.consumer_describe(ticket, &groups),
            Request::Share(request) => self.share_request(ticket, request),
        }
    }

    fn tick(&mut self) {
        for _ in 0..TIMERS_PER_TICK {
            let Some(timer) = self.desk.timers.pop_due(self.desk.now) else { return };
            let id = match &timer {
                Timer::Expiry { after } => {
                    self.expire(after.as_ref());
                    return;
                }
                Timer::Resolve => {
                    self.resolve();
                    return;
                }
                Timer::Lapse { group, member, lapse } => {
                    self.lapsed(group, member, *lapse);
                    continue;
                }
                Timer::Session { group, .. }
                | Timer::InitialJoin { group, .. }
                | Timer::Join { group }
                | Timer::Sync { group, .. } => Arc::clone(group),
            };
            let Some(group) = self.groups.get_mut(&id) else { continue };
            match timer {
                Timer::Session { member, .. } => group.session_expired(&member, &mut self.desk),
                Timer::InitialJoin { delay_ms, remaining_ms, .. } => {
                    group.initial_join_due(delay_ms, remaining_ms, &mut self.desk);
                }
                Timer::Join { .. } => {
                    group.complete_join(&mut self.desk);
                }
                Timer::Sync { generation, .. } => group.sync_expired(generation, &mut self.desk),
                Timer::Expiry { .. } | Timer::Resolve | Timer::Lapse { .. } => {}
            }
            group.recount(true, &mut self.desk);
        }
    }

    /// Changes the hard state: the only place that does.
    pub(super) fn apply(&mut self, record: &Record) {
        match record {
            Record::Offset { group, topic, partition, value: Some(value) } => {
                let group =
                    self.groups.entry(Arc::clone(group)).or_insert_with(|| Group::new(Arc::clone(group)));
                group.durable = true;
                group.offsets.put(topic, *partition, value.clone());
            }
            Record::Offset { group, topic, partition, value: None } => {
                if let Some(group) = self.groups.get_mut(group) {
                    group.offsets.remove(topic, *partition);
                }
            }
            Record::Group { group, value: Some(value) } => {
                let group =
                    self.groups.entry(Arc::clone(group)).or_insert_with(|| Group::new(Arc::clone(group)));
                group.durable = true;
                group.kept = Some(Arc::clone(value));
            }
            Record::Group { group: id, value: None } => {
                let Some(group) = self.groups.get_mut(id) else { return };
                group.kept = None;
                self.forget_if_gone(id);
            }
            Record::Consumer { group: id, change: ConsumerRecord::Epoch(None) } => {
                let Some(group) = self.groups.get_mut(id) else { return };
                if let Some(mut consumer) = group.consumer.take() {
                    consumer.soft.clear(&mut self.desk);
                }
                group.durable = group.kept.is_some() || !group.offsets.is_empty();
                self.forget_if_gone(id);
            }
            Record::Consumer { group: id, change } => {
                let known = self.groups.get(id).is_some_and(|group| group.consumer.is_some());
                if !known && change.is_tombstone() {
                    return;
                }
                let group = self.groups.entry(Arc::clone(id)).or_insert_with(|| Group::new(Arc::clone(id)));
                group.durable = true;
                group.consumer.get_or_insert_default().state.apply(change);
            }
            Record::Share(record) => self.share.replay(record),
        }
    }

    /// A group of which the log says nothing any more is forgotten, unless it is only changing its protocol.
    fn forget_if_gone(&mut self, id: &str) {
        let Some(group) = self.groups.get_mut(id) else { return };
        let gone = group.kept.is_none() && group.consumer.is_none() && group.offsets.is_empty();
        if gone && group.queue.is_idle() {
            group.discard(&mut self.desk);
            self.groups.remove(id);
        }
    }

    /// A group that never came into being leaves no trace.
    pub(super) fn forget_if_vacant(&mut self, id: &str) {
        if let Some(group) = self.groups.get_mut(id).filter(|group| group.is_vacant()) {
            group.discard(&mut self.desk);
            self.groups.remove(id);
        }
    }

    fn hand_over(&mut self, effects: &mut Effects<Effect>) {
        for effect in self.desk.out.drain(..) {
            effects.push(effect);
        }
    }
}

impl Machine for Coordinator {
    type Input = Input;
    type Effect = Effect;

    fn step(&mut self, now: Tick, input: Input, effects: &mut Effects<Effect>) {
        self.desk.now = now;
        match input {
            Input::Request { ticket, wall, request } => {
                self.desk.wall = wall;
                self.request(ticket, request);
            }
            Input::Durable(id) => self.durable(id),
            Input::AppendFailed(id, error) => {
                if let Some(flight) = self.desk.flights.remove(&id) {
                    self.landed(id, flight, Err(append_error(error)));
                }
            }
            Input::Tick { wall } => {
                self.desk.wall = wall;
                // One of them at a time: together they might want more done than one step may.
                if self.desk.timers.next_deadline().is_some_and(|at| at <= now) {
                    self.tick();
                } else {
                    self.step_share(share::Input::Tick { wall });
                }
            }
            Input::TopicsDeleted { wall, topics } => {
                self.desk.wall = wall;
                self.topics_deleted(&topics);
                let ids = topics.iter().map(|(_, id)| *id).filter(|id| *id != TopicId::ZERO);
                self.step_share(share::Input::TopicsDeleted(ids.collect()));
            }
            Input::SharesInitialized { wall, group, partitions, done } => {
                self.desk.wall = wall;
                self.step_share(share::Input::Initialized { wall, group, partitions, done });
            }
            Input::Unload => self.unload(),
        }
        self.hand_over(effects);
    }
}
