//! The partitions of a lane, and the batches that are on their way to them.

use std::collections::HashMap;

use crate::schedule::Times;

/// One partition of a producer.
#[derive(Debug)]
pub struct Slot {
    /// Its place in the cluster.
    pub place: usize,
    /// Number of the next record.
    pub(super) next: u64,
    /// Number of the record that has the producer id's sequence 0.
    pub(super) origin: u64,
    /// Numbers, first to end, that were given up.
    pub(super) given_up: Vec<(u64, u64)>,
    /// Offset behind the last that was acknowledged.
    pub(super) end: i64,
}

impl Slot {
    /// Nothing sent yet.
    pub const fn new(place: usize) -> Self {
        Self { place, next: 0, origin: 0, given_up: Vec::new(), end: 0 }
    }
}

/// The partitions of a lane.
#[derive(Debug, Default)]
pub struct Slots {
    pub(super) by_place: HashMap<usize, Slot>,
    turns: Vec<usize>,
    turn: usize,
}

impl Slots {
    /// One more.
    pub fn add(&mut self, slot: Slot) {
        self.turns.push(slot.place);
        self.by_place.insert(slot.place, slot);
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.turns.len()
    }

    /// Takes out those that `wanted` picks.
    pub fn take(&mut self, wanted: impl Fn(&Slot) -> bool) -> Vec<Slot> {
        let picked: Vec<usize> = self
            .turns
            .iter()
            .copied()
            .filter(|place| self.by_place.get(place).is_some_and(&wanted))
            .collect();
        self.turns.retain(|place| !picked.contains(place));
        picked.iter().filter_map(|place| self.by_place.remove(place)).collect()
    }

    pub(super) fn next(&mut self) -> Option<&mut Slot> {
        self.turn = (self.turn + 1) % self.turns.len().max(1);
        self.by_place.get_mut(self.turns.get(self.turn)?)
    }
}

/// A batch: everything that is needed to send it, also again.
#[derive(Debug)]
pub struct Batch {
    /// Its partition.
    pub place: usize,
    pub(super) template: usize,
    pub(super) times: Times,
    /// Number of its first record.
    pub(super) number: u64,
}

/// A request that is not answered yet.
#[derive(Debug)]
pub struct Flight {
    pub(super) correlation_id: i32,
    /// Each of another partition, in the order of their places.
    pub(super) batches: Vec<Batch>,
}
