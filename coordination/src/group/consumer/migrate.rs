//! Groups change their protocol while they have members: up when the first member by the consumer protocol joins, down when
//! the last one left.
//!
//! Kafka gives partitions away while who had them by the classic protocol may still use them: an upgrade takes what is being
//! computed for what members have, and a downgrade what they are to have. Here a member is taken to have what was handed out to it last and
//! what it says it still has, until it joins again and says otherwise; and a downgrade always begins with a rebalance.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use model::{ErrorCode, TimestampMs};

use super::super::classic::Group;
use super::super::desk::{Desk, Then};
use super::super::member::Member as ClassicMember;
use super::super::record::{MemberValue, Record};
use super::super::reply::{GroupState, JoinReply, Reply, SyncReply};
use super::super::request::{ConsumerHeartbeat, Request};
use super::join::CONSUMER;
use super::partitions::{self, Held, Partitions};
use super::record::{
    ClassicMetadata, ConsumerRecord, CurrentValue, EpochValue, MemberMetadata, MemberState, TargetEpochValue,
};
use super::state::{Draft, State};
use super::{Change, Refusal, Soft, Turn, embedded, heartbeat};
use crate::metadata::Image;

/// Whether a request puts an end to a group without members.
pub(super) fn ends(request: &Request, state: &State) -> bool {
    matches!(request, Request::Join(_)) && state.members().is_empty()
}

/// Whether only members that use the classic protocol are left, and may go on by themselves.
pub(super) fn is_to_downgrade(state: &State, desk: &Desk) -> bool {
    let members = state.members().len();
    let settings = &desk.settings;
    members > 0
        && state.classic_members() == members
        && settings.consumer.migration.downgrade
        && members <= settings.members_max()
}

/// The group as one by the classic protocol: each member has what it holds.
pub(super) fn to_classic(id: &Arc<str>, state: &State, desk: &Desk) -> Record {
    let mut group = Group::new(Arc::clone(id));
    // One that no member knows: they are to join again, also if the coordinator is another before they did.
    let epochs = state.members().values().map(|member| member.current.epoch.saturating_add(1));
    group.generation = epochs.max().unwrap_or(0).max(state.epoch);
    group.protocol_type = Some(CONSUMER.to_owned());
    group.since = desk.wall;
    let mut held = BTreeMap::new();
    for (id, member) in state.members() {
        let Some(classic) = &member.metadata.classic else { continue };
        let metadata = &member.metadata;
        let (_, subscription) = classic.protocols.first().cloned().unwrap_or_default();
        let version = embedded::subscription(&subscription).map_or(0, |subscription| subscription.version);
        let all: Held = member.current.assigned.iter().chain(member.current.revoking.iter()).collect();
        held.insert(Arc::clone(id), embedded::encode_assignment(version, &all.partitions(), &desk.image));
        let stored = MemberValue {
            member_id: id.to_string(),
            instance_id: metadata.instance_id.clone(),
            client_id: metadata.client_id.clone(),
            client_host: metadata.client_host.clone(),
            rebalance_timeout_ms: metadata.rebalance_timeout_ms,
            session_timeout_ms: classic.session_timeout_ms,
            subscription,
            assignment: Bytes::new(),
        };
        let mut member = ClassicMember::loaded(&stored, "");
        member.protocols.clone_from(&classic.protocols);
        group.add(member);
    }
    group.protocol = group.select_protocol();
    group.value(|member| held.get(&member.id).cloned().unwrap_or_default())
}

fn cannot<T>(id: &str, why: &str) -> Result<T, Refusal> {
    Err((
        ErrorCode::GroupIdNotFound,
        format!("Cannot upgrade classic group {id} to consumer group because {why}."),
    ))
}

impl Group {
    /// The first member by the consumer protocol joins: the group changes its protocol together with what that member changes.
    pub(in crate::group) fn upgrade(
        &mut self,
        ticket: u64,
        ask: &ConsumerHeartbeat,
        desk: &mut Desk,
    ) -> Result<(), Refusal> {
        if self.state == GroupState::Dead {
            return Err((ErrorCode::CoordinatorNotAvailable, "The group is being deleted.".to_owned()));
        }
        let blank = State::default();
        let mut draft = Draft::on(&blank);
        if self.state != GroupState::Empty {
            self.may_upgrade(desk)?;
            self.to_consumer(&mut draft, &Arc::clone(&desk.image))?;
        }
        let mut soft = Soft::default();
        let mut turn = Turn { group: &self.id, soft: &mut soft, desk: &mut *desk };
        let made = heartbeat::heartbeat(&mut turn, &mut draft, ask);
        // The timers begin when the group is what it becomes.
        soft.clear(desk);
        // A first look at regular expressions waits for the next heartbeat.
        desk.to_look_up.clear();
        let reply = Reply::ConsumerHeartbeat(made?);
        let mut records = Vec::with_capacity(draft.records.len() + 1);
        if self.kept.is_some() || self.flights > 0 {
            records.push(Record::Group { group: Arc::clone(&self.id), value: None });
        }
        let group = &self.id;
        let changes = draft.records.into_iter();
        records.extend(changes.map(|change| Record::Consumer { group: Arc::clone(group), change }));
        self.freeze(desk);
        let replies = vec![(desk.park(ticket), reply)];
        self.queue.storing = true;
        self.append(desk, records, Then::Consumer { replies, change: Some(Change::Upgrade) });
        Ok(())
    }

    fn may_upgrade(&self, desk: &Desk) -> Result<(), Refusal> {
        let settings = &desk.settings.consumer;
        if !settings.migration.upgrade {
            return cannot(&self.id, "online upgrade is disabled");
        }
        if self.protocol_type.as_deref() != Some(CONSUMER) {
            return cannot(&self.id, "the group does not use the consumer embedded protocol");
        }
        if self.members.len() > settings.members_max() {
            return cannot(&self.id, "the group size exceeds the consumer group maximum size");
        }
        Ok(())
    }

    /// Its members as members of a group by the consumer protocol, in the epoch that their generation is.
    fn to_consumer(&self, draft: &mut Draft<'_>, image: &Image) -> Result<(), Refusal> {
        let protocol = self.protocol.clone().or_else(|| self.select_protocol()).unwrap_or_default();
        let mut converted = Vec::with_capacity(self.members.len());
        let mut given = BTreeSet::new();
        for member in self.members.values() {
            let malformed = |_| "the embedded consumer protocol is malformed";
            let read = embedded::subscription(&member.metadata(&protocol)).map_err(malformed);
            let had = embedded::assignment(&self.last_assignment(member)).map_err(malformed);
            let (subscription, assignment) = match (read, had) {
                (Ok(subscription), Ok(assignment)) => (subscription, assignment),
                (Err(why), _) | (_, Err(why)) => return cannot(&self.id, why),
            };
            // In Kafka too this hits librdkafka's cooperative-sticky groups after their second generation: their leader repeats in an
            // assignment what the member said of its own.
            if assignment.has_user_data {
                let why = "an unsupported custom assignor is in use. Please refer to the documentation or switch to a \
                           default assignor before re-attempting the upgrade";
                return cannot(&self.id, why);
            }
            let handed_out = embedded::with_ids(&assignment.partitions, image);
            given.extend(partitions::each(&handed_out));
            converted.push((member, subscription, handed_out));
        }
        for (member, subscription, mut held) in converted {
            for (topic, partition) in partitions::each(&embedded::with_ids(&subscription.owned, image)) {
                // What was handed out to another since is that one's.
                if given.insert((topic, partition)) {
                    held.entry(topic).or_default().insert(partition);
                }
            }
            self.convert(draft, member, subscription, &held);
        }
        // No hash: an epoch follows at once, even if the member that joins wants nothing. A rebalance may have been cut short.
        draft.push(ConsumerRecord::Epoch(Some(EpochValue { epoch: self.generation, metadata_hash: 0 })));
        let time = TimestampMs(0);
        draft.push(ConsumerRecord::TargetEpoch(Some(TargetEpochValue { epoch: self.generation, time })));
        Ok(())
    }

    /// What a member was told last of what it has. A generation that is being put together was not told to anybody.
    fn last_assignment(&self, member: &ClassicMember) -> Bytes {
        let kept = self.kept.iter().flat_map(|kept| &kept.members);
        let mut kept = kept.filter(|one| match &member.instance {
            Some(instance) => one.instance_id.as_ref() == Some(instance),
            None => *one.member_id == *member.id,
        });
        kept.next().map_or_else(|| member.assignment.clone(), |one| one.assignment.clone())
    }

    fn convert(
        &self,
        draft: &mut Draft<'_>,
        member: &ClassicMember,
        subscription: embedded::Subscription,
        held: &Partitions,
    ) {
        let metadata = MemberMetadata {
            instance_id: member.instance.clone(),
            rack_id: subscription.rack_id,
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            topics: subscription.topics,
            regex: None,
            rebalance_timeout_ms: member.rebalance_timeout_ms,
            assignor: None,
            classic: Some(ClassicMetadata {
                session_timeout_ms: member.session_timeout_ms,
                protocols: member.protocols.clone(),
            }),
        };
        let current = CurrentValue {
            epoch: self.generation,
            previous_epoch: self.generation,
            state: MemberState::Stable,
            assigned: Held::since(held, self.generation),
            revoking: Held::default(),
        };
        let id = || Arc::clone(&member.id);
        draft.push(ConsumerRecord::Member { member: id(), value: Some(Arc::new(metadata)) });
        draft.push(ConsumerRecord::Target { member: id(), value: Some(Arc::new(held.clone())) });
        draft.push(ConsumerRecord::Current { member: id(), value: Some(Arc::new(current)) });
    }

    /// Its change of protocol is being stored: whoever waits is to join again, and no timer fires.
    fn freeze(&mut self, desk: &mut Desk) {
        let error = ErrorCode::RebalanceInProgress;
        for member in self.members.values_mut() {
            if let Some(ticket) = member.joining.take() {
                desk.release(ticket, Reply::Join(JoinReply::error(error, &member.id)));
            }
            if let Some(ticket) = member.syncing.take() {
                desk.release(ticket, Reply::Sync(SyncReply::error(error)));
            }
            desk.timers.cancel(&mut member.session);
        }
        for mut timer in std::mem::take(&mut self.pending_joins).into_values() {
            desk.timers.cancel(&mut timer);
        }
        desk.timers.cancel(&mut self.join_timer);
        desk.timers.cancel(&mut self.sync_timer);
    }

    /// The change of protocol is not stored: the group goes on as it was.
    pub(in crate::group) fn thaw(&mut self, desk: &mut Desk) {
        self.start_sessions(desk);
        match self.state {
            // Whoever joined was told to do so again.
            GroupState::PreparingRebalance => self.wait_for_members(desk),
            GroupState::CompletingRebalance => {
                self.prepare_rebalance(desk);
            }
            _ => {}
        }
    }

    /// The group is by the consumer protocol now.
    pub(in crate::group) fn forget_classic(&mut self, desk: &mut Desk) {
        let ids: Vec<Arc<str>> = self.members.keys().chain(self.pending_joins.keys()).cloned().collect();
        for id in ids {
            self.remove(&id, desk);
        }
        desk.timers.cancel(&mut self.join_timer);
        desk.timers.cancel(&mut self.sync_timer);
        self.pending_syncs.clear();
        (self.state, self.state_before) = (GroupState::Empty, GroupState::Dead);
        (self.generation, self.newcomers, self.storing) = (0, false, None);
        (self.protocol_type, self.protocol, self.subscribed) = (None, None, None);
        self.since = TimestampMs::NONE;
    }

    /// The group is by the classic protocol now, as its record says.
    pub(in crate::group) fn restored(&mut self, desk: &mut Desk) {
        self.restore();
        self.start_sessions(desk);
        self.prepare_rebalance(desk);
    }

    fn start_sessions(&mut self, desk: &mut Desk) {
        let ids: Vec<Arc<str>> = self.members.keys().cloned().collect();
        for id in ids {
            self.refresh_session(&id, None, desk);
        }
    }
}
