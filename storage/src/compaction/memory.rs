//! Memory of a pass: a table of keys for as long as it takes, and what the batch in hand takes. The cache has so much less meanwhile.
//!
//! Frames that segments do not have yet cannot make room; there is a ring of them at most, and rarely more than half of it.

use model::limits::{
    COMPACTED_BATCH_COPIES, COMPACTED_RECORD_COPIES, COMPACTION_CODEC_BYTES, COMPACTION_STEP_BYTES_MAX,
    COMPACTION_STEP_BYTES_MIN, MemoryPlan,
};

use super::output::WRITE_BYTES;
use crate::bytes_at::{block_down, len_u64, to_usize};
use crate::decompress::WINDOW_BYTES_MAX;
use crate::derived::Derived;
use crate::disk::Disk;
use crate::store::Store;

const _: () = assert!(COMPACTION_CODEC_BYTES >= WINDOW_BYTES_MAX + WRITE_BYTES as u64);

/// What a pass may take.
#[derive(Clone, Copy, Debug)]
pub struct CompactionLimits {
    /// Memory for the keys, bytes.
    pub key_bytes: u64,
    /// A larger batch stays as it is, and so does one with a larger record.
    pub batch_bytes_max: usize,
}

impl CompactionLimits {
    /// What memory that is divided like this has room for.
    #[must_use]
    pub fn of(plan: &MemoryPlan) -> Self {
        Self {
            key_bytes: plan.compaction_keys(),
            batch_bytes_max: to_usize(plan.compacted_batch_bytes_max()),
        }
    }

    /// Of the memory for keys: the table. The rest is for marks of records, should there be more keys.
    pub(super) const fn table_bytes(&self) -> u64 {
        self.key_bytes - self.marks_bytes()
    }

    /// Records that may be marked.
    pub(super) fn marks_max(&self) -> usize {
        to_usize(self.marks_bytes() * 8)
    }

    const fn marks_bytes(&self) -> u64 {
        self.key_bytes / 6
    }

    /// Bytes that are read, and looked at, together; a batch that is larger comes alone.
    pub(super) fn step_bytes(&self) -> usize {
        let half = to_usize(block_down(len_u64(self.batch_bytes_max / 2)));
        half.clamp(COMPACTION_STEP_BYTES_MIN, COMPACTION_STEP_BYTES_MAX)
    }

    /// Memory of a pass with so many bytes of batches in hand.
    fn bytes_with(&self, batches: usize) -> u64 {
        let batches = COMPACTED_BATCH_COPIES * len_u64(batches.max(self.step_bytes()));
        let records = COMPACTED_RECORD_COPIES * len_u64(self.batch_bytes_max);
        self.key_bytes + COMPACTION_CODEC_BYTES + records + batches
    }
}

impl<D: Disk, S: Derived> Store<D, S> {
    /// A pass is about to have so many bytes of batches in hand: takes the memory for it from the cache.
    pub(super) fn lend_for_batches(&self, limits: &CompactionLimits, batches: usize) {
        let bytes = limits.bytes_with(batches);
        if self.compaction_bytes.replace(bytes) < bytes {
            self.shrink_cache();
        }
    }
}

#[cfg(test)]
mod tests {
    use model::limits::MEMORY_PER_CORE_MIN;

    use super::*;

    #[test]
    fn the_largest_batch_takes_no_more_than_the_frames_have() {
        for share in [MEMORY_PER_CORE_MIN, 100 << 20, 512 << 20, 16 << 30] {
            let plan = MemoryPlan::new(share, 1).unwrap();
            let limits = CompactionLimits::of(&plan);
            let most = limits.bytes_with(limits.batch_bytes_max);
            assert!(most <= plan.frames(), "{most} of {plan:?}");
            assert!(limits.bytes_with(1000) <= most);
        }
    }
}
