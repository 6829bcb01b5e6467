//! A batch whose records are compressed in another way, and everything else in its place.
#![deny(clippy::indexing_slicing)]

use super::header::{
    ATTRIBUTES_AT, COMPRESSION_MASK, HEADER_BYTES, LENGTH_AT, LENGTH_OVERHEAD, put_field, recompute_crc,
};
use super::{Compression, RecordBatch};

/// The batch with the same records, which are compressed like this in `payload`.
#[must_use]
pub fn recompressed(batch: &RecordBatch<'_>, payload: &[u8], compression: Compression) -> Vec<u8> {
    let attributes = batch.attributes() & !COMPRESSION_MASK | i16::from(compression as u8);
    let size = HEADER_BYTES + payload.len();
    let length = i32::try_from(size - LENGTH_OVERHEAD).unwrap_or(i32::MAX);
    let mut out = Vec::with_capacity(size);
    out.extend_from_slice(batch.header().as_bytes());
    out.extend_from_slice(payload);
    put_field(&mut out, LENGTH_AT, length.to_be_bytes());
    put_field(&mut out, ATTRIBUTES_AT, attributes.to_be_bytes());
    recompute_crc(&mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::BatchBuilder;
    use crate::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, TimestampMs};

    fn original() -> Vec<u8> {
        BatchBuilder::new()
            .stored_at(Offset(40), LeaderEpoch(3))
            .producer(ProducerId(9), ProducerEpoch(1), 5)
            .transactional()
            .record(TimestampMs(100), Some(b"a"), Some(b"1"))
            .record(TimestampMs(107), Some(b"b"), None)
            .build_compressed(Compression::Zstd, |_| b"packed".to_vec())
    }

    #[test]
    fn only_the_compression_is_another() {
        let original = original();
        let before = RecordBatch::parse(&original).unwrap().0;
        let bytes = recompressed(&before, b"other", Compression::Gzip);
        let (after, rest) = RecordBatch::parse(&bytes).unwrap();
        assert!(rest.is_empty() && after.check_crc().is_ok() && after.is_transactional());
        assert_eq!((after.compression(), after.payload()), (Ok(Compression::Gzip), &b"other"[..]));
        assert_eq!((after.record_count(), after.base_offset()), (2, Offset(40)));
        assert_eq!((after.base_timestamp(), after.max_timestamp()), (TimestampMs(100), TimestampMs(107)));
        assert_eq!((after.base_sequence(), after.last_sequence()), (5, 6));
    }
}
