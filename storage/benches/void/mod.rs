//! A disk that keeps nothing and takes no time: what is measured on it is the processor's work alone.
//!
//! Its tasks run on the executor of the simulation, whose clock is virtual, so nobody sleeps. Nothing can be read back.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use model::limits::BLOCK;
use storage::disk::simulation::Simulation;
use storage::disk::{Buffer, DirEntry, Disk, File, Space};

/// Memory of buffers that were let go, by its length.
type Free = Rc<RefCell<BTreeMap<usize, Vec<Vec<u8>>>>>;

/// The disk. Clones are the same one.
#[derive(Clone)]
pub struct Void {
    simulation: Simulation,
    free: Free,
}

impl Void {
    pub fn new() -> Self {
        Self { simulation: Simulation::new(1), free: Free::default() }
    }

    /// Runs `main`, and what was spawned as far as that takes.
    pub fn run<T>(&self, main: impl Future<Output = T>) -> T {
        self.simulation.run_until(main)
    }
}

/// Memory at a block's start, as direct I/O has it: copying depends on it. It is used again as it was left, because memory for
/// direct I/O is neither zeroed nor given back to the system.
pub struct VoidBuffer {
    bytes: Vec<u8>,
    start: usize,
    len: usize,
    free: Free,
}

impl VoidBuffer {
    fn new(len: usize, free: &Free) -> Self {
        let kept = free.borrow_mut().get_mut(&(len + BLOCK)).and_then(Vec::pop);
        let bytes = kept.unwrap_or_else(|| vec![0; len + BLOCK]);
        let start = bytes.as_ptr().align_offset(BLOCK);
        Self { bytes, start, len, free: Rc::clone(free) }
    }
}

impl Drop for VoidBuffer {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        self.free.borrow_mut().entry(bytes.len()).or_default().push(bytes);
    }
}

impl AsRef<[u8]> for VoidBuffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[self.start..][..self.len]
    }
}

impl AsMut<[u8]> for VoidBuffer {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..][..self.len]
    }
}

impl Buffer for VoidBuffer {}

/// A file of that disk.
pub struct VoidFile;

impl Disk for Void {
    type Buffer = VoidBuffer;
    type File = VoidFile;

    fn buffer(&self, len: usize) -> VoidBuffer {
        VoidBuffer::new(len, &self.free)
    }
    async fn create(&self, _path: &Path) -> io::Result<VoidFile> {
        Ok(VoidFile)
    }
    async fn open(&self, _path: &Path) -> io::Result<VoidFile> {
        Ok(VoidFile)
    }
    async fn read_file(&self, path: &Path, _len_max: usize) -> io::Result<Vec<u8>> {
        panic!("{} is read, which was not to be measured", path.display())
    }
    async fn replace_file(&self, _path: &Path, _contents: Vec<u8>) -> io::Result<()> {
        Ok(())
    }
    async fn rename(&self, _from: &Path, _to: &Path) -> io::Result<()> {
        Ok(())
    }
    async fn remove_file(&self, _path: &Path) -> io::Result<()> {
        Ok(())
    }
    async fn remove_dir(&self, _path: &Path) -> io::Result<()> {
        Ok(())
    }
    async fn create_dir(&self, _path: &Path) -> io::Result<()> {
        Ok(())
    }
    async fn list_dir(&self, _path: &Path) -> io::Result<Vec<DirEntry>> {
        Ok(Vec::new())
    }
    async fn sync_dir(&self, _path: &Path) -> io::Result<()> {
        Ok(())
    }
    async fn sync_all(&self) -> io::Result<()> {
        Ok(())
    }
    async fn space(&self, _path: &Path) -> io::Result<Space> {
        Ok(Space { total: 1 << 50, free: 1 << 50 })
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
        self.simulation.yield_now().await;
    }
    fn fatal(&self, what: &str, error: &io::Error) -> ! {
        panic!("{what}: {error}")
    }
}

impl File for VoidFile {
    type Buffer = VoidBuffer;

    async fn write(&self, _buffer: Rc<VoidBuffer>, _position: u64) -> io::Result<()> {
        Ok(())
    }
    async fn read(&self, position: u64, len: usize) -> io::Result<Rc<VoidBuffer>> {
        panic!("{len} bytes at {position} are read, which was not to be measured")
    }
    async fn sync(&self) -> io::Result<()> {
        Ok(())
    }
    async fn allocate(&self, _position: u64, _len: u64) -> io::Result<()> {
        Ok(())
    }
    async fn size(&self) -> io::Result<u64> {
        Ok(0)
    }
    async fn close(self) -> io::Result<()> {
        Ok(())
    }
}
