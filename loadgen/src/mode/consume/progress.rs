//! How far a group has come, over all its members in this process.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Position;
use crate::clock::Ns;

/// See the module.
#[derive(Debug, Default)]
pub struct Progress {
    /// Offset reached, by partition.
    reached: Vec<AtomicI64>,
    /// Offsets to reach, if these end the run.
    ends: Vec<i64>,
    /// Partitions that are not there yet.
    left: AtomicUsize,
    /// When something came last.
    heard: AtomicU64,
    /// Of partitions that nobody has: their last owner gave them up and their next one did not begin yet.
    parked: Mutex<HashMap<usize, Position>>,
}

impl Progress {
    /// At these offsets; without `ends` there is nothing to reach.
    pub fn new(starts: &[i64], ends: Option<&[i64]>) -> Self {
        let ends = ends.unwrap_or_default().to_vec();
        let left = starts.iter().zip(&ends).filter(|(start, end)| start < end).count();
        Self {
            reached: starts.iter().map(|start| AtomicI64::new(*start)).collect(),
            ends,
            left: left.into(),
            ..Self::default()
        }
    }

    /// The group has come to `offset` in this partition.
    pub fn reach(&self, place: usize, offset: i64) {
        let (Some(reached), Some(end)) = (self.reached.get(place), self.ends.get(place)) else { return };
        let before = reached.fetch_max(offset, Ordering::Relaxed);
        if before < *end && offset >= *end {
            self.left.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Whether all ends are reached.
    pub fn is_complete(&self) -> bool {
        self.left.load(Ordering::Relaxed) == 0
    }

    /// Something came.
    pub fn hear(&self, now: Ns) {
        self.heard.fetch_max(now, Ordering::Relaxed);
    }

    /// For how long nothing has come.
    pub fn quiet(&self, now: Ns) -> Ns {
        now.saturating_sub(self.heard.load(Ordering::Relaxed))
    }

    fn parked(&self) -> MutexGuard<'_, HashMap<usize, Position>> {
        self.parked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A member gives a partition up.
    pub fn park(&self, place: usize, position: Position) {
        self.parked().insert(place, position);
    }

    /// What was given up and not taken over, if it was.
    pub fn parked_at(&self, place: usize) -> Option<Position> {
        self.parked().remove(&place)
    }

    /// Where a new owner begins, when `offset` is committed; and how many records that it was given before it will get again.
    pub fn take_over(&self, place: usize, offset: i64, complete: bool) -> (Position, u64) {
        match self.parked_at(place) {
            // What it has seen goes with it, so that loss and repetition between owners are seen.
            Some(position) if position.offset == offset => (position, 0),
            // A commit was refused, or members elsewhere had it meanwhile: nothing that could be held against the broker.
            Some(position) => {
                (Position::new(offset, false), u64::try_from(position.offset - offset).unwrap_or(0))
            }
            None => (Position::new(offset, complete), 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_reached_once_by_every_partition() {
        let progress = Progress::new(&[0, 5, 0], Some(&[10, 5, 3]));
        // The second one has nothing to receive.
        progress.reach(0, 9);
        progress.reach(2, 3);
        progress.reach(2, 4);
        assert!(!progress.is_complete());
        // A new owner that begins before that.
        progress.reach(0, 2);
        progress.reach(0, 10);
        progress.reach(0, 12);
        assert!(progress.is_complete());
        assert!(Progress::new(&[1, 2], None).is_complete());
    }

    #[test]
    fn a_partition_keeps_its_place_between_owners() {
        let progress = Progress::new(&[0], None);
        progress.park(0, Position::new(70, true));
        let (position, again) = progress.take_over(0, 70, false);
        assert_eq!((position.offset, position.dead, again), (70, false, 0));
        progress.park(0, position);
        // The last commit did not come through.
        let (position, again) = progress.take_over(0, 60, false);
        assert_eq!((position.offset, again), (60, 10));
        assert_eq!(progress.take_over(0, 5, true).1, 0);
    }
}
