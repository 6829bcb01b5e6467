//! The seam to the disk: what storage asks of it, and what each promise means when the machine fails.
//!
//! Production is [`uring`], direct I/O through io_uring; tests run on [`memory`], which lies in every way a disk may. What
//! either is asked to do can be [`recorded`], and [`failing`] on request.
//! A write that returned is visible to later reads and survives the death of the process; only a sync that returned
//! makes it survive a power cut. Names survive a power cut only after [`Disk::sync_dir`] of their directory.

mod blocking;
pub mod failing;
pub mod helper;
pub mod memory;
pub mod probe;
pub mod random;
pub mod recorded;
pub mod simulation;
pub mod tape;
pub mod uring;

use std::future::{Future, poll_fn};
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

/// What one directory entry is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DirEntry {
    /// Last component of the path.
    pub name: String,
    /// Whether it is a directory.
    pub is_dir: bool,
}

/// The size of a file system, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// All of it.
    pub total: u64,
    /// What an unprivileged writer may still use.
    pub free: u64,
}

/// Memory that direct I/O can use: aligned to [`model::limits::BLOCK`], its length a multiple of it.
pub trait Buffer: AsRef<[u8]> + AsMut<[u8]> + 'static {}

/// A file system and the executor that waits for it. Cheap to clone; never leaves its thread.
#[allow(async_fn_in_trait, reason = "nothing here is Send, on purpose: an executor never leaves its thread")]
pub trait Disk: Clone + 'static {
    /// Memory for reads and writes.
    type Buffer: Buffer;
    /// An open file.
    type File: File<Buffer = Self::Buffer>;

    /// A buffer of `len` bytes (a multiple of `BLOCK`), contents unspecified.
    fn buffer(&self, len: usize) -> Self::Buffer;

    /// Makes or empties a file and opens it for reading and writing. Its name is durable after [`Self::sync_dir`].
    async fn create(&self, path: &Path) -> io::Result<Self::File>;
    /// Opens an existing file for reading and writing.
    async fn open(&self, path: &Path) -> io::Result<Self::File>;
    /// Reads a whole small file; `InvalidData` when it has more than `len_max` bytes.
    async fn read_file(&self, path: &Path, len_max: usize) -> io::Result<Vec<u8>>;
    /// Puts `contents` at `path` atomically and durably: temporary file (name + ".tmp"), write, sync, rename, directory sync.
    async fn replace_file(&self, path: &Path, contents: Vec<u8>) -> io::Result<()>;
    /// Renames within one file system, replacing `to`. Durable after [`Self::sync_dir`] of both directories.
    async fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file that nobody holds open; fine when it is not there.
    async fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Removes a directory and all in it; fine when it is not there.
    async fn remove_dir(&self, path: &Path) -> io::Result<()>;
    /// Makes a directory and those above it, each synced into its parent. Durable on return.
    async fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// Lists a directory, sorted by name; `NotFound` when it is not there.
    async fn list_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>>;
    /// Makes the names in a directory durable.
    async fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Makes every completed write to every file of this file system durable (`syncfs`). Promises nothing about names.
    async fn sync_all(&self) -> io::Result<()>;
    /// How large the file system of `path` is.
    async fn space(&self, path: &Path) -> io::Result<Space>;
    /// Free bytes for an unprivileged writer on the file system of `path`.
    async fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        Ok(self.space(path).await?.free)
    }

    /// Runs a task beside the caller on this thread until it ends.
    fn spawn(&self, task: impl Future<Output = ()> + 'static);
    /// The same for work that nobody who was promised an answer waits for: it gets less of the core.
    fn spawn_behind(&self, task: impl Future<Output = ()> + 'static) {
        self.spawn(task);
    }
    /// Waits.
    async fn sleep(&self, duration: Duration);
    /// Milliseconds since the Unix epoch.
    fn now_ms(&self) -> i64;
    /// Nanoseconds on a clock that never goes back.
    fn now_ns(&self) -> u64;
    /// Lets other tasks run if this one used up its slice.
    async fn yield_now(&self);
    /// Runs work that takes long where it holds nobody up.
    async fn aside<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        work()
    }
    /// The environment broke a promise that acknowledged data rests on: ends the process (exit 5) in production,
    /// panics in tests. `what` says which file and operation.
    fn fatal(&self, what: &str, error: &io::Error) -> !;
}

/// One open file. Positions and lengths are multiples of `BLOCK`.
#[allow(async_fn_in_trait, reason = "nothing here is Send, on purpose: an executor never leaves its thread")]
pub trait File: 'static {
    /// Memory for reads and writes.
    type Buffer: Buffer;

    /// Writes the whole buffer at `position`; a short write is retried once, whole, then `WriteZero`.
    async fn write(&self, buffer: Rc<Self::Buffer>, position: u64) -> io::Result<()>;
    /// What a commit needs, in one operation: puts the buffers one behind the other from `position`, and those `beside` it into
    /// their files, calls `written`, and makes all of it durable. All writes are under way at once, and then all syncs, so a crash
    /// may leave any of them without the others. An error comes when none is any more.
    async fn write_durable(
        &self,
        buffers: &[Rc<Self::Buffer>],
        position: u64,
        beside: &[Beside<Self>],
        written: impl FnOnce(),
    ) -> Result<(), Undurable>
    where
        Self: Sized,
    {
        let mut writes = Vec::with_capacity(buffers.len());
        let mut sources = Vec::with_capacity(buffers.len());
        let files = std::iter::once((self, buffers, position));
        let besides = beside.iter().map(|beside| (&*beside.file, beside.buffers.as_slice(), beside.position));
        for (source, (file, buffers, position)) in files.chain(besides).enumerate() {
            let mut at = position;
            for buffer in buffers {
                writes.push(Box::pin(file.write(Rc::clone(buffer), at)));
                sources.push(source);
                at += (**buffer).as_ref().len() as u64;
            }
        }
        for (result, source) in together(writes).await.into_iter().zip(sources) {
            result.map_err(|error| Undurable::Write(source, error))?;
        }
        written();
        let files = std::iter::once(self).chain(beside.iter().map(|beside| &*beside.file));
        let syncs = files.map(|file| Box::pin(file.sync())).collect();
        for (source, result) in together(syncs).await.into_iter().enumerate() {
            result.map_err(|error| Undurable::Sync(source, error))?;
        }
        Ok(())
    }
    /// Reads `len` bytes at `position`; the buffer returned is shorter only at the end of the file. It is for
    /// reading: whoever wants to change the bytes copies them first.
    async fn read(&self, position: u64, len: usize) -> io::Result<Rc<Self::Buffer>>;
    /// Makes completed writes (and the size) durable (`fdatasync`).
    async fn sync(&self) -> io::Result<()>;
    /// Reserves space for `len` bytes at `position` without changing what is read there but zeros, extending the size.
    async fn allocate(&self, position: u64, len: u64) -> io::Result<()>;
    /// Current size in bytes.
    async fn size(&self) -> io::Result<u64>;
    /// Closes the handle; dropping without it leaks it on some systems.
    async fn close(self) -> io::Result<()>;
}

/// Buffers that become durable together with those of another file ([`File::write_durable`]).
pub struct Beside<F: File> {
    /// The other file.
    pub file: Rc<F>,
    /// One behind the other...
    pub buffers: Vec<Rc<F::Buffer>>,
    /// ...from here.
    pub position: u64,
}

/// What [`File::write_durable`] could not do, and to which file: 0 is the one it was asked of, `n` the `n`th beside it.
#[derive(Debug)]
pub enum Undurable {
    /// Nothing was synced, and any part of what was to be written may be there.
    Write(usize, io::Error),
    /// What is on the disk is unknown.
    Sync(usize, io::Error),
}

impl From<Undurable> for io::Error {
    fn from(undurable: Undurable) -> Self {
        match undurable {
            Undurable::Write(_, error) | Undurable::Sync(_, error) => error,
        }
    }
}

/// Drives all futures to their ends: none is under way any more when this returns. A commit has a handful: polling all is cheap.
pub(crate) async fn together<F: Future>(futures: Vec<Pin<Box<F>>>) -> Vec<F::Output> {
    let mut slots: Vec<Result<F::Output, Pin<Box<F>>>> = futures.into_iter().map(Err).collect();
    poll_fn(|context| {
        let mut waiting = false;
        for slot in &mut slots {
            if let Err(future) = slot {
                match future.as_mut().poll(context) {
                    Poll::Ready(result) => *slot = Ok(result),
                    Poll::Pending => waiting = true,
                }
            }
        }
        if waiting { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
    slots.into_iter().filter_map(Result::ok).collect()
}

/// Where [`Disk::replace_file`] prepares the new contents of `path`.
fn temporary_path(path: &Path) -> io::Result<PathBuf> {
    let mut name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
    name.push(".tmp");
    Ok(path.with_file_name(name))
}

fn too_long(size: u64, len_max: usize) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{size} bytes where at most {len_max} are expected"))
}
