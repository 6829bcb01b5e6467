//! The coordinator: requests and landed appends in, appends and answers out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::{ErrorCode, LeaderEpoch, Offset, Tick, TimestampMs, TopicId};

use super::entry::Entry;
use super::upkeep::Upkeep;
use super::{Answer, Ask, Effect, Input, StoreSettings, Write};
use crate::effects::Effects;
use crate::group::desk::append_error;
use crate::machine::Machine;
use crate::share::limits::{STATE_REQUESTS_PARKED_MAX, WRITES_PER_APPEND};
use crate::share::record::{Record, ShareKey};
use crate::share::state::{PartitionState, combine};

/// An append in flight.
#[derive(Debug)]
struct Flight {
    /// Whose records these are; none of them has another one.
    keys: Vec<ShareKey>,
    records: Vec<Record>,
    replies: Vec<(u64, Answer)>,
}

/// The states of one partition of `__share_group_state`. A new one replays its log, then takes steps.
#[derive(Debug)]
pub struct ShareStates {
    pub(super) settings: StoreSettings,
    pub(super) entries: BTreeMap<ShareKey, Entry>,
    flights: BTreeMap<u64, Flight>,
    next_append: u64,
    parked: usize,
    bytes: u64,
    pub(super) wall: TimestampMs,
    /// What is appended next has this offset or a later one.
    end: Offset,
    pub(super) upkeep: Upkeep,
    pub(super) out: Vec<Effect>,
}

impl ShareStates {
    /// Of an empty log.
    #[must_use]
    pub const fn new(settings: StoreSettings) -> Self {
        Self {
            settings,
            entries: BTreeMap::new(),
            flights: BTreeMap::new(),
            next_append: 0,
            parked: 0,
            bytes: 0,
            wall: TimestampMs(0),
            end: Offset::ZERO,
            upkeep: Upkeep::new(),
            out: Vec::new(),
        }
    }

    /// Takes other settings, from the next decision on.
    pub const fn set_settings(&mut self, settings: StoreSettings) {
        self.settings = settings;
    }

    /// What the states may take, from the next decision on: see [`StoreSettings::memory_bytes_max`].
    pub const fn set_memory_bytes_max(&mut self, bytes: u64) {
        self.settings.memory_bytes_max = bytes;
    }

    /// Applies a record of the log, which has it at this offset, or of [`snapshot`](Self::snapshot), in order.
    pub fn replay(&mut self, record: &Record, at: Option<Offset>) {
        self.end = at.map_or(self.end, Offset::next).max(self.end);
        match record {
            Record::Snapshot { key, value: Some(value) } => {
                // What a log holds need not be in order.
                let batches = combine(&value.batches, &[], value.start);
                let state = Arc::new(PartitionState { batches, ..PartitionState::clone(value) });
                let entry = self.entries.entry(key.clone()).or_default();
                self.bytes += size_of_state(key, &state);
                self.bytes -= entry.state.as_ref().map_or(0, |old| size_of_state(key, old));
                entry.leader_epoch = entry.leader_epoch.max(state.leader_epoch.0);
                entry.state_epoch = entry.state_epoch.max(state.state_epoch);
                (entry.updates, entry.state, entry.at) = (0, Some(state), at);
            }
            Record::Snapshot { key, value: None } => {
                self.upkeep.ended = self.upkeep.ended.max(at);
                let Some(entry) = self.entries.get_mut(key) else { return };
                self.bytes -= entry.state.take().map_or(0, |old| size_of_state(key, &old));
                (entry.updates, entry.leader_epoch, entry.state_epoch) = (0, 0, 0);
                self.forget_if_vacant(key);
            }
            Record::Update { key, value } => {
                // Without a snapshot it is the rest of something that is gone.
                let Some(entry) = self.entries.get_mut(key) else { return };
                let Some(state) = &mut entry.state else { return };
                self.bytes -= size_of_state(key, state);
                Arc::make_mut(state).apply(value);
                self.bytes += size_of_state(key, state);
                entry.leader_epoch = entry.leader_epoch.max(state.leader_epoch.0);
                entry.updates = entry.updates.saturating_add(1);
            }
        }
    }

    /// All that is kept: replayed into a new coordinator it gives this one's.
    #[must_use]
    pub fn snapshot(&self) -> Vec<Record> {
        let kept = self.entries.iter().filter_map(|(key, entry)| Some((key, entry.state.as_ref()?)));
        kept.map(|(key, state)| Record::Snapshot { key: key.clone(), value: Some(Arc::clone(state)) })
            .collect()
    }

    /// The topics that something is kept of.
    #[must_use]
    pub fn topics(&self) -> BTreeSet<TopicId> {
        self.entries.keys().map(|key| key.topic).collect()
    }

    /// What is kept of a topic.
    #[must_use]
    pub fn keys_of(&self, topic: TopicId) -> Vec<ShareKey> {
        self.entries.keys().filter(|key| key.topic == topic).cloned().collect()
    }

    /// Share partitions that are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Requests that wait for an append.
    #[must_use]
    pub const fn parked(&self) -> usize {
        self.parked
    }

    /// Bytes the states are counted with.
    #[must_use]
    pub const fn memory_bytes(&self) -> u64 {
        self.bytes
    }

    fn request(&mut self, ticket: u64, key: ShareKey, ask: Ask) {
        if self.parked >= STATE_REQUESTS_PARKED_MAX {
            let answer = Answer::refused(&ask, ErrorCode::CoordinatorNotAvailable);
            self.out.push(Effect::Reply { ticket, answer });
            return;
        }
        self.parked += 1;
        self.entries.entry(key.clone()).or_default().waiting.push_back((ticket, ask));
        self.serve(&key);
    }

    /// Answers what waits for a share partition, up to an append.
    fn serve(&mut self, key: &ShareKey) {
        while let Some(entry) = self.entries.get_mut(key).filter(|entry| entry.flight.is_none()) {
            let Some((ticket, ask)) = entry.waiting.pop_front() else { break };
            let (records, mut replies) = match ask {
                Ask::Write(write) => self.writes(key, ticket, write),
                ask => {
                    let (records, answer) = self.change(key, &ask);
                    (records, vec![(ticket, answer)])
                }
            };
            if records.is_empty() {
                replies.drain(..).for_each(|(ticket, answer)| self.reply(ticket, answer));
                continue;
            }
            self.append(vec![key.clone()], records, replies);
        }
        self.forget_if_vacant(key);
    }

    /// Has records appended that are of these share partitions.
    pub(super) fn append(
        &mut self,
        keys: Vec<ShareKey>,
        records: Vec<Record>,
        replies: Vec<(u64, Answer)>,
    ) -> u64 {
        let id = self.next_append;
        self.next_append += 1;
        for key in &keys {
            if let Some(entry) = self.entries.get_mut(key) {
                entry.flight = Some(id);
            }
        }
        self.out.push(Effect::Append { id, records: records.clone() });
        self.flights.insert(id, Flight { keys, records, replies });
        id
    }

    /// The records of a write and of those that wait right behind it.
    fn writes(&mut self, key: &ShareKey, ticket: u64, write: Write) -> (Vec<Record>, Vec<(u64, Answer)>) {
        let (mut records, mut replies) = (Vec::new(), Vec::new());
        let mut next = Some((ticket, write));
        while let Some((ticket, write)) = next.take() {
            let Some(entry) = self.entries.get_mut(key) else { break };
            match entry.judge(&write) {
                Ok(()) => {
                    if let Some(record) = entry.record(key, &records, write, None, self.settings, self.wall) {
                        records.push(record);
                    }
                    replies.push((ticket, Answer::Done(ErrorCode::None)));
                }
                Err(error) => self.reply(ticket, Answer::Done(error)),
            }
            let Some(entry) = self.entries.get_mut(key) else { break };
            if records.len() < WRITES_PER_APPEND && matches!(entry.waiting.front(), Some((_, Ask::Write(_))))
            {
                next = entry.waiting.pop_front().and_then(|(ticket, ask)| match ask {
                    Ask::Write(write) => Some((ticket, write)),
                    _ => None,
                });
            }
        }
        (records, replies)
    }

    /// The record of anything else, if there is one, and the answer when it is durable.
    fn change(&mut self, key: &ShareKey, ask: &Ask) -> (Vec<Record>, Answer) {
        let affords = self.bytes < self.settings.memory_bytes_max;
        let (settings, wall) = (self.settings, self.wall);
        let Some(entry) = self.entries.get_mut(key) else {
            return (Vec::new(), Answer::refused(ask, ErrorCode::UnknownServerError));
        };
        let known = entry.state.clone();
        match (ask, known) {
            (Ask::Initialize { state_epoch, start }, known) => {
                if *state_epoch != -1 && known.is_some() && entry.state_epoch > *state_epoch {
                    return (Vec::new(), Answer::Done(ErrorCode::FencedStateEpoch));
                }
                if known.is_none() && !affords {
                    return (Vec::new(), Answer::Done(ErrorCode::CoordinatorNotAvailable));
                }
                let value = PartitionState {
                    snapshot_epoch: known.map_or(0, |known| known.snapshot_epoch.wrapping_add(1)),
                    state_epoch: *state_epoch,
                    leader_epoch: LeaderEpoch(0),
                    start: *start,
                    delivery_complete_count: if *start == Offset::NONE { -1 } else { 0 },
                    created: wall,
                    written: wall,
                    batches: Vec::new(),
                };
                let record = Record::Snapshot { key: key.clone(), value: Some(Arc::new(value)) };
                (vec![record], Answer::Done(ErrorCode::None))
            }
            (Ask::Delete, None) => (Vec::new(), Answer::Done(ErrorCode::None)),
            (Ask::Delete, Some(_)) => {
                (vec![Record::Snapshot { key: key.clone(), value: None }], Answer::Done(ErrorCode::None))
            }
            (Ask::Summary, Some(known)) => (Vec::new(), Answer::State(Ok(known))),
            (Ask::Read { leader_epoch }, Some(known)) => {
                let fences = *leader_epoch != LeaderEpoch::NONE;
                if fences && entry.leader_epoch > leader_epoch.0 {
                    return (Vec::new(), Answer::State(Err(ErrorCode::FencedLeaderEpoch)));
                }
                let mut records = Vec::new();
                if fences && entry.leader_epoch != leader_epoch.0 {
                    let write = Write {
                        state_epoch: known.state_epoch,
                        leader_epoch: *leader_epoch,
                        start: known.start,
                        delivery_complete_count: known.delivery_complete_count,
                        batches: Vec::new(),
                    };
                    records.extend(entry.record(key, &[], write, Some(*leader_epoch), settings, wall));
                }
                (records, Answer::State(Ok(known)))
            }
            (Ask::Read { .. } | Ask::Summary | Ask::Write(_), _) => {
                (Vec::new(), Answer::refused(ask, ErrorCode::InvalidRequest))
            }
        }
    }

    /// It is in the log from this offset on, or not at all.
    fn landed(&mut self, flight: Flight, result: Result<Offset, ErrorCode>) {
        if let Ok(base) = result {
            for (offset, record) in (base.0..).zip(&flight.records) {
                self.replay(record, Some(Offset(offset)));
            }
        }
        for (ticket, answer) in flight.replies {
            let answer = match (result, answer) {
                (Ok(_), answer) => answer,
                (Err(error), Answer::Done(_)) => Answer::Done(error),
                (Err(error), Answer::State(_)) => Answer::State(Err(error)),
            };
            self.reply(ticket, answer);
        }
        for key in &flight.keys {
            // A tombstone leaves it when somebody waits.
            if let Some(entry) = self.entries.get_mut(key) {
                entry.flight = None;
            }
            self.serve(key);
        }
    }

    fn reply(&mut self, ticket: u64, answer: Answer) {
        self.parked = self.parked.saturating_sub(1);
        self.out.push(Effect::Reply { ticket, answer });
    }

    fn forget_if_vacant(&mut self, key: &ShareKey) {
        let vacant =
            |entry: &Entry| entry.state.is_none() && entry.flight.is_none() && entry.waiting.is_empty();
        if self.entries.get(key).is_some_and(vacant) {
            self.entries.remove(key);
        }
    }

    fn unload(&mut self) {
        let error = ErrorCode::NotCoordinator;
        for flight in std::mem::take(&mut self.flights).into_values() {
            for (ticket, answer) in flight.replies {
                let answer = match answer {
                    Answer::Done(_) => Answer::Done(error),
                    Answer::State(_) => Answer::State(Err(error)),
                };
                self.reply(ticket, answer);
            }
        }
        for entry in std::mem::take(&mut self.entries).into_values() {
            for (ticket, ask) in entry.waiting {
                self.reply(ticket, Answer::refused(&ask, error));
            }
        }
        (self.bytes, self.upkeep) = (0, Upkeep::new());
    }
}

/// Bytes a share partition is counted with: the maps it is in, its key twice, and its batches.
fn size_of_state(key: &ShareKey, state: &PartitionState) -> u64 {
    (256 + 2 * key.group.len() + state.bytes()) as u64
}

impl Machine for ShareStates {
    type Input = Input;
    type Effect = Effect;

    fn step(&mut self, now: Tick, input: Input, effects: &mut Effects<Effect>) {
        match input {
            Input::Request { ticket, wall, key, ask } => {
                self.wall = wall;
                self.request(ticket, key, ask);
            }
            Input::Durable { id, base } => {
                // Not those that begin meanwhile.
                let landed: Vec<u64> = self.flights.range(..=id).map(|(id, _)| *id).collect();
                for at in landed {
                    if let Some(flight) = self.flights.remove(&at) {
                        // Of those before, it is known that they are not before what was durable already.
                        self.landed(flight, Ok(if at == id { base } else { self.end }));
                        self.renewed(now, at, true);
                    }
                }
            }
            Input::AppendFailed(id, error) => {
                if let Some(flight) = self.flights.remove(&id) {
                    self.landed(flight, Err(append_error(error)));
                    self.renewed(now, id, false);
                }
            }
            Input::Tick { wall } => {
                self.wall = wall;
                self.tick(now);
            }
            Input::Unload => self.unload(),
        }
        for effect in self.out.drain(..) {
            effects.push(effect);
        }
    }
}
