//! Values by seed.

use bytes::Bytes;
use model::{LeaderEpoch, TopicId};
use protocol::{LeaderHint, NodeEndpoint, Text, TopicRef};

/// SplitMix64: small, and the same everywhere.
pub struct Rng(u64);

impl Rng {
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    pub fn chance(&mut self) -> bool {
        self.below(2) == 0
    }

    pub fn i64(&mut self) -> i64 {
        // Small numbers and extremes as often as anything.
        match self.below(4) {
            0 => self.next().cast_signed() >> self.below(64),
            1 => -1,
            2 => [i64::MAX, i64::MIN, 0, 1][self.index(4)],
            _ => i64::from(self.i32()),
        }
    }

    pub fn i32(&mut self) -> i32 {
        let bytes = self.next().to_le_bytes();
        i32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) >> self.below(32)
    }

    pub fn i16(&mut self) -> i16 {
        let bytes = self.next().to_le_bytes();
        i16::from_le_bytes([bytes[0], bytes[1]])
    }

    pub fn index(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap()
    }

    pub fn list<T>(&mut self, max: usize, mut element: impl FnMut(&mut Self) -> T) -> Vec<T> {
        let count = self.index(max + 1);
        (0..count).map(|_| element(self)).collect()
    }

    pub fn maybe<T>(&mut self, value: impl FnOnce(&mut Self) -> T) -> Option<T> {
        if self.chance() { Some(value(self)) } else { None }
    }

    pub fn text(&mut self) -> Text {
        // Long enough at times that a compact length takes two bytes.
        let length = if self.below(8) == 0 { 200 } else { self.index(12) };
        let letters = ['a', 'z', '.', '-', 'é', '日'];
        let text: String = (0..length).map(|_| letters[self.index(letters.len())]).collect();
        Text::from(text)
    }

    pub fn bytes(&mut self, max: usize) -> Bytes {
        let length = self.index(max + 1);
        (0..length).map(|_| self.next().to_le_bytes()[0]).collect()
    }

    pub fn uuid(&mut self) -> [u8; 16] {
        (u128::from(self.next()) << 64 | u128::from(self.next())).to_be_bytes()
    }

    /// By name or by id, as `version` of Produce and Fetch has it.
    pub fn topic(&mut self, version: i16) -> TopicRef {
        if version >= 13 {
            TopicRef { name: Text::default(), id: TopicId(self.uuid()) }
        } else {
            TopicRef { name: self.text(), id: TopicId::ZERO }
        }
    }

    pub fn leader(&mut self) -> LeaderHint {
        LeaderHint { leader_id: self.i32(), leader_epoch: LeaderEpoch(self.i32()) }
    }

    pub fn endpoint(&mut self) -> NodeEndpoint {
        NodeEndpoint {
            node_id: self.i32(),
            host: self.text(),
            port: self.i16().cast_unsigned(),
            rack: self.maybe(Self::text),
        }
    }
}
