//! Where each key was written last: a table of fixed size, whatever the keys are and however many.
//!
//! A key is remembered by 96 bits of two keyed hashes, so nobody can choose keys that are taken for each other, and by chance
//! 10^12 keys are not. When the table is full the pass ends there, and the next one goes on.

use std::hash::{BuildHasher, RandomState};

use model::Offset;

/// Three parts of the hash, and one more than how far the offset is behind the first one: zero where nothing is.
type Slot = [u32; 4];
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
struct Hash {
    home: u64,
    kept: [u32; 3],
}

impl KeyMap {
    /// An empty table in about so many bytes.
    #[must_use]
    pub fn with_memory(bytes: u64) -> Self {
        let slots = crate::bytes_at::to_usize((bytes / SLOT_BYTES).max(SLOTS_MIN));
        Self {
            slots: vec![[0; 4]; slots],
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

    /// The key was written at `offset`, behind all that it was told before. False when the table has no room for another key, or for
    /// an offset that far behind the first one; some stays free, because a full one is slow.
    #[must_use]
    pub fn put(&mut self, key: &[u8], offset: Offset) -> bool {
        let first = *self.first.get_or_insert(offset);
        let Some(distance) =
            u32::try_from(offset.0 - first.0).ok().and_then(|distance| distance.checked_add(1))
        else {
            return false;
        };
        let hash = self.hash(key);
        let at = self.place(&hash);
        if self.slots[at][3] == 0 {
            if (self.used + 1) * 10 > self.slots.len() * 9 {
                return false;
            }
            self.used += 1;
        }
        let [a, b, c] = hash.kept;
        self.slots[at] = [a, b, c, distance];
        true
    }

    /// Where the key was written last, as far as it was told.
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<Offset> {
        let slot = self.slots[self.place(&self.hash(key))];
        Some(Offset(self.first?.0 + i64::from(slot[3].checked_sub(1)?)))
    }

    fn hash(&self, key: &[u8]) -> Hash {
        let [home, other] = self.hashers.each_ref().map(|hasher| hasher.hash_one(key));
        let part = |bits: u64| u32::try_from(bits & u64::from(u32::MAX)).unwrap_or_default();
        Hash { home, kept: [part(other), part(other >> 32), part(home >> 32)] }
    }

    /// The slot of a key, or the free one where it would go. There always is one: see [`Self::put`].
    fn place(&self, hash: &Hash) -> usize {
        let count = self.slots.len();
        let mut at = crate::bytes_at::to_usize(hash.home % count as u64);
        loop {
            let slot = self.slots[at];
            if slot[3] == 0 || slot[..3] == hash.kept {
                return at;
            }
            at = if at + 1 == count { 0 } else { at + 1 };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_offset_of_a_key_is_known() {
        let mut keys = KeyMap::with_memory(1 << 20);
        for offset in 0..30_000 {
            assert!(keys.put(&(offset % 10_000_i64).to_le_bytes(), Offset(offset)));
        }
        assert_eq!(keys.used(), 10_000);
        for key in 0..10_000_i64 {
            assert_eq!(keys.get(&key.to_le_bytes()), Some(Offset(20_000 + key)));
        }
        assert_eq!((keys.get(b"other"), keys.get(b"")), (None, None));
        assert!(keys.put(b"", Offset(0)));
        assert_eq!(keys.get(b""), Some(Offset(0)), "an empty key is a key");
    }

    #[test]
    fn memory_stays_what_it_was() {
        let mut keys = KeyMap::with_memory(100 * SLOT_BYTES);
        let mut refused = 0;
        for key in 0..1000_i64 {
            refused += i64::from(!keys.put(&key.to_le_bytes(), Offset(key)));
        }
        assert_eq!((keys.used(), refused), (90, 910));
        assert!(keys.put(&5_i64.to_le_bytes(), Offset(2000)), "a known key takes no room");
        assert_eq!(keys.get(&5_i64.to_le_bytes()), Some(Offset(2000)));
        assert_eq!(keys.get(&500_i64.to_le_bytes()), None);
        assert!(KeyMap::with_memory(0).put(b"a", Offset(1)), "there is a smallest table");
        let far = 5 + i64::from(u32::MAX);
        let mut keys = KeyMap::with_memory(0);
        assert!(keys.put(b"a", Offset(5)) && keys.put(b"b", Offset(far - 1)));
        assert!(!keys.put(b"a", Offset(far)), "too far from the first one");
        assert_eq!((keys.get(b"a"), keys.get(b"b")), (Some(Offset(5)), Some(Offset(far - 1))));
    }
}
