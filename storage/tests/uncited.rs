//! Files in a partition's directory that its log does not cite, and cited ones that are not there.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod rig;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use model::Offset;
use storage::disk::memory::{Fault, Image, MemoryDisk, Operation};
use storage::disk::{Disk, File};
use storage::paths::Paths;
use storage::{LogSettings, StoreError};

use rig::{Rig, partition};

fn dir() -> PathBuf {
    Paths::new("/data").partition(partition(1, 0))
}

fn named(offset: i64, kind: &str) -> PathBuf {
    dir().join(format!("{offset:020}.{kind}"))
}

/// A log of several segments, closed in order; the image and the base offsets of its segments.
fn closed() -> (Rig, Vec<Offset>) {
    let mut rig = Rig::new(1);
    rig.append_all(partition(1, 0), 200);
    let log = rig.log(partition(1, 0));
    let bases: Vec<Offset> = rig.store.segments(&log).iter().map(|segment| segment.0).collect();
    assert!(bases.len() >= 4, "{bases:?}");
    rig.simulation.run_until(rig.store.close()).unwrap();
    (rig, bases)
}

fn reboot(rig: &Rig) -> Rig {
    let image: Image = rig.disk.kill();
    rig.simulation.crash();
    Rig::boot(2, rig.number + 1, image, BTreeSet::new())
}

async fn put(disk: &MemoryDisk, path: &Path) {
    let file = disk.create(path).await.unwrap();
    file.close().await.unwrap();
}

fn names(rig: &Rig) -> BTreeSet<String> {
    let listed = rig.simulation.run_until(rig.disk.list_dir(&dir())).unwrap();
    listed.into_iter().map(|entry| entry.name).collect()
}

#[test]
fn what_a_crash_left_goes_and_what_nobody_can_explain_is_set_aside() {
    let (before, bases) = closed();
    let rig = reboot(&before);
    let odd = named(bases[1].0 + 1, "log");
    let gone = [
        named(200, "log"),
        named(300, "log"),
        named(300, "snapshot"),
        named(bases[1].0 + 1, "index"),
        named(200, "snapshot.tmp"),
    ];
    rig.simulation.run_until(async {
        for path in gone.iter().chain([&odd, &dir().join("notes")]) {
            put(&rig.disk, path).await;
        }
    });
    let listings = rig.disk.operations(Operation::List);
    rig.check(&before.acknowledged);
    let left = names(&rig);
    assert_eq!(rig.disk.operations(Operation::List), listings + 2, "one by the store, one by this test");
    for path in gone.iter().chain([&odd]) {
        assert!(!left.contains(path.file_name().unwrap().to_str().unwrap()), "{}", path.display());
    }
    let aside = format!("{:020}.log.set-aside", bases[1].0 + 1);
    assert!(left.contains(&aside) && left.contains("notes.set-aside"), "{left:?}");
    // For good, and only once.
    let rig = reboot(&rig);
    rig.check(&before.acknowledged);
    assert_eq!(names(&rig), left);
}

#[test]
fn a_missing_segment_is_damage() {
    let (before, bases) = closed();
    let rig = reboot(&before);
    rig.simulation.run_until(rig.disk.remove_file(&named(bases[1].0, "log"))).unwrap();
    let log = rig.store.log(partition(1, 0));
    let loaded = rig.simulation.run_until(rig.store.load(&log, &Rc::new(LogSettings::default())));
    let Err(StoreError::Damaged(what)) = loaded else { panic!("{loaded:?}") };
    assert!(what.contains(named(bases[1].0, "log").to_str().unwrap()) && what.contains("missing"), "{what}");
}

#[test]
fn a_truncation_finished_by_recovery_leaves_no_snapshot_of_what_was_cut_off() {
    let (before, bases) = closed();
    let mut rig = reboot(&before);
    let log = rig.log(partition(1, 0));
    let cut = Offset(bases[1].0 + 1);
    assert!(names(&rig).contains(&format!("{:020}.snapshot", bases[2].0)));
    // The process dies when the truncation is durable in the journal and before any file is changed.
    rig.disk.inject(Fault::always(Operation::Create, ".snapshot.tmp"));
    let died = storage::disk::memory::catch_fatal(|| rig.simulation.run_until(rig.store.truncate(&log, cut)));
    assert!(died.is_err(), "{died:?}");
    rig.disk.heal();
    rig = reboot(&rig);
    let log = rig.log(partition(1, 0));
    assert_eq!(log.end(), cut);
    let snapshots: Vec<String> = names(&rig).into_iter().filter(|name| name.ends_with(".snapshot")).collect();
    let behind = |name: &&String| name.split('.').next().unwrap().parse::<i64>().unwrap() > cut.0;
    assert_eq!(snapshots.iter().find(behind), None, "{snapshots:?}");
    // The log grows past where they were, in other steps, is cut off again, and still is what was appended.
    rig.append_all(partition(1, 0), 150);
    rig.simulation.run_until(rig.store.truncate(&log, Offset(bases[2].0 + 7))).unwrap();
    let end = log.end();
    rig.acknowledged.insert(partition(1, 0), end);
    rig.check(&rig.acknowledged);
    rig.die_and_check();
}
