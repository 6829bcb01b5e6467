//! The production disk: direct I/O through glommio's io_uring. What io_uring cannot do runs on the executor's blocking thread.

use std::fs;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use glommio::GlommioError;
use glommio::io::{DmaBuffer, DmaFile, OpenOptions};
use model::limits::BLOCK;

use super::blocking::Nameless;
use super::{Buffer, DirEntry, Disk, File, Space, blocking, helper};

/// Exit code that says storage failed while running.
const EXIT_STORAGE_FAILED: i32 = 5;

/// Between two steps of freeing a large file; or as long as the step took, if that is longer.
const FREE_PAUSE_MIN: Duration = Duration::from_millis(2);

/// Memory for direct I/O. One that [`File::read`] returned must not be changed: asking for its bytes mutably panics.
pub type UringBuffer = DmaBuffer;

/// Direct I/O on the file system of one directory, for one executor. Every method must run inside that executor.
#[derive(Clone, Debug)]
pub struct UringDisk {
    root: Arc<Root>,
    behind: Option<SpawnBehind>,
}

/// Puts a task into the executor's queue for work behind the acknowledgement path.
pub type SpawnBehind = fn(Pin<Box<dyn Future<Output = ()>>>);

#[derive(Debug)]
struct Root {
    path: Box<Path>,
    /// Held open for `syncfs`.
    directory: fs::File,
}

/// One file open for direct reads and writes.
#[derive(Debug)]
pub struct UringFile {
    file: DmaFile,
}

impl UringDisk {
    /// Works below `root`, an existing directory, and on its file system.
    ///
    /// # Errors
    /// When `root` cannot be opened.
    pub fn new(root: &Path) -> io::Result<Self> {
        let directory = fs::File::open(root)?;
        Ok(Self { root: Arc::new(Root { path: root.into(), directory }), behind: None })
    }

    /// The same with an executor queue of its own for the flusher and what else can wait.
    #[must_use]
    pub fn with_queue_behind(self, behind: SpawnBehind) -> Self {
        Self { behind: Some(behind), ..self }
    }

    /// Opens a file that a blocking thread found.
    ///
    /// glommio looks at the path again after opening it, and panics when it is gone by then. The path it gets here leads to
    /// the descriptor, which we hold until it is done: no rename or removal, from whatever core, can come between.
    async fn attach(
        &self,
        find: impl FnOnce() -> io::Result<fs::File> + Send + 'static,
    ) -> io::Result<UringFile> {
        let held = helper::run(find).await?;
        let opened = OpenOptions::new().read(true).write(true).dma_open(blocking::path_of(&held)).await;
        drop(held);
        Ok(UringFile { file: opened.map_err(plain)? })
    }
}

impl Disk for UringDisk {
    type Buffer = UringBuffer;
    type File = UringFile;

    /// Not from glommio's arena: frames live long, and the arena knows only powers of two.
    fn buffer(&self, len: usize) -> UringBuffer {
        assert!(len.is_multiple_of(BLOCK), "a buffer of {len} bytes is not made of blocks");
        glommio::allocate_dma_buffer_global(len)
    }

    async fn create(&self, path: &Path) -> io::Result<UringFile> {
        let path = path.to_owned();
        self.attach(move || blocking::create(&path)).await
    }

    async fn open(&self, path: &Path) -> io::Result<UringFile> {
        let path = path.to_owned();
        self.attach(move || blocking::open(&path)).await
    }

    async fn read_file(&self, path: &Path, len_max: usize) -> io::Result<Vec<u8>> {
        let path = path.to_owned();
        helper::run(move || blocking::read_file(&path, len_max)).await
    }

    async fn replace_file(&self, path: &Path, contents: Vec<u8>) -> io::Result<()> {
        let path = path.to_owned();
        helper::run(move || blocking::replace_file(&path, &contents)).await
    }

    async fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (from, to) = (from.to_owned(), to.to_owned());
        helper::run(move || fs::rename(from, to)).await
    }

    async fn remove_file(&self, path: &Path) -> io::Result<()> {
        let path = path.to_owned();
        if let Some(left) = helper::run(move || blocking::remove_file(&path)).await? {
            free(left).await;
        }
        Ok(())
    }

    async fn remove_dir(&self, path: &Path) -> io::Result<()> {
        let path = path.to_owned();
        let walked = path.clone();
        for file in helper::run(move || blocking::large_files(&walked)).await? {
            self.remove_file(&file).await?;
        }
        helper::run(move || blocking::remove_dir(&path)).await
    }

    async fn create_dir(&self, path: &Path) -> io::Result<()> {
        let (root, path) = (self.root.clone(), path.to_owned());
        helper::run(move || blocking::create_dir(&root.path, &path)).await
    }

    async fn list_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let path = path.to_owned();
        helper::run(move || blocking::list_dir(&path)).await
    }

    async fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let path = path.to_owned();
        helper::run(move || blocking::sync_dir(&path)).await
    }

    async fn sync_all(&self) -> io::Result<()> {
        let root = self.root.clone();
        helper::run(move || blocking::sync_file_system(&root.directory)).await
    }

    async fn space(&self, path: &Path) -> io::Result<Space> {
        let path = path.to_owned();
        helper::run(move || blocking::space(&path)).await
    }

    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        glommio::spawn_local(task).detach();
    }

    fn spawn_behind(&self, task: impl Future<Output = ()> + 'static) {
        match self.behind {
            Some(spawn) => spawn(Box::pin(task)),
            None => self.spawn(task),
        }
    }

    async fn sleep(&self, duration: Duration) {
        glommio::timer::sleep(duration).await;
    }

    fn now_ms(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    }

    fn now_ns(&self) -> u64 {
        static ORIGIN: OnceLock<Instant> = OnceLock::new();
        let since = ORIGIN.get_or_init(Instant::now).elapsed();
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }

    async fn yield_now(&self) {
        glommio::yield_if_needed().await;
    }

    async fn aside<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        helper::run(work).await
    }

    fn fatal(&self, what: &str, error: &io::Error) -> ! {
        tracing::error!(
            what,
            %error,
            "storage failed: the process ends; look at the disk and the kernel's log, then restart: it recovers all that is durable"
        );
        std::process::exit(EXIT_STORAGE_FAILED)
    }
}

impl File for UringFile {
    type Buffer = UringBuffer;

    async fn write(&self, buffer: Rc<UringBuffer>, position: u64) -> io::Result<()> {
        for _ in 0..2 {
            let written = self.file.write_rc_at(buffer.clone(), position).await.map_err(plain)?;
            if written == buffer.len() {
                return Ok(());
            }
        }
        Err(io::ErrorKind::WriteZero.into())
    }

    async fn read(&self, position: u64, len: usize) -> io::Result<Rc<UringBuffer>> {
        let read = self.file.read_at_aligned(position, len).await.map_err(plain)?;
        if read.len() == len || position + read.len() as u64 >= self.size().await? {
            return Ok(Rc::new(DmaBuffer::from(read)));
        }
        // Interrupted in the middle of the file, which is rare: whole or not at all the second time.
        let again = self.file.read_at_aligned(position, len).await.map_err(plain)?;
        if again.len() == len || position + again.len() as u64 >= self.size().await? {
            return Ok(Rc::new(DmaBuffer::from(again)));
        }
        Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the device returned less than asked for, twice"))
    }

    async fn sync(&self) -> io::Result<()> {
        self.file.fdatasync().await.map_err(plain)
    }

    async fn allocate(&self, position: u64, len: u64) -> io::Result<()> {
        // glommio reserves from the start of the file only; blocks that are there stay as they are.
        self.file.pre_allocate(position + len, false).await.map_err(plain)
    }

    async fn size(&self) -> io::Result<u64> {
        self.file.file_size().await.map_err(plain)
    }

    async fn close(self) -> io::Result<()> {
        self.file.close().await.map_err(plain)
    }
}

impl Buffer for DmaBuffer {}

/// Frees the blocks of a removed file a few at a time. The file system's own journal holds every sync up for as long as it is busy with
/// blocks that were freed, and longer where it discards them.
async fn free(file: Nameless) {
    let mut left = Some(file);
    while let Some(file) = left.take_if(|_| !helper::is_hurried()) {
        let begun = Instant::now();
        left = helper::run(move || file.free_some()).await;
        glommio::timer::sleep(begun.elapsed().max(FREE_PAUSE_MIN)).await;
    }
}

/// The kernel's own error where there is one, so that its number is not lost.
fn plain(error: GlommioError<()>) -> io::Error {
    match error {
        GlommioError::IoError(source) | GlommioError::EnhancedIoError { source, .. } => source,
        other => other.into(),
    }
}
