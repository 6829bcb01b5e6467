//! What a core does in a step: the tasks of each kind of load.

pub mod connections;
pub mod consume;
pub mod groups;
pub mod produce;
mod reading;
pub mod share;

use std::rc::Rc;

use crate::core::Core;

/// Starts this core's tasks.
pub fn begin(core: &Rc<Core>) {
    if core.step.plan.load.is_some() {
        produce::begin(core);
    }
    if core.step.plan.fetch.is_some() {
        consume::begin(core);
    }
    share::begin(core);
    connections::begin(core);
    groups::begin(core);
}
