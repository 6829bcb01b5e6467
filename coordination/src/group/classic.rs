//! One group: its members, its generation and its offsets; who may do what.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use model::{ErrorCode, TimestampMs, TopicId};

use super::consumer::{Consumer, Queue};
use super::desk::{Desk, Then};
use super::limits::GROUP_BYTES;
use super::member::Member;
use super::offsets::{Offsets, UnusedSince};
use super::record::{GroupValue, Record};
use super::reply::{GroupState, JoinReply, Reply, SyncReply};
use super::subscription;
use super::timers::TimerKey;

/// The protocol type of consumers: the only one whose metadata the coordinator reads.
const CONSUMER: &str = "consumer";

/// A group. `kept`, `offsets` and `durable` are its hard state; all else is soft.
#[derive(Debug)]
pub(super) struct Group {
    pub id: Arc<str>,
    /// The last metadata that is durable.
    pub kept: Option<Arc<GroupValue>>,
    pub offsets: Offsets,
    /// Something of it is in the log: before, nobody hears of it.
    pub durable: bool,

    /// What makes it a group by the consumer protocol: then it has no members of its own. Its state is hard.
    pub consumer: Option<Box<Consumer>>,
    /// Requests to it that wait because it is by the consumer protocol, or is changing its protocol.
    pub queue: Queue,

    /// Offsets on their way, with how many commits each and the topic's id.
    pub committing: BTreeMap<(Arc<str>, i32), (u32, TopicId)>,
    /// Appends that come back to this group.
    pub flights: u32,
    /// The generation whose assignment is being stored.
    pub storing: Option<i32>,

    pub state: GroupState,
    pub state_before: GroupState,
    /// Since when it is in its state, or none.
    pub since: TimestampMs,
    pub generation: i32,
    pub protocol_type: Option<String>,
    pub protocol: Option<String>,
    /// Always a member, when there are any.
    pub leader: Option<Arc<str>>,
    pub members: BTreeMap<Arc<str>, Member>,
    /// Instance id to member id: exactly the static ones of `members`.
    pub statics: BTreeMap<String, Arc<str>>,
    /// Ids that were given out and have not joined, with their session timers.
    pub pending_joins: BTreeMap<Arc<str>, Option<TimerKey>>,
    /// Members of this generation that have not synced.
    pub pending_syncs: BTreeSet<Arc<str>>,
    /// A member was added while the first rebalance waits.
    pub newcomers: bool,
    /// Topics the members of a consumer group read, when they could be read.
    pub subscribed: Option<BTreeSet<String>>,
    pub join_timer: Option<TimerKey>,
    pub sync_timer: Option<TimerKey>,
    members_bytes: u64,
    counted: u64,
}

impl Group {
    pub fn new(id: Arc<str>) -> Self {
        Self {
            id,
            kept: None,
            offsets: Offsets::default(),
            durable: false,
            consumer: None,
            queue: Queue::default(),
            committing: BTreeMap::new(),
            flights: 0,
            storing: None,
            state: GroupState::Empty,
            state_before: GroupState::Dead,
            since: TimestampMs::NONE,
            generation: 0,
            protocol_type: None,
            protocol: None,
            leader: None,
            members: BTreeMap::new(),
            statics: BTreeMap::new(),
            pending_joins: BTreeMap::new(),
            pending_syncs: BTreeSet::new(),
            newcomers: false,
            subscribed: None,
            join_timer: None,
            sync_timer: None,
            members_bytes: 0,
            counted: 0,
        }
    }

    /// Makes the soft state what the durable metadata says: after a load, before anything else happens.
    pub fn restore(&mut self) {
        let Some(kept) = self.kept.clone() else { return };
        self.state = if kept.members.is_empty() { GroupState::Empty } else { GroupState::Stable };
        self.since = kept.state_since;
        self.generation = kept.generation;
        self.protocol_type = (!kept.protocol_type.is_empty()).then(|| kept.protocol_type.clone());
        self.protocol.clone_from(&kept.protocol);
        let protocol = kept.protocol.as_deref().unwrap_or_default();
        for stored in &kept.members {
            let member = Member::loaded(stored, protocol);
            if let Some(instance) = &member.instance {
                self.statics.insert(instance.clone(), Arc::clone(&member.id));
            }
            self.members.insert(Arc::clone(&member.id), member);
        }
        // The log may hold anything; the invariants are ours: one member per instance.
        let instances = std::mem::take(&mut self.statics);
        self.members.retain(|id, member| {
            member.instance.as_ref().is_none_or(|instance| instances.get(instance) == Some(id))
        });
        let statics =
            self.members.values().filter_map(|one| Some((one.instance.clone()?, Arc::clone(&one.id))));
        self.statics = statics.collect();
        let leader = kept.leader.as_deref().and_then(|id| self.members.get_key_value(id));
        self.leader = leader.or_else(|| self.members.first_key_value()).map(|(id, _)| Arc::clone(id));
        self.subscribed = self.read_subscriptions();
    }

    /// Appends for this group.
    pub fn append(&mut self, desk: &mut Desk, records: Vec<Record>, then: Then) -> u64 {
        self.flights += 1;
        desk.append(Some(Arc::clone(&self.id)), records, then)
    }

    pub fn transition(&mut self, state: GroupState, desk: &Desk) {
        self.state_before = self.state;
        self.state = state;
        self.since = desk.wall;
    }

    pub fn is_leader(&self, member: &str) -> bool {
        self.leader.as_deref() == Some(member)
    }

    /// Whether whoever claims to be `member_id` of `instance_id` is that member.
    pub fn validate(&self, member_id: &str, instance_id: Option<&str>) -> Result<(), ErrorCode> {
        if let Some(instance) = instance_id {
            match self.statics.get(instance) {
                None => return Err(ErrorCode::UnknownMemberId),
                Some(known) if &**known != member_id => return Err(ErrorCode::FencedInstanceId),
                Some(_) => {}
            }
        }
        if self.members.contains_key(member_id) { Ok(()) } else { Err(ErrorCode::UnknownMemberId) }
    }

    /// Whether a member of this protocol type that offers these protocols can be in the group.
    pub fn supports(&self, protocol_type: &str, protocols: &[(String, Bytes)]) -> bool {
        if self.state == GroupState::Empty {
            return !protocol_type.is_empty() && !protocols.is_empty();
        }
        self.protocol_type.as_deref() == Some(protocol_type)
            && protocols.iter().any(|(name, _)| self.members.values().all(|member| member.supports(name)))
    }

    /// The protocol with the most votes: each member votes for the first of its protocols that all support. Equal
    /// votes go to the name that sorts first.
    pub fn select_protocol(&self) -> Option<String> {
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        let any = self.members.values().next()?;
        let candidates: BTreeSet<&str> = any
            .protocols
            .iter()
            .map(|(name, _)| name.as_str())
            .filter(|name| self.members.values().all(|member| member.supports(name)))
            .collect();
        for member in self.members.values() {
            let mut names = member.protocols.iter().map(|(name, _)| name.as_str());
            if let Some(choice) = names.find(|name| candidates.contains(name)) {
                *votes.entry(choice).or_default() += 1;
            }
        }
        let most = votes.values().max().copied()?;
        votes.into_iter().find(|(_, count)| *count == most).map(|(name, _)| name.to_owned())
    }

    pub fn add(&mut self, member: Member) {
        if let Some(instance) = &member.instance {
            self.statics.insert(instance.clone(), Arc::clone(&member.id));
        }
        self.leader.get_or_insert_with(|| Arc::clone(&member.id));
        self.members.insert(Arc::clone(&member.id), member);
    }

    /// Takes a member, or an id that was only given out, from the group. Who still waits as it is told that it is
    /// unknown: if it lives it joins again.
    pub fn remove(&mut self, id: &str, desk: &mut Desk) {
        if let Some(mut timer) = self.pending_joins.remove(id) {
            desk.timers.cancel(&mut timer);
        }
        self.pending_syncs.remove(id);
        let Some(mut member) = self.members.remove(id) else { return };
        desk.timers.cancel(&mut member.session);
        self.dismiss(&mut member, ErrorCode::UnknownMemberId, "", desk);
        if let Some(instance) = &member.instance {
            self.statics.remove(instance);
        }
        if self.is_leader(id) {
            self.leader = self.members.keys().next().cloned();
        }
    }

    /// Answers whatever `member` waits for with `error`.
    pub fn dismiss(&self, member: &mut Member, error: ErrorCode, told_id: &str, desk: &mut Desk) {
        if let Some(ticket) = member.joining.take() {
            desk.release(ticket, Reply::Join(JoinReply::error(error, told_id)));
        }
        if let Some(ticket) = member.syncing.take() {
            desk.release(ticket, Reply::Sync(SyncReply::error(error)));
        }
    }

    pub fn joining(&self) -> usize {
        self.members.values().filter(|member| member.joining.is_some()).count()
    }

    pub fn all_joined(&self) -> bool {
        self.pending_joins.is_empty() && self.members.values().all(|member| member.joining.is_some())
    }

    /// The longest any member lets a rebalance wait.
    pub fn rebalance_timeout_ms(&self) -> i32 {
        self.members.values().map(|member| member.rebalance_timeout_ms).fold(0, i32::max)
    }

    /// The answer to a member that is in the present generation.
    pub fn joined(&self, member_id: &str) -> JoinReply {
        JoinReply {
            error: ErrorCode::None,
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.as_deref().unwrap_or_default().to_owned(),
            skip_assignment: false,
            member_id: member_id.to_owned(),
            members: Vec::new(),
        }
    }

    /// The group as a record, each member with the assignment that `assignment` gives.
    pub fn value(&self, assignment: impl Fn(&Member) -> Bytes) -> Record {
        let protocol = self.protocol.as_deref().unwrap_or_default();
        let members = self.members.values().map(|member| member.stored(protocol, assignment(member)));
        let value = GroupValue {
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            generation: self.generation,
            protocol: self.protocol.clone(),
            leader: self.leader.as_deref().map(str::to_owned),
            state_since: self.since,
            members: members.collect(),
        };
        Record::Group { group: Arc::clone(&self.id), value: Some(Arc::new(value)) }
    }

    fn uses_consumer_protocol(&self) -> bool {
        self.protocol_type.as_deref() == Some(CONSUMER)
    }

    /// The topics all members subscribe to; `None` when it is no consumer group or the metadata cannot be read.
    pub fn read_subscriptions(&self) -> Option<BTreeSet<String>> {
        if !self.uses_consumer_protocol() {
            return None;
        }
        let mut topics = BTreeSet::new();
        if !self.members.is_empty() {
            let protocol = self.protocol.as_deref()?;
            for member in self.members.values() {
                subscription::read_topics(&member.metadata(protocol), &mut topics)?;
            }
        }
        Some(topics)
    }

    /// Whether offsets of `topic` are in use; a consumer group that cannot tell uses them all.
    pub fn is_subscribed(&self, topic: &str) -> bool {
        if let Some(consumer) = &self.consumer {
            return consumer.state.is_subscribed(topic);
        }
        self.subscribed
            .as_ref()
            .map_or_else(|| self.uses_consumer_protocol(), |topics| topics.contains(topic))
    }

    pub fn may_delete_offsets(&self) -> Result<(), ErrorCode> {
        match self.state {
            GroupState::Dead => Err(ErrorCode::GroupIdNotFound),
            // One by the consumer protocol too.
            GroupState::Empty => Ok(()),
            _ if self.uses_consumer_protocol() => Ok(()),
            _ => Err(ErrorCode::NonEmptyGroup),
        }
    }

    /// From when on its offsets are unused; `None` while they are in use.
    pub fn unused_since(&self) -> Option<UnusedSince> {
        match (&self.protocol_type, self.state) {
            (None, _) => Some(UnusedSince::Commit),
            // Old metadata does not say since when.
            (Some(_), GroupState::Empty) if self.since == TimestampMs::NONE => Some(UnusedSince::Commit),
            (Some(_), GroupState::Empty) => Some(UnusedSince::Moment(self.since)),
            (Some(_), GroupState::Stable) if self.uses_consumer_protocol() && self.subscribed.is_some() => {
                Some(UnusedSince::Commit)
            }
            _ => None,
        }
    }

    /// Nothing of it is or will be in the log and nobody is in it.
    pub fn is_vacant(&self) -> bool {
        let nobody = self.members.is_empty() && self.pending_joins.is_empty() && self.consumer.is_none();
        !self.durable && self.flights == 0 && nobody && self.queue.is_idle()
    }

    /// Brings the coordinator's count of bytes up to date.
    pub fn recount(&mut self, members_changed: bool, desk: &mut Desk) {
        if members_changed {
            self.assert_sound();
            let pending: u64 = self.pending_joins.keys().map(|id| 64 + id.len() as u64).sum();
            let consumer = self.consumer.as_ref().map_or(0, |consumer| consumer.state.bytes());
            self.members_bytes = pending + consumer + self.members.values().map(Member::bytes).sum::<u64>();
        }
        let bytes = GROUP_BYTES + self.id.len() as u64 + self.members_bytes + self.offsets.bytes();
        desk.bytes = desk.bytes - self.counted + bytes;
        self.counted = bytes;
    }

    /// What holds between any two steps.
    fn assert_sound(&self) {
        let leads = self.leader.as_ref().map(|id| self.members.contains_key(id));
        assert!(leads == (!self.members.is_empty()).then_some(true), "the leader is a member");
        let fixed = self.members.values().filter(|member| member.instance.is_some()).count();
        assert!(self.statics.len() == fixed, "every static member and no other is known by its instance");
        assert!(self.statics.values().all(|id| self.members.contains_key(id)), "an instance names a member");
        assert!(
            self.pending_syncs.iter().all(|id| self.members.contains_key(id)),
            "who is to sync is a member"
        );
        let joined = matches!(self.state, GroupState::Stable | GroupState::CompletingRebalance);
        assert!(!joined || !self.members.is_empty(), "a generation has members");
        assert!(self.consumer.is_none() || self.members.is_empty(), "a group is of one type");
    }

    /// Takes it out of the count and of the timers: it is about to be forgotten.
    pub fn discard(&mut self, desk: &mut Desk) {
        let ids: Vec<Arc<str>> = self.members.keys().chain(self.pending_joins.keys()).cloned().collect();
        for id in ids {
            self.remove(&id, desk);
        }
        desk.timers.cancel(&mut self.join_timer);
        desk.timers.cancel(&mut self.sync_timer);
        if let Some(consumer) = &mut self.consumer {
            consumer.soft.clear(desk);
        }
        desk.bytes -= self.counted;
        self.counted = 0;
    }
}
