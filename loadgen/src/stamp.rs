//! What a record carries about itself at the front of its value, little-endian:
//!
//! | bytes | |
//! |---|---|
//! | 0..8 | intended send, nanoseconds since 1970 |
//! | 8..12 | the run |
//! | 12..16 | a mark that says how much of this is there |
//! | 16..20 | the producer |
//! | 20..28 | number of the record among this producer's in this partition, from 0 |
//! | 28..32 | CRC-32C of the key and of the value without these four bytes |
//!
//! The first half is there for end-to-end latency, all of it for verification. The mark is what tells our records from those of others in
//! the same topic, and from our own that were sent without `--verify`. One whose mark is damaged passes for another's unless it is of
//! this very run; it is missing from its sequence then, and counts as lost.

/// How much of it records carry.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Stamping {
    /// Nothing.
    None,
    /// Time and run.
    Time,
    /// All.
    Full,
}

impl Stamping {
    /// Bytes a value needs for it.
    pub const fn bytes(self) -> usize {
        match self {
            Self::None => 0,
            Self::Time => TIME_BYTES,
            Self::Full => FULL_BYTES,
        }
    }
}

/// No text, and nothing that is common in binary data.
const TIME_MARK: [u8; 4] = [0x8d, 0xf1, 0x1a, 0xc7];
const FULL_MARK: [u8; 4] = [0xb6, 0x9e, 0xd3, 0xa5];
const MARK_AT: usize = 12;
const TIME_BYTES: usize = 16;
const FULL_BYTES: usize = 32;
const CHECK_AT: usize = 28;

/// A record's stamp.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stamp {
    /// Intended send, nanoseconds since 1970.
    pub unix_ns: u64,
    /// The run that sent it.
    pub run: u32,
    /// The producer.
    pub producer: u32,
    /// Its number among the producer's records in the partition.
    pub sequence: u64,
}

/// What a value says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Checked {
    /// Whole.
    Good(Stamp),
    /// Not what was written.
    Damaged,
    /// Not written with a stamp that could be checked: others' doing.
    Foreign,
}

impl Stamp {
    /// Writes as much of it as `stamping` asks for; a value too short is left alone.
    pub fn write(&self, stamping: Stamping, key: &[u8], value: &mut [u8]) {
        if stamping == Stamping::None {
            return;
        }
        let Some(front) = value.first_chunk_mut::<TIME_BYTES>() else { return };
        front[..8].copy_from_slice(&self.unix_ns.to_le_bytes());
        front[8..MARK_AT].copy_from_slice(&self.run.to_le_bytes());
        let mark = if stamping == Stamping::Full { FULL_MARK } else { TIME_MARK };
        front[MARK_AT..].copy_from_slice(&mark);
        if stamping == Stamping::Full
            && let Some(front) = value.first_chunk_mut::<FULL_BYTES>()
        {
            front[16..20].copy_from_slice(&self.producer.to_le_bytes());
            front[20..28].copy_from_slice(&self.sequence.to_le_bytes());
            let check = check(key, value).to_le_bytes();
            value[CHECK_AT..FULL_BYTES].copy_from_slice(&check);
        }
    }

    /// Time and run of a value that carries at least these.
    pub fn time(value: &[u8]) -> Option<(u64, u32)> {
        let front = value.first_chunk::<TIME_BYTES>()?;
        let is_marked = [TIME_MARK, FULL_MARK].iter().any(|mark| front.ends_with(mark));
        is_marked.then(|| (u64_at(front, 0), u32_at(front, 8)))
    }

    /// Everything, if the checksum is right, as seen by `run`.
    pub fn check(key: &[u8], value: &[u8], run: u32) -> Checked {
        let front = value.first_chunk::<TIME_BYTES>();
        if !front.is_some_and(|front| front.ends_with(&FULL_MARK) || u32_at(front, 8) == run) {
            return Checked::Foreign;
        }
        let Some(front) = value.first_chunk::<FULL_BYTES>() else { return Checked::Damaged };
        if u32_at(front, CHECK_AT) != check(key, value) {
            return Checked::Damaged;
        }
        Checked::Good(Self {
            unix_ns: u64_at(front, 0),
            run: u32_at(front, 8),
            producer: u32_at(front, 16),
            sequence: u64_at(front, 20),
        })
    }
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(<[u8]>::first_chunk).copied().map_or(0, u64::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(<[u8]>::first_chunk).copied().map_or(0, u32::from_le_bytes)
}

fn check(key: &[u8], value: &[u8]) -> u32 {
    let (front, back) = (&value[..CHECK_AT], &value[FULL_BYTES..]);
    crc32c::crc32c_append(crc32c::crc32c_append(crc32c::crc32c(key), front), back)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_read_back_and_damage_is_seen() {
        let stamp = Stamp { unix_ns: 5, run: 6, producer: 7, sequence: 8 };
        let mut value = vec![9; 40];
        stamp.write(Stamping::Full, b"key", &mut value);
        // By the run that wrote it, and by another.
        for run in [6, 99] {
            assert_eq!(Stamp::check(b"key", &value, run), Checked::Good(stamp));
            assert_eq!(Stamp::check(b"kez", &value, run), Checked::Damaged);
        }
        assert_eq!(Stamp::time(&value), Some((5, 6)));
        for at in 0..value.len() {
            let mut damaged = value.clone();
            damaged[at] ^= 1;
            assert_eq!(Stamp::check(b"key", &damaged, 6), Checked::Damaged, "byte {at}");
            let of_others = (MARK_AT..TIME_BYTES).contains(&at);
            let expected = if of_others { Checked::Foreign } else { Checked::Damaged };
            assert_eq!(Stamp::check(b"key", &damaged, 99), expected, "byte {at}");
        }
        for len in 0..FULL_BYTES {
            let expected = if len < TIME_BYTES { Checked::Foreign } else { Checked::Damaged };
            assert_eq!(Stamp::check(b"key", &value[..len], 6), expected, "{len} bytes");
        }
    }

    #[test]
    fn what_others_wrote_is_neither_good_nor_damaged() {
        let mut half = vec![9; 40];
        let stamp = Stamp { unix_ns: 5, run: 6, producer: 7, sequence: 8 };
        stamp.write(Stamping::Time, b"key", &mut half);
        assert_eq!((Stamp::time(&half), &half[16..]), (Some((5, 6)), &[9; 24][..]));
        for value in [&half[..], &[0; 40], &[], b"a line of text that is longer than a stamp"] {
            assert_eq!(Stamp::check(b"key", value, 99), Checked::Foreign);
        }
        assert_eq!((Stamp::time(&[0; 40]), Stamp::time(b"some text of theirs")), (None, None));
    }
}
