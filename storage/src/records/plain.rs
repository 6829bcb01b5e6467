//! The records of a batch where they are: nothing is copied, and a run of records that stay together is one piece of its payload.
#![deny(clippy::indexing_slicing)]

use std::io;
use std::ops::Range;

use model::batch::Header;

use super::{Record, ends_early, length_of};
use crate::decompress::corrupt;

/// Records under way.
#[derive(Clone)]
pub(crate) struct Plain<'a> {
    payload: &'a [u8],
    at: usize,
    left: i32,
    /// The next one has this offset delta or a larger one.
    next_delta: i32,
    last_offset_delta: i32,
    /// A larger record is not looked into.
    record_bytes_max: usize,
}

impl<'a> Plain<'a> {
    /// Those of a batch, whose payload without its codec this is.
    pub fn new(payload: &'a [u8], batch: &Header<'_>, record_bytes_max: usize) -> Self {
        let (left, last_offset_delta) = (batch.record_count(), batch.last_offset_delta());
        Self { payload, at: 0, left, next_delta: 0, last_offset_delta, record_bytes_max }
    }

    /// All of them, and those that were passed.
    pub const fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// The next one; none behind the last. An error says that the batch is not what it should be.
    pub fn next(&mut self) -> io::Result<Option<Record<'a>>> {
        let Some((start, range)) = self.step()? else { return Ok(None) };
        let body = self.payload.get(start..range.end).unwrap_or_default();
        Record::in_batch(body, &mut self.next_delta, self.last_offset_delta).map(Some)
    }

    /// Where the next one is, its length included.
    pub fn next_place(&mut self) -> io::Result<Option<Range<usize>>> {
        Ok(self.step()?.map(|(_, range)| range))
    }

    /// Whether all that are left can be read.
    pub fn is_sound(&self) -> bool {
        let mut left = self.clone();
        loop {
            match left.next() {
                Ok(Some(_)) => {}
                Ok(None) => return true,
                Err(_) => return false,
            }
        }
    }

    /// Goes behind the next one: where it begins without its length, and where it is with it.
    fn step(&mut self) -> io::Result<Option<(usize, Range<usize>)>> {
        let rest = self.payload.get(self.at..).unwrap_or_default();
        if self.left <= 0 {
            return match rest.is_empty() {
                true => Ok(None),
                false => Err(corrupt("there is something behind the last record")),
            };
        }
        self.left -= 1;
        let (length, bytes) = length_of(rest, self.record_bytes_max)?.ok_or_else(ends_early)?;
        let start = self.at + bytes;
        let end = start + length;
        if end > self.payload.len() {
            return Err(ends_early());
        }
        let range = self.at..end;
        self.at = end;
        Ok(Some((start, range)))
    }
}
