//! Batches as they should be, and as hostile clients make them.

use super::header::{self, Stamp};
use super::*;
use crate::{ErrorCode, LeaderEpoch, Offset, ProducerEpoch, ProducerId, TimestampMs};

const NOW: TimestampMs = TimestampMs(1_700_000_000_000);

fn sample() -> BatchBuilder {
    BatchBuilder::new()
        .record(NOW, Some(b"k1"), Some(b"v1"))
        .record(TimestampMs(NOW.0 + 5), None, None)
        .record_with_headers(
            TimestampMs(NOW.0 - 5),
            Some(b""),
            Some(b"v3"),
            &[(b"h", Some(b"1")), (b"h", None), (b"", Some(b""))],
        )
}

fn view(bytes: &[u8]) -> RecordBatch<'_> {
    RecordBatch::parse(bytes).unwrap().0
}

fn refused(bytes: &[u8]) -> BatchError {
    validate_produce(bytes, &ProduceRules::at(NOW)).unwrap_err()
}

/// `change` is applied to a good batch, whose CRC is made right again.
fn refused_after(change: impl FnOnce(&mut Vec<u8>)) -> BatchError {
    let mut bytes = sample().build();
    change(&mut bytes);
    header::recompute_crc(&mut bytes);
    refused(&bytes)
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

#[test]
fn a_batch_reads_back_as_built() {
    let bytes = sample().producer(ProducerId(9), ProducerEpoch(2), 40).build();
    let (batch, rest) = RecordBatch::parse(&bytes).unwrap();
    assert!(rest.is_empty());
    assert_eq!(batch.size_bytes(), bytes.len());
    assert_eq!(batch.check_crc(), Ok(()));
    assert_eq!(batch.compression(), Ok(Compression::None));
    assert_eq!((batch.producer_id(), batch.producer_epoch()), (ProducerId(9), ProducerEpoch(2)));
    assert_eq!((batch.base_sequence(), batch.last_sequence()), (40, 42));
    assert_eq!((batch.record_count(), batch.last_offset_delta()), (3, 2));
    assert_eq!((batch.base_timestamp(), batch.max_timestamp()), (NOW, TimestampMs(NOW.0 + 5)));
    let records: Vec<_> = batch.records().map(Result::unwrap).collect();
    assert_eq!(records.len(), 3);
    assert_eq!((records[0].key, records[0].value), (Some(&b"k1"[..]), Some(&b"v1"[..])));
    assert_eq!((records[1].key, records[1].value), (None, None));
    assert_eq!((records[2].key, records[2].timestamp(&batch)), (Some(&b""[..]), TimestampMs(NOW.0 - 5)));
    let headers: Vec<_> = records[2].headers().collect();
    assert_eq!(headers, [(&b"h"[..], Some(&b"1"[..])), (b"h", None), (b"", Some(b""))]);
    assert_eq!(validate_produce(&bytes, &ProduceRules::at(NOW)).unwrap().as_bytes(), bytes);
}

#[test]
fn assigning_offset_and_epoch_leaves_the_crc_right() {
    let mut bytes = sample().build();
    let stamp = Stamp { base_offset: Offset(1 << 40), leader_epoch: LeaderEpoch(7), log_append_time: None };
    let copied = [&header::stamped(&view(&bytes), stamp)[..], view(&bytes).payload()].concat();
    header::set_base_offset(&mut bytes, stamp.base_offset);
    header::set_leader_epoch(&mut bytes, stamp.leader_epoch);
    assert_eq!(copied, bytes);
    let batch = view(&bytes);
    assert_eq!(batch.check_crc(), Ok(()));
    assert_eq!((batch.base_offset(), batch.last_offset()), (Offset(1 << 40), Offset((1 << 40) + 2)));
    assert_eq!(batch.leader_epoch(), LeaderEpoch(7));
}

#[test]
fn log_append_time_renews_the_crc_and_the_time_of_every_record() {
    let mut bytes = sample().build();
    let now = TimestampMs(42);
    let stamp =
        Stamp { base_offset: Offset::ZERO, leader_epoch: LeaderEpoch::NONE, log_append_time: Some(now) };
    let copied = [&header::stamped(&view(&bytes), stamp)[..], view(&bytes).payload()].concat();
    header::set_log_append_time(&mut bytes, now);
    assert_eq!(copied, bytes);
    let batch = view(&bytes);
    assert_eq!(batch.check_crc(), Ok(()));
    assert_eq!((batch.timestamp_type(), batch.max_timestamp()), (TimestampType::LogAppendTime, now));
    assert!(batch.records().all(|record| record.unwrap().timestamp(&batch) == now));
}

#[test]
fn sequences_wrap_to_zero() {
    let bytes = sample().producer(ProducerId(1), ProducerEpoch(0), i32::MAX - 1).build();
    assert_eq!(view(&bytes).last_sequence(), 0);
    assert_eq!(view(&sample().build()).last_sequence(), -1);
}

#[test]
fn batches_in_a_row_end_with_the_torn_one() {
    let one = sample().build();
    let mut bytes = [one.clone(), one.clone(), one.clone()].concat();
    assert_eq!(RecordBatch::all_in(&bytes).filter(Result::is_ok).count(), 3);
    bytes.pop();
    let mut batches = RecordBatch::all_in(&bytes);
    let found: Vec<_> = batches.by_ref().collect();
    assert_eq!(batches.rest(), &one[..one.len() - 1]);
    assert_eq!(found.len(), 3);
    assert_eq!(found[2].unwrap_err(), BatchError::Truncated { needed: one.len(), have: one.len() - 1 });
}

#[test]
fn every_truncation_and_every_flipped_bit_is_refused() {
    let bytes = sample().build();
    for end in 0..bytes.len() {
        assert!(matches!(refused(&bytes[..end]), BatchError::Truncated { .. }), "cut at {end}");
    }
    for bit in 0..bytes.len() * 8 {
        let mut bytes = bytes.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let outcome = validate_produce(&bytes, &ProduceRules::at(NOW));
        // The epoch is the leader's to write: whatever a client puts there is overwritten.
        let epoch = (header::LEADER_EPOCH_AT..header::MAGIC_AT).contains(&(bit / 8));
        assert_eq!(outcome.is_ok(), epoch, "bit {bit}: {outcome:?}");
    }
}

#[test]
fn refusals_carry_kafkas_codes() {
    use header::*;
    let cases: Vec<(BatchError, ErrorCode)> = vec![
        (refused(&[sample().build(), sample().build()].concat()), ErrorCode::InvalidRecord),
        (refused_after(|b| put(b, MAGIC_AT, &[1])), ErrorCode::InvalidRecord),
        (refused_after(|b| put(b, LENGTH_AT, &48_i32.to_be_bytes())), ErrorCode::CorruptMessage),
        (refused_after(|b| put(b, LENGTH_AT, &(-1_i32).to_be_bytes())), ErrorCode::CorruptMessage),
        (
            refused_after(|b| put(b, ATTRIBUTES_AT, &5_i16.to_be_bytes())),
            ErrorCode::UnsupportedCompressionType,
        ),
        (refused_after(|b| put(b, BASE_OFFSET_AT, &1_i64.to_be_bytes())), ErrorCode::InvalidRecord),
        (refused_after(|b| put(b, RECORD_COUNT_AT, &2_i32.to_be_bytes())), ErrorCode::InvalidRecord),
        (refused_after(|b| put(b, RECORD_COUNT_AT, &i32::MIN.to_be_bytes())), ErrorCode::InvalidRecord),
        (refused(&BatchBuilder::new().build()), ErrorCode::InvalidRecord),
        (refused(&sample().control().build()), ErrorCode::InvalidRecord),
        (refused(&sample().delete_horizon().build()), ErrorCode::InvalidRecord),
        (refused(&sample().transactional().build()), ErrorCode::TransactionalIdAuthorizationFailed),
        (refused(&sample().log_append_time().build()), ErrorCode::InvalidTimestamp),
        (refused(&sample().producer(ProducerId(1), ProducerEpoch(0), -1).build()), ErrorCode::InvalidRecord),
        (refused(&sample().producer(ProducerId(1), ProducerEpoch(-1), 0).build()), ErrorCode::InvalidRecord),
        (refused(&sample().value(TimestampMs(NOW.0 + 3_600_001), b"").build()), ErrorCode::InvalidTimestamp),
    ];
    for (error, code) in cases {
        assert_eq!(error.error_code(), code, "{error}");
    }
}

#[test]
fn rules_of_the_topic_apply() {
    let bytes = sample().value(TimestampMs(0), b"old").build();
    let rules = ProduceRules::at(NOW);
    let accepts = |rules: &ProduceRules| validate_produce(&bytes, rules).is_ok();
    assert!(accepts(&rules));
    assert!(accepts(&ProduceRules { bytes_max: bytes.len(), ..rules }));
    assert!(!accepts(&ProduceRules { bytes_max: bytes.len() - 1, ..rules }));
    let strict = ProduceRules { timestamp_before_ms_max: 1000, ..rules };
    assert!(!accepts(&strict));
    assert!(accepts(&ProduceRules { log_append_time: true, ..strict }));
    let zstd = sample().build_compressed(Compression::Zstd, |_| b"not looked into".to_vec());
    assert!(validate_produce(&zstd, &rules).is_ok());
    assert!(validate_produce(&zstd, &ProduceRules { zstd: false, ..rules }).is_err());
    let keyed = ProduceRules { keys: true, ..rules };
    assert!(validate_produce(&zstd, &keyed).is_ok(), "whoever asked has to look into it");
    let wrong = validate_produce(&bytes, &keyed).unwrap_err();
    assert_eq!(wrong.error_code(), ErrorCode::InvalidRecord);
    assert!(matches!(wrong, BatchError::Record { error: RecordError::NoKey, .. }));
    let with_key = BatchBuilder::new().record(NOW, Some(b""), None).build();
    assert!(validate_produce(&with_key, &keyed).is_ok(), "an empty key is a key");
    let transactional = sample().transactional().build();
    assert!(validate_produce(&transactional, &ProduceRules { transactions: true, ..rules }).is_ok());
}

/// A batch whose payload is `payload` and whose CRC is right.
fn with_payload(count: i32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = sample().build_compressed(Compression::None, |_| payload.to_vec());
    put(&mut bytes, header::RECORD_COUNT_AT, &count.to_be_bytes());
    put(&mut bytes, header::LAST_OFFSET_DELTA_AT, &(count - 1).to_be_bytes());
    header::recompute_crc(&mut bytes);
    bytes
}

#[test]
fn malformed_records_are_found() {
    // length 6: attributes, timestamp delta, offset delta, no key, no value, no headers
    let good = [12, 0, 0, 0, 1, 1, 0];
    assert!(validate_produce(&with_payload(1, &good), &ProduceRules::at(NOW)).is_ok());
    let cases: &[(i32, &[u8], RecordError)] = &[
        (1, &[], RecordError::Truncated),
        (2, &good, RecordError::Truncated),
        (i32::MAX, &good, RecordError::Truncated),
        (1, &[12, 0, 0, 0, 1, 1, 0, 0], RecordError::ExtraBytes),
        (1, &[14, 0, 0, 0, 1, 1, 0], RecordError::Truncated),
        (1, &[14, 0, 0, 0, 1, 1, 0, 0], RecordError::LengthMismatch),
        (1, &[10, 0, 0, 0, 1, 1], RecordError::LengthMismatch),
        (1, &[1], RecordError::NegativeLength),
        (1, &[12, 0, 0, 0, 1, 1, 1], RecordError::NegativeLength),
        (1, &[12, 0, 0, 0, 1, 1, 2], RecordError::LengthMismatch),
        (1, &[16, 0, 0, 0, 1, 1, 2, 1, 1], RecordError::NegativeLength),
        (1, &[12, 0, 0, 0, 20, 1, 0], RecordError::LengthMismatch),
        (1, &[12, 0, 0, 2, 1, 1, 0], RecordError::OffsetDelta),
        (1, &[0xff, 0xff, 0xff, 0xff, 0xff], RecordError::Varint),
    ];
    for (count, payload, expected) in cases {
        let error = refused(&with_payload(*count, payload));
        let BatchError::Record { error, .. } = error else { panic!("{payload:?}: {error}") };
        assert_eq!(error, *expected, "{payload:?}");
    }
}

#[test]
fn compressed_records_are_not_walked_by_mistake() {
    let bytes = sample().build_compressed(Compression::Lz4, <[u8]>::to_vec);
    let records: Vec<_> = view(&bytes).records().collect();
    assert_eq!(records, [Err(RecordError::Compressed)]);
    assert_eq!(Records::new(view(&bytes).payload(), 3).filter(Result::is_ok).count(), 3);
}
