//! What can be wrong with a batch or a record, and what a client is told.

use std::fmt;

use crate::{ErrorCode, Offset, TimestampMs};

/// Why bytes are not a batch, or not one that a client may append.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum BatchError {
    /// The bytes end before the batch does.
    Truncated {
        /// Bytes that the batch (or its header) takes.
        needed: usize,
        /// Bytes that are there.
        have: usize,
    },
    /// The length field cannot be that of a batch.
    Length(i32),
    /// A format other than v2.
    Magic(i8),
    /// The checksum does not match the bytes.
    Crc {
        /// As stored in the batch.
        stored: u32,
        /// Of the bytes as they are.
        computed: u32,
    },
    /// A compression that does not exist, by number, or one that the request's version may not use.
    Compression(u8),
    /// No batch, or bytes after the first one.
    NotOneBatch {
        /// Bytes after the first batch.
        extra: usize,
    },
    /// Larger than `max.message.bytes`.
    TooLarge {
        /// Bytes of the batch.
        size: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// A client does not choose the base offset: it sends 0.
    BaseOffset(Offset),
    /// The record count is not one more than the last offset delta, or not positive.
    RecordCount {
        /// As stated by the batch.
        count: i32,
        /// As stated by the batch.
        last_offset_delta: i32,
    },
    /// A control batch (transaction marker) or a compaction mark, which clients may not write.
    Control,
    /// A transactional batch where transactions are not served.
    Transactional,
    /// A producer id with a negative sequence or epoch.
    Sequence {
        /// The base sequence.
        sequence: i32,
        /// The producer epoch.
        epoch: i16,
    },
    /// A timestamp outside of what the topic accepts.
    Timestamp {
        /// The offending one.
        timestamp: TimestampMs,
        /// The broker's time when it looked.
        now: TimestampMs,
    },
    /// The client claims LogAppendTime, which only the broker sets.
    TimestampType,
    /// A record inside is malformed.
    Record {
        /// Its place in the batch, from 0.
        index: i32,
        /// What is wrong with it.
        error: RecordError,
    },
}

/// Why bytes are not a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum RecordError {
    /// The bytes end inside the record, or after fewer records than the batch states.
    Truncated,
    /// A variable-length integer longer than its type.
    Varint,
    /// A negative length where there is none.
    NegativeLength,
    /// The record's length and its fields disagree.
    LengthMismatch,
    /// Bytes after the last record.
    ExtraBytes,
    /// The offset delta is not the record's place in the batch.
    OffsetDelta,
    /// The records are compressed: decompress the payload and use `Records::new`.
    Compressed,
    /// It has no key, and the log is compacted.
    NoKey,
    /// It, or one before it, cannot be decompressed.
    Unreadable,
}

impl BatchError {
    /// The error code that a producer gets, as Kafka chooses it.
    #[must_use]
    pub const fn error_code(self) -> ErrorCode {
        match self {
            // A format that never was is damage; one that was is refused.
            Self::Length(_) | Self::Crc { .. } | Self::Magic(..=-1 | 3..) => ErrorCode::CorruptMessage,
            Self::Compression(_) => ErrorCode::UnsupportedCompressionType,
            Self::TooLarge { .. } => ErrorCode::MessageTooLarge,
            // What Kafka says to a transactional batch of a request without a transactional id.
            Self::Transactional => ErrorCode::TransactionalIdAuthorizationFailed,
            Self::Timestamp { .. } | Self::TimestampType => ErrorCode::InvalidTimestamp,
            Self::Truncated { .. }
            | Self::Magic(0..=2)
            | Self::NotOneBatch { .. }
            | Self::BaseOffset(_)
            | Self::RecordCount { .. }
            | Self::Control
            | Self::Sequence { .. }
            | Self::Record { .. } => ErrorCode::InvalidRecord,
        }
    }
}

impl fmt::Display for BatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Truncated { needed, have } => {
                write!(f, "the record batch takes {needed} bytes and {have} are there")
            }
            Self::Length(length) => write!(f, "a record batch cannot have length {length}"),
            Self::Magic(magic) => write!(f, "message format {magic} is not supported, only 2"),
            Self::Crc { stored, computed } => {
                write!(f, "the record batch states CRC {stored:#010x} and its bytes have {computed:#010x}")
            }
            Self::Compression(id) => write!(f, "compression type {id} is not supported here"),
            Self::NotOneBatch { extra } => {
                write!(f, "exactly one record batch is allowed per partition; {extra} bytes follow the first")
            }
            Self::TooLarge { size, max } => {
                write!(f, "the record batch of {size} bytes is larger than max.message.bytes ({max})")
            }
            Self::BaseOffset(offset) => write!(f, "a produced batch has base offset 0, not {offset}"),
            Self::RecordCount { count, last_offset_delta } => {
                write!(f, "the batch states {count} records and last offset delta {last_offset_delta}")
            }
            Self::Control => write!(f, "clients may not write control batches"),
            Self::Transactional => write!(f, "transactions are not supported by this broker yet"),
            Self::Sequence { sequence, epoch } => {
                write!(f, "a producer id with sequence {sequence} and epoch {epoch}")
            }
            Self::Timestamp { timestamp, now } => {
                write!(f, "timestamp {} is outside of what the topic accepts at {}", timestamp.0, now.0)
            }
            Self::TimestampType => write!(f, "LogAppendTime is set by the broker, not by the producer"),
            Self::Record { index, error } => write!(f, "record {index} of the batch: {error}"),
        }
    }
}

impl std::error::Error for BatchError {}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Truncated => "the bytes end too early",
            Self::Varint => "a variable-length integer is too long",
            Self::NegativeLength => "a length is negative",
            Self::LengthMismatch => "its length and its fields disagree",
            Self::ExtraBytes => "bytes follow the last record",
            Self::OffsetDelta => "its offset delta is not its place in the batch",
            Self::Compressed => "the records are compressed",
            Self::NoKey => "a compacted topic takes no record without a key",
            Self::Unreadable => "the records cannot be decompressed",
        })
    }
}

impl std::error::Error for RecordError {}
