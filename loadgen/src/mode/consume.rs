//! Consumers without a group: partitions are divided among those of a set once and for all.

mod fetcher;
mod records;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::cli::From;
use crate::core::Core;

pub use fetcher::Fetcher;
pub use records::Position;

/// One consumer: a fetcher per broker.
#[derive(Debug)]
pub struct Consumer {
    /// Its core.
    pub core: Rc<Core>,
    /// By node.
    fetchers: RefCell<BTreeMap<i32, Rc<Fetcher>>>,
}

/// Starts this core's consumers.
pub fn begin(core: &Rc<Core>) {
    let Some(fetch) = core.step.plan.fetch.clone() else { return };
    let all = fetch.sets * fetch.consumers;
    for number in (0..all).filter(|number| *number as usize % core.step.plan.cores == core.index) {
        let within = (number % fetch.consumers) as usize;
        let partitions = core.step.starts.len();
        let own = (0..partitions).filter(|place| place % fetch.consumers as usize == within);
        let complete = fetch.from == From::Earliest;
        let positions = own.map(|place| {
            let start = core.step.starts[place];
            (place, Position::new(start, complete && start == 0))
        });
        Consumer::begin(core, positions.collect());
    }
}

impl Consumer {
    /// Begins at these positions.
    fn begin(core: &Rc<Core>, positions: Vec<(usize, Position)>) {
        let consumer = Rc::new(Self { core: Rc::clone(core), fetchers: RefCell::default() });
        let leaders = consumer.leaders();
        for (place, position) in positions {
            consumer.fetcher(leaders[place]).give(place, position);
        }
        for fetcher in consumer.fetchers.borrow().values() {
            fetcher.start();
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
