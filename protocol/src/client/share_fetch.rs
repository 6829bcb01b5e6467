//! The answer to ShareFetch as a client reads it, partition by partition.
//!
//! Apache Kafka tells of partitions that were only acknowledged with no records at all instead of empty ones, which the structures
//! that the server answers with cannot say.
#![deny(clippy::indexing_slicing)]

use bytes::Bytes;
use model::limits::REQUEST_PARTITIONS_MAX;
use model::{ErrorCode, TopicId};

use super::{begin_answer, error_code, leader_hint};
use crate::DecodeError;
use crate::api::ApiKey;
use crate::reader::Reader;

/// What the answer says as a whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ShareAnswerHead {
    /// Of the request.
    pub correlation_id: i32,
    /// An error of the request as a whole, as of its session.
    pub error: ErrorCode,
    /// How long the member has what it acquired.
    pub lock_timeout_ms: i32,
}

/// Records that the member has now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Acquired {
    /// Offset of the first.
    pub first: i64,
    /// Offset of the last.
    pub last: i64,
    /// How often they were delivered, this time included.
    pub delivery_count: i16,
}

/// What the answer says of one partition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ShareAnswer {
    /// Which partition.
    pub index: i32,
    /// Why there are no records, or none.
    pub error: ErrorCode,
    /// Why the request's acknowledgements do not count, or none.
    pub acknowledge_error: ErrorCode,
    /// Batches one after the other, with what was acquired and what was not.
    pub records: Bytes,
    /// What was acquired.
    pub acquired: Vec<Acquired>,
}

/// Reads the response in `frame`, which has no length in front, giving each partition to `each`.
///
/// # Errors
/// [`DecodeError`]: what came is no such response; `each` may have got the partitions before the fault.
pub fn read_share_fetch(
    version: i16,
    frame: &Bytes,
    mut each: impl FnMut(TopicId, ShareAnswer),
) -> Result<ShareAnswerHead, DecodeError> {
    let (correlation_id, mut reader) = begin_answer(ApiKey::ShareFetch, version, frame)?;
    let reader = &mut reader;
    let _throttle_time_ms = reader.i32()?;
    let error = error_code(reader)?;
    let _words = reader.nullable_string()?;
    let lock_timeout_ms = reader.i32()?;
    // Elements without size: the list that is made of them is none.
    reader.list(REQUEST_PARTITIONS_MAX, |reader| {
        let topic = reader.topic_id()?;
        reader.list(REQUEST_PARTITIONS_MAX, |reader| {
            each(topic, partition(reader)?);
            Ok(())
        })?;
        reader.skip_tags()
    })?;
    reader.list(REQUEST_PARTITIONS_MAX, |reader| {
        let _node = (reader.i32()?, reader.string()?, reader.i32()?, reader.nullable_string()?);
        reader.skip_tags()
    })?;
    reader.skip_tags()?;
    Ok(ShareAnswerHead { correlation_id, error, lock_timeout_ms })
}

fn partition(reader: &mut Reader<'_>) -> Result<ShareAnswer, DecodeError> {
    let (index, error) = (reader.i32()?, error_code(reader)?);
    let _words = reader.nullable_string()?;
    let acknowledge_error = error_code(reader)?;
    let _words = reader.nullable_string()?;
    let _leader = leader_hint(reader)?;
    let records = reader.nullable_bytes()?.unwrap_or_default();
    let room = reader.remaining();
    let acquired = reader.list(room, |reader| {
        let (first, last, delivery_count) = (reader.i64()?, reader.i64()?, reader.i16()?);
        reader.skip_tags()?;
        Ok(Acquired { first, last, delivery_count })
    })?;
    reader.skip_tags()?;
    Ok(ShareAnswer { index, error, acknowledge_error, records, acquired })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::encode_response;
    use crate::control::messages::ShareFetchResponse;
    use crate::control::messages::share_fetch_response::{
        AcquiredRecords, NodeEndpoint, PartitionData, ShareFetchableTopicResponse,
    };
    use crate::{RequestHeader, Uuid, message};

    fn frame(version: i16) -> Bytes {
        let header = RequestHeader {
            api_key: ApiKey::ShareFetch.number(),
            api_version: version,
            correlation_id: 77,
            client_id: None,
            body_at: 0,
        };
        let run = message!(AcquiredRecords { first_offset: 5, last_offset: 9, delivery_count: 2 });
        let full = message!(PartitionData {
            partition_index: 3,
            records: Bytes::from_static(b"some records"),
            acquired_records: vec![run],
        });
        let refused = message!(PartitionData {
            partition_index: 4,
            error_code: ErrorCode::NotLeaderOrFollower.code(),
            error_message: Some("moved".into()),
            acknowledge_error_code: ErrorCode::InvalidRecordState.code(),
        });
        let topic = message!(ShareFetchableTopicResponse {
            topic_id: Uuid::from_bytes([7; 16]),
            partitions: vec![full, refused],
        });
        let response = message!(ShareFetchResponse {
            acquisition_lock_timeout_ms: 30_000,
            responses: vec![topic],
            node_endpoints: vec![message!(NodeEndpoint { node_id: 2, host: "b".into(), port: 1 })],
        });
        encode_response(&header, &response).unwrap()
    }

    #[test]
    fn the_client_reads_what_the_server_answers() {
        let api = ApiKey::ShareFetch.api();
        for version in api.min..=api.max {
            let mut seen = Vec::new();
            let head = read_share_fetch(version, &frame(version), |topic, answer| seen.push((topic, answer)));
            let expected =
                ShareAnswerHead { correlation_id: 77, error: ErrorCode::None, lock_timeout_ms: 30_000 };
            assert_eq!(head.unwrap(), expected);
            assert!(seen.len() == 2 && seen.iter().all(|(topic, _)| *topic == TopicId([7; 16])));
            assert_eq!((seen[0].1.index, &seen[0].1.records[..]), (3, &b"some records"[..]));
            assert_eq!(seen[0].1.acquired, [Acquired { first: 5, last: 9, delivery_count: 2 }]);
            let refused = &seen[1].1;
            assert_eq!(
                (refused.error, refused.acknowledge_error),
                (ErrorCode::NotLeaderOrFollower, ErrorCode::InvalidRecordState)
            );
            assert!(refused.records.is_empty() && refused.acquired.is_empty());
        }
    }

    #[test]
    fn no_records_at_all_are_empty_ones() {
        let whole = frame(2);
        let at = whole.windows(12).position(|bytes| bytes == b"some records").unwrap();
        let none = [&whole[..at - 1], &[0], &whole[at + 12..]].concat();
        let mut seen = Vec::new();
        read_share_fetch(2, &Bytes::from(none), |_, answer| seen.push(answer)).unwrap();
        assert!(seen.len() == 2 && seen[0].records.is_empty() && seen[0].acquired.len() == 1);
    }

    #[test]
    fn an_answer_cut_short_is_an_error() {
        let frame = frame(2);
        for len in 0..frame.len() {
            assert!(read_share_fetch(2, &frame.slice(..len), |_, _| {}).is_err(), "{len} bytes");
        }
    }
}
