//! Appends that go straight to their segment: written once, read back from wherever they are, and there after anything that
//! tears, fails, fills, cuts or deletes, once they are acknowledged.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod rig;

use std::collections::BTreeSet;
use std::path::PathBuf;

use model::limits::BLOCK;
use model::{Offset, TopicPartition};
use storage::derived::EpochsOnly;
use storage::disk::memory::{Fault, Image, MemoryDisk, Operation, catch_fatal};
use storage::disk::random::Random;
use storage::disk::simulation::Simulation;
use storage::journal::replay::RecoveryError;
use storage::paths::Paths;
use storage::recovery::{self, Recovered, TopicState};

use rig::{Rig, Shape, partition};

const LARGE: usize = 60_000;

/// A log whose segment is there, so that the next large append goes straight to it.
fn begun(seed: u64, id: TopicPartition) -> Rig {
    let mut rig = Rig::with_extents(seed);
    rig.segment_bytes = 4 << 20;
    while rig.store.counters().segment_writes == 0 {
        rig.append(id, 200_000).unwrap();
        rig.wait(std::time::Duration::from_millis(50));
    }
    rig
}

fn extent_bytes(rig: &Rig) -> u64 {
    rig.store.counters().extent_bytes
}

/// Replays an image, perhaps not to the end; what it found, and what is left then.
fn recover(seed: u64, image: Image, steps: u64) -> (Option<Result<Recovered, RecoveryError>>, Image) {
    let simulation = Simulation::new(seed);
    let disk = MemoryDisk::from_image(&simulation, image);
    let paths = Paths::new("/data");
    let recovering = recovery::recover::<_, EpochsOnly>(&disk, &paths, |_| TopicState::Live);
    let found = simulation.run_steps(steps, recovering);
    let mut random = Random::new(seed);
    let image = if random.one_in(2) { disk.kill() } else { disk.power_cut(&mut random) };
    simulation.crash();
    (found, image)
}

fn segments(image: &Image) -> Vec<PathBuf> {
    image.files().into_iter().filter(|path| path.extension().is_some_and(|kind| kind == "log")).collect()
}

#[test]
fn large_appends_are_written_once_and_the_journal_tells_of_them() {
    let id = partition(1, 0);
    let mut rig = begun(1, id);
    let before = rig.store.counters();
    for _ in 0..20 {
        rig.append(id, LARGE).unwrap();
    }
    let after = rig.store.counters();
    let (direct, journal) =
        (after.extent_bytes - before.extent_bytes, after.journal_bytes - before.journal_bytes);
    assert!(direct > 19 * LARGE as u64, "{direct} bytes of 20 appends");
    assert!(journal <= 20 * 2 * BLOCK as u64, "{journal} bytes in the journal");
    rig.check(&rig.acknowledged);
    rig.die_and_check();
}

#[test]
fn small_appends_between_large_ones_keep_their_places() {
    let id = partition(1, 0);
    for seed in 0..30 {
        let mut rig = begun(seed, id);
        for _ in 0..60 {
            let len = if rig.random.one_in(2) { 200 } else { 30_000 };
            let ticket = rig.begin(id, len).unwrap().ticket;
            if rig.random.one_in(3) {
                rig.simulation.run_until(rig.store.durable(ticket));
            }
            if rig.random.one_in(12) {
                let log = rig.log(id);
                rig.simulation.run_until(rig.store.put_to_rest(&log)).unwrap();
            }
        }
        rig.append(id, 10).unwrap();
        assert!(extent_bytes(&rig) > 0);
        rig.check(&rig.acknowledged);
        rig.die_and_check();
    }
}

#[test]
fn reads_find_every_append_in_memory_on_disk_and_between() {
    let id = partition(1, 0);
    let mut rig = begun(3, id);
    for _ in 0..100 {
        let ticket = rig.begin(id, 30_000).unwrap().ticket;
        if rig.random.one_in(4) {
            rig.simulation.run_until(rig.store.durable(ticket));
            rig.check(&rig.acknowledged);
        }
    }
    rig.append(id, LARGE).unwrap();
    let log = rig.log(id);
    for from in 0..log.end().0 {
        for bytes_max in [1, 40_000, 400_000] {
            let read = rig.store.read(&log, Offset(from), storage::ReadLimits::bytes(bytes_max));
            let pieces = rig.simulation.run_until(read).unwrap();
            let bytes = pieces.iter().map(storage::Piece::bytes).collect::<Vec<_>>().concat();
            let mut next = from;
            for batch in model::batch::RecordBatch::all_in(&bytes) {
                let batch = batch.unwrap();
                batch.check_crc().unwrap();
                assert_eq!(batch.base_offset().0, next);
                next += 1;
            }
            assert!(next > from);
        }
    }
    assert!(
        rig.store.counters().frame_bytes <= rig.store.ring_bytes() + (1 << 20),
        "what is at rest is let go"
    );
    assert!(rig.store.counters().read_bytes > 0, "some of it was read from the segment");
}

#[test]
fn a_cut_at_any_moment_of_a_commit_keeps_what_was_acknowledged_and_drops_the_rest_whole() {
    let id = partition(1, 0);
    let (mut kept, mut dropped) = (0, 0);
    for seed in 0..300 {
        let mut rig = begun(seed, id);
        rig.append(id, LARGE).unwrap();
        let acknowledged = rig.acknowledged[&id];
        for _ in 0..rig.random.between(1, 4) {
            rig.begin(id, LARGE).unwrap();
        }
        let steps = rig.random.between(1, 40);
        let _ = rig.simulation.run_steps(steps, std::future::pending::<()>());
        let image = match rig.random.one_in(2) {
            true => rig.disk.kill(),
            false => rig.disk.power_cut(&mut rig.random),
        };
        rig.simulation.crash();
        // Interrupted starts find the same as the one that ends.
        let (_, image) = recover(seed, image, 60);
        let (found, image) = recover(seed + 1, image, u64::MAX);
        let first = found.unwrap().unwrap();
        let (found, image) = recover(seed + 2, image, u64::MAX);
        let again = found.unwrap().unwrap();
        let end =
            |recovered: &Recovered| recovered.logs.iter().find(|(known, _)| *known == id).unwrap().1.end;
        assert_eq!(end(&first), end(&again), "seed {seed}");
        let whole = end(&first) > acknowledged;
        if whole {
            kept += 1
        } else {
            dropped += 1
        }
        let rig = Rig::boot_with(
            7,
            2,
            image,
            BTreeSet::new(),
            Shape { extent_bytes_min: 8192, ..Shape::default() },
        );
        let acknowledged = [(id, end(&first).max(acknowledged))].into();
        rig.check(&acknowledged);
    }
    assert!(kept > 20 && dropped > 20, "{kept} kept, {dropped} dropped: the moment must vary");
}

#[test]
fn what_rots_in_the_segment_is_damage_if_it_was_durable() {
    let id = partition(1, 0);
    let mut rig = begun(5, id);
    let log = rig.log(id);
    let position = |rig: &Rig| rig.store.segments(&log)[0].1;
    let first = position(&rig);
    rig.append(id, LARGE).unwrap();
    let second = position(&rig);
    rig.append(id, LARGE).unwrap();
    assert!(extent_bytes(&rig) > LARGE as u64);
    let image = rig.disk.kill();
    let path = segments(&image).remove(0);
    let at = |position: u64, mask| {
        let mut rotten = image.clone();
        assert!(rotten.flip(&path, position, mask));
        recover(9, rotten, u64::MAX).0.unwrap()
    };
    for place in [first + 100, first + 20_000, second - 5_000] {
        let error = at(place, 4).expect_err("a later frame says that it was durable").to_string();
        assert!(error.contains(&format!("{} at byte ", path.display())), "{error}");
        assert!(matches!(at(place, 4), Err(RecoveryError::Damaged(_))));
    }
    // Nobody says that the last one was durable: it is taken for torn, as a frame would be.
    let recovered = at(second + 20_000, 4).unwrap();
    assert_eq!(recovered.logs[0].1.end, Offset(log.end().0 - 1));
    // A file that is gone is no torn write.
    let mut cut = image.clone();
    assert!(cut.set_size(&path, first / BLOCK as u64 * BLOCK as u64));
    assert!(matches!(recover(9, cut, u64::MAX).0.unwrap(), Err(RecoveryError::Damaged(_))));
}

#[test]
fn a_truncation_may_take_extents_with_it_at_any_moment() {
    let id = partition(1, 0);
    let mut interrupted = 0;
    for seed in 0..120 {
        let mut rig = begun(seed, id);
        rig.segment_bytes = 600_000;
        let log = rig.log(id);
        log.configure(&std::rc::Rc::new(storage::LogSettings {
            segment_bytes: 600_000,
            ..Default::default()
        }));
        // Twice the flusher makes the segment's file before there are more.
        while rig.store.segments(&log).len() < 3 {
            rig.append(id, LARGE).unwrap();
        }
        for _ in 0..8 {
            rig.append(id, LARGE).unwrap();
            rig.wait(std::time::Duration::from_millis(20));
        }
        let to = Offset(i64::try_from(rig.random.between(1, 24)).unwrap());
        let steps = rig.random.between(1, 300);
        let cut = rig.simulation.run_steps(steps, rig.store.truncate(&log, to));
        if cut.is_some() {
            for _ in 0..3 {
                rig.append(id, LARGE).unwrap();
            }
        } else {
            interrupted += 1;
        }
        let image = match rig.random.one_in(2) {
            true => rig.disk.kill(),
            false => rig.disk.power_cut(&mut rig.random),
        };
        let acknowledged = rig.acknowledged[&id];
        rig.simulation.crash();
        let (_, image) = recover(seed, image, seed % 90);
        let (found, image) = recover(seed + 1, image, u64::MAX);
        let first = found.unwrap().unwrap().logs[0].1.end;
        let (found, image) = recover(seed + 2, image, u64::MAX);
        assert_eq!(found.unwrap().unwrap().logs[0].1.end, first, "seed {seed}");
        let ends = if cut.is_some() { vec![acknowledged] } else { vec![acknowledged, to] };
        assert!(ends.contains(&first), "seed {seed}: ends at {first}, not at one of {ends:?}");
        Rig::boot_with(7, 2, image, BTreeSet::new(), Shape { extent_bytes_min: 8192, ..Shape::default() })
            .check(&[(id, first)].into());
    }
    assert!((10..110).contains(&interrupted), "{interrupted}: the moment must vary");
}

#[test]
fn nothing_goes_straight_to_a_segment_while_the_checkpoint_of_a_truncation_is_missing() {
    let id = partition(1, 0);
    let mut rig = begun(2, id);
    for _ in 0..10 {
        rig.append(id, LARGE).unwrap();
    }
    let log = rig.log(id);
    // Whatever else stores checkpoints has done so.
    rig.wait(std::time::Duration::from_millis(200));
    rig.disk.inject(Fault::once(Operation::Write, "checkpoint-").with_code(libc::ENOSPC));
    assert!(rig.simulation.run_until(rig.store.truncate(&log, Offset(4))).is_err());
    assert_eq!(log.end(), Offset(4), "it is cut all the same");
    let before = extent_bytes(&rig);
    for _ in 0..3 {
        rig.append(id, LARGE).unwrap();
    }
    assert_eq!(extent_bytes(&rig), before);
    // Replay goes through what was cut off and what came instead, in this order.
    rig.die_and_check();
}

#[test]
fn a_write_that_fails_goes_through_the_journal() {
    let id = partition(1, 0);
    let mut straight = 0;
    for seed in 0..40 {
        let mut rig = begun(seed, id);
        rig.append(id, LARGE).unwrap();
        let before = extent_bytes(&rig);
        let skip = u32::try_from(seed % 3).unwrap();
        rig.disk.inject(Fault::once(Operation::Write, ".log").after(skip));
        for _ in 0..4 {
            for _ in 0..rig.random.below(3) {
                rig.begin(id, LARGE).unwrap();
            }
            rig.append(id, LARGE).unwrap();
        }
        assert_eq!(rig.store.counters().segment_write_errors, 1, "seed {seed}");
        straight += u32::from(extent_bytes(&rig) > before);
        assert!(!rig.store.disk_is_full());
        rig.check(&rig.acknowledged);
        rig.die_and_check();
    }
    assert!(straight > 10, "{straight}: what goes before the failure goes straight");
}

#[test]
fn a_full_disk_loses_nothing_and_goes_on_when_there_is_space() {
    let id = partition(1, 0);
    for seed in 0..40 {
        let mut rig = begun(seed, id);
        rig.append(id, LARGE).unwrap();
        let operation = if seed % 2 == 0 { Operation::Write } else { Operation::Allocate };
        rig.disk.inject(Fault::always(operation, ".log").with_code(libc::ENOSPC));
        let end = rig.log(id).end();
        for _ in 0..40 {
            if rig.append(id, LARGE) == Err(storage::StoreError::DiskFull) {
                break;
            }
        }
        assert!(rig.acknowledged[&id] > end, "the journal has it");
        rig.check(&rig.acknowledged);
        if seed % 4 < 2 {
            rig.disk.heal();
            rig.wait(std::time::Duration::from_secs(5));
            let before = extent_bytes(&rig);
            for _ in 0..10 {
                rig.append(id, LARGE).unwrap();
            }
            assert!(extent_bytes(&rig) > before, "and large appends go straight to their segment again");
        }
        rig.die_and_check();
    }
}

#[test]
fn a_failed_sync_of_the_segment_ends_the_process() {
    let id = partition(1, 0);
    let mut rig = begun(1, id);
    rig.append(id, LARGE).unwrap();
    rig.disk.inject(Fault::once(Operation::Sync, ".log").with_code(libc::ENOSPC));
    let fatal = catch_fatal(|| rig.append(id, LARGE)).expect_err("the process ends");
    assert!(fatal.what.starts_with("syncing /data/topics/"), "{}", fatal.what);
    rig.disk.heal();
    rig.die_and_check();
}

#[test]
fn extents_go_with_their_records_by_retention_and_with_their_topic() {
    let (id, other) = (partition(1, 0), partition(2, 0));
    for seed in 0..30 {
        let mut rig = begun(seed, id);
        rig.segment_bytes = 200_000;
        let log = rig.log(id);
        log.configure(&std::rc::Rc::new(storage::LogSettings {
            segment_bytes: 200_000,
            ..Default::default()
        }));
        for _ in 0..15 {
            rig.append(id, LARGE).unwrap();
            rig.append(other, LARGE).unwrap();
        }
        let all = rig.store.segments(&log);
        let to = all[all.len() / 2].0;
        rig.simulation.run_until(rig.store.set_log_start(&log, to)).unwrap();
        rig.simulation.run_until(rig.store.trim(&log)).unwrap();
        if seed % 2 == 0 {
            for _ in 0..3 {
                rig.begin(other, LARGE).unwrap();
            }
            let steps = rig.random.between(1, 30);
            let _ = rig.simulation.run_steps(steps, std::future::pending::<()>());
            rig.delete(other);
        }
        rig.append(id, LARGE).unwrap();
        rig.check(&rig.acknowledged);
        rig.die_and_check();
    }
}
