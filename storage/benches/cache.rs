//! Committed bytes in memory: what a Fetch costs that finds them there, and an append that pushes the oldest out.
//!
//! `cargo bench -p millrace-storage --bench cache`. The disk takes no time. An append is measured with all that the store does: the
//! frame (bench `journal`), telling the log, the copy for the segment, letting go of what is oldest.
#![allow(missing_docs, reason = "criterion's macros make functions without")]

mod void;

use std::cell::Cell;
use std::rc::Rc;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use futures_lite::future::block_on;
use model::batch::BatchBuilder;
use model::limits::MemoryPlan;
use model::{LeaderEpoch, Offset, TimestampMs, TopicId, TopicPartition};
use storage::derived::EpochsOnly;
use storage::journal::JournalId;
use storage::paths::Paths;
use storage::{LogRef, LogSettings, Piece, ReadLimits, Store, StoreOptions};

use void::Void;

const MEMORY: u64 = 256 << 20;
/// What consumers ask for of one partition unless told otherwise.
const FETCH_BYTES: usize = 1 << 20;
const COMMIT_BYTES: usize = 1 << 20;

/// A store whose cache is full, and batches of one record for it.
struct Subject {
    disk: Void,
    store: Rc<Store<Void, EpochsOnly>>,
    logs: Vec<LogRef<Void, EpochsOnly>>,
    next: Cell<usize>,
    batch: Bytes,
}

impl Subject {
    fn full(partitions: u32, batch_bytes: usize) -> Self {
        let disk = Void::new();
        let plan = MemoryPlan::new(MEMORY, 1).expect("enough");
        let budget = plan.frames();
        let options = StoreOptions {
            paths: Paths::new("/data"),
            plan,
            boot: 1,
            journal: JournalId([1; 16]),
            open_files_max: 512,
            free_bytes_min: 0,
            extent_bytes_min: model::limits::EXTENT_BYTES_MIN,
            extent_bytes_unsettled_max: model::limits::EXTENT_BYTES_UNSETTLED_MAX,
            snapshot_bytes: model::limits::SNAPSHOT_BYTES,
        };
        let store = disk.run(Store::open(disk.clone(), options, Vec::new())).expect("a disk without errors");
        store.start(None);
        let settings = Rc::new(LogSettings::default());
        let loaded = |partition| {
            let log = store.log(TopicPartition { topic: TopicId([7; 16]), partition });
            disk.run(store.load(&log, &settings)).expect("a new log");
            log
        };
        let logs = (0..partitions).map(loaded).collect();
        let value: Vec<u8> = (0..=u8::MAX).cycle().take(batch_bytes - 80).collect();
        let batch = Bytes::from(BatchBuilder::new().value(TimestampMs(1), &value).build());
        let subject = Self { disk, store, logs, next: Cell::new(0), batch };
        for _ in 0..3 * budget / COMMIT_BYTES as u64 {
            subject.append(COMMIT_BYTES);
        }
        let held = subject.store.counters().frame_bytes;
        assert!(held > budget / 2 && held <= budget, "{held} of {budget}: full, and what is oldest goes");
        subject
    }

    /// Appends so many bytes, to one log after the other, and waits until they are durable.
    fn append(&self, bytes: usize) {
        for _ in 0..bytes / self.batch.len() {
            let log = &self.logs[self.next.get()];
            self.next.set((self.next.get() + 1) % self.logs.len());
            self.store.append(log, self.batch.clone(), LeaderEpoch(1), 1).expect("room");
        }
        self.disk.run(self.store.durable(self.store.last_ticket()));
    }

    /// Reads as Fetch does. A read from memory waits for nothing, so it needs no executor; this disk cannot be read.
    fn read(&self, log: &LogRef<Void, EpochsOnly>, from: Offset, bytes_max: usize) -> Vec<Piece> {
        block_on(self.store.read(log, from, ReadLimits::bytes(bytes_max))).expect("in memory")
    }
}

fn hits(criterion: &mut Criterion) {
    const BATCH_BYTES: usize = 16 << 10;
    let mut group = criterion.benchmark_group("cache");
    let subject = Subject::full(1, BATCH_BYTES);
    let log = &subject.logs[0];
    let end = log.durable_end().0;
    // Nothing is copied, so bytes a second would say nothing. Far enough back for a whole answer, and here and there, as consumers are.
    let mut back = 0;
    let mut from = || {
        back = (back + 619) % 1024;
        Offset(end - 1024 - back)
    };
    for (what, bytes_max) in [("one batch of 16 KiB", 1), ("1 MiB in batches of 16 KiB", FETCH_BYTES)] {
        let expected = (bytes_max / subject.batch.len()).max(1) * subject.batch.len();
        let read = subject.read(log, from(), bytes_max);
        assert_eq!(read.iter().map(|piece| piece.bytes().len()).sum::<usize>(), expected);
        group.bench_function(format!("read {what}"), |bencher| {
            bencher.iter(|| subject.read(log, from(), bytes_max));
        });
    }
    group.finish();
}

fn appends(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("cache");
    // Large appends of one partition go straight to its segment, in pieces of their own; the others are in frames.
    for (partitions, batch_bytes) in [(1, 128 << 10), (100, 16 << 10), (100, 1 << 10)] {
        let subject = Subject::full(partitions, batch_bytes);
        let bytes = COMMIT_BYTES / subject.batch.len() * subject.batch.len();
        group.throughput(Throughput::Bytes(bytes as u64));
        let name = format!("append 1 MiB in batches of {} KiB, logs: {partitions}", batch_bytes >> 10);
        group.bench_function(name, |bencher| bencher.iter(|| subject.append(COMMIT_BYTES)));
        assert_eq!(subject.store.counters().read_bytes, 0);
    }
    group.finish();
}

criterion_group!(all, hits, appends);
criterion_main!(all);
