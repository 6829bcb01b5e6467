//! The one contract of every decision maker.

use model::Tick;

use crate::effects::Effects;

/// A decision maker: values in, values out. It reads no clock, draws no randomness but from a seed given at
/// construction, and never waits.
///
/// What must not happen before something is durable is emitted by the step that hears that it is durable, so order
/// does not depend on the manners of the driver.
pub trait Machine {
    /// What can happen to it.
    type Input;
    /// What it asks of its driver.
    type Effect;

    /// Takes one event at logical time `now`, changes its state and pushes what is to be done, in order.
    fn step(&mut self, now: Tick, input: Self::Input, effects: &mut Effects<Self::Effect>);
}
