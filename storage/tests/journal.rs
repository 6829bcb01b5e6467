//! The journal alone on the lying disk: what was durable comes back in order, a torn tail ends it, damage is told apart
//! from a torn tail, and neither stale frames of a recycled file nor frames within a client's bytes are taken for its own.

use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use model::limits::BLOCK;
use model::{Offset, OwnershipEpoch, TopicId, TopicPartition};
use storage::disk::memory::{Image, MemoryDisk};
use storage::disk::random::Random;
use storage::disk::simulation::Simulation;
use storage::disk::{Disk, random};
use storage::journal::commit::{CommitFacts, Sink};
use storage::journal::frame::FrameHeader;
use storage::journal::replay::{Frames, RecoveryError};
use storage::journal::ring::Ring;
use storage::journal::{Committed, Entry, EntryKind, Journal, JournalId, Queued};
use storage::paths::Paths;
use storage::pool::Pool;

const ID: JournalId = JournalId([5; 16]);
const RING: u64 = 1 << 20;

/// One entry, or part of one, as it went in.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Part {
    sequence: u64,
    file: u32,
    number: i64,
    position: u64,
    bytes: Vec<u8>,
}

#[derive(Default)]
struct Taken {
    parts: RefCell<Vec<Part>>,
}

impl Sink<MemoryDisk, ()> for Taken {
    fn committed(&self, entries: Vec<Committed<MemoryDisk, ()>>, _facts: CommitFacts) {
        for entry in &entries {
            let frame: &[u8] = (*entry.frame).as_ref();
            self.parts.borrow_mut().push(Part {
                sequence: entry.lsn.sequence,
                file: entry.file,
                number: entry.entry.base_offset.0,
                position: entry.entry.position,
                bytes: frame[entry.start..entry.start + entry.len].to_vec(),
            });
        }
    }
}

fn entry(number: i64, bytes: &[u8]) -> Queued<()> {
    let partition = TopicPartition { topic: TopicId([1; 16]), partition: 0 };
    // A REDO goes through as it is: nothing is patched in it.
    let entry = Entry::of(EntryKind::Redo, partition, OwnershipEpoch { boot: 1, moves: 0 });
    Queued {
        entry: Entry { base_offset: Offset(number), ..entry },
        bytes: Bytes::copy_from_slice(bytes),
        marked: false,
        log: (),
    }
}

struct Rig {
    simulation: Simulation,
    disk: MemoryDisk,
    paths: Paths,
    journal: Rc<Journal<MemoryDisk, ()>>,
    taken: Rc<Taken>,
}

impl Rig {
    fn new(seed: u64, image: Image) -> Self {
        let simulation = Simulation::new(seed);
        let disk = MemoryDisk::from_image(&simulation, image);
        let paths = Paths::new("/data");
        simulation.run_until(disk.create_dir(&paths.journal(ID))).expect("the disk is well");
        let ring = Ring::new(disk.clone(), &paths, ID, RING);
        let journal = Rc::new(Journal::new(disk.clone(), ID, ring, Pool::new(disk.clone(), 1 << 20)));
        let taken = Rc::new(Taken::default());
        let provisioned = Rc::clone(&journal);
        disk.spawn(async move { provisioned.ring.provision().await.expect("the disk is well") });
        let (running, sink) = (Rc::clone(&journal), Rc::clone(&taken));
        disk.spawn(async move { running.run(&*sink).await });
        Self { simulation, disk, paths, journal, taken }
    }

    fn write(&self, number: i64, bytes: &[u8]) {
        let ticket = self.journal.queue(entry(number, bytes));
        self.simulation.run_until(self.journal.durable(ticket));
    }

    /// Frees the oldest file whenever half of the ring is used, and counts how many.
    fn recycle(&self) -> Rc<Cell<usize>> {
        let count = Rc::new(Cell::new(0));
        let (counted, journal) = (Rc::clone(&count), Rc::clone(&self.journal));
        self.disk.spawn(async move {
            loop {
                journal.ring.filled(4).await;
                counted.set(counted.get() + 1);
                journal.ring.recycle_oldest();
            }
        });
        count
    }

    /// The first frame of the oldest file that is not recycled.
    fn needed_from(&self, recycled: usize) -> u64 {
        let parts = self.taken.parts.borrow();
        let mut firsts: Vec<(u64, u32)> = Vec::new();
        for part in parts.iter() {
            if firsts.last().is_none_or(|last| last.1 != part.file) {
                firsts.push((part.sequence, part.file));
            }
        }
        firsts.get(recycled).map_or(1, |first| first.0)
    }

    fn path_of(&self, sequence: u64) -> PathBuf {
        let parts = self.taken.parts.borrow();
        let part = parts.iter().find(|part| part.sequence == sequence).expect("it was written");
        self.paths.ring_file(ID, part.file)
    }
}

/// Reads a journal back, to its end.
fn replay(seed: u64, image: &Image, from: u64) -> Result<Vec<Part>, RecoveryError> {
    let simulation = Simulation::new(seed);
    let disk = MemoryDisk::from_image(&simulation, image.clone());
    simulation.run_until(async {
        let mut frames = Frames::open(&disk, &Paths::new("/data").journal(ID), ID, from).await?;
        let mut parts = Vec::new();
        while let Some(frame) = frames.next().await? {
            let mut rest = frame.payload();
            for _ in 0..frame.header.entries {
                let (entry, bytes, after) = Entry::read(rest).expect("a whole frame holds whole entries");
                let (number, position) = (entry.base_offset.0, entry.position);
                parts.push(Part {
                    sequence: frame.header.sequence,
                    file: 0,
                    number,
                    position,
                    bytes: bytes.to_vec(),
                });
                rest = after;
            }
        }
        frames.check_end().await?;
        Ok(parts)
    })
}

#[test]
fn what_was_durable_comes_back_in_order_after_any_crash() {
    for seed in 0..150 {
        let rig = Rig::new(seed, Image::default());
        let mut random = Random::new(seed + 1);
        let mut sent: Vec<Vec<u8>> = Vec::new();
        let recycled = rig.recycle();
        for _ in 0..random.between(1, 120) {
            let len = if random.one_in(6) { random.between(0, 200_000) } else { random.between(0, 3_000) };
            let fill = u8::try_from(random.below(256)).expect("a byte");
            let number = i64::try_from(sent.len()).expect("small");
            sent.push(vec![fill; usize::try_from(len).expect("small")]);
            let ticket = rig.journal.queue(entry(number, &sent[sent.len() - 1]));
            if random.one_in(3) {
                rig.simulation.run_until(rig.journal.durable(ticket));
            }
        }
        let pause = rig.simulation.sleep(Duration::from_millis(2));
        let _ = rig.simulation.run_steps(random.below(60), pause);
        let from = rig.needed_from(recycled.get());
        let image = if random.one_in(2) { rig.disk.kill() } else { rig.disk.power_cut(&mut random) };
        let back = replay(seed, &image, from).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        let expected: Vec<Part> =
            rig.taken.parts.borrow().iter().filter(|part| part.sequence >= from).cloned().collect();
        assert!(
            back.len() >= expected.len(),
            "seed {seed}: {} of {} parts came back",
            back.len(),
            expected.len()
        );
        for (back, expected) in back.iter().zip(&expected) {
            assert_eq!(back, &Part { file: 0, ..expected.clone() }, "seed {seed}");
        }
        // What came back beyond that was on its way: it goes on in the order it was sent.
        for part in &back[expected.len()..] {
            let whole = &sent[usize::try_from(part.number).expect("small")];
            let at = usize::try_from(part.position).expect("small");
            assert_eq!(whole.get(at..at + part.bytes.len()), Some(&part.bytes[..]), "seed {seed}");
        }
    }
}

/// A journal of ten one-frame commits in one file, and the byte at which each frame begins.
fn ten_frames(seed: u64) -> (Rig, Vec<u64>) {
    let rig = Rig::new(seed, Image::default());
    let mut starts = Vec::new();
    let mut at = BLOCK as u64;
    for number in 0..10 {
        rig.write(number, &vec![7; 5_000]);
        starts.push(at);
        at += 2 * BLOCK as u64;
    }
    (rig, starts)
}

#[test]
fn damage_in_a_durable_frame_is_told_from_a_torn_tail() {
    let (rig, starts) = ten_frames(1);
    let path = rig.path_of(1);
    let image = rig.disk.kill();
    assert_eq!(replay(2, &image, 1).expect("whole").len(), 10);
    for (frame, start) in starts.iter().enumerate() {
        for place in [0, 30, 63, 100, 4_200] {
            let mut rotten = image.clone();
            assert!(rotten.flip(&path, start + place, 0x40));
            let back = replay(3, &rotten, 1);
            if frame < 9 {
                let error = back.expect_err("a later frame says that this one was durable").to_string();
                assert!(error.contains(&path.display().to_string()) || frame == 0, "{error}");
                assert!(error.contains(&format!("frame {}", frame + 1)), "{error}");
            } else {
                // The last frame: nobody says that it was durable. The checkpoint may, which is recovery's affair.
                assert_eq!(back.expect("a torn tail").len(), 9);
            }
        }
    }
}

#[test]
fn a_file_whose_first_frame_rotted_is_damage_too() {
    // Enough for several files: the rotten one is found among the others.
    let rig = Rig::new(4, Image::default());
    for number in 0..30 {
        rig.write(number, &vec![9; 20_000]);
    }
    let parts = rig.taken.parts.borrow().clone();
    let image = rig.disk.kill();
    let mut files: Vec<u32> = parts.iter().map(|part| part.file).collect();
    files.dedup();
    assert!(files.len() >= 4, "{files:?}");
    for file in files {
        let mut rotten = image.clone();
        assert!(rotten.flip(&rig.paths.ring_file(ID, file), BLOCK as u64 + 10, 1));
        assert!(matches!(replay(5, &rotten, 1), Err(RecoveryError::Damaged(_))), "file {file}");
    }
}

#[test]
fn stale_and_forged_frames_are_not_taken_for_the_journals_own() {
    let (rig, starts) = ten_frames(6);
    // A client that knows everything but the future sends whole frames of this very journal, aligned to blocks, as its
    // payload: one recorded earlier, and one that claims to be the next.
    let path = rig.path_of(1);
    let recorded = rig.disk.clone().kill().read(&path).expect("it is there");
    let old =
        &recorded[usize::try_from(starts[3]).expect("small")..usize::try_from(starts[4]).expect("small")];
    assert!(FrameHeader::parse(old).is_some());
    let rig = Rig::new(7, Image::default());
    for number in 0..10 {
        rig.write(number, &vec![7; 5_000]);
    }
    let mut payload = vec![0; BLOCK - 64 - 72];
    payload.extend_from_slice(old);
    payload.extend_from_slice(old);
    rig.write(10, &payload);
    rig.write(11, b"after");
    let mut random = random::Random::new(8);
    let image = rig.disk.power_cut(&mut random);
    let back = replay(9, &image, 1).expect("whole");
    assert_eq!(back.len(), 12);
    assert_eq!(back[10].bytes, payload);
    // The frame around them tears: the journal ends there, and what stands inside says nothing.
    let mut torn = image.clone();
    let start = starts[9] + 2 * BLOCK as u64;
    let last = start + payload.len() as u64 / BLOCK as u64 * BLOCK as u64 + 2 * BLOCK as u64;
    assert!(torn.flip(&path, start + 8_000, 1));
    let damaged = replay(10, &torn, 1);
    assert!(matches!(damaged, Err(RecoveryError::Damaged(_))), "frame 12 says that frame 11 was durable");
    torn.set_size(&path, last - BLOCK as u64);
    assert_eq!(replay(11, &torn, 1).expect("a torn tail").len(), 10);
}
