//! What the driver needs of a coordinator, whatever it coordinates.

use std::sync::Arc;

use coordination::effects::Effects;
use coordination::group::RecordError;
use coordination::machine::Machine;
use coordination::metadata::Image;
use coordination::share::membership::Assignment;
use model::{ErrorCode, Offset, Tick, TimestampMs, TopicId};
use storage::disk::Disk;

use super::Seats;
use crate::shard::Shard;

/// A coordinator over a partition of an internal topic.
pub(crate) trait Seated: Machine + Sized + 'static {
    /// What all of them on a core are told.
    type Settings: Clone;
    /// What is asked.
    type Request: 'static;
    /// The answer.
    type Reply: 'static;
    /// What it appends and replays.
    type Record;

    /// The topic; what it is called in the broker's own log.
    const TOPIC: &'static str;
    const NAME: &'static str;

    /// Where a core keeps those of this kind.
    fn seats<D: Disk>(shard: &Shard<D>) -> &Seats<Self>;

    fn new(settings: &Self::Settings, seed: u64) -> Self;
    fn set_image(&mut self, image: Arc<Image>);
    fn set_memory_bytes_max(&mut self, bytes: u64);
    fn memory_bytes(&self) -> u64;
    fn next_deadline(&self) -> Option<Tick>;
    /// A record of the log, which has it at this offset, or of a snapshot.
    fn replay(&mut self, record: &Self::Record, at: Option<Offset>);
    fn loaded(&mut self, now: Tick, wall: TimestampMs, effects: &mut Effects<Self::Effect>);
    fn snapshot(&self) -> Vec<Self::Record>;
    /// Topics that it tells of and that are not there, by name and id: zero where it has no id.
    fn missing_topics(&self, image: &Image) -> Vec<(String, TopicId)>;

    fn encode(record: &Self::Record) -> (Vec<u8>, Option<Vec<u8>>);
    /// A record, or the number of a kind that is not known.
    fn decode(key: &[u8], value: Option<&[u8]>) -> Result<Result<Self::Record, i16>, RecordError>;

    /// A request refused by the driver.
    fn refused(request: &Self::Request, error: ErrorCode) -> Self::Reply;
    fn asked(ticket: u64, wall: TimestampMs, request: Self::Request) -> Self::Input;
    /// The append is in the log from this offset on.
    fn durable(id: u64, base: Offset) -> Self::Input;
    fn append_failed(id: u64, error: ErrorCode) -> Self::Input;
    /// Time passed, where that means something.
    fn ticked(wall: TimestampMs) -> Option<Self::Input>;
    fn unloaded() -> Self::Input;
    /// These topics are deleted.
    fn topics_deleted(&self, wall: TimestampMs, topics: &[(String, TopicId)]) -> Vec<Self::Input>;

    fn wanted(effect: Self::Effect) -> Wanted<Self>;
}

/// What a coordinator wants done.
pub(crate) enum Wanted<M: Seated> {
    /// An append in one batch.
    Append { id: u64, records: Vec<M::Record> },
    /// An answer.
    Reply { ticket: u64, reply: M::Reply },
    /// The state of partitions of a share group begun.
    InitializeShares { group: Arc<str>, epoch: i32, partitions: Assignment },
    /// What is before this offset deleted from its log.
    Prune { below: Offset },
}
