//! Fetch, versions 4 to 18: names and racks are slices of the request's frame, and the records of a response are
//! pieces that the caller supplies and nobody copies.
#![deny(clippy::indexing_slicing)]

use bytes::{Bytes, BytesMut};
use model::limits::REQUEST_PARTITIONS_MAX;
use model::{ErrorCode, LeaderEpoch, Offset, ProducerId};

use crate::reader::Reader;
use crate::topic::PartitionCount;
use crate::writer::Writer;
use crate::{DecodeError, LeaderHint, NodeEndpoint, RequestHeader, Text, TopicRef};

/// First version with fetch sessions (KIP-227): before, every request is a full one without a session.
pub const SESSIONS_SINCE: i16 = 7;
pub(crate) const LOG_START_SINCE: i16 = 5;
pub(crate) const CURRENT_EPOCH_SINCE: i16 = 9;
pub(crate) const RACK_SINCE: i16 = 11;
pub(crate) const LAST_FETCHED_EPOCH_SINCE: i16 = 12;
pub(crate) const REPLICA_STATE_SINCE: i16 = 15;
const NODE_ENDPOINTS_SINCE: i16 = 16;
pub(crate) const DIRECTORY_ID_SINCE: i16 = 17;
pub(crate) const HIGH_WATERMARK_SINCE: i16 = 18;

/// What a consumer or a follower asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FetchRequest {
    /// The cluster that the client believes it talks to. Version 12 and later.
    pub cluster_id: Option<Text>,
    /// The follower's broker id, or -1 of a consumer.
    pub replica_id: i32,
    /// The follower's broker epoch, or -1. Version 15 and later.
    pub replica_epoch: i64,
    /// How long to wait for `min_bytes`.
    pub max_wait_ms: i32,
    /// Answer at once when there is this much.
    pub min_bytes: i32,
    /// Answer with at most this much, but for the first batch.
    pub max_bytes: i32,
    /// 0: all records, 1: only those of committed transactions; anything else as it came.
    pub isolation_level: i8,
    /// The fetch session, or 0.
    pub session_id: i32,
    /// The session's epoch: 0 begins one, -1 ends it (and is what versions without sessions mean).
    pub session_epoch: i32,
    /// Partitions to fetch, or to change in the session.
    pub topics: Vec<FetchTopic>,
    /// Partitions to remove from the session.
    pub forgotten: Vec<ForgottenTopic>,
    /// The client's rack, or empty.
    pub rack_id: Text,
}

/// The partitions of one topic.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct FetchTopic {
    /// Which topic.
    pub topic: TopicRef,
    /// Which of its partitions.
    pub partitions: Vec<FetchPartition>,
}

/// Where to read one partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FetchPartition {
    /// Which partition, as sent.
    pub index: i32,
    /// The leader epoch that the client knows, or -1.
    pub current_leader_epoch: LeaderEpoch,
    /// The first offset that it wants.
    pub fetch_offset: Offset,
    /// The epoch of the last record that it has, or -1.
    pub last_fetched_epoch: LeaderEpoch,
    /// A follower's own log start offset, or -1.
    pub log_start_offset: Offset,
    /// At most this much of this partition, but for the first batch.
    pub max_bytes: i32,
    /// A follower's log directory, or zero.
    pub replica_directory_id: [u8; 16],
    /// The high watermark that a follower knows; the largest number when it does not say.
    pub high_watermark: Offset,
}

/// Partitions of one topic to remove from a session.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ForgottenTopic {
    /// Which topic.
    pub topic: TopicRef,
    /// Which of its partitions.
    pub partitions: Vec<i32>,
}

impl FetchRequest {
    /// Reads the body of `frame` behind `header`. Bytes after the body are passed over, as Kafka does.
    ///
    /// # Errors
    /// [`DecodeError`]: the connection must close.
    pub fn decode(header: &RequestHeader, frame: &Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(frame, header.body_at, header.is_flexible());
        Self::read(&mut reader, header.api_version)
    }

    fn read(reader: &mut Reader<'_>, version: i16) -> Result<Self, DecodeError> {
        let mut replica_id = if version < REPLICA_STATE_SINCE { reader.i32()? } else { -1 };
        let (max_wait_ms, min_bytes, max_bytes) = (reader.i32()?, reader.i32()?, reader.i32()?);
        let isolation_level = reader.i8()?;
        let (session_id, session_epoch) =
            if version >= SESSIONS_SINCE { (reader.i32()?, reader.i32()?) } else { (0, -1) };
        let mut count = PartitionCount::default();
        let topics =
            reader.list(REQUEST_PARTITIONS_MAX, |reader| FetchTopic::read(reader, version, &mut count))?;
        let forgotten = if version >= SESSIONS_SINCE {
            reader.list(REQUEST_PARTITIONS_MAX, |reader| ForgottenTopic::read(reader, version, &mut count))?
        } else {
            Vec::new()
        };
        let rack_id = if version >= RACK_SINCE { reader.string()? } else { Text::default() };
        let (mut cluster_id, mut replica_epoch) = (None, -1);
        reader.tags(|tag, reader| {
            match tag {
                0 => cluster_id = reader.nullable_string()?,
                1 if version >= REPLICA_STATE_SINCE => {
                    (replica_id, replica_epoch) = (reader.i32()?, reader.i64()?);
                    reader.skip_tags()?;
                }
                _ => {}
            }
            Ok(())
        })?;
        Ok(Self {
            cluster_id,
            replica_id,
            replica_epoch,
            max_wait_ms,
            min_bytes,
            max_bytes,
            isolation_level,
            session_id,
            session_epoch,
            topics,
            forgotten,
            rack_id,
        })
    }
}

impl FetchTopic {
    fn read(reader: &mut Reader<'_>, version: i16, count: &mut PartitionCount) -> Result<Self, DecodeError> {
        let topic = TopicRef::read(reader, version)?;
        let partitions = reader.list(count.left(), |reader| FetchPartition::read(reader, version))?;
        count.add(partitions.len());
        reader.skip_tags()?;
        Ok(Self { topic, partitions })
    }
}

impl FetchPartition {
    fn read(reader: &mut Reader<'_>, version: i16) -> Result<Self, DecodeError> {
        let index = reader.i32()?;
        let current_leader_epoch = if version >= CURRENT_EPOCH_SINCE { reader.i32()? } else { -1 };
        let fetch_offset = reader.i64()?;
        let last_fetched_epoch = if version >= LAST_FETCHED_EPOCH_SINCE { reader.i32()? } else { -1 };
        let log_start_offset = if version >= LOG_START_SINCE { reader.i64()? } else { -1 };
        let max_bytes = reader.i32()?;
        let (mut replica_directory_id, mut high_watermark) = ([0; 16], i64::MAX);
        reader.tags(|tag, reader| {
            match tag {
                0 if version >= DIRECTORY_ID_SINCE => replica_directory_id = reader.uuid()?,
                1 if version >= HIGH_WATERMARK_SINCE => high_watermark = reader.i64()?,
                _ => {}
            }
            Ok(())
        })?;
        Ok(Self {
            index,
            current_leader_epoch: LeaderEpoch(current_leader_epoch),
            fetch_offset: Offset(fetch_offset),
            last_fetched_epoch: LeaderEpoch(last_fetched_epoch),
            log_start_offset: Offset(log_start_offset),
            max_bytes,
            replica_directory_id,
            high_watermark: Offset(high_watermark),
        })
    }
}

impl ForgottenTopic {
    fn read(reader: &mut Reader<'_>, version: i16, count: &mut PartitionCount) -> Result<Self, DecodeError> {
        let topic = TopicRef::read(reader, version)?;
        let partitions = reader.list(count.left(), Reader::i32)?;
        count.add(partitions.len());
        reader.skip_tags()?;
        Ok(Self { topic, partitions })
    }
}

/// One piece of a response: bytes of ours, or a run of log bytes wherever they lie.
pub trait Piece: From<Bytes> {
    /// Bytes in this piece.
    fn size_bytes(&self) -> usize;
}

impl Piece for Bytes {
    fn size_bytes(&self) -> usize {
        self.len()
    }
}

/// The answer to a fetch, with records in pieces of type `P`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FetchResponse<P> {
    /// How long the client should wait because of quotas.
    pub throttle_time_ms: i32,
    /// An error of the request as a whole, as of its session. Sent since version 7.
    pub error: ErrorCode,
    /// The fetch session, or 0. Sent since version 7.
    pub session_id: i32,
    /// What was asked for; in a session, what changed.
    pub topics: Vec<FetchTopicResponse<P>>,
    /// Where the leaders named in hints listen. Sent since version 16.
    pub node_endpoints: Vec<NodeEndpoint>,
}

/// The answer for one topic.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FetchTopicResponse<P> {
    /// As in the request.
    pub topic: TopicRef,
    /// The answer per partition.
    pub partitions: Vec<FetchPartitionResponse<P>>,
}

/// The answer for one partition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FetchPartitionResponse<P> {
    /// As in the request.
    pub index: i32,
    /// Why not, or none.
    pub error: ErrorCode,
    /// Records below are on all in-sync replicas; -1 with an error.
    pub high_watermark: Offset,
    /// Records below belong to no open transaction; -1 with an error.
    pub last_stable_offset: Offset,
    /// First offset of the log, or -1. Sent since version 5.
    pub log_start_offset: Offset,
    /// Where the client's log and this one part. Sent since version 12.
    pub diverging_epoch: Option<EpochEnd>,
    /// Who leads instead. Sent since version 12.
    pub current_leader: Option<LeaderHint>,
    /// Aborted transactions among the records, for those who read committed; none for the others.
    pub aborted_transactions: Option<Vec<AbortedTransaction>>,
    /// A nearer replica to read from, or -1. Sent since version 11.
    pub preferred_read_replica: i32,
    /// Whole batches, one after the other.
    pub records: Vec<P>,
}

/// The end of an epoch in the leader's log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EpochEnd {
    /// The epoch.
    pub epoch: LeaderEpoch,
    /// The offset after its last record.
    pub end_offset: Offset,
}

/// An aborted transaction whose records a reader of committed ones must leave out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AbortedTransaction {
    /// Whose.
    pub producer_id: ProducerId,
    /// Its first record.
    pub first_offset: Offset,
}

impl<P: Piece> FetchPartitionResponse<P> {
    /// The answer where nothing can be read.
    #[must_use]
    pub const fn refused(index: i32, error: ErrorCode) -> Self {
        Self {
            index,
            error,
            high_watermark: Offset::NONE,
            last_stable_offset: Offset::NONE,
            log_start_offset: Offset::NONE,
            diverging_epoch: None,
            current_leader: None,
            aborted_transactions: None,
            preferred_read_replica: -1,
            records: Vec::new(),
        }
    }

    /// Bytes of records in this answer.
    #[must_use]
    pub fn records_bytes(&self) -> usize {
        self.records.iter().map(Piece::size_bytes).sum()
    }

    fn write_front(&self, writer: &mut Writer, version: i16) {
        writer.i32(self.index);
        writer.i16(self.error.code());
        writer.i64(self.high_watermark.0);
        writer.i64(self.last_stable_offset.0);
        if version >= LOG_START_SINCE {
            writer.i64(self.log_start_offset.0);
        }
        writer.length(self.aborted_transactions.as_ref().map(Vec::len));
        for aborted in self.aborted_transactions.iter().flatten() {
            writer.i64(aborted.producer_id.0);
            writer.i64(aborted.first_offset.0);
            writer.tags(&[]);
        }
        if version >= RACK_SINCE {
            writer.i32(self.preferred_read_replica);
        }
        writer.length(Some(self.records_bytes()));
    }

    fn write_tags(&self, writer: &mut Writer) {
        if self.diverging_epoch.is_none() && self.current_leader.is_none() {
            return writer.tags(&[]);
        }
        let mut fields = Vec::new();
        if let Some(diverging) = self.diverging_epoch {
            fields.push((0, diverging.content()));
        }
        if let Some(leader) = self.current_leader {
            fields.push((1, leader.content()));
        }
        writer.tags(&fields);
    }
}

impl EpochEnd {
    fn content(self) -> BytesMut {
        Writer::content(|writer| {
            writer.i32(self.epoch.0);
            writer.i64(self.end_offset.0);
            writer.tags(&[]);
        })
    }
}

impl<P: Piece> FetchResponse<P> {
    /// An answer without partitions, as to a broken session.
    #[must_use]
    pub const fn empty(error: ErrorCode, session_id: i32) -> Self {
        Self { throttle_time_ms: 0, error, session_id, topics: Vec::new(), node_endpoints: Vec::new() }
    }

    /// The whole response to the request of `header`, but for the length prefix: the records' pieces as given, and
    /// pieces of our own around them.
    #[must_use]
    pub fn encode(self, header: &RequestHeader) -> Vec<P> {
        let version = header.api_version;
        let partitions: usize = self.topics.iter().map(|topic| topic.partitions.len()).sum();
        let mut out = BytesMut::with_capacity(64 + 64 * (self.topics.len() + partitions));
        header.begin_response(&mut out);
        let mut writer = Writer::new(out, header.is_flexible());
        let mut pieces = Vec::new();
        writer.i32(self.throttle_time_ms);
        if version >= SESSIONS_SINCE {
            writer.i16(self.error.code());
            writer.i32(self.session_id);
        }
        writer.length(Some(self.topics.len()));
        for topic in self.topics {
            topic.topic.write(&mut writer, version);
            writer.length(Some(topic.partitions.len()));
            for mut partition in topic.partitions {
                partition.write_front(&mut writer, version);
                if !partition.records.is_empty() {
                    pieces.push(P::from(writer.out.split().freeze()));
                    pieces.append(&mut partition.records);
                }
                partition.write_tags(&mut writer);
            }
            writer.tags(&[]);
        }
        if version >= NODE_ENDPOINTS_SINCE && !self.node_endpoints.is_empty() {
            writer.tags(&[(0, NodeEndpoint::content(&self.node_endpoints))]);
        } else {
            writer.tags(&[]);
        }
        if !writer.out.is_empty() {
            pieces.push(P::from(writer.out.freeze()));
        }
        pieces
    }
}
