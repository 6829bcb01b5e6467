//! What a history is made of, drawn at random: settings of logs, and batches for them.

use std::collections::BTreeMap;
use std::rc::Rc;

use model::batch::{BatchBuilder, header};
use model::{Offset, ProducerEpoch, ProducerId, TimestampMs, TopicPartition};
use storage::disk::random::Random;
use storage::{CompactionSettings, LogSettings};

use crate::keyed::{self, Record};
use crate::worker::Boot;

/// Whether a log acknowledges what is written but not synced.
pub fn is_relaxed(id: TopicPartition) -> bool {
    id.partition % 3 == 1
}

/// Whether a log is compacted.
pub fn is_compacted(id: TopicPartition) -> bool {
    id.partition > 0 && id.partition.is_multiple_of(2)
}

/// Settings as wild as they may be.
pub fn settings(id: TopicPartition, random: &mut Random) -> Rc<LogSettings> {
    let segment_bytes = match random.below(if is_compacted(id) { 3 } else { 4 }) {
        0 => random.between(1, 10_000),
        1 => random.between(10_000, 100_000),
        2 => random.between(100_000, 500_000),
        _ => 1 << 30,
    };
    Rc::new(LogSettings {
        segment_bytes,
        segment_ms: if random.one_in(4) { 20 } else { 1 << 40 },
        segment_jitter_ms: if random.one_in(2) { 10 } else { 0 },
        retention_ms: if random.one_in(4) { 100 } else { -1 },
        retention_bytes: if random.one_in(2) { 60_000 } else { -1 },
        delete_retained: !is_compacted(id) || random.one_in(4),
        acknowledge_written: is_relaxed(id),
        compaction: is_compacted(id).then(|| CompactionSettings {
            lag_ms_min: if random.one_in(4) { 20 } else { 0 },
            tombstones_ms: if random.one_in(2) { 0 } else { 50 },
            dirty_ppm_min: 0,
            ..CompactionSettings::default()
        }),
    })
}

/// A batch for a log, with garbage where the broker's own fields go, and what is in it if the log is compacted.
pub fn build(
    boot: &Boot,
    id: TopicPartition,
    random: &mut Random,
    now_ms: i64,
    sequences: &mut BTreeMap<i64, i32>,
) -> (Vec<u8>, Vec<Record>) {
    let len = match random.below(40) {
        0 => random.between(1, boot.append_max - 1000),
        1..8 => random.between(1, 40_000),
        _ => random.between(1, 2_000),
    };
    if is_compacted(id) {
        let producer = random.one_in(2).then(|| i64::try_from(random.below(4)).expect("small"));
        let (mut built, records) = keyed::build(random, now_ms, len, |builder, count| match producer {
            Some(id) => written_by(builder, id, count, sequences),
            None => builder,
        });
        header::set_base_offset(&mut built, Offset(77));
        return (built, records);
    }
    let records = random.between(1, 4);
    let value = vec![
        u8::try_from(random.below(256)).expect("a byte");
        usize::try_from(len / records).expect("small")
    ];
    let mut builder = BatchBuilder::new();
    for _ in 0..records {
        builder = builder.value(TimestampMs(now_ms), &value);
    }
    if random.one_in(2) {
        let id = i64::try_from(random.below(4)).expect("small");
        builder = written_by(builder, id, records, sequences);
    }
    let mut built = builder.build();
    // Garbage where the broker's own fields go: it has to be overwritten.
    header::set_base_offset(&mut built, Offset(77));
    (built, Vec::new())
}

fn written_by(
    builder: BatchBuilder,
    id: i64,
    records: u64,
    sequences: &mut BTreeMap<i64, i32>,
) -> BatchBuilder {
    let next = sequences.entry(id).or_default();
    let first = *next;
    *next += i32::try_from(records).expect("small");
    builder.producer(ProducerId(id), ProducerEpoch(0), first)
}
