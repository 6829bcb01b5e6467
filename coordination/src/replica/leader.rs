//! A leader's offsets. With one replica the high watermark is the durable end: nothing above it is shown or
//! acknowledged, because a crash may give its offsets to other records.

use model::{ErrorCode, LeaderEpoch, Offset};

/// Offsets of one partition on its leader. `log_start <= high_watermark <= log_end` always.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Leader {
    epoch: LeaderEpoch,
    log_start: Offset,
    high_watermark: Offset,
    log_end: Offset,
}

impl Leader {
    /// Of a log that was read back, all of it durable.
    #[must_use]
    pub const fn new(epoch: LeaderEpoch, log_start: Offset, log_end: Offset) -> Self {
        Self { epoch, log_start, high_watermark: log_end, log_end }
    }

    /// The epoch it leads in.
    #[must_use]
    pub const fn epoch(&self) -> LeaderEpoch {
        self.epoch
    }

    /// First offset that can be read.
    #[must_use]
    pub const fn log_start(&self) -> Offset {
        self.log_start
    }

    /// What every consumer may read ends here.
    #[must_use]
    pub const fn high_watermark(&self) -> Offset {
        self.high_watermark
    }

    /// Next offset to be given out.
    #[must_use]
    pub const fn log_end(&self) -> Offset {
        self.log_end
    }

    /// The log now ends at `log_end`, in memory.
    pub fn appended(&mut self, log_end: Offset) {
        assert!(log_end >= self.log_end, "an append never shortens a log");
        self.log_end = log_end;
    }

    /// Everything below `end` may be acknowledged; says whether the high watermark moved.
    pub fn durable(&mut self, end: Offset) -> bool {
        let before = self.high_watermark;
        self.high_watermark = before.max(end.min(self.log_end));
        self.high_watermark > before
    }

    /// The log now starts at `log_start`; says whether that moved it.
    pub fn trimmed(&mut self, log_start: Offset) -> bool {
        let before = self.log_start;
        self.log_start = before.max(log_start.min(self.high_watermark));
        self.log_start > before
    }

    /// Whether the epoch a client believes in is this one (or it believes in none).
    ///
    /// # Errors
    /// `FENCED_LEADER_EPOCH` for an older one, `UNKNOWN_LEADER_EPOCH` for a newer one.
    pub fn check_epoch(&self, current: LeaderEpoch) -> Result<(), ErrorCode> {
        match current {
            LeaderEpoch::NONE => Ok(()),
            older if older < self.epoch => Err(ErrorCode::FencedLeaderEpoch),
            newer if newer > self.epoch => Err(ErrorCode::UnknownLeaderEpoch),
            _ => Ok(()),
        }
    }

    /// Whether a consumer may fetch from `offset`: the high watermark itself is where it waits.
    ///
    /// # Errors
    /// `OFFSET_OUT_OF_RANGE`.
    pub fn check_offset(&self, offset: Offset) -> Result<(), ErrorCode> {
        // Up to the log end, as in Kafka: a client may know of records that are not yet to be shown.
        if offset < self.log_start || offset > self.log_end {
            return Err(ErrorCode::OffsetOutOfRange);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_high_watermark_follows_what_is_durable() {
        let mut leader = Leader::new(LeaderEpoch(3), Offset(5), Offset(10));
        assert_eq!(leader.high_watermark(), Offset(10));
        leader.appended(Offset(20));
        assert_eq!(leader.high_watermark(), Offset(10), "appended is not durable");
        assert!(leader.durable(Offset(15)));
        assert!(!leader.durable(Offset(12)), "it never goes back");
        assert!(leader.durable(Offset(99)));
        assert_eq!(leader.high_watermark(), Offset(20), "nor past the end");
    }

    #[test]
    fn the_start_stays_below_the_high_watermark() {
        let mut leader = Leader::new(LeaderEpoch(3), Offset(5), Offset(10));
        leader.appended(Offset(20));
        assert!(leader.trimmed(Offset(15)));
        assert_eq!(leader.log_start(), Offset(10));
        assert!(!leader.trimmed(Offset(7)));
    }

    #[test]
    fn epochs_and_offsets_are_checked_as_kafka_does() {
        let leader = Leader::new(LeaderEpoch(3), Offset(5), Offset(10));
        assert_eq!(leader.check_epoch(LeaderEpoch(-1)), Ok(()));
        assert_eq!(leader.check_epoch(LeaderEpoch(3)), Ok(()));
        assert_eq!(leader.check_epoch(LeaderEpoch(2)), Err(ErrorCode::FencedLeaderEpoch));
        assert_eq!(leader.check_epoch(LeaderEpoch(4)), Err(ErrorCode::UnknownLeaderEpoch));
        assert_eq!(leader.check_offset(Offset(4)), Err(ErrorCode::OffsetOutOfRange));
        assert_eq!(leader.check_offset(Offset(10)), Ok(()));
        assert_eq!(leader.check_offset(Offset(11)), Err(ErrorCode::OffsetOutOfRange));
    }
}
