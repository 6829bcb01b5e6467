//! Reads fields of a frame in order, by reference: strings and records are slices of the frame.
#![deny(clippy::indexing_slicing)]

use bytes::Bytes;
use model::TopicId;

use crate::{DecodeError, Text};

/// Longest string of the protocol: its length is a signed 16-bit number, also where it is written as a varint.
const STRING_BYTES_MAX: usize = 0x7fff;

/// A cursor over `frame`. Flexible versions write lengths as varints and end each structure with tagged fields.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a> {
    frame: &'a Bytes,
    at: usize,
    end: usize,
    flexible: bool,
}

impl<'a> Reader<'a> {
    /// From byte `at` to the end.
    pub(crate) fn new(frame: &'a Bytes, at: usize, flexible: bool) -> Self {
        Self { frame, at: at.min(frame.len()), end: frame.len(), flexible }
    }

    /// Where the next field is.
    pub(crate) const fn at(&self) -> usize {
        self.at
    }

    /// Bytes that are left.
    pub(crate) const fn remaining(&self) -> usize {
        self.end - self.at
    }

    fn take(&mut self, count: usize) -> Result<std::ops::Range<usize>, DecodeError> {
        if count > self.remaining() {
            return Err(DecodeError::Truncated { at: self.at });
        }
        let range = self.at..self.at + count;
        self.at = range.end;
        Ok(range)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let at = self.at;
        let range = self.take(N)?;
        let bytes = self.frame.get(range).and_then(<[u8]>::first_chunk);
        bytes.copied().ok_or(DecodeError::Truncated { at })
    }

    pub(crate) fn i8(&mut self) -> Result<i8, DecodeError> {
        self.array().map(i8::from_be_bytes)
    }

    pub(crate) fn i16(&mut self) -> Result<i16, DecodeError> {
        self.array().map(i16::from_be_bytes)
    }

    pub(crate) fn i32(&mut self) -> Result<i32, DecodeError> {
        self.array().map(i32::from_be_bytes)
    }

    pub(crate) fn i64(&mut self) -> Result<i64, DecodeError> {
        self.array().map(i64::from_be_bytes)
    }

    pub(crate) fn uuid(&mut self) -> Result<[u8; 16], DecodeError> {
        self.array()
    }

    pub(crate) fn topic_id(&mut self) -> Result<TopicId, DecodeError> {
        self.uuid().map(TopicId)
    }

    /// An unsigned number of at most 32 bits in at most five bytes.
    pub(crate) fn uvarint(&mut self) -> Result<u32, DecodeError> {
        let at = self.at;
        let mut value = 0;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.array()?;
            let bits = u32::from(byte & 0x7f);
            if shift == 28 && bits > 0x0f {
                break;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(DecodeError::Varint { at })
    }

    /// A length in front of bytes or elements: the compact form counts from one, with zero for none.
    fn length(
        &mut self,
        legacy: fn(&mut Self) -> Result<i32, DecodeError>,
    ) -> Result<Option<usize>, DecodeError> {
        let at = self.at;
        let length = if self.flexible { i64::from(self.uvarint()?) - 1 } else { i64::from(legacy(self)?) };
        match usize::try_from(length) {
            Ok(length) => Ok(Some(length)),
            Err(_) if length == -1 => Ok(None),
            Err(_) => Err(DecodeError::Length { at, length }),
        }
    }

    pub(crate) fn nullable_string(&mut self) -> Result<Option<Text>, DecodeError> {
        let at = self.at;
        let Some(length) = self.length(|reader| reader.i16().map(i32::from))? else { return Ok(None) };
        if length > STRING_BYTES_MAX {
            return Err(DecodeError::Length { at, length: i64::try_from(length).unwrap_or(i64::MAX) });
        }
        let bytes = self.slice(length)?;
        Text::try_from(bytes).map(Some).map_err(|_| DecodeError::Utf8 { at })
    }

    pub(crate) fn string(&mut self) -> Result<Text, DecodeError> {
        let at = self.at;
        self.nullable_string()?.ok_or(DecodeError::Length { at, length: -1 })
    }

    pub(crate) fn nullable_bytes(&mut self) -> Result<Option<Bytes>, DecodeError> {
        match self.length(Self::i32)? {
            Some(length) => self.slice(length).map(Some),
            None => Ok(None),
        }
    }

    fn slice(&mut self, length: usize) -> Result<Bytes, DecodeError> {
        let range = self.take(length)?;
        Ok(self.frame.slice(range))
    }

    /// Elements one after the other, `max` at most. Nothing is reserved by the stated count: memory grows with
    /// elements that were really there.
    pub(crate) fn list<T>(
        &mut self,
        max: usize,
        mut element: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        let at = self.at;
        self.nullable_list(max, &mut element)?.ok_or(DecodeError::Length { at, length: -1 })
    }

    /// As [`Self::list`], or none.
    pub(crate) fn nullable_list<T>(
        &mut self,
        max: usize,
        mut element: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Option<Vec<T>>, DecodeError> {
        let at = self.at;
        let Some(count) = self.length(Self::i32)? else { return Ok(None) };
        if count > max {
            return Err(DecodeError::TooMany { count, max });
        }
        // Every element of the protocol takes at least one byte.
        if count > self.remaining() {
            return Err(DecodeError::Truncated { at });
        }
        let mut elements = Vec::new();
        for _ in 0..count {
            elements.push(element(self)?);
        }
        Ok(Some(elements))
    }

    /// Passes over the tagged fields that end a structure; nothing in versions without them.
    pub(crate) fn skip_tags(&mut self) -> Result<(), DecodeError> {
        self.tags(|_, _| Ok(()))
    }

    /// Gives each tagged field to `known` with a reader confined to it. What `known` does not touch is passed over;
    /// what it starts it must read to the end.
    pub(crate) fn tags(
        &mut self,
        mut known: impl FnMut(u32, &mut Self) -> Result<(), DecodeError>,
    ) -> Result<(), DecodeError> {
        if !self.flexible {
            return Ok(());
        }
        for _ in 0..self.uvarint()? {
            let tag = self.uvarint()?;
            let at = self.at;
            let size = usize::try_from(self.uvarint()?).map_err(|_| DecodeError::Truncated { at })?;
            let content = self.take(size)?;
            let mut inner = Self { at: content.start, end: content.end, ..self.clone() };
            known(tag, &mut inner)?;
            if inner.at != content.start && inner.at != content.end {
                return Err(DecodeError::Tag { tag });
            }
        }
        Ok(())
    }
}
