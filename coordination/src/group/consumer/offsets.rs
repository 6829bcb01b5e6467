//! Who may commit and fetch offsets of a group by the consumer protocol.

use model::{ErrorCode, TopicId};

use super::super::request::OffsetCommit;
use super::State;
use super::state::Member;

/// Whether a commit may be made: all of it or nothing. A member that is behind its epoch may commit what it has had since then
/// (KIP-1251).
pub(in crate::group) fn may_commit(state: &State, commit: &OffsetCommit) -> Result<(), ErrorCode> {
    let asked = commit.generation;
    if asked < 0 && state.members().is_empty() {
        // Somebody outside of group management.
        return Ok(());
    }
    let member = state.member(&commit.member_id).ok_or(ErrorCode::UnknownMemberId)?;
    if !member.uses_classic() && !commit.knows_group_not_found {
        // Before version 9 a client cannot mean an epoch.
        return Err(ErrorCode::UnsupportedVersion);
    }
    let current = &member.current;
    let held_since = |topic: TopicId, partition: i32| {
        current.assigned.epoch(topic, partition).or_else(|| current.revoking.epoch(topic, partition))
    };
    let mut partitions = commit
        .topics
        .iter()
        .flat_map(|topic| topic.partitions.iter().map(|one| (topic.topic_id, one.partition)));
    let behind = asked < current.epoch
        && partitions.all(|(topic, at)| held_since(topic, at).is_some_and(|since| since <= asked));
    if asked == current.epoch || behind { Ok(()) } else { Err(wrong_epoch(member)) }
}

fn wrong_epoch(member: &Member) -> ErrorCode {
    if member.uses_classic() { ErrorCode::IllegalGeneration } else { ErrorCode::StaleMemberEpoch }
}

/// Whether this member may fetch, or whoever does not say who it is.
pub(in crate::group) fn may_fetch(state: &State, member: Option<&(String, i32)>) -> Result<(), ErrorCode> {
    let Some((id, epoch)) = member else { return Ok(()) };
    let member = state.member(id).ok_or(ErrorCode::UnknownMemberId)?;
    if *epoch == member.current.epoch { Ok(()) } else { Err(wrong_epoch(member)) }
}
