//! A disk that can be recorded: passes everything on, and notes it on a [`Tape`] when there is one. It can also be made to fail.

use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::failing::Failures;
use super::memory::Operation;
use super::tape::{Action, OperationId, Tape};
use super::{DirEntry, Disk, File, Space};

/// Another disk, recorded or not, failing or not. Without either it costs two branches per operation.
#[derive(Clone, Debug)]
pub struct Recorded<D> {
    disk: D,
    tape: Option<Arc<Tape>>,
    failures: Option<Arc<Failures>>,
}

/// One of its open files.
#[derive(Debug)]
pub struct RecordedFile<F> {
    file: F,
    /// The tape, and what it calls this file.
    tape: Option<(Arc<Tape>, OperationId)>,
    /// What will fail, and the name it is asked for by.
    failures: Option<(Arc<Failures>, PathBuf)>,
}

impl<D: Disk> Recorded<D> {
    /// `disk`, with everything noted on `tape`.
    pub const fn new(disk: D, tape: Option<Arc<Tape>>) -> Self {
        Self { disk, tape, failures: None }
    }

    /// The same, with `failures` to come.
    #[must_use]
    pub fn failing(self, failures: Option<Arc<Failures>>) -> Self {
        Self { failures, ..self }
    }

    fn strike(&self, operation: Operation, path: &Path) -> io::Result<()> {
        self.failures.as_ref().map_or(Ok(()), |failures| failures.strike(operation, path))
    }

    async fn noted<T>(
        &self,
        action: impl FnOnce() -> Action<&'static [u8]>,
        run: impl Future<Output = io::Result<T>>,
    ) -> io::Result<T> {
        let Some(tape) = &self.tape else { return run.await };
        let operation = tape.begin(&action());
        let result = run.await;
        tape.end(operation, result.is_ok());
        result
    }

    async fn opened(
        &self,
        path: &Path,
        action: impl FnOnce(PathBuf) -> Action<&'static [u8]>,
        run: impl Future<Output = io::Result<D::File>>,
    ) -> io::Result<RecordedFile<D::File>> {
        let failures = self.failures.as_ref().map(|failures| (failures.clone(), path.to_owned()));
        let Some(tape) = &self.tape else {
            return Ok(RecordedFile { file: run.await?, tape: None, failures });
        };
        let operation = tape.begin(&action(path.to_owned()));
        let result = run.await;
        tape.end(operation, result.is_ok());
        Ok(RecordedFile { file: result?, tape: Some((tape.clone(), operation)), failures })
    }
}

impl<D: Disk> Disk for Recorded<D> {
    type Buffer = D::Buffer;
    type File = RecordedFile<D::File>;

    fn buffer(&self, len: usize) -> D::Buffer {
        self.disk.buffer(len)
    }

    async fn create(&self, path: &Path) -> io::Result<Self::File> {
        self.strike(Operation::Create, path)?;
        self.opened(path, Action::Create, self.disk.create(path)).await
    }

    async fn open(&self, path: &Path) -> io::Result<Self::File> {
        self.strike(Operation::Open, path)?;
        self.opened(path, Action::Open, self.disk.open(path)).await
    }

    async fn read_file(&self, path: &Path, len_max: usize) -> io::Result<Vec<u8>> {
        self.strike(Operation::Read, path)?;
        self.disk.read_file(path, len_max).await
    }

    async fn replace_file(&self, path: &Path, contents: Vec<u8>) -> io::Result<()> {
        self.strike(Operation::Write, path)?;
        let Some(tape) = &self.tape else { return self.disk.replace_file(path, contents).await };
        let operation = tape.begin(&Action::Replace(path.to_owned(), &contents));
        let result = self.disk.replace_file(path, contents).await;
        tape.end(operation, result.is_ok());
        result
    }

    async fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.noted(|| Action::Rename(from.to_owned(), to.to_owned()), self.disk.rename(from, to)).await
    }

    async fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.noted(|| Action::RemoveFile(path.to_owned()), self.disk.remove_file(path)).await
    }

    async fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.noted(|| Action::RemoveDir(path.to_owned()), self.disk.remove_dir(path)).await
    }

    async fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.noted(|| Action::CreateDir(path.to_owned()), self.disk.create_dir(path)).await
    }

    async fn list_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        self.disk.list_dir(path).await
    }

    async fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.strike(Operation::SyncDir, path)?;
        self.noted(|| Action::SyncDir(path.to_owned()), self.disk.sync_dir(path)).await
    }

    async fn sync_all(&self) -> io::Result<()> {
        self.noted(|| Action::SyncAll, self.disk.sync_all()).await
    }

    async fn space(&self, path: &Path) -> io::Result<Space> {
        self.disk.space(path).await
    }

    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.disk.spawn(task);
    }

    fn spawn_behind(&self, task: impl Future<Output = ()> + 'static) {
        self.disk.spawn_behind(task);
    }

    async fn sleep(&self, duration: Duration) {
        self.disk.sleep(duration).await;
    }

    fn now_ms(&self) -> i64 {
        self.disk.now_ms()
    }

    fn now_ns(&self) -> u64 {
        self.disk.now_ns()
    }

    async fn yield_now(&self) {
        self.disk.yield_now().await;
    }

    async fn aside<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        self.disk.aside(work).await
    }

    fn fatal(&self, what: &str, error: &io::Error) -> ! {
        self.disk.fatal(what, error)
    }
}

impl<F: File> RecordedFile<F> {
    fn strike(&self, operation: Operation) -> io::Result<()> {
        self.failures.as_ref().map_or(Ok(()), |(failures, path)| failures.strike(operation, path))
    }

    async fn noted<T>(
        &self,
        action: impl FnOnce(OperationId) -> Action<&'static [u8]>,
        run: impl Future<Output = io::Result<T>>,
    ) -> io::Result<T> {
        let Some((tape, file)) = &self.tape else { return run.await };
        let operation = tape.begin(&action(*file));
        let result = run.await;
        tape.end(operation, result.is_ok());
        result
    }
}

impl<F: File> File for RecordedFile<F> {
    type Buffer = F::Buffer;

    async fn write(&self, buffer: Rc<F::Buffer>, position: u64) -> io::Result<()> {
        self.strike(Operation::Write)?;
        let Some((tape, file)) = &self.tape else { return self.file.write(buffer, position).await };
        let operation = tape.begin(&Action::Write(*file, position, (*buffer).as_ref()));
        let result = self.file.write(buffer, position).await;
        tape.end(operation, result.is_ok());
        result
    }

    async fn read(&self, position: u64, len: usize) -> io::Result<Rc<F::Buffer>> {
        self.strike(Operation::Read)?;
        self.file.read(position, len).await
    }

    async fn sync(&self) -> io::Result<()> {
        self.strike(Operation::Sync)?;
        self.noted(Action::Sync, self.file.sync()).await
    }

    async fn allocate(&self, position: u64, len: u64) -> io::Result<()> {
        self.noted(|file| Action::Allocate(file, position, len), self.file.allocate(position, len)).await
    }

    async fn size(&self) -> io::Result<u64> {
        self.file.size().await
    }

    async fn close(self) -> io::Result<()> {
        let Some((tape, file)) = self.tape else { return self.file.close().await };
        let operation = tape.begin(&Action::Close(file));
        let result = self.file.close().await;
        tape.end(operation, result.is_ok());
        result
    }
}
