//! Hostile bytes against the batch parser: nothing panics, and what passes holds what it promises.
//!
//! Runs as ordinary tests: first the corpus beside this file, then random inputs, of which
//! `BOLERO_RANDOM_ITERATIONS` sets the number. A failure prints its seed; `BOLERO_RANDOM_SEED` replays it.
//! `cargo test -p millrace-model --test fuzz -- --ignored write_corpus` lays down the corpus anew.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "tests: their names tell, and one that cannot go on has failed"
)]

use std::path::PathBuf;

use model::batch::{
    BatchBuilder, Compression, HEADER_BYTES, ProduceRules, RecordBatch, Records, header, validate_produce,
};
use model::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, TimestampMs};

/// Random inputs per target, where the environment says nothing else.
const ITERATIONS: usize = 10_000;

const NOW: TimestampMs = TimestampMs(1_700_000_000_000);

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/__fuzz__/record_batches/corpus")
}

fn corpus() -> Vec<Vec<u8>> {
    let mut files: Vec<_> =
        std::fs::read_dir(directory()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 6, "the corpus is gone");
    files.iter().map(|file| std::fs::read(file).unwrap()).collect()
}

/// Reads `bytes` in every way there is.
fn read_all(bytes: &[u8]) {
    let mut sizes = 0;
    for batch in RecordBatch::all_in(bytes).map_while(Result::ok) {
        sizes += batch.size_bytes();
        assert_eq!(batch.as_bytes().len(), batch.size_bytes());
        assert_eq!(batch.payload().len(), batch.size_bytes() - HEADER_BYTES);
        let _ = (batch.check_crc().is_ok(), batch.last_offset(), batch.last_sequence());
        walk(&batch, batch.records());
        // As if the payload had been decompressed to this.
        walk(&batch, Records::new(batch.payload(), batch.record_count()));
    }
    assert!(sizes <= bytes.len());
    check_valid(bytes);
}

/// Returns how many records there are before an error.
fn walk<'a>(batch: &RecordBatch<'a>, records: Records<'a>) -> usize {
    let mut count = 0;
    for record in records.map_while(Result::ok) {
        count += 1;
        let _ = (record.offset(batch), record.timestamp(batch));
        let fields = record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len);
        let headers: usize =
            record.headers().map(|(key, value)| key.len() + value.map_or(0, <[u8]>::len)).sum();
        assert!(fields + headers <= batch.payload().len());
    }
    count
}

/// What validation lets through has no surprises left for the log.
fn check_valid(bytes: &[u8]) {
    let rules = ProduceRules { transactions: true, ..ProduceRules::at(NOW) };
    let Ok(batch) = validate_produce(bytes, &rules) else { return };
    assert_eq!(batch.size_bytes(), bytes.len());
    assert_eq!(batch.check_crc(), Ok(()));
    assert_eq!(batch.record_count(), batch.last_offset_delta() + 1);
    if batch.compression() == Ok(Compression::None) {
        assert_eq!(walk(&batch, batch.records()), usize::try_from(batch.record_count()).unwrap());
    }
    let stamp =
        header::Stamp { base_offset: Offset(9), leader_epoch: LeaderEpoch(1), log_append_time: Some(NOW) };
    let stamped = [&header::stamped(&batch, stamp)[..], batch.payload()].concat();
    assert_eq!(RecordBatch::parse(&stamped).unwrap().0.check_crc(), Ok(()));
}

/// With a length and a CRC that are right, or the parser would never look any further.
fn repaired(mut bytes: Vec<u8>) -> Vec<u8> {
    if bytes.len() >= HEADER_BYTES {
        let length = i32::try_from(bytes.len() - header::LENGTH_OVERHEAD).unwrap();
        bytes[header::LENGTH_AT..header::LENGTH_AT + 4].copy_from_slice(&length.to_be_bytes());
        bytes[header::MAGIC_AT] = 2;
        header::recompute_crc(&mut bytes);
    }
    bytes
}

#[test]
fn record_batches() {
    bolero::check!().with_iterations(ITERATIONS).for_each(|input: &[u8]| {
        read_all(input);
        read_all(&repaired(input.to_vec()));
    });
}

#[test]
fn record_batches_damaged() {
    let corpus = corpus();
    bolero::check!().with_iterations(2 * ITERATIONS).with_type::<(u16, u16, Vec<(u16, u8)>)>().for_each(
        |(pick, keep, edits)| {
            let mut bytes = corpus[usize::from(*pick) % corpus.len()].clone();
            if keep & 1 == 1 {
                let length = bytes.len();
                bytes.truncate(usize::from(keep >> 1) % (length + 1));
            }
            for (at, value) in edits {
                let at = usize::from(*at) % (bytes.len() + 1);
                match bytes.get_mut(at) {
                    Some(byte) => *byte = *value,
                    None => bytes.push(*value),
                }
            }
            read_all(&bytes);
            read_all(&repaired(bytes));
        },
    );
}

/// A payload of any bytes under an honest header, so that the records themselves are what is attacked.
#[test]
fn record_payloads() {
    bolero::check!().with_iterations(ITERATIONS).with_type::<(u8, Vec<u8>)>().for_each(|(count, payload)| {
        let mut builder = BatchBuilder::new();
        for _ in 0..*count % 8 {
            builder = builder.value(NOW, b"");
        }
        read_all(&builder.build_compressed(Compression::None, |_| payload.clone()));
    });
}

#[test]
fn corpus_is_valid() {
    for bytes in corpus() {
        let rules = ProduceRules { transactions: true, ..ProduceRules::at(NOW) };
        assert!(RecordBatch::all_in(&bytes).all(|batch| batch.unwrap().check_crc().is_ok()));
        assert!(bytes.len() > 500 || validate_produce(&bytes, &rules).is_ok());
    }
}

/// Writes one file per kind of batch.
#[test]
#[ignore = "writes into the source tree"]
fn write_corpus() {
    let plain = || BatchBuilder::new().record(NOW, Some(b"key"), Some(b"value")).value(NOW, b"second");
    let headers: &[(&[u8], Option<&[u8]>)] = &[(b"h", Some(b"1")), (b"h", None)];
    let with_headers = plain().record_with_headers(NOW, None, None, headers);
    let idempotent = plain().producer(ProducerId(7), ProducerEpoch(1), i32::MAX);
    let files = [
        ("plain", plain().build()),
        ("headers", with_headers.build()),
        ("idempotent", idempotent.build()),
        ("transactional", idempotent.clone().transactional().build()),
        ("compressed", plain().build_compressed(Compression::Zstd, |_| b"opaque".to_vec())),
        ("several", [plain().build(), with_headers.build(), plain().control().build()].concat().repeat(2)),
    ];
    std::fs::create_dir_all(directory()).unwrap();
    for (name, bytes) in files {
        std::fs::write(directory().join(name), bytes).unwrap();
    }
}
