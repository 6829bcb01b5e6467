//! The second half of a pass: which records stay, as Kafka's log cleaner has it.
//!
//! * A record goes when a later one has its key, or when it has none.
//! * A record without a value, a tombstone, stays for `delete.retention.ms` behind the first pass that found it to be the last of its key:
//!   the time when that ends, its horizon, is put into its batch. By then whatever it deletes has gone in a pass before.
//! * A batch without records stays while its producer's last sequence is in it, and at the end of what is compacted, so that consumers
//!   learn how far it goes.
//! * Batches that cannot be looked into stay, and so do the tombstones behind them: nobody knows what else they delete.

use std::collections::HashMap;
use std::io;

use model::batch::rewrite::{self, Left};
use model::batch::{Codec, RecordBatch, TimestampType};
use model::{Offset, TimestampMs};

use super::keys::KeyMap;
use crate::compress::Writer;
use crate::records::Records;

/// What a codec may add to a small batch; one that becomes twice as large besides stays as it is.
const GROWTH_BYTES: usize = 64 << 10;

/// What a pass knows when it begins to write.
pub(super) struct Filter {
    pub keys: KeyMap,
    /// Records from here on are not in the table: they stay.
    pub covered: Offset,
    /// What is compacted ends here.
    pub upto: Offset,
    pub now_ms: i64,
    pub tombstones_ms: i64,
    /// Batches with a larger record stay as they are.
    pub record_bytes_max: usize,
    /// The last offset of each producer that is remembered.
    pub producers: HashMap<i64, i64>,
    /// There was a batch into which nobody could look.
    pub blind: bool,
}

/// What is left of some batches.
#[derive(Default)]
pub(super) struct Filtered {
    pub bytes: Vec<u8>,
    /// Where each of them begins: base offset, size, largest timestamp.
    pub batches: Vec<(Offset, u64, TimestampMs)>,
    /// Something is not as it was.
    pub changed: bool,
}

/// What becomes of a batch's records.
struct Judged {
    /// A bit for each, in order.
    stays: Vec<u64>,
    count: i32,
    all: bool,
    /// Some that stay have no value.
    tombstones: bool,
    max_timestamp: TimestampMs,
}

/// What becomes of a batch.
enum Fate {
    Stays,
    Goes,
    Becomes(Vec<u8>),
}

impl Filter {
    /// What is left of whole batches. An error says which one is damaged.
    pub fn filter(&mut self, batches: &[u8]) -> Result<Filtered, String> {
        let mut filtered = Filtered::default();
        for batch in RecordBatch::all_in(batches) {
            let batch = batch.map_err(|error| error.to_string())?;
            batch.check_crc().map_err(|error| format!("batch {}: {error}", batch.base_offset()))?;
            match self.judge(&batch) {
                Fate::Stays => filtered.push(batch.as_bytes(), batch.base_offset(), batch.max_timestamp()),
                Fate::Goes => filtered.changed = true,
                Fate::Becomes(bytes) => {
                    let (left, _) = RecordBatch::parse(&bytes).map_err(|error| error.to_string())?;
                    let (base, time) = (left.base_offset(), left.max_timestamp());
                    filtered.push(&bytes, base, time);
                    filtered.changed = true;
                }
            }
        }
        Ok(filtered)
    }

    fn judge(&mut self, batch: &RecordBatch<'_>) -> Fate {
        // Markers of transactions are kept for good until there are transactions.
        if batch.is_control() || batch.base_offset() >= self.covered {
            return Fate::Stays;
        }
        let kept = self.records(batch).and_then(|judged| match judged.count {
            0 if self.is_needed(batch) && batch.record_count() == 0 => Ok(Fate::Stays),
            0 if self.is_needed(batch) => Ok(Fate::Becomes(rewrite::emptied(batch))),
            0 => Ok(Fate::Goes),
            _ => self.rebuild(batch, &judged),
        });
        kept.unwrap_or_else(|_| {
            self.blind = true;
            Fate::Stays
        })
    }

    /// Whether a batch stays without records.
    fn is_needed(&self, batch: &RecordBatch<'_>) -> bool {
        let last = batch.last_offset();
        let of_producer =
            batch.has_producer_id() && self.producers.get(&batch.producer_id().0) == Some(&last.0);
        of_producer || last.next() == self.upto
    }

    fn records(&self, batch: &RecordBatch<'_>) -> io::Result<Judged> {
        let expired = batch.has_delete_horizon() && self.now_ms >= batch.base_timestamp().0 && !self.blind;
        let mut judged = Judged {
            stays: Vec::new(),
            count: 0,
            all: true,
            tombstones: false,
            max_timestamp: TimestampMs::NONE,
        };
        let mut records = Records::up_to(batch, self.record_bytes_max)?;
        let mut index = 0;
        while let Some(record) = records.next()? {
            let offset = Offset(batch.base_offset().0 + i64::from(record.offset_delta));
            let stays = offset >= self.covered
                || record.key.is_some_and(|key| {
                    self.keys.get(key).is_none_or(|last| last <= offset) && (record.has_value || !expired)
                });
            if index % 64 == 0 {
                judged.stays.push(0);
            }
            if stays {
                if let Some(word) = judged.stays.last_mut() {
                    *word |= 1 << (index % 64);
                }
                judged.count += 1;
                judged.tombstones |= !record.has_value;
                let time = TimestampMs(batch.base_timestamp().0.wrapping_add(record.timestamp_delta));
                judged.max_timestamp = judged.max_timestamp.max(time);
            }
            judged.all &= stays;
            index += 1;
        }
        if batch.timestamp_type() == TimestampType::LogAppendTime {
            judged.max_timestamp = batch.max_timestamp();
        }
        Ok(judged)
    }

    /// The batch with what stays, and with a horizon once it has tombstones.
    fn rebuild(&self, batch: &RecordBatch<'_>, judged: &Judged) -> io::Result<Fate> {
        let horizon = (judged.tombstones && !batch.has_delete_horizon())
            .then(|| self.now_ms.saturating_add(self.tombstones_ms));
        if judged.all && horizon.is_none() {
            return Ok(Fate::Stays);
        }
        let before = batch.base_timestamp().0;
        let most = 2 * batch.size_bytes() + GROWTH_BYTES;
        let mut writer = Writer::new(Codec::usual(batch.compression().map_err(io::Error::other)?))?;
        let mut records = Records::up_to(batch, self.record_bytes_max)?;
        let mut index = 0;
        while let Some(record) = records.next()? {
            if judged.stays.get(index / 64).is_some_and(|word| word >> (index % 64) & 1 == 1) {
                match horizon {
                    // Relative to the horizon, so that its time stays what it was.
                    Some(horizon) => {
                        let time = before.wrapping_add(record.timestamp_delta);
                        record.write_at(time.wrapping_sub(horizon), &mut writer)?;
                    }
                    None => record.write(&mut writer)?,
                }
            }
            if writer.written() > most {
                return Err(io::Error::other("its producer's codec is far better at it"));
            }
            index += 1;
        }
        drop(records);
        let left = Left {
            count: judged.count,
            base_timestamp: TimestampMs(horizon.unwrap_or(before)),
            max_timestamp: judged.max_timestamp,
            has_delete_horizon: horizon.is_some() || batch.has_delete_horizon(),
        };
        Ok(Fate::Becomes(rewrite::with_records(batch, &writer.finish()?, left)))
    }
}

impl Filtered {
    fn push(&mut self, bytes: &[u8], base: Offset, max_timestamp: TimestampMs) {
        self.batches.push((base, bytes.len() as u64, max_timestamp));
        self.bytes.extend_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests;
