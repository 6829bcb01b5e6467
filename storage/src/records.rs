//! The records of a batch one after the other: where they are ([`plain`]), or as they come out of their codec ([`Records`]), one held at
//! a time.
#![deny(clippy::indexing_slicing)]

pub(crate) mod plain;

use std::io::{self, Read, Write};

use model::batch::{RecordBatch, varint};
use model::limits::DECOMPRESSED_BYTES_MAX;

use crate::decompress::{self, corrupt};

/// A larger record is not looked into.
pub(crate) const RECORD_BYTES_MAX: usize = 32 << 20;
/// No length of a record takes more.
const LENGTH_BYTES_MAX: usize = 5;
/// Bytes that are asked of a codec at a time.
const READ_BYTES: usize = 64 << 10;

/// Records under way.
pub(crate) struct Records<'a> {
    source: Box<dyn Read + Send + 'a>,
    left: i32,
    /// The next one has this offset delta or a larger one.
    next_delta: i32,
    last_offset_delta: i32,
    /// A larger record is not looked into.
    record_bytes_max: usize,
    /// What came and is not done with is `from..to` of it.
    held: Vec<u8>,
    from: usize,
    to: usize,
}

/// One of them.
#[derive(Clone, Copy)]
pub(crate) struct Record<'a> {
    /// All but its length.
    body: &'a [u8],
    /// What follows its timestamp.
    rest: &'a [u8],
    pub timestamp_delta: i64,
    pub offset_delta: i32,
    pub key: Option<&'a [u8]>,
    pub has_value: bool,
}

impl<'a> Records<'a> {
    pub fn of(batch: &RecordBatch<'a>) -> io::Result<Self> {
        let compression = batch.compression().map_err(|error| corrupt(&error.to_string()))?;
        let source = decompress::reader(compression, batch.payload(), DECOMPRESSED_BYTES_MAX)?;
        Ok(Self {
            source,
            left: batch.record_count(),
            next_delta: 0,
            last_offset_delta: batch.last_offset_delta(),
            record_bytes_max: RECORD_BYTES_MAX,
            held: Vec::new(),
            from: 0,
            to: 0,
        })
    }

    /// The same of a batch with no record larger than this.
    pub fn up_to(batch: &RecordBatch<'a>, record_bytes_max: usize) -> io::Result<Self> {
        Ok(Self { record_bytes_max: record_bytes_max.min(RECORD_BYTES_MAX), ..Self::of(batch)? })
    }

    /// The next one; none behind the last. An error says that the batch is not what it should be.
    pub fn next(&mut self) -> io::Result<Option<Record<'_>>> {
        if self.left <= 0 {
            return match self.from < self.to || self.more()? {
                false => Ok(None),
                true => Err(corrupt("there is something behind the last record")),
            };
        }
        self.left -= 1;
        let length = self.length()?;
        self.await_bytes(length)?;
        let body = self.held.get(self.from..self.from + length).unwrap_or_default();
        self.from += length;
        Record::in_batch(body, &mut self.next_delta, self.last_offset_delta).map(Some)
    }

    fn length(&mut self) -> io::Result<usize> {
        loop {
            let held = self.held.get(self.from..self.to).unwrap_or_default();
            if let Some((length, bytes)) = length_of(held, self.record_bytes_max)? {
                self.from += bytes;
                return Ok(length);
            }
            if !self.more()? {
                return Err(ends_early());
            }
        }
    }

    /// Waits until so many bytes are there.
    fn await_bytes(&mut self, count: usize) -> io::Result<()> {
        while self.to - self.from < count {
            if !self.more()? {
                return Err(ends_early());
            }
        }
        Ok(())
    }

    /// Gets some more; false when that was all. Memory grows with what has come, not with what a length says.
    fn more(&mut self) -> io::Result<bool> {
        if self.from > 0 {
            self.held.copy_within(self.from..self.to, 0);
            (self.from, self.to) = (0, self.to - self.from);
        }
        if self.to == self.held.len() {
            let most = self.record_bytes_max.saturating_add(READ_BYTES);
            let grown = (2 * self.held.len()).clamp(READ_BYTES, most);
            self.held.reserve_exact(grown - self.held.len());
            self.held.resize(grown, 0);
        }
        let room = self.held.get_mut(self.to..).unwrap_or_default();
        let read = self.source.read(room)?;
        self.to += read;
        Ok(read > 0)
    }
}

impl<'a> Record<'a> {
    /// One that must be within its batch, behind those before: whoever counts on ascending offsets would go wrong.
    fn in_batch(body: &'a [u8], next_delta: &mut i32, last_offset_delta: i32) -> io::Result<Self> {
        let record = Self::parse(body).ok_or_else(|| corrupt("a record cannot be read"))?;
        if !(*next_delta..=last_offset_delta).contains(&record.offset_delta) {
            return Err(corrupt("a record is out of its place in the batch"));
        }
        *next_delta = record.offset_delta.saturating_add(1);
        Ok(record)
    }

    fn parse(body: &'a [u8]) -> Option<Self> {
        let (_attributes, mut rest) = body.split_first()?;
        let timestamp_delta = varint::read_i64(&mut rest).ok()?;
        let behind = rest;
        let offset_delta = varint::read_i32(&mut rest).ok()?;
        let key = field(&mut rest)?;
        let has_value = field(&mut rest)?.is_some();
        Some(Self { body, rest: behind, timestamp_delta, offset_delta, key, has_value })
    }

    /// As it was.
    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        write_length(self.body.len(), out)?;
        out.write_all(self.body)
    }

    /// With another timestamp delta.
    pub fn write_at(&self, timestamp_delta: i64, out: &mut impl Write) -> io::Result<()> {
        let time = varint::encode(timestamp_delta);
        let (attributes, _) = self.body.split_at(1.min(self.body.len()));
        write_length(attributes.len() + time.bytes().len() + self.rest.len(), out)?;
        out.write_all(attributes)?;
        out.write_all(time.bytes())?;
        out.write_all(self.rest)
    }
}

fn write_length(length: usize, out: &mut impl Write) -> io::Result<()> {
    out.write_all(varint::encode(i64::try_from(length).unwrap_or(i64::MAX)).bytes())
}

/// The length of the record at the front of `bytes`, and how many bytes that takes; none when they end before.
fn length_of(bytes: &[u8], record_bytes_max: usize) -> io::Result<Option<(usize, usize)>> {
    let mut rest = bytes;
    match varint::read_i32(&mut rest) {
        Ok(length) => {
            let length = usize::try_from(length).ok().filter(|length| *length <= record_bytes_max);
            length.map(|length| Some((length, bytes.len() - rest.len()))).ok_or_else(insane)
        }
        Err(_) if bytes.len() < LENGTH_BYTES_MAX && bytes.iter().all(|byte| byte & 0x80 != 0) => Ok(None),
        Err(_) => Err(insane()),
    }
}

fn insane() -> io::Error {
    corrupt("a record has no sane length")
}

fn ends_early() -> io::Error {
    corrupt("the records end too early")
}

/// Bytes with their length in front, or none; `None` when they are not there.
fn field<'a>(bytes: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    let Ok(length) = usize::try_from(varint::read_i32(bytes).ok()?) else { return Some(None) };
    let (field, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(Some(field))
}

#[cfg(test)]
mod tests {
    use model::TimestampMs;
    use model::batch::{BatchBuilder, Compression};

    use super::plain::Plain;
    use super::*;

    fn batch() -> BatchBuilder {
        BatchBuilder::new().record(TimestampMs(100), Some(b"a"), Some(b"1")).record_with_headers(
            TimestampMs(90),
            None,
            None,
            &[(b"h", Some(b"x"))],
        )
    }

    #[test]
    fn records_come_one_by_one_and_go_back_as_they_were() {
        let bytes = batch().build();
        let (batch, _) = RecordBatch::parse(&bytes).unwrap();
        let mut records = Records::of(&batch).unwrap();
        let mut out = Vec::new();
        let first = records.next().unwrap().unwrap();
        assert_eq!((first.key, first.has_value, first.timestamp_delta), (Some(&b"a"[..]), true, 0));
        first.write(&mut out).unwrap();
        let second = records.next().unwrap().unwrap();
        assert_eq!((second.key, second.has_value, second.timestamp_delta), (None, false, -10));
        assert_eq!(second.offset_delta, 1);
        second.write(&mut out).unwrap();
        assert!(records.next().unwrap().is_none());
        assert_eq!(out, batch.payload());
    }

    #[test]
    fn records_of_every_size_come_through_what_is_held() {
        let sizes =
            [0, 1, 62, 63, 64, READ_BYTES - 10, READ_BYTES, 3 * READ_BYTES, 5, 8191, 8192, 1 << 20, 7];
        let builder = sizes.iter().fold(BatchBuilder::new(), |batch, size| {
            batch.record(TimestampMs(1), Some(&size.to_le_bytes()), Some(&vec![7; *size]))
        });
        let bytes = builder.build();
        let (batch, _) = RecordBatch::parse(&bytes).unwrap();
        let mut records = Records::of(&batch).unwrap();
        let mut plain = Plain::new(batch.payload(), &batch, 2 << 20);
        let mut out = Vec::new();
        for size in sizes {
            let record = records.next().unwrap().unwrap();
            assert_eq!(record.key, Some(&size.to_le_bytes()[..]));
            record.write(&mut out).unwrap();
            let same = plain.next().unwrap().unwrap();
            assert!(same.key == record.key && same.offset_delta == record.offset_delta);
        }
        assert!(records.next().unwrap().is_none() && plain.next().unwrap().is_none());
        assert!(out == batch.payload());
    }

    #[test]
    fn larger_records_are_not_looked_into() {
        let bytes = BatchBuilder::new().value(TimestampMs(1), &[7; 100]).build();
        let (batch, _) = RecordBatch::parse(&bytes).unwrap();
        assert!(Records::up_to(&batch, 200).unwrap().next().unwrap().is_some());
        assert!(Records::up_to(&batch, 100).unwrap().next().is_err());
        assert!(Plain::new(batch.payload(), &batch, 200).next().unwrap().is_some());
        assert!(Plain::new(batch.payload(), &batch, 100).next().is_err());
    }

    #[test]
    fn a_record_takes_another_time() {
        let bytes = batch().build();
        let (before, _) = RecordBatch::parse(&bytes).unwrap();
        let mut records = Records::of(&before).unwrap();
        let mut out = Vec::new();
        while let Some(record) = records.next().unwrap() {
            record.write_at(record.timestamp_delta - 1_000_000, &mut out).unwrap();
        }
        let times: Vec<i64> =
            model::batch::Records::new(&out, 2).map(|record| record.unwrap().timestamp_delta).collect();
        assert_eq!(times, [-1_000_000, -1_000_010]);
    }

    /// Key and value of one byte each.
    fn plain_record(offset_delta: u8) -> [u8; 9] {
        [16, 0, 0, 2 * offset_delta, 2, b'k', 2, b'v', 0]
    }

    #[test]
    fn what_is_no_batch_is_an_error() {
        let cut = |payload: &[u8]| payload[..payload.len() - 1].to_vec();
        let more = |payload: &[u8]| [payload, b"x"].concat();
        let garbage = |_: &[u8]| vec![0xff; 100];
        let turned = |_: &[u8]| [&plain_record(1)[..], &plain_record(0)].concat();
        let twice = |_: &[u8]| [&plain_record(0)[..], &plain_record(0)].concat();
        let made = [
            batch().build_compressed(Compression::None, turned),
            batch().build_compressed(Compression::None, twice),
            batch().build_compressed(Compression::None, cut),
            batch().build_compressed(Compression::None, more),
            batch().build_compressed(Compression::None, garbage),
            batch().build_compressed(Compression::Gzip, garbage),
        ];
        for bytes in made {
            let (batch, _) = RecordBatch::parse(&bytes).unwrap();
            let walk = || -> io::Result<()> {
                let mut records = Records::of(&batch)?;
                while records.next()?.is_some() {}
                Ok(())
            };
            assert!(walk().is_err());
            assert!(!Plain::new(batch.payload(), &batch, 1 << 20).is_sound());
        }
    }
}
