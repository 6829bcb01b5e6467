//! What every produced batch costs before the log takes it: the checksum alone, and all of the validation.
//!
//! `cargo bench -p millrace-model --bench batch`. A batch is 128 KiB of records of 100 B or 1 KiB.
#![allow(missing_docs, reason = "criterion's macros make functions without")]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use model::TimestampMs;
use model::batch::builder::BatchBuilder;
use model::batch::{ProduceRules, RecordBatch, validate_produce};

const BATCH_BYTES: usize = 128 << 10;
const NOW: TimestampMs = TimestampMs(1_700_000_000_000);

fn batch(record_bytes: usize) -> Vec<u8> {
    let value: Vec<u8> = (0..=u8::MAX).cycle().take(record_bytes).collect();
    let records = BATCH_BYTES / (record_bytes + 8);
    (0..records).fold(BatchBuilder::new(), |batch, _| batch.value(NOW, &value)).build()
}

fn batches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("batch");
    for record_bytes in [100, 1024] {
        let batch = batch(record_bytes);
        group.throughput(Throughput::Bytes(batch.len() as u64));
        group.bench_function(format!("checksum, records of {record_bytes} B"), |bencher| {
            let (view, _) = RecordBatch::parse(&batch).expect("a whole batch");
            bencher.iter(|| black_box(&view).check_crc());
        });
        group.bench_function(format!("validate, records of {record_bytes} B"), |bencher| {
            let rules = ProduceRules::at(NOW);
            bencher.iter(|| validate_produce(black_box(&batch), &rules).is_ok());
        });
        assert!(
            validate_produce(&batch, &ProduceRules::at(NOW)).is_ok(),
            "what was measured is a good batch"
        );
    }
}

criterion_group!(all, batches);
criterion_main!(all);
