//! A batch in another compression: `compression.type` of its topic. Takes as long as its records are large; not for a core's thread.
#![deny(clippy::indexing_slicing)]

use std::fmt;
use std::io;

use model::batch::{Codec, RecordBatch, rewrite};

use crate::compress::Writer;
use crate::records::Records;

/// Why there is none.
#[derive(Debug)]
pub enum Refused {
    /// Its records are not what its header says.
    Invalid(String),
    /// It would be larger than it may be.
    TooLarge,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(why) => write!(f, "the batch cannot be compressed again: {why}"),
            Self::TooLarge => f.write_str("the batch is too large in the compression of its topic"),
        }
    }
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        Self::Invalid(error.to_string())
    }
}

/// `batch` with its records in the compression `to`, as `bytes_max` bytes at most. They are looked at on the way: there are as many as the
/// header says, and their offsets follow each other.
///
/// # Errors
/// [`Refused`].
pub fn recompress(batch: &RecordBatch<'_>, to: Codec, bytes_max: usize) -> Result<Vec<u8>, Refused> {
    let mut records = Records::of(batch)?;
    let mut writer = Writer::new(to)?;
    let mut expected = 0;
    while let Some(record) = records.next()? {
        if record.offset_delta != expected {
            return Err(Refused::Invalid(format!(
                "record {expected} has the offset {}",
                record.offset_delta
            )));
        }
        expected += 1;
        record.write(&mut writer)?;
        if writer.written() > bytes_max {
            return Err(Refused::TooLarge);
        }
    }
    let recompressed = rewrite::recompressed(batch, &writer.finish()?, to.compression);
    if recompressed.len() > bytes_max { Err(Refused::TooLarge) } else { Ok(recompressed) }
}

#[cfg(test)]
mod tests {
    use model::TimestampMs;
    use model::batch::{BatchBuilder, Compression};

    use super::*;

    const ALL: [Compression; 5] =
        [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

    fn codec(compression: Compression) -> Codec {
        Codec { compression, level: 3 }
    }

    fn original() -> Vec<u8> {
        let record = |batch: BatchBuilder, n: i64| {
            let key = (n % 3 > 0).then(|| n.to_le_bytes());
            let value = (n % 5 > 0).then(|| vec![b'v'; 100]);
            batch.record(TimestampMs(1000 + n), key.as_ref().map(|key| &key[..]), value.as_deref())
        };
        (0..50).fold(BatchBuilder::new(), record).build()
    }

    #[test]
    fn records_survive_every_way_there_and_back() {
        let original = original();
        let (batch, _) = RecordBatch::parse(&original).unwrap();
        for there in ALL {
            let packed = recompress(&batch, codec(there), 1 << 20).unwrap();
            let (packed, rest) = RecordBatch::parse(&packed).unwrap();
            assert!(rest.is_empty() && packed.check_crc().is_ok());
            assert_eq!(packed.compression(), Ok(there));
            for via in ALL {
                let again = recompress(&packed, codec(via), 1 << 20).unwrap();
                let (again, _) = RecordBatch::parse(&again).unwrap();
                let back = recompress(&again, codec(Compression::None), 1 << 20).unwrap();
                assert_eq!(back, original, "{there:?} {via:?}");
            }
        }
    }

    #[test]
    fn levels_are_heard() {
        let mut state = 1_u64;
        let words = (0..30_000).map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            // Some of five hundred words come often.
            let word = (state >> 33) % 500 * ((state >> 44) % 500) / 500;
            format!("{:x} ", word * word * 7919)
        });
        let text = words.collect::<String>().into_bytes();
        let original = BatchBuilder::new().record(TimestampMs(1), None, Some(&text)).build();
        let (batch, _) = RecordBatch::parse(&original).unwrap();
        for compression in [Compression::Gzip, Compression::Zstd] {
            let size = |level| recompress(&batch, Codec { compression, level }, 1 << 20).unwrap().len();
            assert!(size(9) < size(1), "{compression:?}: {} {}", size(9), size(1));
        }
    }

    #[test]
    fn what_is_wrong_or_too_large_is_refused() {
        let original = original();
        let (batch, _) = RecordBatch::parse(&original).unwrap();
        let at = |bytes_max| recompress(&batch, codec(Compression::None), bytes_max);
        assert!(at(original.len()).is_ok());
        assert!(matches!(at(original.len() - 1), Err(Refused::TooLarge)));
        assert!(matches!(at(1000), Err(Refused::TooLarge)));
        let gap = BatchBuilder::new().build_compressed(Compression::Gzip, |_| b"nonsense".to_vec());
        let (gap, _) = RecordBatch::parse(&gap).unwrap();
        assert!(matches!(recompress(&gap, codec(Compression::None), 1 << 20), Err(Refused::Invalid(_))));
    }
}
