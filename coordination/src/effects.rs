//! What a step wants done, in order, in a buffer that its driver reuses.

use model::limits::EFFECTS_MAX;

/// The output of steps, oldest first.
#[derive(Debug)]
pub struct Effects<E> {
    pending: Vec<E>,
}

impl<E> Effects<E> {
    /// Nothing to do.
    #[must_use]
    pub const fn new() -> Self {
        Self { pending: Vec::new() }
    }

    /// Adds one at the end.
    ///
    /// # Panics
    /// Above [`EFFECTS_MAX`]: the driver did not drain between steps, or the machine does not bound its work.
    pub fn push(&mut self, effect: E) {
        assert!(self.pending.len() < EFFECTS_MAX, "more than {EFFECTS_MAX} effects in one step");
        self.pending.push(effect);
    }

    /// Takes everything, oldest first, and keeps the memory for the next step.
    pub fn drain(&mut self) -> impl Iterator<Item = E> + '_ {
        self.pending.drain(..)
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }
}

impl<E> Default for Effects<E> {
    fn default() -> Self {
        Self::new()
    }
}
