//! Record batches in both directions.

use bytes::{Bytes, BytesMut};
use kafka_protocol::records::{
    Compression as OracleCompression, Record as OracleRecord, RecordBatchDecoder, RecordBatchEncoder,
    RecordEncodeOptions, TimestampType as OracleTimestampType,
};
use model::batch::{BatchBuilder, ProduceRules, RecordBatch, header, validate_produce};
use model::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, TimestampMs};

use crate::ROUNDS;
use crate::random::Rng;
use crate::str_of;

const NOW: i64 = 1_700_000_000_000;

fn random_records(rng: &mut Rng) -> Vec<OracleRecord> {
    let (producer_id, producer_epoch) = (rng.i64().max(0), rng.i16() & i16::MAX);
    let base_offset = i64::from(rng.i32() & i32::MAX);
    let base_sequence = rng.i32() & 0xffff;
    let count = 1 + rng.index(20);
    (0..count)
        .map(|index| OracleRecord {
            transactional: false,
            control: false,
            delete_horizon: false,
            partition_leader_epoch: 5,
            producer_id,
            producer_epoch,
            timestamp_type: OracleTimestampType::Creation,
            offset: base_offset + i64::try_from(index).unwrap(),
            sequence: base_sequence + i32::try_from(index).unwrap(),
            timestamp: NOW - i64::from(rng.i32() & 0xff_ffff),
            key: rng.maybe(|rng| rng.bytes(100)),
            value: rng.maybe(|rng| rng.bytes(300)),
            headers: rng
                .list(3, |rng| (str_of(&rng.text()), rng.maybe(|rng| rng.bytes(20))))
                .into_iter()
                .collect(),
        })
        .collect()
}

/// What of a record must be the same on both sides.
type Facts = (i64, i64, Option<Bytes>, Option<Bytes>, Vec<(Bytes, Option<Bytes>)>);

fn facts_of_oracle(records: &[OracleRecord]) -> Vec<Facts> {
    let copy = |(key, value): (&kafka_protocol::protocol::StrBytes, &Option<Bytes>)| {
        (Bytes::copy_from_slice(key.as_bytes()), value.clone())
    };
    records
        .iter()
        .map(|r| {
            (r.offset, r.timestamp, r.key.clone(), r.value.clone(), r.headers.iter().map(copy).collect())
        })
        .collect()
}

fn facts_of_ours(batch: &RecordBatch<'_>) -> Vec<Facts> {
    batch
        .records()
        .map(|record| {
            let record = record.unwrap();
            let copy = |bytes: &[u8]| Bytes::copy_from_slice(bytes);
            let headers = record.headers().map(|(key, value)| (copy(key), value.map(copy))).collect();
            let (offset, timestamp) = (record.offset(batch).0, record.timestamp(batch).0);
            (offset, timestamp, record.key.map(copy), record.value.map(copy), headers)
        })
        .collect()
}

#[test]
fn batches_of_the_oracle_validate_and_read_back() {
    for seed in 0..ROUNDS * 5 {
        let records = random_records(&mut Rng::new(seed));
        let mut bytes = BytesMut::new();
        let options = RecordEncodeOptions { version: 2, compression: OracleCompression::None };
        RecordBatchEncoder::encode(&mut bytes, &records, &options).unwrap();
        let (batch, rest) = RecordBatch::parse(&bytes).unwrap();
        assert!(rest.is_empty(), "seed {seed}");
        assert_eq!(batch.base_offset().0, records[0].offset);
        assert_eq!(batch.last_offset().0, records[records.len() - 1].offset);
        assert_eq!(batch.last_sequence(), records[records.len() - 1].sequence);
        assert_eq!(batch.producer_id().0, records[0].producer_id);
        assert_eq!(Some(batch.max_timestamp().0), records.iter().map(|record| record.timestamp).max());
        assert_eq!(facts_of_ours(&batch), facts_of_oracle(&records), "seed {seed}");
        // As a producer sends it: from offset 0 on, which the CRC does not cover.
        header::set_base_offset(&mut bytes, Offset::ZERO);
        validate_produce(&bytes, &ProduceRules::at(TimestampMs(NOW))).unwrap();
    }
}

#[test]
fn our_batches_are_read_by_the_oracle_as_meant() {
    for seed in 0..ROUNDS * 5 {
        let records = random_records(&mut Rng::new(seed));
        let first = &records[0];
        let mut builder = BatchBuilder::new()
            .producer(ProducerId(first.producer_id), ProducerEpoch(first.producer_epoch), first.sequence)
            .stored_at(Offset(first.offset), LeaderEpoch(5));
        for record in &records {
            let headers: Vec<_> =
                record.headers.iter().map(|(key, value)| (key.as_bytes(), value.as_deref())).collect();
            builder = builder.record_with_headers(
                TimestampMs(record.timestamp),
                record.key.as_deref(),
                record.value.as_deref(),
                &headers,
            );
        }
        let set = RecordBatchDecoder::decode(&mut Bytes::from(builder.build())).unwrap();
        assert_eq!(set.records, records, "seed {seed}");
    }
}
