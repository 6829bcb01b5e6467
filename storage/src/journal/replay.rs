//! Reading a journal back: its frames in order, and whether what ends them is a torn tail or damage.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use model::limits::{BLOCK, FRAME_BYTES_MAX};

use super::frame::{FrameHeader, JournalId};
use super::ring::FRAMES_START;
use crate::bytes_at::{len_u64, to_usize};
use crate::disk::{Disk, File};
use crate::paths::ring_file_number;

/// Why a start cannot go on.
#[derive(Debug)]
pub enum RecoveryError {
    /// A file is damaged, missing or of a newer release; exit 4. Says which and where.
    Damaged(String),
    /// The disk failed; exit 5.
    Io(String, std::io::Error),
}

impl std::fmt::Display for RecoveryError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Damaged(what) => write!(f, "{what}"),
            Self::Io(what, error) => write!(f, "{what}: {error}"),
        }
    }
}

impl std::error::Error for RecoveryError {}

/// Names a failed operation.
pub(crate) fn io_error(what: &Path) -> impl FnOnce(std::io::Error) -> RecoveryError {
    let what = what.display().to_string();
    move |error| RecoveryError::Io(what, error)
}

struct FoundFile {
    path: PathBuf,
    first: u64,
    /// What its first frame says is durable.
    durable: u64,
}

/// One frame read back.
pub struct Frame<B> {
    /// Its header.
    pub header: FrameHeader,
    buffer: Rc<B>,
    start: usize,
}

impl<B: AsRef<[u8]>> Frame<B> {
    /// Its entries.
    pub fn payload(&self) -> &[u8] {
        let bytes: &[u8] = (*self.buffer).as_ref();
        let start = self.start + model::limits::FRAME_HEADER_BYTES;
        bytes.get(start..start + self.header.payload as usize).unwrap_or(&[])
    }
}

/// Walks the frames of one journal.
pub struct Frames<D: Disk> {
    disk: D,
    journal: JournalId,
    /// Those that begin with a frame of this journal at or behind the first one wanted, in order.
    files: Vec<FoundFile>,
    /// Those that do not begin with a frame: never written, torn or damaged.
    blank: Vec<PathBuf>,
    /// Index of the file being read and its handle.
    file: usize,
    open: Option<D::File>,
    position: u64,
    window: Option<(u64, Rc<D::Buffer>)>,
    next_sequence: u64,
    previous_crc: Option<u32>,
    /// The newest frame that another one calls durable.
    durable: u64,
}

impl<D: Disk> Frames<D> {
    /// Finds the ring files of the journal in `dir`, to be read from frame `from`, which is the first of its file.
    pub async fn open(disk: &D, dir: &Path, journal: JournalId, from: u64) -> Result<Self, RecoveryError> {
        let mut files = Vec::new();
        let mut blank = Vec::new();
        for entry in disk.list_dir(dir).await.map_err(io_error(dir))? {
            if ring_file_number(&entry.name).is_none() {
                continue;
            }
            let path = dir.join(&entry.name);
            let file = disk.open(&path).await.map_err(io_error(&path))?;
            let block = file.read(FRAMES_START, BLOCK).await.map_err(io_error(&path))?;
            file.close().await.map_err(io_error(&path))?;
            match FrameHeader::parse((*block).as_ref()) {
                None => blank.push(path),
                Some(header) if header.journal == journal && header.sequence >= from => {
                    files.push(FoundFile { path, first: header.sequence, durable: header.durable_sequence });
                }
                // Recycled since, or adopted and not written to yet.
                Some(_) => {}
            }
        }
        files.sort_by_key(|file| file.first);
        Ok(Self {
            disk: disk.clone(),
            journal,
            files,
            blank,
            file: 0,
            open: None,
            position: FRAMES_START,
            window: None,
            next_sequence: from,
            previous_crc: None,
            durable: 0,
        })
    }

    /// The last frame read.
    pub fn last_sequence(&self) -> u64 {
        self.next_sequence - 1
    }

    /// The newest frame that one of those seen so far, behind the end too, calls durable.
    pub fn durable_sequence(&self) -> u64 {
        self.durable
    }

    /// The next frame; `None` at the end of what is whole.
    pub async fn next(&mut self) -> Result<Option<Frame<D::Buffer>>, RecoveryError> {
        loop {
            if self.open.is_none() {
                let Some(found) = self.files.get(self.file) else { return Ok(None) };
                if found.first != self.next_sequence {
                    return Ok(None);
                }
                let path = found.path.clone();
                self.enter(&path).await?;
            }
            if let Some(frame) = self.frame_here().await? {
                self.position += u64::from(frame.header.length);
                self.next_sequence += 1;
                self.previous_crc = Some(frame.header.header_crc);
                self.durable = self.durable.max(frame.header.durable_sequence);
                return Ok(Some(frame));
            }
            let goes_on = self.files.get(self.file + 1).is_some_and(|next| next.first == self.next_sequence);
            if !goes_on {
                return Ok(None);
            }
            self.close().await?;
            self.file += 1;
        }
    }

    async fn enter(&mut self, path: &Path) -> Result<(), RecoveryError> {
        self.close().await?;
        self.open = Some(self.disk.open(path).await.map_err(io_error(path))?);
        self.position = FRAMES_START;
        Ok(())
    }

    async fn frame_here(&mut self) -> Result<Option<Frame<D::Buffer>>, RecoveryError> {
        let Some(header) = self.header_at(self.position).await? else { return Ok(None) };
        let chained = self.previous_crc.is_none_or(|crc| crc == header.previous_crc);
        if header.sequence != self.next_sequence || !chained {
            return Ok(None);
        }
        let (start, buffer) = self.bytes(self.position, header.length as usize).await?;
        let bytes: &[u8] = (*buffer).as_ref();
        let whole = bytes.get(start..).is_some_and(|frame| header.payload_of(frame).is_some());
        Ok(whole.then_some(Frame { header, buffer, start }))
    }

    async fn header_at(&mut self, position: u64) -> Result<Option<FrameHeader>, RecoveryError> {
        let (start, buffer) = self.bytes(position, BLOCK).await?;
        let bytes: &[u8] = (*buffer).as_ref();
        let header = bytes.get(start..).and_then(FrameHeader::parse);
        Ok(header.filter(|header| header.journal == self.journal))
    }

    /// A buffer that holds the `len` bytes at `position`, as far as the file has them, and where in it they begin.
    async fn bytes(&mut self, position: u64, len: usize) -> Result<(usize, Rc<D::Buffer>), RecoveryError> {
        if let Some((start, buffer)) = &self.window {
            let held = len_u64((**buffer).as_ref().len());
            if position >= *start && position + len_u64(len) <= start + held {
                return Ok((to_usize(position - start), Rc::clone(buffer)));
            }
        }
        let path = self.files.get(self.file).map(|found| found.path.clone()).unwrap_or_default();
        let Some(file) = &self.open else {
            return Err(RecoveryError::Damaged("no journal file is open".into()));
        };
        let buffer = file.read(position, 2 * FRAME_BYTES_MAX).await.map_err(io_error(&path))?;
        self.window = Some((position, Rc::clone(&buffer)));
        Ok((0, buffer))
    }

    async fn close(&mut self) -> Result<(), RecoveryError> {
        self.window = None;
        if let Some(file) = self.open.take() {
            file.close().await.map_err(|error| RecoveryError::Io("closing a journal file".into(), error))?;
        }
        Ok(())
    }

    /// After the last frame: whether the journal ends there by a torn commit, which nobody was told about, or by damage. It is
    /// damage when a later frame says that the missing one was durable.
    pub async fn check_end(&mut self) -> Result<(), RecoveryError> {
        let missing = self.next_sequence;
        let at = match self.files.get(self.file).filter(|_| self.open.is_some()) {
            Some(found) => format!("{} at byte {}", found.path.display(), self.position),
            None => {
                format!("the ring file of journal {} that should begin with frame {missing}", self.journal)
            }
        };
        let damaged = |path: &Path, place: u64| {
            Err(RecoveryError::Damaged(format!(
                "{at}: frame {missing} is damaged, though a later frame ({} at byte {place}) says it was durable; \
                 restore the file from a replica or a backup",
                path.display()
            )))
        };
        for later in self.files.iter().filter(|file| file.first > missing) {
            self.durable = self.durable.max(later.durable);
        }
        if let Some(later) = self.files.iter().find(|file| file.first > missing && file.durable >= missing) {
            return damaged(&later.path, FRAMES_START);
        }
        // A later frame may stand behind the torn one, or in a file whose first frame is the torn one.
        if let Some(found) = self.files.get(self.file).filter(|_| self.open.is_some()) {
            let path = found.path.clone();
            if let Some(place) = self.later_frame(missing).await? {
                return damaged(&path, place);
            }
        }
        for path in std::mem::take(&mut self.blank) {
            self.enter(&path).await?;
            if let Some(place) = self.later_frame(missing).await? {
                return damaged(&path, place);
            }
        }
        self.close().await
    }

    /// Where in the open file, from here on, a frame says that `missing` was durable.
    async fn later_frame(&mut self, missing: u64) -> Result<Option<u64>, RecoveryError> {
        let Some(file) = &self.open else { return Ok(None) };
        let size =
            file.size().await.map_err(|error| RecoveryError::Io("sizing a journal file".into(), error))?;
        for position in (self.position..size).step_by(BLOCK) {
            let later = self.header_at(position).await?.filter(|header| header.sequence > missing);
            self.durable = self.durable.max(later.map_or(0, |header| header.durable_sequence));
            if later.is_some_and(|header| header.durable_sequence >= missing) {
                return Ok(Some(position));
            }
        }
        Ok(None)
    }
}
