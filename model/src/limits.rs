//! Every maximum that bounds memory or a queue, in one place, with the arithmetic that ties them together. What belongs to
//! one file format or one algorithm of storage stands there.

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
/// Under load a commit waits for half of what the last one had, of this at most; below a quarter of this there is no load...
pub const COMMIT_GATHER_BYTES: usize = 512 << 10;
/// ...and no longer than so many microseconds.
pub const COMMIT_GATHER_US: u64 = 300;
/// Appends of one partition that have this much in one commit go straight to its segment, and the journal only tells of them.
pub const EXTENT_BYTES_MIN: u64 = 96 << 10;
/// Largest batch, when memory has room for it.
pub const BATCH_BYTES_MAX: u64 = 200 << 20;
/// Of those that a start would have to look at, all cores together keep so much at most: it reads 2 GB a second or more.
pub const EXTENT_BYTES_UNSETTLED_MAX: u64 = 512 << 20;
/// Appends of one partition after which its derived state is stored again: a first produce after a start reads no more headers.
pub const SNAPSHOT_BYTES: u64 = 64 << 20;

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

/// Open segment files of one core, at least and at most; between them as many as the limit of open files allows.
pub const OPEN_SEGMENTS_MIN: usize = 16;
/// See [`OPEN_SEGMENTS_MIN`].
pub const OPEN_SEGMENTS_MAX: usize = 4096;
/// Bytes of a compressed batch's records that are looked through, at most, for one at some time; they pass by and are not
/// kept. The largest batch that Kafka's own defaults accept takes a hundredth of it.
pub const DECOMPRESSED_BYTES_MAX: u64 = 128 << 20;

/// Largest batch that compaction looks into, and largest record that it makes of one, when memory has room for them
/// ([`MemoryPlan::compacted_batch_bytes_max`]): memory for them, and for what becomes of them, would else have no bound.
pub const COMPACTED_BATCH_BYTES_MAX: u64 = 16 << 20;
/// As large as the largest that Kafka's defaults accept, or a little larger: the smallest core compacts it.
pub const COMPACTED_BATCH_BYTES_MIN: u64 = (1 << 20) + (4 << 10);
/// With a batch in hand compaction holds so many times its bytes, at most: as it was read, half of that as what is read meanwhile, and what
/// becomes of it, which may be twice as large, in the codec's hands and behind it, where half of it may be there before it.
pub const COMPACTED_BATCH_COPIES: u64 = 6;
/// And so many times the largest record that it looks into: records without their codec, and once more while they grow.
pub const COMPACTED_RECORD_COPIES: u64 = 2;
/// Whatever the batch, a codec and the write under way keep so much beside it.
pub const COMPACTION_CODEC_BYTES: u64 = (8 << 20) + (512 << 10);
/// Batches that are smaller are compacted so many bytes at a time, at least...
pub const COMPACTION_STEP_BYTES_MIN: usize = 256 << 10;
/// ...and at most: half of the largest that compaction looks into, between the two.
pub const COMPACTION_STEP_BYTES_MAX: usize = 1 << 20;
/// Memory for keys of one pass of compaction, at most, as in Kafka.
pub const COMPACTION_KEYS_BYTES_MAX: u64 = 128 << 20;

/// Bytes of one receive buffer. One per connection that is receiving; larger ones lose to cache misses.
pub const RECEIVE_BUFFER_BYTES: usize = 64 << 10;
/// Receive buffers that a core keeps for the next reader: 1 MiB.
pub const RECEIVE_BUFFERS_KEPT_MAX: usize = 16;
/// A frame of at most this many bytes is copied out of the receive buffer: a parked fetch of 100 bytes must not keep
/// 64 KiB alive, and the copy costs less than the allocation's bookkeeping.
pub const COPIED_FRAME_BYTES_MAX: usize = 2 << 10;
/// Bytes read into a large frame at a time.
pub const READ_STEP_BYTES: usize = 256 << 10;
/// Memory given to a large frame before any of it arrived; from there on it doubles with what arrives.
pub const FRAME_BYTES_FIRST: usize = 1 << 20;
/// Smallest budget for requests that lets every step be admitted.
pub const BUDGET_BYTES_MIN: usize = 8 << 20;
/// Requests of one connection that are read and not answered.
pub const REQUESTS_IN_FLIGHT_MAX: usize = 64;
/// Responses of one connection that wait for the socket: no more are encoded, and no request is read, while this many
/// bytes do.
pub const UNSENT_BYTES_MAX: usize = RESPONSE_PINNED_BYTES;
/// Pieces of responses handed to the kernel in one call.
pub const WRITE_PIECES_MAX: usize = 64;

/// Topics, and partitions in all, that one Produce or Fetch may name: ten times the partitions of a large broker.
pub const REQUEST_PARTITIONS_MAX: usize = 100_000;
/// Memory that decoding any other request may take at its peak; the same for its answer when encoded. One at a time on a
/// core may take this, and the others together [`MemoryPlan::control_answers`].
pub const DECODED_BYTES_MAX: usize = 32 << 20;
/// Elements of one array in such a request.
pub const ELEMENTS_MAX: usize = 1 << 15;
/// Body of a request that names partitions: some 90 000 of them.
pub const BODY_OF_PARTITIONS_BYTES_MAX: usize = 3 << 19;
/// Metrics in one push of a client: what such a body has room for.
pub const PUSH_BYTES_MAX: usize = BODY_OF_PARTITIONS_BYTES_MAX - (1 << 10);
/// Body of a request about settings: those of thousands of topics.
pub const BODY_OF_SETTINGS_BYTES_MAX: usize = 256 << 10;
/// What decoding takes at its peak per byte of a body made of the smallest structures there are (107 were measured)...
pub const DECODED_BYTES_PER_BYTE: usize = 128;
/// ...beside vectors that begin with room for four elements.
pub const DECODED_BYTES_FIXED: usize = 4 << 10;
/// Settings and synonyms in one answer to DescribeConfigs. Each takes some 200 bytes until the answer is encoded, so this is
/// some 20 MiB at a time on a core: two thousand topics with everything, or more when few settings are asked for.
/// Without it a request that names one topic over and over makes an answer of gigabytes.
pub const SETTINGS_DESCRIBED_MAX: usize = 100_000;

/// Producers in one answer to DescribeProducers, if they are those of several partitions: some 60 bytes each.
pub const PRODUCERS_DESCRIBED_MAX: usize = 200_000;

/// Bytes of settings that were altered for brokers and groups. Both take any name, so they are weighed; every core shares one copy,
/// and a snapshot of the metadata holds them.
pub const SETTINGS_ALTERED_BYTES_MAX: usize = 1 << 20;

/// Partitions of all topics together. The metadata of one takes some 26 bytes in an answer, so all of them fit one.
pub const PARTITIONS_MAX: u64 = 200_000;
/// Partitions one request may create, as in Kafka.
pub const PARTITIONS_CREATED_MAX: u32 = 10_000;
/// Metadata commands that may wait for the group in flight; above it they are refused.
pub const COMMANDS_WAITING_MAX: usize = 1024;
/// Effects one step of a decision may emit; a machine that could exceed it is wrong.
pub const EFFECTS_MAX: usize = 4096;
/// Producers remembered by one partition, some 500 bytes each with their batches; above it the longest silent sixteenth
/// is forgotten.
pub const PRODUCERS_MAX: usize = 65_536;
/// Partitions one fetch session may hold; a client that wants more is served without a session.
pub const SESSION_PARTITIONS_MAX: usize = 65_536;
/// Partitions all fetch sessions of one core may hold, some 200 bytes each.
pub const SESSIONS_PARTITIONS_MAX: usize = 4 * SESSION_PARTITIONS_MAX;
/// Share partitions that one core has open, and those that wait for their state, if memory has room for so many; above it
/// COORDINATOR_NOT_AVAILABLE.
pub const SHARE_PARTITIONS_MAX: usize = 16_384;

/// Questions without an answer yet from one core to another: a fetch at the end of a log and a member of a group that
/// rebalances wait for long, and must keep nobody else from asking. A slot is some 100 bytes, made when it is needed.
pub const QUESTIONS_MAX: usize = 65_536;
/// Scrapes of metrics that wait for a core; one that has so many unanswered gets no more. A snapshot takes some 100 KiB.
pub const SCRAPES_WAITING_MAX: usize = 4;

/// See [`MemoryPlan::own`].
const OWN_BYTES_MAX: u64 = 16 << 20;
/// Read ahead on a core, at least, while that is not more than half of its cache.
const READ_AHEAD_MIN: u64 = 4 << 20;

/// Smallest memory budget of one core.
pub const MEMORY_PER_CORE_MIN: u64 = 64 << 20;

const _: () = {
    assert!(FRAME_BYTES_MAX.is_multiple_of(BLOCK));
    assert!(COMMIT_BYTES_MAX >= FRAME_BYTES_MAX);
    // A block is left over at either end.
    assert!(EXTENT_BYTES_MIN >= 2 * BLOCK as u64 && EXTENT_BYTES_MIN <= COMMIT_BYTES_MAX as u64);
    // A commit fits one ring file with its headers and padding, so it never straddles two.
    assert!(RING_BYTES_MIN / RING_FILES >= 2 << 20);
    assert!(RING_BYTES_MIN / 4 >= FRAME_BYTES_MAX as u64);
    // An answer pins what one read brings, and a read fits the responses of the smallest core.
    assert!(SEGMENT_READ_BYTES <= RESPONSE_PINNED_BYTES);
    assert!(
        COMPACTION_STEP_BYTES_MIN <= COMPACTION_STEP_BYTES_MAX
            && COMPACTION_STEP_BYTES_MIN.is_multiple_of(BLOCK)
    );
    assert!(OPEN_SEGMENTS_MIN <= OPEN_SEGMENTS_MAX);
};

const _: () = {
    assert!(COPIED_FRAME_BYTES_MAX < RECEIVE_BUFFER_BYTES);
    assert!(RECEIVE_BUFFER_BYTES <= READ_STEP_BYTES && READ_STEP_BYTES <= FRAME_BYTES_FIRST);
    // Half of the budget may be reserve; what remains must take any step. The smallest core has a quarter for requests.
    assert!(READ_STEP_BYTES <= BUDGET_BYTES_MIN / 2);
    assert!(BUDGET_BYTES_MIN as u64 <= MEMORY_PER_CORE_MIN / 4);
    // The one request at a time that takes the most leaves half of the smallest core.
    assert!(DECODED_BYTES_MAX as u64 <= MEMORY_PER_CORE_MIN / 2);
    // The largest bodies are admitted for the most there is, so what is beyond any estimate goes one at a time.
    assert!(DECODED_BYTES_FIXED + DECODED_BYTES_PER_BYTE * BODY_OF_SETTINGS_BYTES_MAX >= DECODED_BYTES_MAX);
    assert!(BODY_OF_SETTINGS_BYTES_MAX <= BODY_OF_PARTITIONS_BYTES_MAX);
    assert!(SETTINGS_DESCRIBED_MAX * 200 <= DECODED_BYTES_MAX);
    // An answer that lists every partition, alone in its topic with a name of 64 bytes, can be sent.
    assert!(PARTITIONS_MAX * (64 + 26 + 32) <= DECODED_BYTES_MAX as u64);
    assert!(PARTITIONS_CREATED_MAX as u64 <= PARTITIONS_MAX);
    // The request that opens a session names all of its partitions.
    assert!(
        SESSION_PARTITIONS_MAX <= REQUEST_PARTITIONS_MAX && SESSION_PARTITIONS_MAX <= SESSIONS_PARTITIONS_MAX
    );
    // Sessions beyond the plan, but below the smallest core's memory even when full.
    assert!(SESSIONS_PARTITIONS_MAX as u64 * 200 <= MEMORY_PER_CORE_MIN);
    // One step may answer every command that waited, and begin with what comes next.
    assert!(2 * COMMANDS_WAITING_MAX < EFFECTS_MAX);
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
    /// Committed and flushed frames kept for fetches, beyond the ring's; and [`Self::read_ahead`].
    pub cache: u64,
    /// Requests admitted and not yet answered.
    pub requests: u64,
    /// Answers until they are sent: see [`Self::fetch_answers`] and its kin.
    pub responses: u64,
    /// Groups, their members and committed offsets; half of it is for what share groups keep of records, on either side.
    pub groups: u64,
    /// What no part counts: program, stacks, logs in memory, free buffers, what the allocator keeps.
    pub own: u64,
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
        let groups = share / 16;
        let rest = share - 3 * io_memory - ring - requests - responses - groups;
        let own = (rest / 2).min(OWN_BYTES_MAX);
        let cache = rest - own;
        Some(Self { io_memory, ring, cache, requests, responses, groups, own })
    }

    /// Of the cache: what is read ahead of consumers that catch up.
    #[must_use]
    pub const fn read_ahead(&self) -> u64 {
        let (part, half) = (self.cache / 4, self.cache / 2);
        if part > READ_AHEAD_MIN {
            part
        } else if half < READ_AHEAD_MIN {
            half
        } else {
            READ_AHEAD_MIN
        }
    }

    /// The ring's and the cache's frames.
    #[must_use]
    pub const fn frames(&self) -> u64 {
        self.ring + self.cache - self.read_ahead()
    }

    /// Of the frames, while a log is compacted: the table of keys. A quarter of them, as far as batches that the defaults accept fit beside it;
    /// what does not fit the table takes another pass over the whole log.
    #[must_use]
    pub const fn compaction_keys(&self) -> u64 {
        let copies = COMPACTED_BATCH_COPIES + COMPACTED_RECORD_COPIES;
        let beside = COMPACTION_CODEC_BYTES + copies * COMPACTED_BATCH_BYTES_MIN;
        let (quarter, left) = (self.frames() / 4, self.frames().saturating_sub(beside));
        let most = if quarter < left { quarter } else { left };
        if most < COMPACTION_KEYS_BYTES_MAX { most } else { COMPACTION_KEYS_BYTES_MAX }
    }

    /// Largest batch, and largest record, that compaction looks into: with such a one in hand it takes no more than the frames have.
    #[must_use]
    pub const fn compacted_batch_bytes_max(&self) -> u64 {
        let left = self.frames().saturating_sub(self.compaction_keys() + COMPACTION_CODEC_BYTES);
        let most = left / (COMPACTED_BATCH_COPIES + COMPACTED_RECORD_COPIES);
        if most < COMPACTED_BATCH_BYTES_MAX { most } else { COMPACTED_BATCH_BYTES_MAX }
    }

    /// Of what responses get: log bytes that answers to fetches hold.
    #[must_use]
    pub const fn fetch_answers(&self) -> u64 {
        self.responses / 2
    }

    /// Of what responses get: what control-plane requests become, and their answers.
    #[must_use]
    pub const fn control_answers(&self) -> u64 {
        self.responses / 8 * 3
    }

    /// Of what responses get: answers that nobody has to wait for, because they are small.
    #[must_use]
    pub const fn other_answers(&self) -> u64 {
        self.responses / 8
    }

    /// Largest append the journal takes: a quarter of the ring. Larger ones go around it.
    #[must_use]
    pub const fn append_bytes_max(&self) -> u64 {
        self.ring / 4
    }

    /// Largest batch: what one request may take, which is half of what all do.
    #[must_use]
    pub const fn batch_bytes_max(&self) -> u64 {
        if self.requests / 2 < BATCH_BYTES_MAX { self.requests / 2 } else { BATCH_BYTES_MAX }
    }

    /// The sum of all parts: never above the share it was made from.
    #[must_use]
    pub const fn total(&self) -> u64 {
        3 * self.io_memory + self.ring + self.cache + self.requests + self.responses + self.groups + self.own
    }
}

#[cfg(test)]
mod tests {
    use super::{
        COMPACTED_BATCH_COPIES, COMPACTED_RECORD_COPIES, COMPACTION_CODEC_BYTES, MEMORY_PER_CORE_MIN,
        MemoryPlan,
    };

    #[test]
    fn parts_never_exceed_the_budget() {
        for memory_mib in [64, 65, 100, 256, 1000, 4096, 65_536] {
            for cores in [1, 2, 3, 8, 64] {
                let memory = memory_mib << 20;
                if let Some(plan) = MemoryPlan::new(memory, cores) {
                    assert!(plan.total() <= memory / cores, "{memory_mib} MiB over {cores}: {plan:?}");
                    assert!(plan.cache > 0);
                    let answers = plan.fetch_answers() + plan.control_answers() + plan.other_answers();
                    assert!(answers <= plan.responses);
                    let copies = COMPACTED_BATCH_COPIES + COMPACTED_RECORD_COPIES;
                    let batch = plan.compacted_batch_bytes_max() * copies;
                    let compaction = plan.compaction_keys() + COMPACTION_CODEC_BYTES + batch;
                    assert!(compaction <= plan.frames(), "{plan:?}");
                }
            }
        }
    }

    #[test]
    fn the_smallest_core_compacts_the_batches_that_the_defaults_accept() {
        let plan = MemoryPlan::new(MEMORY_PER_CORE_MIN, 1).unwrap();
        assert!(plan.compacted_batch_bytes_max() >= 1_048_588, "{}", plan.compacted_batch_bytes_max());
    }
}
