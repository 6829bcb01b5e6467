//! The simulated disk really lies, in each way it says, and tells the same lies for the same seed.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use model::limits::BLOCK;
use storage::disk::memory::{
    Fatal, Fault, Image, MemoryBuffer, MemoryDisk, MemoryFile, Operation, SECTOR, catch_fatal,
};
use storage::disk::random::Random;
use storage::disk::simulation::Simulation;
use storage::disk::{Disk, File};

const SEEDS: u64 = 200;

fn filled(disk: &MemoryDisk, byte: u8, blocks: usize) -> Rc<MemoryBuffer> {
    let mut buffer = disk.buffer(blocks * BLOCK);
    buffer.as_mut().fill(byte);
    Rc::new(buffer)
}

/// Runs `work` to its end on an empty disk with a directory `/d`, then kills the process.
fn kill_after(seed: u64, work: impl AsyncFnOnce(&MemoryDisk)) -> Image {
    let simulation = Simulation::new(seed);
    let disk = MemoryDisk::new(&simulation);
    simulation.run_until(async {
        disk.create_dir(Path::new("/d")).await.unwrap();
        work(&disk).await;
    });
    let image = disk.kill();
    simulation.crash();
    image
}

/// A file whose name and whose two blocks of ones are durable.
async fn durable_file(disk: &MemoryDisk) -> MemoryFile {
    let file = disk.create(Path::new("/d/f")).await.unwrap();
    file.write(filled(disk, 1, 2), 0).await.unwrap();
    file.sync().await.unwrap();
    disk.sync_dir(Path::new("/d")).await.unwrap();
    file
}

fn content(image: &Image) -> Vec<u8> {
    image.read(Path::new("/d/f")).unwrap()
}

/// First byte of each sector, after checking that the sector is all of it.
fn sectors(bytes: &[u8]) -> Vec<u8> {
    let one = |sector: &[u8]| {
        assert!(sector.iter().all(|byte| *byte == sector[0]), "torn inside a sector");
        sector[0]
    };
    bytes.chunks(SECTOR).map(one).collect()
}

fn outcomes<T: Ord>(image: &Image, look: impl Fn(&Image) -> T) -> BTreeSet<T> {
    (0..SEEDS).map(|seed| look(&image.power_cut(&mut Random::new(seed)))).collect()
}

#[test]
fn what_was_synced_survives_everything() {
    let image = kill_after(1, async |disk| durable_file(disk).await.close().await.unwrap());
    assert_eq!(outcomes(&image, content), BTreeSet::from([vec![1; 2 * BLOCK]]));
    let image = kill_after(2, async |disk| {
        let file = disk.create(Path::new("/d/f")).await.unwrap();
        let frames = [filled(disk, 1, 1), filled(disk, 1, 1)];
        file.write_durable(&frames, 0, &[], || ()).await.unwrap();
        disk.sync_dir(Path::new("/d")).await.unwrap();
    });
    assert_eq!(outcomes(&image, content), BTreeSet::from([vec![1; 2 * BLOCK]]));
    let image = kill_after(3, async |disk| {
        let file = disk.create(Path::new("/d/f")).await.unwrap();
        disk.sync_dir(Path::new("/d")).await.unwrap();
        file.write(filled(disk, 1, 2), 0).await.unwrap();
        disk.sync_all().await.unwrap();
    });
    assert_eq!(outcomes(&image, content), BTreeSet::from([vec![1; 2 * BLOCK]]));
}

#[test]
fn a_kill_keeps_what_was_completed_but_does_not_make_it_durable() {
    let image = kill_after(1, async |disk| {
        let file = durable_file(disk).await;
        file.write(filled(disk, 2, 2), 0).await.unwrap();
    });
    assert_eq!(content(&image), vec![2; 2 * BLOCK]);
    assert!(!image.is_synced());
    // The next process reads it and does not sync: the power may still take it.
    let simulation = Simulation::new(9);
    let disk = MemoryDisk::from_image(&simulation, image);
    simulation.run_until(async {
        let file = disk.open(Path::new("/d/f")).await.unwrap();
        assert_eq!(file.read(0, BLOCK).await.unwrap().as_ref().as_ref(), vec![2; BLOCK]);
    });
    let found = outcomes(&disk.kill(), content);
    assert!(found.contains(&vec![1; 2 * BLOCK]) && found.contains(&vec![2; 2 * BLOCK]));
}

#[test]
fn unsynced_writes_are_lost_kept_torn_and_reordered() {
    let image = kill_after(1, async |disk| {
        let file = durable_file(disk).await;
        file.write(filled(disk, 2, 1), 0).await.unwrap();
        file.write(filled(disk, 3, 1), BLOCK as u64).await.unwrap();
    });
    let found = outcomes(&image, |image| sectors(&content(image)));
    let per_block = BLOCK / SECTOR;
    let whole = |first: u8, second: u8| [vec![first; per_block], vec![second; per_block]].concat();
    assert!(found.contains(&whole(1, 1)), "both lost");
    assert!(found.contains(&whole(2, 3)), "both kept");
    assert!(found.contains(&whole(1, 3)), "the later one overtook the earlier one");
    assert!(found.iter().any(|sectors| sectors.contains(&1) && sectors.contains(&2)), "torn");
    assert!(found.iter().any(|s| s[..per_block].windows(2).any(|pair| pair == [1, 2])), "torn out of order");
}

#[test]
fn a_size_is_lost_without_its_data_and_data_without_its_size() {
    let image = kill_after(1, async |disk| {
        let file = durable_file(disk).await;
        file.write(filled(disk, 2, 2), 2 * BLOCK as u64).await.unwrap();
    });
    let found = outcomes(&image, content);
    assert!(found.contains(&vec![1; 2 * BLOCK]), "not extended");
    let extended = |fill| [vec![1; 2 * BLOCK], vec![fill; 2 * BLOCK]].concat();
    assert!(found.contains(&extended(2)), "extended with its data");
    assert!(found.contains(&extended(0)), "extended without its data");
    // What a lost size cut off does not come back.
    for seed in 0..SEEDS {
        let mut image = image.power_cut(&mut Random::new(seed));
        if content(&image).len() == 2 * BLOCK {
            assert!(image.set_size(Path::new("/d/f"), 4 * BLOCK as u64));
            assert_eq!(content(&image), extended(0));
        }
    }
    let image = kill_after(2, async |disk| {
        let file = durable_file(disk).await;
        file.allocate(0, 4 * BLOCK as u64).await.unwrap();
    });
    assert_eq!(outcomes(&image, |image| content(image).len()), BTreeSet::from([2 * BLOCK, 4 * BLOCK]));
}

#[test]
fn names_are_lost_apart_from_contents() {
    let names = |image: &Image| image.files();
    let f = || vec![Path::new("/d/f").to_owned()];
    // A file synced without its directory.
    let image = kill_after(1, async |disk| {
        let file = disk.create(Path::new("/d/f")).await.unwrap();
        file.write(filled(disk, 1, 1), 0).await.unwrap();
        file.sync().await.unwrap();
        disk.sync_all().await.unwrap();
    });
    assert_eq!(outcomes(&image, names), BTreeSet::from([vec![], f()]));
    // A directory synced without its file.
    let image = kill_after(2, async |disk| {
        let file = disk.create(Path::new("/d/f")).await.unwrap();
        file.write(filled(disk, 1, 1), 0).await.unwrap();
        disk.sync_dir(Path::new("/d")).await.unwrap();
    });
    assert_eq!(outcomes(&image, names), BTreeSet::from([f()]));
    assert!(outcomes(&image, content).contains(&vec![]));
    // A removal.
    let image = kill_after(3, async |disk| {
        durable_file(disk).await.close().await.unwrap();
        disk.remove_file(Path::new("/d/f")).await.unwrap();
    });
    assert_eq!(outcomes(&image, names), BTreeSet::from([vec![], f()]));
    let kept = outcomes(&image, |image| image.read(Path::new("/d/f")));
    assert_eq!(
        kept,
        BTreeSet::from([None, Some(vec![1; 2 * BLOCK])]),
        "a name that comes back has its contents"
    );
    // A removal that was synced.
    let image = kill_after(4, async |disk| {
        durable_file(disk).await.close().await.unwrap();
        disk.remove_file(Path::new("/d/f")).await.unwrap();
        disk.sync_dir(Path::new("/d")).await.unwrap();
    });
    assert_eq!(outcomes(&image, names), BTreeSet::from([vec![]]));
}

#[test]
fn a_rename_is_atomic_and_not_durable_by_itself() {
    let (old, new) = (Path::new("/d/f"), Path::new("/d/g"));
    let rename = async |disk: &MemoryDisk| {
        durable_file(disk).await.close().await.unwrap();
        disk.replace_file(new, b"old".to_vec()).await.unwrap();
        disk.rename(old, new).await.unwrap();
    };
    let look = |image: &Image| (image.read(old).is_some(), image.read(new).map(|bytes| bytes.len()));
    let image = kill_after(1, rename);
    assert_eq!(outcomes(&image, look), BTreeSet::from([(true, Some(3)), (false, Some(2 * BLOCK))]));
    // Across directories both names may be there, never none.
    let across = Path::new("/e/f");
    let image = kill_after(2, async |disk| {
        disk.create_dir(Path::new("/e")).await.unwrap();
        durable_file(disk).await.close().await.unwrap();
        disk.rename(old, across).await.unwrap();
    });
    let look = |image: &Image| (image.read(old).is_some(), image.read(across).is_some());
    assert_eq!(outcomes(&image, look), BTreeSet::from([(true, false), (true, true), (false, true)]));
    // Syncing where it left is syncing where it arrived.
    let image = kill_after(3, async |disk| {
        disk.create_dir(Path::new("/e")).await.unwrap();
        durable_file(disk).await.close().await.unwrap();
        disk.rename(old, across).await.unwrap();
        disk.sync_dir(Path::new("/d")).await.unwrap();
    });
    assert_eq!(outcomes(&image, look), BTreeSet::from([(false, true)]));
}

#[test]
fn replacing_a_file_leaves_the_old_or_the_new_at_every_step() {
    let path = Path::new("/d/f");
    let (mut old, mut new) = (0, 0);
    for seed in 0..SEEDS {
        let simulation = Simulation::new(seed);
        let disk = MemoryDisk::new(&simulation);
        simulation.run_until(async {
            disk.create_dir(Path::new("/d")).await.unwrap();
            disk.replace_file(path, vec![1; 5000]).await.unwrap();
        });
        let steps = Random::new(seed).below(30);
        let done = simulation.run_steps(steps, disk.replace_file(path, vec![2; 6000])).is_some();
        let image = disk.power_cut(&mut Random::new(seed));
        let found = image.read(path).expect("never missing");
        assert!(found == [1; 5000] || found == [2; 6000], "seed {seed}: {} bytes", found.len());
        assert!(!done || found == [2; 6000], "seed {seed}: it was done");
        if found.len() == 5000 { old += 1 } else { new += 1 }
    }
    assert!(old > 10 && new > 10, "{old} old, {new} new: the crash point must vary");
}

#[test]
fn writes_under_way_arrive_in_part_when_the_process_dies() {
    let mut found = BTreeSet::new();
    for seed in 0..SEEDS {
        let simulation = Simulation::new(seed);
        let disk = MemoryDisk::new(&simulation);
        let file = simulation.run_until(async {
            disk.create_dir(Path::new("/d")).await.unwrap();
            durable_file(&disk).await
        });
        let steps = Random::new(seed).below(4);
        let done = simulation.run_steps(steps, file.write(filled(&disk, 2, 2), 0)).is_some();
        let sectors = sectors(&content(&disk.kill()));
        assert!(!done || !sectors.contains(&1));
        found.insert(sectors);
    }
    let all = 2 * BLOCK / SECTOR;
    assert!(found.contains(&vec![1; all]) && found.contains(&vec![2; all]) && found.len() > 2, "{found:?}");
}

#[test]
fn a_sync_covers_only_what_was_completed_when_it_began() {
    // The write ended before the sync did, and yet it may be lost, as it had not ended when the sync began.
    let lost = |seed| {
        let simulation = Simulation::new(seed);
        let disk = MemoryDisk::new(&simulation);
        let overtook = simulation.run_until(async {
            disk.create_dir(Path::new("/d")).await.unwrap();
            let file = Rc::new(durable_file(&disk).await);
            let written = Rc::new(Cell::new(false));
            let (writer, flag, buffer) = (file.clone(), written.clone(), filled(&disk, 2, 2));
            disk.spawn(async move {
                writer.write(buffer, 0).await.unwrap();
                flag.set(true);
            });
            disk.sleep(Duration::from_micros(1)).await;
            file.sync().await.unwrap();
            written.get()
        });
        overtook && content(&disk.power_cut(&mut Random::new(seed))).contains(&1)
    };
    assert!((0..SEEDS).any(lost));
}

#[test]
fn a_failed_sync_is_not_repaired_by_the_next_one() {
    let image = kill_after(1, async |disk| {
        let file = durable_file(disk).await;
        file.write(filled(disk, 2, 2), 0).await.unwrap();
        disk.inject(Fault::once(Operation::Sync, "/d/f"));
        assert_eq!(file.sync().await.unwrap_err().raw_os_error(), Some(libc::EIO));
        file.sync().await.unwrap();
    });
    assert_eq!(content(&image), vec![2; 2 * BLOCK], "the kernel still shows it");
    let lost = (0..SEEDS).any(|seed| {
        let image = kill_after(seed, async |disk| {
            let file = durable_file(disk).await;
            file.write(filled(disk, 2, 2), 0).await.unwrap();
            disk.inject(Fault::once(Operation::Sync, "/d/f"));
            file.sync().await.unwrap_err();
            file.sync().await.unwrap();
        });
        content(&image.power_cut(&mut Random::new(seed))).contains(&1)
    });
    assert!(lost);
}

#[test]
fn errors_strike_where_they_were_planned() {
    let image = kill_after(1, async |disk| {
        let file = durable_file(disk).await;
        disk.inject(Fault::once(Operation::Read, "/d/f").after(1));
        file.read(0, BLOCK).await.unwrap();
        assert_eq!(file.read(0, BLOCK).await.unwrap_err().raw_os_error(), Some(libc::EIO));
        file.read(0, BLOCK).await.unwrap();
        disk.inject(Fault::always(Operation::Write, "/d/f"));
        assert!(file.write(filled(disk, 2, 1), 0).await.is_err());
        assert!(file.write_durable(&[filled(disk, 2, 1)], 0, &[], || ()).await.is_err());
        let other = disk.create(Path::new("/d/other")).await.unwrap();
        other.write(filled(disk, 2, 1), 0).await.unwrap();
        disk.heal();
        file.write(filled(disk, 3, 1), 0).await.unwrap();
        disk.inject(Fault::once(Operation::SyncAll, ""));
        assert!(disk.sync_all().await.is_err());
    });
    assert_eq!(content(&image)[..BLOCK], [3; BLOCK]);
}

#[test]
fn a_full_disk_takes_what_fits_and_removing_makes_room() {
    kill_after(1, async |disk| {
        let file = durable_file(disk).await;
        disk.set_capacity(3 * BLOCK as u64);
        assert_eq!(disk.free_bytes(Path::new("/d")).await.unwrap(), BLOCK as u64);
        file.write(filled(disk, 2, 2), 0).await.unwrap();
        let full = file.write(filled(disk, 3, 2), 2 * BLOCK as u64).await.unwrap_err();
        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
        assert_eq!(file.size().await.unwrap(), 3 * BLOCK as u64, "one block of it fitted");
        assert!(file.allocate(0, 4 * BLOCK as u64).await.is_err());
        assert!(disk.replace_file(Path::new("/d/small"), vec![1]).await.is_err());
        file.close().await.unwrap();
        disk.remove_file(Path::new("/d/f")).await.unwrap();
        assert_eq!(disk.free_bytes(Path::new("/d")).await.unwrap(), 3 * BLOCK as u64);
        disk.replace_file(Path::new("/d/small"), vec![1]).await.unwrap();
        disk.create(Path::new("/d/small")).await.unwrap().close().await.unwrap();
        assert_eq!(disk.free_bytes(Path::new("/d")).await.unwrap(), 3 * BLOCK as u64);
    });
}

#[test]
fn bits_rot_where_they_are_told_to() {
    let image = kill_after(1, async |disk| {
        let file = durable_file(disk).await;
        assert!(disk.flip(Path::new("/d/f"), 5000, 0x80));
        assert!(!disk.flip(Path::new("/d/f"), 9000, 0x80));
        let read = file.read(BLOCK as u64, BLOCK).await.unwrap();
        assert_eq!(read.as_ref().as_ref()[5000 - BLOCK], 0x81);
    });
    let rotten = content(&image.power_cut(&mut Random::new(1)));
    assert_eq!(rotten.iter().filter(|byte| **byte != 1).count(), 1);
}

#[test]
#[should_panic(expected = "removed while it is open")]
fn removing_an_open_file_breaks_the_contract() {
    kill_after(1, async |disk| {
        let _file = durable_file(disk).await;
        let _ = disk.remove_file(Path::new("/d/f")).await;
    });
}

#[test]
fn a_broken_promise_unwinds_with_what_happened() {
    let simulation = Simulation::new(1);
    let disk = MemoryDisk::new(&simulation);
    let fatal = catch_fatal(|| {
        simulation.run_until(async {
            disk.fatal("journal 1: sync", &std::io::Error::from_raw_os_error(libc::EIO));
        })
    });
    let kind = std::io::Error::from_raw_os_error(libc::EIO).kind();
    assert_eq!(fatal, Err::<(), _>(Fatal { what: "journal 1: sync".to_owned(), kind }));
    simulation.crash();
    assert_eq!(catch_fatal(|| simulation.run_until(async { 3 })), Ok(3));
}

/// Several tasks write, sync and rename for a while; the power fails in the middle.
fn history(seed: u64) -> (u64, Vec<(String, usize)>, Vec<String>) {
    let simulation = Simulation::new(seed);
    let disk = MemoryDisk::new(&simulation);
    let log = Rc::new(RefCell::new(Vec::new()));
    for task in 0..4_u8 {
        let (disk, log) = (disk.clone(), log.clone());
        simulation.spawn(async move {
            let path = format!("/file-{task}");
            let file = disk.create(Path::new(&path)).await.unwrap();
            for block in 0..8_u64 {
                file.write(filled(&disk, task + 1, 1), block * BLOCK as u64).await.unwrap();
                log.borrow_mut().push(format!("{} {path} {block}", disk.now_ns()));
                if block == 4 {
                    file.sync().await.unwrap();
                    disk.rename(Path::new(&path), Path::new(&format!("/renamed-{task}"))).await.unwrap();
                }
            }
        });
    }
    assert!(simulation.run_steps(120, std::future::pending::<()>()).is_none());
    let image = disk.power_cut(&mut simulation.fork_random());
    simulation.crash();
    let count = |path: &Path| image.read(path).unwrap().iter().filter(|byte| **byte != 0).count();
    let files = image.files().into_iter().map(|path| (path.display().to_string(), count(&path))).collect();
    (simulation.digest(), files, log.take())
}

#[test]
fn equal_seeds_tell_equal_lies() {
    let mut different = BTreeSet::new();
    for seed in 0..30 {
        let first = history(seed);
        assert_eq!(first, history(seed), "seed {seed}");
        different.insert(first.1);
    }
    assert!(different.len() > 20, "other seeds, other lies");
}
