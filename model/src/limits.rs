//! Every maximum of the broker in one place, with the arithmetic that ties them together.

/// Unit of direct I/O: this many bytes or a multiple, at this alignment.
pub const BLOCK: usize = 4096;

/// Bytes of one journal frame, header and padding included.
pub const FRAME_BYTES_MAX: usize = 1 << 20;
/// Bytes of a journal frame's header.
pub const FRAME_HEADER_BYTES: usize = 64;
/// Bytes of a journal entry's header.
pub const ENTRY_HEADER_BYTES: usize = 72;
/// Payload of one commit, above which the rest waits for the next one.
pub const COMMIT_BYTES_MAX: usize = 4 << 20;
/// Under load a commit gathers until this many bytes wait...
pub const COMMIT_GATHER_BYTES: usize = 512 << 10;
/// ...or this many microseconds passed.
pub const COMMIT_GATHER_US: u64 = 1000;

/// Journal ring of one shard, smallest and largest.
pub const RING_BYTES_MIN: u64 = 16 << 20;
/// See [`RING_BYTES_MIN`].
pub const RING_BYTES_MAX: u64 = 256 << 20;
/// Files a ring is made of.
pub const RING_FILES: u64 = 8;

/// Registered I/O memory of one executor, smallest and largest.
pub const IO_MEMORY_MIN: u64 = 2 << 20;
/// See [`IO_MEMORY_MIN`].
pub const IO_MEMORY_MAX: u64 = 32 << 20;

/// Bytes of log pinned for one connection's response at a time.
pub const RESPONSE_PINNED_BYTES: usize = 1 << 20;
/// Bytes of one read from a segment.
pub const SEGMENT_READ_BYTES: usize = 1 << 20;
/// Distance in bytes between two entries of a fresh sparse index; doubles when the index is full.
pub const INDEX_INTERVAL_BYTES: u64 = 64 << 10;
/// Entries of one segment's sparse index.
pub const INDEX_ENTRIES_MAX: usize = 1024;
/// Batches remembered per producer and partition, as in Kafka.
pub const PRODUCER_BATCHES: usize = 5;

/// Smallest memory budget of one core.
pub const MEMORY_PER_CORE_MIN: u64 = 64 << 20;

const _: () = {
    assert!(FRAME_BYTES_MAX.is_multiple_of(BLOCK));
    assert!(COMMIT_BYTES_MAX >= FRAME_BYTES_MAX);
    // A commit fits one ring file with its headers and padding, so it never straddles two.
    assert!(RING_BYTES_MIN / RING_FILES >= 2 << 20);
    assert!(RING_BYTES_MIN / 4 >= FRAME_BYTES_MAX as u64);
};

/// How one core's share of `--memory` is divided. All in bytes.
///
/// io_memory counts three times: the kernel pins the arena and two sets of rings beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryPlan {
    /// glommio's registered arena.
    pub io_memory: u64,
    /// Journal ring: unflushed frames stay in memory and never exceed it.
    pub ring: u64,
    /// Committed and flushed frames kept for fetches, beyond the ring's.
    pub cache: u64,
    /// Requests admitted and not yet answered.
    pub requests: u64,
    /// Log bytes pinned by responses being sent.
    pub responses: u64,
}

impl MemoryPlan {
    /// Divides `memory` bytes over `cores`; `None` when a core would get less than [`MEMORY_PER_CORE_MIN`].
    #[must_use]
    pub fn new(memory: u64, cores: u64) -> Option<Self> {
        let share = memory / cores.max(1);
        if share < MEMORY_PER_CORE_MIN {
            return None;
        }
        let io_memory = (share / 16).clamp(IO_MEMORY_MIN, IO_MEMORY_MAX) & !(BLOCK as u64 - 1);
        let ring = (share / 4).clamp(RING_BYTES_MIN, RING_BYTES_MAX) / (1 << 20) * (1 << 20);
        let requests = share / 4;
        let responses = share / 8;
        let cache = share - 3 * io_memory - ring - requests - responses;
        Some(Self { io_memory, ring, cache, requests, responses })
    }

    /// Largest append the journal takes: a quarter of the ring.
    #[must_use]
    pub const fn append_bytes_max(&self) -> u64 {
        self.ring / 4
    }

    /// The sum of all parts: never above the share it was made from.
    #[must_use]
    pub const fn total(&self) -> u64 {
        3 * self.io_memory + self.ring + self.cache + self.requests + self.responses
    }
}

#[cfg(test)]
mod tests {
    use super::MemoryPlan;

    #[test]
    fn parts_never_exceed_the_budget() {
        for memory_mib in [64, 65, 100, 256, 1000, 4096, 65_536] {
            for cores in [1, 2, 3, 8, 64] {
                let memory = memory_mib << 20;
                if let Some(plan) = MemoryPlan::new(memory, cores) {
                    assert!(plan.total() <= memory / cores, "{memory_mib} MiB over {cores}: {plan:?}");
                    assert!(plan.cache > 0);
                }
            }
        }
    }
}
