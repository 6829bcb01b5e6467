//! Coordinators of the state of share partitions, over `__share_group_state`.

use std::sync::Arc;

use coordination::effects::Effects;
use coordination::group::RecordError;
use coordination::metadata::Image;
use coordination::metadata::features::SHARE_VERSION;
use coordination::metadata::topics::SHARE_STATE_TOPIC;
use coordination::share::record::{self, Decoded, Record, ShareKey};
use coordination::share::store::{Answer, Ask, Effect, Input, ShareStates, StoreSettings};
use model::{ErrorCode, Offset, Tick, TimestampMs, TopicId};
use storage::disk::Disk;

use super::Seats;
use super::seated::{Seated, Wanted};
use crate::shard::Shard;

/// Ticket of what nobody waits for.
const NOBODY: u64 = u64::MAX;

impl Seated for ShareStates {
    type Settings = StoreSettings;
    type Request = (ShareKey, Ask);
    type Reply = Answer;
    type Record = Record;

    const TOPIC: &'static str = SHARE_STATE_TOPIC;
    const NAME: &'static str = "share coordinator";

    fn seats<D: Disk>(shard: &Shard<D>) -> &Seats<Self> {
        &shard.share_states
    }

    fn new(settings: &StoreSettings, _: u64) -> Self {
        Self::new(*settings)
    }

    fn set_image(&mut self, image: Arc<Image>) {
        self.set_served(image.feature_level(SHARE_VERSION) > 0);
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

    fn replay(&mut self, record: &Record, at: Option<Offset>) {
        Self::replay(self, record, at);
    }

    fn loaded(&mut self, now: Tick, _: TimestampMs, _: &mut Effects<Effect>) {
        Self::loaded(self, now);
    }

    fn snapshot(&self) -> Vec<Record> {
        Self::snapshot(self)
    }

    fn missing_topics(&self, image: &Image) -> Vec<(String, TopicId)> {
        let gone = self.topics().into_iter().filter(|id| image.topic_by_id(*id).is_none());
        gone.map(|id| (String::new(), id)).collect()
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

    fn refused((_, ask): &(ShareKey, Ask), error: ErrorCode) -> Answer {
        Answer::refused(ask, error)
    }

    fn asked(ticket: u64, wall: TimestampMs, (key, ask): (ShareKey, Ask)) -> Input {
        Input::Request { ticket, wall, key, ask }
    }

    fn durable(id: u64, base: Offset) -> Input {
        Input::Durable { id, base }
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

    /// Nobody waits for it. What finds no room now goes when this is loaded the next time.
    fn topics_deleted(&self, wall: TimestampMs, topics: &[(String, TopicId)]) -> Vec<Input> {
        let keys = topics.iter().flat_map(|(_, id)| self.keys_of(*id));
        keys.map(|key| Input::Request { ticket: NOBODY, wall, key, ask: Ask::Delete }).collect()
    }

    fn wanted(effect: Effect) -> Wanted<Self> {
        match effect {
            Effect::Append { id, records } => Wanted::Append { id, records },
            Effect::Reply { ticket, answer } => Wanted::Reply { ticket, reply: answer },
            Effect::Prune { below } => Wanted::Prune { below },
        }
    }
}
