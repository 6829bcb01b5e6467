//! Memory of the share partitions of one core: each is counted with what it takes, and when all of it is taken, none is opened
//! and those that are open hand out few new records until some are finished.

use std::cell::Cell;
use std::rc::Rc;

use coordination::share::limits::PARTITION_BYTES;

/// What all of them may take, and do.
pub(super) struct Budget {
    bytes_max: u64,
    bytes: Cell<u64>,
    /// It was used up when somebody looked.
    was_short: Cell<bool>,
}

impl Budget {
    pub fn new(bytes_max: u64) -> Rc<Self> {
        Rc::new(Self { bytes_max, bytes: Cell::new(0), was_short: Cell::new(false) })
    }

    pub fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    /// Whether it is used up.
    pub fn is_short(&self) -> bool {
        let short = self.bytes.get() >= self.bytes_max;
        if short {
            self.was_short.set(true);
        }
        short
    }

    /// Whether it was used up and is not any more. It is told once.
    pub fn eased(&self) -> bool {
        !self.is_short() && self.was_short.replace(false)
    }

    /// Room for one more share partition, if there is some.
    pub fn part(self: &Rc<Self>) -> Option<Part> {
        if self.is_short() {
            return None;
        }
        let part = Part { budget: Rc::clone(self), bytes: Cell::new(0) };
        part.count(PARTITION_BYTES);
        Some(part)
    }
}

/// What one share partition takes of it. What is dropped takes nothing.
pub(super) struct Part {
    budget: Rc<Budget>,
    bytes: Cell<u64>,
}

impl Part {
    pub fn is_short(&self) -> bool {
        self.budget.is_short()
    }

    /// It takes so much now.
    pub fn count(&self, bytes: u64) {
        let others = self.budget.bytes.get() - self.bytes.replace(bytes);
        self.budget.bytes.set(others.saturating_add(bytes));
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.count(0);
    }
}

#[cfg(test)]
mod tests {
    use super::{Budget, PARTITION_BYTES};

    #[test]
    fn what_is_taken_is_counted_and_given_back() {
        let budget = Budget::new(2 * PARTITION_BYTES + 1);
        let first = budget.part().unwrap();
        first.count(2 * PARTITION_BYTES);
        assert!(!budget.is_short() && !budget.eased());
        let second = budget.part().unwrap();
        assert_eq!(budget.bytes(), 3 * PARTITION_BYTES);
        assert!(first.is_short() && budget.part().is_none() && !budget.eased());
        drop(second);
        assert!(budget.eased() && !budget.eased());
        drop(first);
        assert_eq!(budget.bytes(), 0);
    }
}
