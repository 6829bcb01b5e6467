//! One partition's log as its shard knows it: where it ends, what of it is durable, and what is still only in the journal.
//!
//! A log at rest is a checkpoint entry and a few numbers; everything else is loaded on first touch ([`crate::load`]) and
//! dropped again when idle. Positions move in this order and never overtake each other:
//!
//! ```text
//! synced <= written <= dispatched <= committed <= end
//! in the segment,      on its way   durable in  appended,
//! durably   at all     there        the journal answered to nobody yet
//! ```
//!
//! What may be read ends between the last two: at `committed`, or a sync ahead of it where the topic's settings allow that.

mod pending;
mod runs;
mod settings;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use bytes::Bytes;
use model::{LeaderEpoch, Offset, TopicPartition};

pub(crate) use pending::{Pending, PendingKind, Settle};
pub(crate) use runs::{Run, Runs};
pub use settings::{CompactionSettings, LogSettings};

use crate::checkpoint::AtRest;
use crate::compaction::Looked;
use crate::derived::{Derived, DerivedSnapshot};
use crate::disk::Disk;
use crate::index::Index;
use crate::pool::Pooled;
use crate::segment::{Cursor, FIRST_POSITION, SegmentName};
use crate::snapshot::{SegmentFacts, Snapshot};

/// Whether a log may be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    /// Not in memory.
    AtRest,
    /// Being read in; others wait.
    Loading,
    /// In memory.
    Loaded,
    /// Being truncated or put to rest; others wait.
    Busy,
    /// Deleted: nothing will be read or written again.
    Deleted,
}

/// One partition's log.
pub struct Log<D: Disk, S> {
    /// Whose.
    pub id: TopicPartition,
    pub(crate) at_rest: Cell<AtRest>,
    pub(crate) durable_end: Cell<Offset>,
    /// Bytes committed since the store was opened: what waiting fetches count by.
    pub(crate) durable_bytes: Cell<u64>,
    pub(crate) log_start: Cell<Offset>,
    pub(crate) phase: Cell<Phase>,
    /// In the flusher's queue.
    pub(crate) queued: Cell<bool>,
    /// The newest frame in memory that is known to hold something of it.
    pub(crate) last_frame: Cell<u64>,
    /// Entries on their way into the journal.
    pub(crate) under_way: Cell<u32>,
    /// Nothing goes straight to its segments before this checkpoint is stored: what replay would begin with until then is what a
    /// truncation cut off, and it would be written over the new.
    pub(crate) direct_after: Cell<u64>,
    /// Reads under way: they need the log in memory.
    pub(crate) readers: Cell<u32>,
    /// A pass of compaction is under way.
    pub(crate) compacting: Cell<bool>,
    /// It is putting segments in the place of others: the list of segments must not change meanwhile.
    pub(crate) replacing: Cell<bool>,
    /// How often it has: whoever read of the old ones looks again.
    pub(crate) replaced: Cell<u64>,
    /// When somebody looked whether there is enough to compact, and there was not.
    pub(crate) looked: Cell<Option<Looked>>,
    /// A list of its keys would have no room for what is new.
    pub(crate) unlisted: Cell<bool>,
    pub(crate) loaded: RefCell<Option<Box<Loaded<D, S>>>>,
}

/// One segment in memory.
pub(crate) struct Segment {
    pub base: Offset,
    /// Where the log leaves it, or ends; appended, not necessarily durable.
    pub size: u64,
    pub max_timestamp_ms: i64,
    /// What `segment.ms` counts from: the first batch's largest timestamp, else the time of its append. Of a segment that was sealed
    /// before the log was loaded it is not known until somebody asks ([`Store::date_new`](crate::Store::date_new)).
    pub begun_ms: Option<i64>,
    pub incarnation: u32,
    /// Which file of this base it is.
    pub generation: u32,
    /// The file exists and its header and name are durable or will be with the next sync.
    pub created: bool,
    /// Up to where space was reserved.
    pub allocated: u64,
    /// A write straight to it failed: everything goes through the journal first.
    pub journaled: bool,
    pub index: Option<Index>,
}

impl Segment {
    pub fn new(base: Offset, incarnation: u32) -> Self {
        Self {
            base,
            size: FIRST_POSITION,
            max_timestamp_ms: -1,
            begun_ms: None,
            incarnation,
            generation: 0,
            created: false,
            allocated: 0,
            journaled: false,
            index: Some(Index::new(base)),
        }
    }

    pub fn facts(&self) -> SegmentFacts {
        SegmentFacts {
            base: self.base.0,
            size: self.size,
            max_timestamp_ms: self.max_timestamp_ms,
            incarnation: self.incarnation,
            generation: self.generation,
        }
    }

    /// Its file.
    pub fn name(&self) -> SegmentName {
        SegmentName { base: self.base, generation: self.generation }
    }

    /// When it was begun, or some time later; none when nobody knows.
    pub fn begun_by(&self) -> Option<i64> {
        self.begun_ms.or(Some(self.max_timestamp_ms)).filter(|time| *time >= 0)
    }

    /// Where it ends.
    pub fn end(&self) -> Cursor {
        Cursor { segment: self.base, position: self.size }
    }
}

/// The unfinished block at the end of what is written, and what was copied forward with it.
pub(crate) struct Carried {
    /// A block's start.
    pub start: Cursor,
    pub bytes: Bytes,
}

impl Carried {
    pub fn end(&self) -> Cursor {
        Cursor { segment: self.start.segment, position: self.start.position + self.bytes.len() as u64 }
    }
}

/// One write to a segment.
pub(crate) struct Write<D: Disk> {
    /// From here, which is a block's start...
    pub start: Cursor,
    /// ...up to here.
    pub to: Cursor,
    pub buffer: Rc<Pooled<D>>,
    pub done: bool,
}

/// The state of a log at one offset, to be stored.
pub(crate) struct Mark {
    pub snapshot: Box<Snapshot>,
    /// It is the one that begins a segment.
    pub roll: bool,
}

/// Keeps a log in memory while something reads it.
pub(crate) struct Reading<'a>(&'a Cell<u32>);

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// A log in memory.
pub(crate) struct Loaded<D: Disk, S> {
    pub settings: Rc<LogSettings>,
    /// Oldest first; the last is active.
    pub segments: VecDeque<Segment>,
    /// Offset of the next append.
    pub end: Offset,
    /// The epoch of the last append.
    pub epoch: LeaderEpoch,
    pub incarnation: u32,
    pub derived: S,
    pub carried: Option<Carried>,
    /// The segment's last block is padded: its prefix goes into the journal before it is written again.
    pub redo_needed: bool,
    pub pending: VecDeque<Pending>,
    pub runs: Runs<D>,
    /// Up to here it is in the journal as far as its durability asks: written, or durable.
    pub shown: Cursor,
    /// The end of the last whole append of that: what may be read.
    pub readable: Cursor,
    /// Parts of a large append are shown, its last one is not.
    pub open_fragment: bool,
    /// Up to here it is durable in the journal: what may go to segments.
    pub committed: Cursor,
    pub dispatched: Cursor,
    pub written: Cursor,
    pub synced: Cursor,
    /// Writes on their way, in order.
    pub writes: VecDeque<Write<D>>,
    /// A commit or a large append writes to the active segment: nobody else may until it has ended.
    pub direct: bool,
    /// Segments with writes that no sync covers yet.
    pub unsynced: Vec<Offset>,
    /// Snapshots waiting for the log to be at rest up to them.
    pub marks: VecDeque<Mark>,
    /// Appended since the last mark, bytes.
    pub since_mark: u64,
    /// Wall time of the last append or read, ms.
    pub touched_ms: i64,
}

impl<D: Disk, S: Derived> Log<D, S> {
    pub(crate) fn new(id: TopicPartition, at_rest: AtRest) -> Rc<Self> {
        Rc::new(Self {
            id,
            at_rest: Cell::new(at_rest),
            durable_end: Cell::new(at_rest.end),
            durable_bytes: Cell::new(0),
            log_start: Cell::new(at_rest.log_start),
            phase: Cell::new(Phase::AtRest),
            queued: Cell::new(false),
            last_frame: Cell::new(0),
            under_way: Cell::new(0),
            direct_after: Cell::new(0),
            readers: Cell::new(0),
            compacting: Cell::new(false),
            replacing: Cell::new(false),
            replaced: Cell::new(0),
            looked: Cell::new(None),
            unlisted: Cell::new(false),
            loaded: RefCell::new(None),
        })
    }

    /// Offset after the last record on stable storage, or as far there as the log's durability asks.
    pub fn durable_end(&self) -> Offset {
        self.durable_end.get()
    }

    /// Bytes that became durable since the store was opened; only their differences mean something.
    pub fn durable_bytes(&self) -> u64 {
        self.durable_bytes.get()
    }

    /// How long nobody read or appended, in ms at wall time `now_ms`; `None` unless loaded.
    pub fn idle_ms(&self, now_ms: i64) -> Option<i64> {
        self.loaded.borrow().as_ref().map(|loaded| now_ms.saturating_sub(loaded.touched_ms))
    }

    /// Whether retention may have something to do, as far as one can tell without loading the log.
    pub fn may_retire(&self, settings: &LogSettings, now_ms: i64) -> bool {
        let rest = self.at_rest.get();
        let old =
            |time: i64| settings.retention_ms >= 0 && now_ms.saturating_sub(time) > settings.retention_ms;
        let large = u64::try_from(settings.retention_bytes).is_ok_and(|keep| self.size_bytes() > keep);
        let outlived = settings.delete_retained && (large || (rest.expires >= 0 && old(rest.expires)));
        // All that is sealed is before the log start.
        let untrimmed = rest.oldest < rest.segment && rest.segment <= self.log_start();
        self.is_loaded() || untrimmed || outlived
    }

    /// First offset.
    pub fn log_start(&self) -> Offset {
        self.log_start.get()
    }

    /// Offset after the last record appended, durable or not.
    pub fn end(&self) -> Offset {
        self.loaded.borrow().as_ref().map_or_else(|| self.at_rest.get().end, |loaded| loaded.end)
    }

    /// Whether it is in memory.
    pub fn is_loaded(&self) -> bool {
        self.phase.get() == Phase::Loaded
    }

    /// Whether it was deleted.
    pub fn is_deleted(&self) -> bool {
        self.phase.get() == Phase::Deleted
    }

    /// Looks at the state derived from the log; `None` unless loaded.
    pub fn with_derived<T>(&self, look: impl FnOnce(&S) -> T) -> Option<T> {
        self.loaded.borrow().as_ref().map(|loaded| look(&loaded.derived))
    }

    /// Changes the state derived from the log, where that is the caller's own affair (expiry); `None` unless loaded.
    pub fn with_derived_mut<T>(&self, change: impl FnOnce(&mut S) -> T) -> Option<T> {
        self.loaded.borrow_mut().as_mut().map(|loaded| change(&mut loaded.derived))
    }

    /// Puts other settings in force.
    pub fn configure(&self, settings: &Rc<LogSettings>) {
        if let Some(loaded) = self.loaded.borrow_mut().as_mut() {
            loaded.settings = Rc::clone(settings);
        }
    }

    /// The file of its segment at `base`.
    pub(crate) fn name_of(&self, base: Offset) -> SegmentName {
        self.loaded.borrow().as_ref().map_or(base.into(), |loaded| loaded.name_of(base))
    }

    /// The log stays in memory until this is dropped.
    pub(crate) fn reading(&self) -> Reading<'_> {
        self.readers.set(self.readers.get() + 1);
        Reading(&self.readers)
    }

    /// Bytes of all segments, durable or not.
    pub fn size_bytes(&self) -> u64 {
        self.loaded.borrow().as_ref().map_or_else(|| self.at_rest.get().size, |loaded| loaded.size_bytes())
    }
}

impl<D: Disk, S: Derived> Loaded<D, S> {
    pub fn active(&mut self) -> &mut Segment {
        self.segments.back_mut().expect("a log has an active segment")
    }

    pub fn end_cursor(&self) -> Cursor {
        self.segments.back().expect("a log has an active segment").end()
    }

    pub fn size_bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.size - FIRST_POSITION).sum()
    }

    /// The segment that `offset` lies in: the last that begins at or before it.
    pub fn segment_of(&self, offset: Offset) -> usize {
        self.segments.partition_point(|segment| segment.base <= offset).saturating_sub(1)
    }

    pub fn segment_at(&mut self, base: Offset) -> Option<&mut Segment> {
        let at = self.segments.binary_search_by_key(&base, |segment| segment.base).ok()?;
        self.segments.get_mut(at)
    }

    /// The file of the segment at `base`.
    pub fn name_of(&self, base: Offset) -> SegmentName {
        let at = self.segments.binary_search_by_key(&base, |segment| segment.base).ok();
        at.and_then(|at| self.segments.get(at)).map_or(base.into(), Segment::name)
    }

    /// Everything up to the end, as a snapshot.
    pub fn snapshot(&self) -> Snapshot {
        let derived: DerivedSnapshot = self.derived.snapshot();
        Snapshot { offset: self.end.0, segments: self.segments.iter().map(Segment::facts).collect(), derived }
    }

    /// Bytes committed but not given to the flusher yet.
    pub fn undispatched(&self) -> u64 {
        self.bytes_between(self.dispatched, self.committed)
    }

    /// Bytes committed but not written to a segment yet.
    pub fn unwritten(&self) -> u64 {
        self.bytes_between(self.written, self.committed)
    }

    fn bytes_between(&self, from: Cursor, to: Cursor) -> u64 {
        if from.segment == to.segment {
            return to.position.saturating_sub(from.position);
        }
        let sealed =
            self.segments.iter().filter(|segment| segment.base >= from.segment && segment.base < to.segment);
        let sum: u64 = sealed.map(|segment| segment.size - FIRST_POSITION).sum();
        sum + to.position - from.position.min(sum + to.position)
    }
}
