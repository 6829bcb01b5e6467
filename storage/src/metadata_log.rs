//! The log of the metadata on disk: entries in commits, a hard state, snapshots, and cutting off a suffix: all that a
//! Raft log needs, though today one broker is the whole quorum.
//!
//! One log file at a time, named by its first index. Writes only ever add whole blocks (see [`envelope`]); everything
//! else (hard state, snapshot, cutting, repairing) replaces a small file atomically. A snapshot ends the log file that
//! it covers and begins the next. Drawn in `docs/formats/metadata.md`.

pub(crate) mod dump;
pub mod envelope;
mod files;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use model::limits::BLOCK;

use crate::bytes_at::{u32_at, u64_at};
use crate::disk::{Disk, File};
use crate::sealed_file::FileKind;

pub use envelope::Entry;
use envelope::{Link, Scan};
use files::{Names, read_hard_state, read_log, read_snapshot};

/// Header of a log file: body {index, term, checksum of the entry before the first}.
const LOG: FileKind = FileKind { magic: *b"MLML", version: 1, name: "metadata log" };
/// Body {term, vote, commit}.
const HARD_STATE: FileKind = FileKind { magic: *b"MLMH", version: 1, name: "metadata hard state" };
/// Body {index, term, checksum of the last entry it covers, contents}.
const SNAPSHOT: FileKind = FileKind { magic: *b"MLMS", version: 1, name: "metadata snapshot" };

/// A log or snapshot file larger than this is refused as damaged.
const FILE_BYTES_MAX: usize = 1 << 30;
/// One buffer of a commit.
const BUFFER_BYTES_MAX: usize = 1 << 20;
const LINK_BYTES: usize = 20;

/// What Raft must not forget. All zero before the first term.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HardState {
    /// The newest term seen.
    pub term: u64,
    /// Who got this node's vote in it; -1 for nobody.
    pub vote: i32,
    /// An index up to which entries are known to be committed; the log never ends before it.
    pub commit: u64,
}

impl Default for HardState {
    fn default() -> Self {
        Self { term: 0, vote: -1, commit: 0 }
    }
}

/// The state after an entry, in place of all entries up to it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogSnapshot {
    /// The last entry it covers.
    pub index: u64,
    /// That entry's term.
    pub term: u64,
    /// The caller's bytes.
    pub contents: Vec<u8>,
}

/// What was found on opening.
#[derive(Debug)]
pub struct Recovered {
    /// As last set.
    pub hard_state: HardState,
    /// The newest one.
    pub snapshot: Option<LogSnapshot>,
    /// Everything after the snapshot.
    pub entries: Vec<Entry>,
}

/// Why the metadata cannot be opened.
#[derive(Debug)]
pub enum MetadataLogError {
    /// The disk says no.
    Io(PathBuf, io::Error),
    /// What it gives is not what was written: file, byte, and what is wrong there.
    Damaged(PathBuf, usize, String),
}

impl fmt::Display for MetadataLogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Damaged(path, at, what) => write!(f, "{} at byte {at}: {what}", path.display()),
        }
    }
}

impl std::error::Error for MetadataLogError {}

/// The open log. One owner; operations do not overlap.
#[derive(Debug)]
pub struct MetadataLog<D: Disk> {
    disk: D,
    dir: PathBuf,
    /// The entry before the log file's first one.
    first: Link,
    /// The last entry.
    last: Link,
    file: Option<D::File>,
    /// Where the next commit goes.
    end: u64,
    /// A write failed: what lies behind `end` is unknown and must go before the next commit.
    unclean: bool,
}

impl<D: Disk> MetadataLog<D> {
    /// The file that entries are appended to, and where the next one goes.
    pub fn end(&self) -> (PathBuf, u64) {
        (log_path(&self.dir, self.first.index + 1), self.end)
    }

    /// Opens the log in `dir`, making both when there is nothing, and cutting off a commit that did not finish.
    ///
    /// # Errors
    /// When the disk fails or the files are damaged.
    pub async fn open(disk: D, dir: &Path) -> Result<(Self, Recovered), MetadataLogError> {
        let names = Names::list(&disk, dir).await?;
        let hard_state = read_hard_state(&disk, dir, &names).await?;
        let (snapshot, covered) = match names.snapshots.last() {
            Some(index) => {
                read_snapshot(&disk, &snapshot_path(dir, *index)).await.map(|(s, l)| (Some(s), l))?
            }
            None => (None, Link::default()),
        };
        let Some(&first_index) = names.logs.last() else {
            if names.hard_state || snapshot.is_some() {
                let path = log_path(dir, covered.index + 1);
                return Err(MetadataLogError::Damaged(path, 0, "the metadata log is missing".into()));
            }
            let log = Self::begin(disk, dir).await?;
            return Ok((log, Recovered { hard_state, snapshot, entries: Vec::new() }));
        };
        let path = log_path(dir, first_index);
        let (first, scan) = read_log(&disk, &path).await?;
        let damaged = |what: String| MetadataLogError::Damaged(path.clone(), 0, what);
        if first.index + 1 != first_index || first.index > covered.index {
            let text = format!("begins after entry {}, but only {} are covered", first.index, covered.index);
            return Err(damaged(text));
        }
        let last = last_link(first, &scan);
        if last.index < covered.index || last.index < hard_state.commit {
            let known = covered.index.max(hard_state.commit);
            return Err(damaged(format!("ends with entry {}, but {known} was committed", last.index)));
        }
        let mut log =
            Self { disk, dir: dir.into(), first, last, file: None, end: scan.end as u64, unclean: scan.torn };
        if log.unclean {
            tracing::info!(path = %path.display(), entry = last.index + 1, "cut off an unfinished metadata commit");
            log.rewrite(first, &scan.entries)
                .await
                .map_err(|error| MetadataLogError::Io(path.clone(), error))?;
        } else {
            log.file = Some(log.disk.open(&path).await.map_err(|error| MetadataLogError::Io(path, error))?);
        }
        log.remove_superseded(&names).await;
        let entries = scan.entries.into_iter().filter(|entry| entry.index > covered.index).collect();
        Ok((log, Recovered { hard_state, snapshot, entries }))
    }

    async fn begin(disk: D, dir: &Path) -> Result<Self, MetadataLogError> {
        let io_error = |error| MetadataLogError::Io(dir.to_owned(), error);
        disk.create_dir(dir).await.map_err(io_error)?;
        let (first, last) = (Link::default(), Link::default());
        let mut log = Self { disk, dir: dir.into(), first, last, file: None, end: 0, unclean: true };
        log.rewrite(first, &[]).await.map_err(io_error)?;
        Ok(log)
    }

    /// Index of the last entry; 0 when there never was one.
    #[must_use]
    pub const fn last_index(&self) -> u64 {
        self.last.index
    }

    /// Bytes of the log file: what a snapshot would free.
    #[must_use]
    pub const fn file_bytes(&self) -> u64 {
        self.end
    }

    /// Appends `entries` as one commit; they are durable on return.
    ///
    /// # Errors
    /// When the disk fails. Nothing of the commit is in the log then, nor will it be after a restart, once a later
    /// commit has been written.
    pub async fn append(&mut self, entries: &[Entry]) -> io::Result<()> {
        if entries.is_empty() {
            return Ok(());
        }
        if self.unclean {
            let kept = self.read_back().await?;
            self.rewrite(self.first, &kept).await?;
        }
        let mut bytes = Vec::new();
        let last = envelope::encode_commit(&mut bytes, self.last, entries);
        self.unclean = true;
        let file = self.file.as_ref().ok_or(io::ErrorKind::NotFound)?;
        file.write_durable(&buffers(&self.disk, &bytes), self.end, &[], || ()).await?;
        self.unclean = false;
        self.end += bytes.len() as u64;
        self.last = last;
        Ok(())
    }

    /// Keeps the hard state; durable on return.
    ///
    /// # Errors
    /// When the disk fails; the state is the old one or the new one then.
    pub async fn set_hard_state(&mut self, state: HardState) -> io::Result<()> {
        let mut body = Vec::with_capacity(20);
        body.extend_from_slice(&state.term.to_le_bytes());
        body.extend_from_slice(&state.vote.to_le_bytes());
        body.extend_from_slice(&state.commit.to_le_bytes());
        self.disk.replace_file(&self.dir.join(HARD_STATE_NAME), HARD_STATE.seal(&body)).await
    }

    /// Cuts off the entry `index` and all behind it; durable on return.
    ///
    /// # Errors
    /// When the disk fails, or the entry is before the log file's first one.
    pub async fn truncate_from(&mut self, index: u64) -> io::Result<()> {
        if index <= self.first.index {
            let text = format!("entry {index} is covered by the snapshot at {}", self.first.index);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let mut kept = self.read_back().await?;
        kept.retain(|entry| entry.index < index);
        self.rewrite(self.first, &kept).await
    }

    /// Replaces all entries up to `index` by `contents`; durable on return. Entries behind stay.
    ///
    /// # Errors
    /// When the disk fails: nothing is lost then, and the next try starts anew.
    pub async fn snapshot(&mut self, index: u64, contents: &[u8]) -> io::Result<()> {
        if index <= self.first.index || index > self.last.index {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("no entry {index} in the log")));
        }
        let scan = self.read_file().await?;
        let position = scan.entries.iter().position(|entry| entry.index == index);
        let position = position.ok_or(io::ErrorKind::InvalidData)?;
        let link = Link { index, term: scan.entries[position].term, crc: scan.crcs[position] };
        let mut body = encode_link(link);
        body.extend_from_slice(contents);
        self.disk.replace_file(&snapshot_path(&self.dir, index), SNAPSHOT.seal(&body)).await?;
        self.rewrite(link, &scan.entries[position + 1..]).await?;
        let names = Names::list(&self.disk, &self.dir).await.unwrap_or_default();
        self.remove_superseded(&names).await;
        Ok(())
    }

    /// Closes the file.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn close(mut self) -> io::Result<()> {
        match self.file.take() {
            Some(file) => file.close().await,
            None => Ok(()),
        }
    }

    async fn read_file(&self) -> io::Result<Scan> {
        let (_, scan) = read_log(&self.disk, &log_path(&self.dir, self.first.index + 1))
            .await
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
        Ok(scan)
    }

    /// The entries that are known to be in the file.
    async fn read_back(&self) -> io::Result<Vec<Entry>> {
        let mut entries = self.read_file().await?.entries;
        entries.retain(|entry| entry.index <= self.last.index);
        if entries.len() as u64 != self.last.index - self.first.index {
            let text = format!("the metadata log no longer holds entry {}", self.last.index);
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        Ok(entries)
    }

    /// Puts a log file that begins after `first` and holds `entries` in place, and goes on behind it.
    async fn rewrite(&mut self, first: Link, entries: &[Entry]) -> io::Result<()> {
        if let Some(file) = self.file.take() {
            file.close().await?;
        }
        let mut contents = LOG.seal(&encode_link(first));
        contents.resize(BLOCK, 0);
        let last = envelope::encode_commit(&mut contents, first, entries);
        let path = log_path(&self.dir, first.index + 1);
        let end = contents.len() as u64;
        let replaced = self.disk.replace_file(&path, contents).await;
        if replaced.is_ok() {
            (self.first, self.last, self.end, self.unclean) = (first, last, end, false);
        }
        self.file = Some(self.disk.open(&log_path(&self.dir, self.first.index + 1)).await?);
        replaced
    }

    /// Removes files that the newest snapshot covers. One that stays behind is only garbage: the next opening or
    /// snapshot tries again.
    async fn remove_superseded(&self, names: &Names) {
        let keep = self.first.index;
        let old_logs =
            names.logs.iter().filter(|first| **first != keep + 1).map(|first| log_path(&self.dir, *first));
        let newest = names.snapshots.last();
        let old_snapshots =
            names.snapshots.iter().filter(|at| Some(*at) != newest).map(|at| snapshot_path(&self.dir, *at));
        for path in old_logs.chain(old_snapshots) {
            if let Err(error) = self.disk.remove_file(&path).await {
                tracing::warn!(path = %path.display(), %error, "a superseded metadata file stays");
            }
        }
    }
}

const HARD_STATE_NAME: &str = "hard-state";

fn log_path(dir: &Path, first: u64) -> PathBuf {
    dir.join(format!("{first:020}.log"))
}

fn snapshot_path(dir: &Path, index: u64) -> PathBuf {
    dir.join(format!("{index:020}.snapshot"))
}

fn encode_link(link: Link) -> Vec<u8> {
    let mut body = Vec::with_capacity(LINK_BYTES);
    body.extend_from_slice(&link.index.to_le_bytes());
    body.extend_from_slice(&link.term.to_le_bytes());
    body.extend_from_slice(&link.crc.to_le_bytes());
    body
}

fn decode_link(body: &[u8]) -> Option<Link> {
    (body.len() >= LINK_BYTES).then(|| Link {
        index: u64_at(body, 0),
        term: u64_at(body, 8),
        crc: u32_at(body, 16),
    })
}

fn last_link(first: Link, scan: &Scan) -> Link {
    match (scan.entries.last(), scan.crcs.last()) {
        (Some(entry), Some(&crc)) => Link { term: entry.term, index: entry.index, crc },
        _ => first,
    }
}

fn buffers<D: Disk>(disk: &D, bytes: &[u8]) -> Vec<Rc<D::Buffer>> {
    let chunks = bytes.chunks(BUFFER_BYTES_MAX).map(|chunk| {
        let mut buffer = disk.buffer(chunk.len());
        buffer.as_mut().copy_from_slice(chunk);
        Rc::new(buffer)
    });
    chunks.collect()
}
