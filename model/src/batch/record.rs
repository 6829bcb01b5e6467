//! The records of one batch, borrowed from its (uncompressed) payload.
#![deny(clippy::indexing_slicing)]

use super::{Header, RecordError, TimestampType, varint};
use crate::{Offset, TimestampMs};

/// One record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Record<'a> {
    /// Its offset less the batch's base offset.
    pub offset_delta: i32,
    /// Its timestamp less the batch's base timestamp.
    pub timestamp_delta: i64,
    /// The key, if it has one.
    pub key: Option<&'a [u8]>,
    /// The value; none is a tombstone.
    pub value: Option<&'a [u8]>,
    headers: &'a [u8],
    header_count: i32,
}

impl<'a> Record<'a> {
    /// Its headers in order; a key may come more than once.
    #[must_use]
    pub const fn headers(&self) -> Headers<'a> {
        Headers { rest: self.headers, left: self.header_count }
    }

    /// Its offset, given the batch that it is in.
    #[must_use]
    pub fn offset(&self, batch: &Header<'_>) -> Offset {
        Offset(batch.base_offset().0.wrapping_add(i64::from(self.offset_delta)))
    }

    /// Its timestamp, given the batch that it is in.
    #[must_use]
    pub fn timestamp(&self, batch: &Header<'_>) -> TimestampMs {
        match batch.timestamp_type() {
            TimestampType::CreateTime => {
                TimestampMs(batch.base_timestamp().0.wrapping_add(self.timestamp_delta))
            }
            TimestampType::LogAppendTime => batch.max_timestamp(),
        }
    }

    fn read(bytes: &mut &'a [u8]) -> Result<Self, RecordError> {
        let length = usize::try_from(varint::read_i32(bytes)?).map_err(|_| RecordError::NegativeLength)?;
        let (mut body, rest) = bytes.split_at_checked(length).ok_or(RecordError::Truncated)?;
        *bytes = rest;
        // From here on running out of bytes means that the length was a lie.
        Self::read_body(&mut body).map_err(|error| match error {
            RecordError::Truncated => RecordError::LengthMismatch,
            other => other,
        })
    }

    fn read_body(body: &mut &'a [u8]) -> Result<Self, RecordError> {
        let (_attributes, rest) = body.split_first().ok_or(RecordError::Truncated)?;
        *body = rest;
        let timestamp_delta = varint::read_i64(body)?;
        let offset_delta = varint::read_i32(body)?;
        let key = read_nullable(body)?;
        let value = read_nullable(body)?;
        let header_count = varint::read_i32(body)?;
        if header_count < 0 {
            return Err(RecordError::NegativeLength);
        }
        let headers = *body;
        for _ in 0..header_count {
            read_header(body)?;
        }
        if !body.is_empty() {
            return Err(RecordError::LengthMismatch);
        }
        Ok(Self { offset_delta, timestamp_delta, key, value, headers, header_count })
    }
}

/// The records of a payload, in order. Ends after the stated number, or with the first error.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    rest: &'a [u8],
    left: i32,
    /// Yielded instead of a record, once.
    refused: Option<RecordError>,
}

impl<'a> Records<'a> {
    /// Over an uncompressed `payload` whose batch states `count` records. Bytes after the last are an error too.
    #[must_use]
    pub const fn new(payload: &'a [u8], count: i32) -> Self {
        Self { rest: payload, left: count, refused: None }
    }

    pub(super) const fn compressed() -> Self {
        Self { rest: &[], left: 0, refused: Some(RecordError::Compressed) }
    }

    fn end(&mut self) -> Option<RecordError> {
        let extra = !self.rest.is_empty();
        self.rest = &[];
        self.refused.take().or(extra.then_some(RecordError::ExtraBytes))
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left <= 0 {
            return self.end().map(Err);
        }
        let record = Record::read(&mut self.rest);
        match record {
            Ok(_) => self.left -= 1,
            Err(_) => (self.left, self.rest) = (0, &[]),
        }
        Some(record)
    }
}

/// The headers of one record as (key, value). They were walked when the record was read.
#[derive(Clone, Debug)]
pub struct Headers<'a> {
    rest: &'a [u8],
    left: i32,
}

impl<'a> Iterator for Headers<'a> {
    type Item = (&'a [u8], Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.left <= 0 {
            return None;
        }
        self.left -= 1;
        read_header(&mut self.rest).ok()
    }
}

fn read_header<'a>(bytes: &mut &'a [u8]) -> Result<(&'a [u8], Option<&'a [u8]>), RecordError> {
    let key = read_nullable(bytes)?.ok_or(RecordError::NegativeLength)?;
    Ok((key, read_nullable(bytes)?))
}

/// Bytes with their length in front; any negative length is none, as Kafka reads it.
fn read_nullable<'a>(bytes: &mut &'a [u8]) -> Result<Option<&'a [u8]>, RecordError> {
    let Ok(length) = usize::try_from(varint::read_i32(bytes)?) else { return Ok(None) };
    let (field, rest) = bytes.split_at_checked(length).ok_or(RecordError::Truncated)?;
    *bytes = rest;
    Ok(Some(field))
}
