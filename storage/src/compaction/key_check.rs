//! Whether every record of a compressed batch has a key: what a compacted log asks of its producers.
//!
//! It takes time in proportion to the records, so it goes in steps: whoever runs them on a thread where it may block lets others
//! have that thread in between.

use model::batch::{BatchError, RecordBatch, RecordError};

use crate::records::Records;

/// Decompressed bytes of one step: some milliseconds.
const STEP_BYTES: usize = 4 << 20;

/// A check under way.
pub struct KeyCheck {
    records: Records,
    index: i32,
}

impl KeyCheck {
    /// Of a batch that was validated.
    ///
    /// # Errors
    /// When it can be told from its beginning that it cannot be read.
    pub fn new(batch: &RecordBatch<'_>) -> Result<Self, BatchError> {
        let records = Records::of(batch).map_err(|_| unreadable(0))?;
        Ok(Self { records, index: 0 })
    }

    /// Goes on for a while. True at the end: all have keys.
    ///
    /// # Errors
    /// The first record that has none, or that cannot be read.
    pub fn step(&mut self) -> Result<bool, BatchError> {
        let mut passed = 0;
        while passed < STEP_BYTES {
            match self.records.next() {
                Ok(None) => return Ok(true),
                Ok(Some(record)) if record.key.is_none() => {
                    return Err(BatchError::Record { index: self.index, error: RecordError::NoKey });
                }
                Ok(Some(record)) => passed += record.bytes(),
                Err(_) => return Err(unreadable(self.index)),
            }
            self.index += 1;
        }
        Ok(false)
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
        let (batch, _) = RecordBatch::parse(batch).unwrap();
        let mut check = KeyCheck::new(&batch)?;
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
            let batch = batch.value(TimestampMs(1), b"x");
            let wrong = BatchError::Record { index: 3, error: RecordError::NoKey };
            assert_eq!(check(&packed(&batch)), Err(wrong));
            let garbled = batch.build_compressed(compression, |_| vec![0xfe; 40]);
            assert!(check(&garbled).is_err());
        }
    }
}
