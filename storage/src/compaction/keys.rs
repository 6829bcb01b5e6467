//! Where each key was written last: a table of fixed size, whatever the keys are and however many.
//!
//! A key is remembered by 128 bits of two keyed hashes, so nobody can choose keys that are taken for each other, and by chance
//! 10^15 keys are not. When the table is full the pass ends there, and the next one goes on.

use std::hash::{BuildHasher, RandomState};

use model::Offset;

/// Two halves of the hash and the offset plus one: zero where nothing is.
type Slot = [u64; 3];
/// Bytes of one key in the table.
pub const SLOT_BYTES: u64 = size_of::<Slot>() as u64;
/// Slots of the smallest table.
const SLOTS_MIN: u64 = 64;

/// Offsets by key.
pub struct KeyMap {
    slots: Vec<Slot>,
    used: usize,
    hashers: [RandomState; 2],
}

impl KeyMap {
    /// An empty table in about so many bytes.
    #[must_use]
    pub fn with_memory(bytes: u64) -> Self {
        let slots = crate::bytes_at::to_usize((bytes / SLOT_BYTES).max(SLOTS_MIN));
        Self { slots: vec![[0; 3]; slots], used: 0, hashers: [RandomState::new(), RandomState::new()] }
    }

    /// Keys in it.
    #[must_use]
    pub const fn used(&self) -> usize {
        self.used
    }

    /// The key was written at `offset`, behind all that it was told before. False when the table has no room for another key; some
    /// stays free, because a full one is slow.
    #[must_use]
    pub fn put(&mut self, key: &[u8], offset: Offset) -> bool {
        let hash = self.hash(key);
        let at = self.place(hash);
        let Some(slot) = self.slots.get(at).copied() else { return false };
        if slot[2] == 0 {
            if (self.used + 1) * 10 > self.slots.len() * 9 {
                return false;
            }
            self.used += 1;
        }
        let Ok(stored) = u64::try_from(offset.0) else { return true };
        self.slots[at] = [hash[0], hash[1], stored + 1];
        true
    }

    /// Where the key was written last, as far as it was told.
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<Offset> {
        let slot = self.slots.get(self.place(self.hash(key)))?;
        slot[2].checked_sub(1).and_then(|offset| i64::try_from(offset).ok()).map(Offset)
    }

    fn hash(&self, key: &[u8]) -> [u64; 2] {
        self.hashers.each_ref().map(|hasher| hasher.hash_one(key))
    }

    /// The slot of a key, or the free one where it would go. There always is one: see [`Self::put`].
    fn place(&self, hash: [u64; 2]) -> usize {
        let count = self.slots.len();
        let mut at = crate::bytes_at::to_usize(hash[0] % count as u64);
        loop {
            let slot = self.slots[at];
            if slot[2] == 0 || (slot[0], slot[1]) == (hash[0], hash[1]) {
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
    }
}
