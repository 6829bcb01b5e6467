//! Cuts a recording at random points, recovers each image, and says what is wrong with it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;

use storage::disk::memory::{Image, Lie, Playback};
use storage::disk::random::Random;
use storage::disk::tape::{self, Action, Event};

use super::check::{Index, Job, violations};
use super::ledger::Moment;
use super::recording::Recording;

/// Images looked at side by side.
const WORKERS: usize = 4;
/// What a broker makes in its directory that need not survive anything: its lock, and the file with which it tries the disk.
const UNRECORDED: [&str; 2] = [".lock", ".millrace-probe.tmp"];

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
    let directory = recording.tapes.with_file_name("images");
    fs::create_dir_all(&directory)?;
    thread::scope(|scope| {
        let (jobs, queue) = sync_channel::<Job>(1);
        let (looked_at, results) = channel();
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..WORKERS {
            let (queue, index, looked_at) = (Arc::clone(&queue), &index, looked_at.clone());
            scope.spawn(move || work(binary, index, &queue, &looked_at));
        }
        drop((queue, looked_at));
        let mut inspection = Inspection {
            directory,
            jobs: Some(jobs),
            results,
            images: BTreeMap::new(),
            failures: Vec::new(),
            stop_at_first,
        };
        play(recording, tapes, &cuts, (&mut random, lie), &mut inspection)?;
        inspection.finish()
    })
}

/// Images on their way to the workers, and what they found.
struct Inspection {
    directory: PathBuf,
    jobs: Option<SyncSender<Job>>,
    results: Receiver<(u64, Vec<String>)>,
    /// Those that are looked at: one that fails is kept as it was.
    images: BTreeMap<u64, Image>,
    failures: Vec<Failure>,
    stop_at_first: bool,
}

impl Inspection {
    /// Has an image looked at. False when enough is known.
    fn look_at(&mut self, number: u64, image: Image, moment: Moment, cores: u64) -> io::Result<bool> {
        let path = self.directory.join(format!("{number:05}"));
        image.store(&path)?;
        self.images.insert(number, image);
        let job = Job { number, image: path, moment, cores };
        let sent = self.jobs.as_ref().is_some_and(|jobs| jobs.send(job).is_ok());
        let results: Vec<_> = self.results.try_iter().collect();
        results.into_iter().try_for_each(|result| self.take(result))?;
        Ok(sent && (!self.stop_at_first || self.failures.is_empty()))
    }

    fn take(&mut self, (number, wrong): (u64, Vec<String>)) -> io::Result<()> {
        let image = self.images.remove(&number);
        if !wrong.is_empty() {
            let path = self.directory.join(format!("{number:05}-as-cut"));
            image.map_or(Ok(()), |image| image.store(&path))?;
            self.failures.push(Failure { image: path, wrong });
        }
        Ok(())
    }

    fn finish(mut self) -> io::Result<Vec<Failure>> {
        self.jobs = None;
        while let Ok(result) = self.results.recv() {
            self.take(result)?;
        }
        Ok(self.failures)
    }
}

fn work(
    binary: &Path,
    index: &Index<'_>,
    queue: &Mutex<Receiver<Job>>,
    looked_at: &Sender<(u64, Vec<String>)>,
) {
    loop {
        let job = queue.lock().expect("no worker panics with it").recv();
        let Ok(job) = job else { return };
        let wrong = violations(binary, index, &job);
        // Recovery has changed it; and what is left behind lies in the target directory.
        let _ = fs::remove_dir_all(&job.image);
        if looked_at.send((job.number, wrong)).is_err() {
            return;
        }
    }
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
    (random, lie): (&mut Random, Option<Lie>),
    inspection: &mut Inspection,
) -> io::Result<()> {
    let mut playback = Playback::new(random.bits(), lie);
    let mut cuts = (0..).zip(cuts).peekable();
    for (tape, events) in tapes.into_iter().enumerate() {
        for (event, (length, what)) in events.into_iter().enumerate() {
            playback.play(what)?;
            while let Some((number, _)) = cuts.next_if(|(_, cut)| **cut == Cut { tape, event }) {
                let image = playback.cut(&mut random.fork());
                let moment = Moment { tape: tape as u64, length };
                if !inspection.look_at(number, image, moment, random.between(1, 2))? {
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
