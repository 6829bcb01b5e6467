//! The bytes of the records.
#![deny(clippy::indexing_slicing)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::TopicId;

use super::{CurrentValue, Decoded, MemberValue, Record, StateTopic, StateTopics};
use crate::group::RecordError;
use crate::group::wire::{Reader, Writer};
use crate::share::membership::Assignment;

/// Key and value as Kafka 4.3.1 writes them.
#[must_use]
pub fn encode(record: &Record) -> (Vec<u8>, Option<Vec<u8>>) {
    let of_group = |kind: i16, group: &str| Writer::default().i16(kind).string(group).finish();
    let of_member = |kind: i16, group: &str, member: &str| {
        Writer::default().i16(kind).string(group).string(member).finish()
    };
    match record {
        Record::Member { group, member, value } => {
            (of_member(10, group, member), value.as_deref().map(encode_member))
        }
        Record::Epoch { group, value } => {
            let write = |(epoch, hash): &(i32, i64)| {
                Writer::default().i16(0).i32(*epoch).i64(*hash).untagged().finish()
            };
            (of_group(11, group), value.as_ref().map(write))
        }
        Record::TargetEpoch { group, value } => (of_group(12, group), value.map(encode_target_epoch)),
        Record::Target { group, member, value } => {
            let write = |value: &Assignment| {
                let mut out = Writer::default();
                encode_assignment(out.i16(0), value);
                out.untagged().finish()
            };
            (of_member(13, group, member), value.as_deref().map(write))
        }
        Record::Current { group, member, value } => {
            (of_member(14, group, member), value.as_deref().map(encode_current))
        }
        Record::Topics { group, value } => (of_group(15, group), value.as_deref().map(encode_topics)),
    }
}

fn encode_member(value: &MemberValue) -> Vec<u8> {
    let mut out = Writer::default();
    out.i16(0).compact_nullable_string(value.rack.as_deref());
    out.compact_string(&value.client_id).compact_string(&value.client_host);
    out.compact_count(value.topics.len());
    for topic in &value.topics {
        out.compact_string(topic);
    }
    out.untagged().finish()
}

/// The time is a tagged field (Kafka 4.3) that is left out when it is 0.
fn encode_target_epoch((epoch, made): (i32, i64)) -> Vec<u8> {
    let mut out = Writer::default();
    out.i16(0).i32(epoch);
    if made == 0 {
        out.untagged()
    } else {
        out.unsigned(1).unsigned(0).unsigned(8).i64(made)
    };
    out.finish()
}

fn encode_partitions<'a>(out: &'a mut Writer, partitions: &BTreeSet<i32>) -> &'a mut Writer {
    out.compact_count(partitions.len());
    for partition in partitions {
        out.i32(*partition);
    }
    out
}

fn encode_assignment(out: &mut Writer, value: &Assignment) {
    out.compact_count(value.0.len());
    for (topic, partitions) in &value.0 {
        encode_partitions(out.put(&topic.0), partitions).untagged();
    }
}

fn encode_current(value: &CurrentValue) -> Vec<u8> {
    let mut out = Writer::default();
    out.i16(0).i32(value.epoch).i32(value.previous_epoch).i8(value.state);
    encode_assignment(&mut out, &value.assigned);
    out.untagged().finish()
}

fn encode_topics(value: &StateTopics) -> Vec<u8> {
    let mut out = Writer::default();
    out.i16(0);
    for topics in [&value.initializing, &value.initialized] {
        out.compact_count(topics.len());
        for (id, topic) in topics {
            encode_partitions(out.put(&id.0).compact_string(&topic.name), &topic.partitions).untagged();
        }
    }
    out.compact_count(value.deleting.len());
    for (id, name) in &value.deleting {
        out.put(&id.0).compact_string(name).untagged();
    }
    out.untagged().finish()
}

/// Reads what [`encode`] or Kafka since 4.1 wrote.
///
/// # Errors
/// Bytes that are no such record. They may be anything.
pub fn decode(key: &[u8], value: Option<&[u8]>) -> Result<Decoded, RecordError> {
    let mut key = Reader::new(key);
    let kind = key.i16()?;
    if !(10..=15).contains(&kind) {
        return Ok(Decoded::Unknown(kind));
    }
    let group: Arc<str> = key.string(false)?.into();
    let member: Arc<str> = if matches!(kind, 10 | 13 | 14) { key.string(false)?.into() } else { "".into() };
    let record = match kind {
        10 => Record::Member { group, member, value: value.map(decode_member).transpose()?.map(Arc::new) },
        11 => Record::Epoch { group, value: value.map(decode_epoch).transpose()? },
        12 => Record::TargetEpoch { group, value: value.map(decode_target_epoch).transpose()? },
        13 => Record::Target { group, member, value: value.map(decode_target).transpose()?.map(Arc::new) },
        14 => Record::Current { group, member, value: value.map(decode_current).transpose()?.map(Arc::new) },
        _ => Record::Topics { group, value: value.map(decode_topics).transpose()?.map(Arc::new) },
    };
    Ok(Decoded::Record(record))
}

fn versioned(bytes: &[u8]) -> Result<Reader<'_>, RecordError> {
    let mut from = Reader::new(bytes);
    match from.i16()? {
        0 => Ok(from),
        version => Err(RecordError::ValueVersion(version)),
    }
}

fn count(from: &mut Reader<'_>) -> Result<usize, RecordError> {
    from.count(true)?.ok_or(RecordError::BadLength)
}

fn decode_member(bytes: &[u8]) -> Result<MemberValue, RecordError> {
    let mut from = versioned(bytes)?;
    let rack = from.nullable_string(true)?;
    let (client_id, client_host) = (from.string(true)?, from.string(true)?);
    let mut topics = Vec::new();
    for _ in 0..count(&mut from)? {
        topics.push(from.string(true)?);
    }
    from.tagged(|_, _| Ok(()))?;
    Ok(MemberValue { rack, client_id, client_host, topics })
}

fn decode_epoch(bytes: &[u8]) -> Result<(i32, i64), RecordError> {
    let mut from = versioned(bytes)?;
    let value = (from.i32()?, from.i64()?);
    from.tagged(|_, _| Ok(()))?;
    Ok(value)
}

fn decode_target_epoch(bytes: &[u8]) -> Result<(i32, i64), RecordError> {
    let mut from = versioned(bytes)?;
    let epoch = from.i32()?;
    let mut made = 0;
    from.tagged(|tag, field| {
        if tag == 0 {
            made = field.i64()?;
        }
        Ok(())
    })?;
    Ok((epoch, made))
}

fn decode_partitions(from: &mut Reader<'_>) -> Result<BTreeSet<i32>, RecordError> {
    let mut partitions = BTreeSet::new();
    for _ in 0..count(from)? {
        partitions.insert(from.i32()?);
    }
    Ok(partitions)
}

fn decode_assignment(from: &mut Reader<'_>) -> Result<Assignment, RecordError> {
    let mut topics = BTreeMap::new();
    for _ in 0..count(from)? {
        let topic = TopicId(from.uuid()?);
        let partitions = decode_partitions(from)?;
        from.tagged(|_, _| Ok(()))?;
        topics.insert(topic, partitions);
    }
    Ok(Assignment(topics))
}

fn decode_target(bytes: &[u8]) -> Result<Assignment, RecordError> {
    let mut from = versioned(bytes)?;
    let value = decode_assignment(&mut from)?;
    from.tagged(|_, _| Ok(()))?;
    Ok(value)
}

fn decode_current(bytes: &[u8]) -> Result<CurrentValue, RecordError> {
    let mut from = versioned(bytes)?;
    let (epoch, previous_epoch, state) = (from.i32()?, from.i32()?, from.i8()?);
    let assigned = decode_assignment(&mut from)?;
    from.tagged(|_, _| Ok(()))?;
    Ok(CurrentValue { epoch, previous_epoch, state, assigned })
}

fn decode_topics(bytes: &[u8]) -> Result<StateTopics, RecordError> {
    let mut from = versioned(bytes)?;
    let mut value = StateTopics::default();
    for topics in [&mut value.initializing, &mut value.initialized] {
        for _ in 0..count(&mut from)? {
            let id = TopicId(from.uuid()?);
            let name = from.string(true)?;
            let partitions = decode_partitions(&mut from)?;
            from.tagged(|_, _| Ok(()))?;
            topics.insert(id, StateTopic { name, partitions });
        }
    }
    for _ in 0..count(&mut from)? {
        let id = TopicId(from.uuid()?);
        let name = from.string(true)?;
        from.tagged(|_, _| Ok(()))?;
        value.deleting.insert(id, name);
    }
    from.tagged(|_, _| Ok(()))?;
    Ok(value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn assignment() -> Assignment {
        Assignment(BTreeMap::from([(TopicId([7; 16]), BTreeSet::from([0, 2]))]))
    }

    fn all() -> Vec<(Record, String, String)> {
        let (group, member): (Arc<str>, Arc<str>) = ("g".into(), "m".into());
        let both = || (Arc::clone(&group), Arc::clone(&member));
        let topic = "07".repeat(16);
        let (g, m) = both();
        let value = MemberValue {
            rack: None,
            client_id: "c".into(),
            client_host: "/h".into(),
            topics: vec!["t".into()],
        };
        let mut list = vec![(
            Record::Member { group: g, member: m, value: Some(Arc::new(value)) },
            "000a00016700016d".to_owned(),
            "0000000263032f6802027400".to_owned(),
        )];
        let epoch = Record::Epoch { group: both().0, value: Some((3, -2)) };
        list.push((epoch, "000b000167".into(), "000000000003fffffffffffffffe00".into()));
        let target = |made| Record::TargetEpoch { group: both().0, value: Some((3, made)) };
        list.push((target(0), "000c000167".into(), "00000000000300".into()));
        list.push((target(258), "000c000167".into(), "0000000000030100080000000000000102".into()));
        let (g, m) = both();
        let shares = format!("02{topic}030000000000000002{}", "00");
        list.push((
            Record::Target { group: g, member: m, value: Some(Arc::new(assignment())) },
            "000d00016700016d".into(),
            format!("0000{shares}00"),
        ));
        let (g, m) = both();
        let value = CurrentValue { epoch: 4, previous_epoch: 3, state: 0, assigned: assignment() };
        list.push((
            Record::Current { group: g, member: m, value: Some(Arc::new(value)) },
            "000e00016700016d".into(),
            format!("0000000000040000000300{shares}00"),
        ));
        let known = StateTopic { name: "t".into(), partitions: BTreeSet::from([1]) };
        let value = StateTopics {
            initializing: BTreeMap::new(),
            initialized: BTreeMap::from([(TopicId([7; 16]), known)]),
            deleting: BTreeMap::from([(TopicId([7; 16]), "u".to_owned())]),
        };
        list.push((
            Record::Topics { group: both().0, value: Some(Arc::new(value)) },
            "000f000167".into(),
            format!("00000102{topic}027402000000010002{topic}02750000"),
        ));
        list
    }

    /// By the schemas of Kafka 4.3.1, field by field.
    #[test]
    fn records_are_laid_out_as_the_schemas_say() {
        for (record, key, value) in all() {
            let (written_key, written) = encode(&record);
            assert_eq!((hex(&written_key), hex(&written.unwrap())), (key, value), "{record:?}");
        }
    }

    #[test]
    fn what_is_written_is_read_and_damage_is_an_error() {
        for (record, ..) in all() {
            let (key, value) = encode(&record);
            let value = value.unwrap();
            assert_eq!(decode(&key, Some(&value)), Ok(Decoded::Record(record)));
            assert!(matches!(decode(&key, None), Ok(Decoded::Record(_))));
            for end in 0..key.len() {
                assert!(decode(&key[..end], Some(&value)).is_err());
            }
            for end in 0..value.len() {
                assert!(decode(&key, Some(&value[..end])).is_err());
            }
            assert_eq!(decode(&key, Some(&[0, 1])), Err(RecordError::ValueVersion(1)));
        }
        assert_eq!(decode(&[0, 9], None), Ok(Decoded::Unknown(9)));
        assert_eq!(decode(&[0, 16], None), Ok(Decoded::Unknown(16)));
    }

    proptest! {
        #[test]
        fn anything_is_read_or_refused(kind in 9..17_i16, key in proptest::collection::vec(any::<u8>(), 0..40),
                                       value in proptest::collection::vec(any::<u8>(), 0..90)) {
            let mut odd = kind.to_be_bytes().to_vec();
            odd.extend(&key);
            let _ = decode(&odd, Some(&value));
            let mut zero = vec![0, 0];
            zero.extend(&value);
            for (record, ..) in all() {
                let (key, _) = encode(&record);
                if let Ok(Decoded::Record(read)) = decode(&key, Some(&zero)) {
                    let (key, value) = encode(&read);
                    prop_assert_eq!(decode(&key, value.as_deref()), Ok(Decoded::Record(read)));
                }
            }
        }
    }
}
