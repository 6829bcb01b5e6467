//! What a home core asks of the core that owns partitions, for members of share groups.

use std::sync::Arc;

use bytes::Bytes;
use coordination::share::{AckBatch, AcquireMode, Acquired};
use model::{ErrorCode, Offset, TopicPartition};

/// A member wants records.
#[derive(Clone, Debug)]
pub struct ShareFetch {
    /// Its group.
    pub group: Arc<str>,
    /// Who.
    pub member: Arc<str>,
    /// In which of its sessions: nothing is handed out in one when a later one has fetched.
    pub session: u64,
    /// In the order in which they are served.
    pub partitions: Vec<TopicPartition>,
    /// Records in all, as strictly as the mode says.
    pub records_max: u32,
    /// See [`coordination::share::Acquire::batch_size`].
    pub batch_size: u32,
    /// How strict it is.
    pub mode: AcquireMode,
    /// Nothing is handed out when fewer bytes can be read.
    pub bytes_min: u32,
    /// At most this many in all. Whoever asks has borrowed their memory.
    pub bytes_max: u32,
    /// The first batch comes whatever its size.
    pub always_one: bool,
}

/// What one partition gives.
#[derive(Clone, Debug)]
pub struct ShareFetched {
    /// Which.
    pub partition: TopicPartition,
    /// `NONE`, or why there is nothing.
    pub error: ErrorCode,
    /// The records that are the member's now.
    pub acquired: Vec<Acquired>,
    /// The batches they are in, and no others.
    pub records: Bytes,
    /// What a wait for more begins with.
    pub seen: Seen,
}

/// What was seen of a share partition: a wait ends when it is something else.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seen {
    /// Where the log ended, when records behind that can be handed out; else nothing of it is waited for.
    pub log_end: Option<Offset>,
    /// Counts when records came back, or something became known.
    pub news: u64,
    /// Somebody read the log for it then, after so many others.
    pub turned_away: Option<u64>,
}

/// A wait for something to hand out.
#[derive(Clone, Debug)]
pub struct ShareAwait {
    /// The member's group.
    pub group: Arc<str>,
    /// Where, and what was seen there.
    pub partitions: Vec<(TopicPartition, Seen)>,
    /// At most this long.
    pub wait_ms: u32,
}

/// What a member says of records.
#[derive(Clone, Debug)]
pub struct ShareAcknowledge {
    /// Its group.
    pub group: Arc<str>,
    /// Who.
    pub member: Arc<str>,
    /// Of which partitions.
    pub partitions: Vec<(TopicPartition, Vec<AckBatch>)>,
}
