//! The bytes of one simulated file: blocks shared between copies, holes read as zeros, sectors that can be mixed.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::disk::random::Random;
use model::limits::BLOCK;

/// What a disk writes atomically; a torn write ends at such a boundary.
pub const SECTOR: usize = 512;

type Block = [u8; BLOCK];

/// Blocks of one write that completed: kept until a sync, shared with the live content.
#[derive(Clone, Debug)]
pub(super) struct Blocks {
    /// Number of the first block.
    first: u64,
    blocks: Vec<Rc<Block>>,
}

/// The bytes of one file. A block that is present takes space, even when it holds `None` and reads as zeros.
#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    blocks: BTreeMap<u64, Option<Rc<Block>>>,
    /// Bytes that can be read.
    pub size: u64,
}

/// How much of a write reaches the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Nothing.
    Lost,
    /// All of it.
    Kept,
    /// The sectors up to a random one.
    Prefix,
    /// Any set of sectors.
    Scattered,
}

impl Fate {
    pub fn choose(random: &mut Random) -> Self {
        match random.below(4) {
            0 => Self::Lost,
            1 => Self::Kept,
            2 => Self::Prefix,
            _ => Self::Scattered,
        }
    }
}

impl Content {
    /// Bytes of disk this file takes.
    pub fn allocated(&self) -> u64 {
        (self.blocks.len() * BLOCK) as u64
    }

    /// Bytes of disk that covering `position..position + len` would newly take.
    pub fn missing(&self, position: u64, len: u64) -> u64 {
        let (first, end) = block_range(position, len);
        (end - first - self.blocks.range(first..end).count() as u64) * BLOCK as u64
    }

    /// Takes space for a range; what was there stays.
    pub fn allocate(&mut self, position: u64, len: u64) {
        let (first, end) = block_range(position, len);
        for block in first..end {
            self.blocks.entry(block).or_insert(None);
        }
    }

    /// Cuts bytes into blocks to be put at `position`, which must be a multiple of `BLOCK`; the last block ends in zeros.
    pub fn cut(position: u64, bytes: &[u8]) -> Blocks {
        assert!(position.is_multiple_of(BLOCK as u64), "writes start at a block");
        let blocks = bytes.chunks(BLOCK).map(|chunk| {
            let mut block = [0; BLOCK];
            block[..chunk.len()].copy_from_slice(chunk);
            Rc::new(block)
        });
        Blocks { first: position / BLOCK as u64, blocks: blocks.collect() }
    }

    /// Puts whole blocks, leaving the size alone.
    pub fn put(&mut self, written: &Blocks) {
        for (block, bytes) in (written.first..).zip(&written.blocks) {
            self.blocks.insert(block, Some(bytes.clone()));
        }
    }

    /// What a write that met `fate` leaves in its blocks, given what they held; `None` when nothing of it arrived.
    pub fn mix(&self, written: &Blocks, fate: Fate, random: &mut Random) -> Option<Blocks> {
        let sectors = (written.blocks.len() * (BLOCK / SECTOR)) as u64;
        let prefix = random.below(sectors + 1);
        let mut sector = 0;
        let mut arrived = 0;
        let mut mixed = written.clone();
        for (number, block) in (written.first..).zip(&mut mixed.blocks) {
            let old = self.blocks.get(&number).and_then(Option::as_deref).unwrap_or(&[0; BLOCK]);
            for at in (0..BLOCK).step_by(SECTOR) {
                let keep = match fate {
                    Fate::Lost => false,
                    Fate::Kept => true,
                    Fate::Prefix => sector < prefix,
                    Fate::Scattered => random.one_in(2),
                };
                sector += 1;
                if keep {
                    arrived += 1;
                } else {
                    Rc::make_mut(block)[at..at + SECTOR].copy_from_slice(&old[at..at + SECTOR]);
                }
            }
        }
        (arrived > 0).then_some(mixed)
    }

    /// Reads what there is of `len` bytes at `position`.
    pub fn read(&self, position: u64, len: usize) -> Vec<u8> {
        let end = self.size.min(position.saturating_add(len as u64));
        let mut bytes = Vec::new();
        let mut at = position;
        while at < end {
            let inside = usize::try_from(at % BLOCK as u64).expect("below BLOCK");
            let take = (BLOCK - inside).min(usize::try_from(end - at).expect("at most len"));
            match self.blocks.get(&(at / BLOCK as u64)) {
                Some(Some(block)) => bytes.extend_from_slice(&block[inside..inside + take]),
                _ => bytes.resize(bytes.len() + take, 0),
            }
            at += take as u64;
        }
        bytes
    }

    /// What is not zero, by position, as far as it can be read.
    pub fn filled(&self) -> impl Iterator<Item = (u64, &[u8])> {
        self.blocks.iter().filter_map(|(number, block)| {
            let position = number * BLOCK as u64;
            let len = usize::try_from(self.size.saturating_sub(position)).unwrap_or(BLOCK).min(BLOCK);
            let bytes = &block.as_deref()?[..len];
            bytes.iter().any(|byte| *byte != 0).then_some((position, bytes))
        })
    }

    /// Gives back every block.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Zeros what lies past the size, where a lost size cut off data that arrived.
    pub fn trim(&mut self) {
        let whole = self.size.div_ceil(BLOCK as u64);
        self.blocks.split_off(&whole);
        let tail = usize::try_from(self.size % BLOCK as u64).expect("below BLOCK");
        if tail > 0
            && let Some(Some(block)) = self.blocks.get_mut(&(whole - 1))
        {
            Rc::make_mut(block)[tail..].fill(0);
        }
    }

    /// Flips the bits of `mask` in one byte, if it is there.
    pub fn flip(&mut self, position: u64, mask: u8) {
        let inside = usize::try_from(position % BLOCK as u64).expect("below BLOCK");
        if let Some(block) = self.blocks.get_mut(&(position / BLOCK as u64)) {
            Rc::make_mut(block.get_or_insert_with(|| Rc::new([0; BLOCK])))[inside] ^= mask;
        }
    }
}

fn block_range(position: u64, len: u64) -> (u64, u64) {
    (position / BLOCK as u64, position.saturating_add(len).div_ceil(BLOCK as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full(byte: u8, blocks: usize) -> Blocks {
        Content::cut(0, &vec![byte; blocks * BLOCK])
    }

    #[test]
    fn holes_read_as_zeros_and_reads_end_at_the_size() {
        let mut content = Content::default();
        content.put(&Content::cut(BLOCK as u64, b"abc"));
        content.size = BLOCK as u64 + 2;
        let bytes = content.read(0, 3 * BLOCK);
        assert_eq!(bytes.len(), BLOCK + 2);
        assert!(bytes[..BLOCK].iter().all(|byte| *byte == 0));
        assert_eq!(&bytes[BLOCK..], b"ab");
        assert!(content.read(5 * BLOCK as u64, BLOCK).is_empty());
    }

    #[test]
    fn mixing_happens_at_sectors_and_nowhere_else() {
        let mut random = Random::new(1);
        let mut content = Content::default();
        content.put(&full(1, 2));
        content.size = 2 * BLOCK as u64;
        let mut torn = 0;
        for _ in 0..50 {
            for fate in [Fate::Prefix, Fate::Scattered] {
                let mut after = content.clone();
                if let Some(mixed) = content.mix(&full(2, 2), fate, &mut random) {
                    after.put(&mixed);
                }
                let bytes = after.read(0, 2 * BLOCK);
                let sectors: Vec<u8> = bytes.chunks(SECTOR).map(|sector| sector[0]).collect();
                assert!(bytes.chunks(SECTOR).all(|sector| sector.iter().all(|byte| *byte == sector[0])));
                torn += u32::from(sectors.contains(&1) && sectors.contains(&2));
                if fate == Fate::Prefix {
                    assert!(sectors.is_sorted_by(|left, right| left >= right), "{sectors:?}");
                }
            }
        }
        assert!(torn > 50);
        assert!(content.mix(&full(2, 2), Fate::Lost, &mut random).is_none());
    }

    #[test]
    fn a_lost_size_hides_data_for_good() {
        let mut content = Content::default();
        content.put(&full(9, 2));
        content.size = 100;
        content.trim();
        content.size = 2 * BLOCK as u64;
        let bytes = content.read(0, 2 * BLOCK);
        assert!(bytes[..100].iter().all(|byte| *byte == 9) && bytes[100..].iter().all(|byte| *byte == 0));
        assert_eq!(content.allocated(), BLOCK as u64);
    }

    #[test]
    fn space_is_counted_once() {
        let mut content = Content::default();
        assert_eq!(content.missing(0, 3 * BLOCK as u64), 3 * BLOCK as u64);
        content.allocate(0, 2 * BLOCK as u64);
        content.put(&full(1, 1));
        assert_eq!(
            (content.allocated(), content.missing(0, 3 * BLOCK as u64)),
            (2 * BLOCK as u64, BLOCK as u64)
        );
    }
}
