//! The 61 fixed bytes of a record batch: where each field is, reading them, and patching them in place.
#![deny(clippy::indexing_slicing)]

use super::{BatchError, RecordBatch};
use crate::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, TimestampMs};

/// Bytes before the records.
pub const HEADER_BYTES: usize = 61;
/// Bytes that the length field does not count: the base offset and itself.
pub const LENGTH_OVERHEAD: usize = 12;
/// The only format there is.
pub const MAGIC: i8 = 2;

/// Where the base offset is (i64).
pub const BASE_OFFSET_AT: usize = 0;
/// Where the length is (i32).
pub const LENGTH_AT: usize = 8;
/// Where the leader epoch is (i32).
pub const LEADER_EPOCH_AT: usize = 12;
/// Where the format is (i8).
pub const MAGIC_AT: usize = 16;
/// Where the CRC-32C is (u32).
pub const CRC_AT: usize = 17;
/// Where the attributes are (i16), the first bytes that the CRC covers.
pub const ATTRIBUTES_AT: usize = 21;
/// Where the last offset delta is (i32).
pub const LAST_OFFSET_DELTA_AT: usize = 23;
/// Where the base timestamp is (i64).
pub const BASE_TIMESTAMP_AT: usize = 27;
/// Where the max timestamp is (i64).
pub const MAX_TIMESTAMP_AT: usize = 35;
/// Where the producer id is (i64).
pub const PRODUCER_ID_AT: usize = 43;
/// Where the producer epoch is (i16).
pub const PRODUCER_EPOCH_AT: usize = 51;
/// Where the base sequence is (i32).
pub const BASE_SEQUENCE_AT: usize = 53;
/// Where the record count is (i32).
pub const RECORD_COUNT_AT: usize = 57;

pub(super) const COMPRESSION_MASK: i16 = 0x07;
pub(super) const TIMESTAMP_TYPE_BIT: i16 = 0x08;
pub(super) const TRANSACTIONAL_BIT: i16 = 0x10;
pub(super) const CONTROL_BIT: i16 = 0x20;
pub(super) const DELETE_HORIZON_BIT: i16 = 0x40;

/// How the records of a batch are compressed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Compression {
    /// Not at all.
    None = 0,
    /// gzip.
    Gzip = 1,
    /// Snappy, with or without xerial's framing.
    Snappy = 2,
    /// LZ4 frame format.
    Lz4 = 3,
    /// Zstandard.
    Zstd = 4,
}

impl Compression {
    /// By its number in the attributes; `None` when there is no such compression.
    #[must_use]
    pub const fn from_id(id: u8) -> Option<Self> {
        Some(match id {
            0 => Self::None,
            1 => Self::Gzip,
            2 => Self::Snappy,
            3 => Self::Lz4,
            4 => Self::Zstd,
            _ => return None,
        })
    }
}

/// A compression and how hard it tries.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Codec {
    /// Which one.
    pub compression: Compression,
    /// Of its levels, where it has some: 1 to 9 for gzip, -131072 to 22 for Zstandard.
    pub level: i32,
}

impl Codec {
    /// With Kafka's default level.
    #[must_use]
    pub const fn usual(compression: Compression) -> Self {
        Self { compression, level: if matches!(compression, Compression::Zstd) { 3 } else { 6 } }
    }
}

/// Who set a batch's timestamps.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum TimestampType {
    /// The producer, per record.
    CreateTime,
    /// The broker: every record has the batch's max timestamp.
    LogAppendTime,
}

/// The fixed part of a batch. The magic and the length field have been checked, the rest is as found.
#[derive(Clone, Copy, Debug)]
pub struct Header<'a> {
    bytes: &'a [u8; HEADER_BYTES],
}

impl<'a> Header<'a> {
    /// Reads the header at the front of `bytes`, which need not hold the whole batch.
    ///
    /// # Errors
    /// [`BatchError::Truncated`], [`BatchError::Length`] or [`BatchError::Magic`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, BatchError> {
        let Some(header) = bytes.first_chunk::<HEADER_BYTES>() else {
            // Say what is wrong rather than "too short" where the first bytes already show it.
            if let Some(&[magic]) = bytes.get(MAGIC_AT..=MAGIC_AT).and_then(<[u8]>::first_chunk) {
                check_magic(i8::from_be_bytes([magic]))?;
            }
            return Err(BatchError::Truncated { needed: HEADER_BYTES, have: bytes.len() });
        };
        let header = Self { bytes: header };
        check_magic(i8::from_be_bytes(header.field::<MAGIC_AT, 1>()))?;
        let length = header.length();
        match usize::try_from(length) {
            Ok(length) if length >= HEADER_BYTES - LENGTH_OVERHEAD => Ok(header),
            _ => Err(BatchError::Length(length)),
        }
    }

    fn field<const AT: usize, const N: usize>(&self) -> [u8; N] {
        const { assert!(AT + N <= HEADER_BYTES) };
        let Some(field) = self.bytes.split_at(AT).1.first_chunk::<N>() else {
            unreachable!("asserted when compiled")
        };
        *field
    }

    fn length(&self) -> i32 {
        i32::from_be_bytes(self.field::<LENGTH_AT, 4>())
    }

    fn flag(&self, bit: i16) -> bool {
        self.attributes() & bit != 0
    }

    /// The header as on the wire.
    #[must_use]
    pub const fn as_bytes(&self) -> &'a [u8; HEADER_BYTES] {
        self.bytes
    }

    /// Bytes of the whole batch, header included: at least [`HEADER_BYTES`].
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        // Not negative: `parse` checked it, and an i32 fits.
        LENGTH_OVERHEAD + usize::try_from(self.length()).unwrap_or(HEADER_BYTES - LENGTH_OVERHEAD)
    }

    /// Offset of the first record.
    #[must_use]
    pub fn base_offset(&self) -> Offset {
        Offset(i64::from_be_bytes(self.field::<BASE_OFFSET_AT, 8>()))
    }

    /// Epoch of the leader that appended it.
    #[must_use]
    pub fn leader_epoch(&self) -> LeaderEpoch {
        LeaderEpoch(i32::from_be_bytes(self.field::<LEADER_EPOCH_AT, 4>()))
    }

    /// The stored CRC-32C.
    #[must_use]
    pub fn crc(&self) -> u32 {
        u32::from_be_bytes(self.field::<CRC_AT, 4>())
    }

    /// Compression, timestamp type and flags as on the wire.
    #[must_use]
    pub fn attributes(&self) -> i16 {
        i16::from_be_bytes(self.field::<ATTRIBUTES_AT, 2>())
    }

    /// How the payload is compressed.
    ///
    /// # Errors
    /// [`BatchError::Compression`] when the attributes name none that exists.
    pub fn compression(&self) -> Result<Compression, BatchError> {
        let id = u8::try_from(self.attributes() & COMPRESSION_MASK).unwrap_or(u8::MAX);
        Compression::from_id(id).ok_or(BatchError::Compression(id))
    }

    /// Who set the timestamps.
    #[must_use]
    pub fn timestamp_type(&self) -> TimestampType {
        if self.flag(TIMESTAMP_TYPE_BIT) { TimestampType::LogAppendTime } else { TimestampType::CreateTime }
    }

    /// Part of a transaction.
    #[must_use]
    pub fn is_transactional(&self) -> bool {
        self.flag(TRANSACTIONAL_BIT)
    }

    /// Holds a marker for the broker and consumers' libraries rather than users' records.
    #[must_use]
    pub fn is_control(&self) -> bool {
        self.flag(CONTROL_BIT)
    }

    /// Compaction has put the time at which tombstones may go into the base timestamp.
    #[must_use]
    pub fn has_delete_horizon(&self) -> bool {
        self.flag(DELETE_HORIZON_BIT)
    }

    /// Difference between the last and the first offset.
    #[must_use]
    pub fn last_offset_delta(&self) -> i32 {
        i32::from_be_bytes(self.field::<LAST_OFFSET_DELTA_AT, 4>())
    }

    /// What records' timestamp deltas are relative to.
    #[must_use]
    pub fn base_timestamp(&self) -> TimestampMs {
        TimestampMs(i64::from_be_bytes(self.field::<BASE_TIMESTAMP_AT, 8>()))
    }

    /// Largest timestamp of the batch, or the one of all its records with LogAppendTime.
    #[must_use]
    pub fn max_timestamp(&self) -> TimestampMs {
        TimestampMs(i64::from_be_bytes(self.field::<MAX_TIMESTAMP_AT, 8>()))
    }

    /// The idempotent producer, or [`ProducerId::NONE`].
    #[must_use]
    pub fn producer_id(&self) -> ProducerId {
        ProducerId(i64::from_be_bytes(self.field::<PRODUCER_ID_AT, 8>()))
    }

    /// Whether an idempotent producer wrote it.
    #[must_use]
    pub fn has_producer_id(&self) -> bool {
        self.producer_id() != ProducerId::NONE
    }

    /// That producer's epoch.
    #[must_use]
    pub fn producer_epoch(&self) -> ProducerEpoch {
        ProducerEpoch(i16::from_be_bytes(self.field::<PRODUCER_EPOCH_AT, 2>()))
    }

    /// The first record's number in that producer's sequence to this partition, or -1.
    #[must_use]
    pub fn base_sequence(&self) -> i32 {
        i32::from_be_bytes(self.field::<BASE_SEQUENCE_AT, 4>())
    }

    /// Records in the batch; after compaction fewer than the offsets it covers.
    #[must_use]
    pub fn record_count(&self) -> i32 {
        i32::from_be_bytes(self.field::<RECORD_COUNT_AT, 4>())
    }

    /// Offset of the last record.
    #[must_use]
    pub fn last_offset(&self) -> Offset {
        Offset(self.base_offset().0.wrapping_add(i64::from(self.last_offset_delta())))
    }

    /// The last record's sequence number, or -1 where the first has none. Sequences go from `i32::MAX` to 0.
    #[must_use]
    pub fn last_sequence(&self) -> i32 {
        match self.base_sequence() {
            -1 => -1,
            base => base.wrapping_add(self.last_offset_delta()) & i32::MAX,
        }
    }
}

const fn check_magic(magic: i8) -> Result<(), BatchError> {
    if magic == MAGIC { Ok(()) } else { Err(BatchError::Magic(magic)) }
}

/// The CRC-32C that the batch in `bytes` ought to store.
pub(super) fn crc_of(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes.get(ATTRIBUTES_AT..).unwrap_or_default())
}

/// What the broker writes into a batch when it appends it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stamp {
    /// The offset that the first record gets.
    pub base_offset: Offset,
    /// The leader's epoch.
    pub leader_epoch: LeaderEpoch,
    /// With LogAppendTime: now.
    pub log_append_time: Option<TimestampMs>,
}

/// The header of `batch` after stamping, for who copies the batch in pieces: this, then [`RecordBatch::payload`].
#[must_use]
pub fn stamped(batch: &RecordBatch<'_>, stamp: Stamp) -> [u8; HEADER_BYTES] {
    let mut header = *batch.header().as_bytes();
    set_base_offset(&mut header, stamp.base_offset);
    set_leader_epoch(&mut header, stamp.leader_epoch);
    if let Some(now) = stamp.log_append_time {
        put_log_append_time(&mut header, now);
        let crc = crc32c::crc32c_append(crc_of(&header), batch.payload());
        put_field(&mut header, CRC_AT, crc.to_be_bytes());
    }
    header
}

/// Assigns the offset of the first record. `batch` is a parsed batch, or the front of one.
///
/// # Panics
/// If `batch` is shorter than a header: only parsed batches come here.
pub fn set_base_offset(batch: &mut [u8], offset: Offset) {
    put_field(batch, BASE_OFFSET_AT, offset.0.to_be_bytes());
}

/// Writes the leader's epoch. As [`set_base_offset`].
///
/// # Panics
/// If `batch` is shorter than a header.
pub fn set_leader_epoch(batch: &mut [u8], epoch: LeaderEpoch) {
    put_field(batch, LEADER_EPOCH_AT, epoch.0.to_be_bytes());
}

/// Turns the batch to LogAppendTime at `now` and recomputes its CRC: `batch` must be the whole of it.
///
/// # Panics
/// If `batch` is shorter than a header.
pub fn set_log_append_time(batch: &mut [u8], now: TimestampMs) {
    put_log_append_time(batch, now);
    recompute_crc(batch);
}

/// Makes the stored CRC that of the bytes: `batch` must be the whole batch.
///
/// # Panics
/// If `batch` is shorter than a header.
pub fn recompute_crc(batch: &mut [u8]) {
    let crc = crc_of(batch);
    put_field(batch, CRC_AT, crc.to_be_bytes());
}

fn put_log_append_time(batch: &mut [u8], now: TimestampMs) {
    let attributes =
        batch.get(ATTRIBUTES_AT..).and_then(<[u8]>::first_chunk).copied().map_or(0, i16::from_be_bytes);
    put_field(batch, ATTRIBUTES_AT, (attributes | TIMESTAMP_TYPE_BIT).to_be_bytes());
    put_field(batch, MAX_TIMESTAMP_AT, now.0.to_be_bytes());
}

pub(super) fn put_field<const N: usize>(batch: &mut [u8], at: usize, value: [u8; N]) {
    assert!(batch.len() >= HEADER_BYTES, "{} bytes are no record batch", batch.len());
    if let Some(field) = batch.get_mut(at..at + N) {
        field.copy_from_slice(&value);
    }
}
