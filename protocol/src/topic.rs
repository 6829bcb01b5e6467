//! What Produce and Fetch have in common.

use bytes::BytesMut;
use model::limits::REQUEST_PARTITIONS_MAX;
use model::{LeaderEpoch, TopicId};

use crate::writer::Writer;
use crate::{DecodeError, Text, reader::Reader};

/// First version of Produce and of Fetch that says topics by id.
pub const TOPIC_ID_SINCE: i16 = 13;

/// A topic as a request names it: by name up to version 12 (the id is zero then), by id since (the name is empty).
/// A response repeats it.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct TopicRef {
    /// The name, or empty.
    pub name: Text,
    /// The id, or zero.
    pub id: TopicId,
}

impl TopicRef {
    pub(crate) fn read(reader: &mut Reader<'_>, version: i16) -> Result<Self, DecodeError> {
        if version >= TOPIC_ID_SINCE {
            Ok(Self { name: Text::default(), id: reader.topic_id()? })
        } else {
            Ok(Self { name: reader.string()?, id: TopicId::ZERO })
        }
    }

    pub(crate) fn write(&self, writer: &mut Writer, version: i16) {
        if version >= TOPIC_ID_SINCE {
            writer.raw(&self.id.0);
        } else {
            writer.string(&self.name);
        }
    }
}

/// Who leads a partition, told beside NOT_LEADER_OR_FOLLOWER so that the client need not ask (KIP-951).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LeaderHint {
    /// The leader's node id.
    pub leader_id: i32,
    /// The leader's epoch.
    pub leader_epoch: LeaderEpoch,
}

impl LeaderHint {
    pub(crate) fn content(self) -> BytesMut {
        Writer::content(|writer| {
            writer.i32(self.leader_id);
            writer.i32(self.leader_epoch.0);
            writer.tags(&[]);
        })
    }
}

/// Where a node that a [`LeaderHint`] names listens.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeEndpoint {
    /// Its node id.
    pub node_id: i32,
    /// Its host.
    pub host: Text,
    /// Its port.
    pub port: u16,
    /// Its rack, if it has one.
    pub rack: Option<Text>,
}

impl NodeEndpoint {
    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (node_id, host, port) = (reader.i32()?, reader.string()?, reader.i32()?);
        let rack = reader.nullable_string()?;
        reader.skip_tags()?;
        Ok(Self { node_id, host, port: u16::try_from(port).unwrap_or(0), rack })
    }

    /// All endpoints as one tagged field's content.
    pub(crate) fn content(endpoints: &[Self]) -> BytesMut {
        Writer::content(|writer| {
            writer.length(Some(endpoints.len()));
            for endpoint in endpoints {
                writer.i32(endpoint.node_id);
                writer.string(&endpoint.host);
                writer.i32(i32::from(endpoint.port));
                writer.nullable_string(endpoint.rack.as_deref());
                writer.tags(&[]);
            }
        })
    }
}

/// Counts partitions over all topics of one request against the maximum.
#[derive(Debug, Default)]
pub(crate) struct PartitionCount(usize);

impl PartitionCount {
    /// How many more there may be.
    pub(crate) const fn left(&self) -> usize {
        REQUEST_PARTITIONS_MAX.saturating_sub(self.0)
    }

    pub(crate) const fn add(&mut self, count: usize) {
        self.0 += count;
    }
}
