//! What a million records in flight cost, when no two neighbours are alike: megabytes.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use coordination::share::state::PartitionState;
use coordination::share::{AckBatch, AckType, Acquire, AcquireMode, LogBatch, SharePartition, ShareSettings};
use model::{LeaderEpoch, Offset, Tick, TimestampMs};

struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call goes to the system's allocator unchanged; counting touches no memory of the caller.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract, which is the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(block, layout) }
    }
}

const RECORDS: i64 = 1_000_000;
const MEMBERS: usize = 100;

#[test]
fn a_million_records_of_alternating_state_cost_megabytes() {
    let settings = ShareSettings { record_locks_max: 2_000_000, ..ShareSettings::default() };
    let state = PartitionState {
        snapshot_epoch: 0,
        state_epoch: 0,
        leader_epoch: LeaderEpoch(0),
        start: Offset(0),
        delivery_complete_count: 0,
        created: TimestampMs(0),
        written: TimestampMs(0),
        batches: Vec::new(),
    };
    let members: Vec<Arc<str>> = (0..MEMBERS).map(|number| format!("member-{number}").into()).collect();
    let before = LIVE.load(Ordering::Relaxed);
    let mut partition = SharePartition::new(settings, LeaderEpoch(0), &state, Offset(0));

    // Each record to another member than the one before, over twenty seconds.
    for (record, member) in (0..RECORDS).zip(members.iter().cycle()) {
        let request = Acquire {
            member,
            mode: AcquireMode::RecordLimit,
            records_max: 1,
            batch_size: 1,
            fetch_offset: Offset(record),
        };
        let batch = LogBatch { first: Offset(record), last: Offset(record) };
        let now = Tick(u64::try_from(record).unwrap() / 50);
        assert_eq!(partition.acquire(now, &request, &[batch]).len(), 1);
    }
    assert_eq!((partition.in_flight(), partition.runs()), (1_000_000, 1_000_000));
    assert!(partition.locks() <= MEMBERS * 401, "{}", partition.locks());
    let acquired = LIVE.load(Ordering::Relaxed) - before;

    // Every other one is accepted: the start stays at the first that is not.
    for (first, member) in (0..).zip(&members).skip(1).step_by(2) {
        let said =
            |record| AckBatch { first: Offset(record), last: Offset(record), types: vec![AckType::Accept] };
        let batches: Vec<AckBatch> = (first..RECORDS).step_by(MEMBERS).map(said).collect();
        let write = partition.acknowledge(Tick(0), member, &batches).unwrap().unwrap();
        partition.landed(write.id, Ok(()));
    }
    assert_eq!(partition.in_flight(), 1_000_000);
    let accepted = LIVE.load(Ordering::Relaxed) - before;
    let counted = usize::try_from(partition.memory_bytes()).unwrap();
    println!("{acquired} bytes acquired, {accepted} when every other one is accepted, counted as {counted}");
    assert!(accepted <= counted);
    assert!(acquired < 48 << 20 && accepted < 48 << 20, "{acquired} {accepted}");
}
