//! What a group by the consumer protocol knows beside its records: who is silent for how long, and which metadata it has
//! looked at.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::Tick;

use super::super::desk::Desk;
use super::super::timers::{Timer, TimerKey};
use super::Consumer;
use super::record::MemberState;
use super::state::{Member, State};

/// Why a member is to go when a timer fires.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::group) enum Lapse {
    /// It was silent for its session timeout.
    Session,
    /// It did not give partitions back, in this epoch.
    Revoke(i32),
    /// It uses the classic protocol and did not join again.
    Join,
    /// It uses the classic protocol and did not ask for its assignment.
    Sync,
}

#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
enum Slot {
    #[default]
    Idle,
    Armed(TimerKey),
    /// It fired, and what follows waits for its turn: nobody was heard of since.
    Due,
}

impl Slot {
    fn cancel(&mut self, desk: &mut Desk) {
        if let Self::Armed(key) = std::mem::take(self) {
            desk.timers.cancel(&mut Some(key));
        }
    }
}

#[derive(Debug, Default)]
struct MemberTimers {
    session: Slot,
    revoke: Slot,
    join: Slot,
    sync: Slot,
}

impl MemberTimers {
    const fn slot(&mut self, lapse: Lapse) -> &mut Slot {
        match lapse {
            Lapse::Session => &mut self.session,
            Lapse::Revoke(_) => &mut self.revoke,
            Lapse::Join => &mut self.join,
            Lapse::Sync => &mut self.sync,
        }
    }

    fn cancel(&mut self, desk: &mut Desk) {
        for slot in [&mut self.session, &mut self.revoke, &mut self.join, &mut self.sync] {
            slot.cancel(desk);
        }
    }
}

#[derive(Debug, Default)]
pub(in crate::group) struct Soft {
    timers: BTreeMap<Arc<str>, MemberTimers>,
    /// The metadata that the epoch took in last.
    pub seen: Option<u64>,
    /// When regular expressions were looked up last, and in which metadata if all of that is stored.
    pub resolved: Option<(Option<u64>, Tick)>,
    /// They are being looked up.
    pub resolving: bool,
}

impl Soft {
    /// Schedules a timer in place of the last one of its kind.
    pub fn schedule(&mut self, group: &Arc<str>, member: &Arc<str>, lapse: Lapse, ms: i32, desk: &mut Desk) {
        let at = desk.after(ms);
        let slot = self.timers.entry(Arc::clone(member)).or_default().slot(lapse);
        slot.cancel(desk);
        let timer = Timer::Lapse { group: Arc::clone(group), member: Arc::clone(member), lapse };
        *slot = Slot::Armed(desk.timers.schedule(at, timer));
    }

    pub fn cancel(&mut self, member: &str, lapse: Lapse, desk: &mut Desk) {
        if let Some(timers) = self.timers.get_mut(member) {
            timers.slot(lapse).cancel(desk);
        }
    }

    /// A timer fired: it is due until its turn comes.
    pub fn fired(&mut self, member: &str, lapse: Lapse) {
        if let Some(timers) = self.timers.get_mut(member) {
            *timers.slot(lapse) = Slot::Due;
        }
    }

    /// The turn of a timer that fired: whether it is still due. If it was scheduled again or cancelled, it is not.
    pub fn take_due(&mut self, member: &str, lapse: Lapse) -> bool {
        let Some(timers) = self.timers.get_mut(member) else { return false };
        let slot = timers.slot(lapse);
        let due = *slot == Slot::Due;
        if due {
            *slot = Slot::Idle;
        }
        due
    }

    /// Whether it is neither scheduled nor due.
    pub fn is_idle(&mut self, member: &str, lapse: Lapse) -> bool {
        self.timers.get_mut(member).is_none_or(|timers| *timers.slot(lapse) == Slot::Idle)
    }

    /// Forgets the timers of whoever is not in `state`.
    fn retain(&mut self, state: &State, desk: &mut Desk) {
        self.timers.retain(|id, timers| {
            let stays = state.member(id).is_some();
            if !stays {
                timers.cancel(desk);
            }
            stays
        });
    }

    pub fn clear(&mut self, desk: &mut Desk) {
        for (_, mut timers) in std::mem::take(&mut self.timers) {
            timers.cancel(desk);
        }
    }
}

impl Consumer {
    /// Makes the timers fit the members, after a start and whenever an append landed or did not: nobody is watched who is
    /// gone, and nobody is in the group whose silence is not counted.
    pub fn arm(&mut self, group: &Arc<str>, desk: &mut Desk) {
        let Self { state, soft } = self;
        soft.retain(state, desk);
        for (id, member) in state.members() {
            if soft.is_idle(id, Lapse::Session) {
                let timeout_ms = session_timeout_ms(group, member, desk);
                soft.schedule(group, id, Lapse::Session, timeout_ms, desk);
            }
            let epoch = member.current.epoch;
            let revoke = Lapse::Revoke(epoch);
            // Who left for a while gave everything back.
            let revokes =
                epoch >= 0 && member.current.state == MemberState::Unrevoked && !member.uses_classic();
            if revokes && soft.is_idle(id, revoke) {
                soft.schedule(group, id, revoke, member.metadata.rebalance_timeout_ms, desk);
            }
        }
    }
}

/// Silence after which a member goes.
pub(super) fn session_timeout_ms(group: &str, member: &Member, desk: &Desk) -> i32 {
    match &member.metadata.classic {
        Some(classic) => classic.session_timeout_ms,
        None => desk.settings.consumer.session_timeout_ms(&desk.image, group),
    }
}
