//! What a record carries about itself at the front of its value, little-endian:
//!
//! | bytes | |
//! |---|---|
//! | 0..8 | intended send, nanoseconds since 1970 |
//! | 8..16 | the run |
//! | 16..20 | the producer |
//! | 20..28 | number of the record among this producer's in this partition, from 0 |
//! | 28..32 | CRC-32C of the key and of the value without these four bytes |
//!
//! The first half is there for end-to-end latency, all of it for verification.

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

const TIME_BYTES: usize = 16;
const FULL_BYTES: usize = 32;
const CHECK_AT: usize = 28;

/// A record's stamp.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stamp {
    /// Intended send, nanoseconds since 1970.
    pub unix_ns: u64,
    /// The run that sent it.
    pub run: u64,
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
}

impl Stamp {
    /// Writes as much of it as `stamping` asks for; a value too short is left alone.
    pub fn write(&self, stamping: Stamping, key: &[u8], value: &mut [u8]) {
        if stamping == Stamping::None {
            return;
        }
        let Some(front) = value.first_chunk_mut::<TIME_BYTES>() else { return };
        front[..8].copy_from_slice(&self.unix_ns.to_le_bytes());
        front[8..].copy_from_slice(&self.run.to_le_bytes());
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
    pub fn time(value: &[u8]) -> Option<(u64, u64)> {
        let front = value.first_chunk::<TIME_BYTES>()?;
        Some((u64_at(front, 0), u64_at(front, 8)))
    }

    /// Everything, if the checksum is right.
    pub fn check(key: &[u8], value: &[u8]) -> Checked {
        let Some(front) = value.first_chunk::<FULL_BYTES>() else { return Checked::Damaged };
        let stored = u32::from_le_bytes([front[28], front[29], front[30], front[31]]);
        if stored != check(key, value) {
            return Checked::Damaged;
        }
        Checked::Good(Self {
            unix_ns: u64_at(front, 0),
            run: u64_at(front, 8),
            producer: u32::from_le_bytes([front[16], front[17], front[18], front[19]]),
            sequence: u64_at(front, 20),
        })
    }
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(<[u8]>::first_chunk).copied().map_or(0, u64::from_le_bytes)
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
        assert_eq!(Stamp::check(b"key", &value), Checked::Good(stamp));
        assert_eq!(Stamp::time(&value), Some((5, 6)));
        assert_eq!(Stamp::check(b"kez", &value), Checked::Damaged);
        for at in 0..value.len() {
            let mut damaged = value.clone();
            damaged[at] ^= 1;
            assert_eq!(Stamp::check(b"key", &damaged), Checked::Damaged, "byte {at}");
            assert_eq!(Stamp::check(b"key", &value[..at.min(31)]), Checked::Damaged);
        }
        let mut half = vec![9; 40];
        stamp.write(Stamping::Time, b"key", &mut half);
        assert_eq!((Stamp::time(&half), &half[16..]), (Some((5, 6)), &[9; 24][..]));
    }
}
