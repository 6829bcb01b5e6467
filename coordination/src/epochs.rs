//! The lineage of a log: which leader epoch began at which offset (KIP-101, KIP-279).
//!
//! Two logs agree up to the smaller end offset of their last common epoch. That is the only ground for truncation;
//! a high watermark never is.

use model::{LeaderEpoch, Offset};

/// The first offset written in an epoch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EpochStart {
    /// The epoch; never negative.
    pub epoch: LeaderEpoch,
    /// Its first offset; never negative.
    pub start: Offset,
}

/// Epoch starts of one log, both numbers strictly growing.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Epochs {
    starts: Vec<EpochStart>,
}

impl Epochs {
    /// Of an empty log.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// From a snapshot. Entries that break the order are resolved as by [`Self::assign`].
    #[must_use]
    pub fn from_starts(starts: impl IntoIterator<Item = EpochStart>) -> Self {
        let mut epochs = Self::new();
        for entry in starts {
            epochs.assign(entry.epoch, entry.start);
        }
        epochs
    }

    /// All entries, oldest first.
    #[must_use]
    pub fn starts(&self) -> &[EpochStart] {
        &self.starts
    }

    /// The newest epoch, or [`LeaderEpoch::NONE`] before the first append.
    #[must_use]
    pub fn latest(&self) -> LeaderEpoch {
        self.starts.last().map_or(LeaderEpoch::NONE, |last| last.epoch)
    }

    /// Notes that `start` was written in `epoch`; says whether that was news. Entries it contradicts (an equal or
    /// later epoch, an equal or later start) are dropped: their records are no longer in the log.
    pub fn assign(&mut self, epoch: LeaderEpoch, start: Offset) -> bool {
        debug_assert!(epoch.0 >= 0 && start.0 >= 0, "epoch {epoch} at {start}");
        if self.starts.last().is_some_and(|last| last.epoch == epoch && last.start <= start) {
            return false;
        }
        while self.starts.last().is_some_and(|last| last.epoch >= epoch || last.start >= start) {
            self.starts.pop();
        }
        self.starts.push(EpochStart { epoch, start });
        true
    }

    /// Which epoch `offset` was written in; [`LeaderEpoch::NONE`] before the first entry.
    #[must_use]
    pub fn epoch_at(&self, offset: Offset) -> LeaderEpoch {
        let after = self.starts.partition_point(|entry| entry.start <= offset);
        after.checked_sub(1).map_or(LeaderEpoch::NONE, |at| self.starts[at].epoch)
    }

    /// The largest epoch not above `requested`, and where it ends: what OffsetForLeaderEpoch answers.
    ///
    /// The newest epoch ends at `log_end`. An epoch above all known ones, or none, is unknown: (-1, -1). One older
    /// than all known ones keeps its number and ends where the first known one begins.
    #[must_use]
    pub fn end_offset_for(&self, requested: LeaderEpoch, log_end: Offset) -> (LeaderEpoch, Offset) {
        if requested == LeaderEpoch::NONE || requested > self.latest() {
            return (LeaderEpoch::NONE, Offset::NONE);
        }
        if requested == self.latest() {
            return (requested, log_end);
        }
        let later = self.starts.partition_point(|entry| entry.epoch <= requested);
        // Below the newest epoch there is a later one; but of an empty log the newest is -1, and clients send less.
        let Some(next) = self.starts.get(later) else { return (LeaderEpoch::NONE, Offset::NONE) };
        let epoch = later.checked_sub(1).map_or(requested, |at| self.starts[at].epoch);
        (epoch, next.start)
    }

    /// The same of a log led in `leader`: that epoch begins where the log ended when its leader took over, whether
    /// anything was written in it since or not.
    #[must_use]
    pub fn end_offset_led(
        &self,
        requested: LeaderEpoch,
        leader: LeaderEpoch,
        log_end: Offset,
    ) -> (LeaderEpoch, Offset) {
        let latest = self.latest();
        if requested == LeaderEpoch::NONE || latest >= leader || requested > leader || requested < latest {
            return self.end_offset_for(requested, log_end);
        }
        // Nothing was written in the leader's epoch yet: it begins, and the one before it ends, where the log does.
        let epoch = if requested == leader || latest == LeaderEpoch::NONE { requested } else { latest };
        (epoch, log_end)
    }

    /// Forgets epochs that begin at or after the new log end.
    pub fn truncate_to(&mut self, log_end: Offset) {
        while self.starts.last().is_some_and(|last| last.start >= log_end) {
            self.starts.pop();
        }
    }

    /// Forgets epochs that ended before the new log start; the one that covers it begins there from now on.
    pub fn trim_to(&mut self, log_start: Offset) {
        let after = self.starts.partition_point(|entry| entry.start <= log_start);
        let Some(covering) = after.checked_sub(1) else { return };
        self.starts.drain(..covering);
        self.starts[0].start = log_start;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epochs(entries: &[(i32, i64)]) -> Epochs {
        Epochs::from_starts(
            entries
                .iter()
                .map(|&(epoch, start)| EpochStart { epoch: LeaderEpoch(epoch), start: Offset(start) }),
        )
    }

    fn end_for(epochs: &Epochs, requested: i32) -> (i32, i64) {
        let (epoch, end) = epochs.end_offset_for(LeaderEpoch(requested), Offset(100));
        (epoch.0, end.0)
    }

    #[test]
    fn end_offsets_follow_kafka() {
        let log = epochs(&[(2, 0), (4, 10), (7, 50)]);
        assert_eq!(end_for(&log, 7), (7, 100), "the newest ends at the log end");
        assert_eq!(end_for(&log, 5), (4, 50), "a gap is answered by the epoch below it");
        assert_eq!(end_for(&log, 4), (4, 50));
        assert_eq!(end_for(&log, 2), (2, 10));
        assert_eq!(end_for(&log, 1), (1, 0), "older than all known");
        assert_eq!(end_for(&log, 8), (-1, -1), "newer than all known");
        assert_eq!(end_for(&log, -1), (-1, -1));
        assert_eq!(end_for(&Epochs::new(), 0), (-1, -1));
    }

    #[test]
    fn assigning_drops_what_it_contradicts() {
        let mut log = epochs(&[(2, 0), (4, 10), (7, 50)]);
        assert!(!log.assign(LeaderEpoch(7), Offset(60)), "the same reign goes on");
        assert!(log.assign(LeaderEpoch(8), Offset(50)), "epoch 7 wrote nothing");
        assert_eq!(log, epochs(&[(2, 0), (4, 10), (8, 50)]));
        assert!(log.assign(LeaderEpoch(3), Offset(5)));
        assert_eq!(log, epochs(&[(2, 0), (3, 5)]));
    }

    #[test]
    fn offsets_know_their_epoch() {
        let log = epochs(&[(2, 5), (4, 10)]);
        let of = |offset| log.epoch_at(Offset(offset)).0;
        assert_eq!([of(4), of(5), of(9), of(10), of(99)], [-1, 2, 2, 4, 4]);
    }

    #[test]
    fn both_ends_are_cut() {
        let mut log = epochs(&[(2, 0), (4, 10), (7, 50)]);
        log.truncate_to(Offset(50));
        assert_eq!(log, epochs(&[(2, 0), (4, 10)]));
        log.trim_to(Offset(7));
        assert_eq!(log, epochs(&[(2, 7), (4, 10)]));
        log.trim_to(Offset(10));
        assert_eq!(log, epochs(&[(4, 10)]));
        log.trim_to(Offset(90));
        assert_eq!(log, epochs(&[(4, 90)]));
        log.truncate_to(Offset(0));
        assert_eq!(log, Epochs::new());
        log.trim_to(Offset(5));
        assert_eq!(log, Epochs::new());
    }

    #[test]
    fn epochs_below_all_numbers_are_no_panic() {
        let (end, unknown) = (Offset(0), (LeaderEpoch::NONE, Offset::NONE));
        let mut epochs = Epochs::new();
        for requested in [-2, -5, i32::MIN] {
            assert_eq!(epochs.end_offset_for(LeaderEpoch(requested), end), unknown, "{requested}");
            assert_eq!(
                epochs.end_offset_led(LeaderEpoch(requested), LeaderEpoch(3), end),
                unknown,
                "{requested}"
            );
        }
        epochs.assign(LeaderEpoch(0), Offset(7));
        assert_eq!(epochs.end_offset_for(LeaderEpoch(-5), Offset(9)), (LeaderEpoch(-5), Offset(7)));
    }

    #[test]
    fn the_leaders_epoch_is_known_before_its_first_record() {
        let (end, unknown) = (Offset(20), (LeaderEpoch::NONE, Offset::NONE));
        let mut epochs = Epochs::new();
        assert_eq!(
            epochs.end_offset_led(LeaderEpoch(3), LeaderEpoch(3), Offset(0)),
            (LeaderEpoch(3), Offset(0))
        );
        assert_eq!(
            epochs.end_offset_led(LeaderEpoch(2), LeaderEpoch(3), Offset(0)),
            (LeaderEpoch(2), Offset(0))
        );
        assert_eq!(epochs.end_offset_led(LeaderEpoch(4), LeaderEpoch(3), Offset(0)), unknown);
        epochs.assign(LeaderEpoch(1), Offset(0));
        epochs.assign(LeaderEpoch(3), Offset(10));
        // Led in 6, of which there is no record: 3, 4 and 5 end where it begins.
        for (requested, answer) in [(1, (1, 10)), (2, (1, 10)), (3, (3, 20)), (5, (3, 20)), (6, (6, 20))] {
            let answer = (LeaderEpoch(answer.0), Offset(answer.1));
            assert_eq!(
                epochs.end_offset_led(LeaderEpoch(requested), LeaderEpoch(6), end),
                answer,
                "{requested}"
            );
        }
        assert_eq!(epochs.end_offset_led(LeaderEpoch(7), LeaderEpoch(6), end), unknown);
        assert_eq!(epochs.end_offset_led(LeaderEpoch::NONE, LeaderEpoch(6), end), unknown);
        // Once it wrote, as ever.
        assert_eq!(epochs.end_offset_led(LeaderEpoch(2), LeaderEpoch(3), end), (LeaderEpoch(1), Offset(10)));
    }
}
