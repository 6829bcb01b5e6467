//! Zigzag variable-length integers, as inside records, read from the front of a slice.
#![deny(clippy::indexing_slicing)]

use super::RecordError;

/// Takes a signed 32-bit number off the front of `bytes`.
///
/// # Errors
/// [`RecordError::Truncated`] or [`RecordError::Varint`].
pub fn read_i32(bytes: &mut &[u8]) -> Result<i32, RecordError> {
    let raw = u32::try_from(read_raw(bytes, 32)?).map_err(|_| RecordError::Varint)?;
    Ok((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed())
}

/// Takes a signed 64-bit number off the front of `bytes`.
///
/// # Errors
/// [`RecordError::Truncated`] or [`RecordError::Varint`].
pub fn read_i64(bytes: &mut &[u8]) -> Result<i64, RecordError> {
    let raw = read_raw(bytes, 64)?;
    Ok((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed())
}

/// Seven bits a byte, least first, of a number of `width` bits.
#[inline]
fn read_raw(bytes: &mut &[u8], width: u32) -> Result<u64, RecordError> {
    // Most have one byte: deltas, short lengths.
    match bytes.split_first() {
        Some((&byte, rest)) if byte & 0x80 == 0 => {
            *bytes = rest;
            Ok(u64::from(byte))
        }
        _ => read_long(bytes, width),
    }
}

fn read_long(bytes: &mut &[u8], width: u32) -> Result<u64, RecordError> {
    let (mut value, mut shift) = (0_u64, 0);
    loop {
        let (&byte, rest) = bytes.split_first().ok_or(RecordError::Truncated)?;
        *bytes = rest;
        let bits = u64::from(byte & 0x7f);
        // The last byte may only hold what is left of the width: one bit of 64, four of 32.
        if shift >= width || (width - shift < 7 && bits >> (width - shift) != 0) {
            return Err(RecordError::Varint);
        }
        value |= bits << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
        shift += 7;
    }
}

/// A signed number as it is written. 32-bit and 64-bit ones of the same value look the same.
#[derive(Clone, Copy, Debug)]
pub struct Encoded {
    bytes: [u8; Self::BYTES_MAX],
    len: usize,
}

impl Encoded {
    /// No number takes more: 64 bits, seven a byte.
    pub const BYTES_MAX: usize = 10;

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.bytes.split_at(self.len).0
    }
}

/// The bytes of a signed number.
#[must_use]
pub fn encode(value: i64) -> Encoded {
    let mut raw = (value << 1).cast_unsigned() ^ (value >> 63).cast_unsigned();
    let mut encoded = Encoded { bytes: [0; Encoded::BYTES_MAX], len: 0 };
    for byte in &mut encoded.bytes {
        let [low, ..] = raw.to_le_bytes();
        raw >>= 7;
        encoded.len += 1;
        if raw == 0 {
            *byte = low & 0x7f;
            break;
        }
        *byte = low | 0x80;
    }
    encoded
}

/// Appends a signed number.
pub fn write(out: &mut Vec<u8>, value: i64) {
    out.extend_from_slice(encode(value).bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_survive_the_round_trip() {
        let mut numbers = vec![0, -1, 1, 63, 64, -64, -65, i64::from(i32::MAX), i64::from(i32::MIN)];
        numbers.extend((0..63).flat_map(|bit| [1_i64 << bit, -(1_i64 << bit), (1_i64 << bit) - 1]));
        numbers.extend([i64::MAX, i64::MIN]);
        for number in numbers {
            let mut out = Vec::new();
            write(&mut out, number);
            let mut bytes = out.as_slice();
            assert_eq!(read_i64(&mut bytes), Ok(number));
            assert!(bytes.is_empty());
            let short = i32::try_from(number).map_err(|_| RecordError::Varint);
            assert_eq!(read_i32(&mut out.as_slice()), short, "{number}");
        }
    }

    #[test]
    fn overlong_and_short_ones_are_refused() {
        assert_eq!(read_i32(&mut [].as_slice()), Err(RecordError::Truncated));
        assert_eq!(read_i32(&mut [0x80, 0x80].as_slice()), Err(RecordError::Truncated));
        assert_eq!(read_i32(&mut [0xff, 0xff, 0xff, 0xff, 0x0f].as_slice()), Ok(i32::MIN));
        assert_eq!(read_i32(&mut [0xff, 0xff, 0xff, 0xff, 0x1f].as_slice()), Err(RecordError::Varint));
        assert_eq!(read_i32(&mut [0x80; 9].as_slice()), Err(RecordError::Varint));
        let longest = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        assert_eq!(read_i64(&mut longest.as_slice()), Ok(i64::MIN));
        assert_eq!(read_i64(&mut [0xff; 10].as_slice()), Err(RecordError::Varint));
        assert_eq!(read_i64(&mut [0x80; 20].as_slice()), Err(RecordError::Varint));
    }
}
