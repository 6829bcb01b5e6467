//! A segment that rots: what cannot be trusted is never handed out, and the rest still is.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod rig;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::rc::Rc;

use model::Offset;
use model::batch::RecordBatch;
use storage::disk::Disk;
use storage::disk::memory::{Fault, Operation};
use storage::paths::Paths;
use storage::{ReadLimits, StoreError};

use rig::{Rig, partition};

const RECORD_BYTES: usize = 30_000;
const BATCHES: i64 = 80;
/// The one that rots.
const BAD: i64 = 37;

/// A closed log whose first segment, with or without its index, has one byte of batch [`BAD`] flipped.
fn rotten(inside: u64, index: bool) -> Rig {
    let mut rig = Rig::new(1);
    rig.segment_bytes = 1_500_000;
    for _ in 0..BATCHES {
        rig.append(partition(1, 0), RECORD_BYTES).unwrap();
    }
    rig.simulation.run_until(rig.store.close()).unwrap();
    let paths = Paths::new("/data");
    let file = paths.segment(partition(1, 0), Offset(0));
    if !index {
        let index: PathBuf = paths.index(partition(1, 0), Offset(0));
        rig.simulation.run_until(rig.disk.remove_file(&index)).unwrap();
    }
    let mut image = rig.disk.kill();
    rig.simulation.crash();
    let bytes = image.read(&file).unwrap();
    let mut at = 4096;
    for _ in 0..BAD {
        at += RecordBatch::parse(&bytes[at..]).unwrap().0.size_bytes();
    }
    assert!(image.flip(&file, at as u64 + inside, 1));
    let mut next = Rig::boot(2, rig.number + 1, image, BTreeSet::new());
    next.segment_bytes = 1_500_000;
    next
}

/// Reads on from an offset; where it stopped, and whether damage stopped it.
fn read_on(rig: &Rig, from: i64) -> (i64, bool) {
    let log = rig.log(partition(1, 0));
    let mut next = from;
    loop {
        let read = rig.store.read(&log, Offset(next), ReadLimits::bytes(200_000));
        let pieces = match rig.simulation.run_until(read) {
            Ok(pieces) if pieces.is_empty() => return (next, false),
            Ok(pieces) => pieces,
            Err(StoreError::Damaged(what)) => {
                assert!(what.contains("00000000000000000000.log at byte "), "{what}");
                return (next, true);
            }
            Err(error) => panic!("{error}"),
        };
        for piece in &pieces {
            for batch in RecordBatch::all_in(piece.bytes()) {
                let batch = batch.unwrap();
                assert_eq!(batch.base_offset(), Offset(next), "offsets follow one another");
                batch.check_crc().unwrap();
                next += 1;
            }
        }
    }
}

#[test]
fn a_batch_that_rots_is_damage_wherever_the_bit_is() {
    // Base offset up and down, length, magic, checksum, count of records, records.
    for inside in [7, 6, 10, 16, 18, 60, 5000] {
        let rig = rotten(inside, true);
        let before = rig.store.counters().damaged_reads;
        assert_eq!(read_on(&rig, 0), (BAD, true), "byte {inside}: all before it, and then damage");
        assert_eq!(read_on(&rig, BAD), (BAD, true), "byte {inside}");
        assert_eq!(rig.store.counters().damaged_reads - before, 2);
        assert_eq!(read_on(&rig, 60), (BATCHES, false), "byte {inside}: the other segment is whole");
    }
}

#[test]
fn an_index_is_not_made_from_a_rotten_segment() {
    for inside in [7, 6, 10] {
        let rig = rotten(inside, false);
        assert_eq!(read_on(&rig, 0), (0, true), "byte {inside}");
        assert_eq!(read_on(&rig, 60), (BATCHES, false), "byte {inside}");
    }
}

#[test]
fn a_read_that_fails_is_told_and_the_next_one_goes_on() {
    let whole = || {
        let mut rig = Rig::new(3);
        for _ in 0..BATCHES {
            rig.append(partition(1, 0), RECORD_BYTES).unwrap();
        }
        rig.simulation.run_until(rig.store.close()).unwrap();
        let image = rig.disk.kill();
        rig.simulation.crash();
        Rig::boot(4, rig.number + 1, image, BTreeSet::new())
    };
    let rig = whole();
    rig.log(partition(1, 0));
    rig.disk.inject(Fault::once(Operation::Read, ".log"));
    assert_eq!(read_on(&rig, 0), (0, true), "one fetch is answered with an error");
    assert_eq!(read_on(&rig, 0), (BATCHES, false));

    // While the log is opened: it stays closed, and the next attempt opens it.
    let rig = whole();
    rig.disk.inject(Fault::once(Operation::Read, "topics/"));
    let log = rig.store.log(partition(1, 0));
    let load = || rig.simulation.run_until(rig.store.load(&log, &Rc::default()));
    assert!(matches!(load(), Err(StoreError::Damaged(_))));
    assert_eq!(rig.store.counters().damaged_reads, 1);
    load().unwrap();
    assert_eq!(read_on(&rig, 0), (BATCHES, false));
}
