//! One simulated file: what readers see, what a power cut is sure to leave, and the changes in between.

use std::collections::VecDeque;

use super::content::{Blocks, Content, Fate};
use crate::disk::random::Random;

/// Something that happened to a file since it was last synced.
#[derive(Clone, Debug)]
enum Change {
    Write(Blocks),
    Allocate { position: u64, len: u64 },
    Size(u64),
    Empty,
}

/// The state of one file.
#[derive(Clone, Debug, Default)]
pub(super) struct FileNode {
    live: Content,
    durable: Content,
    /// Completed changes that no sync covered, oldest first, each with its number.
    unsynced: VecDeque<(u64, Change)>,
    change_next: u64,
    /// Open handles.
    pub handles: u32,
    /// Names in the live tree: 0 or 1.
    pub links: u32,
}

impl FileNode {
    /// An empty file with one name, open once.
    pub fn created() -> Self {
        Self { handles: 1, links: 1, ..Self::default() }
    }

    /// What a reader sees.
    pub const fn live(&self) -> &Content {
        &self.live
    }

    /// Whether everything completed is also durable.
    pub fn is_synced(&self) -> bool {
        self.unsynced.is_empty()
    }

    /// Puts blocks, then the size if `end` lies beyond it.
    pub fn write(&mut self, blocks: Blocks, end: u64) {
        self.live.put(&blocks);
        self.push(Change::Write(blocks));
        self.grow(end);
    }

    /// Takes space for a range and extends the size over it.
    pub fn allocate(&mut self, position: u64, len: u64) {
        self.live.allocate(position, len);
        self.push(Change::Allocate { position, len });
        self.grow(position + len);
    }

    /// Removes all content.
    pub fn empty(&mut self) {
        self.live.clear();
        self.push(Change::Empty);
    }

    /// Everything completed up to now has a number below or equal to this one.
    pub const fn mark(&self) -> u64 {
        self.change_next
    }

    /// Makes the changes before `mark` durable.
    pub fn persist(&mut self, mark: u64) {
        while let Some((_, change)) = self.pop_before(mark) {
            match change {
                Change::Write(blocks) => self.durable.put(&blocks),
                Change::Allocate { position, len } => self.durable.allocate(position, len),
                Change::Size(size) => self.durable.size = size,
                Change::Empty => self.durable.clear(),
            }
        }
    }

    /// A sync failed: the kernel forgets that the changes before `mark` still wait, so each is on disk or will never be.
    pub fn forsake(&mut self, mark: u64, random: &mut Random) {
        while let Some((_, change)) = self.pop_before(mark) {
            self.gamble(change, random);
        }
    }

    /// The power fails: any unsynced change may be there, whole, torn or not at all, whatever became of the others.
    pub fn power_cut(&mut self, random: &mut Random) {
        self.forsake(u64::MAX, random);
        self.durable.trim();
        self.live = self.durable.clone();
    }

    /// Flips bits of a byte at rest, which no checksum of the device notices. What waits for a sync is flipped for readers only.
    pub fn flip(&mut self, position: u64, mask: u8) {
        self.live.flip(position, mask);
        self.durable.flip(position, mask);
    }

    /// Cuts or extends the file, durably, behind the back of whoever has it open.
    pub fn set_size(&mut self, size: u64) {
        self.persist(u64::MAX);
        self.durable.size = size;
        self.durable.trim();
        self.live = self.durable.clone();
    }

    fn gamble(&mut self, change: Change, random: &mut Random) {
        let fate = Fate::choose(random);
        let survives = random.one_in(2);
        match change {
            Change::Write(blocks) => {
                if let Some(arrived) = self.durable.mix(&blocks, fate, random) {
                    self.durable.put(&arrived);
                }
            }
            Change::Allocate { position, len } if survives => self.durable.allocate(position, len),
            Change::Size(size) if survives => self.durable.size = size,
            Change::Empty if survives => self.durable.clear(),
            Change::Allocate { .. } | Change::Size(_) | Change::Empty => {}
        }
    }

    fn grow(&mut self, end: u64) {
        if end > self.live.size {
            self.live.size = end;
            self.push(Change::Size(end));
        }
    }

    fn push(&mut self, change: Change) {
        self.unsynced.push_back((self.change_next, change));
        self.change_next += 1;
    }

    fn pop_before(&mut self, mark: u64) -> Option<(u64, Change)> {
        self.unsynced.pop_front_if(|(number, _)| *number < mark)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_ends_what_a_sync_covers() {
        let mut file = FileNode::created();
        file.write(Content::cut(0, &[1]), 1);
        let mark = file.mark();
        file.write(Content::cut(0, &[2]), 1);
        file.persist(mark);
        assert_eq!((file.live.read(0, 9), file.durable.read(0, 9)), (vec![2], vec![1]));
        assert!(!file.is_synced());
        file.persist(file.mark());
        assert_eq!(file.durable.read(0, 9), [2]);
        assert!(file.is_synced());
    }
}
