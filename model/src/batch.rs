//! Record batch v2 as a view over bytes: nothing is copied, nothing is decompressed.
//!
//! [`RecordBatch::parse`] checks shape only (length, magic, sizes) and is what a scan uses. What a client sent
//! goes through [`validate_produce`] first, which also checks the CRC and, where it can see them, the records.

pub mod builder;
mod error;
pub mod header;
pub mod record;
pub mod rewrite;
mod validate;
pub mod varint;

pub use builder::BatchBuilder;
pub use error::{BatchError, RecordError};
pub use header::{Compression, HEADER_BYTES, Header, TimestampType};
pub use record::{Headers, Record, Records};
pub use validate::{ProduceRules, validate_produce};

use std::ops::Deref;

/// One whole record batch of format v2, borrowed from the bytes it was found in.
///
/// Reads like its [`Header`]; the bytes are exactly the batch's own, header included.
#[derive(Clone, Copy, Debug)]
pub struct RecordBatch<'a> {
    header: Header<'a>,
    /// Header and payload: always `header.size_bytes()` long.
    bytes: &'a [u8],
    payload: &'a [u8],
}

impl<'a> RecordBatch<'a> {
    /// Takes the batch at the front of `bytes` and returns it with what follows it.
    ///
    /// # Errors
    /// [`BatchError::Truncated`] when `bytes` end before the batch does (ask for more), else what makes it no
    /// batch of format v2. The CRC is not looked at: see [`Self::check_crc`].
    pub fn parse(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), BatchError> {
        let header = Header::parse(bytes)?;
        let size = header.size_bytes();
        let truncated = BatchError::Truncated { needed: size, have: bytes.len() };
        let (batch, rest) = bytes.split_at_checked(size).ok_or(truncated)?;
        let (_, payload) = batch.split_at_checked(HEADER_BYTES).ok_or(truncated)?;
        Ok((Self { header: Header::parse(batch)?, bytes: batch, payload }, rest))
    }

    /// The batches that follow one another in `bytes`, ending with the first error.
    #[must_use]
    pub const fn all_in(bytes: &'a [u8]) -> Batches<'a> {
        Batches { rest: bytes, failed: false }
    }

    /// The fixed part.
    #[must_use]
    pub const fn header(&self) -> Header<'a> {
        self.header
    }

    /// The whole batch as on the wire.
    #[must_use]
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The records as on the wire: compressed unless [`Header::compression`] says otherwise.
    #[must_use]
    pub const fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// The CRC-32C of what the stored one covers: attributes to end. The base offset and the leader epoch are
    /// outside of it, so that assigning them needs no recomputation.
    #[must_use]
    pub fn compute_crc(&self) -> u32 {
        header::crc_of(self.bytes)
    }

    /// Compares the stored CRC with the bytes.
    ///
    /// # Errors
    /// [`BatchError::Crc`] with both values.
    pub fn check_crc(&self) -> Result<(), BatchError> {
        let (stored, computed) = (self.crc(), self.compute_crc());
        if stored == computed { Ok(()) } else { Err(BatchError::Crc { stored, computed }) }
    }

    /// The records of an uncompressed batch, in order; a compressed one yields [`RecordError::Compressed`] once.
    #[must_use]
    pub fn records(&self) -> Records<'a> {
        match self.compression() {
            Ok(Compression::None) => Records::new(self.payload, self.record_count()),
            _ => Records::compressed(),
        }
    }
}

impl<'a> Deref for RecordBatch<'a> {
    type Target = Header<'a>;

    fn deref(&self) -> &Header<'a> {
        &self.header
    }
}

/// Iterator of [`RecordBatch::all_in`].
#[derive(Clone, Debug)]
pub struct Batches<'a> {
    rest: &'a [u8],
    failed: bool,
}

impl<'a> Batches<'a> {
    /// What has not been yielded yet; after an error, the bytes it is about.
    #[must_use]
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

impl<'a> Iterator for Batches<'a> {
    type Item = Result<RecordBatch<'a>, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed || self.rest.is_empty() {
            return None;
        }
        match RecordBatch::parse(self.rest) {
            Ok((batch, rest)) => {
                self.rest = rest;
                Some(Ok(batch))
            }
            Err(error) => {
                self.failed = true;
                Some(Err(error))
            }
        }
    }
}

#[cfg(test)]
mod tests;
