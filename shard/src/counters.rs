//! What one core counts: plain integers and histograms, copied when somebody asks and merged by whoever shows them.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use hdrhistogram::Histogram;

/// Longest time a histogram tells apart, in microseconds: longer ones count as this.
const TIMING_US_MAX: u64 = 120_000_000;
/// Decimal digits a histogram keeps: within 1 % at about 20 KiB each.
const TIMING_DIGITS: u8 = 2;

/// Kinds of work that are timed. The values index [`Snapshot::timings`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Timed {
    /// One Produce request, from read to answered.
    Produce,
    /// One Fetch request, waiting for bytes included.
    Fetch,
    /// One journal commit, from its first append to durable.
    Commit,
    /// The journal's write of one commit and its fdatasync.
    Sync,
    /// One write of the flusher, reserving space included, its share of the sync not.
    Flush,
    /// One question to another core and its answer.
    Hop,
}

impl Timed {
    /// All, in the order of their values.
    pub const ALL: [Self; 6] = [Self::Produce, Self::Fetch, Self::Commit, Self::Sync, Self::Flush, Self::Hop];

    /// Name in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Produce => "produce",
            Self::Fetch => "fetch",
            Self::Commit => "commit",
            Self::Sync => "sync",
            Self::Flush => "flush",
            Self::Hop => "hop",
        }
    }
}

/// What only ever grows. The values index [`Snapshot::counts`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Counted {
    /// Produce requests.
    ProduceRequests,
    /// Partitions of produce requests that were answered with an error.
    ProduceErrors,
    /// Bytes of batches appended.
    ProduceBytes,
    /// Records appended.
    ProduceRecords,
    /// Fetch requests.
    FetchRequests,
    /// Partitions of fetches that were answered with an error.
    FetchErrors,
    /// Bytes of batches sent to consumers.
    FetchBytes,
    /// Bytes of fetches that had to be read from segments.
    FetchDiskBytes,
    /// Requests of all other kinds.
    OtherRequests,
    /// Journal commits.
    Commits,
    /// Bytes written to the journal, headers and padding included.
    JournalBytes,
    /// Bytes written to segments.
    FlushBytes,
    /// Those of them that commits wrote there themselves: large appends, of which the journal has no copy.
    ExtentBytes,
    /// Writes to segments that failed, each attempt counted: a bad disk, or a full one.
    SegmentWriteErrors,
    /// Reads of logs that failed because of damage or of the disk.
    DamagedReads,
    /// Bytes that compaction read from segments.
    CompactionReadBytes,
    /// Bytes that it wrote to new ones.
    CompactionWrittenBytes,
    /// Passes of it that failed because of damage or of the disk.
    CompactionErrors,
    /// Connections accepted.
    ConnectionsAccepted,
    /// Connections refused because their address had its share.
    ConnectionsRefused,
    /// Connections closed because of what they sent, or because a handler failed.
    ConnectionsFaulted,
    /// Bytes received.
    ReceivedBytes,
    /// Bytes sent.
    SentBytes,
}

impl Counted {
    /// All, in the order of their values.
    pub const ALL: [Self; 23] = [
        Self::ProduceRequests,
        Self::ProduceErrors,
        Self::ProduceBytes,
        Self::ProduceRecords,
        Self::FetchRequests,
        Self::FetchErrors,
        Self::FetchBytes,
        Self::FetchDiskBytes,
        Self::OtherRequests,
        Self::Commits,
        Self::JournalBytes,
        Self::FlushBytes,
        Self::ExtentBytes,
        Self::SegmentWriteErrors,
        Self::DamagedReads,
        Self::CompactionReadBytes,
        Self::CompactionWrittenBytes,
        Self::CompactionErrors,
        Self::ConnectionsAccepted,
        Self::ConnectionsRefused,
        Self::ConnectionsFaulted,
        Self::ReceivedBytes,
        Self::SentBytes,
    ];

    /// Name in metrics, without the suffix that says it counts.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ProduceRequests => "produce_requests",
            Self::ProduceErrors => "produce_errors",
            Self::ProduceBytes => "produce_bytes",
            Self::ProduceRecords => "produce_records",
            Self::FetchRequests => "fetch_requests",
            Self::FetchErrors => "fetch_errors",
            Self::FetchBytes => "fetch_bytes",
            Self::FetchDiskBytes => "fetch_disk_bytes",
            Self::OtherRequests => "other_requests",
            Self::Commits => "commits",
            Self::JournalBytes => "journal_bytes",
            Self::FlushBytes => "flush_bytes",
            Self::ExtentBytes => "extent_bytes",
            Self::SegmentWriteErrors => "segment_write_errors",
            Self::DamagedReads => "damaged_reads",
            Self::CompactionReadBytes => "compaction_read_bytes",
            Self::CompactionWrittenBytes => "compaction_written_bytes",
            Self::CompactionErrors => "compaction_errors",
            Self::ConnectionsAccepted => "connections_accepted",
            Self::ConnectionsRefused => "connections_refused",
            Self::ConnectionsFaulted => "connections_faulted",
            Self::ReceivedBytes => "received_bytes",
            Self::SentBytes => "sent_bytes",
        }
    }
}

/// What goes up and down. The values index [`Snapshot::gauges`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Gauge {
    /// Connections.
    Connections,
    /// Partitions this core owns.
    Partitions,
    /// Those of them that take no appends because the disk is full or failed.
    PartitionsReadOnly,
    /// Memory: bytes of requests that are not done with.
    MemoryRequests,
    /// Memory: answers on their way, and what control-plane requests become before they are answered.
    MemoryResponses,
    /// Memory: journal frames not flushed yet.
    MemoryRing,
    /// Memory: flushed frames kept for fetches.
    MemoryCache,
    /// Memory: what compaction has from the cache.
    MemoryCompaction,
    /// Memory: idempotent producers.
    MemoryProducers,
    /// Memory: groups, members and committed offsets.
    MemoryGroups,
    /// Memory: direct I/O.
    MemoryIo,
}

impl Gauge {
    /// All, in the order of their values.
    pub const ALL: [Self; 11] = [
        Self::Connections,
        Self::Partitions,
        Self::PartitionsReadOnly,
        Self::MemoryRequests,
        Self::MemoryResponses,
        Self::MemoryRing,
        Self::MemoryCache,
        Self::MemoryCompaction,
        Self::MemoryProducers,
        Self::MemoryGroups,
        Self::MemoryIo,
    ];

    /// Name in metrics; for memory see [`Self::memory_use`].
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Partitions => "partitions",
            Self::PartitionsReadOnly => "partitions_read_only",
            _ => "memory_bytes",
        }
    }

    /// What the memory is used for, when this is about memory.
    #[must_use]
    pub const fn memory_use(self) -> Option<&'static str> {
        match self {
            Self::MemoryRequests => Some("requests"),
            Self::MemoryResponses => Some("responses"),
            Self::MemoryRing => Some("ring"),
            Self::MemoryCache => Some("cache"),
            Self::MemoryCompaction => Some("compaction"),
            Self::MemoryProducers => Some("producers"),
            Self::MemoryGroups => Some("groups"),
            Self::MemoryIo => Some("io"),
            _ => None,
        }
    }
}

/// One core's counters.
#[derive(Debug)]
pub struct Counters {
    timings: [RefCell<Histogram<u64>>; Timed::ALL.len()],
    counts: [Cell<u64>; Counted::ALL.len()],
    gauges: [Cell<u64>; Gauge::ALL.len()],
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            timings: std::array::from_fn(|_| RefCell::new(empty_timing())),
            counts: std::array::from_fn(|_| Cell::new(0)),
            gauges: std::array::from_fn(|_| Cell::new(0)),
        }
    }
}

fn empty_timing() -> Histogram<u64> {
    Histogram::new_with_bounds(1, TIMING_US_MAX, TIMING_DIGITS).expect("bounds that are constants and valid")
}

impl Counters {
    /// Counts one more.
    pub fn count(&self, what: Counted) {
        self.add(what, 1);
    }

    /// Counts `n` more.
    pub fn add(&self, what: Counted, n: u64) {
        let cell = &self.counts[what as usize];
        cell.set(cell.get().wrapping_add(n));
    }

    /// Takes over a counter that is kept elsewhere.
    pub fn set_count(&self, what: Counted, n: u64) {
        self.counts[what as usize].set(n);
    }

    /// Says how much there is now.
    pub fn set(&self, what: Gauge, value: u64) {
        self.gauges[what as usize].set(value);
    }

    /// One more piece of work took this long.
    pub fn time(&self, what: Timed, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.timings[what as usize].borrow_mut().saturating_record(us.clamp(1, TIMING_US_MAX));
    }

    /// A copy for another thread: about 100 KiB.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            timings: self.timings.iter().map(|timing| timing.borrow().clone()).collect(),
            counts: self.counts.iter().map(Cell::get).collect(),
            gauges: self.gauges.iter().map(Cell::get).collect(),
        }
    }
}

/// A core's counters at one moment; free to go anywhere.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// By [`Timed`], in microseconds.
    pub timings: Vec<Histogram<u64>>,
    /// By [`Counted`].
    pub counts: Vec<u64>,
    /// By [`Gauge`].
    pub gauges: Vec<u64>,
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Counted, Counters, Gauge, Timed};

    #[test]
    fn every_kind_has_the_place_its_value_says() {
        assert!(Timed::ALL.iter().enumerate().all(|(index, kind)| *kind as usize == index));
        assert!(Counted::ALL.iter().enumerate().all(|(index, kind)| *kind as usize == index));
        assert!(Gauge::ALL.iter().enumerate().all(|(index, kind)| *kind as usize == index));
    }

    #[test]
    fn a_snapshot_holds_what_was_counted_and_stays() {
        let counters = Counters::default();
        counters.add(Counted::ProduceBytes, 7);
        counters.set(Gauge::Partitions, 3);
        counters.time(Timed::Commit, Duration::from_millis(2));
        counters.time(Timed::Commit, Duration::from_secs(999_999));
        counters.time(Timed::Commit, Duration::ZERO);
        let snapshot = counters.snapshot();
        counters.count(Counted::ProduceBytes);
        assert_eq!(snapshot.counts[Counted::ProduceBytes as usize], 7);
        assert_eq!(snapshot.gauges[Gauge::Partitions as usize], 3);
        let commit = &snapshot.timings[Timed::Commit as usize];
        assert_eq!(commit.len(), 3);
        assert!((1980..=2020).contains(&commit.value_at_quantile(0.5)), "{}", commit.value_at_quantile(0.5));
    }
}
