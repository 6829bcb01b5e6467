//! What a home core asks of the core that owns partitions, and what it gets back. Everything here may cross cores.
//!
//! One call carries every partition of that owner that one client request names; order within it is the client's.

mod share;

use std::sync::Arc;

use bytes::Bytes;
use coordination::group;
use coordination::metadata::image::Image;
use coordination::metadata::machine::{Command, Outcome};
use coordination::share::record::ShareKey;
use coordination::share::store;
use model::{
    ErrorCode, LeaderEpoch, Offset, ProducerEpoch, ProducerId, TimestampMs, TopicId, TopicPartition,
};

pub use share::{Seen, ShareAcknowledge, ShareAwait, ShareFetch, ShareFetched};

use crate::counters::Snapshot;
use crate::lending::Loan;

/// What one core asks of another.
#[derive(Clone, Debug)]
pub enum Question {
    /// Append these; answered when they are safe.
    Append(Vec<AppendPartition>),
    /// Read these; answered when `bytes_min` are there or `wait_ms` passed.
    Fetch(Fetch),
    /// Say when the sum of what these partitions got since reaches a number of bytes; the number names the wait.
    Await(u64, Await),
    /// Nobody waits for this any more: an [`Await`], or a [`Fetch`] with a name.
    CancelAwait(u64),
    /// Look up offsets.
    ListOffsets(Vec<ListOffset>),
    /// Look up where epochs end.
    EpochEnds(Vec<EpochQuery>),
    /// Move log starts.
    DeleteRecords(Vec<DeleteRecords>),
    /// To core 0: change the metadata.
    Propose(Command),
    /// The newest metadata; answered when it is in force.
    Publish(Arc<Image>),
    /// Remove what this core has of a deleted topic.
    DropTopic(TopicId),
    /// Bytes of each partition asked for.
    Sizes(Vec<TopicPartition>),
    /// The producers that each partition asked for remembers.
    Producers(Vec<TopicPartition>),
    /// Ask the group coordinator on this partition; answered when it is, which may take as long as a rebalance.
    Group(TopicPartition, Box<group::Request>),
    /// Ask the share coordinator on this partition of a share partition, in order; answered when all is durable.
    ShareState {
        /// Of `__share_group_state`.
        partition: TopicPartition,
        /// Of what.
        key: ShareKey,
        /// What.
        asks: Vec<store::Ask>,
    },
    /// Give a member of a share group records of these; does not wait for more.
    ShareFetch(Box<ShareFetch>),
    /// Say when a [`ShareFetch`](Self::ShareFetch) may bring more; the number names the wait.
    ShareAwait(u64, Box<ShareAwait>),
    /// Take what a member says of records; answered when it is durable.
    ShareAcknowledge(Box<ShareAcknowledge>),
    /// A member's session ended: what it holds here is free.
    ShareRelease {
        /// Its group.
        group: Arc<str>,
        /// Who.
        member: Arc<str>,
        /// Which session: nothing happens when a later one has fetched.
        session: u64,
    },
    /// Close the share partitions of a group: they are about to be others.
    ShareForget(Arc<str>),
    /// Copy the counters.
    Counters,
}

/// The answer to a question of the same name.
#[derive(Debug)]
pub enum Answer {
    /// In the order of the question, as all lists here.
    Appended(Vec<Appended>),
    /// Records copied for the crossing, and the memory lent for them.
    Fetched(Vec<Fetched<Bytes>>, Option<Loan>),
    /// The wait is over, one way or another.
    Awaited,
    /// Offsets.
    Listed(Vec<ListedOffset>),
    /// Epoch ends.
    EpochEnds(Vec<EpochEnd>),
    /// Log starts.
    Deleted(Vec<RecordsDeleted>),
    /// What became of a metadata command.
    Metadata(Outcome),
    /// It is so.
    Done,
    /// It failed; for the log.
    Failed(String),
    /// Bytes.
    Sizes(Vec<u64>),
    /// Producers of each partition, or why they are not told.
    Producers(Vec<Result<Vec<ActiveProducer>, ErrorCode>>),
    /// What the coordinator says.
    Group(Box<group::Reply>),
    /// What the share coordinator says.
    ShareState(Vec<store::Answer>),
    /// Records of members of share groups.
    ShareFetched(Vec<ShareFetched>),
    /// A verdict for each partition.
    ShareAcknowledged(Vec<ErrorCode>),
    /// Counters.
    Counters(Box<Snapshot>),
}

/// A wait for bytes at an owner. A fetch over several owners collects first and waits at all of them only when the sum falls
/// short; the first that can tell more lets it collect again.
#[derive(Clone, Debug)]
pub struct Await {
    /// Whose, and from where on bytes count: the offsets after what was collected.
    pub partitions: Vec<(TopicPartition, Offset)>,
    /// How many bytes are missing.
    pub bytes_missing: u64,
    /// At most this long.
    pub wait_ms: u32,
}

/// When a produce request is answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Acks {
    /// Never; an error closes the connection.
    None,
    /// When durable on the leader.
    Leader,
    /// When durable on every in-sync replica.
    All,
}

/// One validated batch for one partition.
#[derive(Clone, Debug)]
pub struct AppendPartition {
    /// Where to.
    pub partition: TopicPartition,
    /// Exactly one record batch v2, validated by the home core; base offset and leader epoch are patched by the owner.
    pub batch: Bytes,
}

/// What became of one batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    /// `NONE`, or why nothing was appended.
    pub error: ErrorCode,
    /// For people, with an error.
    pub message: Option<String>,
    /// Offset of the first record; of the original when the batch was a duplicate; -1 with an error.
    pub base_offset: Offset,
    /// The partition's log start offset; -1 with an error other than a producer's.
    pub log_start: Offset,
    /// When a duplicate's original was stamped, by its producer or the broker; -1 of what is new.
    pub original_time: TimestampMs,
}

/// What one fetch wants of one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchPartition {
    /// Which.
    pub partition: TopicPartition,
    /// First record wanted.
    pub offset: Offset,
    /// At most this many bytes, but always the first batch.
    pub bytes_max: u32,
    /// The epoch the client believes in, or none.
    pub current_leader_epoch: LeaderEpoch,
    /// The epoch of the last record the client has, or none (KIP-595's diverging epoch).
    pub last_fetched_epoch: LeaderEpoch,
}

/// A fetch from one owner.
#[derive(Clone, Debug)]
pub struct Fetch {
    /// In the order in which they are served.
    pub partitions: Vec<FetchPartition>,
    /// Answer at once when this many bytes are there.
    pub bytes_min: u32,
    /// At most this many in all, but always the first batch.
    pub bytes_max: u32,
    /// Answer with what is there after this many milliseconds.
    pub wait_ms: u32,
    /// Only up to the last stable offset.
    pub read_committed: bool,
    /// The first batch found is given even when it is larger than all limits.
    pub always_one: bool,
    /// Whoever asks has borrowed the memory of the answer.
    pub paid: bool,
    /// The name under which its wait can be cancelled.
    pub token: Option<u64>,
}

/// What one partition gives to a fetch. `R` is how records travel: shared frames at home, owned bytes across cores.
#[derive(Clone, Debug)]
pub struct Fetched<R> {
    /// Which.
    pub partition: TopicPartition,
    /// `NONE`, or why there are no records.
    pub error: ErrorCode,
    /// -1 with an error.
    pub high_watermark: Offset,
    /// -1 with an error.
    pub last_stable: Offset,
    /// -1 with an error.
    pub log_start: Offset,
    /// The leader's epoch here.
    pub leader_epoch: LeaderEpoch,
    /// Where the client's log leaves ours: (epoch, its end offset).
    pub diverging: Option<(LeaderEpoch, Offset)>,
    /// Whole batches, one after the other.
    pub records: Vec<R>,
}

impl<R> Fetched<R> {
    /// The same with its records in another form.
    pub fn map_records<T>(self, form: impl FnMut(R) -> T) -> Fetched<T> {
        Fetched {
            partition: self.partition,
            error: self.error,
            high_watermark: self.high_watermark,
            last_stable: self.last_stable,
            log_start: self.log_start,
            leader_epoch: self.leader_epoch,
            diverging: self.diverging,
            records: self.records.into_iter().map(form).collect(),
        }
    }
}

/// Which offset a client looks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetQuery {
    /// -1: the high watermark, or the last stable offset with read_committed.
    Latest,
    /// -2: the log start offset.
    Earliest,
    /// -3: the record with the largest timestamp (KIP-734).
    MaxTimestamp,
    /// -4: the first offset on local disk (KIP-405).
    EarliestLocal,
    /// -5: the last offset in tiered storage (KIP-1005): none here.
    LatestTiered,
    /// The first record at or after a time.
    At(TimestampMs),
}

/// One partition of a ListOffsets request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListOffset {
    /// Which.
    pub partition: TopicPartition,
    /// What for.
    pub query: OffsetQuery,
    /// The epoch the client believes in, or none.
    pub current_leader_epoch: LeaderEpoch,
    /// Only up to the last stable offset.
    pub read_committed: bool,
}

/// Its answer: offset -1 and timestamp -1 when there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListedOffset {
    /// `NONE` or why not.
    pub error: ErrorCode,
    /// The offset.
    pub offset: Offset,
    /// The record's time, for `At` and `MaxTimestamp`.
    pub timestamp: TimestampMs,
    /// The epoch that offset was written in.
    pub leader_epoch: LeaderEpoch,
}

/// One partition of an OffsetForLeaderEpoch request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochQuery {
    /// Which.
    pub partition: TopicPartition,
    /// The epoch whose end is wanted.
    pub epoch: LeaderEpoch,
    /// The epoch the client believes in, or none.
    pub current_leader_epoch: LeaderEpoch,
}

/// Its answer; epoch and offset -1 when unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochEnd {
    /// `NONE` or why not.
    pub error: ErrorCode,
    /// Largest epoch not above the one asked for.
    pub epoch: LeaderEpoch,
    /// Where that epoch ends.
    pub end: Offset,
}

/// A producer that a partition remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActiveProducer {
    /// Who.
    pub producer: ProducerId,
    /// Newest epoch seen.
    pub epoch: ProducerEpoch,
    /// Sequence of its last record; -1 without one.
    pub last_sequence: i32,
    /// Time of its last batch.
    pub last_timestamp: TimestampMs,
}

/// One partition of a DeleteRecords request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeleteRecords {
    /// Which.
    pub partition: TopicPartition,
    /// The new log start offset; -1 means the high watermark.
    pub before: Offset,
}

/// Its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordsDeleted {
    /// `NONE` or why not.
    pub error: ErrorCode,
    /// The log start offset now; -1 with an error.
    pub low_watermark: Offset,
}
