//! Which appends of a commit belong together: those of one log that follow each other.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use model::TopicPartition;
use model::limits::{BLOCK, COMMIT_BYTES_MAX, ENTRY_HEADER_BYTES};

use super::entry::{Entry, EntryKind};
use super::extent::PAYLOAD_BYTES;
use super::plan::Unit;
use crate::bytes_at::len_u64;
use crate::segment::Cursor;

/// Appends of one log that follow each other, with nothing else of it between or, if it matters, before them in their commit.
pub struct Group<L> {
    /// Whose.
    pub log: L,
    /// Where the first one begins.
    pub start: Cursor,
    /// Where the last one ends.
    pub end: u64,
    pub(super) members: Vec<(Entry, Bytes)>,
}

/// The front of a queue, in groups.
pub(super) struct Sorted<L> {
    /// Of each entry of one commit, the group it belongs to.
    pub owners: Vec<Option<usize>>,
    pub groups: Vec<Group<L>>,
}

impl<L: Clone> Sorted<L> {
    /// Looks at what one commit would take. `front_sent` bytes of the first entry are in the journal already.
    pub fn of(waiting: &VecDeque<Unit<L>>, front_sent: usize) -> Self {
        let mut sorted = Self { owners: Vec::new(), groups: Vec::new() };
        // The group that goes on; none: nothing of this log can begin one any more.
        let mut states: BTreeMap<TopicPartition, Option<usize>> = BTreeMap::new();
        let mut bytes = 0;
        for (place, unit) in waiting.iter().enumerate() {
            let entry = &unit.queued.entry;
            bytes += unit.queued.bytes.len();
            if place > 0 && bytes > COMMIT_BYTES_MAX {
                break;
            }
            let state = states.get(&entry.partition).copied();
            let whole = place > 0 || front_sent == 0;
            let owner = match entry.kind {
                EntryKind::Append if whole => sorted.group_of(unit, state),
                // They write nothing to a segment.
                EntryKind::EpochStart | EntryKind::LogStart if state.is_none() => {
                    sorted.owners.push(None);
                    continue;
                }
                _ => None,
            };
            states.insert(entry.partition, owner.filter(|_| !unit.queued.marked));
            sorted.owners.push(owner);
        }
        sorted
    }

    fn group_of(&mut self, unit: &Unit<L>, state: Option<Option<usize>>) -> Option<usize> {
        let entry = unit.queued.entry;
        let start = Cursor { segment: entry.segment, position: entry.position };
        let at = match state {
            None => {
                let log = unit.queued.log.clone();
                self.groups.push(Group { log, start, end: start.position, members: Vec::new() });
                self.groups.len() - 1
            }
            Some(at) => at?,
        };
        let group = self.groups.get_mut(at)?;
        if group.start.segment != start.segment || group.end != start.position {
            return None;
        }
        group.end += len_u64(unit.queued.bytes.len());
        group.members.push((entry, unit.queued.bytes.clone()));
        Some(at)
    }

    /// Whether what the journal gets of this fits into `room`, at a cautious guess, when the groups marked go to their segments.
    pub fn fits(&self, waiting: &VecDeque<Unit<L>>, direct: &[bool], room: u64) -> bool {
        let direct_of = |owner: &Option<usize>| owner.is_some_and(|at| direct.get(at) == Some(&true));
        let journaled = waiting.iter().zip(&self.owners).filter(|(_, owner)| !direct_of(owner));
        let entries: usize = journaled.map(|(unit, _)| ENTRY_HEADER_BYTES + unit.queued.bytes.len()).sum();
        let extents = direct.iter().filter(|direct| **direct).count();
        let bytes = entries + extents * (2 * ENTRY_HEADER_BYTES + PAYLOAD_BYTES + BLOCK);
        // What frames add: headers, padding, and a tail that is too short for the next part.
        len_u64(bytes + bytes / 8 + 16 * BLOCK) <= room
    }
}

#[cfg(test)]
mod tests {
    use super::super::commit::Queued;
    use super::*;
    use model::{OwnershipEpoch, TopicId};

    fn unit(kind: EntryKind, partition: u32, position: u64, len: usize) -> Unit<()> {
        let partition = TopicPartition { topic: TopicId([1; 16]), partition };
        let entry = Entry::of(kind, partition, OwnershipEpoch { boot: 1, moves: 0 });
        let queued =
            Queued { entry: Entry { position, ..entry }, bytes: vec![1; len].into(), marked: false, log: () };
        Unit { queued, finishes: 1, extent: None }
    }

    #[test]
    fn appends_of_a_log_are_one_group_until_something_else_of_it_comes() {
        use EntryKind::{Append, EpochStart, LogStart, Redo, Roll};
        let queue = |entries: &[(EntryKind, u32, u64, usize)]| -> VecDeque<Unit<()>> {
            entries
                .iter()
                .map(|&(kind, partition, position, len)| unit(kind, partition, position, len))
                .collect()
        };
        let sorted = |entries: &[_], sent| {
            let Sorted { owners, groups } = Sorted::of(&queue(entries), sent);
            (owners, groups.iter().map(|group| (group.start.position, group.end)).collect::<Vec<_>>())
        };
        let mixed = [(EpochStart, 1, 0, 0), (Append, 1, 5, 3), (Append, 2, 7, 1), (Append, 1, 8, 4)];
        assert_eq!(sorted(&mixed, 0), (vec![None, Some(0), Some(1), Some(0)], vec![(5, 12), (7, 8)]));
        let rolled = [(Append, 1, 5, 3), (Roll, 1, 0, 0), (Append, 1, 8, 4)];
        assert_eq!(sorted(&rolled, 0), (vec![Some(0), None, None], vec![(5, 8)]));
        let started = [(LogStart, 1, 0, 0), (Append, 1, 5, 3), (LogStart, 1, 0, 0), (Append, 1, 8, 4)];
        assert_eq!(sorted(&started, 0), (vec![None, Some(0), None, None], vec![(5, 8)]));
        let redone = [(Redo, 1, 0, 5), (Append, 1, 5, 3), (Append, 2, 5, 3)];
        assert_eq!(
            sorted(&redone, 0),
            (vec![None, None, Some(0)], vec![(5, 8)]),
            "its prefix must be durable first"
        );
        let halved = [(Append, 1, 5, 3), (Append, 1, 8, 4), (Append, 2, 8, 4)];
        assert_eq!(
            sorted(&halved, 1),
            (vec![None, None, Some(0)], vec![(8, 12)]),
            "the first goes on where it was"
        );
        let mut marked = queue(&[(Append, 1, 5, 3), (Append, 1, 8, 4), (Append, 1, 12, 4)]);
        marked[1].queued.marked = true;
        assert_eq!(Sorted::of(&marked, 0).owners, [Some(0), Some(0), None], "nothing behind a snapshot");
        let large = [(Append, 1, 0, COMMIT_BYTES_MAX), (Append, 1, COMMIT_BYTES_MAX as u64, 1)];
        assert_eq!(sorted(&large, 0).0, [Some(0)], "a commit ends");
    }
}
