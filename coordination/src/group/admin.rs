//! ListGroups, DescribeGroups and DeleteGroups.

use std::sync::Arc;

use bytes::Bytes;
use model::ErrorCode;

use super::classic::Group;
use super::coordinator::Coordinator;
use super::desk::{Deletion, Then};
use super::limits::{GROUPS_PER_DELETE, TOMBSTONES_PER_APPEND};
use super::record::Record;
use super::reply::{DescribedGroup, DescribedMember, GroupState, GroupType, ListedGroup, Reply};
use super::request::ListFilter;

impl Coordinator {
    pub(super) fn list(&mut self, ticket: u64, filter: &ListFilter) {
        let states: Vec<String> = filter.states.iter().map(|state| state.trim().to_lowercase()).collect();
        let types: Vec<String> = filter.types.iter().map(|kind| kind.trim().to_lowercase()).collect();
        let fits = |listed: &ListedGroup| {
            (types.is_empty() || types.iter().any(|kind| kind == listed.kind.name()))
                && (states.is_empty() || states.contains(&listed.state.name().to_lowercase()))
        };
        let listed = self.groups.values().filter(|group| group.durable).map(Group::list);
        let listed = listed.chain(self.listed_share_groups()).filter(fits);
        let reply = Reply::List(Ok(listed.collect()));
        self.desk.reply(ticket, reply);
    }

    pub(super) fn describe(&mut self, ticket: u64, groups: &[String]) {
        let one = |id: &String| match self.groups.get(id.as_str()).filter(|group| group.durable) {
            Some(group) if group.consumer.is_none() => group.describe(),
            Some(_) => DescribedGroup::of_another_kind(id),
            None if self.share.has(id) => DescribedGroup::of_another_kind(id),
            None => DescribedGroup::unknown(id, ErrorCode::None),
        };
        let reply = Reply::Describe(groups.iter().map(one).collect());
        self.desk.reply(ticket, reply);
    }

    pub(super) fn delete(&mut self, ticket: u64, groups: &[String]) {
        let deletion = ticket;
        let mut appends = 0;
        let (mut verdicts, mut outstanding) = (Vec::new(), 0);
        for (place, id) in groups.iter().enumerate() {
            let verdict = match self.groups.get_mut(id.as_str()) {
                None => ErrorCode::GroupIdNotFound,
                Some(_) if appends >= GROUPS_PER_DELETE => ErrorCode::CoordinatorNotAvailable,
                Some(group) if !group.queue.is_idle() => ErrorCode::CoordinatorNotAvailable,
                Some(group) => match group.phase() {
                    GroupState::Dead => ErrorCode::GroupIdNotFound,
                    GroupState::Empty => {
                        appends += self.delete_one(id, Then::Deleted { deletion, place });
                        outstanding += 1;
                        ErrorCode::None
                    }
                    _ => ErrorCode::NonEmptyGroup,
                },
            };
            verdicts.push((id.clone(), verdict));
        }
        if outstanding == 0 {
            self.desk.reply(ticket, Reply::Delete(verdicts));
        } else {
            self.desk.park(ticket);
            self.desk.deletions.insert(deletion, Deletion { ticket, verdicts, outstanding });
        }
    }

    /// Appends the tombstones of an empty group, its own last with `then` behind it. Until that lands the group is
    /// dead: nobody joins it or commits.
    fn delete_one(&mut self, id: &str, then: Then) -> usize {
        let Some(group) = self.groups.get_mut(id) else { return 0 };
        let desk = &mut self.desk;
        let mut records = group.tombstones();
        records.extend(group.end());
        group.transition_dead();
        let mut appends = 0;
        let mut then = Some(then);
        while !records.is_empty() {
            let rest = records.split_off(records.len().min(TOMBSTONES_PER_APPEND));
            let last = if rest.is_empty() { then.take() } else { None };
            group.append(desk, records, last.unwrap_or(Then::Nothing));
            records = rest;
            appends += 1;
        }
        appends
    }

    /// One group of a DeleteGroups request is gone, or not.
    pub(super) fn deleted(&mut self, deletion: u64, place: usize, verdict: ErrorCode) {
        let Some(waiting) = self.desk.deletions.get_mut(&deletion) else { return };
        if let Some(told) = waiting.verdicts.get_mut(place) {
            told.1 = verdict;
        }
        waiting.outstanding -= 1;
        if waiting.outstanding == 0
            && let Some(done) = self.desk.deletions.remove(&deletion)
        {
            self.desk.release(done.ticket, Reply::Delete(done.verdicts));
        }
    }
}

impl Group {
    /// Its deletion is on the way. When it became empty stays, in case it fails.
    pub fn transition_dead(&mut self) {
        self.state_before = self.state;
        self.state = GroupState::Dead;
    }

    /// Its deletion failed: it is empty again.
    pub fn revive(&mut self) {
        if self.state == GroupState::Dead {
            self.state = GroupState::Empty;
        }
    }

    /// Tombstones of all but its offsets.
    pub fn end(&self) -> Vec<Record> {
        let Some(consumer) = &self.consumer else {
            return vec![Record::Group { group: Arc::clone(&self.id), value: None }];
        };
        let changes = consumer.state.tombstones().into_iter();
        changes.map(|change| Record::Consumer { group: Arc::clone(&self.id), change }).collect()
    }

    /// Where it stands, by whichever protocol.
    fn phase(&self) -> GroupState {
        match &self.consumer {
            Some(consumer) if self.state != GroupState::Dead => consumer.state.phase(),
            _ => self.state,
        }
    }

    fn list(&self) -> ListedGroup {
        let (kind, protocol_type) = match &self.consumer {
            Some(_) => (GroupType::Consumer, "consumer".to_owned()),
            None => (GroupType::Classic, self.protocol_type.clone().unwrap_or_default()),
        };
        ListedGroup { group: self.id.to_string(), protocol_type, state: self.phase(), kind }
    }

    fn describe(&self) -> DescribedGroup {
        let stable = self.state == GroupState::Stable;
        let protocol = self.protocol.clone().filter(|_| stable).unwrap_or_default();
        let members = self.members.values().map(|member| DescribedMember {
            member_id: member.id.to_string(),
            instance_id: member.instance.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            metadata: if stable { member.metadata(&protocol) } else { Bytes::new() },
            assignment: member.assignment.clone(),
        });
        DescribedGroup {
            group: self.id.to_string(),
            missing: None,
            error: ErrorCode::None,
            state: self.state,
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            members: members.collect(),
            protocol,
        }
    }
}
