//! A segment that compaction writes: nothing cites it before it is whole and durable.

use std::io;
use std::rc::Rc;

use model::batch::RecordBatch;
use model::limits::BLOCK;
use model::{Offset, TimestampMs};

use crate::bytes_at::{block_up, len_u64};
use crate::derived::Derived;
use crate::disk::{Disk, File};
use crate::index::Index;
use crate::log::{Log, Segment};
use crate::segment::{FIRST_POSITION, Header, SegmentName};
use crate::store::{LogRef, Store};

/// Bytes of one write.
pub(super) const WRITE_BYTES: usize = 256 << 10;

/// A segment being written.
pub(super) struct Output<D: Disk> {
    name: SegmentName,
    incarnation: u32,
    file: Rc<D::File>,
    /// Up to here it is written; whole blocks.
    written: u64,
    /// What comes next: the first `filled` bytes.
    buffer: Rc<D::Buffer>,
    filled: usize,
    index: Index,
    max_timestamp_ms: i64,
    begun_ms: Option<i64>,
}

impl<D: Disk> Output<D> {
    /// An empty file of that name, with its header.
    pub async fn begin<S: Derived>(
        store: &Store<D, S>,
        log: &LogRef<D, S>,
        name: SegmentName,
        incarnation: u32,
    ) -> io::Result<Self> {
        // A pass that was given up may have left one.
        store.files.remove((log.id, name)).await?;
        store.make_partition_dir(log.id).await?;
        let file = store.files.create((log.id, name)).await?;
        let SegmentName { base, generation } = name;
        let mut block = store.disk.buffer(BLOCK);
        Header { partition: log.id, base, incarnation, generation }.write(block.as_mut());
        file.write(Rc::new(block), 0).await?;
        Ok(Self {
            name,
            incarnation,
            file,
            written: FIRST_POSITION,
            buffer: Rc::new(store.disk.buffer(WRITE_BYTES)),
            filled: 0,
            index: Index::new(base),
            max_timestamp_ms: -1,
            begun_ms: None,
        })
    }

    /// Its bytes so far.
    pub fn size(&self) -> u64 {
        self.written + len_u64(self.filled)
    }

    /// Whole batches follow.
    pub async fn put<S: Derived>(&mut self, store: &Store<D, S>, batches: &[u8]) -> io::Result<()> {
        for batch in RecordBatch::all_in(batches) {
            let batch = batch.map_err(io::Error::other)?;
            self.note(batch.base_offset(), len_u64(batch.size_bytes()), batch.max_timestamp());
        }
        self.append(store, batches).await
    }

    /// A batch follows, whose bytes are appended next.
    pub fn note(&mut self, base: Offset, len: u64, time: TimestampMs) {
        self.index.observe(base, len, time);
        self.max_timestamp_ms = self.max_timestamp_ms.max(time.0);
        self.begun_ms.get_or_insert(time.0);
    }

    /// Bytes that follow.
    pub async fn append<S: Derived>(&mut self, store: &Store<D, S>, bytes: &[u8]) -> io::Result<()> {
        let mut left = bytes;
        while !left.is_empty() {
            let room = self.room(store);
            let (now, later) = left.split_at(room.len().min(left.len()));
            room[..now.len()].copy_from_slice(now);
            self.filled += now.len();
            left = later;
            if self.filled == WRITE_BYTES {
                self.write(store, Rc::clone(&self.buffer)).await?;
            }
        }
        Ok(())
    }

    /// Where bytes go that follow. The disk gives the buffer back with every write; else there is another one.
    fn room<S: Derived>(&mut self, store: &Store<D, S>) -> &mut [u8] {
        if Rc::get_mut(&mut self.buffer).is_none() {
            let mut other = store.disk.buffer(WRITE_BYTES);
            other.as_mut()[..self.filled].copy_from_slice(&(*self.buffer).as_ref()[..self.filled]);
            self.buffer = Rc::new(other);
        }
        let buffer = Rc::get_mut(&mut self.buffer).expect("it was just made, or nobody else has it");
        &mut buffer.as_mut()[self.filled..]
    }

    /// Writes what is held, in whole blocks.
    async fn write<S: Derived>(&mut self, store: &Store<D, S>, buffer: Rc<D::Buffer>) -> io::Result<()> {
        self.file.write(buffer, self.written).await?;
        self.written += len_u64(std::mem::take(&mut self.filled));
        store.disk.yield_now().await;
        Ok(())
    }

    /// Writes all that is held; nothing can follow.
    pub async fn write_rest<S: Derived>(&mut self, store: &Store<D, S>) -> io::Result<()> {
        if self.filled == 0 {
            return Ok(());
        }
        let mut rest = store.disk.buffer(self.filled.next_multiple_of(BLOCK));
        let (bytes, padding) = rest.as_mut().split_at_mut(self.filled);
        bytes.copy_from_slice(&(*self.buffer).as_ref()[..self.filled]);
        padding.fill(0);
        self.write(store, Rc::new(rest)).await
    }

    /// The segment, durable but for its name. Without any batch it has the time that is given.
    pub async fn finish<S: Derived>(
        mut self,
        store: &Store<D, S>,
        log: &Log<D, S>,
        time_ms: i64,
    ) -> io::Result<Segment> {
        let size = self.size();
        self.write_rest(store).await?;
        if let Err(error) = self.file.sync().await {
            let path = store.paths.segment(log.id, self.name);
            store.disk.fatal(&format!("syncing {}", path.display()), &error);
        }
        let mut segment = Segment::new(self.name.base, self.incarnation);
        segment.generation = self.name.generation;
        segment.size = size;
        segment.allocated = block_up(size);
        segment.created = true;
        segment.max_timestamp_ms = if self.max_timestamp_ms < 0 { time_ms } else { self.max_timestamp_ms };
        segment.begun_ms = self.begun_ms.or(Some(time_ms)).filter(|time| *time >= 0);
        segment.index = Some(self.index);
        Ok(segment)
    }
}

impl<D: Disk, S: Derived> Store<D, S> {
    /// Removes a segment that nothing cites. It harms nobody when that fails: the next start does it.
    pub(super) async fn remove_output(&self, log: &LogRef<D, S>, name: SegmentName) {
        if let Err(error) = self.files.remove((log.id, name)).await {
            let path = self.paths.segment(log.id, name);
            tracing::warn!(file = %path.display(), %error, "an unused file stays");
        }
    }
}
