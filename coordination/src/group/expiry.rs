//! Offsets that nobody used for long, groups that are empty, topics that are gone.

use std::ops::Bound;
use std::sync::Arc;

use model::TopicId;

use super::classic::Group;
use super::coordinator::Coordinator;
use super::desk::{Desk, Then};
use super::limits::{APPENDS_PER_EXPIRY, GROUPS_PER_DELETE, TOMBSTONES_PER_APPEND};
use super::record::Record;
use super::reply::GroupState;
use super::timers::Timer;

impl Coordinator {
    /// Looks for expired offsets in the groups behind `after`, as many as one pass allows, and says when to go on.
    pub(super) fn expire(&mut self, after: Option<&Arc<str>>) {
        let from = after.map_or(Bound::Unbounded, |id| Bound::Excluded(Arc::clone(id)));
        let mut appends_left = APPENDS_PER_EXPIRY;
        let mut seen: Option<Arc<str>> = after.cloned();
        for (id, group) in self.groups.range_mut((from, Bound::Unbounded)) {
            let (mut records, whole) = group.expired(&self.desk);
            let appends = records.len().div_ceil(TOMBSTONES_PER_APPEND);
            if appends > appends_left && appends_left < APPENDS_PER_EXPIRY {
                // With a whole pass of its own, at the next tick.
                self.desk.timers.schedule(self.desk.now, Timer::Expiry { after: seen });
                return;
            }
            let fits = appends <= appends_left;
            // What does not fit even so is found again by the next check.
            records.truncate(appends_left * TOMBSTONES_PER_APPEND);
            appends_left = appends_left.saturating_sub(appends);
            group.bury(records, whole && fits, &mut self.desk);
            seen = Some(Arc::clone(id));
        }
        self.schedule_expiry();
    }

    pub(super) fn schedule_expiry(&mut self) {
        let at = self.desk.now.after_ms(self.desk.settings.offsets_retention_check_ms.max(1));
        self.desk.timers.schedule(at, Timer::Expiry { after: None });
    }

    /// Forgets the offsets of deleted topics; of one that was created anew only those of the old id.
    pub(super) fn topics_deleted(&mut self, topics: &[(String, TopicId)]) {
        let mut records = Vec::new();
        for group in self.groups.values().filter(|group| group.state != GroupState::Dead) {
            for (topic, id) in topics {
                let gone = |known: TopicId| known == TopicId::ZERO || known == *id;
                let durable = group.offsets.of_topic(topic).filter(|(_, value)| gone(value.topic_id));
                let name: Arc<str> = topic.as_str().into();
                let key = |partition: i32| (Arc::clone(&name), partition);
                records.extend(durable.map(|(partition, _)| group.tombstone(&name, partition)));
                let coming = group.committing.range(key(i32::MIN)..=key(i32::MAX));
                let coming = coming.filter(|((_, at), (_, id))| {
                    gone(*id) && group.offsets.get(topic, *at).is_none_or(|value| !gone(value.topic_id))
                });
                records.extend(coming.map(|((_, partition), _)| group.tombstone(&name, *partition)));
            }
        }
        let chunk = TOMBSTONES_PER_APPEND.max(records.len().div_ceil(GROUPS_PER_DELETE));
        while !records.is_empty() {
            let rest = records.split_off(records.len().min(chunk));
            self.desk.append(None, records, Then::Nothing);
            records = rest;
        }
    }
}

impl Group {
    /// Tombstones of what expired; and whether the group is empty and goes with it.
    fn expired(&self, desk: &Desk) -> (Vec<Record>, bool) {
        let since = self.unused_since();
        let retention_ms = desk.settings.retention_ms();
        let (mut records, mut all) = (Vec::new(), self.committing.is_empty());
        for (topic, partitions) in self.offsets.topics() {
            let used = self.is_subscribed(topic);
            for (&partition, value) in partitions {
                let coming = self.committing.contains_key(&(Arc::clone(topic), partition));
                let expired = since.is_some_and(|since| since.expired(value, desk.wall, retention_ms));
                if expired && !used && !coming {
                    records.push(self.tombstone(topic, partition));
                } else {
                    all = false;
                }
            }
        }
        // Whoever was given an id will come back with it.
        let consumers = self.consumer.as_ref().map_or(0, |consumer| consumer.state.members().len());
        let idle = self.flights == 0 && self.pending_joins.is_empty() && self.queue.is_idle();
        let empty = self.state == GroupState::Empty && consumers == 0 && idle;
        if self.state == GroupState::Dead {
            records.clear();
        }
        let whole = all && empty;
        if whole {
            records.extend(self.end());
        }
        (records, whole)
    }

    fn bury(&mut self, mut records: Vec<Record>, whole: bool, desk: &mut Desk) {
        if whole {
            self.transition_dead();
        }
        while !records.is_empty() {
            let rest = records.split_off(records.len().min(TOMBSTONES_PER_APPEND));
            let then = if rest.is_empty() { Then::Expired { whole } } else { Then::Nothing };
            self.append(desk, records, then);
            records = rest;
        }
    }
}
