//! Open segment files: few of many, least recently used closed first.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::rc::Rc;
use std::time::Duration;

use model::{Offset, TopicPartition};

use crate::disk::{Disk, File};
use crate::paths::Paths;
use crate::segment::SegmentName;
use crate::signal::Signal;

/// Which segment.
pub type SegmentId = (TopicPartition, SegmentName);

struct Slot<D: Disk> {
    file: Rc<D::File>,
    used: u64,
}

/// The open segments of one shard.
pub struct Files<D: Disk> {
    disk: D,
    paths: Paths,
    open: RefCell<BTreeMap<SegmentId, Slot<D>>>,
    /// The same by their last use, the oldest first.
    by_use: RefCell<BTreeMap<u64, SegmentId>>,
    /// Being opened, created, closed or removed: others wait.
    busy: RefCell<BTreeSet<SegmentId>>,
    settled: Signal,
    clock: Cell<u64>,
    open_max: usize,
}

impl<D: Disk> Files<D> {
    /// Keeps about `open_max` files open.
    pub fn new(disk: D, paths: Paths, open_max: usize) -> Self {
        Self {
            disk,
            paths,
            open: RefCell::default(),
            by_use: RefCell::default(),
            busy: RefCell::default(),
            settled: Signal::default(),
            clock: Cell::new(0),
            open_max,
        }
    }

    fn touch(&self, id: SegmentId) -> Option<Rc<D::File>> {
        let mut open = self.open.borrow_mut();
        let slot = open.get_mut(&id)?;
        let mut by_use = self.by_use.borrow_mut();
        by_use.remove(&slot.used);
        slot.used = self.next_use();
        by_use.insert(slot.used, id);
        Some(Rc::clone(&slot.file))
    }

    fn next_use(&self) -> u64 {
        self.clock.set(self.clock.get() + 1);
        self.clock.get()
    }

    async fn claim(&self, id: SegmentId) {
        self.settled.until(|| self.busy.borrow_mut().insert(id).then_some(())).await;
    }

    fn release(&self, id: SegmentId) {
        self.busy.borrow_mut().remove(&id);
        self.settled.notify();
    }

    /// The open file of an existing segment.
    pub async fn get(&self, id: SegmentId) -> io::Result<Rc<D::File>> {
        if let Some(file) = self.touch(id) {
            return Ok(file);
        }
        self.enter(id, false).await
    }

    /// A new, empty file for a segment, open. An old one of that name is emptied.
    pub async fn create(&self, id: SegmentId) -> io::Result<Rc<D::File>> {
        self.enter(id, true).await
    }

    async fn enter(&self, id: SegmentId, create: bool) -> io::Result<Rc<D::File>> {
        self.claim(id).await;
        if let Some(file) = self.touch(id) {
            self.release(id);
            return Ok(file);
        }
        let path = self.paths.segment(id.0, id.1);
        let opened =
            if create { self.disk.create(&path).await } else { self.disk.open(&path).await }.map(Rc::new);
        if let Ok(file) = &opened {
            let slot = Slot { file: Rc::clone(file), used: self.next_use() };
            self.by_use.borrow_mut().insert(slot.used, id);
            self.open.borrow_mut().insert(id, slot);
        }
        self.release(id);
        self.shrink().await;
        opened
    }

    /// Closes the least recently used files that nobody holds, down to the limit.
    async fn shrink(&self) {
        loop {
            let victim = {
                let open = self.open.borrow();
                if open.len() <= self.open_max {
                    return;
                }
                let by_use = self.by_use.borrow();
                let idle =
                    |id: &&SegmentId| open.get(id).is_some_and(|slot| Rc::strong_count(&slot.file) == 1);
                by_use.values().find(idle).copied()
            };
            let Some(id) = victim else { return };
            if !self.busy.borrow_mut().insert(id) {
                return;
            }
            self.close_one(id).await;
            self.release(id);
        }
    }

    /// Closes the file once its last user let go. The caller has claimed `id`.
    async fn close_one(&self, id: SegmentId) {
        let Some(slot) = self.open.borrow_mut().remove(&id) else { return };
        self.by_use.borrow_mut().remove(&slot.used);
        let mut file = slot.file;
        loop {
            match Rc::try_unwrap(file) {
                Ok(last) => {
                    if let Err(error) = last.close().await {
                        tracing::warn!(partition = %id.0, segment = %id.1, %error, "closing a segment failed");
                    }
                    return;
                }
                Err(shared) => file = shared,
            }
            self.disk.sleep(Duration::from_millis(5)).await;
        }
    }

    /// Closes and removes a segment's file and its index.
    pub async fn remove(&self, id: SegmentId) -> io::Result<()> {
        self.claim(id).await;
        self.close_one(id).await;
        let removed = self.disk.remove_file(&self.paths.segment(id.0, id.1)).await;
        self.release(id);
        removed?;
        self.disk.remove_file(&self.paths.index(id.0, id.1)).await
    }

    /// Closes every file of a partition.
    pub async fn close_partition(&self, partition: TopicPartition) {
        let first = SegmentName { base: Offset(i64::MIN), generation: 0 };
        let last = SegmentName { base: Offset(i64::MAX), generation: u32::MAX };
        let all = (partition, first)..=(partition, last);
        let ids: Vec<SegmentId> = self.open.borrow().range(all).map(|(id, _)| *id).collect();
        self.close(ids).await;
    }

    /// Closes all.
    pub async fn close_all(&self) {
        let ids: Vec<SegmentId> = self.open.borrow().keys().copied().collect();
        self.close(ids).await;
    }

    async fn close(&self, ids: Vec<SegmentId>) {
        for id in ids {
            self.claim(id).await;
            self.close_one(id).await;
            self.release(id);
        }
    }
}
