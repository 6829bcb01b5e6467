//! Whether every record of a compressed batch has a key, and the offset of its place: what a compacted log asks of its producers. Compaction
//! looks into no batch whose offsets do not ascend.
//!
//! It takes time in proportion to the records, so it goes in steps: whoever runs them on a thread where it may block lets others
//! have that thread in between. And it takes little memory whatever the records are: the batch is the one that was sent, and no record is held, but
//! what its codec keeps of them ([`KeyCheck::MEMORY_BYTES`]).
#![deny(clippy::indexing_slicing)]

use std::io::{self, BufRead, BufReader, Read};

use bytes::Bytes;
use model::batch::{BatchError, HEADER_BYTES, RecordBatch, RecordError, varint};
use model::limits::DECOMPRESSED_BYTES_MAX;

use crate::decompress::{self, WINDOW_BYTES_MAX, corrupt};
use crate::records::RECORD_BYTES_MAX;

/// Decompressed bytes of one step: some milliseconds.
const STEP_BYTES: usize = 4 << 20;
/// A number of 32 bits takes no more.
const SHORT_BYTES_MAX: usize = 5;
/// What is held of what came out of the codec.
const HELD_BYTES: usize = 64 << 10;

/// A check under way.
pub struct KeyCheck {
    records: Within,
    left: i32,
    index: i32,
}

impl KeyCheck {
    /// What one takes beside the batch, at most: a codec's window, its blocks on their way in and out, and a piece of records.
    pub const MEMORY_BYTES: usize = crate::bytes_at::to_usize(WINDOW_BYTES_MAX) + (512 << 10) + HELD_BYTES;

    /// Of a batch that was validated.
    ///
    /// # Errors
    /// When it can be told from its beginning that it cannot be read.
    pub fn new(batch: &Bytes) -> Result<Self, BatchError> {
        let (header, _) = RecordBatch::parse(batch)?;
        let payload = batch.slice(HEADER_BYTES..header.size_bytes());
        let source = decompress::reader(header.compression()?, payload, DECOMPRESSED_BYTES_MAX);
        let source = source.map_err(|_| unreadable(0))?;
        let source = BufReader::with_capacity(HELD_BYTES, source);
        Ok(Self { records: Within { source, left: 0 }, left: header.record_count(), index: 0 })
    }

    /// Goes on for a while. True at the end: all have keys.
    ///
    /// # Errors
    /// The first record that has none, or another's offset, or that cannot be read.
    pub fn step(&mut self) -> Result<bool, BatchError> {
        let mut passed = 0;
        while passed < STEP_BYTES {
            // What is left of the last one.
            passed += self.records.pass(STEP_BYTES - passed).map_err(|_| unreadable(self.index - 1))?;
            if self.records.left > 0 {
                continue;
            }
            if self.left <= 0 {
                let ended = self.records.source.fill_buf().map(<[u8]>::is_empty);
                return if ended.unwrap_or(false) { Ok(true) } else { Err(unreadable(self.index)) };
            }
            let begun = self.records.begin(self.index).map_err(|_| unreadable(self.index))?;
            passed += begun.map_err(|error| BatchError::Record { index: self.index, error })?;
            self.left -= 1;
            self.index += 1;
        }
        Ok(false)
    }
}

/// Records as they pass by, and how much of the one at hand has not yet.
struct Within {
    source: BufReader<Box<dyn Read + Send>>,
    left: usize,
}

impl Within {
    /// Passes the key of the next record, which is the `index`th, and looks at what is said of its value: how many bytes that were, or what a
    /// compacted log has against it.
    fn begin(&mut self, index: i32) -> io::Result<Result<usize, RecordError>> {
        // No record is so large that the bytes of its length matter.
        self.left = usize::MAX;
        let length = self.length()?.filter(|length| *length <= RECORD_BYTES_MAX);
        let length = length.ok_or_else(|| corrupt("a record has no sane length"))?;
        self.left = length;
        let _attributes = self.byte()?;
        let _timestamp_delta = self.number(varint::Encoded::BYTES_MAX, varint::read_i64)?;
        if self.short()? != index {
            return Ok(Err(RecordError::OffsetDelta));
        }
        let Some(key) = self.length()? else { return Ok(Err(RecordError::NoKey)) };
        self.skip(key)?;
        if self.length()?.is_some_and(|value| value > self.left) {
            return Err(corrupt("a record cannot be read"));
        }
        Ok(Ok(length - self.left))
    }

    /// Passes so many bytes of the record at hand, if there are so many left.
    fn pass(&mut self, most: usize) -> io::Result<usize> {
        let bytes = self.left.min(most);
        self.skip(bytes)?;
        Ok(bytes)
    }

    fn skip(&mut self, count: usize) -> io::Result<()> {
        self.left = self.left.checked_sub(count).ok_or_else(|| corrupt("a record cannot be read"))?;
        let mut count = count;
        while count > 0 {
            let there = self.source.fill_buf()?.len().min(count);
            if there == 0 {
                return Err(corrupt("the records end too early"));
            }
            self.source.consume(there);
            count -= there;
        }
        Ok(())
    }

    fn byte(&mut self) -> io::Result<u8> {
        self.left = self.left.checked_sub(1).ok_or_else(|| corrupt("a record cannot be read"))?;
        let mut byte = [0];
        self.source.read_exact(&mut byte)?;
        let [byte] = byte;
        Ok(byte)
    }

    /// A number of a few bytes.
    fn number<T>(
        &mut self,
        bytes_max: usize,
        read: fn(&mut &[u8]) -> Result<T, RecordError>,
    ) -> io::Result<T> {
        let mut bytes = [0; varint::Encoded::BYTES_MAX];
        for count in 1..=bytes_max.min(bytes.len()) {
            let byte = self.byte()?;
            let (number, _) = bytes.split_at_mut(count);
            if let Some(last) = number.last_mut() {
                *last = byte;
            }
            if byte & 0x80 == 0 {
                return read(&mut &*number).map_err(|_| corrupt("a record cannot be read"));
            }
        }
        Err(corrupt("a record cannot be read"))
    }

    /// One of 32 bits.
    fn short(&mut self) -> io::Result<i32> {
        self.number(SHORT_BYTES_MAX, varint::read_i32)
    }

    /// A length; a negative one is none.
    fn length(&mut self) -> io::Result<Option<usize>> {
        Ok(usize::try_from(self.short()?).ok())
    }
}

fn unreadable(index: i32) -> BatchError {
    BatchError::Record { index, error: RecordError::Unreadable }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use model::TimestampMs;
    use model::batch::{BatchBuilder, Compression};

    use super::*;
    use crate::compress::Writer;

    fn check(batch: &[u8]) -> Result<(), BatchError> {
        let mut check = KeyCheck::new(&Bytes::copy_from_slice(batch))?;
        while !check.step()? {}
        Ok(())
    }

    #[test]
    fn the_first_record_without_a_key_is_found() {
        for compression in [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd] {
            let packed = |batch: &BatchBuilder| {
                batch.build_compressed(compression, |records| {
                    let mut writer = Writer::new(model::batch::Codec::usual(compression)).unwrap();
                    writer.write_all(records).unwrap();
                    writer.finish().unwrap()
                })
            };
            let value = vec![7; 3 << 20];
            let mut batch = BatchBuilder::new();
            for key in [b"a", b"b", b"c"] {
                batch = batch.record(TimestampMs(1), Some(key), Some(&value));
            }
            assert_eq!(check(&packed(&batch)), Ok(()));
            let changed = |change: &dyn Fn(Vec<u8>) -> Vec<u8>| {
                batch.build_compressed(compression, |records| {
                    let mut writer = Writer::new(model::batch::Codec::usual(compression)).unwrap();
                    writer.write_all(&change(records.to_vec())).unwrap();
                    writer.finish().unwrap()
                })
            };
            assert!(check(&changed(&|records| [records, vec![1]].concat())).is_err(), "more than it says");
            let cut = check(&changed(&|records| records[..(2 << 20)].to_vec()));
            assert_eq!(cut, Err(unreadable(0)), "in the middle of a value");
            // The key of the first record is longer than the record.
            let long = check(&changed(&|mut records| {
                let at = records.iter().position(|byte| *byte == b'a').unwrap() - 1;
                records[at..at + 5].copy_from_slice(&[0xfe, 0xff, 0xff, 0xff, 0x0f]);
                records
            }));
            assert_eq!(long, Err(unreadable(0)), "{compression:?}");
            let turned = changed(&|records| {
                let (first, others) = records.split_at(records.len() / 3);
                [others, first].concat()
            });
            let wrong = BatchError::Record { index: 0, error: RecordError::OffsetDelta };
            assert_eq!(check(&turned), Err(wrong));
            assert_eq!(wrong.error_code(), model::ErrorCode::InvalidRecord);
            let batch = batch.value(TimestampMs(1), b"x");
            let wrong = BatchError::Record { index: 3, error: RecordError::NoKey };
            assert_eq!(check(&packed(&batch)), Err(wrong));
            let garbled = batch.build_compressed(compression, |_| vec![0xfe; 40]);
            assert!(check(&garbled).is_err());
        }
    }
}
