//! What a commit costs the processor: planning, copying entries into frames, checksums, headers. The disk takes no time.
//!
//! `cargo bench -p millrace-storage --bench journal`. Frames stay in memory for as long as a shard would keep some, so a commit
//! writes to memory that has left the processor's caches, as it does in a broker. What is copied is always the same batch and
//! does not leave them: a broker has just read it from a socket and checked it.
#![allow(missing_docs, reason = "criterion's macros make functions without")]

mod void;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::hint::black_box;
use std::rc::Rc;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use model::batch::BatchBuilder;
use model::limits::FRAME_BYTES_MAX;
use model::{OwnershipEpoch, TimestampMs, TopicId, TopicPartition};
use storage::disk::Disk;
use storage::journal::commit::{CommitFacts, Sink};
use storage::journal::frame::FrameHeader;
use storage::journal::ring::Ring;
use storage::journal::{Committed, Entry, EntryKind, Journal, JournalId, Queued};
use storage::paths::Paths;
use storage::pool::{Pool, Pooled};

use void::Void;

const COMMIT_BYTES: usize = 1 << 20;
const RING_BYTES: u64 = 64 << 20;
/// More than the caches of a processor hold.
const KEPT_FRAMES: usize = 64;

/// Batches of about `size` bytes.
fn batch(size: usize) -> Bytes {
    let value: Vec<u8> = (0..=u8::MAX).cycle().take(size - 80).collect();
    Bytes::from(BatchBuilder::new().value(TimestampMs(1), &value).build())
}

/// A journal, and the frames that it wrote last.
struct Subject {
    disk: Void,
    journal: Journal<Void, ()>,
    frames: RefCell<VecDeque<Rc<Pooled<Void>>>>,
    commits: Cell<u64>,
}

impl Subject {
    fn start() -> Rc<Self> {
        let disk = Void::new();
        let id = JournalId([1; 16]);
        let pool = Pool::new(disk.clone(), KEPT_FRAMES * FRAME_BYTES_MAX);
        let ring = Ring::new(disk.clone(), &Paths::new("/data"), id, RING_BYTES);
        let journal = Journal::new(disk.clone(), id, ring, pool);
        let subject = Rc::new(Self { disk, journal, frames: RefCell::default(), commits: Cell::new(0) });
        let running = Rc::clone(&subject);
        subject.disk.spawn(async move { running.journal.ring.provision().await.expect("room") });
        let running = Rc::clone(&subject);
        subject.disk.spawn(async move { running.journal.run(&*running).await });
        let running = Rc::clone(&subject);
        subject.disk.spawn(async move {
            loop {
                running.journal.ring.filled(4).await;
                running.journal.ring.recycle_oldest();
            }
        });
        subject
    }

    /// Queues `count` appends and waits until they are durable.
    fn commit(&self, batch: &Bytes, count: usize) {
        let partition = TopicPartition { topic: TopicId([1; 16]), partition: 0 };
        let entry = Entry::of(EntryKind::Append, partition, OwnershipEpoch { boot: 1, moves: 0 });
        for _ in 0..count {
            self.journal.queue(Queued { entry, bytes: batch.clone(), marked: false, log: () });
        }
        self.disk.run(self.journal.durable(self.journal.last_ticket()));
    }
}

impl Sink<Void, ()> for Subject {
    fn committed(&self, entries: Vec<Committed<Void, ()>>, _facts: CommitFacts) {
        self.commits.set(self.commits.get() + 1);
        let mut frames = self.frames.borrow_mut();
        for entry in entries {
            if frames.back().is_none_or(|last| !Rc::ptr_eq(last, &entry.frame)) {
                frames.push_back(entry.frame);
            }
        }
        while frames.len() > KEPT_FRAMES {
            frames.pop_front();
        }
    }
}

fn is_whole(frame: &[u8]) -> bool {
    FrameHeader::parse(frame).is_some_and(|header| header.payload_of(frame).is_some())
}

fn journal(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("journal");
    for size in [1 << 10, 16 << 10, 128 << 10, 1 << 20] {
        let (batch, count) = (batch(size), COMMIT_BYTES / size);
        let subject = Subject::start();
        subject.commit(&batch, count);
        assert_eq!(subject.commits.get(), 1, "what is measured is one commit");
        assert!(subject.frames.borrow().iter().all(|frame| is_whole((**frame).as_ref())));
        group.throughput(Throughput::Bytes((batch.len() * count) as u64));
        group.bench_function(format!("1 MiB in batches of {} KiB", size >> 10), |bencher| {
            bencher.iter(|| subject.commit(&batch, count));
        });
    }
    let (batch, subject) = (batch(1 << 10), Subject::start());
    group.throughput(Throughput::Bytes(batch.len() as u64));
    group.bench_function("one batch of 1 KiB", |bencher| bencher.iter(|| subject.commit(&batch, 1)));
    group.finish();
}

/// What cannot be saved: the same bytes copied and checked, and nothing else.
fn least(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("journal");
    let batch = batch(128 << 10);
    let disk = Void::new();
    let mut frames: Vec<_> = (0..KEPT_FRAMES).map(|_| disk.buffer(COMMIT_BYTES)).collect();
    let mut next = 0;
    group.throughput(Throughput::Bytes(COMMIT_BYTES as u64));
    group.bench_function("1 MiB copied and checked, nothing else", |bencher| {
        bencher.iter(|| {
            next = (next + 1) % KEPT_FRAMES;
            let frame = frames[next].as_mut();
            for part in frame.chunks_mut(batch.len()) {
                part.copy_from_slice(&batch[..part.len()]);
            }
            crc32fast::hash(black_box(frame))
        });
    });
    group.finish();
}

criterion_group!(all, journal, least);
criterion_main!(all);
