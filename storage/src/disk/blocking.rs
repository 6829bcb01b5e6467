//! File system calls that block and have no place on an executor's thread: directories, small files, whole-device syncs.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::{DirEntry, Space, temporary_path, too_long};

pub(super) fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)
}

pub(super) fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open(path)
}

pub(super) fn read_file(path: &Path, len_max: usize) -> io::Result<Vec<u8>> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let size = file.metadata()?.len();
    if size > len_max as u64 {
        return Err(too_long(size, len_max));
    }
    let mut bytes = Vec::new();
    // It may have grown since.
    file.take(len_max as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > len_max { Err(too_long(bytes.len() as u64, len_max)) } else { Ok(bytes) }
}

pub(super) fn replace_file(path: &Path, contents: &[u8]) -> io::Result<()> {
    let temporary = temporary_path(path)?;
    let mut file = create(&temporary)?;
    file.write_all(contents)?;
    file.sync_all()?;
    drop(file);
    fs::rename(&temporary, path)?;
    sync_dir(parent(path))
}

/// A file that has lost its last name and still has its blocks. Nobody else has it open who counts on reading it.
pub(super) struct Nameless {
    file: File,
    len: u64,
}

impl Nameless {
    /// Bytes that are freed in one step.
    const STEP: u64 = 8 << 20;

    /// Frees some of it. None when that was the rest; dropped earlier, all of it is freed at once.
    pub(super) fn free_some(mut self) -> Option<Self> {
        self.len = self.len.saturating_sub(Self::STEP);
        (self.len > 0 && self.file.set_len(self.len).is_ok()).then_some(self)
    }
}

/// Removes a name, and gives the file back when freeing it all at once would take long.
///
/// Whatever somebody put under that name: a pipe is not waited for until somebody reads it, as opening it would else, and a link's target is none
/// of this one's business.
pub(super) fn remove_file(path: &Path) -> io::Result<Option<Nameless>> {
    let flags = libc::O_NONBLOCK | libc::O_NOFOLLOW;
    let opened = OpenOptions::new().write(true).custom_flags(flags).open(path);
    fine_when_missing(fs::remove_file(path))?;
    let nameless = opened.and_then(|file| Ok((file.metadata()?, file)));
    Ok(nameless
        .ok()
        .filter(|(found, _)| found.is_file() && found.nlink() == 0 && found.len() > Nameless::STEP)
        .map(|(found, file)| Nameless { file, len: found.len() }))
}

/// Files below a directory, if there is one, that [`remove_file`] gives back.
pub(super) fn large_files(path: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut left = vec![path.to_owned()];
    while let Some(path) = left.pop() {
        match fs::read_dir(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            entries => {
                for entry in entries? {
                    let entry = entry?;
                    // One that has just gone is nobody's business.
                    match entry.metadata() {
                        Ok(dir) if dir.is_dir() => left.push(entry.path()),
                        Ok(file) if file.is_file() && file.len() > Nameless::STEP => found.push(entry.path()),
                        _ => {}
                    }
                }
            }
        }
    }
    Ok(found)
}

pub(super) fn remove_dir(path: &Path) -> io::Result<()> {
    fine_when_missing(fs::remove_dir_all(path))
}

/// Makes the directories from `root` down to `path`. Existing ones are synced into their parents too, since the process that
/// made them may have died before it could; above `root`, only what was missing is.
pub(super) fn create_dir(root: &Path, path: &Path) -> io::Result<()> {
    let mut levels: Vec<&Path> = Vec::new();
    for level in path.ancestors().filter(|level| !level.as_os_str().is_empty()) {
        levels.push(level);
        if level.is_dir() && !(level.starts_with(root) && level != root) {
            break;
        }
    }
    for level in levels.into_iter().rev() {
        let made = match fs::create_dir(level) {
            Ok(()) => true,
            Err(_) if level.is_dir() => false,
            Err(error) => return Err(error),
        };
        if made || (level.starts_with(root) && level != root) {
            sync_dir(parent(level))?;
        }
    }
    Ok(())
}

pub(super) fn list_dir(path: &Path) -> io::Result<Vec<DirEntry>> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let name = entry.file_name().into_string().map_err(|name| {
            io::Error::new(io::ErrorKind::InvalidData, format!("file name {name:?} is not UTF-8"))
        })?;
        entries.push(DirEntry { name, is_dir: entry.file_type()?.is_dir() });
    }
    entries.sort();
    Ok(entries)
}

pub(super) fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Makes everything written to the file system of `file` durable.
pub(super) fn sync_file_system(file: &File) -> io::Result<()> {
    // SAFETY: the call takes no memory, and the descriptor is open as long as `file` is borrowed.
    let result = unsafe { libc::syncfs(file.as_raw_fd()) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// How large the file system of `path` is.
pub(super) fn space(path: &Path) -> io::Result<Space> {
    let path = std::ffi::CString::new(path.as_os_str().as_bytes())?;
    let mut stats = MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: the path ends in NUL and `stats` has room for what the call writes; both outlive it.
    let result = unsafe { libc::statvfs(path.as_ptr(), stats.as_mut_ptr()) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call succeeded, so it filled `stats`.
    let stats = unsafe { stats.assume_init() };
    let bytes = |blocks: u64| blocks.saturating_mul(stats.f_frsize);
    Ok(Space { total: bytes(stats.f_blocks), free: bytes(stats.f_bavail) })
}

/// The directory a name is in.
pub(super) fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn fine_when_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// A path through which an open file can be opened again, whatever became of its name.
pub(super) fn path_of(file: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}
