//! Indexes of sealed segments at rest: they save the scan after a start, and are never trusted further than they deserve.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod rig;

use std::collections::BTreeSet;
use std::path::PathBuf;

use model::Offset;
use storage::ReadLimits;
use storage::disk::Disk;
use storage::disk::memory::Operation;
use storage::paths::Paths;

use rig::{Rig, partition};

const SEGMENT_BYTES: u64 = 8 << 20;

/// A closed log with a large sealed segment, and its end.
fn closed() -> (Rig, Offset) {
    let mut rig = Rig::new(1);
    rig.segment_bytes = SEGMENT_BYTES;
    for _ in 0..400 {
        rig.append(partition(1, 0), 30_000).unwrap();
    }
    let log = rig.log(partition(1, 0));
    assert_eq!(rig.store.segments(&log).len(), 2);
    rig.simulation.run_until(rig.store.close()).unwrap();
    let end = log.end();
    (rig, end)
}

fn reboot(rig: &Rig) -> Rig {
    let image = rig.disk.kill();
    rig.simulation.crash();
    let mut next = Rig::boot(2, rig.number + 1, image, BTreeSet::new());
    next.segment_bytes = SEGMENT_BYTES;
    next
}

fn file() -> PathBuf {
    Paths::new("/data").index(partition(1, 0), Offset(0))
}

/// Operations that the first cold read takes.
fn reads_of_first_read(rig: &Rig) -> u64 {
    let log = rig.log(partition(1, 0));
    let before = rig.disk.operations(Operation::Read);
    let read = rig.store.read(&log, Offset(250), ReadLimits::bytes(1));
    let pieces = rig.simulation.run_until(read).unwrap();
    let batch = model::batch::RecordBatch::parse(pieces[0].bytes()).unwrap().0;
    assert_eq!(batch.base_offset(), Offset(250));
    rig.disk.operations(Operation::Read) - before
}

fn is_there(rig: &Rig) -> bool {
    rig.simulation.run_until(rig.disk.read_file(&file(), 1 << 20)).is_ok()
}

#[test]
fn the_first_cold_read_of_a_sealed_segment_does_not_scan_it() {
    let (rig, _) = closed();
    assert!(is_there(&rig), "a roll stores the index of what it seals");
    let rig = reboot(&rig);
    let reads = reads_of_first_read(&rig);
    assert!(reads <= 4, "the index, a probe or two, the batch: {reads} reads");
}

#[test]
fn a_missing_or_damaged_index_is_made_again_and_stored() {
    for damaged in [false, true] {
        let (rig, _) = closed();
        let rig = reboot(&rig);
        if damaged {
            assert!(rig.disk.flip(&file(), 40, 1));
        } else {
            rig.simulation.run_until(rig.disk.remove_file(&file())).unwrap();
        }
        assert!(reads_of_first_read(&rig) >= SEGMENT_BYTES >> 20, "the segment is scanned");
        let rig = reboot(&rig);
        assert!(reads_of_first_read(&rig) <= 4, "once");
    }
}

#[test]
fn an_index_of_what_was_cut_off_is_not_used_for_what_followed() {
    let (before, _) = closed();
    let old = before.simulation.run_until(before.disk.read_file(&file(), 1 << 20)).unwrap();
    let mut rig = reboot(&before);
    let log = rig.log(partition(1, 0));
    rig.simulation.run_until(rig.store.truncate(&log, Offset(20))).unwrap();
    for _ in 0..6000 {
        if rig.store.segments(&rig.log(partition(1, 0))).len() > 1 {
            break;
        }
        rig.append(partition(1, 0), 3_000).unwrap();
    }
    rig.simulation.run_until(rig.store.close()).unwrap();
    // A power cut may bring the old one back.
    rig.simulation.run_until(rig.disk.replace_file(&file(), old)).unwrap();
    rig = reboot(&rig);
    assert!(reads_of_first_read(&rig) >= SEGMENT_BYTES >> 20, "the segment is scanned");
    let mut all = rig.acknowledged.clone();
    all.insert(partition(1, 0), rig.log(partition(1, 0)).end());
    rig.check(&all);
}

#[test]
fn an_index_goes_with_its_segment() {
    let (before, _) = closed();
    let rig = reboot(&before);
    let log = rig.log(partition(1, 0));
    let to = rig.store.segments(&log)[1].0;
    rig.simulation.run_until(rig.store.set_log_start(&log, to)).unwrap();
    rig.simulation.run_until(rig.store.trim(&log)).unwrap();
    assert!(!is_there(&rig));
}
