//! Member ids: a name and a random UUID (version 4), from a seed.

use std::fmt::Write as _;

/// SplitMix64: enough to make ids that do not repeat, and the same ones for the same seed.
#[derive(Debug)]
pub(super) struct IdSource {
    state: u64,
}

impl IdSource {
    pub const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// `<uuid>`.
    pub fn uuid(&mut self) -> String {
        self.member_id("").split_off(1)
    }

    /// `<name>-<uuid>`.
    pub fn member_id(&mut self, name: &str) -> String {
        let high = self.next() & 0xffff_ffff_ffff_0fff | 0x4000;
        let low = self.next() & 0x3fff_ffff_ffff_ffff | 0x8000_0000_0000_0000;
        let mut id = String::with_capacity(name.len() + 37);
        id.push_str(name);
        let parts = (high >> 32, high >> 16 & 0xffff, high & 0xffff, low >> 48, low & 0xffff_ffff_ffff);
        // Writing to a string does not fail.
        let _ =
            write!(id, "-{:08x}-{:04x}-{:04x}-{:04x}-{:012x}", parts.0, parts.1, parts.2, parts.3, parts.4);
        id
    }
}

#[cfg(test)]
mod tests {
    use super::IdSource;

    #[test]
    fn an_id_is_a_name_and_a_version_4_uuid() {
        let mut ids = IdSource::new(7);
        for _ in 0..1000 {
            let id = ids.member_id("app");
            let uuid: Vec<&str> = id.strip_prefix("app-").unwrap().split('-').collect();
            assert_eq!(uuid.iter().map(|part| part.len()).collect::<Vec<_>>(), [8, 4, 4, 4, 12], "{id}");
            assert!(uuid[2].starts_with('4') && "89ab".contains(&uuid[3][..1]), "{id}");
        }
        assert_eq!(IdSource::new(9).member_id("a"), IdSource::new(9).member_id("a"));
        assert_ne!(IdSource::new(9).member_id("a"), ids.member_id("a"));
    }
}
