//! Batches of logs that are compacted: records with keys, in every codec.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};

use model::TimestampMs;
use model::batch::{BatchBuilder, Compression, RecordBatch};
use storage::decompress;
use storage::disk::random::Random;

/// One record as it must come back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    pub offset: i64,
    pub time: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
}

const CODECS: [Compression; 5] =
    [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

fn compress(compression: Compression, records: &[u8]) -> Vec<u8> {
    match compression {
        Compression::None => records.to_vec(),
        Compression::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(records).expect("in memory");
            encoder.finish().expect("in memory")
        }
        Compression::Snappy => snap::raw::Encoder::new().compress_vec(records).expect("in memory"),
        Compression::Lz4 => {
            let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
            encoder.write_all(records).expect("in memory");
            encoder.finish().expect("in memory")
        }
        Compression::Zstd => zstd::bulk::compress(records, 1).expect("in memory"),
    }
}

/// A batch of about `len` bytes, and its records as if it stood at offset 0. `finish` says who wrote it.
pub fn build(
    random: &mut Random,
    now_ms: i64,
    len: u64,
    finish: impl FnOnce(BatchBuilder, u64) -> BatchBuilder,
) -> (Vec<u8>, Vec<Record>) {
    let count = random.between(1, 6);
    let keys = if random.one_in(3) { 300 } else { 9 };
    let mut records = Vec::new();
    let mut builder = BatchBuilder::new();
    for offset in 0..i64::try_from(count).expect("small") {
        let key = (!random.one_in(50)).then(|| random.below(keys).to_le_bytes().to_vec());
        let fill = u8::try_from(random.below(256)).expect("a byte");
        let value = (!random.one_in(5)).then(|| vec![fill; usize::try_from(len / count).expect("small")]);
        let time = now_ms + i64::try_from(random.below(3)).expect("small");
        builder = builder.record(TimestampMs(time), key.as_deref(), value.as_deref());
        records.push(Record { offset, time, key, value });
    }
    let compression = CODECS[random.index(CODECS.len())];
    let built = finish(builder, count).build_compressed(compression, |bytes| compress(compression, bytes));
    (built, records)
}

/// Batches that were read, and their records.
pub fn read(bytes: &[u8]) -> Vec<(RecordBatch<'_>, Vec<Record>)> {
    RecordBatch::all_in(bytes)
        .map(|batch| {
            let batch = batch.expect("whole batches");
            batch.check_crc().expect("sound batches");
            (batch, records(&batch))
        })
        .collect()
}

fn records(batch: &RecordBatch<'_>) -> Vec<Record> {
    if batch.record_count() == 0 {
        assert!(batch.payload().is_empty());
        return Vec::new();
    }
    let compression = batch.compression().expect("a known codec");
    let mut payload = Vec::new();
    let mut reader =
        decompress::reader(compression, batch.payload().to_vec(), 64 << 20).expect("a sound payload");
    reader.read_to_end(&mut payload).expect("a sound payload");
    model::batch::Records::new(&payload, batch.record_count())
        .map(|record| {
            let record = record.expect("a sound record");
            Record {
                offset: record.offset(batch).0,
                time: record.timestamp(batch).0,
                key: record.key.map(<[u8]>::to_vec),
                value: record.value.map(<[u8]>::to_vec),
            }
        })
        .collect()
}

/// Offsets of records that a later one replaces.
pub fn replaced(batches: &[super::oracle::Batch]) -> BTreeSet<i64> {
    let mut last: BTreeMap<&[u8], i64> = BTreeMap::new();
    let mut replaced = BTreeSet::new();
    for record in batches.iter().flat_map(|batch| &batch.records) {
        if let Some(key) = &record.key {
            replaced.extend(last.insert(key, record.offset));
        }
    }
    replaced
}
