//! The log against the disk that breaks every promise it did not make.

use std::path::PathBuf;

use super::*;
use crate::disk::memory::{Image, MemoryDisk};
use crate::disk::random::Random;
use crate::disk::simulation::Simulation;

fn dir() -> PathBuf {
    PathBuf::from("/data/metadata")
}

fn entry(term: u64, index: u64, bytes: usize) -> Entry {
    let fill = u8::try_from(index % 251).unwrap();
    Entry { term, index, kind: 17, version: 0, payload: vec![fill; bytes] }
}

async fn opened(disk: &MemoryDisk) -> (MetadataLog<MemoryDisk>, Recovered) {
    MetadataLog::open(disk.clone(), &dir()).await.unwrap()
}

#[test]
fn what_was_written_is_read_back() {
    let simulation = Simulation::new(1);
    let disk = MemoryDisk::new(&simulation);
    simulation.run_until(async {
        let (mut log, found) = opened(&disk).await;
        assert!(found.entries.is_empty() && found.snapshot.is_none());
        log.append(&[entry(1, 1, 10), entry(1, 2, 9000)]).await.unwrap();
        log.append(&[entry(1, 3, 0)]).await.unwrap();
        log.set_hard_state(HardState { term: 1, vote: 4, commit: 3 }).await.unwrap();
        log.close().await.unwrap();

        let (mut log, found) = opened(&disk).await;
        assert_eq!(found.hard_state, HardState { term: 1, vote: 4, commit: 3 });
        assert_eq!(found.entries, [entry(1, 1, 10), entry(1, 2, 9000), entry(1, 3, 0)]);
        log.snapshot(2, b"state").await.unwrap();
        log.append(&[entry(1, 4, 1)]).await.unwrap();
        log.close().await.unwrap();

        let (log, found) = opened(&disk).await;
        assert_eq!(found.snapshot, Some(LogSnapshot { index: 2, term: 1, contents: b"state".to_vec() }));
        assert_eq!(found.entries, [entry(1, 3, 0), entry(1, 4, 1)]);
        log.close().await.unwrap();
    });
    assert_eq!(disk.handles(), 0);
}

#[test]
fn a_suffix_is_cut_off_for_good() {
    let simulation = Simulation::new(1);
    let disk = MemoryDisk::new(&simulation);
    simulation.run_until(async {
        let (mut log, _) = opened(&disk).await;
        for index in 1..=5 {
            log.append(&[entry(1, index, 100)]).await.unwrap();
        }
        log.truncate_from(3).await.unwrap();
        assert_eq!(log.last_index(), 2);
        // Byte for byte what was there before: what followed it must not come back.
        log.append(&[entry(1, 3, 100)]).await.unwrap();
        assert!(log.truncate_from(0).await.is_err());
        log.close().await.unwrap();
        let (log, found) = opened(&disk).await;
        assert_eq!(found.entries.len(), 3);
        log.close().await.unwrap();
    });
}

#[test]
fn a_full_disk_refuses_and_leaves_no_trace() {
    let simulation = Simulation::new(1);
    let disk = MemoryDisk::new(&simulation);
    simulation.run_until(async {
        let (mut log, _) = opened(&disk).await;
        log.append(&[entry(1, 1, 100)]).await.unwrap();
        disk.set_capacity(0);
        assert!(log.append(&[entry(1, 2, 100_000)]).await.is_err());
        disk.set_capacity(1 << 30);
        log.append(&[entry(1, 2, 5)]).await.unwrap();
        log.close().await.unwrap();
        let (log, found) = opened(&disk).await;
        assert_eq!(found.entries, [entry(1, 1, 100), entry(1, 2, 5)]);
        log.close().await.unwrap();
    });
}

#[test]
fn rot_and_loss_are_damage_with_file_and_place() {
    let simulation = Simulation::new(1);
    let disk = MemoryDisk::new(&simulation);
    simulation.run_until(async {
        let (mut log, _) = opened(&disk).await;
        for index in 1..=3 {
            log.append(&[entry(1, index, 100)]).await.unwrap();
        }
        log.set_hard_state(HardState { term: 1, vote: 1, commit: 3 }).await.unwrap();
        log.close().await.unwrap();
        let path = log_path(&dir(), 1);
        let mut complaints = Vec::new();
        // The file header, the first entry, and the last one, which only the hard state still vouches for.
        for position in [20, BLOCK + 60, 3 * BLOCK + 60] {
            assert!(disk.flip(&path, position as u64, 0x10));
            complaints.push(MetadataLog::open(disk.clone(), &dir()).await.unwrap_err().to_string());
            assert!(disk.flip(&path, position as u64, 0x10));
        }
        assert!(complaints.iter().all(|text| text.contains("00000000000000000001.log")), "{complaints:?}");
        assert!(complaints[0].contains("checksum"), "{}", complaints[0]);
        assert!(complaints[1].contains("at byte 4096"), "{}", complaints[1]);
        assert!(complaints[2].contains("ends with entry 2"), "{}", complaints[2]);
        disk.remove_file(&path).await.unwrap();
        let missing = MetadataLog::open(disk.clone(), &dir()).await.unwrap_err().to_string();
        assert!(missing.contains("missing"), "{missing}");
    });
}

/// What a run knows: entries and whether each append has returned.
#[derive(Clone, Default)]
struct Model {
    entries: Vec<Entry>,
    /// Entries up to here were acknowledged.
    acknowledged: usize,
    /// Snapshots hold the number of entries they cover.
    covered: usize,
}

async fn work(disk: MemoryDisk, mut random: Random, model: std::rc::Rc<std::cell::RefCell<Model>>) {
    let (mut log, _) = opened(&disk).await;
    loop {
        let known = model.borrow().clone();
        let next = known.entries.len() as u64 + 1;
        match random.below(10) {
            0 if log.last_index() > known.covered as u64 => {
                let index = known.covered as u64 + 1 + random.below(log.last_index() - known.covered as u64);
                log.snapshot(index, &index.to_le_bytes()).await.unwrap();
                model.borrow_mut().covered = usize::try_from(index).unwrap();
            }
            1 => {
                let state = HardState { term: 1, vote: 1, commit: log.last_index() };
                log.set_hard_state(state).await.unwrap();
            }
            _ => {
                let count = 1 + random.below(3);
                let commit: Vec<_> = (0..count)
                    .map(|i| entry(1, next + i, usize::try_from(random.below(6000)).unwrap()))
                    .collect();
                model.borrow_mut().entries.extend(commit.iter().cloned());
                log.append(&commit).await.unwrap();
                let mut model = model.borrow_mut();
                model.acknowledged = model.entries.len();
            }
        }
    }
}

/// Opens what a crash left and compares: everything acknowledged, nothing invented, commits whole.
fn check(simulation: &Simulation, image: Image, model: &mut Model) -> Image {
    let disk = MemoryDisk::from_image(simulation, image);
    simulation.run_until(async {
        let (log, found) = opened(&disk).await;
        let covered = found.snapshot.map_or(0, |snapshot| {
            assert_eq!(snapshot.contents, snapshot.index.to_le_bytes());
            usize::try_from(snapshot.index).unwrap()
        });
        let end = covered + found.entries.len();
        assert!(covered >= model.covered, "a snapshot was lost");
        assert!(end >= model.acknowledged, "{} of {} acknowledged", end, model.acknowledged);
        assert_eq!(found.entries, model.entries[covered..end]);
        assert!(end == model.acknowledged || end == model.entries.len(), "half a commit");
        model.entries.truncate(end);
        (model.acknowledged, model.covered) = (end, covered);
        log.close().await.unwrap();
    });
    disk.kill()
}

#[test]
fn crashes_and_power_cuts_lose_nothing_acknowledged() {
    for seed in 0..40 {
        let simulation = Simulation::new(seed);
        let mut random = simulation.fork_random();
        let mut image = Image::default();
        let mut known = Model::default();
        for _ in 0..4 {
            let disk = MemoryDisk::from_image(&simulation, image);
            let model = std::rc::Rc::new(std::cell::RefCell::new(known));
            let run = work(disk.clone(), simulation.fork_random(), model.clone());
            simulation.run_steps(random.below(2000), run);
            let left = if random.below(2) == 0 { disk.kill() } else { disk.power_cut(&mut random) };
            simulation.crash();
            known = model.borrow().clone();
            image = check(&simulation, left, &mut known);
        }
    }
}
