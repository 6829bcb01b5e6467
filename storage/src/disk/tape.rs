//! A recording of everything one process asked of its disk: the aid of power-cut tests, never part of a data directory.
//!
//! Each operation is an event when it begins and one when it has ended; their order in the file is one order of all cores.
//! What began and never ended was under way when the process died. One event, little-endian:
//!
//! ```text
//! 0 bytes behind the head u32  4 kind u32  8 operation u64  16 file u64  24 position u64  32 paths or contents
//! ```
//! `file` is the operation that created or opened it. Paths are relative to the data directory.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::bytes_at::{u32_at, u64_at};

const HEAD_BYTES: usize = 32;
/// Between the two parts of an event that has two.
const SEPARATOR: u8 = 0;

/// Number of an operation, unique on its tape.
pub type OperationId = u64;

/// What was asked of the disk. `S` is how bytes are held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action<S> {
    /// [`super::Disk::create`].
    Create(PathBuf),
    /// [`super::Disk::open`].
    Open(PathBuf),
    /// [`super::Disk::replace_file`].
    Replace(PathBuf, S),
    /// [`super::Disk::rename`].
    Rename(PathBuf, PathBuf),
    /// [`super::Disk::remove_file`].
    RemoveFile(PathBuf),
    /// [`super::Disk::remove_dir`].
    RemoveDir(PathBuf),
    /// [`super::Disk::create_dir`].
    CreateDir(PathBuf),
    /// [`super::Disk::sync_dir`].
    SyncDir(PathBuf),
    /// [`super::Disk::sync_all`].
    SyncAll,
    /// One write to an open file.
    Write(OperationId, u64, S),
    /// A write of that many zeros.
    WriteZeros(OperationId, u64, u64),
    /// [`super::File::sync`].
    Sync(OperationId),
    /// [`super::File::allocate`]: position and length.
    Allocate(OperationId, u64, u64),
    /// [`super::File::close`].
    Close(OperationId),
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// An operation is handed to the kernel.
    Began(OperationId, Action<Vec<u8>>),
    /// It has ended, well or not.
    Ended(OperationId, bool),
}

const ENDED_WELL: u32 = 0;
const ENDED_BADLY: u32 = 1;
const CREATE: u32 = 2;
const OPEN: u32 = 3;
const REPLACE: u32 = 4;
const RENAME: u32 = 5;
const REMOVE_FILE: u32 = 6;
const REMOVE_DIR: u32 = 7;
const CREATE_DIR: u32 = 8;
const SYNC_DIR: u32 = 9;
const SYNC_ALL: u32 = 10;
const WRITE: u32 = 11;
const WRITE_ZEROS: u32 = 12;
const SYNC: u32 = 13;
const ALLOCATE: u32 = 14;
const CLOSE: u32 = 15;

/// The recording side. Shared by the cores; each event is one appending write, which the kernel puts in order.
#[derive(Debug)]
pub struct Tape {
    file: File,
    root: PathBuf,
    next: AtomicU64,
}

impl Tape {
    /// Starts a tape in `directory`, behind those that are there, of what happens below `root`.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn start(directory: &Path, root: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(directory)?;
        let number = tapes(directory)?.len();
        let path = directory.join(format!("{number:06}.tape"));
        let file = OpenOptions::new().append(true).create_new(true).open(path)?;
        Ok(Self { file, root: root.to_owned(), next: AtomicU64::new(1) })
    }

    /// Notes that an operation is about to begin. Its effects must not begin before this returns.
    pub fn begin(&self, action: &Action<&[u8]>) -> OperationId {
        let operation = self.next.fetch_add(1, Ordering::Relaxed);
        let length = |len: u64| len.to_le_bytes();
        match action {
            Action::Create(path) => self.append(CREATE, operation, (0, 0), &[self.name(path)]),
            Action::Open(path) => self.append(OPEN, operation, (0, 0), &[self.name(path)]),
            Action::Replace(path, contents) => {
                self.append(REPLACE, operation, (0, 0), &[self.name(path), &[SEPARATOR], contents]);
            }
            Action::Rename(from, to) => {
                self.append(RENAME, operation, (0, 0), &[self.name(from), &[SEPARATOR], self.name(to)]);
            }
            Action::RemoveFile(path) => self.append(REMOVE_FILE, operation, (0, 0), &[self.name(path)]),
            Action::RemoveDir(path) => self.append(REMOVE_DIR, operation, (0, 0), &[self.name(path)]),
            Action::CreateDir(path) => self.append(CREATE_DIR, operation, (0, 0), &[self.name(path)]),
            Action::SyncDir(path) => self.append(SYNC_DIR, operation, (0, 0), &[self.name(path)]),
            Action::SyncAll => self.append(SYNC_ALL, operation, (0, 0), &[]),
            Action::Write(file, at, bytes) if bytes.iter().all(|byte| *byte == 0) => {
                self.append(WRITE_ZEROS, operation, (*file, *at), &[&length(bytes.len() as u64)]);
            }
            Action::Write(file, at, bytes) => self.append(WRITE, operation, (*file, *at), &[bytes]),
            Action::WriteZeros(file, at, len) => {
                self.append(WRITE_ZEROS, operation, (*file, *at), &[&length(*len)]);
            }
            Action::Sync(file) => self.append(SYNC, operation, (*file, 0), &[]),
            Action::Allocate(file, at, len) => {
                self.append(ALLOCATE, operation, (*file, *at), &[&length(*len)]);
            }
            Action::Close(file) => self.append(CLOSE, operation, (*file, 0), &[]),
        }
        operation
    }

    /// Notes that it has ended. Nobody may be told before this returns.
    pub fn end(&self, operation: OperationId, well: bool) {
        self.append(if well { ENDED_WELL } else { ENDED_BADLY }, operation, (0, 0), &[]);
    }

    fn name<'a>(&self, path: &'a Path) -> &'a [u8] {
        path.strip_prefix(&self.root).unwrap_or(path).as_os_str().as_encoded_bytes()
    }

    /// One write for one event: a tape with half an event in its middle would be worth nothing.
    fn append(&self, kind: u32, operation: OperationId, (file, position): (u64, u64), parts: &[&[u8]]) {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        let mut head = [0; HEAD_BYTES];
        head[..4].copy_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
        head[4..8].copy_from_slice(&kind.to_le_bytes());
        head[8..16].copy_from_slice(&operation.to_le_bytes());
        head[16..24].copy_from_slice(&file.to_le_bytes());
        head[24..32].copy_from_slice(&position.to_le_bytes());
        let slices: Vec<IoSlice<'_>> =
            std::iter::once(&head[..]).chain(parts.iter().copied()).map(IoSlice::new).collect();
        match (&self.file).write_vectored(&slices) {
            Ok(written) if written == HEAD_BYTES + length => {}
            outcome => {
                tracing::error!(?outcome, "the recording of the disk cannot be written: the process ends");
                std::process::abort();
            }
        }
    }
}

/// The tapes in a directory, oldest first: one per start of the broker.
///
/// # Errors
/// When it cannot be listed.
pub fn tapes(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "tape") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Cuts a tape into events, each with the length of the tape once it was written. A last one that is not whole was not
/// written before the process died, so its operation did not begin.
pub fn events(bytes: &[u8]) -> impl Iterator<Item = io::Result<(u64, Event)>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let head = bytes.get(at..at + HEAD_BYTES)?;
        let length = usize::try_from(u32_at(head, 0)).ok()?;
        let body = bytes.get(at + HEAD_BYTES..at + HEAD_BYTES + length)?;
        at += HEAD_BYTES + length;
        let event = event(head, body)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("no event ends at {at}")));
        Some(event.map(|event| (at as u64, event)))
    })
}

fn event(head: &[u8], body: &[u8]) -> Option<Event> {
    let (operation, file, position) = (u64_at(head, 8), u64_at(head, 16), u64_at(head, 24));
    let path = |bytes: &[u8]| std::str::from_utf8(bytes).ok().map(PathBuf::from);
    let parts = || body.iter().position(|byte| *byte == SEPARATOR).map(|at| (&body[..at], &body[at + 1..]));
    let action = match u32_at(head, 4) {
        ENDED_WELL => return Some(Event::Ended(operation, true)),
        ENDED_BADLY => return Some(Event::Ended(operation, false)),
        CREATE => Action::Create(path(body)?),
        OPEN => Action::Open(path(body)?),
        REPLACE => {
            parts().and_then(|(name, contents)| Some(Action::Replace(path(name)?, contents.to_vec())))?
        }
        RENAME => parts().and_then(|(from, to)| Some(Action::Rename(path(from)?, path(to)?)))?,
        REMOVE_FILE => Action::RemoveFile(path(body)?),
        REMOVE_DIR => Action::RemoveDir(path(body)?),
        CREATE_DIR => Action::CreateDir(path(body)?),
        SYNC_DIR => Action::SyncDir(path(body)?),
        SYNC_ALL => Action::SyncAll,
        WRITE => Action::Write(file, position, body.to_vec()),
        WRITE_ZEROS => Action::WriteZeros(file, position, u64_at(body, 0)),
        SYNC => Action::Sync(file),
        ALLOCATE => Action::Allocate(file, position, u64_at(body, 0)),
        CLOSE => Action::Close(file),
        _ => return None,
    };
    Some(Event::Began(operation, action))
}
