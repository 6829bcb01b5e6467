//! The records of `__consumer_offsets` in Kafka's own formats.
//!
//! Read: OffsetCommit keys 0 and 1, values 0 to 4; GroupMetadata key 2, values 0 to 4. Written, as Kafka 4.3.1 does:
//! OffsetCommit key 1, value 4, or value 1 with an explicit expiry; GroupMetadata key 2, value 3. A record without
//! value is a tombstone. Those of groups by the consumer protocol are in `consumer::record`, those of share groups in
//! [`crate::share::membership::record`].
#![deny(clippy::indexing_slicing)]

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use model::{Offset, TimestampMs, TopicId};

use super::consumer::{self, ConsumerRecord};
use super::wire::{Reader, Writer};
use crate::share::membership::record as share;

/// One change of the hard state.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Record {
    /// A committed offset, or that it is forgotten.
    Offset {
        /// The group.
        group: Arc<str>,
        /// The topic's name.
        topic: Arc<str>,
        /// The partition.
        partition: i32,
        /// `None` is a tombstone.
        value: Option<OffsetValue>,
    },
    /// A group's metadata, or that it is gone.
    Group {
        /// The group.
        group: Arc<str>,
        /// `None` is a tombstone.
        value: Option<Arc<GroupValue>>,
    },
    /// Something of a group by the consumer protocol, or that it is gone.
    Consumer {
        /// The group.
        group: Arc<str>,
        /// What.
        change: ConsumerRecord,
    },
    /// Something of a share group, or that it is gone.
    Share(share::Record),
}

impl Record {
    /// The group it is about.
    #[must_use]
    pub const fn group(&self) -> &Arc<str> {
        match self {
            Self::Offset { group, .. } | Self::Group { group, .. } | Self::Consumer { group, .. } => group,
            Self::Share(record) => record.group(),
        }
    }
}

/// A committed offset.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OffsetValue {
    /// The offset of the next record to read.
    pub offset: Offset,
    /// The epoch of the last record read, or -1.
    pub leader_epoch: i32,
    /// What the client kept with it.
    pub metadata: String,
    /// When it was committed.
    pub commit_time: TimestampMs,
    /// When it expires, if the client said so. A record that has it has neither epoch nor topic id.
    pub expire_time: Option<TimestampMs>,
    /// The topic's id, or zero.
    pub topic_id: TopicId,
}

/// A group at a generation that became stable, or empty.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupValue {
    /// "consumer", ..., or empty.
    pub protocol_type: String,
    /// The generation.
    pub generation: i32,
    /// The chosen protocol.
    pub protocol: Option<String>,
    /// The leader's member id.
    pub leader: Option<String>,
    /// Since when the group is in its state, or -1.
    pub state_since: TimestampMs,
    /// Its members.
    pub members: Vec<MemberValue>,
}

/// A member of a stored generation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MemberValue {
    /// Its id.
    pub member_id: String,
    /// Its instance id, when static.
    pub instance_id: Option<String>,
    /// The client's id.
    pub client_id: String,
    /// Where it came from.
    pub client_host: String,
    /// How long a rebalance waits for it.
    pub rebalance_timeout_ms: i32,
    /// Silence after which it is dropped.
    pub session_timeout_ms: i32,
    /// Its metadata for the chosen protocol.
    pub subscription: Bytes,
    /// What the leader gave it.
    pub assignment: Bytes,
}

/// What a key and value are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Decoded {
    /// One of ours.
    Record(Record),
    /// A kind of key that is not known here, with its number: to be skipped.
    Unknown(i16),
}

/// Bytes that are no such record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RecordError {
    /// They end too early.
    Truncated,
    /// A length that cannot be.
    BadLength,
    /// A string that is not UTF-8.
    NotText,
    /// A value of a version that is not known here.
    ValueVersion(i16),
    /// A number that stands for nothing.
    NoMeaning(i8),
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("the record ends too early"),
            Self::BadLength => f.write_str("the record holds an impossible length"),
            Self::NotText => f.write_str("a string of the record is not UTF-8"),
            Self::ValueVersion(version) => write!(f, "the record's value has unknown version {version}"),
            Self::NoMeaning(number) => write!(f, "the record holds {number}, which stands for nothing"),
        }
    }
}

impl std::error::Error for RecordError {}

/// Key and value as Kafka 4.3.1 writes them.
#[must_use]
pub fn encode(record: &Record) -> (Vec<u8>, Option<Vec<u8>>) {
    match record {
        Record::Offset { group, topic, partition, value } => {
            let key = Writer::default().i16(1).string(group).string(topic).i32(*partition).finish();
            (key, value.as_ref().map(encode_offset))
        }
        Record::Group { group, value } => {
            (Writer::default().i16(2).string(group).finish(), value.as_deref().map(encode_group))
        }
        Record::Consumer { group, change } => consumer::record::encode(group, change),
        Record::Share(record) => share::encode(record),
    }
}

fn encode_offset(value: &OffsetValue) -> Vec<u8> {
    let mut out = Writer::default();
    if let Some(expire_time) = value.expire_time {
        out.i16(1).i64(value.offset.0).string(&value.metadata);
        return out.i64(value.commit_time.0).i64(expire_time.0).finish();
    }
    out.i16(4).i64(value.offset.0).i32(value.leader_epoch).compact_string(&value.metadata);
    out.i64(value.commit_time.0);
    if value.topic_id == TopicId::ZERO {
        out.unsigned(0);
    } else {
        out.unsigned(1).unsigned(0).unsigned(16).put(&value.topic_id.0);
    }
    out.finish()
}

fn encode_group(value: &GroupValue) -> Vec<u8> {
    let mut out = Writer::default();
    out.i16(3).string(&value.protocol_type).i32(value.generation);
    out.nullable_string(value.protocol.as_deref()).nullable_string(value.leader.as_deref());
    out.i64(value.state_since.0).i32(i32::try_from(value.members.len()).unwrap_or(i32::MAX));
    for member in &value.members {
        out.string(&member.member_id).nullable_string(member.instance_id.as_deref());
        out.string(&member.client_id).string(&member.client_host);
        out.i32(member.rebalance_timeout_ms).i32(member.session_timeout_ms);
        out.bytes(&member.subscription).bytes(&member.assignment);
    }
    out.finish()
}

/// Reads what [`encode`] or any Kafka since 0.9 wrote.
///
/// # Errors
/// Bytes that are no such record. They may be anything.
pub fn decode(key: &[u8], value: Option<&[u8]>) -> Result<Decoded, RecordError> {
    let whole = key;
    let mut key = Reader::new(key);
    let record = match key.i16()? {
        0 | 1 => Record::Offset {
            group: key.string(false)?.into(),
            topic: key.string(false)?.into(),
            partition: key.i32()?,
            value: value.map(decode_offset).transpose()?,
        },
        2 => Record::Group {
            group: key.string(false)?.into(),
            value: value.map(decode_group).transpose()?.map(Arc::new),
        },
        kind => match consumer::record::decode(kind, &mut key, value)? {
            Some((group, change)) => Record::Consumer { group, change },
            None => match share::decode(whole, value)? {
                share::Decoded::Record(record) => Record::Share(record),
                share::Decoded::Unknown(kind) => return Ok(Decoded::Unknown(kind)),
            },
        },
    };
    Ok(Decoded::Record(record))
}

fn decode_offset(bytes: &[u8]) -> Result<OffsetValue, RecordError> {
    let mut from = Reader::new(bytes);
    let version = from.i16()?;
    if !(0..=4).contains(&version) {
        return Err(RecordError::ValueVersion(version));
    }
    let offset = Offset(from.i64()?);
    let leader_epoch = if version >= 3 { from.i32()? } else { -1 };
    let metadata = from.string(version >= 4)?;
    let commit_time = TimestampMs(from.i64()?);
    let expire_time = if version == 1 { from.i64()? } else { -1 };
    let mut topic_id = TopicId::ZERO;
    if version >= 4 {
        from.tagged(|tag, field| {
            if tag == 0 {
                topic_id = TopicId(field.uuid()?);
            }
            Ok(())
        })?;
    }
    let expire_time = (expire_time != -1).then_some(TimestampMs(expire_time));
    Ok(OffsetValue { offset, leader_epoch, metadata, commit_time, expire_time, topic_id })
}

fn decode_group(bytes: &[u8]) -> Result<GroupValue, RecordError> {
    let mut from = Reader::new(bytes);
    let version = from.i16()?;
    if !(0..=4).contains(&version) {
        return Err(RecordError::ValueVersion(version));
    }
    let flexible = version >= 4;
    let protocol_type = from.string(flexible)?;
    let generation = from.i32()?;
    let protocol = from.nullable_string(flexible)?;
    let leader = from.nullable_string(flexible)?;
    let state_since = TimestampMs(if version >= 2 { from.i64()? } else { -1 });
    let count = from.count(flexible)?.ok_or(RecordError::BadLength)?;
    let mut members = Vec::new();
    for _ in 0..count {
        members.push(decode_member(&mut from, version)?);
    }
    if flexible {
        from.tagged(|_, _| Ok(()))?;
    }
    Ok(GroupValue { protocol_type, generation, protocol, leader, state_since, members })
}

fn decode_member(from: &mut Reader<'_>, version: i16) -> Result<MemberValue, RecordError> {
    let flexible = version >= 4;
    let member_id = from.string(flexible)?;
    let instance_id = if version >= 3 { from.nullable_string(flexible)? } else { None };
    let client_id = from.string(flexible)?;
    let client_host = from.string(flexible)?;
    let rebalance_timeout_ms = if version >= 1 { from.i32()? } else { -1 };
    let session_timeout_ms = from.i32()?;
    let subscription = from.bytes(flexible)?;
    let assignment = from.bytes(flexible)?;
    if flexible {
        from.tagged(|_, _| Ok(()))?;
    }
    Ok(MemberValue {
        member_id,
        instance_id,
        client_id,
        client_host,
        // Version 0 and the very first clients had one timeout for both.
        rebalance_timeout_ms: if rebalance_timeout_ms == -1 {
            session_timeout_ms
        } else {
            rebalance_timeout_ms
        },
        session_timeout_ms,
        subscription,
        assignment,
    })
}
