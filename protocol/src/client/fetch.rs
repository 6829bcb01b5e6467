//! Fetch as a client sends it and reads its answer: partition by partition, without allocation.
#![deny(clippy::indexing_slicing)]

use bytes::{Bytes, BytesMut};
use model::limits::REQUEST_PARTITIONS_MAX;
use model::{ErrorCode, Offset};

use super::{ClientHead, begin_answer, error_code, finish, leader_hint};
use crate::api::ApiKey;
use crate::fetch::{
    CURRENT_EPOCH_SINCE, DIRECTORY_ID_SINCE, FetchPartition, FetchRequest, HIGH_WATERMARK_SINCE,
    LAST_FETCHED_EPOCH_SINCE, LOG_START_SINCE, RACK_SINCE, REPLICA_STATE_SINCE, SESSIONS_SINCE,
};
use crate::reader::Reader;
use crate::writer::Writer;
use crate::{DecodeError, LeaderHint, TopicRef};

impl FetchRequest {
    /// Appends the whole request to `out`, its length in front. It must be a consumer's.
    pub fn write(&self, head: &ClientHead<'_>, out: &mut BytesMut) {
        let (version, at) = (head.version, out.len());
        let mut writer = head.begin(std::mem::take(out), ApiKey::Fetch);
        if version < REPLICA_STATE_SINCE {
            writer.i32(-1);
        }
        writer.i32(self.max_wait_ms);
        writer.i32(self.min_bytes);
        writer.i32(self.max_bytes);
        writer.raw(&self.isolation_level.to_be_bytes());
        if version >= SESSIONS_SINCE {
            writer.i32(self.session_id);
            writer.i32(self.session_epoch);
        }
        writer.length(Some(self.topics.len()));
        for topic in &self.topics {
            topic.topic.write(&mut writer, version);
            writer.length(Some(topic.partitions.len()));
            for partition in &topic.partitions {
                partition.write(&mut writer, version);
            }
            writer.tags(&[]);
        }
        if version >= SESSIONS_SINCE {
            writer.length(Some(self.forgotten.len()));
            for topic in &self.forgotten {
                topic.topic.write(&mut writer, version);
                writer.length(Some(topic.partitions.len()));
                for index in &topic.partitions {
                    writer.i32(*index);
                }
                writer.tags(&[]);
            }
        }
        if version >= RACK_SINCE {
            writer.string(&self.rack_id);
        }
        match &self.cluster_id {
            Some(id) => {
                writer.tags(&[(0, Writer::content(|writer| writer.nullable_string(Some(id))))]);
            }
            None => writer.tags(&[]),
        }
        *out = writer.out;
        finish(out, at, 0);
    }
}

impl FetchPartition {
    fn write(&self, writer: &mut Writer, version: i16) {
        writer.i32(self.index);
        if version >= CURRENT_EPOCH_SINCE {
            writer.i32(self.current_leader_epoch.0);
        }
        writer.i64(self.fetch_offset.0);
        if version >= LAST_FETCHED_EPOCH_SINCE {
            writer.i32(self.last_fetched_epoch.0);
        }
        if version >= LOG_START_SINCE {
            writer.i64(self.log_start_offset.0);
        }
        writer.i32(self.max_bytes);
        let directory = version >= DIRECTORY_ID_SINCE && self.replica_directory_id != [0; 16];
        let watermark = version >= HIGH_WATERMARK_SINCE && self.high_watermark.0 != i64::MAX;
        if !directory && !watermark {
            return writer.tags(&[]);
        }
        let mut fields = Vec::new();
        if directory {
            fields.push((0, Writer::content(|writer| writer.raw(&self.replica_directory_id))));
        }
        if watermark {
            fields.push((1, Writer::content(|writer| writer.i64(self.high_watermark.0))));
        }
        writer.tags(&fields);
    }
}

/// What a fetch's answer says as a whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FetchAnswerHead {
    /// Of the request.
    pub correlation_id: i32,
    /// How long the client should wait because of quotas.
    pub throttle_time_ms: i32,
    /// An error of the request as a whole, as of its session.
    pub error: ErrorCode,
    /// The fetch session, or 0.
    pub session_id: i32,
}

/// What a fetch's answer says of one partition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FetchAnswer {
    /// Which partition.
    pub index: i32,
    /// Why not, or none.
    pub error: ErrorCode,
    /// Records below are on all in-sync replicas.
    pub high_watermark: Offset,
    /// First offset of the log, or -1.
    pub log_start_offset: Offset,
    /// Who leads instead.
    pub current_leader: Option<LeaderHint>,
    /// Batches one after the other; the last may be cut off, and the first may begin before what was asked for.
    pub records: Bytes,
}

/// Reads the response in `frame`, which has no length in front, giving each partition to `each`.
///
/// # Errors
/// [`DecodeError`]: what came is no such response; `each` may have got the partitions before the fault.
pub fn read_fetch(
    version: i16,
    frame: &Bytes,
    mut each: impl FnMut(&TopicRef, FetchAnswer),
) -> Result<FetchAnswerHead, DecodeError> {
    let (correlation_id, mut reader) = begin_answer(ApiKey::Fetch, version, frame)?;
    let reader = &mut reader;
    let throttle_time_ms = reader.i32()?;
    let (mut error, mut session_id) = (ErrorCode::None, 0);
    if version >= SESSIONS_SINCE {
        (error, session_id) = (error_code(reader)?, reader.i32()?);
    }
    // Elements without size: the list that is made of them is none.
    reader.list(REQUEST_PARTITIONS_MAX, |reader| {
        let topic = TopicRef::read(reader, version)?;
        reader.list(REQUEST_PARTITIONS_MAX, |reader| {
            each(&topic, partition(reader, version)?);
            Ok(())
        })?;
        reader.skip_tags()
    })?;
    reader.skip_tags()?;
    Ok(FetchAnswerHead { correlation_id, throttle_time_ms, error, session_id })
}

fn partition(reader: &mut Reader<'_>, version: i16) -> Result<FetchAnswer, DecodeError> {
    let (index, error) = (reader.i32()?, error_code(reader)?);
    let high_watermark = Offset(reader.i64()?);
    let _last_stable_offset = reader.i64()?;
    let log_start_offset = if version >= LOG_START_SINCE { Offset(reader.i64()?) } else { Offset::NONE };
    reader.nullable_list(REQUEST_PARTITIONS_MAX, |reader| {
        let _aborted = (reader.i64()?, reader.i64()?);
        reader.skip_tags()
    })?;
    if version >= RACK_SINCE {
        let _preferred_read_replica = reader.i32()?;
    }
    let records = reader.nullable_bytes()?.unwrap_or_default();
    let mut current_leader = None;
    reader.tags(|tag, reader| {
        if tag == 1 {
            current_leader = Some(leader_hint(reader)?);
        }
        Ok(())
    })?;
    Ok(FetchAnswer { index, error, high_watermark, log_start_offset, current_leader, records })
}

#[cfg(test)]
mod tests {
    use model::{LeaderEpoch, ProducerId, TopicId};

    use super::*;
    use crate::fetch::{
        AbortedTransaction, EpochEnd, FetchPartitionResponse, FetchResponse, FetchTopic, FetchTopicResponse,
        ForgottenTopic,
    };
    use crate::{NodeEndpoint, RequestHeader, TOPIC_ID_SINCE, Text};

    fn topic(version: i16) -> TopicRef {
        if version >= TOPIC_ID_SINCE {
            TopicRef { name: Text::default(), id: TopicId([7; 16]) }
        } else {
            TopicRef { name: "events".into(), id: TopicId::ZERO }
        }
    }

    fn partition_of(version: i16, index: i32) -> FetchPartition {
        let since = |first: i16, value: i32, other: i32| if version >= first { value } else { other };
        FetchPartition {
            index,
            current_leader_epoch: LeaderEpoch(since(CURRENT_EPOCH_SINCE, 5, -1)),
            fetch_offset: Offset(1234),
            last_fetched_epoch: LeaderEpoch(since(LAST_FETCHED_EPOCH_SINCE, 4, -1)),
            log_start_offset: Offset(i64::from(since(LOG_START_SINCE, 7, -1))),
            max_bytes: 1 << 20,
            replica_directory_id: if version >= DIRECTORY_ID_SINCE { [3; 16] } else { [0; 16] },
            high_watermark: if version >= HIGH_WATERMARK_SINCE { Offset(99) } else { Offset(i64::MAX) },
        }
    }

    #[test]
    fn the_server_reads_what_the_client_writes() {
        let api = ApiKey::Fetch.api();
        for version in api.min..=api.max {
            let sessions = version >= SESSIONS_SINCE;
            let request = FetchRequest {
                cluster_id: (version >= 12).then(|| "cluster".into()),
                replica_id: -1,
                replica_epoch: -1,
                max_wait_ms: 500,
                min_bytes: 1,
                max_bytes: 50 << 20,
                isolation_level: 1,
                session_id: if sessions { 11 } else { 0 },
                session_epoch: if sessions { 3 } else { -1 },
                topics: vec![FetchTopic {
                    topic: topic(version),
                    partitions: vec![partition_of(version, 0), partition_of(version, 9)],
                }],
                forgotten: if sessions {
                    vec![ForgottenTopic { topic: topic(version), partitions: vec![1, 2] }]
                } else {
                    Vec::new()
                },
                rack_id: if version >= RACK_SINCE { "rack".into() } else { Text::default() },
            };
            let head = ClientHead { version, correlation_id: 8, client_id: Some("load") };
            let mut out = BytesMut::from(&b"other"[..]);
            request.write(&head, &mut out);
            let framed = out.freeze().slice(5..);
            let frame = framed.slice(4..);
            assert_eq!(u32::from_be_bytes(framed[..4].try_into().unwrap()) as usize, frame.len());
            let header = RequestHeader::parse(&frame).unwrap();
            assert_eq!((header.api(), header.correlation_id), (Some(ApiKey::Fetch), 8));
            assert_eq!(FetchRequest::decode(&header, &frame).unwrap(), request, "version {version}");
        }
    }

    fn answer(version: i16) -> (RequestHeader, FetchResponse<Bytes>) {
        let header = RequestHeader {
            api_key: 1,
            api_version: version,
            correlation_id: 77,
            client_id: None,
            body_at: 0,
        };
        let mut full = FetchPartitionResponse::refused(4, ErrorCode::None);
        full.high_watermark = Offset(50);
        full.log_start_offset = Offset(2);
        full.aborted_transactions =
            Some(vec![AbortedTransaction { producer_id: ProducerId(1), first_offset: Offset(3) }]);
        full.records = vec![Bytes::from_static(b"some"), Bytes::from_static(b" records")];
        let mut moved = FetchPartitionResponse::refused(5, ErrorCode::NotLeaderOrFollower);
        moved.diverging_epoch = Some(EpochEnd { epoch: LeaderEpoch(1), end_offset: Offset(9) });
        moved.current_leader = Some(LeaderHint { leader_id: 2, leader_epoch: LeaderEpoch(6) });
        let response = FetchResponse {
            throttle_time_ms: 6,
            error: ErrorCode::None,
            session_id: 12,
            topics: vec![FetchTopicResponse { topic: topic(version), partitions: vec![full, moved] }],
            node_endpoints: vec![NodeEndpoint { node_id: 2, host: "b".into(), port: 1, rack: None }],
        };
        (header, response)
    }

    #[test]
    fn the_client_reads_what_the_server_answers() {
        let api = ApiKey::Fetch.api();
        for version in api.min..=api.max {
            let (header, mut response) = answer(version);
            if version < 12 {
                response.topics[0].partitions[1].diverging_epoch = None;
                response.topics[0].partitions[1].current_leader = None;
            }
            let frame = Bytes::from(response.encode(&header).concat());
            let mut seen = Vec::new();
            let head = read_fetch(version, &frame, |topic, answer| seen.push((topic.clone(), answer)));
            let head = head.unwrap();
            let session_id = if version >= SESSIONS_SINCE { 12 } else { 0 };
            assert_eq!((head.correlation_id, head.throttle_time_ms, head.session_id), (77, 6, session_id));
            let log_start = if version >= LOG_START_SINCE { 2 } else { -1 };
            assert_eq!(seen.len(), 2);
            assert_eq!(seen[0].0, topic(version), "version {version}");
            assert_eq!(seen[0].1.records, "some records");
            assert_eq!((seen[0].1.index, seen[0].1.high_watermark), (4, Offset(50)));
            assert_eq!(seen[0].1.log_start_offset, Offset(log_start));
            assert_eq!(seen[1].1.error, ErrorCode::NotLeaderOrFollower);
            assert_eq!(seen[1].1.records, "");
            assert_eq!(seen[1].1.current_leader.map(|hint| hint.leader_id), (version >= 12).then_some(2));
        }
    }

    #[test]
    fn an_answer_cut_short_is_an_error() {
        let (header, response) = answer(17);
        let frame = Bytes::from(response.encode(&header).concat());
        for len in 0..frame.len() {
            assert!(read_fetch(17, &frame.slice(..len), |_, _| {}).is_err(), "{len} bytes");
        }
    }
}
