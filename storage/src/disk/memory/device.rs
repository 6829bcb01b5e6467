//! The simulated device: a file system, the writes that are still on their way to it, and the faults to come.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::rc::Rc;

use super::MemoryBuffer;
use super::content::Fate;
use super::fault::{FaultPlan, Operation};
use super::file_system::{FileSystem, NodeId, os};
use crate::disk::random::Random;

/// Latency of half an operation, in nanoseconds.
const LATENCY_NS: (u64, u64) = (5_000, 150_000);
/// Latency of every `SLOW_ONE_IN`th.
const LATENCY_SLOW_NS: (u64, u64) = (1_000_000, 20_000_000);
const SLOW_ONE_IN: u64 = 64;

/// Where the result of a write appears once it arrived.
pub(super) type Outcome = Rc<RefCell<Option<io::Result<()>>>>;

/// A write the device has taken and not finished.
#[derive(Debug)]
struct InFlight {
    due_ns: u64,
    node: NodeId,
    position: u64,
    buffer: Rc<MemoryBuffer>,
    /// The error it will end with.
    code: Option<i32>,
    outcome: Outcome,
}

#[derive(Debug)]
pub(super) struct Device {
    pub fs: FileSystem,
    pub random: Random,
    pub faults: FaultPlan,
    in_flight: BTreeMap<u64, InFlight>,
    write_next: u64,
    /// Set by a crash: nothing happens any more.
    pub dead: bool,
}

impl Device {
    pub fn new(fs: FileSystem, random: Random) -> Self {
        let (faults, in_flight) = (FaultPlan::default(), BTreeMap::new());
        Self { fs, random, faults, in_flight, write_next: 0, dead: false }
    }

    /// How long half an operation takes.
    pub fn latency_ns(&mut self) -> u64 {
        let slow = self.random.one_in(SLOW_ONE_IN);
        let (low, high) = if slow { LATENCY_SLOW_NS } else { LATENCY_NS };
        self.random.between(low, high)
    }

    pub fn strike(&mut self, operation: Operation, path: &Path) -> io::Result<()> {
        self.faults.strike(operation, path).map_or(Ok(()), |code| Err(os(code)))
    }

    /// Takes a write, to arrive at `due_ns`.
    pub fn submit(
        &mut self,
        (node, path): (NodeId, &Path),
        position: u64,
        buffer: Rc<MemoryBuffer>,
        due_ns: u64,
    ) -> (u64, Outcome) {
        let code = self.faults.strike(Operation::Write, path);
        let outcome = Outcome::default();
        let id = self.write_next;
        self.write_next += 1;
        let write = InFlight { due_ns, node, position, buffer, code, outcome: outcome.clone() };
        self.in_flight.insert(id, write);
        (id, outcome)
    }

    /// Lets the writes that are due by now arrive, in the order they are due.
    pub fn settle(&mut self, now_ns: u64) {
        let due = |(id, write): (&u64, &InFlight)| (write.due_ns <= now_ns).then_some((write.due_ns, *id));
        let mut arriving: Vec<_> = self.in_flight.iter().filter_map(due).collect();
        arriving.sort_unstable();
        for (_, id) in arriving {
            if let Some(write) = self.in_flight.remove(&id) {
                let fate = write.code.map_or(Fate::Kept, |_| Fate::choose(&mut self.random));
                let written = self.arrive(&write, fate);
                *write.outcome.borrow_mut() = Some(write.code.map_or(written, |code| Err(os(code))));
            }
        }
    }

    /// Ends a sync of what a file held at `mark`, well or not.
    pub fn finish_sync(&mut self, node: NodeId, mark: u64, well: bool) -> io::Result<()> {
        let file = self.fs.file_mut(node)?;
        if well {
            file.persist(mark)
        } else {
            file.forsake(mark, &mut self.random)
        }
        Ok(())
    }

    /// The caller stopped waiting: the write happens or not.
    pub fn cancel(&mut self, id: u64) {
        if !self.dead && self.in_flight.contains_key(&id) && self.random.one_in(2) {
            self.in_flight.remove(&id);
        }
    }

    /// The process dies: what was under way arrives in part, what was completed is kept, handles are gone.
    pub fn kill(&mut self, now_ns: u64) -> FileSystem {
        self.settle(now_ns);
        self.dead = true;
        for (_, write) in std::mem::take(&mut self.in_flight) {
            let fate = Fate::choose(&mut self.random);
            // Nobody is left to learn of a full disk.
            let _ = self.arrive(&write, fate);
        }
        let mut fs = self.fs.clone();
        fs.restart();
        fs
    }

    fn arrive(&mut self, write: &InFlight, fate: Fate) -> io::Result<()> {
        self.fs.write(write.node, write.position, write.buffer.as_ref().as_ref(), fate, &mut self.random)
    }
}
