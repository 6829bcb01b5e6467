//! Coordinators of groups and committed offsets, over `__consumer_offsets`.

use std::collections::BTreeSet;
use std::sync::Arc;

use coordination::effects::Effects;
use coordination::group::record::{self, Decoded, Record};
use coordination::group::{Coordinator, Effect, GroupSettings, Input, RecordError, Reply, Request};
use coordination::metadata::Image;
use coordination::metadata::topics::OFFSETS_TOPIC;
use model::{ErrorCode, Offset, Tick, TimestampMs, TopicId};
use storage::disk::Disk;

use super::Seats;
use super::seated::{Seated, Wanted};
use crate::shard::Shard;

impl Seated for Coordinator {
    type Settings = GroupSettings;
    type Request = Request;
    type Reply = Reply;
    type Record = Record;

    const TOPIC: &'static str = OFFSETS_TOPIC;
    const NAME: &'static str = "group coordinator";

    fn seats<D: Disk>(shard: &Shard<D>) -> &Seats<Self> {
        &shard.coordinators
    }

    fn new(settings: &GroupSettings, seed: u64) -> Self {
        Self::new(settings.clone(), seed)
    }

    fn set_image(&mut self, image: Arc<Image>) {
        Self::set_image(self, image);
    }

    fn set_memory_bytes_max(&mut self, bytes: u64) {
        Self::set_memory_bytes_max(self, bytes);
    }

    fn memory_bytes(&self) -> u64 {
        Self::memory_bytes(self)
    }

    fn next_deadline(&self) -> Option<Tick> {
        Self::next_deadline(self)
    }

    fn replay(&mut self, record: &Record, _: Option<Offset>) {
        Self::replay(self, record);
    }

    fn loaded(&mut self, now: Tick, wall: TimestampMs, effects: &mut Effects<Effect>) {
        Self::loaded(self, now, wall, effects);
    }

    fn snapshot(&self) -> Vec<Record> {
        Self::snapshot(self)
    }

    fn missing_topics(&self, image: &Image) -> Vec<(String, TopicId)> {
        let topics: BTreeSet<String> = self.snapshot().into_iter().filter_map(offset_topic).collect();
        let gone = topics.into_iter().filter(|topic| image.topic(topic).is_none());
        gone.map(|topic| (topic, TopicId::ZERO)).collect()
    }

    fn encode(record: &Record) -> (Vec<u8>, Option<Vec<u8>>) {
        record::encode(record)
    }

    fn decode(key: &[u8], value: Option<&[u8]>) -> Result<Result<Record, i16>, RecordError> {
        Ok(match record::decode(key, value)? {
            Decoded::Record(record) => Ok(record),
            Decoded::Unknown(kind) => Err(kind),
        })
    }

    fn refused(request: &Request, error: ErrorCode) -> Reply {
        Reply::refused(request, error)
    }

    fn asked(ticket: u64, wall: TimestampMs, request: Request) -> Input {
        Input::Request { ticket, wall, request }
    }

    fn durable(id: u64, _: Offset) -> Input {
        Input::Durable(id)
    }

    fn append_failed(id: u64, error: ErrorCode) -> Input {
        Input::AppendFailed(id, error)
    }

    fn ticked(wall: TimestampMs) -> Option<Input> {
        Some(Input::Tick { wall })
    }

    fn unloaded() -> Input {
        Input::Unload
    }

    fn topics_deleted(&self, wall: TimestampMs, topics: &[(String, TopicId)]) -> Vec<Input> {
        vec![Input::TopicsDeleted { wall, topics: topics.to_vec() }]
    }

    fn wanted(effect: Effect) -> Wanted<Self> {
        match effect {
            Effect::Append { id, records } => Wanted::Append { id, records },
            Effect::Reply { ticket, reply } => Wanted::Reply { ticket, reply },
            Effect::InitializeShares { group, epoch, partitions } => {
                Wanted::InitializeShares { group, epoch, partitions }
            }
        }
    }
}

fn offset_topic(record: Record) -> Option<String> {
    match record {
        Record::Offset { topic, .. } => Some(topic.to_string()),
        Record::Group { .. } | Record::Consumer { .. } | Record::Share(_) => None,
    }
}
