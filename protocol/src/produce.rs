//! Produce, versions 3 to 13: the records of each partition are slices of the request's frame.
#![deny(clippy::indexing_slicing)]

use bytes::{Bytes, BytesMut};
use model::limits::REQUEST_PARTITIONS_MAX;
use model::{ErrorCode, Offset, TimestampMs};

use crate::reader::Reader;
use crate::topic::PartitionCount;
use crate::writer::Writer;
use crate::{DecodeError, LeaderHint, NodeEndpoint, RequestHeader, Text, TopicRef};

/// First version whose batches may be compressed with Zstandard.
pub const ZSTD_SINCE: i16 = 7;
/// First version whose answer explains errors in words.
pub(crate) const ERROR_MESSAGE_SINCE: i16 = 8;
/// First version that tells the log start offset.
pub(crate) const LOG_START_SINCE: i16 = 5;
/// First version that tells the current leader (KIP-951).
pub(crate) const LEADER_HINT_SINCE: i16 = 10;

/// Records for some partitions.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ProduceRequest {
    /// Of a transactional producer.
    pub transactional_id: Option<Text>,
    /// When to answer: 0 never, 1 once the leader has it, -1 once all in-sync replicas have it.
    pub acks: i16,
    /// How long the client waits for the other replicas.
    pub timeout_ms: i32,
    /// What goes where. Neither topics nor partitions need be distinct.
    pub topics: Vec<ProduceTopic>,
}

/// The partitions of one topic.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ProduceTopic {
    /// Which topic.
    pub topic: TopicRef,
    /// Records per partition.
    pub partitions: Vec<ProducePartition>,
}

/// The records for one partition.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ProducePartition {
    /// Which partition, as sent.
    pub index: i32,
    /// Should be exactly one batch; not validated.
    pub records: Option<Bytes>,
}

impl ProduceRequest {
    /// Reads the body of `frame` behind `header`. Bytes after the body are passed over, as Kafka does.
    ///
    /// # Errors
    /// [`DecodeError`]: the connection must close.
    pub fn decode(header: &RequestHeader, frame: &Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(frame, header.body_at, header.is_flexible());
        Self::read(&mut reader, header.api_version)
    }

    fn read(reader: &mut Reader<'_>, version: i16) -> Result<Self, DecodeError> {
        let transactional_id = reader.nullable_string()?;
        let (acks, timeout_ms) = (reader.i16()?, reader.i32()?);
        let mut count = PartitionCount::default();
        let topics =
            reader.list(REQUEST_PARTITIONS_MAX, |reader| ProduceTopic::read(reader, version, &mut count))?;
        reader.skip_tags()?;
        Ok(Self { transactional_id, acks, timeout_ms, topics })
    }
}

impl ProduceTopic {
    fn read(reader: &mut Reader<'_>, version: i16, count: &mut PartitionCount) -> Result<Self, DecodeError> {
        let topic = TopicRef::read(reader, version)?;
        let partitions = reader.list(count.left(), |reader| {
            let partition = ProducePartition { index: reader.i32()?, records: reader.nullable_bytes()? };
            reader.skip_tags()?;
            Ok(partition)
        })?;
        count.add(partitions.len());
        reader.skip_tags()?;
        Ok(Self { topic, partitions })
    }
}

/// What became of the records.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ProduceResponse {
    /// In the order of the request.
    pub topics: Vec<ProduceTopicResponse>,
    /// How long the client should wait because of quotas.
    pub throttle_time_ms: i32,
    /// Where the leaders named in hints listen. Sent since version 10.
    pub node_endpoints: Vec<NodeEndpoint>,
}

/// What became of one topic's records.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ProduceTopicResponse {
    /// As in the request.
    pub topic: TopicRef,
    /// In the order of the request.
    pub partitions: Vec<ProducePartitionResponse>,
}

/// What became of one partition's records.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProducePartitionResponse {
    /// As in the request.
    pub index: i32,
    /// Why not, or none.
    pub error: ErrorCode,
    /// The offset of the first record, or -1.
    pub base_offset: Offset,
    /// When the broker stamped it, for LogAppendTime; else -1.
    pub log_append_time: TimestampMs,
    /// First offset of the log, or -1. Sent since version 5.
    pub log_start_offset: Offset,
    /// The records that made the batch be refused, by their place in it. Sent since version 8.
    pub record_errors: Vec<(i32, Option<Text>)>,
    /// The error in words. Sent since version 8.
    pub error_message: Option<Text>,
    /// Who leads instead. Sent since version 10.
    pub current_leader: Option<LeaderHint>,
}

impl ProducePartitionResponse {
    /// The answer to records that were not appended.
    #[must_use]
    pub fn refused(index: i32, error: ErrorCode, message: Option<&str>) -> Self {
        Self {
            index,
            error,
            base_offset: Offset::NONE,
            log_append_time: TimestampMs::NONE,
            log_start_offset: Offset::NONE,
            record_errors: Vec::new(),
            error_message: message.map(Text::from),
            current_leader: None,
        }
    }

    /// The answer to records that were appended (or had been before) at `base_offset`.
    #[must_use]
    pub fn appended(
        index: i32,
        base_offset: Offset,
        log_append_time: TimestampMs,
        log_start_offset: Offset,
    ) -> Self {
        let none = Self::refused(index, ErrorCode::None, None);
        Self { base_offset, log_append_time, log_start_offset, ..none }
    }

    fn write(&self, writer: &mut Writer, version: i16) {
        writer.i32(self.index);
        writer.i16(self.error.code());
        writer.i64(self.base_offset.0);
        writer.i64(self.log_append_time.0);
        if version >= LOG_START_SINCE {
            writer.i64(self.log_start_offset.0);
        }
        if version >= ERROR_MESSAGE_SINCE {
            writer.length(Some(self.record_errors.len()));
            for (batch_index, message) in &self.record_errors {
                writer.i32(*batch_index);
                writer.nullable_string(message.as_deref());
                writer.tags(&[]);
            }
            writer.nullable_string(self.error_message.as_deref());
        }
        match self.current_leader {
            Some(leader) if version >= LEADER_HINT_SINCE => writer.tags(&[(0, leader.content())]),
            _ => writer.tags(&[]),
        }
    }
}

impl ProduceResponse {
    /// The whole response to the request of `header`, but for the length prefix.
    #[must_use]
    pub fn encode(&self, header: &RequestHeader) -> Bytes {
        let version = header.api_version;
        let partitions: usize = self.topics.iter().map(|topic| topic.partitions.len()).sum();
        let mut out = BytesMut::with_capacity(64 + 64 * (self.topics.len() + partitions));
        header.begin_response(&mut out);
        let mut writer = Writer::new(out, header.is_flexible());
        writer.length(Some(self.topics.len()));
        for topic in &self.topics {
            topic.topic.write(&mut writer, version);
            writer.length(Some(topic.partitions.len()));
            for partition in &topic.partitions {
                partition.write(&mut writer, version);
            }
            writer.tags(&[]);
        }
        writer.i32(self.throttle_time_ms);
        if version >= LEADER_HINT_SINCE && !self.node_endpoints.is_empty() {
            writer.tags(&[(0, NodeEndpoint::content(&self.node_endpoints))]);
        } else {
            writer.tags(&[]);
        }
        writer.out.freeze()
    }
}
