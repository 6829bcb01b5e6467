//! Share consumers: members of share groups (KIP-932), each of which takes records of the partitions that it is assigned, for a while
//! and together with others, and says what became of them.
//!
//! They have joined before the run begins (`setup::gather`), so that nobody's joining is part of what is measured.

mod member;
mod records;
mod session;
mod taker;
mod tally;

use std::rc::Rc;

use crate::core::Core;

pub use tally::Tally;

use member::Member;

/// Starts this core's share consumers.
pub fn begin(core: &Rc<Core>) {
    let Some(share) = &core.step.plan.share else { return };
    for (number, seat) in core.step.seats.iter().enumerate() {
        if number % core.step.plan.cores == core.index {
            Member::begin(core, number, number / share.consumers as usize, seat);
        }
    }
}
