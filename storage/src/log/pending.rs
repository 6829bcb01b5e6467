//! Entries of the journal that still need it, in their order: a log is at rest up to the first of them.

use std::collections::VecDeque;

use model::{LeaderEpoch, Offset};

use super::{Loaded, Log};
use crate::checkpoint::AtRest;
use crate::derived::Derived;
use crate::disk::Disk;
use crate::journal::{Committed, EntryKind, Lsn, entry::LAST};
use crate::segment::{Cursor, FIRST_POSITION};
use crate::snapshot::Snapshot;

/// One durable entry whose effect is not at rest outside the journal.
pub(crate) struct Pending {
    pub lsn: Lsn,
    /// The ring file that holds it.
    pub file: u32,
    pub kind: PendingKind,
}

pub(crate) enum PendingKind {
    /// Bytes: at rest once the segment is synced up to `until`, or once they were copied forward.
    Bytes { until: Cursor, len: u64, end: Option<Offset>, forwarded: bool },
    /// A new active segment: at rest once a snapshot lists it.
    Roll { segment: Offset, incarnation: u32 },
    /// At rest at once: the checkpoint says it.
    LogStart { offset: Offset },
    /// At rest at once: batch headers say it.
    EpochStart { epoch: LeaderEpoch },
    /// At rest once it is carried out, which takes it off.
    Truncate,
}

/// What the oldest pending entries wait for.
pub(crate) enum Settle {
    /// Nothing more is at rest.
    Blocked,
    /// This snapshot has to be on disk first; then call `snapshot_stored`.
    Store(Box<Snapshot>),
}

impl Pending {
    /// The pending part of a committed entry.
    pub fn of<D: Disk, L>(committed: &Committed<D, L>) -> Option<Self> {
        let entry = &committed.entry;
        let until = Cursor { segment: entry.segment, position: entry.position + committed.len as u64 };
        let len = committed.len as u64;
        let kind = match entry.kind {
            EntryKind::Append => {
                PendingKind::Bytes { until, len, end: Some(entry.end_offset), forwarded: false }
            }
            EntryKind::Fragment | EntryKind::Extent => {
                let end = (entry.flags & LAST != 0).then_some(entry.end_offset);
                PendingKind::Bytes { until, len, end, forwarded: false }
            }
            // A block's prefix is needed until the block has been written anew, which ends behind it.
            EntryKind::Redo => {
                let until = Cursor { position: until.position + u64::from(entry.flags & LAST != 0), ..until };
                PendingKind::Bytes { until, len, end: None, forwarded: false }
            }
            EntryKind::Roll => {
                let incarnation = u32::try_from(entry.base_offset.0).unwrap_or(u32::MAX);
                PendingKind::Roll { segment: entry.segment, incarnation }
            }
            EntryKind::LogStart => PendingKind::LogStart { offset: entry.base_offset },
            EntryKind::EpochStart => PendingKind::EpochStart { epoch: entry.leader_epoch },
            EntryKind::Truncate => PendingKind::Truncate,
            EntryKind::Delete => return None,
        };
        Some(Self { lsn: committed.lsn, file: committed.file, kind })
    }
}

impl<D: Disk, S: Derived> Log<D, S> {
    /// Takes off everything that is at rest by now.
    pub(crate) fn settle(&self) -> Settle {
        let mut loaded = self.loaded.borrow_mut();
        let Some(loaded) = loaded.as_mut() else { return Settle::Blocked };
        let mut rest = self.at_rest.get();
        let outcome = loaded.settle_front(&mut rest);
        loaded.describe(&mut rest);
        self.at_rest.set(rest);
        outcome
    }

    /// The snapshot that `settle` asked for is durable. Returns the offset of one that nobody needs any more.
    pub(crate) fn snapshot_stored(&self, offset: Offset) -> Option<Offset> {
        let mut loaded = self.loaded.borrow_mut();
        let loaded = loaded.as_mut()?;
        let mark = loaded.marks.pop_front().expect("settling goes on mark by mark");
        let mut rest = self.at_rest.get();
        if mark.roll {
            // The roll and the snapshot that lists its segment come to rest in one step: a checkpoint with one of them is damaged.
            let roll = loaded.pending.pop_front().expect("its roll is in front");
            let PendingKind::Roll { segment, incarnation } = roll.kind else {
                panic!("its roll is in front")
            };
            rest = AtRest {
                segment,
                position: FIRST_POSITION,
                segment_incarnation: incarnation,
                segment_generation: 0,
                handled: roll.lsn,
                ..rest
            };
        }
        let before = rest.snapshot.replace(offset);
        loaded.describe(&mut rest);
        self.at_rest.set(rest);
        // Those at a segment's base stay with it: truncation starts from them.
        before.filter(|before| *before != offset && loaded.segment_at(*before).is_none())
    }
}

impl<D: Disk, S: Derived> Loaded<D, S> {
    fn settle_front(&mut self, rest: &mut AtRest) -> Settle {
        loop {
            if let Some(mark) = self.marks.front()
                && mark.snapshot.at() == rest.end
                && (!mark.roll || self.roll_in_front())
            {
                return Settle::Store(mark.snapshot.clone());
            }
            let Some(front) = self.pending.front() else { return Settle::Blocked };
            match &front.kind {
                PendingKind::Bytes { until, end, forwarded, .. } => {
                    if *until > self.synced && !forwarded {
                        return Settle::Blocked;
                    }
                    if let Some(end) = end {
                        rest.end = *end;
                        rest.segment = until.segment;
                        rest.position = until.position;
                    }
                }
                PendingKind::LogStart { offset } => rest.log_start = (*offset).max(rest.log_start),
                PendingKind::EpochStart { epoch } => rest.leader_epoch = *epoch,
                PendingKind::Roll { .. } | PendingKind::Truncate => return Settle::Blocked,
            }
            rest.handled = front.lsn;
            self.pending.pop_front();
            if self.pending.is_empty() {
                self.pending = VecDeque::new(); // There may be thousands of logs.
            }
        }
    }

    fn roll_in_front(&self) -> bool {
        self.pending.front().is_some_and(|front| matches!(front.kind, PendingKind::Roll { .. }))
    }

    /// The parts of a checkpoint entry that only describe.
    pub fn describe(&self, rest: &mut AtRest) {
        rest.incarnation = self.incarnation;
        let sealed = self.segments.iter().filter(|segment| segment.base < rest.segment);
        rest.size =
            sealed.map(|segment| segment.size - FIRST_POSITION).sum::<u64>() + rest.position - FIRST_POSITION;
        if let Some(oldest) = self.segments.front() {
            rest.oldest = oldest.base;
            rest.expires = oldest.max_timestamp_ms;
        }
    }

    /// Whether a truncation that a ring file holds has yet to be carried out.
    pub fn truncates_in(&self, file: u32) -> bool {
        self.pending
            .iter()
            .any(|pending| pending.file == file && matches!(pending.kind, PendingKind::Truncate))
    }
}
