//! The second half of a pass: which records stay, as Kafka's log cleaner has it.
//!
//! * A record goes when a later one has its key, or when it has none.
//! * A record without a value, a tombstone, stays for `delete.retention.ms` behind the first pass that found it to be the last of its key:
//!   the time when that ends, its horizon, is put into its batch. By then whatever it deletes has gone in a pass before.
//! * A batch without records stays while its producer's last sequence is in it, and at the end of what is compacted, so that consumers
//!   learn how far it goes.
//! * Batches that cannot be looked into stay, and so do the tombstones behind them: nobody knows what else they delete.
//! * Control batches stay: see [`Filter::judge`].
//!
//! What stays as it was is copied whole, checksum and all; of a batch that loses records those that stay are copied a run at a time.

mod rebuild;

use std::collections::HashMap;
use std::io;

use model::batch::rewrite::{self, Left};
use model::batch::{Header, RecordBatch, TimestampType};
use model::{Offset, TimestampMs};

use super::keys::{KEYS_AT_ONCE, Key, KeyMap};
use super::list::Marks;
use super::step::Step;
use super::unpack::Room;
use crate::records::plain::Plain;
use crate::records::{Record, Records};

/// What a pass knows when it begins to write.
pub(super) struct Filter {
    pub known: Known,
    /// Records from here on are not known: they stay.
    pub covered: Offset,
    /// What is compacted ends here.
    pub upto: Offset,
    pub now_ms: i64,
    pub tombstones_ms: i64,
    /// For records without their codec.
    pub room: Room,
    /// Bytes that are looked at together.
    pub step_bytes: usize,
    /// The last offset of each producer that is remembered.
    pub producers: HashMap<i64, i64>,
    /// There was a batch into which nobody could look.
    pub blind: bool,
    /// What is left of the batches that were looked at last.
    pub out: Filtered,
}

/// What is known of the records before some offset.
pub(super) enum Known {
    /// Where each key was written last.
    Table(KeyMap),
    /// Which of them go.
    Marks(Marks),
}

/// What is left of some batches.
#[derive(Default)]
pub(super) struct Filtered {
    /// Whole batches.
    pub bytes: Vec<u8>,
    /// Something is not as it was.
    pub changed: bool,
    /// What comes out of a codec.
    packed: Vec<u8>,
    judged: Judged,
}

/// What becomes of a batch's records.
struct Judged {
    /// A bit for each, in order.
    stays: Vec<u64>,
    records: usize,
    count: i32,
    /// Some that stay have no value.
    tombstones: bool,
    max_timestamp: TimestampMs,
}

/// What is to be known of one record.
#[derive(Clone, Copy, Default)]
struct Seen {
    key: Option<Key>,
    /// A later record is known to have its key.
    goes: bool,
    offset_delta: i32,
    timestamp_delta: i64,
    has_value: bool,
}

/// What becomes of a batch.
enum Fate {
    Stays,
    Goes,
    /// What it became is behind the others.
    Changes,
}

impl Filter {
    /// Looks at whole batches for as long as a step takes; what is left of them is in `out` then, and nothing else. Returns how many bytes it
    /// looked at. An error says which batch is damaged.
    pub fn filter(&mut self, batches: &[u8]) -> Result<usize, String> {
        self.out.begin(self.step_bytes);
        let step = Step::begin(&self.room);
        let mut left = RecordBatch::all_in(batches);
        for batch in left.by_ref() {
            let batch = batch.map_err(|error| error.to_string())?;
            batch.check_crc().map_err(|error| format!("batch {}: {error}", batch.base_offset()))?;
            let before = self.out.bytes.len();
            let fate = self.judge(&batch).unwrap_or_else(|_| {
                self.out.bytes.truncate(before);
                self.blind = true;
                Fate::Stays
            });
            match fate {
                Fate::Stays => {
                    // No more than it takes: large ones come alone.
                    self.out.bytes.reserve_exact(batch.size_bytes());
                    self.out.bytes.extend_from_slice(batch.as_bytes());
                }
                Fate::Goes | Fate::Changes => self.out.changed = true,
            }
            // A codec may make small batches large, and there may be many of them.
            if self.out.bytes.len() >= self.step_bytes || step.is_over(&self.room) {
                break;
            }
        }
        Ok(batches.len() - left.rest().len())
    }

    /// What becomes of a batch. An error says that it cannot be looked into.
    ///
    /// Markers of transactions are the only control batches, and there are none yet. Kafka keeps one while some batch of its transaction
    /// is left, of whatever records; the pass that finds none before it gives it a horizon, as tombstones have; once that has passed, it goes, or
    /// stays without its record while it is the last that its producer has. That takes the transactions that were aborted: their records go at once, and
    /// must not replace others of the same key. Until that is known here, markers stay for good.
    fn judge(&mut self, batch: &RecordBatch<'_>) -> io::Result<Fate> {
        if batch.is_control() || batch.base_offset() >= self.covered {
            return Ok(Fate::Stays);
        }
        // Both are lent: nothing is made anew for every batch.
        let mut room = std::mem::replace(&mut self.room, Room::up_to(0));
        let mut judged = std::mem::take(&mut self.out.judged);
        judged.begin(batch);
        let fate = self.judge_records(batch, &mut room, &mut judged);
        (self.room, self.out.judged) = (room, judged);
        fate
    }

    fn judge_records(
        &mut self,
        batch: &RecordBatch<'_>,
        room: &mut Room,
        judged: &mut Judged,
    ) -> io::Result<Fate> {
        let record_bytes_max = room.record_bytes_max();
        if let Some(records) = room.records(batch)? {
            self.counted(|filter| filter.judge_all(batch, records.clone(), judged))?;
            let judged = &*judged;
            let horizon = self.horizon(batch, judged);
            return self
                .fate(batch, judged, horizon, |out| rebuild::here(batch, records, judged, horizon, out));
        }
        let records = || Records::up_to(batch, record_bytes_max);
        self.counted(|filter| filter.judge_each(batch, records()?, judged))?;
        let judged = &*judged;
        let horizon = self.horizon(batch, judged);
        self.fate(batch, judged, horizon, |out| rebuild::streaming(batch, records()?, judged, horizon, out))
    }

    /// Judges a batch. One that cannot be read has no marks.
    fn counted(&mut self, judge: impl FnOnce(&mut Self) -> io::Result<()>) -> io::Result<()> {
        let before = if let Known::Marks(marks) = &self.known { marks.at } else { 0 };
        let judged = judge(self);
        if let (Known::Marks(marks), true) = (&mut self.known, judged.is_err()) {
            marks.at = before;
        }
        judged
    }

    /// What comes next is the beginning of a segment.
    pub fn open(&mut self, base: Offset) {
        if let Known::Marks(marks) = &mut self.known {
            marks.open(base);
        }
    }

    /// What becomes of a batch by what becomes of its records; `rebuild` makes it anew.
    fn fate(
        &mut self,
        batch: &RecordBatch<'_>,
        judged: &Judged,
        horizon: Option<TimestampMs>,
        rebuild: impl FnOnce(&mut Filtered) -> io::Result<()>,
    ) -> io::Result<Fate> {
        match judged.count {
            0 if self.is_needed(batch) && batch.record_count() == 0 => Ok(Fate::Stays),
            0 if self.is_needed(batch) => {
                self.out.bytes.extend_from_slice(&rewrite::emptied(batch));
                Ok(Fate::Changes)
            }
            0 => Ok(Fate::Goes),
            _ if judged.all() && horizon.is_none() => Ok(Fate::Stays),
            _ => rebuild(&mut self.out).map(|()| Fate::Changes),
        }
    }

    /// The one that a batch gets once it has tombstones.
    fn horizon(&self, batch: &Header<'_>, judged: &Judged) -> Option<TimestampMs> {
        let new = judged.tombstones && !batch.has_delete_horizon();
        new.then(|| TimestampMs(self.now_ms.saturating_add(self.tombstones_ms)))
    }

    /// Whether a batch stays without records.
    fn is_needed(&self, batch: &Header<'_>) -> bool {
        let last = batch.last_offset();
        let of_producer =
            batch.has_producer_id() && self.producers.get(&batch.producer_id().0) == Some(&last.0);
        of_producer || last.next() == self.upto
    }

    /// Judges records where they are, some at a time.
    fn judge_all(
        &mut self,
        batch: &Header<'_>,
        mut records: Plain<'_>,
        judged: &mut Judged,
    ) -> io::Result<()> {
        let expired = self.has_expired(batch);
        loop {
            let mut some = [Seen::default(); KEYS_AT_ONCE];
            let mut count = 0;
            while let Some(place) = some.get_mut(count) {
                let Some(record) = records.next()? else { break };
                *place = self.see(batch, &record);
                count += 1;
            }
            let seen = some.get(..count).unwrap_or_default();
            if let Known::Table(keys) = &self.known {
                keys.fetch(seen.iter().filter_map(|seen| seen.key));
            }
            for seen in seen {
                judged.add(batch, seen, self.stays(batch, seen, expired));
            }
            if count < KEYS_AT_ONCE {
                return Ok(());
            }
        }
    }

    /// The same of records that stream by.
    fn judge_each(
        &mut self,
        batch: &Header<'_>,
        mut records: Records<'_>,
        judged: &mut Judged,
    ) -> io::Result<()> {
        let expired = self.has_expired(batch);
        while let Some(record) = records.next()? {
            let seen = self.see(batch, &record);
            judged.add(batch, &seen, self.stays(batch, &seen, expired));
        }
        Ok(())
    }

    /// Whether the tombstones of a batch have had their time.
    fn has_expired(&self, batch: &Header<'_>) -> bool {
        batch.has_delete_horizon() && self.now_ms >= batch.base_timestamp().0 && !self.blind
    }

    fn see(&mut self, batch: &Header<'_>, record: &Record<'_>) -> Seen {
        let known = offset_of(batch, record.offset_delta) < self.covered;
        let (key, goes) = match &mut self.known {
            Known::Table(keys) => (record.key.map(|key| keys.key(key)), record.key.is_none()),
            Known::Marks(_) if record.key.is_none() => (None, true),
            Known::Marks(marks) => (None, known && marks.next_goes()),
        };
        Seen {
            key,
            goes: known && goes,
            offset_delta: record.offset_delta,
            timestamp_delta: record.timestamp_delta,
            has_value: record.has_value,
        }
    }

    fn stays(&self, batch: &Header<'_>, seen: &Seen, expired: bool) -> bool {
        let offset = offset_of(batch, seen.offset_delta);
        if offset >= self.covered || seen.goes || (expired && !seen.has_value) {
            return offset >= self.covered;
        }
        match (&self.known, seen.key) {
            (Known::Table(keys), Some(key)) => keys.get(key).is_none_or(|last| last <= offset),
            _ => true,
        }
    }
}

fn offset_of(batch: &Header<'_>, offset_delta: i32) -> Offset {
    Offset(batch.base_offset().0 + i64::from(offset_delta))
}

impl Default for Judged {
    fn default() -> Self {
        Self { stays: Vec::new(), records: 0, count: 0, tombstones: false, max_timestamp: TimestampMs::NONE }
    }
}

impl Judged {
    fn begin(&mut self, batch: &Header<'_>) {
        let mut stays = std::mem::take(&mut self.stays);
        stays.clear();
        *self = Self { stays, ..Self::default() };
        if batch.timestamp_type() == TimestampType::LogAppendTime {
            self.max_timestamp = batch.max_timestamp();
        }
    }

    fn add(&mut self, batch: &Header<'_>, seen: &Seen, stays: bool) {
        let index = self.records;
        self.records += 1;
        if index.is_multiple_of(64) {
            self.stays.push(0);
        }
        if !stays {
            return;
        }
        if let Some(word) = self.stays.last_mut() {
            *word |= 1 << (index % 64);
        }
        self.count += 1;
        self.tombstones |= !seen.has_value;
        if batch.timestamp_type() == TimestampType::CreateTime {
            let time = TimestampMs(batch.base_timestamp().0.wrapping_add(seen.timestamp_delta));
            self.max_timestamp = self.max_timestamp.max(time);
        }
    }

    fn all(&self) -> bool {
        usize::try_from(self.count) == Ok(self.records)
    }

    fn has(&self, index: usize) -> bool {
        self.stays.get(index / 64).is_some_and(|word| word >> (index % 64) & 1 == 1)
    }

    /// What the records that stay say of their batch.
    fn left(&self, batch: &Header<'_>, horizon: Option<TimestampMs>) -> Left {
        Left {
            count: self.count,
            base_timestamp: horizon.unwrap_or(batch.base_timestamp()),
            max_timestamp: self.max_timestamp,
            has_delete_horizon: horizon.is_some() || batch.has_delete_horizon(),
        }
    }
}

impl Filtered {
    /// Nothing is left of nothing. What a large batch took is given back.
    fn begin(&mut self, step_bytes: usize) {
        self.bytes.clear();
        self.changed = false;
        for bytes in [&mut self.bytes, &mut self.packed] {
            if bytes.capacity() > 3 * step_bytes {
                bytes.shrink_to(step_bytes);
            }
        }
        self.bytes.reserve_exact(2 * step_bytes);
    }
}

#[cfg(test)]
mod tests;
