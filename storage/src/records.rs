//! The records of a batch one after the other, decompressed as they pass: one record is held at a time.
#![deny(clippy::indexing_slicing)]

use std::io::{self, BufReader, Read};

use model::batch::{RecordBatch, varint};
use model::limits::DECOMPRESSED_BYTES_MAX;

use crate::decompress::{self, corrupt};

/// A larger record is not looked into.
pub(crate) const RECORD_BYTES_MAX: usize = 32 << 20;
/// No length of a record takes more.
const LENGTH_BYTES_MAX: usize = 5;

/// Records under way.
pub(crate) struct Records {
    source: BufReader<Box<dyn Read + Send>>,
    left: i32,
    last_offset_delta: i32,
    /// A larger record is not looked into.
    record_bytes_max: usize,
    record: Vec<u8>,
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

impl Records {
    pub fn of(batch: &RecordBatch<'_>) -> io::Result<Self> {
        let compression = batch.compression().map_err(|error| corrupt(&error.to_string()))?;
        let source = decompress::reader(compression, batch.payload().to_vec(), DECOMPRESSED_BYTES_MAX)?;
        Ok(Self {
            source: BufReader::with_capacity(64 << 10, source),
            left: batch.record_count(),
            last_offset_delta: batch.last_offset_delta(),
            record_bytes_max: RECORD_BYTES_MAX,
            record: Vec::new(),
        })
    }

    /// The same of a batch with no record larger than this.
    pub fn up_to(batch: &RecordBatch<'_>, record_bytes_max: usize) -> io::Result<Self> {
        Ok(Self { record_bytes_max: record_bytes_max.min(RECORD_BYTES_MAX), ..Self::of(batch)? })
    }

    /// The next one; none behind the last. An error says that the batch is not what it should be.
    pub fn next(&mut self) -> io::Result<Option<Record<'_>>> {
        if self.left <= 0 {
            return match self.source.read(&mut [0])? {
                0 => Ok(None),
                _ => Err(corrupt("there is something behind the last record")),
            };
        }
        self.left -= 1;
        let length = self.length()?;
        self.record.clear();
        let read = Read::by_ref(&mut self.source).take(length as u64).read_to_end(&mut self.record)?;
        if read < length {
            return Err(corrupt("the records end too early"));
        }
        let record = Record::parse(&self.record).ok_or_else(|| corrupt("a record cannot be read"))?;
        if !(0..=self.last_offset_delta).contains(&record.offset_delta) {
            return Err(corrupt("a record is outside of its batch"));
        }
        Ok(Some(record))
    }

    fn length(&mut self) -> io::Result<usize> {
        let mut bytes = [0; LENGTH_BYTES_MAX];
        for count in 1..=LENGTH_BYTES_MAX {
            let (read, _) = bytes.split_at_mut(count);
            let Some(last) = read.last_mut() else { break };
            self.source.read_exact(std::slice::from_mut(last))?;
            if *last & 0x80 == 0 {
                let length =
                    varint::read_i32(&mut &*read).ok().and_then(|length| usize::try_from(length).ok());
                return length
                    .filter(|length| *length <= self.record_bytes_max)
                    .ok_or_else(|| corrupt("a record has no sane length"));
            }
        }
        Err(corrupt("a record has no sane length"))
    }
}

impl<'a> Record<'a> {
    fn parse(body: &'a [u8]) -> Option<Self> {
        let (_attributes, mut rest) = body.split_first()?;
        let timestamp_delta = varint::read_i64(&mut rest).ok()?;
        let behind = rest;
        let offset_delta = varint::read_i32(&mut rest).ok()?;
        let key = field(&mut rest)?;
        let has_value = field(&mut rest)?.is_some();
        Some(Self { body, rest: behind, timestamp_delta, offset_delta, key, has_value })
    }

    /// How many they are, about.
    pub fn bytes(&self) -> usize {
        self.body.len()
    }

    /// As it was.
    pub fn write(&self, out: &mut impl io::Write) -> io::Result<()> {
        write_length(self.body.len(), out)?;
        out.write_all(self.body)
    }

    /// With another timestamp delta.
    pub fn write_at(&self, timestamp_delta: i64, out: &mut impl io::Write) -> io::Result<()> {
        let mut front: Vec<u8> = self.body.iter().copied().take(1).collect();
        varint::write(&mut front, timestamp_delta);
        write_length(front.len() + self.rest.len(), out)?;
        out.write_all(&front)?;
        out.write_all(self.rest)
    }
}

fn write_length(length: usize, out: &mut impl io::Write) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(LENGTH_BYTES_MAX);
    varint::write(&mut bytes, i64::try_from(length).unwrap_or(i64::MAX));
    out.write_all(&bytes)
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
    fn larger_records_are_not_looked_into() {
        let bytes = BatchBuilder::new().value(TimestampMs(1), &[7; 100]).build();
        let (batch, _) = RecordBatch::parse(&bytes).unwrap();
        assert!(Records::up_to(&batch, 200).unwrap().next().unwrap().is_some());
        assert!(Records::up_to(&batch, 100).unwrap().next().is_err());
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

    #[test]
    fn what_is_no_batch_is_an_error() {
        let cut = |payload: &[u8]| payload[..payload.len() - 1].to_vec();
        let more = |payload: &[u8]| [payload, b"x"].concat();
        let garbage = |_: &[u8]| vec![0xff; 100];
        let made = [
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
        }
    }
}
