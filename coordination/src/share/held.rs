//! What is in flight in a share partition, for those who look.

use std::sync::Arc;

use model::{Offset, Tick};

use super::partition::SharePartition;
use super::state::DeliveryState;
use super::window::{Cell, Kind};

/// Some records in flight, for those who look.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Held {
    /// Offset of the first one.
    pub first: Offset,
    /// Offset of the last one.
    pub last: Offset,
    /// How often each was delivered.
    pub delivery_count: u16,
    /// What they are.
    pub state: HeldState,
}

/// What a record in flight is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum HeldState {
    /// Anybody may have it.
    Available,
    /// It is this member's until then, or until what became of it is written.
    Acquired {
        /// Who has it.
        member: Arc<str>,
        /// When it is free again.
        deadline: Tick,
        /// What it becomes, if that is being written.
        becoming: Option<DeliveryState>,
    },
    /// It was accepted.
    Acknowledged,
    /// It was given up.
    Archived,
}

impl SharePartition {
    /// Everything in flight, in order.
    pub fn held(&self) -> impl Iterator<Item = Held> + '_ {
        self.window.runs(self.start(), self.end()).map(|run| Held {
            first: run.first,
            last: Offset(run.end.0 - 1),
            delivery_count: run.cell.count,
            state: self.held_state(run.cell),
        })
    }

    fn held_state(&self, cell: Cell) -> HeldState {
        let becoming = match cell.kind {
            Kind::Available => return HeldState::Available,
            Kind::Acknowledged => return HeldState::Acknowledged,
            Kind::Archived => return HeldState::Archived,
            Kind::Acquired => None,
            Kind::Releasing => Some(DeliveryState::Available),
            Kind::Accepting => Some(DeliveryState::Acknowledged),
            Kind::Archiving => Some(DeliveryState::Archived),
        };
        let lock = self.locks.get(cell.lock);
        let (member, deadline) =
            lock.map_or_else(|| ("".into(), Tick(0)), |lock| (Arc::clone(&lock.member), lock.deadline));
        HeldState::Acquired { member, deadline, becoming }
    }
}
