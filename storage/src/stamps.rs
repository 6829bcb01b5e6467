//! Looking a timestamp up among the records of a compressed batch, with the memory of one buffer: nothing but the numbers at
//! the front of each record is looked at, and everything else is passed over as it is decompressed.
//!
//! It takes time in proportion to the records, so it goes in steps: whoever runs them on a thread where it may block lets
//! others have that thread in between.
#![deny(clippy::indexing_slicing)]

use std::io::{self, Read};

use model::batch::{Header, TimestampType, varint};
use model::{Offset, TimestampMs};

use crate::decompress::corrupt;

/// Output of one read.
const BUFFER_BYTES: usize = 64 << 10;
/// Decompressed bytes of one step: some milliseconds.
const STEP_BYTES: usize = 4 << 20;
/// No record needs more for its length, attributes, time and offset.
const FRONT_BYTES_MAX: usize = 5 + 1 + 10 + 5;

/// Which record is looked for, and what makes its numbers absolute.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    base_offset: Offset,
    base_timestamp: TimestampMs,
    /// The time of all of them, when the broker set it.
    appended: Option<TimestampMs>,
    time: TimestampMs,
    start: Offset,
}

impl Wanted {
    /// The first record of `batch` at or after `time` and not before `start`.
    #[must_use]
    pub fn new(batch: &Header<'_>, time: TimestampMs, start: Offset) -> Self {
        let appended = batch.timestamp_type() == TimestampType::LogAppendTime;
        Self {
            base_offset: batch.base_offset(),
            base_timestamp: batch.base_timestamp(),
            appended: appended.then(|| batch.max_timestamp()),
            time,
            start,
        }
    }

    fn matches(&self, timestamp_delta: i64, offset_delta: i32) -> Option<(Offset, TimestampMs)> {
        let offset = Offset(self.base_offset.0.wrapping_add(i64::from(offset_delta)));
        let stamp = TimestampMs(self.base_timestamp.0.wrapping_add(timestamp_delta));
        let stamp = self.appended.unwrap_or(stamp);
        (stamp >= self.time && offset >= self.start).then_some((offset, stamp))
    }
}

/// How far a step came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// Here it is.
    Found(Offset, TimestampMs),
    /// There is none.
    None,
    /// Not found yet.
    More,
}

/// A search under way.
pub struct Search {
    records: Box<dyn Read + Send>,
    left: i32,
    wanted: Wanted,
    buffer: Vec<u8>,
    /// What of the buffer was read and not passed yet.
    at: usize,
    end: usize,
}

impl Search {
    /// Among `count` records as they were before compression.
    #[must_use]
    pub fn new(records: Box<dyn Read + Send>, count: i32, wanted: Wanted) -> Self {
        Self { records, left: count, wanted, buffer: vec![0; BUFFER_BYTES], at: 0, end: 0 }
    }

    /// Goes on for a while.
    ///
    /// # Errors
    /// When the records are not what they should be.
    pub fn step(&mut self) -> io::Result<Step> {
        let mut passed = 0;
        while passed < STEP_BYTES {
            if self.left <= 0 {
                return Ok(Step::None);
            }
            self.left -= 1;
            self.fill(FRONT_BYTES_MAX)?;
            let unread = self.buffer.get(self.at..self.end).unwrap_or_default();
            let front = front(unread).ok_or_else(|| corrupt("a record cannot be read"))?;
            if let Some((offset, stamp)) = self.wanted.matches(front.timestamp_delta, front.offset_delta) {
                return Ok(Step::Found(offset, stamp));
            }
            passed += self.pass(front.bytes)?;
        }
        Ok(Step::More)
    }

    /// Reads until this many bytes are there, or all.
    fn fill(&mut self, bytes: usize) -> io::Result<()> {
        while self.end - self.at < bytes {
            self.buffer.copy_within(self.at..self.end, 0);
            (self.at, self.end) = (0, self.end - self.at);
            if self.read()? == 0 {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Reads some more behind what is there.
    fn read(&mut self) -> io::Result<usize> {
        let read = self.records.read(self.buffer.get_mut(self.end..).unwrap_or_default())?;
        self.end += read;
        Ok(read)
    }

    /// Leaves this many bytes behind; returns them.
    fn pass(&mut self, bytes: usize) -> io::Result<usize> {
        let mut left = bytes;
        loop {
            let here = left.min(self.end - self.at);
            self.at += here;
            left -= here;
            if left == 0 {
                return Ok(bytes);
            }
            (self.at, self.end) = (0, 0);
            if self.read()? == 0 {
                return Err(corrupt("the records end too early"));
            }
        }
    }
}

struct Front {
    /// Of the whole record, its length included.
    bytes: usize,
    timestamp_delta: i64,
    offset_delta: i32,
}

fn front(bytes: &[u8]) -> Option<Front> {
    let mut rest = bytes;
    let length = usize::try_from(varint::read_i32(&mut rest).ok()?).ok()?;
    let head = bytes.len() - rest.len();
    let begun = rest.len();
    rest = rest.split_first()?.1;
    let timestamp_delta = varint::read_i64(&mut rest).ok()?;
    let offset_delta = varint::read_i32(&mut rest).ok()?;
    (begun - rest.len() <= length).then_some(Front { bytes: head + length, timestamp_delta, offset_delta })
}

#[cfg(test)]
mod tests;
