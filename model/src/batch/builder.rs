//! Makes batches: for tests, tools and the broker's own records. Not for the hot path.

use super::header::{
    self, CONTROL_BIT, Compression, DELETE_HORIZON_BIT, HEADER_BYTES, LENGTH_OVERHEAD, MAGIC,
    TIMESTAMP_TYPE_BIT, TRANSACTIONAL_BIT,
};
use super::varint;
use crate::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, TimestampMs};

/// Collects records, then lays them out as one batch with a correct CRC.
#[derive(Clone, Debug)]
pub struct BatchBuilder {
    base_offset: Offset,
    leader_epoch: LeaderEpoch,
    attributes: i16,
    base_timestamp: TimestampMs,
    max_timestamp: TimestampMs,
    producer_id: ProducerId,
    producer_epoch: ProducerEpoch,
    base_sequence: i32,
    count: i32,
    payload: Vec<u8>,
}

impl Default for BatchBuilder {
    fn default() -> Self {
        Self {
            base_offset: Offset::ZERO,
            leader_epoch: LeaderEpoch::NONE,
            attributes: 0,
            base_timestamp: TimestampMs::NONE,
            max_timestamp: TimestampMs::NONE,
            producer_id: ProducerId::NONE,
            producer_epoch: ProducerEpoch::NONE,
            base_sequence: -1,
            count: 0,
            payload: Vec::new(),
        }
    }
}

impl BatchBuilder {
    /// An empty batch as a producer sends it: base offset 0, no producer id, CreateTime, no compression.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// As a leader stores it.
    #[must_use]
    pub fn stored_at(mut self, base_offset: Offset, leader_epoch: LeaderEpoch) -> Self {
        (self.base_offset, self.leader_epoch) = (base_offset, leader_epoch);
        self
    }

    /// Of an idempotent producer.
    #[must_use]
    pub fn producer(mut self, id: ProducerId, epoch: ProducerEpoch, base_sequence: i32) -> Self {
        (self.producer_id, self.producer_epoch, self.base_sequence) = (id, epoch, base_sequence);
        self
    }

    /// Marks it as part of a transaction.
    #[must_use]
    pub fn transactional(mut self) -> Self {
        self.attributes |= TRANSACTIONAL_BIT;
        self
    }

    /// Marks it as a control batch.
    #[must_use]
    pub fn control(mut self) -> Self {
        self.attributes |= CONTROL_BIT;
        self
    }

    /// Marks its base timestamp as compaction's delete horizon.
    #[must_use]
    pub fn delete_horizon(mut self) -> Self {
        self.attributes |= DELETE_HORIZON_BIT;
        self
    }

    /// Claims LogAppendTime.
    #[must_use]
    pub fn log_append_time(mut self) -> Self {
        self.attributes |= TIMESTAMP_TYPE_BIT;
        self
    }

    /// Adds a record without headers. The first one's timestamp becomes the base timestamp.
    #[must_use]
    pub fn record(self, timestamp: TimestampMs, key: Option<&[u8]>, value: Option<&[u8]>) -> Self {
        self.record_with_headers(timestamp, key, value, &[])
    }

    /// Adds a record with a value only.
    #[must_use]
    pub fn value(self, timestamp: TimestampMs, value: &[u8]) -> Self {
        self.record(timestamp, None, Some(value))
    }

    /// Adds a record with headers.
    #[must_use]
    pub fn record_with_headers(
        mut self,
        timestamp: TimestampMs,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&[u8], Option<&[u8]>)],
    ) -> Self {
        if self.count == 0 {
            (self.base_timestamp, self.max_timestamp) = (timestamp, timestamp);
        }
        self.max_timestamp = self.max_timestamp.max(timestamp);
        let mut body = vec![0];
        varint::write(&mut body, timestamp.0.wrapping_sub(self.base_timestamp.0));
        varint::write(&mut body, i64::from(self.count));
        write_nullable(&mut body, key);
        write_nullable(&mut body, value);
        varint::write(&mut body, length(headers.len()));
        for (key, value) in headers {
            write_nullable(&mut body, Some(key));
            write_nullable(&mut body, *value);
        }
        varint::write(&mut self.payload, length(body.len()));
        self.payload.extend_from_slice(&body);
        self.count += 1;
        self
    }

    /// The batch with its records as they are.
    #[must_use]
    pub fn build(&self) -> Vec<u8> {
        self.lay_out(&self.payload, Compression::None)
    }

    /// The batch with its records passed through `compress`, which must do what `compression` says.
    #[must_use]
    pub fn build_compressed(
        &self,
        compression: Compression,
        compress: impl FnOnce(&[u8]) -> Vec<u8>,
    ) -> Vec<u8> {
        self.lay_out(&compress(&self.payload), compression)
    }

    fn lay_out(&self, payload: &[u8], compression: Compression) -> Vec<u8> {
        let size = HEADER_BYTES + payload.len();
        let length = i32::try_from(size - LENGTH_OVERHEAD).unwrap_or(i32::MAX);
        let mut out = Vec::with_capacity(size);
        out.extend_from_slice(&self.base_offset.0.to_be_bytes());
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(&self.leader_epoch.0.to_be_bytes());
        out.extend_from_slice(&MAGIC.to_be_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&(self.attributes | compression as i16).to_be_bytes());
        out.extend_from_slice(&(self.count - 1).to_be_bytes());
        out.extend_from_slice(&self.base_timestamp.0.to_be_bytes());
        out.extend_from_slice(&self.max_timestamp.0.to_be_bytes());
        out.extend_from_slice(&self.producer_id.0.to_be_bytes());
        out.extend_from_slice(&self.producer_epoch.0.to_be_bytes());
        out.extend_from_slice(&self.base_sequence.to_be_bytes());
        out.extend_from_slice(&self.count.to_be_bytes());
        out.extend_from_slice(payload);
        header::recompute_crc(&mut out);
        out
    }
}

fn write_nullable(out: &mut Vec<u8>, field: Option<&[u8]>) {
    varint::write(out, field.map_or(-1, |field| length(field.len())));
    out.extend_from_slice(field.unwrap_or_default());
}

fn length(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}
