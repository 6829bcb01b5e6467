//! A disk in memory that breaks every promise it did not make: the test double of everything above [`Disk`].
//!
//! * A write that returned is visible to reads. A power cut keeps only what a sync covered; of the rest each write survives
//!   or not, whatever became of the others, whole or torn at [`SECTOR`] bytes; sizes and names are lost separately.
//!   `sync_all` covers contents and sizes, not names.
//! * The death of the process keeps what was completed and lets writes under way arrive in part.
//! * Faults, bit rot and a full disk happen on request.
//!
//! It also holds its user to the contract and panics on a file removed while somebody has it open.

mod content;
mod device;
mod dir_node;
mod fault;
mod file;
mod file_node;
mod file_system;
mod image;
mod observed;
mod playback;

use std::any::Any;
use std::cell::{RefCell, RefMut};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use model::limits::BLOCK;

use super::random::Random;
use super::simulation::Simulation;
use super::{DirEntry, Disk, File, Space};
use device::Device;

pub use content::SECTOR;
pub(super) use fault::FaultPlan;
pub use fault::{Fault, Operation};
pub use file::{MemoryBuffer, MemoryFile};
pub use image::Image;
pub use playback::{Lie, Playback};

/// The simulated disk. Clones are the same disk.
#[derive(Clone, Debug)]
pub struct MemoryDisk {
    device: Rc<RefCell<Device>>,
    simulation: Simulation,
}

/// What [`Disk::fatal`] of this disk panics with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fatal {
    /// Which file and operation.
    pub what: String,
    /// Kind of the error behind it.
    pub kind: io::ErrorKind,
}

/// Runs a test's closure; the error says that the code under test called [`Disk::fatal`]. Other panics go on.
///
/// # Errors
/// The payload of `fatal`.
pub fn catch_fatal<T>(run: impl FnOnce() -> T) -> Result<T, Fatal> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|payload: Box<dyn Any + Send>| {
        payload.downcast::<Fatal>().map_or_else(|other| resume_unwind(other), |fatal| *fatal)
    })
}

impl MemoryDisk {
    /// An empty disk of 1 TiB.
    #[must_use]
    pub fn new(simulation: &Simulation) -> Self {
        Self::from_image(simulation, Image::default())
    }

    /// A disk that holds what a crash left.
    #[must_use]
    pub fn from_image(simulation: &Simulation, image: Image) -> Self {
        let device = Device::new(image.fs, simulation.fork_random());
        Self { device: Rc::new(RefCell::new(device)), simulation: simulation.clone() }
    }

    /// The process dies here, as by `kill -9`: completed writes and names are kept (though still not durable), writes under
    /// way arrive in part. Operations on this disk never end afterwards; drop the tasks with [`Simulation::crash`].
    #[must_use]
    pub fn kill(&self) -> Image {
        Image { fs: self.device.borrow_mut().kill(self.simulation.now_ns()) }
    }

    /// The power fails here: [`Self::kill`], then anything not synced may be lost.
    #[must_use]
    pub fn power_cut(&self, random: &mut Random) -> Image {
        self.kill().power_cut(random)
    }

    /// Plans a failure.
    pub fn inject(&self, fault: Fault) {
        self.device.borrow_mut().faults.add(fault);
    }

    /// Forgets all failures planned.
    pub fn heal(&self) {
        self.device.borrow_mut().faults.clear();
    }

    /// Bit rot: flips the bits of `mask` in one byte of a file. False when the file does not reach that far.
    pub fn flip(&self, path: &Path, position: u64, mask: u8) -> bool {
        image::flip(&mut self.device.borrow_mut().fs, path, position, mask)
    }

    /// Sets the size of the device in bytes; when it is less than what is used, only removing makes room.
    pub fn set_capacity(&self, bytes: u64) {
        self.device.borrow_mut().fs.capacity = bytes;
    }

    /// Open handles, including those dropped without closing.
    #[must_use]
    pub fn handles(&self) -> u32 {
        self.device.borrow().fs.handles_total()
    }

    /// How many such operations this disk was asked for.
    #[must_use]
    pub fn operations(&self, operation: Operation) -> u64 {
        self.device.borrow().faults.count(operation)
    }

    /// The simulation this disk lives in.
    #[must_use]
    pub const fn simulation(&self) -> &Simulation {
        &self.simulation
    }

    /// Half the time of an operation; for ever on a disk that died.
    async fn pause(&self) {
        if self.device.borrow().dead {
            std::future::pending::<()>().await;
        }
        let nanos = self.device.borrow_mut().latency_ns();
        self.simulation.sleep(Duration::from_nanos(nanos)).await;
        if self.device.borrow().dead {
            std::future::pending::<()>().await;
        }
    }

    /// The device as of now.
    fn settled(&self) -> RefMut<'_, Device> {
        let mut device = self.device.borrow_mut();
        device.settle(self.simulation.now_ns());
        device
    }

    /// An operation that takes effect at one moment between its start and its end, unless it fails.
    async fn step<T>(
        &self,
        operation: Operation,
        path: &Path,
        act: impl FnOnce(&mut Device) -> io::Result<T>,
    ) -> io::Result<T> {
        self.pause().await;
        let result = {
            let mut device = self.settled();
            device.strike(operation, path).and_then(|()| act(&mut device))
        };
        self.pause().await;
        result
    }

    async fn remove(&self, path: &Path) -> io::Result<()> {
        let removed = self.step(Operation::Remove, path, |device| device.fs.remove(path)).await;
        if removed.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
            return Ok(());
        }
        removed
    }
}

impl Disk for MemoryDisk {
    type Buffer = MemoryBuffer;
    type File = MemoryFile;

    fn buffer(&self, len: usize) -> MemoryBuffer {
        assert!(len.is_multiple_of(BLOCK), "a buffer of {len} bytes is not made of blocks");
        let fill = self.device.borrow_mut().random.between(1, 255);
        MemoryBuffer { bytes: vec![u8::try_from(fill).expect("one byte"); len] }
    }

    async fn create(&self, path: &Path) -> io::Result<MemoryFile> {
        let node = self.step(Operation::Create, path, |device| device.fs.create(path)).await?;
        Ok(MemoryFile::new(self, node, path))
    }

    async fn open(&self, path: &Path) -> io::Result<MemoryFile> {
        let node = self.step(Operation::Open, path, |device| device.fs.open(path)).await?;
        Ok(MemoryFile::new(self, node, path))
    }

    async fn read_file(&self, path: &Path, len_max: usize) -> io::Result<Vec<u8>> {
        let read = |device: &mut Device| {
            let content = device.fs.file(device.fs.find(path)?)?.live();
            let len = usize::try_from(content.size).ok().filter(|len| *len <= len_max);
            let len = len.ok_or_else(|| super::too_long(content.size, len_max))?;
            Ok(content.read(0, len))
        };
        self.step(Operation::Read, path, read).await
    }

    async fn replace_file(&self, path: &Path, contents: Vec<u8>) -> io::Result<()> {
        let temporary = super::temporary_path(path)?;
        let file = self.create(&temporary).await?;
        let written = async {
            file.put(Rc::new(MemoryBuffer { bytes: contents }), 0).await?;
            file.sync().await
        };
        let written = written.await;
        file.close().await?;
        written?;
        self.rename(&temporary, path).await?;
        self.sync_dir(path.parent().unwrap_or(Path::new(""))).await
    }

    async fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step(Operation::Rename, from, |device| device.fs.rename(from, to)).await
    }

    async fn remove_file(&self, path: &Path) -> io::Result<()> {
        let handles = self.device.borrow().fs.handles(path);
        assert_eq!(handles, 0, "{} is removed while it is open", path.display());
        self.remove(path).await
    }

    async fn remove_dir(&self, path: &Path) -> io::Result<()> {
        let doomed = self.settled().fs.walk(path);
        match doomed {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
            Ok(doomed) => {
                for path in doomed {
                    self.remove(&path).await?;
                }
            }
        }
        Ok(())
    }

    async fn create_dir(&self, path: &Path) -> io::Result<()> {
        let levels: Vec<PathBuf> = path.ancestors().map(Path::to_owned).collect();
        for level in levels.iter().rev() {
            self.step(Operation::CreateDir, level, |device| device.fs.make_dir(level)).await?;
            if let Some(parent) = level.parent() {
                self.sync_dir(parent).await?;
            }
        }
        Ok(())
    }

    async fn list_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        self.step(Operation::List, path, |device| device.fs.list(path)).await
    }

    async fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mark = self.settled().fs.name_mark();
        let act = |device: &mut Device| {
            let dir = device.fs.find(path)?;
            device.fs.persist_dir(dir, mark)
        };
        self.step(Operation::SyncDir, path, act).await
    }

    async fn sync_all(&self) -> io::Result<()> {
        let marks = self.settled().fs.file_marks();
        self.pause().await;
        let synced = {
            let mut device = self.settled();
            let struck = device.strike(Operation::SyncAll, Path::new(""));
            for (node, mark) in marks {
                device.finish_sync(node, mark, struck.is_ok())?;
            }
            struck
        };
        self.pause().await;
        synced
    }

    async fn space(&self, _path: &Path) -> io::Result<Space> {
        self.pause().await;
        let device = self.settled();
        Ok(Space { total: device.fs.capacity, free: device.fs.free() })
    }

    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.simulation.spawn(task);
    }

    async fn sleep(&self, duration: Duration) {
        self.simulation.sleep(duration).await;
    }

    fn now_ms(&self) -> i64 {
        self.simulation.now_ms()
    }

    fn now_ns(&self) -> u64 {
        self.simulation.now_ns()
    }

    async fn yield_now(&self) {
        let slice_over = self.device.borrow_mut().random.one_in(2);
        if slice_over {
            self.simulation.yield_now().await;
        }
    }

    fn fatal(&self, what: &str, error: &io::Error) -> ! {
        // Not `panic_any`, whose message would not say what happened.
        eprintln!("fatal: {what}: {error}");
        resume_unwind(Box::new(Fatal { what: what.to_owned(), kind: error.kind() }))
    }
}
