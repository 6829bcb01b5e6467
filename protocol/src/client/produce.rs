//! Produce as a client sends it and reads its answer.
#![deny(clippy::indexing_slicing)]

use bytes::{Bytes, BytesMut};
use model::limits::REQUEST_PARTITIONS_MAX;
use model::{Offset, TimestampMs};

use super::{ClientHead, begin_answer, error_code, finish, leader_hint};
use crate::api::ApiKey;
use crate::produce::{
    ERROR_MESSAGE_SINCE, LEADER_HINT_SINCE, LOG_START_SINCE, ProducePartitionResponse, ProduceRequest,
    ProduceResponse, ProduceTopicResponse,
};
use crate::reader::Reader;
use crate::topic::PartitionCount;
use crate::writer::Writer;
use crate::{DecodeError, NodeEndpoint, TopicRef};

/// Writes a Produce request around records that lie elsewhere: its own bytes, split where records belong.
///
/// Call [`Self::topic`] for each topic, within it [`Self::partition`] and [`Self::end_partition`] for each partition, and
/// [`Self::end_topic`]; the records go between the bytes before and after [`Self::len`] at `end_partition`.
#[derive(Debug)]
pub struct ProduceWriter {
    writer: Writer,
    version: i16,
    at: usize,
    elsewhere: usize,
}

impl ProduceWriter {
    /// Begins a request to `topics` topics behind what `out` holds, its length included.
    #[must_use]
    pub fn begin(out: BytesMut, head: &ClientHead<'_>, acks: i16, timeout_ms: i32, topics: usize) -> Self {
        let at = out.len();
        let mut writer = head.begin(out, ApiKey::Produce);
        writer.nullable_string(None);
        writer.i16(acks);
        writer.i32(timeout_ms);
        writer.length(Some(topics));
        Self { writer, version: head.version, at, elsewhere: 0 }
    }

    /// Begins a topic with so many partitions.
    pub fn topic(&mut self, topic: &TopicRef, partitions: usize) {
        topic.write(&mut self.writer, self.version);
        self.writer.length(Some(partitions));
    }

    /// Begins a partition with so many bytes of records, which follow what is written so far.
    pub fn partition(&mut self, index: i32, records_bytes: usize) {
        self.writer.i32(index);
        self.writer.length(Some(records_bytes));
        self.elsewhere += records_bytes;
    }

    /// Copies records, or the front of them, to here: these do not lie elsewhere.
    pub fn copy(&mut self, records: &[u8]) {
        self.writer.raw(records);
        self.elsewhere = self.elsewhere.saturating_sub(records.len());
    }

    /// Ends the partition: call it once the place of its records is noted.
    pub fn end_partition(&mut self) {
        self.writer.tags(&[]);
    }

    /// Ends the topic.
    pub fn end_topic(&mut self) {
        self.writer.tags(&[]);
    }

    /// Bytes written so far, with what was there before.
    #[must_use]
    pub fn len(&self) -> usize {
        self.writer.out.len()
    }

    /// Whether nothing is written: never.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.writer.out.is_empty()
    }

    /// Ends the request and states its length.
    #[must_use]
    pub fn end(mut self) -> BytesMut {
        self.writer.tags(&[]);
        finish(&mut self.writer.out, self.at, self.elsewhere);
        self.writer.out
    }
}

impl ProduceRequest {
    /// The whole request with its length in front and its records copied: for tests and small things. The transactional id
    /// is left out.
    #[must_use]
    pub fn encode(&self, head: &ClientHead<'_>) -> Bytes {
        let mut writer =
            ProduceWriter::begin(BytesMut::new(), head, self.acks, self.timeout_ms, self.topics.len());
        for topic in &self.topics {
            writer.topic(&topic.topic, topic.partitions.len());
            for partition in &topic.partitions {
                let records = partition.records.as_deref().unwrap_or_default();
                writer.partition(partition.index, records.len());
                writer.copy(records);
                writer.end_partition();
            }
            writer.end_topic();
        }
        writer.end().freeze()
    }
}

impl ProduceResponse {
    /// Reads the response in `frame`, which has no length in front, and its correlation id.
    ///
    /// # Errors
    /// [`DecodeError`]: what came is no such response.
    pub fn decode(version: i16, frame: &Bytes) -> Result<(i32, Self), DecodeError> {
        let (correlation_id, mut reader) = begin_answer(ApiKey::Produce, version, frame)?;
        let reader = &mut reader;
        let mut count = PartitionCount::default();
        let topics = reader.list(REQUEST_PARTITIONS_MAX, |reader| {
            let topic = TopicRef::read(reader, version)?;
            let partitions = reader.list(count.left(), |reader| partition(reader, version))?;
            count.add(partitions.len());
            reader.skip_tags()?;
            Ok(ProduceTopicResponse { topic, partitions })
        })?;
        let throttle_time_ms = reader.i32()?;
        let mut node_endpoints = Vec::new();
        reader.tags(|tag, reader| {
            if tag == 0 && version >= LEADER_HINT_SINCE {
                node_endpoints = reader.list(REQUEST_PARTITIONS_MAX, NodeEndpoint::read)?;
            }
            Ok(())
        })?;
        Ok((correlation_id, Self { topics, throttle_time_ms, node_endpoints }))
    }
}

fn partition(reader: &mut Reader<'_>, version: i16) -> Result<ProducePartitionResponse, DecodeError> {
    let mut answer = ProducePartitionResponse::refused(reader.i32()?, error_code(reader)?, None);
    answer.base_offset = Offset(reader.i64()?);
    answer.log_append_time = TimestampMs(reader.i64()?);
    if version >= LOG_START_SINCE {
        answer.log_start_offset = Offset(reader.i64()?);
    }
    if version >= ERROR_MESSAGE_SINCE {
        answer.record_errors = reader.list(REQUEST_PARTITIONS_MAX, |reader| {
            let error = (reader.i32()?, reader.nullable_string()?);
            reader.skip_tags()?;
            Ok(error)
        })?;
        answer.error_message = reader.nullable_string()?;
    }
    reader.tags(|tag, reader| {
        if tag == 0 && version >= LEADER_HINT_SINCE {
            answer.current_leader = Some(leader_hint(reader)?);
        }
        Ok(())
    })?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use model::{ErrorCode, LeaderEpoch, TopicId};

    use super::*;
    use crate::api::Api;
    use crate::produce::{ProducePartition, ProduceTopic};
    use crate::{LeaderHint, RequestHeader, TOPIC_ID_SINCE, Text};

    fn versions() -> std::ops::RangeInclusive<i16> {
        let Api { min, max, .. } = *ApiKey::Produce.api();
        min..=max
    }

    fn topic(version: i16) -> TopicRef {
        if version >= TOPIC_ID_SINCE {
            TopicRef { name: Text::default(), id: TopicId([7; 16]) }
        } else {
            TopicRef { name: "events".into(), id: TopicId::ZERO }
        }
    }

    #[test]
    fn the_server_reads_what_the_client_writes() {
        for version in versions() {
            let head = ClientHead { version, correlation_id: 9, client_id: Some("load") };
            let records = |byte: u8, len: usize| Some(Bytes::from(vec![byte; len]));
            let request = ProduceRequest {
                transactional_id: None,
                acks: -1,
                timeout_ms: 30_000,
                topics: vec![ProduceTopic {
                    topic: topic(version),
                    partitions: vec![
                        ProducePartition { index: 3, records: records(1, 200) },
                        ProducePartition { index: 5, records: records(2, 1) },
                    ],
                }],
            };
            let framed = request.encode(&head);
            let length = u32::from_be_bytes(framed[..4].try_into().unwrap());
            let frame = framed.slice(4..);
            assert_eq!(length as usize, frame.len());
            let header = RequestHeader::parse(&frame).unwrap();
            assert_eq!((header.api(), header.correlation_id), (Some(ApiKey::Produce), 9));
            assert_eq!(header.client_id.as_deref(), Some("load"));
            assert_eq!(ProduceRequest::decode(&header, &frame).unwrap(), request, "version {version}");
        }
    }

    #[test]
    fn records_elsewhere_make_the_same_request() {
        // None of them copied, their front, all.
        for (version, copied) in versions().flat_map(|version| [0, 61, 300].map(|copied| (version, copied))) {
            let head = ClientHead { version, correlation_id: 1, client_id: None };
            let records = Bytes::from((0..300_u32).map(|i| i.to_le_bytes()[0]).collect::<Vec<u8>>());
            let mut writer = ProduceWriter::begin(BytesMut::from(&b"before"[..]), &head, 1, 5, 1);
            writer.topic(&topic(version), 1);
            writer.partition(4, records.len());
            writer.copy(&records[..copied]);
            let at = writer.len();
            writer.end_partition();
            writer.end_topic();
            let own = writer.end();
            let joined = [&own[6..at], &records[copied..], &own[at..]].concat();
            let whole = ProduceRequest {
                acks: 1,
                timeout_ms: 5,
                topics: vec![ProduceTopic {
                    topic: topic(version),
                    partitions: vec![ProducePartition { index: 4, records: Some(records) }],
                }],
                ..ProduceRequest::default()
            };
            assert_eq!(joined, whole.encode(&head)[..], "version {version}");
        }
    }

    #[test]
    fn the_client_reads_what_the_server_answers() {
        for version in versions() {
            let header = RequestHeader {
                api_key: 0,
                api_version: version,
                correlation_id: 77,
                client_id: None,
                body_at: 0,
            };
            let mut refused =
                ProducePartitionResponse::refused(2, ErrorCode::NotLeaderOrFollower, Some("elsewhere"));
            refused.record_errors = vec![(1, None), (2, Some("bad".into()))];
            refused.current_leader = Some(LeaderHint { leader_id: 4, leader_epoch: LeaderEpoch(8) });
            let appended = ProducePartitionResponse::appended(1, Offset(70), TimestampMs(5), Offset(3));
            let topics = vec![ProduceTopicResponse {
                topic: topic(version),
                partitions: vec![refused.clone(), appended.clone()],
            }];
            let node_endpoints =
                vec![NodeEndpoint { node_id: 4, host: "b".into(), port: 9094, rack: Some("r".into()) }];
            let mut response = ProduceResponse { topics, throttle_time_ms: 3, node_endpoints };
            let (correlation_id, read) = ProduceResponse::decode(version, &response.encode(&header)).unwrap();
            assert_eq!(correlation_id, 77);
            // What the version cannot say is not there.
            for partition in &mut response.topics[0].partitions {
                if version < LOG_START_SINCE {
                    partition.log_start_offset = Offset::NONE;
                }
                if version < ERROR_MESSAGE_SINCE {
                    (partition.record_errors, partition.error_message) = (Vec::new(), None);
                }
                if version < LEADER_HINT_SINCE {
                    partition.current_leader = None;
                }
            }
            if version < LEADER_HINT_SINCE {
                response.node_endpoints = Vec::new();
            }
            assert_eq!(read, response, "version {version}");
        }
    }

    #[test]
    fn an_answer_cut_short_is_an_error() {
        let header =
            RequestHeader { api_key: 0, api_version: 12, correlation_id: 1, client_id: None, body_at: 0 };
        let response = ProduceResponse {
            topics: vec![ProduceTopicResponse {
                topic: topic(12),
                partitions: vec![ProducePartitionResponse::refused(0, ErrorCode::None, None)],
            }],
            ..ProduceResponse::default()
        };
        let frame = response.encode(&header);
        for len in 0..frame.len() {
            assert!(ProduceResponse::decode(12, &frame.slice(..len)).is_err(), "{len} bytes");
        }
    }
}
