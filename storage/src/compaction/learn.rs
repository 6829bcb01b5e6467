//! The first half of a pass: which key was written last where.

use model::Offset;
use model::batch::RecordBatch;

use super::keys::KeyMap;
use crate::records::Records;

/// What is known of the keys from some offset on.
pub(super) struct Learner {
    pub keys: KeyMap,
    /// Records before this one are not new.
    from: Offset,
    /// Batches with a larger record say nothing: nobody looks into them.
    record_bytes_max: usize,
    /// All keys from there to before this are in the table.
    pub covered: Offset,
    /// It has no room for another key.
    pub full: bool,
}

impl Learner {
    /// Knows nothing yet of the records from `from` on.
    pub fn new(keys: KeyMap, from: Offset, record_bytes_max: usize) -> Self {
        Self { keys, from, record_bytes_max, covered: from, full: false }
    }

    /// Takes in whole batches, in the log's order, until there is no more room. An error says which batch is damaged.
    pub fn take(&mut self, batches: &[u8]) -> Result<(), String> {
        for batch in RecordBatch::all_in(batches) {
            let batch = batch.map_err(|error| error.to_string())?;
            batch.check_crc().map_err(|error| format!("batch {}: {error}", batch.base_offset()))?;
            if batch.last_offset() < self.from {
                continue;
            }
            // Half of a batch would speak for records that nobody can read.
            if !batch.is_control() && self.can_read(&batch) && !self.take_one(&batch) {
                self.full = true;
                return Ok(());
            }
            self.covered = self.covered.max(batch.last_offset().next());
        }
        Ok(())
    }

    /// There is nothing more before `to`.
    pub fn pass_to(&mut self, to: Offset) {
        if !self.full {
            self.covered = self.covered.max(to);
        }
    }

    fn take_one(&mut self, batch: &RecordBatch<'_>) -> bool {
        let Ok(mut records) = Records::up_to(batch, self.record_bytes_max) else { return true };
        while let Ok(Some(record)) = records.next() {
            let offset = Offset(batch.base_offset().0 + i64::from(record.offset_delta));
            if offset < self.from {
                continue;
            }
            if let Some(key) = record.key
                && !self.keys.put(key, offset)
            {
                // The next pass goes on in the middle of this batch.
                self.covered = self.covered.max(offset);
                return false;
            }
        }
        true
    }

    /// Whether all records of a batch can be read. What is not compressed was looked through when it came.
    fn can_read(&self, batch: &RecordBatch<'_>) -> bool {
        let Ok(mut records) = Records::up_to(batch, self.record_bytes_max) else { return false };
        loop {
            match records.next() {
                Ok(Some(_)) => {}
                Ok(None) => return true,
                Err(_) => return false,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use model::batch::{BatchBuilder, Compression};
    use model::{LeaderEpoch, TimestampMs};

    use super::super::keys::SLOT_BYTES;
    use super::*;

    fn batch(base: i64, keys: &[i64]) -> Vec<u8> {
        let mut batch = BatchBuilder::new().stored_at(Offset(base), LeaderEpoch(1));
        for key in keys {
            batch = batch.record(TimestampMs(1), Some(&key.to_le_bytes()), Some(b"v"));
        }
        batch.build()
    }

    fn learner(from: i64) -> Learner {
        Learner::new(KeyMap::with_memory(100 * SLOT_BYTES), Offset(from), 1 << 20)
    }

    #[test]
    fn the_last_of_each_key_counts_from_the_first_new_record_on() {
        let mut learner = learner(11);
        learner.take(&[batch(9, &[5]), batch(10, &[1, 2, 1])].concat()).unwrap();
        learner.take(&batch(13, &[2])).unwrap();
        assert_eq!(learner.covered, Offset(14));
        learner.pass_to(Offset(20));
        let place = |key: i64| learner.keys.get(&key.to_le_bytes());
        assert_eq!((place(1), place(2), place(5)), (Some(Offset(12)), Some(Offset(13)), None));
        assert_eq!((learner.covered, learner.full), (Offset(20), false));
    }

    #[test]
    fn a_full_table_ends_in_the_middle_of_a_batch() {
        let mut learner = learner(0);
        let keys: Vec<i64> = (0..200).collect();
        learner.take(&[batch(0, &keys[..50]), batch(50, &keys[50..]), batch(200, &[1])].concat()).unwrap();
        learner.pass_to(Offset(201));
        assert_eq!((learner.covered, learner.full), (Offset(90), true));
        let mut next = Learner::new(KeyMap::with_memory(100 * SLOT_BYTES), learner.covered, 1 << 20);
        next.take(&batch(50, &keys[50..])).unwrap();
        assert_eq!(next.covered, Offset(180));
    }

    #[test]
    fn what_cannot_be_read_says_nothing_and_damage_is_an_error() {
        let mut learner = learner(0);
        let garbled = BatchBuilder::new()
            .record(TimestampMs(1), Some(b"a"), None)
            .build_compressed(Compression::Zstd, |_| vec![7; 90]);
        learner.take(&garbled).unwrap();
        assert_eq!((learner.keys.used(), learner.covered), (0, Offset(1)));
        let mut rotten = batch(1, &[4]);
        rotten[70] ^= 1;
        assert!(learner.take(&rotten).is_err());
    }
}
