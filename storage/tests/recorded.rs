//! A recording says all that was asked of a disk, and played back it obeys the rules of the simulated one.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use model::limits::BLOCK;
use storage::disk::memory::{Image, Lie, MemoryBuffer, MemoryDisk, Playback};
use storage::disk::random::Random;
use storage::disk::recorded::{Recorded, RecordedFile};
use storage::disk::simulation::Simulation;
use storage::disk::tape::{Action, Event, Tape, events, tapes};
use storage::disk::{Disk, File};

type TestDisk = Recorded<MemoryDisk>;
type TestFile = RecordedFile<storage::disk::memory::MemoryFile>;

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("recorded-{}-{name}", std::process::id()));
        // From an earlier process of this number.
        let _ = fs::remove_dir_all(&path);
        Self(path)
    }

    fn events(&self) -> Vec<Event> {
        let tapes = tapes(&self.0).unwrap();
        let bytes = fs::read(tapes.last().unwrap()).unwrap();
        let all: Vec<(u64, Event)> = events(&bytes).map(Result::unwrap).collect();
        assert_eq!(all.last().map(|(end, _)| *end), Some(bytes.len() as u64), "the last event ends the tape");
        all.into_iter().map(|(_, event)| event).collect()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn filled(disk: &TestDisk, byte: u8, blocks: usize) -> Rc<MemoryBuffer> {
    let mut buffer = disk.buffer(blocks * BLOCK);
    buffer.as_mut().fill(byte);
    Rc::new(buffer)
}

/// Runs `work` on a recorded disk; what it left behind, and what was recorded.
fn recorded(seed: u64, scratch: &Scratch, work: impl AsyncFnOnce(&TestDisk)) -> (Image, Vec<Event>) {
    let simulation = Simulation::new(seed);
    let inner = MemoryDisk::new(&simulation);
    let tape = Arc::new(Tape::start(&scratch.0, Path::new("/")).unwrap());
    let disk = Recorded::new(inner.clone(), Some(tape));
    simulation.run_until(work(&disk));
    let image = inner.kill();
    simulation.crash();
    (image, scratch.events())
}

fn played(events: &[Event], lie: Option<Lie>) -> Playback {
    let mut playback = Playback::new(1, lie);
    events.iter().for_each(|event| playback.play(event.clone()).unwrap());
    playback
}

fn contents(image: &Image) -> Vec<(PathBuf, Option<Vec<u8>>)> {
    image.files().into_iter().map(|path| (path.clone(), image.read(&path))).collect()
}

/// A file of ones that is durable with its name, then two of its blocks written again.
async fn half_synced(disk: &TestDisk) {
    disk.create_dir(Path::new("/d")).await.unwrap();
    let file = disk.create(Path::new("/d/f")).await.unwrap();
    file.write_durable(&[filled(disk, 1, 1), filled(disk, 1, 1)], 0, &[], || ()).await.unwrap();
    disk.sync_dir(Path::new("/d")).await.unwrap();
    file.write(filled(disk, 2, 2), 0).await.unwrap();
    file.close().await.unwrap();
}

/// Any of the operations, on one of three files.
async fn anything(disk: &TestDisk, random: &mut Random, open: &mut [Option<TestFile>; 3]) {
    let which = random.index(open.len());
    let path = PathBuf::from(format!("/d/{which}"));
    let position = random.below(4) * BLOCK as u64;
    let byte = u8::try_from(random.below(3)).unwrap();
    let Some(file) = &open[which] else {
        match random.below(4) {
            0 => disk.remove_file(&path).await.unwrap(),
            1 => disk.replace_file(&path, vec![byte; 5000]).await.unwrap(),
            2 => open[which] = disk.open(&path).await.ok(),
            _ => open[which] = Some(disk.create(&path).await.unwrap()),
        }
        return;
    };
    match random.below(8) {
        0 => open[which].take().unwrap().close().await.unwrap(),
        1 => file.sync().await.unwrap(),
        2 => file.allocate(position, 2 * BLOCK as u64).await.unwrap(),
        3 => disk.sync_all().await.unwrap(),
        4 => disk.sync_dir(Path::new("/d")).await.unwrap(),
        5 => file
            .write_durable(&[filled(disk, byte, 1), filled(disk, 3, 2)], position, &[], || ())
            .await
            .unwrap(),
        _ => file.write(filled(disk, byte, 2), position).await.unwrap(),
    }
}

#[test]
fn a_recording_played_back_is_what_was_done() {
    for seed in 0..60 {
        let scratch = Scratch::new("whole");
        let (image, events) = recorded(seed, &scratch, async |disk| {
            disk.create_dir(Path::new("/d")).await.unwrap();
            let mut random = Random::new(seed);
            let mut open = [None, None, None];
            for _ in 0..60 {
                anything(disk, &mut random, &mut open).await;
            }
            disk.sync_all().await.unwrap();
            disk.sync_dir(Path::new("/d")).await.unwrap();
        });
        let again = played(&events, None).cut(&mut Random::new(seed));
        assert!(image.is_synced());
        assert_eq!(contents(&again), contents(&image), "seed {seed}");
    }
}

#[test]
fn a_cut_takes_what_was_not_synced_and_nothing_else() {
    let scratch = Scratch::new("half");
    let (_, events) = recorded(1, &scratch, half_synced);
    let outcomes = |lie: Option<Lie>| -> BTreeSet<Option<Vec<u8>>> {
        let playback = played(&events, lie);
        let cut = |seed| playback.cut(&mut Random::new(seed)).read(Path::new("/d/f"));
        (0..200).map(cut).collect()
    };
    let honest = outcomes(None);
    assert!(honest.len() > 10, "the second write is there, torn, or not");
    let ones_or_twos = |bytes: &Option<Vec<u8>>| {
        bytes
            .as_ref()
            .is_some_and(|bytes| bytes.len() == 2 * BLOCK && bytes.iter().all(|byte| [1, 2].contains(byte)))
    };
    assert!(honest.iter().all(ones_or_twos), "and what it wrote over was synced");
    assert!(outcomes(Some(Lie::FileSyncs("/f".into()))).iter().any(|bytes| !ones_or_twos(bytes)));
    assert!(outcomes(Some(Lie::FileSyncs("/g".into()))).iter().all(ones_or_twos));
    assert!(outcomes(Some(Lie::DirectorySyncs("d".into()))).contains(&None), "the name can be lost");
}

#[test]
fn what_was_under_way_happens_in_part() {
    let scratch = Scratch::new("partly");
    let (_, events) = recorded(1, &scratch, async |disk| {
        disk.create_dir(Path::new("/d")).await.unwrap();
        disk.replace_file(Path::new("/d/f"), vec![1; 100]).await.unwrap();
        disk.replace_file(Path::new("/d/f"), vec![2; 100]).await.unwrap();
    });
    let Some((Event::Ended(..), before)) = events.split_last() else { panic!("the last one has ended") };
    let playback = played(before, None);
    let images: Vec<Image> = (0..200).map(|seed| playback.cut(&mut Random::new(seed))).collect();
    let found: BTreeSet<_> = images.iter().map(|image| image.read(Path::new("/d/f"))).collect();
    assert_eq!(found, BTreeSet::from([Some(vec![1; 100]), Some(vec![2; 100])]), "one of both, whole");
    assert!(images.iter().any(|image| image.read(Path::new("/d/f.tmp")).is_some()));
}

#[test]
fn a_directory_that_a_killed_process_left_explains_what_was_under_way_and_nothing_else() {
    let (scratch, place) = (Scratch::new("killed"), Scratch::new("place"));
    let (_, events) = recorded(1, &scratch, half_synced);
    let store = |events: &[Event]| {
        let _ = fs::remove_dir_all(&place.0);
        let mut synced = played(events, None);
        synced.play(Event::Began(1000, Action::SyncAll)).unwrap();
        synced.play(Event::Ended(1000, true)).unwrap();
        synced.cut(&mut Random::new(1)).store(&place.0).unwrap();
    };
    // The last write and its end, the close and its end.
    let until_the_write = &events[..events.len() - 3];
    store(&events);
    let mut playback = played(until_the_write, None);
    assert_eq!(playback.killed(&place.0, &[]).unwrap(), Vec::<String>::new(), "the write may have arrived");
    fs::write(place.0.join("d/stray"), "x").unwrap();
    let mut bytes = fs::read(place.0.join("d/f")).unwrap();
    bytes[0] = 9;
    fs::write(place.0.join("d/f"), bytes).unwrap();
    let differences = played(&events, None).killed(&place.0, &[]).unwrap();
    assert_eq!(differences, ["d/f differs at 0", "d/stray came from nowhere"]);
    fs::remove_file(place.0.join("d/f")).unwrap();
    assert_eq!(played(&events, None).killed(&place.0, &["stray"]).unwrap(), ["d/f is gone"]);
}

#[test]
fn without_a_tape_nothing_is_recorded() {
    let scratch = Scratch::new("none");
    let simulation = Simulation::new(1);
    let disk = Recorded::new(MemoryDisk::new(&simulation), None);
    simulation.run_until(half_synced(&disk));
    assert!(!scratch.0.exists());
}

#[test]
fn half_an_event_at_the_end_did_not_begin() {
    let scratch = Scratch::new("torn");
    let (_, whole) = recorded(1, &scratch, half_synced);
    let bytes = fs::read(tapes(&scratch.0).unwrap().remove(0)).unwrap();
    for cut in [1, 31, 33, 500] {
        let torn: Vec<_> = events(&bytes[..bytes.len() - cut]).map(Result::unwrap).collect();
        assert!(torn.len() < whole.len() && torn.iter().zip(&whole).all(|((_, one), other)| one == other));
    }
}

#[test]
fn a_name_made_while_a_directory_is_synced_for_another_can_be_lost() {
    let path = PathBuf::from;
    let syncs: [fn() -> Action<Vec<u8>>; 3] = [
        || Action::SyncDir("d".into()),
        || Action::CreateDir("d/own".into()),
        || Action::Replace("d/own".into(), vec![7; 10]),
    ];
    for sync in syncs {
        let mut playback = Playback::new(1, None);
        let mut play =
            |events: &[Event]| events.iter().for_each(|event| playback.play(event.clone()).unwrap());
        let did = |number, action| [Event::Began(number, action), Event::Ended(number, true)];
        play(&did(1, Action::CreateDir(path("d"))));
        play(&did(2, Action::Create(path("d/before"))));
        play(&[Event::Began(3, sync())]);
        play(&did(4, Action::Create(path("d/during"))));
        play(&[Event::Ended(3, true)]);
        if let Action::CreateDir(own) = sync() {
            play(&did(5, Action::Create(own.join("inner"))));
            play(&did(6, Action::SyncDir(own)));
        }
        let there = |name: &str| -> BTreeSet<bool> {
            let cut = |seed| playback.cut(&mut Random::new(seed)).read(Path::new(name)).is_some();
            (0..200).map(cut).collect()
        };
        assert_eq!(there("d/before"), BTreeSet::from([true]), "{:?}", sync());
        assert_eq!(there("d/during"), BTreeSet::from([false, true]), "{:?}", sync());
        match sync() {
            Action::CreateDir(_) => assert_eq!(there("d/own/inner"), BTreeSet::from([true])),
            Action::Replace(own, _) => assert_eq!(there(own.to_str().unwrap()), BTreeSet::from([true])),
            _ => {}
        }
    }
}
