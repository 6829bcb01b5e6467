//! What a produced batch must be before the log takes it: all that can be seen without decompressing.
#![deny(clippy::indexing_slicing)]

use super::{BatchError, Compression, RecordBatch, RecordError, TimestampType};
use crate::{Offset, TimestampMs};

/// What the topic and the request allow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProduceRules {
    /// `max.message.bytes`: bytes of one batch, header included.
    pub bytes_max: usize,
    /// The broker's time.
    pub now: TimestampMs,
    /// `message.timestamp.before.max.ms`: how much older than now a record may be.
    pub timestamp_before_ms_max: i64,
    /// `message.timestamp.after.max.ms`: how far in the future a record may be.
    pub timestamp_after_ms_max: i64,
    /// `message.timestamp.type=LogAppendTime`: what the producer wrote does not matter then.
    pub log_append_time: bool,
    /// Whether the request's version may use Zstandard: Produce 7 and later.
    pub zstd: bool,
    /// Whether transactional batches are taken.
    pub transactions: bool,
    /// Whether every record must have a key. Of a compressed batch that is not seen here.
    pub keys: bool,
}

impl ProduceRules {
    /// Kafka's defaults for a topic, at `now`, for a current client; transactions are refused.
    #[must_use]
    pub const fn at(now: TimestampMs) -> Self {
        Self {
            bytes_max: 1_048_588,
            now,
            timestamp_before_ms_max: i64::MAX,
            timestamp_after_ms_max: 3_600_000,
            log_append_time: false,
            zstd: true,
            transactions: false,
            keys: false,
        }
    }
}

/// Checks what a client wants to append to one partition, and returns it as a view.
///
/// Compressed records are not looked into; uncompressed ones are walked. The order of checks is Kafka's, so that the
/// same batch gets the same error.
///
/// # Errors
/// What is wrong with it: [`BatchError::error_code`] and its `Display` are for the client.
pub fn validate_produce<'a>(bytes: &'a [u8], rules: &ProduceRules) -> Result<RecordBatch<'a>, BatchError> {
    let (batch, rest) = RecordBatch::parse(bytes)?;
    if !rest.is_empty() {
        return Err(BatchError::NotOneBatch { extra: rest.len() });
    }
    let compression = batch.compression()?;
    if compression == Compression::Zstd && !rules.zstd {
        return Err(BatchError::Compression(compression as u8));
    }
    if batch.base_offset() != Offset::ZERO {
        return Err(BatchError::BaseOffset(batch.base_offset()));
    }
    if batch.size_bytes() > rules.bytes_max {
        return Err(BatchError::TooLarge { size: batch.size_bytes(), max: rules.bytes_max });
    }
    batch.check_crc()?;
    check_claims(&batch, rules)?;
    if compression == Compression::None {
        check_records(&batch, rules)?;
    } else {
        check_timestamp(batch.max_timestamp(), rules)?;
    }
    Ok(batch)
}

/// The header's own statements.
fn check_claims(batch: &RecordBatch<'_>, rules: &ProduceRules) -> Result<(), BatchError> {
    let (count, last_offset_delta) = (batch.record_count(), batch.last_offset_delta());
    if count <= 0 || last_offset_delta != count - 1 {
        return Err(BatchError::RecordCount { count, last_offset_delta });
    }
    if batch.is_control() || batch.has_delete_horizon() {
        return Err(BatchError::Control);
    }
    if batch.is_transactional() && !rules.transactions {
        return Err(BatchError::Transactional);
    }
    let (sequence, epoch) = (batch.base_sequence(), batch.producer_epoch().0);
    if batch.has_producer_id() && (sequence < 0 || epoch < 0) {
        return Err(BatchError::Sequence { sequence, epoch });
    }
    if batch.timestamp_type() == TimestampType::LogAppendTime {
        return Err(BatchError::TimestampType);
    }
    Ok(())
}

/// Every record: whole, in its place, of a sane time.
fn check_records(batch: &RecordBatch<'_>, rules: &ProduceRules) -> Result<(), BatchError> {
    for (index, record) in (0..).zip(batch.records()) {
        let record = record.map_err(|error| BatchError::Record { index, error })?;
        if record.offset_delta != index {
            return Err(BatchError::Record { index, error: RecordError::OffsetDelta });
        }
        check_timestamp(record.timestamp(batch), rules)?;
        if rules.keys && record.key.is_none() {
            return Err(BatchError::Record { index, error: RecordError::NoKey });
        }
    }
    Ok(())
}

fn check_timestamp(timestamp: TimestampMs, rules: &ProduceRules) -> Result<(), BatchError> {
    if rules.log_append_time || timestamp == TimestampMs::NONE {
        return Ok(());
    }
    let age_ms = rules.now.0.saturating_sub(timestamp.0);
    let ahead_ms = timestamp.0.saturating_sub(rules.now.0);
    if age_ms > rules.timestamp_before_ms_max || ahead_ms > rules.timestamp_after_ms_max {
        return Err(BatchError::Timestamp { timestamp, now: rules.now });
    }
    Ok(())
}
