//! The keys of a log's records as a list, for when the table has no room for all that is new.
//!
//! For every table that is full the whole log would be read and written again. Instead it is read once, and of every record with a key
//! what is known of the key, and the offset, go to a list in a file. From that the table is filled, as often as need be, and each time the list up to
//! there is held against it; a bit for each record remembers which are not the last of their key. Then the log is written once.
//!
//! An entry is three numbers of the key, and how far its offset is behind the first one of the list, little-endian u32 all of them. The list
//! is of no use to anybody else, nor after the pass: the checksums of its pages are in memory only.
#![deny(clippy::indexing_slicing)]

use std::collections::BTreeMap;

use model::Offset;

use super::keys::{KEYS_AT_ONCE, Key, KeyMap};
use crate::bytes_at::u32_at;

/// Bytes of an entry.
const ENTRY_BYTES: usize = 16;
/// Entries that are read, and checked, together.
pub(super) const PAGE_ENTRIES: usize = PAGE_BYTES / ENTRY_BYTES;
/// Their bytes.
pub(super) const PAGE_BYTES: usize = 256 << 10;
/// A batch of more records does not go to a list: memory for its entries would have no bound.
const BATCH_RECORDS_MAX: i32 = 1 << 16;

/// A list being made.
pub(super) struct List {
    /// The first offset of it.
    first: Option<Offset>,
    /// Records from here on are new.
    new_from: Offset,
    /// Entries of records before that.
    pub old: usize,
    /// Entries so far.
    pub len: usize,
    len_max: usize,
    /// Those that are not in the file yet.
    pub bytes: Vec<u8>,
    /// Of whole pages, and the one at hand.
    checksums: Vec<u32>,
    page: crc32fast::Hasher,
    page_left: usize,
}

impl List {
    /// An empty one, for so many entries.
    pub fn new(new_from: Offset, len_max: usize) -> Self {
        Self {
            first: None,
            new_from,
            old: 0,
            len: 0,
            len_max,
            bytes: Vec::new(),
            checksums: Vec::new(),
            page: crc32fast::Hasher::new(),
            page_left: PAGE_BYTES,
        }
    }

    /// Whether a batch of so many records may come next.
    pub const fn takes(&self, records: i32) -> bool {
        records <= BATCH_RECORDS_MAX
    }

    /// A record, behind all those before. False when there is no room.
    pub fn put(&mut self, key: Key, offset: Offset) -> bool {
        let first = *self.first.get_or_insert(offset);
        let Ok(distance) = u32::try_from(offset.0 - first.0) else { return false };
        if self.len == self.len_max {
            return false;
        }
        self.len += 1;
        self.old += usize::from(offset < self.new_from);
        let [a, b, c] = key.parts();
        for part in [a, b, c, distance] {
            self.bytes.extend_from_slice(&part.to_le_bytes());
        }
        true
    }

    /// How far it goes, for [`Self::back_to`].
    pub const fn mark(&self) -> (usize, usize, usize) {
        (self.len, self.old, self.bytes.len())
    }

    /// Takes back what came since.
    pub fn back_to(&mut self, (len, old, bytes): (usize, usize, usize)) {
        (self.len, self.old) = (len, old);
        self.bytes.truncate(bytes);
    }

    /// The entries at hand are in the file from now on.
    pub fn pass(&mut self) {
        let mut left = self.bytes.as_slice();
        while !left.is_empty() {
            let (now, later) = left.split_at(left.len().min(self.page_left));
            self.page.update(now);
            self.page_left -= now.len();
            left = later;
            if self.page_left == 0 {
                self.checksums.push(std::mem::take(&mut self.page).finalize());
                self.page_left = PAGE_BYTES;
            }
        }
        self.bytes.clear();
    }

    /// Bytes of a page, as far as the list goes.
    pub const fn page_bytes(&self, page: usize) -> usize {
        let left = (self.len * ENTRY_BYTES).saturating_sub(page * PAGE_BYTES);
        if left < PAGE_BYTES { left } else { PAGE_BYTES }
    }

    /// Whether a page is what went to the file.
    pub fn is_sound(&self, page: usize, bytes: &[u8]) -> bool {
        let expected = self.checksums.get(page).copied();
        crc32fast::hash(bytes) == expected.unwrap_or_else(|| self.page.clone().finalize())
    }

    /// The first offset of it.
    pub fn first(&self) -> Offset {
        self.first.unwrap_or(Offset::ZERO)
    }
}

/// The table, filled from the list and held against it, and what came of that.
pub(super) struct Tables {
    pub keys: KeyMap,
    first: Offset,
    /// A bit for each entry.
    gone: Vec<u64>,
}

impl Tables {
    pub fn new(keys: KeyMap, list: &List) -> Self {
        Self { keys, first: list.first(), gone: vec![0; list.len.div_ceil(64)] }
    }

    /// Puts entries of a page into the table, from one of them on, until there is no more room. How many.
    pub fn fill(&mut self, page: &[u8], from: usize) -> usize {
        let mut filled = 0;
        for some in page.get(from * ENTRY_BYTES..).unwrap_or_default().chunks(KEYS_AT_ONCE * ENTRY_BYTES) {
            self.keys.fetch(entries(some, self.first).map(|(key, _)| key));
            for (key, offset) in entries(some, self.first) {
                if !self.keys.put(key, offset) {
                    return filled;
                }
                filled += 1;
            }
        }
        filled
    }

    /// Marks those of a page's entries that have a later one in the table. The first of them is the `index`th of the list; from the `to`th on there
    /// are none in the table.
    pub fn mark(&mut self, page: &[u8], index: usize, to: usize) {
        let mut at = index;
        let page = page.get(..to.saturating_sub(index) * ENTRY_BYTES).unwrap_or(page);
        for some in page.chunks(KEYS_AT_ONCE * ENTRY_BYTES) {
            self.keys.fetch(entries(some, self.first).map(|(key, _)| key));
            for (key, offset) in entries(some, self.first) {
                if self.keys.get(key).is_some_and(|last| last > offset)
                    && let Some(word) = self.gone.get_mut(at / 64)
                {
                    *word |= 1 << (at % 64);
                }
                at += 1;
            }
        }
    }

    /// What is left when the list is through; where the entries of each segment begin is known.
    pub fn marks(self, starts: BTreeMap<Offset, usize>) -> Marks {
        Marks { gone: self.gone, starts, at: 0 }
    }
}

fn entries(bytes: &[u8], first: Offset) -> impl Iterator<Item = (Key, Offset)> + '_ {
    bytes.chunks_exact(ENTRY_BYTES).map(move |entry| {
        let [a, b, c, distance] = [0, 4, 8, 12].map(|at| u32_at(entry, at));
        (Key::of([a, b, c]), Offset(first.0 + i64::from(distance)))
    })
}

/// Which records are not the last of their key: a bit for each record with a key, in the order of the log.
pub(super) struct Marks {
    gone: Vec<u64>,
    starts: BTreeMap<Offset, usize>,
    /// The next record's.
    pub at: usize,
}

impl Marks {
    /// What comes next is the beginning of a segment.
    pub fn open(&mut self, base: Offset) {
        self.at = self.starts.get(&base).copied().unwrap_or(usize::MAX);
    }

    /// Whether the next record goes.
    pub fn next_goes(&mut self) -> bool {
        let at = self.at;
        self.at = at.saturating_add(1);
        self.gone.get(at / 64).is_some_and(|word| word >> (at % 64) & 1 == 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_but_the_last_of_its_key_is_marked_whatever_the_table_holds() {
        for slots in [64, 200, 1000] {
            let mut keys = KeyMap::with_memory(slots * super::super::keys::SLOT_BYTES);
            let count = 3 * PAGE_ENTRIES / 2;
            let mut list = List::new(Offset(500), count);
            let offsets: Vec<i64> = (0..).map(|n| 10 + 2 * n).take(count).collect();
            let name = |offset: i64| (offset * 7919 % 601).to_le_bytes();
            let mut file = Vec::new();
            for offset in &offsets {
                assert!(list.put(keys.key(&name(*offset)), Offset(*offset)));
                if offset % 1000 == 0 {
                    file.extend_from_slice(&list.bytes);
                    list.pass();
                }
            }
            file.extend_from_slice(&list.bytes);
            list.pass();
            assert!(!list.put(Key::default(), Offset(1 << 20)), "it is full");
            assert_eq!((list.len, list.old), (count, 245));
            let pages: Vec<&[u8]> = file.chunks(PAGE_BYTES).collect();
            for (index, page) in pages.iter().enumerate() {
                assert!(page.len() == list.page_bytes(index) && list.is_sound(index, page));
                let mut rotten = page.to_vec();
                rotten[77] ^= 4;
                assert!(!list.is_sound(index, &rotten));
            }
            keys.clear();
            let mut tables = Tables::new(keys, &list);
            let mut from = 0;
            while from < count {
                tables.keys.clear();
                let mut to = from;
                while to < count {
                    let filled = tables.fill(pages[to / PAGE_ENTRIES], to % PAGE_ENTRIES);
                    to += filled;
                    if to % PAGE_ENTRIES != 0 {
                        break;
                    }
                }
                assert!(to > from);
                for (index, page) in pages.iter().enumerate() {
                    tables.mark(page, index * PAGE_ENTRIES, to);
                }
                from = to;
            }
            let last: BTreeMap<_, i64> = offsets.iter().map(|offset| (name(*offset), *offset)).collect();
            let mut marks = tables.marks([(Offset(10), 0), (Offset(30), 10)].into());
            for start in [0, 10] {
                marks.open(Offset(offsets[start]));
                for offset in &offsets[start..] {
                    assert_eq!(marks.next_goes(), last[&name(*offset)] > *offset, "{slots} {offset}");
                }
            }
        }
    }
}
