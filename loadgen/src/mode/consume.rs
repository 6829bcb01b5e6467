//! Consumers. Without a group, partitions are divided among those of a set once and for all; in one, as its members agree.

mod fetcher;
mod member;
mod progress;
mod records;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::atomic::Ordering;

use crate::cli::From;
use crate::core::Core;
use crate::plan::Until;
use crate::units::nanos;

pub use fetcher::Fetcher;
pub use progress::Progress;
pub use records::Position;

use member::Member;

/// One consumer: a fetcher per broker.
#[derive(Debug)]
pub struct Consumer {
    /// Its core.
    pub core: Rc<Core>,
    /// By node.
    fetchers: RefCell<BTreeMap<i32, Rc<Fetcher>>>,
    /// Its set, if it is of a group.
    group: Option<u32>,
    /// Whether its group has given it an assignment, even of nothing, that holds.
    assigned: Cell<bool>,
    /// Whether it ever did.
    begun: Cell<bool>,
}

/// Starts this core's consumers.
pub fn begin(core: &Rc<Core>) {
    let Some(fetch) = core.step.plan.fetch.clone() else { return };
    let all = fetch.sets * fetch.consumers;
    for number in (0..all).filter(|number| *number as usize % core.step.plan.cores == core.index) {
        if let Some(group) = &fetch.group {
            Member::begin(core, number / fetch.consumers, group, number);
            continue;
        }
        let within = (number % fetch.consumers) as usize;
        let partitions = core.step.starts.len();
        let own = (0..partitions).filter(|place| place % fetch.consumers as usize == within);
        let complete = fetch.from == From::Earliest;
        let positions = own.map(|place| {
            let start = core.step.starts[place];
            (place, Position::new(start, complete && start == 0))
        });
        Consumer::new(core, None).assign(positions.collect());
    }
}

impl Consumer {
    fn new(core: &Rc<Core>, group: Option<u32>) -> Rc<Self> {
        Rc::new(Self {
            core: Rc::clone(core),
            fetchers: RefCell::default(),
            group,
            assigned: Cell::new(false),
            begun: Cell::new(false),
        })
    }

    /// A member of the group of this set.
    fn of_group(core: &Rc<Core>, set: u32) -> Rc<Self> {
        Self::new(core, Some(set))
    }

    /// Begins at these positions.
    fn assign(self: &Rc<Self>, positions: Vec<(usize, Position)>) {
        self.assigned.set(true);
        self.begun.set(true);
        let leaders = self.leaders();
        for (place, position) in positions {
            self.fetcher(leaders[place]).give(place, position);
        }
        for fetcher in self.fetchers.borrow().values() {
            fetcher.start();
        }
    }

    /// Gives everything up: where it is.
    fn revoke(&self) -> Vec<(usize, Position)> {
        self.assigned.set(false);
        self.fetchers.borrow().values().flat_map(|fetcher| fetcher.take(|_| true)).collect()
    }

    /// The next offset of every partition that it has.
    fn offsets(&self) -> Vec<(usize, i64)> {
        self.fetchers.borrow().values().flat_map(|fetcher| fetcher.offsets()).collect()
    }

    fn is_assigned(&self) -> bool {
        self.assigned.get()
    }

    /// Whether one of its fetchers has not ended.
    fn is_receiving(&self) -> bool {
        self.fetchers.borrow().values().any(|fetcher| fetcher.is_running())
    }

    /// How far its group has come.
    fn progress(&self) -> &Progress {
        let groups = &self.core.step.shared.groups;
        // Only members ask, and there is one for each of their sets.
        &groups[self.group.expect("a member has a group") as usize]
    }

    /// Of a member: whether nothing more is to be received by its group.
    fn is_over(&self) -> bool {
        let (step, now) = (&self.core.step, self.core.clock().now());
        let wait = step.plan.fetch.as_ref().map_or(0, |fetch| nanos(fetch.wait));
        // Members elsewhere may have the rest.
        let quiet =
            || self.begun.get() && self.progress().quiet(now) > step.plan.drain.max(wait.saturating_mul(2));
        match step.plan.until {
            Until::Duration(_) => now >= step.plan.end(),
            Until::Records(records) => step.shared.received.load(Ordering::Relaxed) >= records || quiet(),
            Until::LogEnds => self.progress().is_complete() || quiet(),
        }
    }

    fn leaders(&self) -> Vec<i32> {
        self.core.cluster.borrow().partitions.iter().map(|partition| partition.leader).collect()
    }

    fn fetcher(self: &Rc<Self>, node: i32) -> Rc<Fetcher> {
        let mut fetchers = self.fetchers.borrow_mut();
        Rc::clone(fetchers.entry(node).or_insert_with(|| Fetcher::new(self, node)))
    }

    /// Gives partitions to the fetchers of the brokers that lead them now.
    fn reroute(self: &Rc<Self>, from: &Fetcher) {
        let leaders = self.leaders();
        for (place, position) in from.take(|place| leaders[place] != from.node) {
            let fetcher = self.fetcher(leaders[place]);
            fetcher.give(place, position);
            fetcher.start();
        }
    }
}
