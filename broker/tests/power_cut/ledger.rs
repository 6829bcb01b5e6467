//! What clients asked for and were told, each with the place of the recording where it stood then.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};

use storage::disk::random::Random;

/// A place of a recording: the tape, and its length. What a client was told at a moment was caused by events before it;
/// what it asked from a moment on, causes events after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    pub tape: u64,
    pub length: u64,
}

/// Tells the moment.
#[derive(Debug)]
pub struct Clock {
    tapes: PathBuf,
    tape: AtomicU64,
}

impl Clock {
    pub fn new(tapes: &Path) -> Self {
        Self { tapes: tapes.to_owned(), tape: AtomicU64::new(0) }
    }

    /// The broker is about to be started for another time.
    pub fn next_tape(&self) {
        self.tape.fetch_add(1, Ordering::SeqCst);
    }

    pub fn now(&self) -> Moment {
        let tape = self.tape.load(Ordering::SeqCst);
        let path = self.tapes.join(format!("{tape:06}.tape"));
        Moment { tape, length: fs::metadata(path).map_or(0, |metadata| metadata.len()) }
    }
}

/// One partition of a topic.
pub type LogName = (String, u32);

/// Something asked for and perhaps answered.
#[derive(Clone, Debug)]
pub struct Asked<T> {
    pub at: Moment,
    pub answered: Option<(T, Moment)>,
}

impl<T> Asked<T> {
    /// The answer, if a client had it at that moment.
    pub fn told_by(&self, moment: Moment) -> Option<&T> {
        self.answered.as_ref().filter(|(_, at)| *at <= moment).map(|(answer, _)| answer)
    }

    /// Whether it had been asked for.
    pub fn asked_by(&self, moment: Moment) -> bool {
        self.at < moment
    }
}

/// A batch that a producer sent.
#[derive(Clone, Debug)]
pub struct Batch {
    pub producer: u32,
    pub log: LogName,
    /// Number of its first record among those of this producer in this log.
    pub first: u64,
    pub count: u64,
    /// As sent, of an idempotent producer.
    pub bytes: Option<Vec<u8>>,
    /// The answer is its base offset.
    pub asked: Asked<i64>,
}

/// What a topic promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Every acknowledged record, from offset 0.
    Whole,
    /// Acknowledged when written, not when synced.
    Relaxed,
    /// Retention takes old segments.
    Retained,
    /// Records are deleted on request.
    Trimmed,
    /// The last of every key, from offset 0.
    Compacted,
}

/// A topic and what became of it.
#[derive(Clone, Debug)]
pub struct Topic {
    pub kind: Kind,
    pub partitions: u32,
    pub created: Asked<()>,
    pub deleted: Option<Asked<()>>,
}

/// A request to delete the records before an offset.
#[derive(Clone, Debug)]
pub struct Trim {
    pub log: LogName,
    pub before: i64,
    pub asked: Asked<()>,
}

/// A commit of a group's offset.
#[derive(Clone, Debug)]
pub struct Commit {
    pub group: String,
    pub log: LogName,
    pub offset: i64,
    pub asked: Asked<()>,
}

/// All of it.
#[derive(Debug, Default)]
pub struct Book {
    pub batches: Vec<Batch>,
    pub topics: BTreeMap<String, Topic>,
    pub trims: Vec<Trim>,
    pub commits: Vec<Commit>,
    /// Answers that no broker should give.
    pub complaints: Vec<String>,
}

/// The book and the clock it is kept by.
#[derive(Debug)]
pub struct Ledger {
    book: Mutex<Book>,
    pub clock: Clock,
}

impl Ledger {
    pub fn new(tapes: &Path) -> Self {
        Self { book: Mutex::new(Book::default()), clock: Clock::new(tapes) }
    }

    pub fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().expect("no client panics with the book in its hands")
    }

    /// Something that is asked for from now on.
    pub fn ask<T>(&self) -> Asked<T> {
        Asked { at: self.clock.now(), answered: None }
    }

    /// An answer that just came.
    pub fn answer<T>(&self, answer: T) -> Option<(T, Moment)> {
        Some((answer, self.clock.now()))
    }
}

/// Who wrote a record, and which one it is of theirs in that log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity {
    pub producer: u32,
    pub number: u64,
}

const IDENTITY_BYTES: usize = 12;

/// So many keys has each producer in each log.
pub const KEYS: u64 = 24;

/// The key of a record.
pub fn key(identity: Identity) -> Vec<u8> {
    [&identity.producer.to_le_bytes()[..], &(identity.number % KEYS).to_le_bytes()].concat()
}

/// The value of a record, of at least [`IDENTITY_BYTES`]: it says whose it is, and the rest follows from that.
pub fn value(identity: Identity, len: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len + 8);
    bytes.extend_from_slice(&identity.producer.to_le_bytes());
    bytes.extend_from_slice(&identity.number.to_le_bytes());
    let mut random = filling(identity);
    while bytes.len() < len {
        bytes.extend_from_slice(&random.bits().to_le_bytes());
    }
    bytes.truncate(len.max(IDENTITY_BYTES));
    bytes
}

fn filling(identity: Identity) -> Random {
    Random::new(u64::from(identity.producer) << 40 ^ identity.number)
}

/// Whose record it is; none when its value is damaged.
pub fn identity(bytes: &[u8]) -> Option<Identity> {
    let producer = u32::from_le_bytes(bytes.get(..4)?.try_into().ok()?);
    let number = u64::from_le_bytes(bytes.get(4..IDENTITY_BYTES)?.try_into().ok()?);
    let identity = Identity { producer, number };
    let mut random = filling(identity);
    let mut words = bytes[IDENTITY_BYTES..].chunks(8);
    words.all(|word| random.bits().to_le_bytes().starts_with(word)).then_some(identity)
}
