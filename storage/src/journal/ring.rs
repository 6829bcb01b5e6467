//! The ring of files a journal lives in: pre-written, so that a commit changes no metadata of the file system, and used
//! again once nothing in them is needed.
//!
//! ```text
//! 0 magic "MLJR"  4 version u16  6 reserved u16  8 journal id (16)  24 file number u32  28 CRC-32 of bytes 0..28
//! ```
//! Frames follow from byte 4096. Nothing recycles the header within one journal: the order of files follows from the
//! sequence of each one's first frame.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use model::limits::{BLOCK, RING_FILES};

use super::frame::JournalId;
use crate::bytes_at::{len_u64, put, u16_at, u32_at};
use crate::disk::{Disk, File};
use crate::paths::{Paths, ring_file_name};
use crate::segment_write::{FULL_PAUSE, is_full};
use crate::signal::Signal;

const MAGIC: [u8; 4] = *b"MLJR";
const VERSION: u16 = 1;
/// Where the first frame of a file stands.
pub const FRAMES_START: u64 = BLOCK as u64;
/// Bytes of zeros written at a time when a file is made.
const FILL_BYTES: usize = 1 << 20;

/// One file of the ring.
pub struct RingFile<D: Disk> {
    /// Its number in the ring.
    pub number: u32,
    /// Open for as long as the journal is.
    pub handle: D::File,
}

/// A place for a commit: `room` bytes at `position` of `file`.
pub struct Place<D: Disk> {
    /// Which file.
    pub file: Rc<RingFile<D>>,
    /// Where.
    pub position: u64,
    /// Bytes up to the file's end.
    pub room: u64,
}

struct Current<D: Disk> {
    file: Rc<RingFile<D>>,
    position: u64,
}

/// The files of one journal. Order of use: `free`, `current`, `used` (oldest first), back to `free`.
pub struct Ring<D: Disk> {
    disk: D,
    dir: PathBuf,
    journal: JournalId,
    file_bytes: u64,
    free: RefCell<VecDeque<Rc<RingFile<D>>>>,
    used: RefCell<VecDeque<Rc<RingFile<D>>>>,
    current: RefCell<Option<Current<D>>>,
    adoptable: RefCell<Vec<PathBuf>>,
    made: Cell<u32>,
    /// There was no space for the next file.
    short: Cell<bool>,
    changed: Signal,
}

/// A file with fewer bytes left than this is left behind rather than filled with small frames.
const ROOM_MIN: u64 = 64 << 10;

impl<D: Disk> Ring<D> {
    /// A ring of `bytes` in the existing directory of `journal`.
    pub fn new(disk: D, paths: &Paths, journal: JournalId, bytes: u64) -> Self {
        let file_bytes = crate::bytes_at::block_down(bytes / RING_FILES);
        Self {
            disk,
            dir: paths.journal(journal),
            journal,
            file_bytes,
            free: RefCell::default(),
            used: RefCell::default(),
            current: RefCell::new(None),
            adoptable: RefCell::default(),
            made: Cell::new(0),
            short: Cell::new(false),
            changed: Signal::default(),
        }
    }

    /// Where a file of it is.
    pub fn path_of(&self, number: u32) -> PathBuf {
        self.dir.join(ring_file_name(number))
    }

    /// Files in use or not made yet, as parts of all: 0.0 is an empty ring, 1.0 a full one.
    pub fn occupancy(&self) -> f64 {
        let used = self.used.borrow().len() + usize::from(self.current.borrow().is_some());
        f64::from(u32::try_from(used).unwrap_or(u32::MAX)) / (RING_FILES as f64)
    }

    /// Ring files of ended journals, taken over before new ones are made.
    pub fn adopt(&self, files: Vec<PathBuf>) {
        self.adoptable.borrow_mut().extend(files);
    }

    fn unmade(&self) -> usize {
        usize::try_from(RING_FILES).unwrap_or(0) - self.made.get() as usize
    }

    /// Files that a commit could still move to, made or not. On a full disk, those that are there count.
    pub fn spare_files(&self) -> usize {
        self.free.borrow().len() + if self.short.get() { 0 } else { self.unmade() }
    }

    /// Whether a file is lacking because the disk is full.
    pub fn is_short(&self) -> bool {
        self.short.get()
    }

    /// The file in which the oldest frames stand, unless it is the one being written.
    pub fn oldest_used(&self) -> Option<Rc<RingFile<D>>> {
        self.used.borrow().front().cloned()
    }

    /// Nothing in the oldest used file is needed any more: it becomes free.
    pub fn recycle_oldest(&self) {
        let oldest = self.used.borrow_mut().pop_front().expect("only a used file is recycled");
        self.free.borrow_mut().push_back(oldest);
        self.changed.notify();
    }

    /// A place for up to `bytes`, at least one block. Ordinary commits leave one spare file to `forward`ed entries, for without
    /// those no file would ever become free. Dropping the wait loses nothing.
    pub async fn place(&self, bytes: u64, forward: bool) -> Place<D> {
        self.changed
            .until(|| {
                let spare = self.spare_files();
                if !forward && spare == 0 {
                    return None;
                }
                if let Some(place) = self.place_in_current(bytes) {
                    return Some(place);
                }
                if !forward && spare == 1 {
                    return None;
                }
                let next = self.free.borrow_mut().pop_front()?;
                self.enter(next);
                self.place_in_current(bytes)
            })
            .await
    }

    fn place_in_current(&self, bytes: u64) -> Option<Place<D>> {
        let current = self.current.borrow();
        let current = current.as_ref()?;
        let room = self.file_bytes - current.position;
        (room >= bytes.clamp(BLOCK as u64, ROOM_MIN)).then(|| Place {
            file: Rc::clone(&current.file),
            position: current.position,
            room,
        })
    }

    fn enter(&self, file: Rc<RingFile<D>>) {
        let before = self.current.replace(Some(Current { file, position: FRAMES_START }));
        if let Some(before) = before {
            self.used.borrow_mut().push_back(before.file);
        }
        self.changed.notify();
    }

    /// Waits until at most `spare` files are left to move to and one is used: time to make room.
    pub async fn filled(&self, spare: usize) {
        self.changed
            .until(|| (self.spare_files() <= spare && !self.used.borrow().is_empty()).then_some(()))
            .await;
    }

    /// `bytes` of the place last handed out were written.
    pub fn advance(&self, bytes: u64) {
        if let Some(current) = self.current.borrow_mut().as_mut() {
            current.position += bytes;
            assert!(current.position <= self.file_bytes, "a commit stays within its file");
        }
    }

    /// Makes files ahead of need, so that a commit rarely waits for zeros. Runs beside the journal, else nothing is committed.
    /// On a full disk it tries again from time to time, and the ring goes on with the files it has.
    pub async fn provision(&self) -> io::Result<()> {
        while self.unmade() > 0 {
            self.changed.until(|| (self.short.get() || self.free.borrow().is_empty()).then_some(())).await;
            let path = self.path_of(self.made.get());
            let made = self.make(&path).await;
            let short = made.as_ref().is_err_and(is_full);
            if short && !self.short.get() {
                tracing::error!(
                    file = %path.display(),
                    bytes = self.file_bytes,
                    "no space for another journal file: the journal goes on with those it has; free space or add some"
                );
            }
            self.short.set(short);
            self.changed.notify();
            if short {
                self.disk.remove_file(&path).await?;
                self.disk.sleep(FULL_PAUSE).await;
                continue;
            }
            self.made.set(self.made.get() + 1);
            self.free.borrow_mut().push_back(Rc::new(made?));
            self.changed.notify();
        }
        Ok(())
    }

    async fn make(&self, path: &Path) -> io::Result<RingFile<D>> {
        let number = self.made.get();
        let adopted = self.adoptable.borrow_mut().pop();
        let handle = match adopted {
            Some(old) => {
                self.disk.rename(&old, path).await?;
                // The file may not come back under its old name too, or the next start would take it over twice.
                self.disk.sync_dir(old.parent().unwrap_or(&self.dir)).await?;
                self.disk.open(path).await?
            }
            None => self.disk.create(path).await?,
        };
        if let Err(error) = self.lay_out(&handle, number).await {
            handle.close().await?;
            return Err(error);
        }
        // Errors of a sync are not those of a full disk, whatever their number: they end the process.
        handle.sync().await.map_err(io::Error::other)?;
        self.disk.sync_dir(&self.dir).await.map_err(io::Error::other)?;
        Ok(RingFile { number, handle })
    }

    async fn lay_out(&self, handle: &D::File, number: u32) -> io::Result<()> {
        let mut header = self.disk.buffer(BLOCK);
        write_header(header.as_mut(), self.journal, number);
        handle.write(Rc::new(header), 0).await?;
        self.fill(handle).await
    }

    /// Writes zeros from the file's end to its full size: an adopted file is usually full already.
    async fn fill(&self, handle: &D::File) -> io::Result<()> {
        let mut position = crate::bytes_at::block_down(handle.size().await?).max(FRAMES_START);
        if position >= self.file_bytes {
            return Ok(());
        }
        let mut zeros = self.disk.buffer(FILL_BYTES);
        zeros.as_mut().fill(0);
        let zeros = Rc::new(zeros);
        while position < self.file_bytes {
            let left = self.file_bytes - position;
            if left >= len_u64(FILL_BYTES) {
                handle.write(Rc::clone(&zeros), position).await?;
                position += len_u64(FILL_BYTES);
            } else {
                let mut rest = self.disk.buffer(crate::bytes_at::to_usize(left));
                rest.as_mut().fill(0);
                handle.write(Rc::new(rest), position).await?;
                position += left;
            }
        }
        Ok(())
    }
}

fn write_header(block: &mut [u8], journal: JournalId, number: u32) {
    block.fill(0);
    put(block, 0, &MAGIC);
    put(block, 4, &VERSION.to_le_bytes());
    put(block, 8, &journal.0);
    put(block, 24, &number.to_le_bytes());
    let crc = crc32fast::hash(&block[..28]);
    put(block, 28, &crc.to_le_bytes());
}

/// Reads a ring file's header: its journal and number; `Err` says what is wrong. A file whose header is not of `VERSION` is
/// from a newer release.
pub fn read_header(block: &[u8]) -> Result<(JournalId, u32), String> {
    let head = block.get(..32).ok_or("shorter than a header")?;
    if !head.starts_with(&MAGIC) {
        return Err("not a journal file: wrong magic".into());
    }
    if u32_at(head, 28) != crc32fast::hash(&head[..28]) {
        return Err("journal file header fails its checksum".into());
    }
    if u16_at(head, 4) != VERSION {
        return Err(format!("journal file format {} is newer than this release reads", u16_at(head, 4)));
    }
    Ok((JournalId(crate::bytes_at::array(head, 8)), u32_at(head, 24)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_header() {
        let mut block = vec![1; BLOCK];
        write_header(&mut block, JournalId([9; 16]), 3);
        let hex: String = block[..33].iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "4d4c4a52010000000909090909090909090909090909090903000000c562cda900");
        assert_eq!(read_header(&block), Ok((JournalId([9; 16]), 3)));
        block[25] ^= 1;
        assert!(read_header(&block).is_err());
    }
}
