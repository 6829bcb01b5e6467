//! Power cuts of the real binary: its own writes, syncs and renames are recorded under load, legal images of its disk after a
//! power cut are made at random points of the recording, and the binary recovers each.
//!
//! `scripts/power-cut` runs this with many points on the release binary.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

#[path = "power_cut/broker.rs"]
mod broker;
#[path = "power_cut/check.rs"]
mod check;
#[path = "power_cut/errands.rs"]
mod errands;
#[path = "power_cut/ledger.rs"]
mod ledger;
#[path = "power_cut/load.rs"]
mod load;
#[path = "power_cut/points.rs"]
mod points;
#[path = "power_cut/recording.rs"]
mod recording;
#[path = "power_cut/wire.rs"]
mod wire;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use storage::disk::memory::Lie;

use points::try_points;

/// Points of one recording.
const POINTS_PER_RECORDING: u64 = 100;
/// Lines of what is wrong that are printed for one image.
const SHOWN: usize = 10;

fn binary() -> PathBuf {
    env::var_os("MILLRACE_BIN").map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_millrace")), PathBuf::from)
}

fn number(variable: &str) -> Option<u64> {
    env::var(variable).ok().map(|text| text.parse().unwrap())
}

/// A place on the disk of the build: tests of direct I/O cannot use a file system in memory.
fn scratch(name: &str) -> PathBuf {
    let path =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("power-cut-{}-{name}", std::process::id()));
    fs::create_dir_all(&path).unwrap();
    path
}

/// Records once and cuts at `points` points; prints a line. True when nothing is wrong.
fn batch(seed: u64, points: u64, place: &Path) -> bool {
    let began = Instant::now();
    let directory = place.join(format!("seed-{seed}"));
    let recording = recording::record(&binary(), &directory, seed);
    let complaints = std::mem::take(&mut recording.ledger.book().complaints);
    let recorded = began.elapsed();
    let failures = try_points(&binary(), &recording, points, seed, None, false).unwrap();
    let (batches, commits) = {
        let book = recording.ledger.book();
        let batches = book.batches.iter().filter(|batch| batch.asked.answered.is_some()).count();
        (batches, book.commits.iter().filter(|commit| commit.asked.answered.is_some()).count())
    };
    println!(
        "seed {seed}: {} starts, {batches} batches and {commits} commits acknowledged in {:.1} s, {} bytes compacted; {points} points in {:.1} s: {} failed",
        recording.after.len(),
        recorded.as_secs_f64(),
        recording.compacted,
        (began.elapsed() - recorded).as_secs_f64(),
        failures.len()
    );
    for failure in &failures {
        println!("  image {}:", failure.image.display());
        failure.wrong.iter().take(SHOWN).for_each(|line| println!("    {line}"));
    }
    complaints.iter().take(SHOWN).for_each(|line| println!("  while recording: {line}"));
    let well = failures.is_empty() && complaints.is_empty();
    if well {
        // What is left behind lies in the target directory.
        let _ = fs::remove_dir_all(&directory);
    }
    well
}

#[test]
fn acknowledged_data_survives_power_cuts() {
    let place = scratch("points");
    let points = number("MILLRACE_POWER_CUT_POINTS").unwrap_or(20);
    let first_seed = number("MILLRACE_POWER_CUT_SEED").unwrap_or(1);
    let mut left = points;
    let mut failed = 0;
    for seed in first_seed.. {
        if left == 0 {
            break;
        }
        let now = left.min(POINTS_PER_RECORDING);
        left -= now;
        failed += u64::from(!batch(seed, now, &place));
    }
    println!("{points} points, {failed} recordings with a failure");
    assert_eq!(failed, 0, "the images that failed are kept in {}", place.display());
    let _ = fs::remove_dir_all(place);
}

#[test]
fn devices_that_lie_are_caught() {
    let place = scratch("lies");
    let recording = recording::record(&binary(), &place, 1);
    let quick = number("MILLRACE_POWER_CUT_POINTS").is_none();
    let lies = [
        Lie::FileSyncs("journals/".into()),
        Lie::FileSyncs("metadata/".into()),
        Lie::FileSyncs("topics/".into()),
        Lie::FileSystemSyncs,
        Lie::DirectorySyncs("journals".into()),
        Lie::DirectorySyncs("topics".into()),
        Lie::DirectorySyncs("metadata".into()),
    ];
    // Some show only after megabytes.
    for lie in lies.into_iter().take(if quick { 2 } else { usize::MAX }) {
        let failures = try_points(&binary(), &recording, 150, 7, Some(lie.clone()), true).unwrap();
        let first = failures.first().and_then(|failure| failure.wrong.first()?.lines().last());
        println!("{lie:?}: {}", first.unwrap_or("not noticed"));
        assert!(!failures.is_empty(), "{lie:?} was not noticed");
        let _ = fs::remove_dir_all(place.join("images"));
    }
    let _ = fs::remove_dir_all(place);
}
