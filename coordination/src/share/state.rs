//! What is kept of a share partition: from where on records are not finished, and what became of those behind.

use std::collections::BTreeMap;

use model::{LeaderEpoch, Offset, TimestampMs};

/// What became of a record, as it is written. That somebody holds it is not.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum DeliveryState {
    /// Anybody may have it.
    Available,
    /// It was accepted.
    Acknowledged,
    /// It was rejected, delivered too often, or is not in the log.
    Archived,
}

impl DeliveryState {
    /// Kafka's number.
    #[must_use]
    pub const fn code(self) -> i8 {
        match self {
            Self::Available => 0,
            Self::Acknowledged => 2,
            Self::Archived => 4,
        }
    }

    /// The state of a number, if it is one that is written.
    #[must_use]
    pub const fn from_code(code: i8) -> Option<Self> {
        match code {
            0 => Some(Self::Available),
            2 => Some(Self::Acknowledged),
            4 => Some(Self::Archived),
            _ => None,
        }
    }
}

/// Records of equal state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StateBatch {
    /// Offset of the first one.
    pub first: Offset,
    /// Offset of the last one.
    pub last: Offset,
    /// What became of them.
    pub state: DeliveryState,
    /// How often each was delivered.
    pub delivery_count: u16,
}

impl StateBatch {
    /// What lasts where two batches meet, as in Kafka: more deliveries, then the state that is further on. A record's
    /// count never falls below what was written of it, so this is the later of the two.
    const fn rank(&self) -> (u16, i8) {
        (self.delivery_count, self.state.code())
    }
}

/// The state of a share partition (of a ShareSnapshot with all ShareUpdates after it).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PartitionState {
    /// Counts the snapshots of this partition.
    pub snapshot_epoch: i32,
    /// Rises when the state is begun anew; fences who goes on with an older one.
    pub state_epoch: i32,
    /// Of the leader that read it last.
    pub leader_epoch: LeaderEpoch,
    /// Everything before is finished; [`Offset::NONE`] when nobody read the partition yet.
    pub start: Offset,
    /// Finished records from `start` on (KIP-1226), or -1 when that is not known.
    pub delivery_complete_count: i32,
    /// When the last snapshot was made.
    pub created: TimestampMs,
    /// When the last snapshot was written.
    pub written: TimestampMs,
    /// What is known of records from `start` on: ascending, none overlaps another, and neighbours differ.
    pub batches: Vec<StateBatch>,
}

/// A change of it (a ShareUpdate).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StateUpdate {
    /// Of the snapshot it follows.
    pub snapshot_epoch: i32,
    /// Of the leader that writes, or -1 when it does not change.
    pub leader_epoch: LeaderEpoch,
    /// Where it starts now, or [`Offset::NONE`] when that does not change.
    pub start: Offset,
    /// See [`PartitionState::delivery_complete_count`].
    pub delivery_complete_count: i32,
    /// What is new.
    pub batches: Vec<StateBatch>,
}

impl PartitionState {
    /// Takes over a change.
    pub fn apply(&mut self, update: &StateUpdate) {
        if update.leader_epoch != LeaderEpoch::NONE {
            self.leader_epoch = update.leader_epoch;
        }
        if update.start != Offset::NONE {
            self.start = update.start;
        }
        self.delivery_complete_count = update.delivery_complete_count;
        self.batches = combine(&self.batches, &update.batches, self.start);
    }

    /// Bytes it takes in memory, about.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.batches.len() * size_of::<StateBatch>()
    }
}

/// What is known from `start` on when both lists are. They may be in any order and overlap; batches that end before
/// they begin are left out.
#[must_use]
pub fn combine(known: &[StateBatch], new: &[StateBatch], start: Offset) -> Vec<StateBatch> {
    let mut pieces: BTreeMap<Offset, StateBatch> = BTreeMap::new();
    for batch in known.iter().chain(new) {
        let batch = StateBatch { first: batch.first.max(start), ..*batch };
        if batch.first <= batch.last && batch.last.0 < i64::MAX {
            lay(&mut pieces, batch);
        }
    }
    let mut joined: Vec<StateBatch> = Vec::with_capacity(pieces.len());
    for batch in pieces.into_values() {
        match joined.last_mut() {
            Some(before) if before.last.next() == batch.first && before.rank() == batch.rank() => {
                before.last = batch.last;
            }
            _ => joined.push(batch),
        }
    }
    joined
}

/// Adds a batch to pieces that do not overlap: where it meets one, the higher rank stays.
fn lay(pieces: &mut BTreeMap<Offset, StateBatch>, batch: StateBatch) {
    let reached = pieces.range(..=batch.last).rev().take_while(|(_, piece)| piece.last >= batch.first);
    let met: Vec<StateBatch> = reached.map(|(_, piece)| *piece).collect();
    let mut at = batch.first;
    for piece in met.into_iter().rev() {
        // The piece is cut at the batch's bounds; what it leaves of the batch is added beside it.
        let (from, to) = (piece.first.max(batch.first), piece.last.min(batch.last));
        if at < from {
            pieces.insert(at, StateBatch { first: at, last: Offset(from.0 - 1), ..batch });
        }
        at = to.next();
        if piece.rank() >= batch.rank() {
            continue;
        }
        pieces.remove(&piece.first);
        if piece.first < from {
            pieces.insert(piece.first, StateBatch { last: Offset(from.0 - 1), ..piece });
        }
        pieces.insert(from, StateBatch { first: from, last: to, ..batch });
        if to < piece.last {
            pieces.insert(to.next(), StateBatch { first: to.next(), ..piece });
        }
    }
    if at <= batch.last {
        pieces.insert(at, StateBatch { first: at, ..batch });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn batch(first: i64, last: i64, code: i8, delivery_count: u16) -> StateBatch {
        let state = DeliveryState::from_code(code).unwrap();
        StateBatch { first: Offset(first), last: Offset(last), state, delivery_count }
    }

    #[test]
    fn the_higher_rank_stays_and_equals_are_joined() {
        let known = [batch(0, 9, 0, 1), batch(20, 29, 0, 1)];
        let new = [batch(5, 24, 2, 1), batch(26, 26, 0, 2)];
        let expected = [
            batch(3, 4, 0, 1),
            batch(5, 24, 2, 1),
            batch(25, 25, 0, 1),
            batch(26, 26, 0, 2),
            batch(27, 29, 0, 1),
        ];
        assert_eq!(combine(&known, &new, Offset(3)), expected);
        let joined = combine(&[batch(0, 4, 4, 2)], &[batch(5, 9, 4, 2), batch(2, 7, 0, 1)], Offset::NONE);
        assert_eq!(joined, [batch(0, 9, 4, 2)]);
        assert_eq!(combine(&[batch(0, 4, 4, 2)], &[], Offset(5)), []);
        assert_eq!(combine(&[batch(4, 0, 4, 2), batch(0, i64::MAX, 0, 0)], &[], Offset(0)), []);
    }

    #[test]
    fn an_update_says_what_changes() {
        let mut state = PartitionState {
            snapshot_epoch: 1,
            state_epoch: 2,
            leader_epoch: LeaderEpoch(3),
            start: Offset(10),
            delivery_complete_count: 0,
            created: TimestampMs(0),
            written: TimestampMs(0),
            batches: vec![batch(10, 19, 0, 1)],
        };
        let mut update = StateUpdate {
            snapshot_epoch: 1,
            leader_epoch: LeaderEpoch::NONE,
            start: Offset::NONE,
            delivery_complete_count: 2,
            batches: vec![batch(12, 13, 2, 1)],
        };
        state.apply(&update);
        assert_eq!(
            (state.leader_epoch, state.start, state.delivery_complete_count),
            (LeaderEpoch(3), Offset(10), 2)
        );
        assert_eq!(state.batches.len(), 3);
        (update.leader_epoch, update.start) = (LeaderEpoch(4), Offset(14));
        state.apply(&update);
        assert_eq!((state.leader_epoch, state.start), (LeaderEpoch(4), Offset(14)));
        assert_eq!(state.batches, [batch(14, 19, 0, 1)]);
    }

    fn batches() -> impl Strategy<Value = Vec<StateBatch>> {
        let one = (0..40_i64, 0..12_i64, 0..3_i8, 0..3_u16)
            .prop_map(|(first, more, code, count)| batch(first, first + more, code * 2, count));
        proptest::collection::vec(one, 0..12)
    }

    proptest! {
        #[test]
        fn combined_is_the_highest_rank_of_each_record(known in batches(), new in batches(), start in -1..50_i64) {
            let combined = combine(&known, &new, Offset(start));
            for pair in combined.windows(2) {
                prop_assert!(pair[0].last < pair[1].first);
                prop_assert!(pair[0].last.next() < pair[1].first || pair[0].rank() != pair[1].rank());
            }
            for offset in (0..60).map(Offset) {
                let of = |list: &[StateBatch]| {
                    list.iter().filter(|one| one.first <= offset && offset <= one.last).map(StateBatch::rank).max()
                };
                let expected = of(&known).max(of(&new)).filter(|_| offset.0 >= start);
                prop_assert_eq!(of(&combined), expected, "at {}", offset);
            }
        }
    }
}
