//! Producers. Each has a lane per broker: a connection, the partitions that the broker leads, and its share of the schedule.

mod lane;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::core::Core;
use crate::plan::Load;
use crate::units::real;

use lane::{Batch, Lane, Slot};

/// One producer.
#[derive(Debug)]
pub struct Producer {
    core: Rc<Core>,
    number: u32,
    /// By node.
    lanes: RefCell<BTreeMap<i32, Rc<Lane>>>,
    /// Producer id and epoch, or -1.
    identity: Cell<(i64, i16)>,
}

/// Starts this core's producers.
pub fn begin(core: &Rc<Core>) {
    let Some(load) = core.step.plan.load.clone() else { return };
    let cores = core.step.plan.cores;
    for number in 0..load.producers {
        if number as usize % cores == core.index {
            Producer::begin(core, number, &load);
        }
    }
}

/// Cores that have producers.
pub fn sending_cores(load: &Load, cores: usize) -> usize {
    cores.min(load.producers as usize)
}

impl Producer {
    fn begin(core: &Rc<Core>, number: u32, load: &Load) {
        let identity = core.step.producer_ids.get(number as usize).copied().unwrap_or((-1, -1));
        let producer = Rc::new(Self {
            core: Rc::clone(core),
            number,
            lanes: RefCell::default(),
            identity: Cell::new(identity),
        });
        let partitions = core.cluster.borrow().partitions.clone();
        let count = partitions.len();
        // Producers begin at different partitions.
        let first = count * number as usize / load.producers as usize;
        for place in (first..count).chain(0..first) {
            producer.lane(partitions[place].leader).slots.borrow_mut().add(Slot::new(place));
        }
        producer.share_rate();
        for lane in producer.lanes.borrow().values() {
            lane.start();
        }
    }

    /// The lane of a broker.
    fn lane(self: &Rc<Self>, node: i32) -> Rc<Lane> {
        let mut lanes = self.lanes.borrow_mut();
        let lane = lanes.entry(node).or_insert_with(|| Lane::new(self, node));
        Rc::clone(lane)
    }

    /// Divides this producer's rate among its lanes by the partitions that each has.
    fn share_rate(&self) {
        let Some(load) = &self.core.step.plan.load else { return };
        let Some(rate) = load.rate else { return };
        let own = rate / f64::from(load.producers);
        let lanes = self.lanes.borrow();
        let all: usize = lanes.values().map(|lane| lane.slots.borrow().len()).sum();
        for lane in lanes.values() {
            let part = lane.slots.borrow().len();
            if part > 0 {
                lane.set_rate(
                    own * real(part as u64) / real(all as u64),
                    1e9 / rate * f64::from(self.number),
                );
            }
        }
    }

    /// Gives partitions to the lanes of the brokers that lead them now, with what was not acknowledged.
    fn reroute(self: &Rc<Self>, from: &Lane) {
        let leaders: Vec<i32> = self.core.cluster.borrow().partitions.iter().map(|p| p.leader).collect();
        let moved = from.slots.borrow_mut().take(|slot| leaders[slot.place] != from.node);
        if moved.is_empty() {
            return;
        }
        for slot in moved {
            let lane = self.lane(leaders[slot.place]);
            let place = slot.place;
            lane.slots.borrow_mut().add(slot);
            let mut waiting = from.resend.borrow_mut();
            let (theirs, ours): (Vec<Batch>, Vec<Batch>) =
                waiting.drain(..).partition(|batch| batch.place == place);
            waiting.extend(ours);
            lane.resend.borrow_mut().extend(theirs);
            lane.start();
        }
        self.share_rate();
    }
}
