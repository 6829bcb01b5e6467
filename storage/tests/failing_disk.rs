//! A disk that fails or is full under a running store: nothing acknowledged is lost, and the process ends only when it must.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod rig;

use std::time::Duration;

use model::{Offset, TopicPartition};
use storage::StoreError;
use storage::disk::Disk;
use storage::disk::memory::{Fatal, Fault, Operation, catch_fatal};

use rig::{Rig, partition};

fn fatal_of(rig: &mut Rig, id: TopicPartition) -> Fatal {
    catch_fatal(|| rig.append_all(id, 200)).expect_err("the process ends")
}

#[test]
fn a_segment_write_that_fails_once_is_written_again() {
    let id = partition(1, 0);
    for seed in 0..40 {
        let mut rig = Rig::new(seed);
        let skip = u32::try_from(seed % 10).unwrap();
        rig.disk.inject(Fault::once(Operation::Write, ".log").after(skip));
        rig.append_all(id, 150);
        assert_eq!(rig.store.counters().segment_write_errors, 1, "seed {seed}");
        assert!(!rig.store.disk_is_full());
        rig.check(&rig.acknowledged);
        if seed % 2 == 0 {
            rig.simulation.run_until(rig.store.close()).unwrap();
        }
        rig.die_and_check();
    }
}

#[test]
fn what_follows_a_failed_write_goes_to_a_new_segment() {
    let id = partition(1, 0);
    let mut rig = Rig::new(1);
    // The second write: the first one, of the header, made the file.
    rig.disk.inject(Fault::once(Operation::Write, ".log").after(1));
    while rig.store.counters().segment_write_errors == 0 {
        rig.append_all(id, 1);
    }
    let log = rig.log(id);
    assert!(log.size_bytes() < 600_000, "the segment is not full yet");
    assert_eq!(rig.store.segments(&log).len(), 2);
    rig.append_all(id, 5);
    rig.check(&rig.acknowledged);
    rig.die_and_check();
}

#[test]
fn a_segment_write_that_fails_twice_ends_the_process_and_loses_nothing() {
    let id = partition(1, 0);
    for seed in 0..20 {
        let mut rig = Rig::new(seed);
        let skip = u32::try_from(seed % 10).unwrap();
        rig.disk.inject(Fault::always(Operation::Write, ".log").after(skip));
        let fatal = fatal_of(&mut rig, id);
        assert!(fatal.what.contains(".log at byte "), "{}", fatal.what);
        rig.die_and_check();
    }
}

#[test]
fn a_failed_journal_write_or_any_failed_sync_ends_the_process_at_once() {
    let faults = [
        (Operation::Write, "ring-", "writing the journal"),
        (Operation::Sync, "ring-", "writing the journal"),
        (Operation::Sync, ".log", "syncing"),
        (Operation::SyncDir, "topics/01010101010101010101010101010101/0", "syncing directory"),
    ];
    for (operation, path, expected) in faults {
        for seed in 0..4 {
            let mut rig = Rig::new(seed);
            rig.append_all(partition(2, 0), 1);
            // Even an error that speaks of space, if a sync reports it.
            let code = if seed % 2 == 1 && operation != Operation::Write { libc::ENOSPC } else { libc::EIO };
            // The journal's first file is there, and its second will take a while.
            rig.disk.inject(Fault::once(operation, path).with_code(code));
            let fatal = fatal_of(&mut rig, partition(1, 0));
            assert!(fatal.what.contains(expected) || fatal.what.contains("journal"), "{}", fatal.what);
            rig.disk.heal();
            rig.die_and_check();
        }
    }
}

/// Appends until the disk is full.
fn fill(rig: &mut Rig, id: TopicPartition) {
    for _ in 0..400 {
        match rig.append(id, 20_000) {
            Ok(()) => {}
            Err(StoreError::DiskFull) => return,
            Err(error) => panic!("{error}"),
        }
    }
    panic!("the disk is full, and everything was accepted");
}

#[test]
fn a_full_disk_refuses_records_keeps_what_it_has_and_goes_on_when_there_is_space() {
    let (id, other) = (partition(1, 0), partition(2, 0));
    // In the last one the journal itself has no room left when the topic is deleted.
    for seed in (0..20).chain([1040]) {
        let mut rig = Rig::new(seed);
        rig.append_all(other, 100);
        rig.append_all(id, 5);
        let operation =
            [Operation::Write, Operation::Create, Operation::CreateDir][usize::try_from(seed % 3).unwrap()];
        let path = if operation == Operation::CreateDir { "topics/03" } else { "topics/" };
        let victim = if operation == Operation::CreateDir { partition(3, 0) } else { id };
        rig.disk.inject(Fault::always(operation, path).with_code(libc::ENOSPC));
        fill(&mut rig, victim);
        rig.wait(Duration::from_secs(5));
        assert_eq!(rig.append(victim, 1), Err(StoreError::DiskFull));
        rig.check(&rig.acknowledged);
        // Letting go of records works all the same, and so does deleting.
        let log = rig.log(other);
        let to = rig.store.segments(&log)[1].0;
        rig.simulation.run_until(rig.store.set_log_start(&log, to)).unwrap();
        assert_eq!(rig.simulation.run_until(rig.store.trim(&log)).unwrap(), 1);
        if seed % 2 == 0 {
            rig.delete(other);
        }
        if seed % 4 < 2 {
            rig.disk.heal();
            rig.wait(Duration::from_secs(5));
            assert!(!rig.store.disk_is_full());
            rig.append_all(id, 100);
            rig.check(&rig.acknowledged);
        }
        rig.die_and_check();
    }
}

#[test]
fn what_waits_for_space_goes_with_its_topic() {
    let id = partition(1, 0);
    let mut rig = Rig::new(3);
    rig.disk.inject(Fault::always(Operation::Write, "topics/").with_code(libc::ENOSPC));
    fill(&mut rig, id);
    rig.delete(id);
    rig.wait(Duration::from_secs(5));
    assert!(!rig.store.disk_is_full(), "nothing waits any more");
    rig.append(partition(2, 0), 100).unwrap();
    rig.die_and_check();
}

#[test]
fn a_store_closes_on_a_full_disk_and_the_next_start_has_everything() {
    let id = partition(1, 0);
    for seed in 0..20 {
        let mut rig = Rig::new(seed);
        rig.append_all(partition(2, 0), 60);
        let full_before = seed % 2 == 0;
        let fault = Fault::always(if seed % 4 < 2 { Operation::Write } else { Operation::Create }, "topics/");
        let fault = fault.with_code(libc::ENOSPC);
        if full_before {
            rig.disk.inject(fault);
            fill(&mut rig, id);
        } else {
            rig.append_all(id, 20);
            rig.disk.inject(fault);
        }
        let begun = rig.disk.now_ms();
        rig.simulation.run_until(rig.store.close()).unwrap();
        assert!(rig.disk.now_ms() - begun < 60_000, "within a minute of the simulation");
        assert!(rig.disk.handles() <= 8, "only the ring's files are open");
        rig.die_and_check();
    }
}

#[test]
fn a_disk_without_space_for_all_journal_files_does_with_those_it_has() {
    let id = partition(1, 0);
    for files in 3..6 {
        let mut rig = Rig::new(files);
        let makes = u32::try_from(files).unwrap();
        rig.disk.inject(Fault::always(Operation::Create, "ring-").after(makes).with_code(libc::ENOSPC));
        for _ in 0..100 {
            // The ring turns with three files, refusing or not.
            rig.append(id, 20_000)
                .or_else(|error| if error == StoreError::DiskFull { Ok(()) } else { Err(error) })
                .unwrap();
        }
        rig.wait(Duration::from_secs(3));
        assert_eq!(rig.append(id, 1), Err(StoreError::DiskFull));
        let log = rig.log(id);
        rig.simulation.run_until(rig.store.set_log_start(&log, Offset(5))).unwrap();
        rig.disk.heal();
        rig.wait(Duration::from_secs(3));
        rig.append_all(id, 100);
        rig.check(&rig.acknowledged);
        rig.die_and_check();
    }
}

/// Not errors by plan, but a device that is full at some moment, wherever that strikes.
#[test]
fn a_small_device_never_ends_the_process_and_loses_nothing() {
    let mut refused = 0;
    // In the last one a journal file is made after moving the oldest one on has failed, so that half of the ring is free again.
    for seed in (0..60).chain([1219]) {
        let mut rig = Rig::new(seed);
        rig.append_all(partition(2, 0), 60);
        let free = rig.simulation.run_until(rig.disk.free_bytes("/".as_ref())).unwrap();
        let used = (1 << 40) - free;
        rig.disk.set_capacity(used + rig.random.between(0, 2 << 20));
        for round in 0..100 {
            match rig.append(partition(1, round % 3), 20_000) {
                Err(StoreError::DiskFull) => refused += 1,
                appended => appended.unwrap(),
            }
        }
        rig.check(&rig.acknowledged);
        match seed % 3 {
            0 => rig.simulation.run_until(rig.store.close()).unwrap(),
            1 => {
                rig.disk.set_capacity(1 << 40);
                rig.wait(Duration::from_secs(5));
                rig.append_all(partition(1, 0), 100);
            }
            _ => {}
        }
        rig.disk.set_capacity(1 << 40);
        rig.die_and_check();
    }
    assert!(refused > 60, "{refused}: the device is too large to be full");
}
