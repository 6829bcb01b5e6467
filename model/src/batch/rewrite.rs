//! A batch with other records, everything else in its place: after compaction there are fewer, or they are compressed in another way.
//! Offsets, sequences and epochs of records that are gone are still spoken for, so nobody's offset changes and a producer's next sequence
//! still follows.
#![deny(clippy::indexing_slicing)]

use super::header::{
    ATTRIBUTES_AT, BASE_TIMESTAMP_AT, COMPRESSION_MASK, DELETE_HORIZON_BIT, HEADER_BYTES, LENGTH_AT,
    LENGTH_OVERHEAD, MAX_TIMESTAMP_AT, RECORD_COUNT_AT, put_field, recompute_crc,
};
use super::{Compression, RecordBatch};
use crate::TimestampMs;

/// What the records that are left say of their batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Left {
    /// How many there are.
    pub count: i32,
    /// What their timestamp deltas are relative to: the horizon, when there is one.
    pub base_timestamp: TimestampMs,
    /// Their largest timestamp.
    pub max_timestamp: TimestampMs,
    /// From this time on tombstones may go; it is stored in the place of the base timestamp.
    pub has_delete_horizon: bool,
}

/// Makes what is a copy of a batch's header, and behind it the records that are left, a batch of its own. They are compressed as the
/// batch was.
///
/// # Panics
/// If `bytes` are shorter than a header.
pub fn seal(bytes: &mut [u8], left: Left) {
    let attributes = bytes.get(ATTRIBUTES_AT..).and_then(<[u8]>::first_chunk).copied();
    let mut attributes = attributes.map_or(0, i16::from_be_bytes) & !DELETE_HORIZON_BIT;
    if left.has_delete_horizon {
        attributes |= DELETE_HORIZON_BIT;
    }
    describe(bytes, attributes, left);
}

/// The batch with the same records, which are compressed like this in `payload`.
#[must_use]
pub fn recompressed(batch: &RecordBatch<'_>, payload: &[u8], compression: Compression) -> Vec<u8> {
    let attributes = batch.attributes() & !COMPRESSION_MASK | i16::from(compression as u8);
    let left = Left {
        count: batch.record_count(),
        base_timestamp: batch.base_timestamp(),
        max_timestamp: batch.max_timestamp(),
        has_delete_horizon: batch.has_delete_horizon(),
    };
    lay_out(batch, payload, attributes, left)
}

/// The batch without any record: what remains says who wrote it, and up to which offset and sequence.
#[must_use]
pub fn emptied(batch: &RecordBatch<'_>) -> Vec<u8> {
    let attributes = batch.attributes() & !(COMPRESSION_MASK | DELETE_HORIZON_BIT);
    let left = Left {
        count: 0,
        base_timestamp: TimestampMs::NONE,
        max_timestamp: batch.max_timestamp(),
        has_delete_horizon: false,
    };
    lay_out(batch, &[], attributes, left)
}

fn lay_out(batch: &RecordBatch<'_>, payload: &[u8], attributes: i16, left: Left) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_BYTES + payload.len());
    out.extend_from_slice(batch.header().as_bytes());
    out.extend_from_slice(payload);
    describe(&mut out, attributes, left);
    out
}

fn describe(batch: &mut [u8], attributes: i16, left: Left) {
    let length = i32::try_from(batch.len().saturating_sub(LENGTH_OVERHEAD)).unwrap_or(i32::MAX);
    put_field(batch, LENGTH_AT, length.to_be_bytes());
    put_field(batch, ATTRIBUTES_AT, attributes.to_be_bytes());
    put_field(batch, BASE_TIMESTAMP_AT, left.base_timestamp.0.to_be_bytes());
    put_field(batch, MAX_TIMESTAMP_AT, left.max_timestamp.0.to_be_bytes());
    put_field(batch, RECORD_COUNT_AT, left.count.to_be_bytes());
    recompute_crc(batch);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::BatchBuilder;
    use crate::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};

    /// The batch with other records.
    fn with_records(batch: &RecordBatch<'_>, payload: &[u8], left: Left) -> Vec<u8> {
        let mut bytes = [&batch.header().as_bytes()[..], payload].concat();
        seal(&mut bytes, left);
        bytes
    }

    fn original() -> Vec<u8> {
        BatchBuilder::new()
            .stored_at(Offset(40), LeaderEpoch(3))
            .producer(ProducerId(9), ProducerEpoch(1), 5)
            .transactional()
            .record(TimestampMs(100), Some(b"a"), Some(b"1"))
            .record(TimestampMs(107), Some(b"b"), None)
            .build_compressed(Compression::Zstd, |_| b"packed".to_vec())
    }

    #[test]
    fn records_change_and_offsets_and_sequences_do_not() {
        let original = original();
        let (before, _) = RecordBatch::parse(&original).unwrap();
        let left = Left {
            count: 1,
            base_timestamp: TimestampMs(500),
            max_timestamp: TimestampMs(107),
            has_delete_horizon: true,
        };
        let bytes = with_records(&before, b"less", left);
        let (after, rest) = RecordBatch::parse(&bytes).unwrap();
        assert!(rest.is_empty() && after.check_crc().is_ok());
        assert_eq!((after.base_offset(), after.last_offset()), (Offset(40), Offset(41)));
        assert_eq!((after.base_sequence(), after.last_sequence()), (5, 6));
        assert_eq!((after.producer_id(), after.producer_epoch()), (ProducerId(9), ProducerEpoch(1)));
        assert_eq!((after.leader_epoch(), after.record_count()), (LeaderEpoch(3), 1));
        assert_eq!((after.base_timestamp(), after.max_timestamp()), (TimestampMs(500), TimestampMs(107)));
        assert_eq!(after.compression(), Ok(Compression::Zstd));
        assert!(after.has_delete_horizon() && after.is_transactional());
        assert_eq!(after.payload(), b"less");
        let none = with_records(&after, b"less", Left { has_delete_horizon: false, ..left });
        assert!(!RecordBatch::parse(&none).unwrap().0.has_delete_horizon());
    }

    #[test]
    fn only_the_compression_is_another() {
        let original = original();
        let before = RecordBatch::parse(&original).unwrap().0;
        let bytes = recompressed(&before, b"other", Compression::Gzip);
        let (after, rest) = RecordBatch::parse(&bytes).unwrap();
        assert!(rest.is_empty() && after.check_crc().is_ok() && after.is_transactional());
        assert_eq!((after.compression(), after.payload()), (Ok(Compression::Gzip), &b"other"[..]));
        assert_eq!((after.record_count(), after.base_offset()), (2, Offset(40)));
        assert_eq!((after.base_timestamp(), after.max_timestamp()), (TimestampMs(100), TimestampMs(107)));
        assert_eq!((after.base_sequence(), after.last_sequence()), (5, 6));
    }

    #[test]
    fn an_empty_batch_still_says_who_wrote_it_and_how_far() {
        let original = original();
        let bytes = emptied(&RecordBatch::parse(&original).unwrap().0);
        let (after, rest) = RecordBatch::parse(&bytes).unwrap();
        assert!(rest.is_empty() && after.check_crc().is_ok() && after.payload().is_empty());
        assert_eq!((after.base_offset(), after.last_offset()), (Offset(40), Offset(41)));
        assert_eq!((after.base_sequence(), after.last_sequence()), (5, 6));
        assert_eq!((after.record_count(), after.compression()), (0, Ok(Compression::None)));
        assert_eq!((after.base_timestamp(), after.max_timestamp()), (TimestampMs::NONE, TimestampMs(107)));
        assert!(after.is_transactional() && !after.has_delete_horizon());
        assert_eq!(after.records().count(), 0);
    }
}
