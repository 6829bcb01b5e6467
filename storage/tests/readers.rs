//! Several consumers behind what memory holds: what one of them had read serves the others.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod rig;

use model::Offset;
use model::batch::RecordBatch;
use rig::{Rig, partition};
use storage::ReadLimits;

const BATCH: usize = 90_000;
const BATCHES: i64 = 150;

/// A log of which the first half is not in memory any more.
fn rig() -> Rig {
    let mut rig = Rig::with_cache(5, 8 << 20);
    rig.segment_bytes = 5_000_000;
    for _ in 0..BATCHES {
        rig.append(partition(1, 0), BATCH).unwrap();
    }
    rig
}

/// What consumers at these offsets cost the disk, bytes, when each of them reads the same number of records, by turns and in
/// steps of their own.
fn read_by_turns(rig: &Rig, mut places: Vec<(Offset, usize)>, records: i64) -> u64 {
    let log = rig.log(partition(1, 0));
    let before = rig.store.counters().read_bytes;
    let ends: Vec<Offset> = places.iter().map(|(at, _)| Offset(at.0 + records)).collect();
    while places.iter().zip(&ends).any(|((at, _), end)| at < end) {
        for ((at, step), end) in places.iter_mut().zip(&ends).filter(|((at, _), end)| at < end) {
            let limits = ReadLimits { before: *end, ..ReadLimits::bytes(*step) };
            let pieces = rig.simulation.run_until(rig.store.read(&log, *at, limits)).unwrap();
            for batch in pieces.iter().flat_map(|piece| RecordBatch::all_in(piece.bytes())) {
                let batch = batch.unwrap();
                assert_eq!(batch.base_offset(), *at);
                let value = batch.records().next().unwrap().unwrap().value.unwrap().to_vec();
                assert!(value.iter().all(|byte| *byte == at.0.to_le_bytes()[0]), "record {at}");
                *at = batch.last_offset().next();
            }
        }
    }
    rig.store.counters().read_bytes - before
}

#[test]
fn what_one_had_read_serves_the_others() {
    const RECORDS: i64 = 60;
    let alone = read_by_turns(&rig(), vec![(Offset(0), 300_000)], RECORDS);
    assert!(alone > 60 * 80_000, "it was not in memory: {alone}");
    // They are some batches apart, and stop within one read of each other at different places.
    let places = (0..8).map(|at| (Offset(at), 280_000 + 10_000 * usize::try_from(at).unwrap()));
    let together = read_by_turns(&rig(), places.collect(), RECORDS);
    assert!(together < 2 * alone, "eight together {together}, one alone {alone}");
}

#[test]
fn who_is_far_apart_reads_for_itself_within_the_same_memory() {
    let rig = rig();
    let spread = (0..12).map(|at| (Offset(at * 5), 200_000)).collect();
    read_by_turns(&rig, spread, 20);
    assert!(rig.store.counters().ahead_bytes <= rig.store.plan().read_ahead());
}

#[test]
fn many_who_are_far_apart_read_hardly_more_than_they_are_given() {
    const READERS: i64 = 12;
    const RECORDS: i64 = 24;
    let rig = rig();
    // More places than there is memory for what one large read brings to each.
    let spread = (0..READERS).map(|at| (Offset(at * 6), 600_000));
    let read = read_by_turns(&rig, spread.collect(), RECORDS);
    let given = u64::try_from(READERS * RECORDS).unwrap() * BATCH as u64;
    assert!(read < given + given / 2, "{read} bytes for {given}");
}
