//! Errors asked for of a real disk: the aid of tests that show what the binary answers when its disk fails.

use std::io;
use std::path::Path;
use std::sync::Mutex;

use super::memory::{Fault, FaultPlan, Operation};

/// Failures to come, shared by the cores.
#[derive(Debug)]
pub struct Failures(Mutex<FaultPlan>);

impl Failures {
    /// Understands `OPERATION:PATH:ERRNO[:SKIP[:TIMES]]`, several with commas between them: operations (`read`, `write`, `sync`,
    /// `sync-dir`, `create`, `open`) on paths that contain PATH end with that error, after SKIP that went well (0), TIMES of them
    /// (all).
    ///
    /// # Errors
    /// What is not understood.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut plan = FaultPlan::default();
        for part in text.split(',') {
            plan.add(
                fault(part).ok_or_else(|| format!("{part:?} is not OPERATION:PATH:ERRNO[:SKIP[:TIMES]]"))?,
            );
        }
        Ok(Self(Mutex::new(plan)))
    }

    /// Fails if this operation is to fail.
    pub(super) fn strike(&self, operation: Operation, path: &Path) -> io::Result<()> {
        let struck = self.0.lock().map_or(None, |mut plan| plan.strike(operation, path));
        struck.map_or(Ok(()), |code| Err(io::Error::from_raw_os_error(code)))
    }
}

fn fault(text: &str) -> Option<Fault> {
    let mut words = text.split(':');
    let operation = match words.next()? {
        "read" => Operation::Read,
        "write" => Operation::Write,
        "sync" => Operation::Sync,
        "sync-dir" => Operation::SyncDir,
        "create" => Operation::Create,
        "open" => Operation::Open,
        _ => return None,
    };
    let path_contains = words.next()?.to_owned();
    let code = words.next()?.parse().ok()?;
    let skip = words.next().map_or(Some(0), |word| word.parse().ok())?;
    let times = words.next().map_or(Some(u32::MAX), |word| word.parse().ok())?;
    words.next().is_none().then_some(Fault { operation, path_contains, skip, times, code })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_written_as_words() {
        let failures = Failures::parse("write:ring-:5:1:1,read:.log:28").unwrap();
        let ring = Path::new("/journals/1/ring-0");
        let codes: Vec<Option<i32>> = (0..3)
            .map(|_| failures.strike(Operation::Write, ring).err().and_then(|error| error.raw_os_error()))
            .collect();
        assert_eq!(codes, [None, Some(5), None]);
        assert!(failures.strike(Operation::Read, ring).is_ok());
        assert!((0..9).all(|_| failures.strike(Operation::Read, Path::new("a/0.log")).is_err()));
        for wrong in ["", "write", "write:x", "write:x:y", "melt:x:5", "write:x:5:1:1:1"] {
            assert!(Failures::parse(wrong).is_err(), "{wrong}");
        }
    }
}
