//! One log on its way to rest: what the entries replayed so far say of it.

use model::Offset;

use super::extent::Suspect;
use crate::bytes_at::len_u64;
use crate::checkpoint::AtRest;
use crate::journal::entry::{LAST, of_file_word};
use crate::journal::{Entry, EntryKind, JournalId};
use crate::segment::{Cursor, FIRST_POSITION, SegmentName};

/// Bytes of a segment that are contiguous and not written yet.
pub(crate) struct Gathered {
    pub segment: SegmentName,
    pub position: u64,
    pub bytes: Vec<u8>,
}

impl Gathered {
    pub fn start(&self) -> Cursor {
        Cursor { segment: self.segment.base, position: self.position }
    }

    pub fn end(&self) -> Cursor {
        Cursor { segment: self.segment.base, position: self.position + len_u64(self.bytes.len()) }
    }
}

/// One log on its way to rest.
pub(crate) struct Recovering {
    /// As the checkpoint had it.
    pub before: AtRest,
    pub rest: AtRest,
    pub journal: Option<JournalId>,
    /// Segments begun since: (base, size of the one before, incarnation).
    pub rolled: Vec<(Offset, u64, u32)>,
    /// The lowest point at which the log was cut off since: (end, segment).
    pub cut: Option<(Offset, Offset)>,
    /// The checkpoint's active segment was not there, and nothing has filled its beginning yet. What was copied forward does.
    pub headless: bool,
    pub gathered: Option<Gathered>,
    /// The first extent that is not there.
    pub suspect: Option<Box<Suspect>>,
}

impl Recovering {
    pub(super) fn new(rest: AtRest, journal: Option<JournalId>) -> Self {
        Self {
            before: rest,
            rest,
            journal,
            rolled: Vec::new(),
            cut: None,
            headless: false,
            gathered: None,
            suspect: None,
        }
    }

    /// A log at rest that is cut back to `rest`.
    pub fn truncated(before: AtRest, rest: AtRest) -> Self {
        Self { rest, cut: Some((rest.end, rest.segment)), ..Self::new(before, None) }
    }

    /// The incarnation of a segment that may have been begun since the checkpoint; `None`: it is older.
    pub(super) fn begun(&self, base: Offset) -> Option<u32> {
        let rolled = self.rolled.iter().rfind(|(rolled, ..)| *rolled == base);
        let active = (self.before.segment == base).then_some(self.before.segment_incarnation);
        rolled.map(|(.., incarnation)| *incarnation).or(active)
    }

    /// The file that an entry speaks of.
    pub(super) fn name(&self, entry: &Entry) -> SegmentName {
        let base = entry.segment;
        let rolled = self.rolled.iter().any(|(rolled, ..)| *rolled == base);
        let generation = match entry.kind {
            EntryKind::Redo | EntryKind::Truncate => of_file_word(entry.base_offset).1,
            _ if rolled => 0,
            _ if base == self.rest.segment => self.rest.segment_generation,
            _ => 0,
        };
        SegmentName { base, generation }
    }

    /// What an entry does to where the log stands.
    pub(super) fn take(&mut self, entry: &Entry, len: u64) {
        let rest = &mut self.rest;
        match entry.kind {
            EntryKind::Fragment | EntryKind::Extent if entry.flags & LAST == 0 => {}
            EntryKind::Append | EntryKind::Fragment | EntryKind::Extent => {
                rest.end = entry.end_offset;
                rest.segment = entry.segment;
                rest.position = entry.position + len;
            }
            EntryKind::Redo => {}
            EntryKind::Roll => {
                self.rolled.push((entry.segment, rest.position, rest.incarnation));
                rest.segment = entry.segment;
                rest.segment_generation = 0;
                rest.position = FIRST_POSITION;
            }
            EntryKind::Delete => {}
            EntryKind::LogStart => rest.log_start = rest.log_start.max(entry.base_offset),
            EntryKind::EpochStart => rest.leader_epoch = rest.leader_epoch.max(entry.leader_epoch),
            EntryKind::Truncate => {
                let cut = (entry.end_offset, entry.segment);
                self.cut = Some(self.cut.map_or(cut, |before| before.min(cut)));
                self.rolled.retain(|(base, ..)| *base <= entry.segment);
                rest.end = entry.end_offset;
                rest.segment = entry.segment;
                rest.position = entry.position;
                rest.log_start = rest.log_start.min(entry.end_offset);
                rest.compacted_to = rest.compacted_to.min(entry.end_offset);
                (rest.incarnation, rest.segment_generation) = of_file_word(entry.base_offset);
                self.clear_behind(Cursor { segment: entry.segment, position: entry.position });
            }
        }
    }
}
