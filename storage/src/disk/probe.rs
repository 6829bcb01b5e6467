//! What this machine and a directory on it can do, asked from the kernel directly: the facts behind `millrace check` and
//! behind refusing to start. Blocking; for start-up and tools only.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::blocking;
use model::limits::BLOCK;

/// Name of the file with which a directory is tried; removed again.
const PROBE_FILE: &str = ".millrace-probe.tmp";

/// A resource limit of this process; `None` means unlimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// What holds now.
    pub soft: Option<u64>,
    /// What an unprivileged process may raise it to.
    pub hard: Option<u64>,
}

/// Facts about the machine.
#[derive(Debug)]
pub struct Machine {
    /// As `uname -r` prints it.
    pub kernel: String,
    /// First two numbers of it, when it has them.
    pub kernel_version: Option<(u32, u32)>,
    /// Whether a ring could be set up. `ENOSYS`: the kernel has none; `EPERM`: `kernel.io_uring_disabled` or a container's
    /// seccomp filter forbids it; `ENOMEM`: the memlock limit.
    pub io_uring: io::Result<()>,
    /// Bytes this process may pin.
    pub memlock: Limit,
    /// Files and sockets this process may have open.
    pub open_files: Limit,
}

/// Facts about a directory.
#[derive(Debug)]
pub struct Directory {
    /// Whether a block could be written and read past the page cache, on something that outlives the machine's memory.
    /// `Unsupported` with a reason when the file system is one in memory.
    pub direct_io: io::Result<()>,
    /// What the device writes atomically or in one go, in bytes; unknown where the file system has no block device.
    pub physical_block_bytes: Option<u64>,
    /// The unit the device is addressed in, in bytes.
    pub logical_block_bytes: Option<u64>,
    /// Bytes an unprivileged writer may still use.
    pub free_bytes: u64,
    /// The kernel's magic number of the file system's kind.
    pub file_system_magic: i64,
}

/// Asks the kernel what this process may do.
#[must_use]
pub fn machine() -> Machine {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned();
    Machine {
        kernel_version: kernel_version(&kernel),
        kernel,
        io_uring: io_uring(),
        memlock: limit(libc::RLIMIT_MEMLOCK),
        open_files: limit(libc::RLIMIT_NOFILE),
    }
}

/// Tries an existing directory, by writing, reading and removing a small file in it.
///
/// # Errors
/// When the directory is missing, not writable or full: then nothing can be said about direct I/O.
pub fn directory(path: &Path) -> io::Result<Directory> {
    let probe_path = path.join(PROBE_FILE);
    let file = blocking::create(&probe_path)?;
    let direct_io = direct_io(&probe_path);
    fs::remove_file(&probe_path)?;
    let file_system_magic = file_system_magic(&file)?;
    let in_memory = file_system_magic == libc::TMPFS_MAGIC || file_system_magic == RAMFS_MAGIC;
    let device = file.metadata()?.dev();
    Ok(Directory {
        direct_io: if in_memory {
            Err(io::Error::new(io::ErrorKind::Unsupported, "the file system keeps its files in memory"))
        } else {
            direct_io
        },
        physical_block_bytes: queue_number(device, "physical_block_size"),
        logical_block_bytes: queue_number(device, "logical_block_size"),
        free_bytes: blocking::space(path)?.free,
        file_system_magic,
    })
}

/// Missing from libc.
const RAMFS_MAGIC: i64 = 0x8584_58f6;

/// Memory that direct I/O accepts.
#[repr(align(4096))]
struct Aligned([u8; BLOCK]);

fn direct_io(path: &Path) -> io::Result<()> {
    let file = OpenOptions::new().read(true).write(true).custom_flags(libc::O_DIRECT).open(path)?;
    let written = Box::new(Aligned([0xa5; BLOCK]));
    file.write_all_at(&written.0, 0)?;
    let mut read = Box::new(Aligned([0; BLOCK]));
    file.read_exact_at(&mut read.0, 0)?;
    if read.0 == written.0 { Ok(()) } else { Err(io::Error::other("a block written was not read back")) }
}

fn file_system_magic(file: &File) -> io::Result<i64> {
    let mut stats = MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: the descriptor is open while `file` is borrowed, and `stats` has room for what the call writes.
    if unsafe { libc::fstatfs(file.as_raw_fd(), stats.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call succeeded, so it filled `stats`.
    Ok(unsafe { stats.assume_init() }.f_type)
}

/// A number from the queue of a block device, or of the disk when it is a partition.
fn queue_number(device: u64, name: &str) -> Option<u64> {
    let link = PathBuf::from(format!("/sys/dev/block/{}:{}", libc::major(device), libc::minor(device)));
    let device = link.canonicalize().ok()?;
    let read = |level: &Path| fs::read_to_string(level.join("queue").join(name)).ok();
    device.ancestors().take(2).find_map(read)?.trim().parse().ok()
}

fn kernel_version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

fn limit(resource: libc::__rlimit_resource_t) -> Limit {
    let mut limits = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limits` has room for what the call writes and outlives it.
    let failed = unsafe { libc::getrlimit(resource, &raw mut limits) } != 0;
    let finite = |value| (!failed && value != libc::RLIM_INFINITY).then_some(value);
    Limit { soft: finite(limits.rlim_cur), hard: finite(limits.rlim_max) }
}

/// Sets up the smallest ring and gives it back.
fn io_uring() -> io::Result<()> {
    // `struct io_uring_params`, 120 bytes, which the kernel wants zeroed and fills.
    let mut params = [0_u64; 15];
    let entries: libc::c_long = 2;
    // SAFETY: `params` is as large as the kernel's structure and aligned for it, and outlives the call.
    let ring = unsafe { libc::syscall(libc::SYS_io_uring_setup, entries, params.as_mut_ptr()) };
    let Ok(ring) = i32::try_from(ring) else { return Err(io::Error::other("not a descriptor")) };
    if ring < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is fresh and nobody else knows it.
    drop(unsafe { OwnedFd::from_raw_fd(ring) });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_kernel_versions() {
        assert_eq!(kernel_version("6.18.44-fc"), Some((6, 18)));
        assert_eq!(kernel_version("5.15-rc1"), Some((5, 15)));
        assert_eq!(kernel_version("linux"), None);
        assert_eq!(kernel_version(""), None);
    }

    #[test]
    fn tells_about_this_machine() {
        let machine = machine();
        assert!(machine.kernel_version.is_some(), "{machine:?}");
        assert!(machine.open_files.soft.is_none_or(|files| files > 0));
    }

    #[test]
    fn refuses_memory_and_missing_directories() {
        assert!(directory(Path::new("/nonexistent-directory")).is_err());
        let memory = Path::new("/dev/shm");
        if let Ok(found) = directory(memory)
            && found.file_system_magic == libc::TMPFS_MAGIC
        {
            assert_eq!(found.direct_io.unwrap_err().kind(), io::ErrorKind::Unsupported);
            assert!(!memory.join(PROBE_FILE).exists());
        }
    }
}
