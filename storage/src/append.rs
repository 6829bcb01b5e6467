//! Mutations of a log: each is queued for the journal and takes effect in memory at once; it counts when durable.

use std::rc::Rc;

use bytes::Bytes;
use model::batch::Header;
use model::{LeaderEpoch, Offset, TopicPartition};

use crate::derived::Derived;
use crate::disk::Disk;
use crate::journal::entry::{LAST, file_word};
use crate::journal::{Committed, Entry, EntryKind, Queued};
use crate::log::{Loaded, Log, Mark, Phase, Run, Segment};
use crate::segment::{Cursor, FIRST_POSITION};
use crate::store::{LogRef, Store, StoreError};

/// Where a batch went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Offset of its first record.
    pub base: Offset,
    /// Offset after its last.
    pub end: Offset,
    /// Durable when [`Store::durable`] of this returns.
    pub ticket: u64,
}

impl<D: Disk, S: Derived> Store<D, S> {
    /// Appends one validated batch to a loaded log. Its base offset and leader epoch are patched on the way.
    pub fn append(
        &self,
        log: &LogRef<D, S>,
        batch: Bytes,
        epoch: LeaderEpoch,
        now_ms: i64,
    ) -> Result<Placed, StoreError> {
        let header = parse(&batch)?;
        let limit = self.options.plan.append_bytes_max();
        if batch.len() as u64 > limit {
            return Err(StoreError::TooLarge { bytes: batch.len(), limit });
        }
        if self.disk_full.get() {
            return Err(StoreError::DiskFull);
        }
        if log.phase.get() != Phase::Loaded {
            return Err(StoreError::Deleted);
        }
        let mut loaded = log.loaded.borrow_mut();
        let loaded = loaded.as_mut().ok_or(StoreError::Deleted)?;
        let len = batch.len() as u64;
        if loaded.must_roll(log.id, len, &header, now_ms) {
            self.roll(log, loaded);
        }
        self.prepare(log, loaded, epoch);
        let start = self.entry(log, loaded);
        let marked = loaded.grow(&header, epoch, now_ms, self.options.snapshot_bytes);
        let (base, end) = (start.base_offset, loaded.end);
        let entry = Entry { leader_epoch: epoch, base_offset: base, end_offset: end, ..start };
        let ticket = self.queue_marked(log, entry, batch, marked);
        Ok(Placed { base, end, ticket })
    }

    /// An entry for the log as it stands.
    pub(crate) fn entry(&self, log: &Log<D, S>, loaded: &Loaded<D, S>) -> Entry {
        let at = loaded.end_cursor();
        Entry {
            kind: EntryKind::Append,
            flags: 0,
            partition: log.id,
            ownership: self.ownership(),
            leader_epoch: loaded.epoch,
            base_offset: loaded.end,
            end_offset: loaded.end,
            segment: at.segment,
            position: at.position,
        }
    }

    /// An entry that holds the log's bytes from `at` again.
    pub(crate) fn redo(&self, log: &Log<D, S>, loaded: &Loaded<D, S>, at: Cursor) -> Entry {
        let segment = loaded.segments.iter().rfind(|segment| segment.base == at.segment);
        let (incarnation, generation) =
            segment.map_or((loaded.incarnation, 0), |segment| (segment.incarnation, segment.generation));
        Entry {
            kind: EntryKind::Redo,
            base_offset: file_word(incarnation, generation),
            segment: at.segment,
            position: at.position,
            ..self.entry(log, loaded)
        }
    }

    pub(crate) fn queue(&self, log: &LogRef<D, S>, entry: Entry, bytes: Bytes) -> u64 {
        self.queue_marked(log, entry, bytes, false)
    }

    pub(crate) fn queue_marked(&self, log: &LogRef<D, S>, entry: Entry, bytes: Bytes, marked: bool) -> u64 {
        log.under_way.set(log.under_way.get() + 1);
        self.journal.queue(Queued { entry, bytes, marked, log: Rc::clone(log) })
    }

    /// What an append needs in the journal before it: its epoch's start, and the prefix of a padded block.
    pub(crate) fn prepare(&self, log: &LogRef<D, S>, loaded: &mut Loaded<D, S>, epoch: LeaderEpoch) {
        if loaded.epoch < epoch {
            loaded.epoch = epoch;
            let entry = Entry { kind: EntryKind::EpochStart, ..self.entry(log, loaded) };
            self.queue(log, entry, Bytes::new());
        }
        if std::mem::take(&mut loaded.redo_needed)
            && let Some(carried) =
                loaded.carried.as_ref().filter(|carried| carried.start.segment == loaded.end_cursor().segment)
        {
            let entry = Entry { flags: LAST, ..self.redo(log, loaded, carried.start) };
            let bytes = carried.bytes.clone();
            self.queue(log, entry, bytes);
        }
    }

    /// Closes the active segment and begins the next one at the log's end.
    pub(crate) fn roll(&self, log: &LogRef<D, S>, loaded: &mut Loaded<D, S>) {
        let base = loaded.end;
        loaded.redo_needed = false; // A sealed segment's last block is never written again.
        let segment = Segment::new(base, loaded.incarnation);
        loaded.segments.push_back(segment);
        let entry = Entry {
            kind: EntryKind::Roll,
            base_offset: Offset(i64::from(loaded.incarnation)),
            ..self.entry(log, loaded)
        };
        self.queue(log, entry, Bytes::new());
        loaded.mark(true);
    }

    /// Moves the log start forward to `to`, which is at most the durable end. Durable on return; files go later.
    pub async fn set_log_start(&self, log: &LogRef<D, S>, to: Offset) -> Result<(), StoreError> {
        let (ticket, ahead) = {
            let loaded = log.loaded.borrow();
            let loaded =
                loaded.as_ref().filter(|_| log.phase.get() == Phase::Loaded).ok_or(StoreError::Deleted)?;
            if to > log.durable_end() {
                return Err(StoreError::OutOfRange);
            }
            if to <= log.log_start() {
                return Ok(());
            }
            let entry = Entry { kind: EntryKind::LogStart, base_offset: to, ..self.entry(log, loaded) };
            // On a full disk the journal may have no room for what waits before it, and this is what frees some. All that it
            // speaks of is durable, so it may go ahead.
            let ahead = self.is_stalled() && self.take_reserve();
            let ticket = match ahead {
                true => self.queue_ahead(log, entry),
                false => self.queue(log, entry, Bytes::new()),
            };
            (ticket, ahead)
        };
        match ahead {
            true => self.journal.durable_forward(ticket).await,
            false => self.journal.durable(ticket).await,
        }
        if log.log_start() < to {
            log.log_start.set(to);
        }
        Ok(())
    }
}

/// The header of a batch to append.
pub(crate) fn parse(batch: &[u8]) -> Result<Header<'_>, StoreError> {
    Header::parse(batch).map_err(|error| StoreError::Damaged(error.to_string()))
}

impl<D: Disk, S: Derived> Loaded<D, S> {
    /// The log has this batch at its end now. True when a snapshot was taken behind it.
    pub fn grow(
        &mut self,
        header: &Header<'_>,
        epoch: LeaderEpoch,
        now_ms: i64,
        snapshot_bytes: u64,
    ) -> bool {
        let (base, len) = (self.end, header.size_bytes() as u64);
        self.derived.observe(header, base, epoch);
        let time = header.max_timestamp();
        let segment = self.active();
        if let Some(index) = segment.index.as_mut() {
            index.observe(base, len, time);
        }
        segment.size += len;
        segment.max_timestamp_ms = segment.max_timestamp_ms.max(time.0);
        segment.begun_ms.get_or_insert(if time.0 >= 0 { time.0 } else { now_ms });
        self.end = Offset(base.0 + i64::from(header.last_offset_delta()) + 1);
        self.touched_ms = now_ms;
        self.since_mark += len;
        let marked = self.since_mark >= snapshot_bytes;
        if marked {
            self.mark(false);
        }
        marked
    }

    /// Kafka's rule: by size, by age measured in record time, or because relative offsets would overflow.
    fn must_roll(&self, log: TopicPartition, len: u64, batch: &Header<'_>, now_ms: i64) -> bool {
        let segment = self.segments.back().expect("a log has an active segment");
        let used = segment.size - FIRST_POSITION;
        if used == 0 {
            return false;
        }
        let time = if batch.max_timestamp().0 >= 0 { batch.max_timestamp().0 } else { now_ms };
        let age_max_ms = self.settings.segment_age_max_ms(log, segment.base);
        let aged = segment.begun_ms.is_some_and(|begun| time.saturating_sub(begun) > age_max_ms);
        let last = self.end.0 + i64::from(batch.last_offset_delta()) - segment.base.0;
        used + len > self.settings.segment_bytes || aged || last > i64::from(i32::MAX)
    }

    /// Remembers the state here; it is stored once the log is at rest up to here, and `roll`, if it is one, is durable too.
    pub fn mark(&mut self, roll: bool) {
        self.since_mark = 0;
        let snapshot = Box::new(self.snapshot());
        self.marks.push_back(Mark { snapshot, roll });
    }

    /// Bytes of one entry that may be read from now on. Returns the new end when the entry completes an append.
    pub fn show(&mut self, shown: &Committed<D, LogRef<D, S>>) -> Option<Offset> {
        let entry = shown.entry;
        let (first, last) = match entry.kind {
            EntryKind::Append => (true, true),
            EntryKind::Fragment | EntryKind::Extent => {
                let continues = self.shown.position == entry.position && self.open_fragment;
                (!continues, entry.flags & LAST != 0)
            }
            EntryKind::Roll => {
                self.shown = Cursor::start_of(entry.segment);
                self.readable = self.shown;
                return None;
            }
            _ => return None,
        };
        self.open_fragment = !last;
        let start = Cursor { segment: entry.segment, position: entry.position };
        self.shown = Cursor { position: entry.position + shown.len as u64, ..start };
        match &shown.extent {
            Some(extent) => self.show_extent(shown, extent),
            // It stands in the segment, and nowhere in memory.
            None if entry.kind == EntryKind::Extent => {}
            None => self.runs.push(Run {
                start,
                len: shown.len,
                base: entry.base_offset,
                end: entry.end_offset,
                first,
                last,
                sequence: shown.lsn.sequence,
                frame: Rc::clone(&shown.frame),
                frame_start: shown.start,
            }),
        }
        if last {
            self.readable = self.shown;
        }
        last.then_some(entry.end_offset)
    }

    /// The bytes of one entry are durable: the flusher may have them.
    pub fn take_committed(&mut self, committed: &Committed<D, LogRef<D, S>>) {
        let entry = &committed.entry;
        let position = match entry.kind {
            EntryKind::Append | EntryKind::Fragment | EntryKind::Extent => {
                entry.position + committed.len as u64
            }
            EntryKind::Roll => FIRST_POSITION,
            _ => return,
        };
        self.committed = Cursor { segment: entry.segment, position };
    }
}
