//! The records of groups by the consumer protocol (KIP-848), in Kafka's own formats.
//!
//! Read and written, all in version 0: ConsumerGroupMetadata (key 3), ConsumerGroupMemberMetadata (5),
//! ConsumerGroupTargetAssignmentMetadata (6), ConsumerGroupTargetAssignmentMember (7),
//! ConsumerGroupCurrentMemberAssignment (8) and ConsumerGroupRegularExpression (16). Kafka before 4.1 wrote
//! ConsumerGroupPartitionMetadata (4) too: it is passed over, as what it said is looked up anew.
#![deny(clippy::indexing_slicing)]

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use model::{TimestampMs, TopicId};

use super::super::record::RecordError;
use super::super::wire::{Reader, Writer};
use super::partitions::{Held, Partitions};

const METADATA: i16 = 3;
const MEMBER: i16 = 5;
const TARGET_METADATA: i16 = 6;
const TARGET_MEMBER: i16 = 7;
const CURRENT: i16 = 8;
const REGEX: i16 = 16;

/// One change of a group by the consumer protocol; each without value is a tombstone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ConsumerRecord {
    /// The group's epoch; a tombstone is the end of the group.
    Epoch(Option<EpochValue>),
    /// What a member said of itself.
    Member {
        /// Its id.
        member: Arc<str>,
        /// `None`: it is gone.
        value: Option<Arc<MemberMetadata>>,
    },
    /// The epoch for which the targets were computed.
    TargetEpoch(Option<TargetEpochValue>),
    /// What a member is to have in the end.
    Target {
        /// Its id.
        member: Arc<str>,
        /// The partitions.
        value: Option<Arc<Partitions>>,
    },
    /// What a member has now.
    Current {
        /// Its id.
        member: Arc<str>,
        /// Its epoch and partitions.
        value: Option<Arc<CurrentValue>>,
    },
    /// What a regular expression means.
    Regex {
        /// The expression as its members sent it.
        pattern: Arc<str>,
        /// The topics.
        value: Option<Arc<ResolvedRegex>>,
    },
}

impl ConsumerRecord {
    /// Whether it says that something is gone.
    #[must_use]
    pub const fn is_tombstone(&self) -> bool {
        match self {
            Self::Epoch(value) => value.is_none(),
            Self::TargetEpoch(value) => value.is_none(),
            Self::Member { value, .. } => value.is_none(),
            Self::Target { value, .. } => value.is_none(),
            Self::Current { value, .. } => value.is_none(),
            Self::Regex { value, .. } => value.is_none(),
        }
    }
}

/// A group's epoch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EpochValue {
    /// It rises with every change of members, subscriptions and topics.
    pub epoch: i32,
    /// A hash of the topics subscribed to, as they were then: 0 is none.
    pub metadata_hash: i64,
}

/// What a member said of itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MemberMetadata {
    /// Its instance id, when static.
    pub instance_id: Option<String>,
    /// Where it is.
    pub rack_id: Option<String>,
    /// The client's id.
    pub client_id: String,
    /// Where it comes from.
    pub client_host: String,
    /// Topics it subscribes to by name.
    pub topics: BTreeSet<String>,
    /// Topics it subscribes to by a regular expression; never empty.
    pub regex: Option<String>,
    /// How long it may take to give partitions back, or -1.
    pub rebalance_timeout_ms: i32,
    /// The assignor it wants.
    pub assignor: Option<String>,
    /// Of one that uses the classic protocol.
    pub classic: Option<ClassicMetadata>,
}

impl Default for MemberMetadata {
    fn default() -> Self {
        Self {
            instance_id: None,
            rack_id: None,
            client_id: String::new(),
            client_host: String::new(),
            topics: BTreeSet::new(),
            regex: None,
            rebalance_timeout_ms: -1,
            assignor: None,
            classic: None,
        }
    }
}

/// What a member that uses the classic protocol said beside it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClassicMetadata {
    /// Silence after which it is dropped.
    pub session_timeout_ms: i32,
    /// Its protocols, best first, with their metadata.
    pub protocols: Vec<(String, Bytes)>,
}

/// For which epoch, and when, targets were computed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TargetEpochValue {
    /// The group's epoch.
    pub epoch: i32,
    /// When; 0 is not known.
    pub time: TimestampMs,
}

/// Where a member stands on its way to its target.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MemberState {
    /// It has everything that was free of its target.
    Stable,
    /// It has still to give partitions back.
    Unrevoked,
    /// It waits for partitions that others have still to give back.
    Unreleased,
    /// Of a newer Kafka: to be fenced.
    Unknown(i8),
}

impl MemberState {
    const fn from_code(code: i8) -> Self {
        match code {
            0 => Self::Stable,
            1 => Self::Unrevoked,
            2 => Self::Unreleased,
            other => Self::Unknown(other),
        }
    }

    const fn code(self) -> i8 {
        match self {
            Self::Stable => 0,
            Self::Unrevoked => 1,
            Self::Unreleased => 2,
            Self::Unknown(code) => code,
        }
    }
}

/// What a member has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CurrentValue {
    /// Its epoch; -1 it left, -2 a static one that will come back.
    pub epoch: i32,
    /// The epoch before: it may not have heard of the new one.
    pub previous_epoch: i32,
    /// Where it stands.
    pub state: MemberState,
    /// What it may use.
    pub assigned: Held,
    /// What it is to give back.
    pub revoking: Held,
}

impl Default for CurrentValue {
    /// Of a member that has just come.
    fn default() -> Self {
        Self {
            epoch: 0,
            previous_epoch: -1,
            state: MemberState::Stable,
            assigned: Held::default(),
            revoking: Held::default(),
        }
    }
}

/// What a regular expression meant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ResolvedRegex {
    /// The names that match.
    pub topics: BTreeSet<String>,
    /// The metadata they were looked up in.
    pub version: i64,
    /// When.
    pub time: TimestampMs,
}

/// Key and value of a change to `group`.
pub(in crate::group) fn encode(group: &str, record: &ConsumerRecord) -> (Vec<u8>, Option<Vec<u8>>) {
    let mut key = Writer::default();
    let mut keyed = |kind: i16, name: Option<&str>| {
        key.i16(kind).string(group);
        if let Some(name) = name {
            key.string(name);
        }
        key.finish()
    };
    match record {
        ConsumerRecord::Epoch(value) => (keyed(METADATA, None), value.map(encode_epoch)),
        ConsumerRecord::Member { member, value } => {
            (keyed(MEMBER, Some(member)), value.as_deref().map(encode_member))
        }
        ConsumerRecord::TargetEpoch(value) => (keyed(TARGET_METADATA, None), value.map(encode_target_epoch)),
        ConsumerRecord::Target { member, value } => {
            (keyed(TARGET_MEMBER, Some(member)), value.as_deref().map(encode_target))
        }
        ConsumerRecord::Current { member, value } => {
            (keyed(CURRENT, Some(member)), value.as_deref().map(encode_current))
        }
        ConsumerRecord::Regex { pattern, value } => {
            (keyed(REGEX, Some(pattern)), value.as_deref().map(encode_regex))
        }
    }
}

/// One tagged field, or none where the value is its default.
fn one_tag(out: &mut Writer, field: Option<i64>) -> Vec<u8> {
    match field {
        Some(value) => out.unsigned(1).tag(0, &value.to_be_bytes()).finish(),
        None => out.unsigned(0).finish(),
    }
}

fn encode_epoch(value: EpochValue) -> Vec<u8> {
    let mut out = Writer::default();
    out.i16(0).i32(value.epoch);
    one_tag(&mut out, Some(value.metadata_hash).filter(|hash| *hash != 0))
}

fn encode_target_epoch(value: TargetEpochValue) -> Vec<u8> {
    let mut out = Writer::default();
    out.i16(0).i32(value.epoch);
    one_tag(&mut out, Some(value.time.0).filter(|time| *time != 0))
}

fn encode_member(value: &MemberMetadata) -> Vec<u8> {
    let mut out = Writer::default();
    out.i16(0).compact_nullable_string(value.instance_id.as_deref());
    out.compact_nullable_string(value.rack_id.as_deref());
    out.compact_string(&value.client_id).compact_string(&value.client_host);
    out.compact_count(value.topics.len());
    for topic in &value.topics {
        out.compact_string(topic);
    }
    // None is the empty one, as Kafka writes it.
    out.compact_nullable_string(Some(value.regex.as_deref().unwrap_or_default()))
        .i32(value.rebalance_timeout_ms);
    out.compact_nullable_string(value.assignor.as_deref());
    let Some(classic) = &value.classic else { return out.unsigned(0).finish() };
    let mut field = Writer::default();
    // A structure that may be null says first that it is not.
    field.i8(1).i32(classic.session_timeout_ms).compact_count(classic.protocols.len());
    for (name, metadata) in &classic.protocols {
        field.compact_string(name).compact_bytes(metadata).unsigned(0);
    }
    let field = field.unsigned(0).finish();
    out.unsigned(1).tag(0, &field).finish()
}

fn encode_target(value: &Partitions) -> Vec<u8> {
    let mut out = Writer::default();
    out.i16(0).compact_count(value.len());
    for (topic, partitions) in value {
        out.put(&topic.0).compact_count(partitions.len());
        for &partition in partitions {
            out.i32(partition);
        }
        out.unsigned(0);
    }
    out.unsigned(0).finish()
}

fn encode_current(value: &CurrentValue) -> Vec<u8> {
    let mut out = Writer::default();
    out.i16(0).i32(value.epoch).i32(value.previous_epoch).i8(value.state.code());
    encode_held(&mut out, &value.assigned);
    encode_held(&mut out, &value.revoking);
    out.unsigned(0).finish()
}

fn encode_held(out: &mut Writer, held: &Held) {
    out.compact_count(held.topics().len());
    for (topic, partitions) in held.topics() {
        out.put(&topic.0).compact_count(partitions.len());
        let mut epochs = Writer::default();
        epochs.compact_count(partitions.len());
        for (&partition, &epoch) in partitions {
            out.i32(partition);
            epochs.i32(epoch);
        }
        out.unsigned(1).tag(0, &epochs.finish());
    }
}

fn encode_regex(value: &ResolvedRegex) -> Vec<u8> {
    let mut out = Writer::default();
    out.i16(0).compact_count(value.topics.len());
    for topic in &value.topics {
        out.compact_string(topic);
    }
    out.i64(value.version).i64(value.time.0).unsigned(0).finish()
}

/// What a key of this kind and its value say, of which group; `None` when the kind is not one of these.
pub(in crate::group) fn decode(
    kind: i16,
    key: &mut Reader<'_>,
    value: Option<&[u8]>,
) -> Result<Option<(Arc<str>, ConsumerRecord)>, RecordError> {
    if ![METADATA, MEMBER, TARGET_METADATA, TARGET_MEMBER, CURRENT, REGEX].contains(&kind) {
        return Ok(None);
    }
    let group: Arc<str> = key.string(false)?.into();
    let mut name = || -> Result<Arc<str>, RecordError> { Ok(key.string(false)?.into()) };
    let record = match kind {
        METADATA => ConsumerRecord::Epoch(value.map(decode_epoch).transpose()?),
        MEMBER => ConsumerRecord::Member {
            member: name()?,
            value: value.map(decode_member).transpose()?.map(Arc::new),
        },
        TARGET_METADATA => ConsumerRecord::TargetEpoch(value.map(decode_target_epoch).transpose()?),
        TARGET_MEMBER => ConsumerRecord::Target {
            member: name()?,
            value: value.map(decode_target).transpose()?.map(Arc::new),
        },
        CURRENT => ConsumerRecord::Current {
            member: name()?,
            value: value.map(decode_current).transpose()?.map(Arc::new),
        },
        _ => ConsumerRecord::Regex {
            pattern: name()?,
            value: value.map(decode_regex).transpose()?.map(Arc::new),
        },
    };
    Ok(Some((group, record)))
}

/// The bytes behind the version, which is 0.
fn version_0(bytes: &[u8]) -> Result<Reader<'_>, RecordError> {
    let mut from = Reader::new(bytes);
    match from.i16()? {
        0 => Ok(from),
        version => Err(RecordError::ValueVersion(version)),
    }
}

/// The number in tag 0, or 0.
fn number_tag(from: &mut Reader<'_>) -> Result<i64, RecordError> {
    let mut number = 0;
    from.tagged(|tag, field| {
        if tag == 0 {
            number = field.i64()?;
        }
        Ok(())
    })?;
    Ok(number)
}

fn decode_epoch(bytes: &[u8]) -> Result<EpochValue, RecordError> {
    let mut from = version_0(bytes)?;
    Ok(EpochValue { epoch: from.i32()?, metadata_hash: number_tag(&mut from)? })
}

fn decode_target_epoch(bytes: &[u8]) -> Result<TargetEpochValue, RecordError> {
    let mut from = version_0(bytes)?;
    Ok(TargetEpochValue { epoch: from.i32()?, time: TimestampMs(number_tag(&mut from)?) })
}

fn count(from: &mut Reader<'_>) -> Result<usize, RecordError> {
    from.count(true)?.ok_or(RecordError::BadLength)
}

fn names(from: &mut Reader<'_>) -> Result<BTreeSet<String>, RecordError> {
    let mut names = BTreeSet::new();
    for _ in 0..count(from)? {
        names.insert(from.string(true)?);
    }
    Ok(names)
}

fn decode_member(bytes: &[u8]) -> Result<MemberMetadata, RecordError> {
    let mut from = version_0(bytes)?;
    let mut value = MemberMetadata {
        instance_id: from.nullable_string(true)?,
        rack_id: from.nullable_string(true)?,
        client_id: from.string(true)?,
        client_host: from.string(true)?,
        topics: names(&mut from)?,
        // Kafka writes an empty one for a member that has none any more.
        regex: from.nullable_string(true)?.filter(|regex| !regex.is_empty()),
        rebalance_timeout_ms: from.i32()?,
        assignor: from.nullable_string(true)?,
        classic: None,
    };
    from.tagged(|tag, field| {
        if tag == 0 && field.i8()? >= 0 {
            value.classic = Some(decode_classic(field)?);
        }
        Ok(())
    })?;
    Ok(value)
}

fn decode_classic(from: &mut Reader<'_>) -> Result<ClassicMetadata, RecordError> {
    let session_timeout_ms = from.i32()?;
    let mut protocols = Vec::new();
    for _ in 0..count(from)? {
        protocols.push((from.string(true)?, from.bytes(true)?));
        from.tagged(|_, _| Ok(()))?;
    }
    from.tagged(|_, _| Ok(()))?;
    Ok(ClassicMetadata { session_timeout_ms, protocols })
}

fn decode_target(bytes: &[u8]) -> Result<Partitions, RecordError> {
    let mut from = version_0(bytes)?;
    let mut target = Partitions::new();
    for _ in 0..count(&mut from)? {
        let topic = TopicId(from.uuid()?);
        for _ in 0..count(&mut from)? {
            let partition = from.i32()?;
            target.entry(topic).or_default().insert(partition);
        }
        from.tagged(|_, _| Ok(()))?;
    }
    from.tagged(|_, _| Ok(()))?;
    Ok(target)
}

fn decode_current(bytes: &[u8]) -> Result<CurrentValue, RecordError> {
    let mut from = version_0(bytes)?;
    let epoch = from.i32()?;
    let value = CurrentValue {
        epoch,
        previous_epoch: from.i32()?,
        state: MemberState::from_code(from.i8()?),
        assigned: decode_held(&mut from, epoch)?,
        revoking: decode_held(&mut from, epoch)?,
    };
    from.tagged(|_, _| Ok(()))?;
    Ok(value)
}

/// Partitions without an epoch of their own (Kafka before 4.3) are held since the member's.
fn decode_held(from: &mut Reader<'_>, member_epoch: i32) -> Result<Held, RecordError> {
    let mut held = Held::default();
    for _ in 0..count(from)? {
        let topic = TopicId(from.uuid()?);
        let mut partitions = Vec::new();
        for _ in 0..count(from)? {
            partitions.push(from.i32()?);
        }
        let mut epochs = Vec::new();
        from.tagged(|tag, field| {
            if tag == 0 {
                for _ in 0..field.count(true)?.unwrap_or(0) {
                    epochs.push(field.i32()?);
                }
            }
            Ok(())
        })?;
        let mut epochs = epochs.into_iter();
        for partition in partitions {
            held.insert(topic, partition, epochs.next().unwrap_or(member_epoch));
        }
    }
    Ok(held)
}

fn decode_regex(bytes: &[u8]) -> Result<ResolvedRegex, RecordError> {
    let mut from = version_0(bytes)?;
    let value =
        ResolvedRegex { topics: names(&mut from)?, version: from.i64()?, time: TimestampMs(from.i64()?) };
    from.tagged(|_, _| Ok(()))?;
    Ok(value)
}
