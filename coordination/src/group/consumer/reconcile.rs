//! How a member gets from what it has to its target: first it gives back what it is to lose, then it enters the epoch of
//! the target and gets what nobody else holds.

use std::collections::BTreeSet;

use model::TopicId;

use super::partitions::{self, Held, Partitions};
use super::record::{CurrentValue, MemberMetadata, MemberState};
use super::state::State;
use crate::metadata::Image;

/// A member in a state that no coordinator of this release writes has to come back without partitions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Fenced;

/// What a member has after one more step towards its target; `None` when that is what it has. `owned` is what it says to
/// use, if it says so.
pub(super) fn step(
    state: &State,
    image: &Image,
    id: &str,
    owned: Option<&Partitions>,
) -> Result<Option<CurrentValue>, Fenced> {
    let Some(member) = state.member(id) else { return Ok(None) };
    let from = Step {
        state,
        id,
        current: &member.current,
        owned,
        topics: topic_ids(state, image, &member.metadata),
    };
    let consistent = from.current.assigned.topics().all(|(topic, _)| from.topics.contains(&topic));
    let next = match from.current.state {
        MemberState::Stable if from.current.epoch == state.target_epoch && consistent => return Ok(None),
        MemberState::Stable if from.current.epoch == state.target_epoch => from.without_unsubscribed(),
        MemberState::Unrevoked if from.still_uses(&from.current.revoking) => {
            if consistent {
                return Ok(None);
            }
            from.without_unsubscribed()
        }
        MemberState::Stable | MemberState::Unrevoked | MemberState::Unreleased => {
            from.towards_target(from.current.epoch)
        }
        MemberState::Unknown(_) if owned.is_some_and(Partitions::is_empty) => {
            from.towards_target(state.target_epoch)
        }
        MemberState::Unknown(_) => return Err(Fenced),
    };
    Ok((next != *member.current).then_some(next))
}

/// Ids of the topics a member subscribes to and that are there.
pub(super) fn topic_ids(state: &State, image: &Image, member: &MemberMetadata) -> BTreeSet<TopicId> {
    state.subscribed_by(member).filter_map(|name| Some(image.topic(name)?.id)).collect()
}

/// Whether a member waits for a partition that another still holds.
pub(super) fn waits_for_others(state: &State, id: &str) -> bool {
    let Some(member) = state.member(id) else { return false };
    let missing = |(topic, partition): (TopicId, i32)| {
        !member.current.assigned.contains(topic, partition) && state.owner(topic, partition).is_some()
    };
    partitions::each(state.target(id)).any(missing)
}

struct Step<'a> {
    state: &'a State,
    id: &'a str,
    current: &'a CurrentValue,
    owned: Option<&'a Partitions>,
    topics: BTreeSet<TopicId>,
}

impl Step<'_> {
    /// Whether it uses any of these, for all we know: who does not say what it uses may use all.
    fn still_uses(&self, revoking: &Held) -> bool {
        let uses = |(topic, partition): (TopicId, i32)| revoking.contains(topic, partition);
        self.owned.is_none_or(|owned| partitions::each(owned).any(uses))
    }

    /// The epoch before `epoch`. It stays while the member stays in its epoch: it may still have to hear of that.
    const fn before(&self, epoch: i32) -> i32 {
        if epoch == self.current.epoch { self.current.previous_epoch } else { self.current.epoch }
    }

    /// Takes partitions of topics that it does not subscribe to any more, whatever the target says.
    fn without_unsubscribed(&self) -> CurrentValue {
        let (assigned, gone): (Vec<_>, Vec<_>) =
            self.current.assigned.iter().partition(|(topic, ..)| self.topics.contains(topic));
        let assigned: Held = assigned.into_iter().collect();
        let revoking: Held = self.current.revoking.iter().chain(gone).collect();
        if self.still_uses(&revoking) {
            CurrentValue { state: MemberState::Unrevoked, assigned, revoking, ..self.current.clone() }
        } else {
            CurrentValue { assigned, ..self.current.clone() }
        }
    }

    fn towards_target(&self, epoch: i32) -> CurrentValue {
        let target = self.state.target(self.id);
        let wanted = |topic: TopicId, partition: i32| {
            self.topics.contains(&topic) && partitions::has(target, topic, partition)
        };
        let (stays, revoking): (Vec<_>, Vec<_>) =
            self.current.assigned.iter().partition(|&(topic, partition, _)| wanted(topic, partition));
        let mut assigned: Held = stays.into_iter().collect();
        let revoking: Held = revoking.into_iter().collect();
        if !revoking.is_empty() && self.still_uses(&revoking) {
            // What it was to give back before it has given back by now.
            let previous_epoch = self.before(epoch);
            return CurrentValue { epoch, previous_epoch, state: MemberState::Unrevoked, assigned, revoking };
        }
        let mut unreleased = false;
        for (topic, partition) in partitions::each(target).filter(|&(topic, at)| wanted(topic, at)) {
            if assigned.contains(topic, partition) {
                continue;
            }
            // Its own is that which it gives back just now and may keep after all.
            match self.state.owner(topic, partition) {
                Some(owner) if **owner != *self.id => unreleased = true,
                _ => assigned.insert(topic, partition, self.state.target_epoch),
            }
        }
        CurrentValue {
            epoch: self.state.target_epoch,
            previous_epoch: self.before(self.state.target_epoch),
            state: if unreleased { MemberState::Unreleased } else { MemberState::Stable },
            assigned,
            revoking: Held::default(),
        }
    }
}
