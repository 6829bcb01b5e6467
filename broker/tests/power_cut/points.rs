//! Cuts a recording at random points, recovers each image, and says what is wrong with it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;

use storage::disk::memory::{Lie, Playback};
use storage::disk::random::Random;
use storage::disk::tape::{self, Action, Event};

use super::check::{Index, Job, violations};
use super::ledger::Moment;
use super::recording::Recording;

/// Images looked at side by side.
const WORKERS: usize = 2;
/// What a broker keeps in its directory that need not survive anything.
const UNRECORDED: [&str; 1] = [".lock"];

/// An image that shows something wrong.
#[derive(Debug)]
pub struct Failure {
    /// Kept for whoever looks into it.
    pub image: PathBuf,
    pub wrong: Vec<String>,
}

/// Where one cut is made: behind that event of that tape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Cut {
    tape: usize,
    event: usize,
}

/// Cuts `recording` at `points` points. `stop_at_first` is for proofs that something is caught.
pub fn try_points(
    binary: &Path,
    recording: &Recording,
    points: u64,
    seed: u64,
    lie: Option<Lie>,
    stop_at_first: bool,
) -> io::Result<Vec<Failure>> {
    let tapes: Vec<Vec<u8>> =
        tape::tapes(&recording.tapes)?.iter().map(fs::read).collect::<io::Result<_>>()?;
    let tapes: Vec<Vec<(u64, Event)>> =
        tapes.iter().map(|bytes| tape::events(bytes).collect()).collect::<io::Result<_>>()?;
    let mut random = Random::new(seed);
    let mut cuts: Vec<Cut> = (0..points).map(|_| choose(&tapes, &mut random)).collect();
    cuts.sort_unstable();
    let book = recording.ledger.book();
    let index = Index::new(&book);
    let failures = Mutex::new(Vec::new());
    let directory = recording.tapes.with_file_name("images");
    fs::create_dir_all(&directory)?;
    thread::scope(|scope| {
        let (jobs, queue) = sync_channel::<Job>(1);
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..WORKERS {
            let (queue, index, failures) = (Arc::clone(&queue), &index, &failures);
            scope.spawn(move || work(binary, index, &queue, failures));
        }
        drop(queue);
        let enough = || stop_at_first && !failures.lock().expect("no worker panics with it").is_empty();
        play(recording, tapes, &cuts, &directory, (&mut random, lie), &jobs, &enough)
    })?;
    Ok(failures.into_inner().expect("no worker panics with it"))
}

fn work(binary: &Path, index: &Index<'_>, queue: &Mutex<Receiver<Job>>, failures: &Mutex<Vec<Failure>>) {
    loop {
        let job = queue.lock().expect("no worker panics with it").recv();
        let Ok(job) = job else { return };
        let kept = job.image.with_extension("as-cut");
        // Recovery changes the image, and one that fails is wanted as it was.
        let fresh = keep(&job.image, &kept);
        let wrong = violations(binary, index, &job);
        // What is left behind lies in the target directory.
        let _ = fs::remove_dir_all(&job.image);
        if wrong.is_empty() {
            let _ = fs::remove_dir_all(&kept);
        } else {
            let image = if fresh.is_ok() { kept } else { job.image };
            failures.lock().expect("no worker panics with it").push(Failure { image, wrong });
        }
    }
}

/// Sparse copies are cheap; links would be changed with the image.
fn keep(from: &Path, to: &Path) -> io::Result<()> {
    let copied = std::process::Command::new("cp")
        .args(["-r", "--sparse=always", "--reflink=auto"])
        .args([from, to])
        .status()?;
    if copied.success() { Ok(()) } else { Err(io::Error::other("cp failed")) }
}

/// Half of the points anywhere, half near something rarer than a write.
fn choose(tapes: &[Vec<(u64, Event)>], random: &mut Random) -> Cut {
    let total: u64 = tapes.iter().map(|events| events.len() as u64).sum();
    let mut place = random.below(total.max(1));
    if random.one_in(2) {
        let rare: Vec<u64> = (0..)
            .zip(tapes.iter().flatten())
            .filter(|(_, (_, event))| is_rare(event))
            .map(|(at, _)| at)
            .collect();
        if !rare.is_empty() {
            place = (rare[random.index(rare.len())] + random.below(12)).min(total - 1);
        }
    }
    let mut event = usize::try_from(place).expect("a length in memory");
    for (tape, events) in tapes.iter().enumerate() {
        if event < events.len() {
            return Cut { tape, event };
        }
        event -= events.len();
    }
    Cut { tape: 0, event: 0 }
}

const fn is_rare(event: &Event) -> bool {
    match event {
        Event::Began(_, action) => {
            !matches!(action, Action::Write(..) | Action::Sync(_) | Action::Open(_) | Action::Close(_))
        }
        Event::Ended(..) => false,
    }
}

fn play(
    recording: &Recording,
    tapes: Vec<Vec<(u64, Event)>>,
    cuts: &[Cut],
    directory: &Path,
    (random, lie): (&mut Random, Option<Lie>),
    jobs: &SyncSender<Job>,
    enough: &dyn Fn() -> bool,
) -> io::Result<()> {
    let mut playback = Playback::new(random.bits(), lie);
    let mut cuts = cuts.iter().enumerate().peekable();
    for (tape, events) in tapes.into_iter().enumerate() {
        for (event, (length, what)) in events.into_iter().enumerate() {
            playback.play(what)?;
            while let Some((number, _)) = cuts.next_if(|(_, cut)| **cut == Cut { tape, event }) {
                let image = directory.join(format!("{number:05}"));
                playback.cut(&mut random.fork()).store(&image)?;
                let moment = Moment { tape: tape as u64, length };
                let job = Job { image, moment, cores: random.between(1, 2) };
                if enough() || jobs.send(job).is_err() {
                    return Ok(());
                }
            }
        }
        let differences = playback.killed(&recording.after[tape], &UNRECORDED)?;
        if !differences.is_empty() {
            let list = differences.join("\n");
            return Err(io::Error::other(format!(
                "after tape {tape}, not explained by the recording:\n{list}"
            )));
        }
    }
    Ok(())
}
