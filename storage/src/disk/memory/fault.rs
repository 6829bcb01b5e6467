//! Errors a test asks the simulated disk for.

use std::collections::BTreeMap;
use std::path::Path;

/// What the disk is asked to do, as far as faults tell it apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// Making or emptying a file.
    Create,
    /// Opening an existing file.
    Open,
    /// Reading from a file, open or by path.
    Read,
    /// One write; any part of a failed one may arrive.
    Write,
    /// Making one file durable; what a failed one covered is durable by chance, and no later sync repairs that.
    Sync,
    /// Reserving space.
    Allocate,
    /// Renaming; matched against the old path.
    Rename,
    /// Removing a file or one entry of a directory being removed.
    Remove,
    /// Making one directory.
    CreateDir,
    /// Listing a directory.
    List,
    /// Making the names in a directory durable.
    SyncDir,
    /// Making every file durable; matched against an empty path. Fails as [`Operation::Sync`] does, for all files.
    SyncAll,
}

/// A planned failure.
#[derive(Clone, Debug)]
pub struct Fault {
    /// Which operation fails.
    pub operation: Operation,
    /// On paths that contain this; empty for any path.
    pub path_contains: String,
    /// After this many matching operations went well.
    pub skip: u32,
    /// For this many operations.
    pub times: u32,
    /// With this error number, as in `libc::EIO`.
    pub code: i32,
}

impl Fault {
    /// The next matching operation fails with EIO.
    #[must_use]
    pub fn once(operation: Operation, path_contains: &str) -> Self {
        Self { operation, path_contains: path_contains.to_owned(), skip: 0, times: 1, code: libc::EIO }
    }

    /// Every matching operation fails with EIO.
    #[must_use]
    pub fn always(operation: Operation, path_contains: &str) -> Self {
        Self { times: u32::MAX, ..Self::once(operation, path_contains) }
    }

    /// Lets `skip` matching operations pass first.
    #[must_use]
    pub const fn after(mut self, skip: u32) -> Self {
        self.skip = skip;
        self
    }

    /// Fails with another error number.
    #[must_use]
    pub const fn with_code(mut self, code: i32) -> Self {
        self.code = code;
        self
    }
}

/// The faults that are still to come.
#[derive(Debug, Default)]
pub(in crate::disk) struct FaultPlan {
    faults: Vec<Fault>,
    counts: BTreeMap<Operation, u64>,
}

impl FaultPlan {
    pub fn add(&mut self, fault: Fault) {
        self.faults.push(fault);
    }

    pub fn clear(&mut self) {
        self.faults.clear();
    }

    /// How many such operations there were, those that failed included.
    pub fn count(&self, operation: Operation) -> u64 {
        self.counts.get(&operation).copied().unwrap_or(0)
    }

    /// Counts this operation against every fault that matches it and says with which error it fails, if it does.
    pub fn strike(&mut self, operation: Operation, path: &Path) -> Option<i32> {
        *self.counts.entry(operation).or_default() += 1;
        let path = path.to_string_lossy();
        let mut code = None;
        for fault in &mut self.faults {
            if fault.operation != operation || !path.contains(&fault.path_contains) {
                continue;
            }
            if fault.skip > 0 {
                fault.skip -= 1;
            } else if code.is_none() && fault.times > 0 {
                fault.times = if fault.times == u32::MAX { u32::MAX } else { fault.times - 1 };
                code = Some(fault.code);
            }
        }
        self.faults.retain(|fault| fault.times > 0);
        code
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_waits_for_its_turn_and_ends() {
        let mut plan = FaultPlan::default();
        plan.add(Fault::once(Operation::Write, "journal").after(1).with_code(libc::ENOSPC));
        let path = Path::new("/journal/1");
        assert_eq!(plan.strike(Operation::Read, path), None);
        assert_eq!(plan.strike(Operation::Write, Path::new("/topic")), None);
        assert_eq!(plan.strike(Operation::Write, path), None);
        assert_eq!(plan.strike(Operation::Write, path), Some(libc::ENOSPC));
        assert_eq!(plan.strike(Operation::Write, path), None);
        plan.add(Fault::always(Operation::Sync, ""));
        assert!((0..5).all(|_| plan.strike(Operation::Sync, path) == Some(libc::EIO)));
    }
}
