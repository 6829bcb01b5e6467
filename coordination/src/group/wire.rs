//! A bounded reader and a writer of Kafka's primitive types, plain and flexible (compact lengths, tagged fields).
#![deny(clippy::indexing_slicing)]

use bytes::Bytes;

use super::record::RecordError;

/// Bytes of a string, compact ones included, as Kafka has it.
const STRING_BYTES_MAX: usize = 32_767;

/// Reads from bytes that may be anything. Nothing is allocated by a number they hold: lengths are taken from what is
/// there.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub fn take(&mut self, count: usize) -> Result<&'a [u8], RecordError> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(RecordError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], RecordError> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(RecordError::Truncated)?;
        self.rest = rest;
        Ok(*taken)
    }

    pub fn i8(&mut self) -> Result<i8, RecordError> {
        Ok(i8::from_be_bytes(self.array()?))
    }

    pub fn i16(&mut self) -> Result<i16, RecordError> {
        Ok(i16::from_be_bytes(self.array()?))
    }

    pub fn i32(&mut self) -> Result<i32, RecordError> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    pub fn i64(&mut self) -> Result<i64, RecordError> {
        Ok(i64::from_be_bytes(self.array()?))
    }

    pub fn uuid(&mut self) -> Result<[u8; 16], RecordError> {
        self.array()
    }

    /// At most five bytes, 32 bits.
    pub fn unsigned(&mut self) -> Result<u32, RecordError> {
        let mut value = 0_u64;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.array()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return u32::try_from(value).map_err(|_| RecordError::BadLength);
            }
        }
        Err(RecordError::BadLength)
    }

    /// A length or count: `None` is null.
    pub fn count(&mut self, flexible: bool) -> Result<Option<usize>, RecordError> {
        if flexible {
            return Ok(self.unsigned()?.checked_sub(1).and_then(|count| usize::try_from(count).ok()));
        }
        match self.i32()? {
            -1 => Ok(None),
            count => usize::try_from(count).map(Some).map_err(|_| RecordError::BadLength),
        }
    }

    pub fn nullable_string(&mut self, flexible: bool) -> Result<Option<String>, RecordError> {
        let length = if flexible {
            self.count(true)?
        } else {
            match self.i16()? {
                -1 => None,
                length => Some(usize::try_from(length).map_err(|_| RecordError::BadLength)?),
            }
        };
        let Some(length) = length else { return Ok(None) };
        if length > STRING_BYTES_MAX {
            return Err(RecordError::BadLength);
        }
        let text = std::str::from_utf8(self.take(length)?).map_err(|_| RecordError::NotText)?;
        Ok(Some(text.to_owned()))
    }

    pub fn string(&mut self, flexible: bool) -> Result<String, RecordError> {
        self.nullable_string(flexible)?.ok_or(RecordError::BadLength)
    }

    pub fn bytes(&mut self, flexible: bool) -> Result<Bytes, RecordError> {
        let length = self.count(flexible)?.ok_or(RecordError::BadLength)?;
        Ok(Bytes::copy_from_slice(self.take(length)?))
    }

    /// Calls `known` with the tag and the bytes of each tagged field.
    pub fn tagged(
        &mut self,
        mut known: impl FnMut(u32, &mut Reader<'a>) -> Result<(), RecordError>,
    ) -> Result<(), RecordError> {
        for _ in 0..self.unsigned()? {
            let tag = self.unsigned()?;
            let size = usize::try_from(self.unsigned()?).map_err(|_| RecordError::BadLength)?;
            known(tag, &mut Reader::new(self.take(size)?))?;
        }
        Ok(())
    }
}

/// Writes what [`Reader`] reads. Strings are bounded where requests enter (`limits::NAME_BYTES_MAX`).
#[derive(Default)]
pub(crate) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    pub fn put(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    pub fn i8(&mut self, value: i8) -> &mut Self {
        self.put(&value.to_be_bytes())
    }

    pub fn i16(&mut self, value: i16) -> &mut Self {
        self.put(&value.to_be_bytes())
    }

    pub fn i32(&mut self, value: i32) -> &mut Self {
        self.put(&value.to_be_bytes())
    }

    pub fn i64(&mut self, value: i64) -> &mut Self {
        self.put(&value.to_be_bytes())
    }

    pub fn unsigned(&mut self, mut value: u32) -> &mut Self {
        while value >= 0x80 {
            let [low, ..] = value.to_le_bytes();
            self.bytes.push(low | 0x80);
            value >>= 7;
        }
        let [low, ..] = value.to_le_bytes();
        self.put(&[low])
    }

    pub fn string(&mut self, text: &str) -> &mut Self {
        let mut end = text.len().min(STRING_BYTES_MAX);
        debug_assert_eq!(end, text.len(), "bounded where it came in");
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let text = text.as_bytes().get(..end).unwrap_or_default();
        self.i16(i16::try_from(end).unwrap_or(i16::MAX)).put(text)
    }

    pub fn nullable_string(&mut self, text: Option<&str>) -> &mut Self {
        match text {
            Some(text) => self.string(text),
            None => self.i16(-1),
        }
    }

    pub fn compact_string(&mut self, text: &str) -> &mut Self {
        let length = u32::try_from(text.len()).unwrap_or(u32::MAX - 1);
        self.unsigned(length + 1).put(text.as_bytes())
    }

    pub fn compact_nullable_string(&mut self, text: Option<&str>) -> &mut Self {
        match text {
            Some(text) => self.compact_string(text),
            None => self.unsigned(0),
        }
    }

    pub fn compact_bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.compact_count(bytes.len()).put(bytes)
    }

    /// The length of a compact array that is not null.
    pub fn compact_count(&mut self, count: usize) -> &mut Self {
        self.unsigned(u32::try_from(count).unwrap_or(u32::MAX - 1) + 1)
    }

    /// One tagged field: its tag, its size and what is in it.
    pub fn tag(&mut self, tag: u32, field: &[u8]) -> &mut Self {
        self.unsigned(tag).unsigned(u32::try_from(field.len()).unwrap_or(u32::MAX)).put(field)
    }

    /// The end of a flexible structure that has no tagged field.
    pub fn untagged(&mut self) -> &mut Self {
        self.unsigned(0)
    }

    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.i32(i32::try_from(bytes.len()).unwrap_or(i32::MAX)).put(bytes)
    }

    pub fn finish(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }
}
