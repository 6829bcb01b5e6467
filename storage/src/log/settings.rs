//! What the settings of a topic mean for its logs.

use std::hash::{DefaultHasher, Hash, Hasher};

use model::{Offset, TopicPartition};

/// The settings of a topic that its logs obey. Times in ms, sizes in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// `segment.bytes`.
    pub segment_bytes: u64,
    /// `segment.ms`.
    pub segment_ms: i64,
    /// `segment.jitter.ms`.
    pub segment_jitter_ms: u64,
    /// `retention.ms`; -1 is for ever.
    pub retention_ms: i64,
    /// `retention.bytes`; -1 is no limit.
    pub retention_bytes: i64,
    /// `cleanup.policy` has `delete`: retention applies. `file.delete.delay.ms` is not waited for: readers hold their files
    /// themselves.
    pub delete_retained: bool,
    /// An append is acknowledged, and may be read, when it is written; its sync follows at once. It survives the death of the
    /// process and of the kernel, not a power cut. From `flush.messages` and `flush.ms`.
    pub acknowledge_written: bool,
    /// `cleanup.policy` has `compact`.
    pub compaction: Option<CompactionSettings>,
}

/// What a log that is compacted obeys. Times in ms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompactionSettings {
    /// `min.compaction.lag.ms`: a record stays uncompacted for so long at least.
    pub lag_ms_min: i64,
    /// `max.compaction.lag.ms`: and about so long at most.
    pub lag_ms_max: i64,
    /// `delete.retention.ms`: how long tombstones stay.
    pub tombstones_ms: i64,
    /// `min.cleanable.dirty.ratio`, in millionths: there is enough to do when more than this part of the log is new.
    pub dirty_ppm_min: u32,
}

impl Default for CompactionSettings {
    fn default() -> Self {
        Self { lag_ms_min: 0, lag_ms_max: i64::MAX, tombstones_ms: 86_400_000, dirty_ppm_min: 500_000 }
    }
}

impl Default for LogSettings {
    fn default() -> Self {
        Self {
            segment_bytes: 1 << 30,
            segment_ms: 7 * 24 * 3_600_000,
            segment_jitter_ms: 0,
            retention_ms: 7 * 24 * 3_600_000,
            retention_bytes: -1,
            delete_retained: true,
            acknowledge_written: false,
            compaction: None,
        }
    }
}

impl LogSettings {
    /// A segment is closed when it is so old: records of the active one are not compacted.
    fn segment_ms_max(&self) -> i64 {
        let lag = self.compaction.map_or(i64::MAX, |compaction| compaction.lag_ms_max);
        self.segment_ms.min(lag.max(1))
    }

    /// How old the segment that begins at `base` may get: `segment.ms` without a part of it, below `segment.jitter.ms`, that is another
    /// for every segment of every log, and always the same for one.
    pub(crate) fn segment_age_max_ms(&self, log: TopicPartition, base: Offset) -> i64 {
        let span = self.segment_jitter_ms.min(u64::try_from(self.segment_ms).unwrap_or(0));
        if span == 0 {
            return self.segment_ms_max();
        }
        let mut hasher = DefaultHasher::new();
        (log, base).hash(&mut hasher);
        self.segment_ms_max().saturating_sub_unsigned(hasher.finish() % span)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use model::TopicId;

    use super::*;

    #[test]
    fn segments_age_differently_within_the_jitter() {
        let ages = |segment_ms, segment_jitter_ms| {
            let settings = LogSettings { segment_ms, segment_jitter_ms, ..LogSettings::default() };
            let log = |partition| TopicPartition { topic: TopicId([1; 16]), partition };
            let ages = (0..100).map(|n| settings.segment_age_max_ms(log(n), Offset(7)));
            let again = (0..100).map(|n| settings.segment_age_max_ms(log(n), Offset(7)));
            assert!(ages.clone().eq(again), "a start changes nothing");
            ages.collect::<HashSet<_>>()
        };
        assert_eq!(ages(1000, 0), HashSet::from([1000]));
        assert!(ages(1000, 10).iter().all(|age| (991..=1000).contains(age)));
        assert!(ages(1000, 10).len() > 5 && ages(1000, 1_000_000).len() > 50);
        assert!(ages(1000, u64::MAX).iter().all(|age| (1..=1000).contains(age)));
        assert_eq!(ages(0, 10), HashSet::from([0]));
        assert_eq!(ages(i64::MAX, 0), HashSet::from([i64::MAX]));
    }
}
