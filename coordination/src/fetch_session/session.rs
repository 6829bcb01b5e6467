//! One fetch session: what its client wants, what it was last told, and who is served next.

use std::collections::{BTreeMap, HashMap};

use model::{Offset, Tick};

use super::{PartitionKey, Report, Wish};

#[derive(Debug)]
struct Remembered {
    key: PartitionKey,
    wish: Wish,
    /// As last told; `NONE` when the client must be told again.
    high_watermark: Offset,
    log_start: Offset,
}

#[derive(Debug)]
pub(super) struct Session {
    pub(super) by_id: bool,
    /// Number the next request must carry.
    pub(super) epoch: i32,
    pub(super) last_used: Tick,
    places: HashMap<PartitionKey, u64>,
    /// In the order in which partitions are served; one that gave records goes to the end.
    order: BTreeMap<u64, Remembered>,
    next_place: u64,
}

impl Session {
    /// Without partitions; its first request is answered by what opens it.
    pub(super) fn new(by_id: bool, now: Tick, size: usize) -> Self {
        Self {
            by_id,
            epoch: 1,
            last_used: now,
            places: HashMap::with_capacity(size),
            order: BTreeMap::new(),
            next_place: 0,
        }
    }

    /// How many partitions it has.
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// What its client wants, in the order of service.
    pub(super) fn wishes(&self) -> Vec<(PartitionKey, Wish)> {
        self.order.values().map(|known| (known.key.clone(), known.wish)).collect()
    }

    /// The number of the request after the one that comes now.
    pub(super) const fn advance(&mut self) {
        self.epoch = epoch_after(self.epoch);
    }

    /// Takes over what a request changes.
    pub(super) fn update(&mut self, wishes: Vec<(PartitionKey, Wish)>, forgotten: &[PartitionKey]) {
        for (key, wish) in wishes {
            match self.places.get(&key).and_then(|place| self.order.get_mut(place)) {
                Some(known) => known.wish = wish,
                None => self.remember(key, wish),
            }
        }
        for key in forgotten {
            if let Some(place) = self.places.remove(key) {
                self.order.remove(&place);
            }
        }
    }

    /// One more partition, served last and yet to be told.
    pub(super) fn remember(&mut self, key: PartitionKey, wish: Wish) {
        let place = self.next_place;
        self.next_place += 1;
        if let Some(old) = self.places.insert(key.clone(), place) {
            self.order.remove(&old);
        }
        let fresh = Remembered { key, wish, high_watermark: Offset::NONE, log_start: Offset::NONE };
        self.order.insert(place, fresh);
    }

    /// Notes what the client is being told of a partition; says whether there is anything to tell.
    pub(super) fn told(&mut self, report: &Report) -> bool {
        let Some(&place) = self.places.get(&report.key) else { return false };
        let Some(known) = self.order.get_mut(&place) else { return false };
        let changed = known.high_watermark != report.high_watermark || known.log_start != report.log_start;
        known.log_start = report.log_start;
        if report.error.is_ok() {
            known.high_watermark = report.high_watermark;
        } else {
            // So that the partition is reported again once the error is over.
            known.high_watermark = Offset::NONE;
        }
        if report.has_news
            && let Some(known) = self.order.remove(&place)
        {
            let last = self.next_place;
            self.next_place += 1;
            self.places.insert(report.key.clone(), last);
            self.order.insert(last, known);
        }
        changed || report.has_news || !report.error.is_ok()
    }
}

/// The number after this one: from the largest it starts again at 1, because 0 would open a session.
#[must_use]
pub const fn epoch_after(epoch: i32) -> i32 {
    if epoch == i32::MAX { 1 } else { epoch + 1 }
}
