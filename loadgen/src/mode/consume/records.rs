//! What arrived in one partition: batches walked where they lie, records looked at only if somebody wants to know.

use std::collections::HashMap;

use bytes::Bytes;
use model::batch::{BatchError, RecordBatch};

use crate::mode::reading::Reading;
use crate::report::Interval;
use crate::stamp::{Checked, Stamp, Stamping};
use crate::verify::{Ledger, Track};

/// Where a consumer is in a partition, and what it has seen there.
#[derive(Debug)]
pub struct Position {
    /// The next offset to fetch.
    pub offset: i64,
    /// Whether it has seen the log from its first record on.
    complete: bool,
    /// By run and producer.
    tracks: HashMap<(u32, u32), Track>,
    /// Something in the log cannot be read: it is left alone.
    pub dead: bool,
}

impl Position {
    /// At `offset`; `complete` when nothing came before it.
    pub fn new(offset: i64, complete: bool) -> Self {
        Self { offset, complete, tracks: HashMap::new(), dead: false }
    }

    /// Takes what a fetch brought; how many records there were.
    pub fn take(&mut self, records: &Bytes, reading: &mut Reading, found: &mut Interval) -> u64 {
        let (mut rest, mut taken) = (&records[..], 0);
        while !rest.is_empty() {
            let batch = match RecordBatch::parse(rest) {
                Ok((batch, after)) => {
                    rest = after;
                    batch
                }
                // Brokers cut off the last one.
                Err(BatchError::Truncated { .. }) => break,
                Err(error) => {
                    found.error(&format!("unreadable batch: {error}"), 1);
                    found.verification.damaged += u64::from(reading.stamping == Stamping::Full);
                    self.dead = true;
                    break;
                }
            };
            let (first, last) = (batch.base_offset().0, batch.last_offset().0);
            if last < self.offset {
                // A broker that gives what was not asked for: with verification, repetition.
                if reading.stamping < Stamping::Full || first + i64::from(batch.record_count()) > self.offset
                {
                    continue;
                }
            }
            if batch.is_control() {
                self.offset = self.offset.max(last + 1);
                continue;
            }
            // The first batch may begin before what was asked for.
            let skip = u64::try_from(self.offset - first).unwrap_or(0);
            let skip = if skip > i64::from(batch.last_offset_delta()).unsigned_abs() { 0 } else { skip };
            let count = u64::try_from(batch.record_count()).unwrap_or(0).saturating_sub(skip);
            taken += count;
            found.records_received += count;
            found.bytes_received += batch.payload().len() as u64;
            if reading.stamping != Stamping::None {
                self.look(&batch, skip, reading, found);
            }
            self.offset = self.offset.max(last + 1);
        }
        taken
    }

    fn look(&mut self, batch: &RecordBatch<'_>, skip: u64, reading: &mut Reading, found: &mut Interval) {
        let mut index = 0;
        reading.each(batch, found, |record, reading, found| {
            index += 1;
            if index <= skip {
                return;
            }
            let (key, value) = (record.key.unwrap_or_default(), record.value.unwrap_or_default());
            if reading.stamping == Stamping::Full {
                self.check(key, value, reading, found);
            }
            reading.latency(value, found);
        });
    }

    fn check(&mut self, key: &[u8], value: &[u8], reading: &Reading, found: &mut Interval) {
        let checked = Stamp::check(key, value, reading.run);
        found.verification.checked += u64::from(checked != Checked::Foreign);
        match checked {
            Checked::Foreign => found.verification.foreign += 1,
            Checked::Damaged => found.verification.damaged += 1,
            Checked::Good(stamp) => {
                let complete = self.complete || stamp.run == reading.run;
                let track = self.tracks.entry((stamp.run, stamp.producer)).or_insert_with(|| {
                    // Of a log whose beginning we have not seen, the first record may be any.
                    Track::starting_at(if complete { 0 } else { stamp.sequence })
                });
                track.see(stamp.sequence, &mut found.verification);
            }
        }
    }

    /// Records that are known to be lost: of this run by what its producers say, of others by the gaps they left.
    pub fn lost(&self, place: usize, run: u32, ledger: &Ledger) -> u64 {
        let nothing = Track::default();
        let own = ledger.iter().filter(|((of, _), _)| *of == place);
        let own = own.map(|((_, producer), sent)| {
            let track = self.tracks.get(&(run, *producer)).unwrap_or(&nothing);
            track.lost(sent.count, &sent.unacknowledged)
        });
        let others = self.tracks.iter().filter(|((of, _), _)| *of != run);
        own.sum::<u64>() + others.map(|(_, track)| track.lost_so_far()).sum::<u64>()
    }
}

#[cfg(test)]
mod tests {
    use model::batch::BatchBuilder;
    use model::{LeaderEpoch, Offset, TimestampMs};

    use super::*;
    use crate::report::Measure;

    fn batch(offset: i64, sequences: &[u64]) -> Vec<u8> {
        let mut builder = BatchBuilder::new().stored_at(Offset(offset), LeaderEpoch(0));
        for sequence in sequences {
            let mut value = vec![1; 40];
            let stamp = Stamp { unix_ns: 5_000_000, run: 9, producer: 1, sequence: *sequence };
            stamp.write(Stamping::Full, b"k", &mut value);
            builder = builder.record(TimestampMs(1), Some(b"k"), Some(&value));
        }
        builder.build()
    }

    fn reading(stamping: Stamping) -> Reading {
        Reading { stamping, run: 9, any_run: false, now_unix_ns: 7_000_000, scratch: Vec::new() }
    }

    #[test]
    fn records_are_counted_from_headers() {
        let (mut position, mut found) = (Position::new(12, false), Interval::new());
        let bytes = [batch(10, &[0, 1, 2, 3]), batch(14, &[4, 5])].concat();
        // Cut off within the second, and begun before what was asked for.
        let cut = Bytes::copy_from_slice(&bytes[..bytes.len() - 1]);
        assert_eq!(position.take(&cut, &mut reading(Stamping::None), &mut found), 2);
        assert_eq!((position.offset, found.records_received), (14, 2));
        assert_eq!(position.take(&Bytes::from(bytes), &mut reading(Stamping::None), &mut found), 2);
        assert_eq!((position.offset, found.records_received), (16, 4));
        assert!(found.latencies[Measure::EndToEnd as usize].is_none());
    }

    #[test]
    fn stamps_give_latency_and_verification() {
        let (mut position, mut found) = (Position::new(0, true), Interval::new());
        let bytes = [batch(0, &[0, 1, 2]), batch(3, &[2, 5]), batch(5, &[4])].concat();
        position.take(&Bytes::from(bytes), &mut reading(Stamping::Full), &mut found);
        let latencies = found.latencies[Measure::EndToEnd as usize].as_ref().unwrap();
        assert_eq!((latencies.len(), latencies.max()), (6, 2000));
        assert_eq!(found.verification.checked, 6);
        assert_eq!((found.verification.repeated, found.verification.reordered), (1, 1));
        let sent = crate::verify::Sent { count: 8, unacknowledged: vec![(7, 8)] };
        // 3 and 6, but 7 was never acknowledged.
        assert_eq!(position.lost(0, 9, &Ledger::from([((0, 1), sent)])), 2);
    }

    #[test]
    fn records_of_others_are_foreign_and_have_no_latency() {
        let (mut position, mut found) = (Position::new(0, true), Interval::new());
        let theirs = BatchBuilder::new().stored_at(Offset(2), LeaderEpoch(0));
        let theirs = theirs.record(TimestampMs(1), None, Some(&[1; 100])).record(TimestampMs(1), None, None);
        let bytes = [batch(0, &[0, 1]), theirs.build(), batch(4, &[2])].concat();
        position.take(&Bytes::from(bytes), &mut reading(Stamping::Full), &mut found);
        assert_eq!((found.verification.checked, found.verification.foreign), (3, 2));
        assert!(found.verification.is_clean());
        assert_eq!(found.latencies[Measure::EndToEnd as usize].as_ref().unwrap().len(), 3);
    }

    #[test]
    fn damage_is_counted() {
        let (mut position, mut found) = (Position::new(0, true), Interval::new());
        let mut bytes = batch(0, &[0, 1]);
        let last = bytes.len() - 2;
        bytes[last] ^= 1;
        position.take(&Bytes::from(bytes), &mut reading(Stamping::Full), &mut found);
        // The batch's checksum and the record's.
        assert_eq!(found.verification.damaged, 2);
        let garbage = Bytes::from(vec![7; 100]);
        position.take(&garbage, &mut reading(Stamping::Full), &mut found);
        assert!(position.dead);
    }
}
