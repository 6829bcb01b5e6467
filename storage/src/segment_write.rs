//! One write to a segment, and what happens when the disk refuses it. The bytes are in memory until it has arrived, and in the
//! journal until it is synced, so nothing is lost whatever happens.
//!
//! * No space: produce is refused, and the write is tried again until there is some, or until the store closes.
//! * Any other error: what follows goes to a new segment, and the write is tried once more; disks put sectors they cannot write
//!   elsewhere when they are written again. A second error ends the process.

use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use model::limits::{BLOCK, RING_FILES};
use model::{Offset, TopicPartition};

use crate::derived::Derived;
use crate::disk::{Disk, File};
use crate::flusher::Chunk;
use crate::journal::{Entry, Queued};
use crate::log::Phase;
use crate::segment::{FIRST_POSITION, Header};
use crate::store::{LogRef, Store};

/// How long the disk is left alone after it was full.
pub(crate) const FULL_PAUSE: Duration = Duration::from_secs(1);

/// Whether an error says that space, and nothing else, is lacking.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

impl<D: Disk, S: Derived> Store<D, S> {
    /// Whether a write waits for space, a snapshot does, or the journal lacks a file for it.
    pub(crate) fn is_stalled(&self) -> bool {
        self.stalled.get() > 0 || self.reclaim_stalled.get() || self.journal.ring.is_short()
    }

    /// Waits for `ready`, but not on a full disk.
    pub(crate) async fn unless_full(&self, ready: impl Fn() -> bool) -> io::Result<()> {
        self.moved
            .until(|| match (ready(), self.stalled.get()) {
                (true, _) => Some(Ok(())),
                (false, 0) => None,
                (false, _) => Some(Err(io::ErrorKind::StorageFull.into())),
            })
            .await
    }

    /// Writes a chunk, whatever it takes. False when it was given up: the store closes and the disk is full.
    pub(crate) async fn write(&self, log: &LogRef<D, S>, chunk: Chunk<D>) -> bool {
        let path = self.paths.segment(log.id, chunk.segment);
        let bytes = (*chunk.buffer).as_ref().len() as u64;
        let begun = self.disk.now_ns();
        let (mut waits, mut again) = (false, false);
        while let Err(error) = self.try_write(log, &chunk).await {
            if log.is_deleted() {
                break;
            }
            self.count(|counters| counters.segment_write_errors += 1);
            if is_full(&error) {
                if !std::mem::replace(&mut waits, true) {
                    self.stalled.set(self.stalled.get() + 1);
                    self.moved.notify();
                }
                self.refuse_appends(&path, chunk.start, &error);
                if self.closing.get() {
                    return false;
                }
                self.pause_for_space(log).await;
            } else if again {
                let what = format!(
                    "writing {} at byte {}, twice; the journal has the records",
                    path.display(),
                    chunk.start
                );
                self.disk.fatal(&what, &error);
            } else {
                again = true;
                tracing::error!(
                    file = %path.display(),
                    position = chunk.start,
                    bytes,
                    %error,
                    "writing a segment failed: it is tried once more, and what follows goes to a new segment; check the disk"
                );
                self.leave_segment(log, chunk.segment.base);
            }
        }
        if waits {
            self.stalled.set(self.stalled.get() - 1);
        }
        self.count(|counters| {
            counters.segment_writes += 1;
            counters.segment_bytes += bytes;
        });
        if let Some(listener) = self.listener.borrow().as_ref() {
            listener.flushed(self.disk.now_ns() - begun);
        }
        true
    }

    async fn try_write(&self, log: &LogRef<D, S>, chunk: &Chunk<D>) -> io::Result<()> {
        let file = match chunk.create {
            Some(header) => self.create_segment(log, header).await?,
            None => {
                // A segment being made by an earlier write of this log is not there yet.
                self.moved
                    .until(|| {
                        let hopeless = log.is_deleted() || (self.closing.get() && self.stalled.get() > 0);
                        (log.segment_created(chunk.segment.base) || hopeless).then_some(())
                    })
                    .await;
                if !log.segment_created(chunk.segment.base) {
                    return Err(io::ErrorKind::StorageFull.into());
                }
                self.files.get((log.id, chunk.segment)).await?
            }
        };
        if let Some((from, len)) = chunk.reserve
            && let Err(error) = file.allocate(from, len).await
        {
            tracing::debug!(partition = %log.id, %error, "reserving space failed");
            if is_full(&error) {
                // The write itself may still fit: it needs less.
                self.refuse_appends(&self.paths.segment(log.id, chunk.segment), from, &error);
            }
        }
        file.write(chunk.buffer.shared(), chunk.start).await
    }

    /// Nothing more is accepted until [`Self::watch_space`] finds room.
    pub(crate) fn refuse_appends(&self, path: &Path, position: u64, error: &io::Error) {
        if !self.disk_full.replace(true) {
            tracing::error!(
                file = %path.display(),
                position,
                %error,
                "the disk is full: produce is refused, and what is acknowledged waits in memory and journal; free space or add some"
            );
        }
    }

    /// A place in what the journal keeps for entries that free it. Copying forward takes up to three quarters of that file.
    pub(crate) fn take_reserve(&self) -> bool {
        let taken = self.reserve_taken.get() + BLOCK as u64;
        let fits = taken <= self.options.plan.ring / RING_FILES / 8;
        if fits {
            self.reserve_taken.set(taken);
        }
        fits
    }

    /// Queues an entry without bytes before all that waits for room.
    pub(crate) fn queue_ahead(&self, log: &LogRef<D, S>, entry: Entry) -> u64 {
        log.under_way.set(log.under_way.get() + 1);
        self.journal.queue_forward(Queued { entry, bytes: Bytes::new(), marked: false, log: Rc::clone(log) })
    }

    async fn pause_for_space(&self, log: &LogRef<D, S>) {
        let ended = self.moved.until(|| (self.closing.get() || log.is_deleted()).then_some(()));
        futures_lite::future::or(ended, self.disk.sleep(FULL_PAUSE)).await;
    }

    /// Begins a new segment if the log still ends in this one.
    fn leave_segment(&self, log: &LogRef<D, S>, base: Offset) {
        // Who has the log busy counts on nothing being queued meanwhile.
        if log.phase.get() != Phase::Loaded || self.closing.get() {
            return;
        }
        if let Some(loaded) = log.loaded.borrow_mut().as_mut() {
            let end = loaded.end_cursor();
            if end.segment == base && end.position > FIRST_POSITION {
                self.roll(log, loaded);
            }
        }
    }

    /// Makes a segment's file: its header and name are durable with the next sync.
    pub(crate) async fn create_segment(&self, log: &LogRef<D, S>, header: Header) -> io::Result<Rc<D::File>> {
        let dir = self.make_partition_dir(log.id).await?;
        let file = self.files.create((log.id, header.name())).await?;
        let mut block = self.disk.buffer(BLOCK);
        header.write(block.as_mut());
        file.write(Rc::new(block), 0).await?;
        self.sync_names(log, &dir).await;
        if let Some(loaded) = log.loaded.borrow_mut().as_mut()
            && let Some(segment) = loaded.segment_at(header.base)
        {
            segment.created = true;
        }
        self.moved.notify();
        Ok(file)
    }

    /// A failed sync is never tried again.
    async fn sync_names(&self, log: &LogRef<D, S>, dir: &Path) {
        if let Err(error) = self.disk.sync_dir(dir).await
            && !log.is_deleted()
        {
            self.disk.fatal(&format!("syncing directory {}", dir.display()), &error);
        }
    }

    /// The directory of a partition, which exists on return.
    pub(crate) async fn make_partition_dir(&self, id: TopicPartition) -> io::Result<PathBuf> {
        let dir = self.paths.partition(id);
        if !self.partition_dirs.borrow().contains(&id) {
            self.disk.create_dir(&dir).await?;
            self.partition_dirs.borrow_mut().insert(id);
        }
        Ok(dir)
    }
}
