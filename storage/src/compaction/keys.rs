//! Where each key was written last: a table of fixed size, whatever the keys are and however many.
//!
//! A key is remembered by 64 bits of a keyed hash, where another one says, so nobody can choose keys that are taken for each other, and by
//! chance one in 10^17 that are looked for is. When the table is full the pass ends there, and the next one goes on: what more a key took
//! would be paid for in passes.

use std::hash::{BuildHasher, RandomState};

use model::Offset;

use crate::bytes_at::to_usize;

/// Two parts of the hash, and one more than how far the offset is behind the first one: zero where nothing is.
type Slot = [u32; 3];
/// Bytes of one key in the table.
pub const SLOT_BYTES: u64 = size_of::<Slot>() as u64;
/// Slots of the smallest table.
const SLOTS_MIN: u64 = 64;

/// Offsets by key.
pub struct KeyMap {
    slots: Vec<Slot>,
    used: usize,
    /// The first offset that it was told.
    first: Option<Offset>,
    hashers: [RandomState; 2],
}

/// A key: where its slot would be if that were free, and what is kept of it there.
#[derive(Clone, Copy, Default)]
pub struct Key {
    home: u32,
    kept: [u32; 2],
}

impl Key {
    /// As numbers, which mean something to the table that made it.
    #[must_use]
    pub const fn parts(self) -> [u32; 3] {
        let [a, b] = self.kept;
        [self.home, a, b]
    }

    /// From its numbers.
    #[must_use]
    pub const fn of([home, a, b]: [u32; 3]) -> Self {
        Self { home, kept: [a, b] }
    }
}

/// Keys that are looked for together: see [`KeyMap::fetch`].
pub const KEYS_AT_ONCE: usize = 32;

impl KeyMap {
    /// An empty table in about so many bytes.
    #[must_use]
    pub fn with_memory(bytes: u64) -> Self {
        let slots = to_usize((bytes / SLOT_BYTES).clamp(SLOTS_MIN, u64::from(u32::MAX)));
        Self {
            slots: vec![[0; 3]; slots],
            used: 0,
            first: None,
            hashers: [RandomState::new(), RandomState::new()],
        }
    }

    /// Keys in it.
    #[must_use]
    pub const fn used(&self) -> usize {
        self.used
    }

    /// Forgets all keys. What [`Self::key`] says of them stays true.
    pub fn clear(&mut self) {
        self.slots.fill([0; 3]);
        (self.used, self.first) = (0, None);
    }

    /// What is known of a key by its hashes.
    #[must_use]
    pub fn key(&self, key: &[u8]) -> Key {
        let [home, other] = self.hashers.each_ref().map(|hasher| hasher.hash_one(key));
        let part = |bits: u64| u32::try_from(bits & u64::from(u32::MAX)).unwrap_or_default();
        // A product is far cheaper than a remainder.
        let place = (u128::from(home) * self.slots.len() as u128) >> 64;
        let place = u32::try_from(place).unwrap_or_default();
        Key { home: place, kept: [part(other), part(other >> 32)] }
    }

    /// Has the slots of these keys brought to the processor, all at the same time: the table is larger than its caches, and else each
    /// is waited for by itself.
    pub fn fetch(&self, keys: impl Iterator<Item = Key>) {
        let touch = |key: Key| self.slots.get(to_usize(key.home.into())).map_or(0, |slot| slot[2]);
        std::hint::black_box(keys.fold(0, |seen, key| seen ^ touch(key)));
    }

    /// The key was written at `offset`, behind all that it was told before. False when the table has no room for another key, or for
    /// an offset that far behind the first one; some stays free, because a full one is slow.
    #[must_use]
    pub fn put(&mut self, key: Key, offset: Offset) -> bool {
        let first = *self.first.get_or_insert(offset);
        let Some(distance) =
            u32::try_from(offset.0 - first.0).ok().and_then(|distance| distance.checked_add(1))
        else {
            return false;
        };
        let at = self.place(key);
        if self.slots[at][2] == 0 {
            if (self.used + 1) * 10 > self.slots.len() * 9 {
                return false;
            }
            self.used += 1;
        }
        let [a, b] = key.kept;
        self.slots[at] = [a, b, distance];
        true
    }

    /// Where the key was written last, as far as it was told.
    #[must_use]
    pub fn get(&self, key: Key) -> Option<Offset> {
        let slot = self.slots[self.place(key)];
        Some(Offset(self.first?.0 + i64::from(slot[2].checked_sub(1)?)))
    }

    /// The slot of a key, or the free one where it would go. There always is one: see [`Self::put`].
    fn place(&self, key: Key) -> usize {
        let count = self.slots.len();
        let mut at = to_usize(key.home.into()).min(count - 1);
        loop {
            let slot = self.slots[at];
            if slot[2] == 0 || slot[..2] == key.kept {
                return at;
            }
            at = if at + 1 == count { 0 } else { at + 1 };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(keys: &mut KeyMap, key: &[u8], offset: i64) -> bool {
        let key = keys.key(key);
        keys.fetch([key].into_iter());
        keys.put(key, Offset(offset))
    }

    fn get(keys: &KeyMap, key: &[u8]) -> Option<i64> {
        keys.get(keys.key(key)).map(|offset| offset.0)
    }

    #[test]
    fn the_last_offset_of_a_key_is_known() {
        let mut keys = KeyMap::with_memory(1 << 20);
        for offset in 0..30_000 {
            assert!(put(&mut keys, &(offset % 10_000_i64).to_le_bytes(), offset));
        }
        assert_eq!(keys.used(), 10_000);
        for key in 0..10_000_i64 {
            assert_eq!(get(&keys, &key.to_le_bytes()), Some(20_000 + key));
        }
        assert_eq!((get(&keys, b"other"), get(&keys, b"")), (None, None));
        assert!(put(&mut keys, b"", 0));
        assert_eq!(get(&keys, b""), Some(0), "an empty key is a key");
    }

    #[test]
    fn memory_stays_what_it_was() {
        let mut keys = KeyMap::with_memory(100 * SLOT_BYTES);
        let mut refused = 0;
        for key in 0..1000_i64 {
            refused += i64::from(!put(&mut keys, &key.to_le_bytes(), key));
        }
        assert_eq!((keys.used(), refused), (90, 910));
        assert!(put(&mut keys, &5_i64.to_le_bytes(), 2000), "a known key takes no room");
        assert_eq!(get(&keys, &5_i64.to_le_bytes()), Some(2000));
        assert_eq!(get(&keys, &500_i64.to_le_bytes()), None);
        assert!(put(&mut KeyMap::with_memory(0), b"a", 1), "there is a smallest table");
        let far = 5 + i64::from(u32::MAX);
        let mut keys = KeyMap::with_memory(0);
        assert!(put(&mut keys, b"a", 5) && put(&mut keys, b"b", far - 1));
        assert!(!put(&mut keys, b"a", far), "too far from the first one");
        assert_eq!((get(&keys, b"a"), get(&keys, b"b")), (Some(5), Some(far - 1)));
    }
}
