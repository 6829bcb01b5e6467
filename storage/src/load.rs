//! Reading a log in on first touch: the snapshot its checkpoint cites, then the batch headers behind it; and letting it
//! go again. What is loaded depends on the log at rest alone, never on what a directory lists.

use std::collections::VecDeque;
use std::io;
use std::rc::Rc;

use bytes::Bytes;
use model::limits::BLOCK;
use model::{Offset, TopicPartition};

use crate::bytes_at::{block_down, block_up, to_usize};
use crate::checkpoint::AtRest;
use crate::derived::Derived;
use crate::disk::Disk;
use crate::files::Files;
use crate::flusher::Tail;
use crate::index::{self, Index};
use crate::log::{Carried, Loaded, LogSettings, Phase, Runs, Segment};
use crate::paths::Paths;
use crate::segment::{Cursor, FIRST_POSITION, Header, SegmentName};
use crate::segment_write::is_full;
use crate::snapshot::{self, SegmentFacts, Snapshot};
use crate::store::{LogRef, Store, StoreError};

/// What reading a log from its files gives.
pub(crate) struct Base<S> {
    pub segments: VecDeque<Segment>,
    pub derived: S,
    /// Bytes of batches behind the snapshot.
    pub scanned: u64,
}

/// Reads files of logs at rest.
pub(crate) struct Reader<'a, D: Disk> {
    pub disk: &'a D,
    pub paths: &'a Paths,
    pub files: &'a Files<D>,
}

impl<D: Disk, S: Derived> Store<D, S> {
    /// Makes sure that the log is in memory, with these settings.
    pub async fn load(&self, log: &LogRef<D, S>, settings: &Rc<LogSettings>) -> Result<(), StoreError> {
        loop {
            match log.phase.get() {
                Phase::Loaded => return Ok(()),
                Phase::Deleted => return Err(StoreError::Deleted),
                Phase::Loading | Phase::Busy => {
                    self.moved
                        .until(|| (!matches!(log.phase.get(), Phase::Loading | Phase::Busy)).then_some(()))
                        .await;
                }
                Phase::AtRest => {
                    log.phase.set(Phase::Loading);
                    let loaded = self.noting_damage(self.read_in(log, settings).await);
                    let phase = if loaded.is_ok() { Phase::Loaded } else { Phase::AtRest };
                    if let Ok(loaded) = loaded {
                        *log.loaded.borrow_mut() = Some(Box::new(loaded));
                        log.phase.set(phase);
                        self.moved.notify();
                        return Ok(());
                    }
                    log.phase.set(phase);
                    self.moved.notify();
                    return loaded.map(|_| ());
                }
            }
        }
    }

    fn reader(&self) -> Reader<'_, D> {
        Reader { disk: &self.disk, paths: &self.paths, files: &self.files }
    }

    async fn read_in(
        &self,
        log: &LogRef<D, S>,
        settings: &Rc<LogSettings>,
    ) -> Result<Loaded<D, S>, StoreError> {
        let rest = log.at_rest.get();
        let Base { segments, derived, scanned } = self.reader().base::<S>(log.id, &rest).await?;
        self.tidy(log.id, &rest, &segments).await?;
        let end = Cursor { segment: rest.segment, position: rest.position };
        let carried = self.reader().tail_block(log.id, rest.active(), rest.position).await?;
        if rest.position > FIRST_POSITION {
            self.partition_dirs.borrow_mut().insert(log.id);
        }
        Ok(Loaded {
            settings: Rc::clone(settings),
            segments,
            end: rest.end,
            epoch: rest.leader_epoch,
            incarnation: rest.incarnation,
            derived,
            redo_needed: carried.is_some(),
            carried,
            pending: VecDeque::new(),
            runs: Runs::default(),
            shown: end,
            readable: end,
            open_fragment: false,
            committed: end,
            dispatched: end,
            written: end,
            synced: end,
            writes: VecDeque::new(),
            direct: false,
            unsynced: Vec::new(),
            marks: VecDeque::new(),
            since_mark: scanned,
            touched_ms: self.disk.now_ms(),
        })
    }

    /// The index of a segment, covering all of it that is at rest; read or rebuilt when it is not in memory.
    pub(crate) async fn ensure_index(&self, log: &LogRef<D, S>, base: Offset) -> Result<(), StoreError> {
        let (name, size, incarnation) = {
            let mut loaded = log.loaded.borrow_mut();
            let loaded = loaded.as_mut().ok_or(StoreError::Deleted)?;
            let incarnation = loaded.incarnation;
            match loaded.segment_at(base) {
                Some(segment) if segment.index.is_none() => (segment.name(), segment.size, incarnation),
                _ => return Ok(()),
            }
        };
        if let Some(index) = self.reader().stored_index(log.id, name, size, incarnation).await {
            set_index(log, name, index);
            return Ok(());
        }
        let index = self.reader().index(log.id, name, size).await?;
        set_index(log, name, index);
        self.settling.enter().await;
        self.store_index(log, base).await;
        self.settling.leave();
        Ok(())
    }

    /// Stores the index of a sealed segment, so that the first reader after a start need not scan the segment. The caller is in
    /// [`Self::settling`].
    pub(crate) async fn store_index(&self, log: &LogRef<D, S>, base: Offset) {
        let (name, file) = {
            let mut loaded = log.loaded.borrow_mut();
            let Some(loaded) = loaded.as_mut().filter(|_| !log.is_deleted()) else { return };
            let incarnation = loaded.incarnation;
            if loaded.end_cursor().segment == base {
                return;
            }
            let Some(segment) = loaded.segment_at(base) else { return };
            let whole = |index: &&Index| index.covered() == segment.size && index.is_worth_a_file();
            let Some(index) = segment.index.as_ref().filter(whole) else { return };
            (segment.name(), index.to_file(incarnation))
        };
        let path = self.paths.index(log.id, name);
        if let Err(error) = self.disk.replace_file(&path, file).await {
            // It is made again from the segment when it is missed.
            tracing::debug!(file = %path.display(), %error, "storing an index failed");
        }
    }

    /// Lets go of a log's memory: everything durable goes to its segment first. False when it was in use meanwhile.
    pub async fn put_to_rest(self: &Rc<Self>, log: &LogRef<D, S>) -> io::Result<bool> {
        if log.phase.get() != Phase::Loaded {
            return Ok(false);
        }
        let quiet = log
            .loaded
            .borrow()
            .as_ref()
            .is_some_and(|l| l.end == log.durable_end() && log.under_way.get() == 0 && !l.direct)
            && !log.compacting.get();
        if !quiet {
            return Ok(false);
        }
        log.phase.set(Phase::Busy);
        let done = match self.rest(log).await {
            Err(error) if is_full(&error) => Ok(false),
            done => done,
        };
        let at_rest = done.as_ref().is_ok_and(|done| *done);
        log.phase.set(if at_rest { Phase::AtRest } else { Phase::Loaded });
        self.moved.notify();
        done
    }

    async fn rest(self: &Rc<Self>, log: &LogRef<D, S>) -> io::Result<bool> {
        self.write_all_of(log, Tail::WhenQuiet).await?;
        if let Some(loaded) = log.loaded.borrow_mut().as_mut()
            && loaded.since_mark > 0
        {
            loaded.mark(false);
        }
        self.sync_and_settle(std::slice::from_ref(log)).await?;
        let idle =
            |loaded: &Loaded<D, S>| loaded.pending.is_empty() && loaded.marks.is_empty() && loaded.is_quiet();
        let unused = log.under_way.get() == 0 && log.readers.get() == 0;
        let clear = unused && log.loaded.borrow().as_deref().is_some_and(idle);
        if clear {
            *log.loaded.borrow_mut() = None;
        }
        Ok(clear)
    }
}

impl<D: Disk> Reader<'_, D> {
    /// Segments and derived state of a log at rest.
    pub async fn base<S: Derived>(&self, id: TopicPartition, rest: &AtRest) -> Result<Base<S>, StoreError> {
        let stored = match rest.snapshot {
            Some(offset) => Some(self.snapshot(id, offset).await?),
            None => None,
        };
        let facts = match &stored {
            Some(snapshot) => snapshot.segments.clone(),
            None => vec![rest.first_segment()],
        };
        let mut derived = S::empty();
        if let Some(snapshot) = &stored {
            derived.restore(&snapshot.derived);
        }
        let mut segments: VecDeque<Segment> = facts.iter().map(at_rest_segment).collect();
        while segments.len() > 1 && segments.front().is_some_and(|segment| segment.base < rest.oldest) {
            segments.pop_front();
        }
        let from = facts.last().map_or(FIRST_POSITION, |last| last.size);
        let last = segments.back_mut().filter(|last| last.base == rest.segment);
        let Some(active) = last else {
            let what = format!("the snapshot of {id} does not list its active segment {}", rest.segment);
            return Err(StoreError::Damaged(what));
        };
        active.size = from;
        active.created = rest.position > FIRST_POSITION;
        if active.created {
            self.check_header(id, &active.facts()).await?;
        }
        active.allocated = block_up(rest.position);
        if from > FIRST_POSITION {
            let before = self.scanned(id, active.name(), from).await?;
            (active.index, active.begun_ms) = (before.index, before.begun_ms);
        } else {
            active.index = Some(Index::new(rest.segment));
        }
        self.scan(id, active, rest.position, |header, offset| {
            derived.observe(header, offset, header.leader_epoch())
        })
        .await?;
        Ok(Base { segments, derived, scanned: rest.position - from })
    }

    /// Reads a snapshot.
    pub async fn snapshot(&self, id: TopicPartition, offset: Offset) -> Result<Snapshot, StoreError> {
        let path = self.paths.snapshot(id, offset);
        let damaged = |what: String| StoreError::Damaged(format!("{}: {what}", path.display()));
        let file =
            self.disk.read_file(&path, snapshot::BYTES_MAX).await.map_err(|e| damaged(e.to_string()))?;
        Snapshot::from_file(&file).map_err(damaged)
    }

    /// The block in which a log ends, unless it ends between two.
    pub async fn tail_block(
        &self,
        id: TopicPartition,
        segment: SegmentName,
        end: u64,
    ) -> Result<Option<Carried>, StoreError> {
        let start = block_down(end);
        if start == end {
            return Ok(None);
        }
        let block = self.read(id, segment, start, BLOCK).await?;
        let prefix = (*block).as_ref().get(..to_usize(end - start));
        let prefix =
            prefix.ok_or_else(|| damaged_at(self.paths, id, segment, start, &"the last block is missing"))?;
        let bytes = Bytes::copy_from_slice(prefix);
        Ok(Some(Carried { start: Cursor { segment: segment.base, position: start }, bytes }))
    }

    /// The index of a sealed segment from its file, if that is there, whole, and of this very segment.
    pub async fn stored_index(
        &self,
        id: TopicPartition,
        segment: SegmentName,
        size: u64,
        incarnation: u32,
    ) -> Option<Index> {
        let path = self.paths.index(id, segment);
        let file = self.disk.read_file(&path, index::BYTES_MAX).await.ok()?;
        match Index::from_file(&file, segment.base) {
            Ok((index, stored)) => (stored == incarnation && index.covered() == size).then_some(index),
            Err(error) => {
                tracing::warn!(file = %path.display(), error, "an index is damaged: it is made again from its segment");
                None
            }
        }
    }

    /// The index of a segment up to `size`, from the segment.
    pub async fn index(&self, id: TopicPartition, name: SegmentName, size: u64) -> Result<Index, StoreError> {
        let segment = self.scanned(id, name, size).await?;
        Ok(segment.index.unwrap_or_else(|| Index::new(name.base)))
    }

    /// What a segment up to `size` says of itself.
    async fn scanned(&self, id: TopicPartition, name: SegmentName, size: u64) -> Result<Segment, StoreError> {
        let mut segment = Segment::new(name.base, 0);
        segment.generation = name.generation;
        self.scan(id, &mut segment, size, |_, _| ()).await?;
        Ok(segment)
    }

    /// Checks a segment's first block.
    pub async fn check_header(&self, id: TopicPartition, segment: &SegmentFacts) -> Result<(), StoreError> {
        let name = segment.name();
        let block = self.read(id, name, 0, BLOCK).await?;
        let header = Header::read((*block).as_ref()).map_err(|e| damaged_at(self.paths, id, name, 0, &e))?;
        let SegmentName { base, generation } = name;
        let expected = Header { partition: id, base, incarnation: segment.incarnation, generation };
        if header != expected {
            return Err(damaged_at(self.paths, id, name, 0, &"the header is of another segment"));
        }
        Ok(())
    }
}

/// Unless compaction has put another segment there meanwhile.
fn set_index<D: Disk, S: Derived>(log: &LogRef<D, S>, name: SegmentName, index: Index) {
    if let Some(loaded) = log.loaded.borrow_mut().as_mut()
        && let Some(segment) = loaded.segment_at(name.base).filter(|segment| segment.name() == name)
    {
        segment.index = Some(index);
    }
}

fn at_rest_segment(facts: &SegmentFacts) -> Segment {
    let mut segment = Segment::new(Offset(facts.base), facts.incarnation);
    segment.size = facts.size;
    segment.max_timestamp_ms = facts.max_timestamp_ms;
    segment.generation = facts.generation;
    segment.created = true;
    segment.index = None;
    segment
}

/// Damage, with file and position.
pub(crate) fn damaged_at(
    paths: &Paths,
    id: TopicPartition,
    segment: SegmentName,
    position: u64,
    what: &dyn std::fmt::Display,
) -> StoreError {
    StoreError::Damaged(format!("{} at byte {position}: {what}", paths.segment(id, segment).display()))
}
