//! The first half of a pass: which key was written last where.

use std::io;

use model::Offset;
use model::batch::RecordBatch;

use super::keys::{KEYS_AT_ONCE, Key, KeyMap};
use super::list::List;
use super::step::Step;
use super::unpack::Room;
use crate::records::Records;
use crate::records::plain::Plain;

/// What is known of the keys from some offset on.
pub(super) struct Learner {
    pub keys: KeyMap,
    /// Where keys go instead of the table, if there is one.
    pub list: Option<List>,
    /// Records before this one are not new.
    from: Offset,
    room: Room,
    /// All keys from there to before this are in the table.
    pub covered: Offset,
    /// It has no room for another key.
    pub full: bool,
}

impl Learner {
    /// Knows nothing yet of the records from `from` on. Batches with a larger record say nothing: nobody looks into them.
    pub fn new(keys: KeyMap, from: Offset, record_bytes_max: usize) -> Self {
        Self { keys, list: None, from, room: Room::up_to(record_bytes_max), covered: from, full: false }
    }

    /// Puts what it learns from `from` on into a list. The table stays as it is.
    pub fn listing(keys: KeyMap, list: List, from: Offset, record_bytes_max: usize) -> Self {
        Self { list: Some(list), ..Self::new(keys, from, record_bytes_max) }
    }

    /// Takes in whole batches, in the log's order, until there is no more room, or for as long as a step takes. Returns how many bytes
    /// it took. An error says which batch is damaged.
    pub fn take(&mut self, batches: &[u8]) -> Result<usize, String> {
        let step = Step::begin(&self.room);
        let mut left = RecordBatch::all_in(batches);
        for batch in left.by_ref() {
            let batch = batch.map_err(|error| error.to_string())?;
            batch.check_crc().map_err(|error| format!("batch {}: {error}", batch.base_offset()))?;
            if batch.last_offset() < self.from {
                continue;
            }
            if !batch.is_control()
                && let Some(offset) = self.take_one(&batch)
            {
                // The next pass goes on in the middle of this batch.
                self.covered = self.covered.max(offset);
                self.full = true;
                break;
            }
            self.covered = self.covered.max(batch.last_offset().next());
            if step.is_over(&self.room) {
                break;
            }
        }
        Ok(batches.len() - left.rest().len())
    }

    /// There is nothing more before `to`.
    pub fn pass_to(&mut self, to: Offset) {
        if !self.full {
            self.covered = self.covered.max(to);
        }
    }

    /// Returns the offset of the first record for which there is no room. A batch of which some record cannot be read says nothing: half of
    /// it would speak for records that nobody can read.
    fn take_one(&mut self, batch: &RecordBatch<'_>) -> Option<Offset> {
        let Self { keys, list, from, room, .. } = self;
        if list.as_ref().is_some_and(|list| !list.takes(batch.record_count())) {
            return Some(batch.base_offset());
        }
        let mut target = Target { keys, list: list.as_mut() };
        let record_bytes_max = room.record_bytes_max();
        let mark = target.list.as_ref().map(|list| list.mark());
        let full = match room.records(batch) {
            Ok(Some(records)) if records.is_sound() => target.put_all(*from, batch.base_offset(), records),
            Ok(None) => {
                let records = || Records::up_to(batch, record_bytes_max);
                let sound = records().is_ok_and(|records| is_sound(records).is_ok());
                let records = if sound { records().ok() } else { None };
                records.and_then(|records| target.put_each(*from, batch.base_offset(), records))
            }
            Ok(Some(_)) | Err(_) => None,
        };
        if let (Some(_), Some(list), Some(mark)) = (full, list, mark) {
            // A list has whole batches, so that whoever goes through them counts as it does.
            list.back_to(mark);
            return Some(batch.base_offset());
        }
        full
    }
}

fn is_sound(mut records: Records<'_>) -> io::Result<()> {
    while records.next()?.is_some() {}
    Ok(())
}

/// Where keys go.
struct Target<'a> {
    keys: &'a mut KeyMap,
    list: Option<&'a mut List>,
}

impl Target<'_> {
    fn put(&mut self, key: Key, offset: Offset) -> bool {
        match &mut self.list {
            Some(list) => list.put(key, offset),
            None => self.keys.put(key, offset),
        }
    }

    /// Puts the keys of records that can be read, those from `from` on; where there was no room for one.
    fn put_all(&mut self, from: Offset, base: Offset, mut records: Plain<'_>) -> Option<Offset> {
        loop {
            let mut some = [(Key::default(), Offset::ZERO); KEYS_AT_ONCE];
            let mut count = 0;
            let mut ended = false;
            while let Some(place) = some.get_mut(count) {
                let Ok(Some(record)) = records.next() else {
                    ended = true;
                    break;
                };
                let offset = Offset(base.0 + i64::from(record.offset_delta));
                if let Some(key) = record.key.filter(|_| offset >= from) {
                    *place = (self.keys.key(key), offset);
                    count += 1;
                }
            }
            let some = some.get(..count).unwrap_or_default();
            if self.list.is_none() {
                self.keys.fetch(some.iter().map(|(key, _)| *key));
            }
            for (key, offset) in some {
                if !self.put(*key, *offset) {
                    return Some(*offset);
                }
            }
            if ended {
                return None;
            }
        }
    }

    /// The same of records that stream by.
    fn put_each(&mut self, from: Offset, base: Offset, mut records: Records<'_>) -> Option<Offset> {
        while let Ok(Some(record)) = records.next() {
            let offset = Offset(base.0 + i64::from(record.offset_delta));
            if let Some(key) = record.key.filter(|_| offset >= from) {
                let key = self.keys.key(key);
                if !self.put(key, offset) {
                    return Some(offset);
                }
            }
        }
        None
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
        let place = |key: i64| learner.keys.get(learner.keys.key(&key.to_le_bytes()));
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
