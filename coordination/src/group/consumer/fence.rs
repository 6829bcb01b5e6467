//! Members that leave, and members that are put out.

use std::sync::Arc;

use super::Turn;
use super::epochs;
use super::record::{ConsumerRecord, MemberState};
use super::state::Draft;
use super::{Lapse, patterns};

/// Takes members out of the group, which enters its next epoch.
pub(super) fn remove(turn: &mut Turn<'_>, draft: &mut Draft<'_>, ids: &[Arc<str>]) {
    if ids.is_empty() {
        return;
    }
    for id in ids {
        take_out(draft, id);
    }
    patterns::forget_unused(draft);
    epochs::renew_epoch(turn, draft, true);
}

/// Takes a member out. Kafka's order: it asserts that who goes has nothing any more.
pub(super) fn take_out(draft: &mut Draft<'_>, id: &Arc<str>) {
    draft.push(ConsumerRecord::Current { member: Arc::clone(id), value: None });
    draft.push(ConsumerRecord::Target { member: Arc::clone(id), value: None });
    draft.push(ConsumerRecord::Member { member: Arc::clone(id), value: None });
}

/// A timer fired, perhaps a while ago: whoever was heard of since stays.
pub(super) fn lapsed(turn: &mut Turn<'_>, draft: &mut Draft<'_>, id: &Arc<str>, lapse: Lapse) {
    // In any case: a timer that stays due would never be armed again.
    let due = turn.soft.take_due(id, lapse);
    let Some(member) = draft.state().member(id).filter(|_| due) else { return };
    let current = &member.current;
    let goes = match lapse {
        Lapse::Revoke(epoch) => current.state == MemberState::Unrevoked && current.epoch == epoch,
        Lapse::Join | Lapse::Sync => member.uses_classic(),
        Lapse::Session => true,
    };
    if goes {
        remove(turn, draft, &[Arc::clone(id)]);
    }
}
