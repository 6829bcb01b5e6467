//! Files of the simulated disk, their buffers, and writes that take their time.

use std::fmt;
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use model::limits::BLOCK;

use super::MemoryDisk;
use super::device::{Device, Outcome};
use super::fault::Operation;
use super::file_system::{NodeId, os};
use crate::disk::{Buffer, File};

/// Plain memory; a new buffer holds no zeros, so that nobody relies on them.
pub struct MemoryBuffer {
    pub(super) bytes: Vec<u8>,
}

/// One open file of a [`MemoryDisk`].
#[derive(Debug)]
pub struct MemoryFile {
    disk: MemoryDisk,
    node: NodeId,
    path: Rc<Path>,
}

/// A write under way; dropping it unfinished cancels it, which comes too late as often as not.
struct Submitted<'a> {
    disk: &'a MemoryDisk,
    id: u64,
    outcome: Outcome,
    due_ns: u64,
}

impl Submitted<'_> {
    async fn finish(self) -> io::Result<()> {
        loop {
            drop(self.disk.settled());
            if let Some(result) = self.outcome.borrow_mut().take() {
                return result;
            }
            let wait = self.due_ns.saturating_sub(self.disk.simulation.now_ns());
            self.disk.simulation.sleep(Duration::from_nanos(wait)).await;
            if self.disk.device.borrow().dead {
                std::future::pending::<()>().await;
            }
        }
    }
}

impl Drop for Submitted<'_> {
    fn drop(&mut self) {
        self.disk.device.borrow_mut().cancel(self.id);
    }
}

impl MemoryFile {
    /// Wraps a handle the file system gave out.
    pub(super) fn new(disk: &MemoryDisk, node: NodeId, path: &Path) -> Self {
        Self { disk: disk.clone(), node, path: Rc::from(path) }
    }

    fn submit(&self, buffer: Rc<MemoryBuffer>, position: u64) -> Submitted<'_> {
        let mut device = self.disk.settled();
        let due_ns = self.disk.simulation.now_ns() + device.latency_ns();
        let (id, outcome) = device.submit((self.node, &self.path), position, buffer, due_ns);
        Submitted { disk: &self.disk, id, outcome, due_ns }
    }

    /// A write of any length.
    pub(super) async fn put(&self, buffer: Rc<MemoryBuffer>, position: u64) -> io::Result<()> {
        self.disk.pause().await;
        let written = self.submit(buffer, position).finish().await;
        self.disk.pause().await;
        written
    }
}

impl File for MemoryFile {
    type Buffer = MemoryBuffer;

    async fn write(&self, buffer: Rc<MemoryBuffer>, position: u64) -> io::Result<()> {
        aligned(position, buffer.bytes.len())?;
        self.put(buffer, position).await
    }

    async fn read(&self, position: u64, len: usize) -> io::Result<Rc<MemoryBuffer>> {
        aligned(position, len)?;
        let read = |device: &mut Device| Ok(device.fs.file(self.node)?.live().read(position, len));
        let bytes = self.disk.step(Operation::Read, &self.path, read).await?;
        Ok(Rc::new(MemoryBuffer { bytes }))
    }

    async fn sync(&self) -> io::Result<()> {
        let mark = self.disk.settled().fs.file(self.node)?.mark();
        self.disk.pause().await;
        let synced = {
            let mut device = self.disk.settled();
            let struck = device.strike(Operation::Sync, &self.path);
            device.finish_sync(self.node, mark, struck.is_ok())?;
            struck
        };
        self.disk.pause().await;
        synced
    }

    async fn allocate(&self, position: u64, len: u64) -> io::Result<()> {
        if !position.is_multiple_of(BLOCK as u64) || !len.is_multiple_of(BLOCK as u64) || len == 0 {
            return Err(os(libc::EINVAL));
        }
        let allocate = |device: &mut Device| device.fs.allocate(self.node, position, len);
        self.disk.step(Operation::Allocate, &self.path, allocate).await
    }

    async fn size(&self) -> io::Result<u64> {
        self.disk.pause().await;
        Ok(self.disk.settled().fs.file(self.node)?.live().size)
    }

    async fn close(self) -> io::Result<()> {
        self.disk.pause().await;
        self.disk.settled().fs.close(self.node);
        Ok(())
    }
}

impl fmt::Debug for MemoryBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryBuffer").field("len", &self.bytes.len()).finish_non_exhaustive()
    }
}

impl Buffer for MemoryBuffer {}

impl AsRef<[u8]> for MemoryBuffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl AsMut<[u8]> for MemoryBuffer {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

/// Direct I/O refuses anything else.
fn aligned(position: u64, len: usize) -> io::Result<()> {
    if position.is_multiple_of(BLOCK as u64) && len.is_multiple_of(BLOCK) && len > 0 {
        Ok(())
    } else {
        Err(os(libc::EINVAL))
    }
}
