//! What members that use the classic protocol say and hear inside it (ConsumerProtocolSubscription and
//! ConsumerProtocolAssignment, versions 0 to 3).
#![deny(clippy::indexing_slicing)]

use std::collections::BTreeSet;

use bytes::Bytes;

use super::super::record::RecordError;
use super::super::wire::{Reader, Writer};
use super::partitions::Partitions;
use crate::metadata::Image;

/// The last version there is; a later one begins with all of this one.
const VERSION_MAX: i16 = 3;

/// What a member subscribes to, and what it still has.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Subscription {
    pub version: i16,
    pub topics: BTreeSet<String>,
    /// By names of topics.
    pub owned: Vec<(String, Vec<i32>)>,
    pub rack_id: Option<String>,
}

/// An assignment: partitions by names of topics, and whether a custom assignor said more.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Assignment {
    pub partitions: Vec<(String, Vec<i32>)>,
    pub has_user_data: bool,
}

fn version(from: &mut Reader<'_>) -> Result<i16, RecordError> {
    match from.i16()? {
        version if version < 0 => Err(RecordError::ValueVersion(version)),
        version => Ok(version.min(VERSION_MAX)),
    }
}

fn count(from: &mut Reader<'_>) -> Result<usize, RecordError> {
    from.count(false)?.ok_or(RecordError::BadLength)
}

fn read_partitions(from: &mut Reader<'_>) -> Result<Vec<(String, Vec<i32>)>, RecordError> {
    let mut all = Vec::new();
    for _ in 0..count(from)? {
        let topic = from.string(false)?;
        let mut partitions = Vec::new();
        for _ in 0..count(from)? {
            partitions.push(from.i32()?);
        }
        all.push((topic, partitions));
    }
    Ok(all)
}

fn user_data(from: &mut Reader<'_>) -> Result<bool, RecordError> {
    match from.count(false)? {
        Some(length) => Ok(!from.take(length)?.is_empty()),
        None => Ok(false),
    }
}

/// Reads a member's metadata, which may be anything.
pub(super) fn subscription(bytes: &[u8]) -> Result<Subscription, RecordError> {
    let mut from = Reader::new(bytes);
    let version = version(&mut from)?;
    let mut topics = BTreeSet::new();
    for _ in 0..count(&mut from)? {
        topics.insert(from.string(false)?);
    }
    user_data(&mut from)?;
    let owned = if version >= 1 { read_partitions(&mut from)? } else { Vec::new() };
    if version >= 2 {
        from.i32()?;
    }
    let rack_id = if version >= 3 { from.nullable_string(false)? } else { None };
    Ok(Subscription { version, topics, owned, rack_id })
}

/// Reads an assignment, which may be anything; no bytes are none.
pub(super) fn assignment(bytes: &[u8]) -> Result<Assignment, RecordError> {
    if bytes.is_empty() {
        return Ok(Assignment::default());
    }
    let mut from = Reader::new(bytes);
    version(&mut from)?;
    let partitions = read_partitions(&mut from)?;
    Ok(Assignment { partitions, has_user_data: user_data(&mut from)? })
}

/// An assignment as members read it. Topics that are gone are left out.
pub(super) fn encode_assignment(version: i16, partitions: &Partitions, image: &Image) -> Bytes {
    let named: Vec<_> = partitions
        .iter()
        .filter_map(|(topic, partitions)| Some((image.topic_by_id(*topic)?, partitions)))
        .collect();
    let mut out = Writer::default();
    out.i16(version).i32(i32::try_from(named.len()).unwrap_or(i32::MAX));
    for (topic, partitions) in named {
        out.string(&topic.name).i32(i32::try_from(partitions.len()).unwrap_or(i32::MAX));
        for &partition in partitions {
            out.i32(partition);
        }
    }
    // No user data.
    out.i32(-1).finish().into()
}

/// Partitions of topics that are there.
pub(super) fn with_ids(named: &[(String, Vec<i32>)], image: &Image) -> Partitions {
    let mut partitions = Partitions::new();
    for (name, of_topic) in named {
        if let (Some(topic), false) = (image.topic(name), of_topic.is_empty()) {
            partitions.entry(topic.id).or_default().extend(of_topic);
        }
    }
    partitions
}

#[cfg(test)]
mod tests {
    use model::TopicId;

    use super::*;
    use crate::metadata::{Overrides, Record};

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    }

    /// Written by Kafka 4.3.1's ConsumerProtocol, versions 0 to 3.
    const SUBSCRIPTIONS: [&str; 4] = [
        "0000000000020005617564697400066f7264657273ffffffff",
        "0001000000020005617564697400066f7264657273ffffffff0000000100066f72646572730000000100000001",
        "0002000000020005617564697400066f7264657273ffffffff0000000100066f7264657273000000010000000100000004",
        "0003000000020005617564697400066f7264657273ffffffff0000000100066f726465727300000001000000010000000400027231",
    ];

    #[test]
    fn subscriptions_of_every_version_are_read() {
        for (version, written) in (0..).zip(SUBSCRIPTIONS) {
            let read = subscription(&bytes(written)).unwrap();
            assert_eq!(read.version, version);
            assert!(read.topics.iter().map(String::as_str).eq(["audit", "orders"]));
            let owned = if version >= 1 { vec![("orders".to_owned(), vec![1])] } else { Vec::new() };
            assert_eq!(read.owned, owned);
            assert_eq!(read.rack_id.as_deref(), (version >= 3).then_some("r1"));
            for end in 0..written.len() / 2 {
                assert!(subscription(&bytes(written)[..end]).is_err(), "{written} cut at {end}");
            }
        }
        // A version of the future begins with all of this one.
        let newer = bytes(&SUBSCRIPTIONS[3].replacen("0003", "0009", 1));
        assert_eq!(subscription(&newer).unwrap().version, 3);
        assert!(subscription(&bytes("ffff00000000ffffffff")).is_err());
    }

    #[test]
    fn an_assignment_is_read_as_it_was_written() {
        let mut image = Image::default();
        let id = TopicId([7; 16]);
        let configs = Overrides::new();
        image.apply(1, &Record::TopicCreated { id, name: "orders".into(), partitions: 3, configs });
        let gone = TopicId([8; 16]);
        let partitions = Partitions::from([(id, [0, 2].into()), (gone, [1].into())]);
        let written = encode_assignment(1, &partitions, &image);
        assert_eq!(*written, *bytes("00010000000100066f7264657273000000020000000000000002ffffffff"));
        let read = assignment(&written).unwrap();
        assert_eq!(
            read,
            Assignment { partitions: vec![("orders".into(), vec![0, 2])], has_user_data: false }
        );
        assert_eq!(with_ids(&read.partitions, &image), Partitions::from([(id, [0, 2].into())]));
        assert_eq!(assignment(&[]), Ok(Assignment::default()));
        let custom = bytes("0001000000000000000103");
        assert!(assignment(&custom).unwrap().has_user_data);
        assert!(assignment(&bytes("00017fffffff")).is_err());
    }
}
