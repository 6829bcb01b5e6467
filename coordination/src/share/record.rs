//! The records of `__share_group_state` in Kafka's own formats.
//!
//! Read and written, as Kafka 4.3.1 does: ShareSnapshot key 0, value 0; ShareUpdate key 1, value 0. A snapshot without
//! value is a tombstone.
#![deny(clippy::indexing_slicing)]

use std::fmt;
use std::sync::Arc;

use model::{LeaderEpoch, Offset, TimestampMs, TopicId};

use super::state::{DeliveryState, PartitionState, StateBatch, StateUpdate};
use crate::group::RecordError;
use crate::group::wire::{Reader, Writer};

/// Which share partition.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ShareKey {
    /// The group.
    pub group: Arc<str>,
    /// The topic.
    pub topic: TopicId,
    /// The partition; not checked.
    pub partition: i32,
}

impl ShareKey {
    /// As Kafka writes it, and takes its hash to find the partition of `__share_group_state`.
    #[must_use]
    pub fn coordinator_key(&self) -> String {
        self.to_string()
    }
}

impl fmt::Display for ShareKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.group, base64(&self.topic.0), self.partition)
    }
}

/// Base64 of a UUID as Kafka writes it: for URLs, without padding.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let bits = bytes.len() * 8;
    (0..bits.div_ceil(6))
        .map(|place| {
            let bit = |at: usize| bytes.get(at / 8).is_some_and(|byte| byte >> (7 - at % 8) & 1 == 1);
            let index = (0..6).fold(0, |index, more| index << 1 | usize::from(bit(place * 6 + more)));
            LETTERS.get(index).map_or('A', |letter| char::from(*letter))
        })
        .collect()
}

/// One change of what is kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Record {
    /// All of it, or that it is gone.
    Snapshot {
        /// Of which partition.
        key: ShareKey,
        /// `None` is a tombstone.
        value: Option<Arc<PartitionState>>,
    },
    /// What changed since.
    Update {
        /// Of which partition.
        key: ShareKey,
        /// What.
        value: StateUpdate,
    },
}

/// What a key and value are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Decoded {
    /// One of ours.
    Record(Record),
    /// A kind that is not known here, with its number, or an update without value: to be skipped.
    Unknown(i16),
}

/// Key and value as Kafka 4.3.1 writes them.
#[must_use]
pub fn encode(record: &Record) -> (Vec<u8>, Option<Vec<u8>>) {
    match record {
        Record::Snapshot { key, value } => (encode_key(0, key), value.as_deref().map(encode_snapshot)),
        Record::Update { key, value } => (encode_key(1, key), Some(encode_update(value))),
    }
}

fn encode_key(kind: i16, key: &ShareKey) -> Vec<u8> {
    Writer::default().i16(kind).string(&key.group).put(&key.topic.0).i32(key.partition).finish()
}

fn encode_snapshot(value: &PartitionState) -> Vec<u8> {
    let mut out = Writer::default();
    out.i16(0).i32(value.snapshot_epoch).i32(value.state_epoch).i32(value.leader_epoch.0);
    out.i64(value.start.0).i64(value.created.0).i64(value.written.0);
    encode_rest(&mut out, &value.batches, value.delivery_complete_count)
}

fn encode_update(value: &StateUpdate) -> Vec<u8> {
    let mut out = Writer::default();
    out.i16(0).i32(value.snapshot_epoch).i32(value.leader_epoch.0).i64(value.start.0);
    encode_rest(&mut out, &value.batches, value.delivery_complete_count)
}

/// What both end with. The count is a tagged field (Kafka 4.2) that is left out when it is not known.
fn encode_rest(out: &mut Writer, batches: &[StateBatch], delivery_complete_count: i32) -> Vec<u8> {
    out.compact_count(batches.len());
    for batch in batches {
        out.i64(batch.first.0).i64(batch.last.0).i8(batch.state.code());
        out.i16(i16::try_from(batch.delivery_count).unwrap_or(i16::MAX)).untagged();
    }
    if delivery_complete_count == -1 {
        out.untagged();
    } else {
        out.unsigned(1).unsigned(0).unsigned(4).i32(delivery_complete_count);
    }
    out.finish()
}

/// Reads what [`encode`] or Kafka since 4.1 wrote.
///
/// # Errors
/// Bytes that are no such record. They may be anything.
pub fn decode(key: &[u8], value: Option<&[u8]>) -> Result<Decoded, RecordError> {
    let mut key = Reader::new(key);
    let kind = key.i16()?;
    if !(0..=1).contains(&kind) {
        return Ok(Decoded::Unknown(kind));
    }
    let group = key.string(false)?.into();
    let key = ShareKey { group, topic: TopicId(key.uuid()?), partition: key.i32()? };
    let record = match (kind, value) {
        (0, value) => {
            let value = value.map(decode_snapshot).transpose()?.map(Arc::new);
            Record::Snapshot { key, value }
        }
        (_, Some(value)) => Record::Update { key, value: decode_update(value)? },
        (_, None) => return Ok(Decoded::Unknown(kind)),
    };
    Ok(Decoded::Record(record))
}

fn decode_snapshot(bytes: &[u8]) -> Result<PartitionState, RecordError> {
    let mut from = versioned(bytes)?;
    let (snapshot_epoch, state_epoch) = (from.i32()?, from.i32()?);
    let leader_epoch = LeaderEpoch(from.i32()?);
    let start = Offset(from.i64()?);
    let (created, written) = (TimestampMs(from.i64()?), TimestampMs(from.i64()?));
    let (batches, delivery_complete_count) = decode_rest(&mut from)?;
    Ok(PartitionState {
        snapshot_epoch,
        state_epoch,
        leader_epoch,
        start,
        delivery_complete_count,
        created,
        written,
        batches,
    })
}

fn decode_update(bytes: &[u8]) -> Result<StateUpdate, RecordError> {
    let mut from = versioned(bytes)?;
    let (snapshot_epoch, leader_epoch) = (from.i32()?, LeaderEpoch(from.i32()?));
    let start = Offset(from.i64()?);
    let (batches, delivery_complete_count) = decode_rest(&mut from)?;
    Ok(StateUpdate { snapshot_epoch, leader_epoch, start, delivery_complete_count, batches })
}

fn versioned(bytes: &[u8]) -> Result<Reader<'_>, RecordError> {
    let mut from = Reader::new(bytes);
    match from.i16()? {
        0 => Ok(from),
        version => Err(RecordError::ValueVersion(version)),
    }
}

fn decode_rest(from: &mut Reader<'_>) -> Result<(Vec<StateBatch>, i32), RecordError> {
    let mut batches = Vec::new();
    for _ in 0..from.count(true)?.ok_or(RecordError::BadLength)? {
        let (first, last) = (Offset(from.i64()?), Offset(from.i64()?));
        let code = from.i8()?;
        let state = DeliveryState::from_code(code).ok_or(RecordError::NoMeaning(code))?;
        // A negative one was never written.
        let delivery_count = u16::try_from(from.i16()?).unwrap_or(0);
        from.tagged(|_, _| Ok(()))?;
        batches.push(StateBatch { first, last, state, delivery_count });
    }
    let mut delivery_complete_count = -1;
    from.tagged(|tag, field| {
        if tag == 0 {
            delivery_complete_count = field.i32()?;
        }
        Ok(())
    })?;
    Ok((batches, delivery_complete_count))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key() -> ShareKey {
        ShareKey { group: "shop".into(), topic: TopicId([7; 16]), partition: 3 }
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn batch() -> StateBatch {
        StateBatch { first: Offset(5), last: Offset(9), state: DeliveryState::Archived, delivery_count: 2 }
    }

    fn snapshot(delivery_complete_count: i32) -> Record {
        let value = PartitionState {
            snapshot_epoch: 1,
            state_epoch: 2,
            leader_epoch: LeaderEpoch(3),
            start: Offset(4),
            delivery_complete_count,
            created: TimestampMs(256),
            written: TimestampMs(257),
            batches: vec![batch()],
        };
        Record::Snapshot { key: key(), value: Some(Arc::new(value)) }
    }

    fn update() -> Record {
        let value = StateUpdate {
            snapshot_epoch: 1,
            leader_epoch: LeaderEpoch::NONE,
            start: Offset::NONE,
            delivery_complete_count: 5,
            batches: vec![batch()],
        };
        Record::Update { key: key(), value }
    }

    /// By the schemas of Kafka 4.3.1, field by field.
    #[test]
    fn records_are_laid_out_as_the_schemas_say() {
        let topic = "07".repeat(16);
        let batches = "020000000000000005000000000000000904000200";
        let (key, value) = encode(&snapshot(5));
        assert_eq!(hex(&key), format!("0000000473686f70{topic}00000003"));
        let fields = "0000000000010000000200000003000000000000000400000000000001000000000000000101";
        assert_eq!(hex(&value.unwrap()), format!("{fields}{batches}01000400000005"));
        let (_, value) = encode(&snapshot(-1));
        assert_eq!(hex(&value.unwrap()), format!("{fields}{batches}00"));
        let (key, value) = encode(&update());
        assert_eq!(hex(&key), format!("0001000473686f70{topic}00000003"));
        let fields = "000000000001ffffffffffffffffffffffff";
        assert_eq!(hex(&value.unwrap()), format!("{fields}{batches}01000400000005"));
    }

    #[test]
    fn what_is_written_is_read_and_damage_is_an_error() {
        let gone = Record::Snapshot { key: key(), value: None };
        for record in [snapshot(5), snapshot(-1), update(), gone] {
            let (key, value) = encode(&record);
            assert_eq!(decode(&key, value.as_deref()), Ok(Decoded::Record(record)));
            for end in 0..key.len() {
                assert!(decode(&key[..end], value.as_deref()).is_err());
            }
            for end in 0..value.as_ref().map_or(0, Vec::len) {
                assert!(decode(&key, value.as_ref().map(|value| &value[..end])).is_err());
            }
        }
        assert_eq!(decode(&[0, 9], None), Ok(Decoded::Unknown(9)));
        let (key, value) = encode(&update());
        assert_eq!(decode(&key, None), Ok(Decoded::Unknown(1)));
        let mut value = value.unwrap();
        assert_eq!(decode(&key, Some(&[0, 1])), Err(RecordError::ValueVersion(1)));
        value[18 + 1 + 16] = 3;
        assert_eq!(decode(&key, Some(&value)), Err(RecordError::NoMeaning(3)));
    }

    #[test]
    fn a_share_partition_is_named_as_in_kafka() {
        let topic = TopicId([0xfb, 0xff, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0xff]);
        let key = ShareKey { topic, ..key() };
        assert_eq!(key.coordinator_key(), "shop:-_8AAQIDBAUGBwgJCgsM_w:3");
    }

    proptest! {
        #[test]
        fn anything_is_read_or_refused(kind in 0..3_i16, key in proptest::collection::vec(any::<u8>(), 0..40),
                                       value in proptest::collection::vec(any::<u8>(), 0..90)) {
            let mut odd = kind.to_be_bytes().to_vec();
            odd.extend(&key);
            let _ = decode(&odd, Some(&value));
            let mut zero = vec![0, 0];
            zero.extend(&value);
            for record in [snapshot(1), update()] {
                let (key, _) = encode(&record);
                if let Ok(Decoded::Record(read)) = decode(&key, Some(&zero)) {
                    let (key, value) = encode(&read);
                    prop_assert_eq!(decode(&key, value.as_deref()), Ok(Decoded::Record(read)));
                }
            }
        }
    }
}
