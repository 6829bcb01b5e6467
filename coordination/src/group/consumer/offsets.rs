//! Who may commit and fetch offsets of a group by the consumer protocol.

use model::{ErrorCode, TopicId};

use super::super::request::OffsetCommit;
use super::State;
use super::state::Member;

/// Which partitions a commit may be of.
#[derive(Clone, Copy, Debug)]
pub(in crate::group) enum Scope<'a> {
    /// All.
    Every,
    /// Of a member that is behind its epoch (KIP-1251): those that it has had since then.
    HeldSince(&'a Member, i32),
}

impl Scope<'_> {
    pub fn check(self, topic: TopicId, partition: i32) -> Result<(), ErrorCode> {
        let Self::HeldSince(member, epoch) = self else { return Ok(()) };
        let current = &member.current;
        let since =
            current.assigned.epoch(topic, partition).or_else(|| current.revoking.epoch(topic, partition));
        since.filter(|since| *since <= epoch).map(|_| ()).ok_or(ErrorCode::StaleMemberEpoch)
    }
}

/// Whether a commit may be made, and of what.
pub(in crate::group) fn may_commit<'a>(
    state: &'a State,
    commit: &OffsetCommit,
) -> Result<Scope<'a>, ErrorCode> {
    let asked = commit.generation;
    if asked < 0 && state.members().is_empty() {
        // Somebody outside of group management.
        return Ok(Scope::Every);
    }
    let member = state.member(&commit.member_id).ok_or(ErrorCode::UnknownMemberId)?;
    if member.uses_classic() {
        return if asked == member.current.epoch {
            Ok(Scope::Every)
        } else {
            Err(ErrorCode::IllegalGeneration)
        };
    }
    if !commit.knows_group_not_found {
        // Before version 9 a client cannot mean an epoch.
        return Err(ErrorCode::UnsupportedVersion);
    }
    match asked.cmp(&member.current.epoch) {
        std::cmp::Ordering::Equal => Ok(Scope::Every),
        std::cmp::Ordering::Greater => Err(ErrorCode::StaleMemberEpoch),
        std::cmp::Ordering::Less => Ok(Scope::HeldSince(member, asked)),
    }
}

/// Whether this member may fetch, or whoever does not say who it is.
pub(in crate::group) fn may_fetch(state: &State, member: Option<&(String, i32)>) -> Result<(), ErrorCode> {
    let Some((id, epoch)) = member else { return Ok(()) };
    let member = state.member(id).ok_or(ErrorCode::UnknownMemberId)?;
    if *epoch == member.current.epoch {
        Ok(())
    } else if member.uses_classic() {
        Err(ErrorCode::IllegalGeneration)
    } else {
        Err(ErrorCode::StaleMemberEpoch)
    }
}
