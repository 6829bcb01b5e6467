//! What a share consumer acquired in one partition, record by record, and what it is to say of it.

use bytes::Bytes;
use model::batch::{BatchError, RecordBatch};
use protocol::client::{Acquired, ShareAnswer};

use crate::mode::reading::Reading;
use crate::plan::Mix;
use crate::report::Interval;
use crate::stamp::{Checked, Stamp, Stamping};

/// Kafka's numbers of what can be said of a record.
pub const GAP: i8 = 0;
/// Done with.
pub const ACCEPT: i8 = 1;
/// To be delivered again.
pub const RELEASE: i8 = 2;
/// Never to be delivered again.
pub const REJECT: i8 = 3;

/// Deliveries after which a record is released no more: Kafka's limit is five, and what is given back then is delivered to nobody.
const RELEASES_MAX: i16 = 3;
/// Most records of a partition that are believed to be acquired at once: what can be in flight there is far less.
const ACQUIRED_MAX: u64 = 1 << 24;

/// Records in a row that were acquired together, and what is to be said of each.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Held {
    /// Offset of the first.
    pub first: i64,
    /// Of each from there on.
    pub kinds: Vec<i8>,
    /// Which of this run's own records they are, as far as anybody wants to know.
    pub own: Vec<Own>,
}

/// Records of one producer of this run, in a row by offset and by number, of which the same is said.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Own {
    /// Offset of the first.
    pub offset: u64,
    /// The producer.
    pub producer: u32,
    /// Number of the first.
    pub sequence: u64,
    /// How many.
    pub count: u64,
}

impl Held {
    fn new(run: &Acquired) -> Self {
        let length = usize::try_from(run.last - run.first + 1).unwrap_or(0);
        Self { first: run.first, kinds: vec![GAP; length], own: Vec::new() }
    }

    /// Offset of the last.
    pub fn last(&self) -> i64 {
        self.first + i64::try_from(self.kinds.len()).unwrap_or(0) - 1
    }

    /// What is said of the records as the protocol has it: once if it is the same of all.
    pub fn types(&self) -> Vec<i8> {
        match self.kinds.split_first() {
            Some((first, rest)) if rest.iter().all(|kind| kind == first) => vec![*first],
            _ => self.kinds.clone(),
        }
    }

    /// Spans of offsets that are through: first to end.
    pub fn through(&self) -> Vec<(u64, u64)> {
        let mut spans: Vec<(u64, u64)> = Vec::new();
        for (offset, kind) in (self.first.unsigned_abs()..).zip(&self.kinds) {
            match spans.last_mut() {
                _ if *kind == RELEASE => {}
                Some((_, end)) if *end == offset => *end += 1,
                _ => spans.push((offset, offset + 1)),
            }
        }
        spans
    }

    /// How many records something is said of.
    pub fn count(&self, kind: i8) -> u64 {
        self.kinds.iter().filter(|of| **of == kind).count() as u64
    }

    fn note(&mut self, offset: i64, stamp: &Stamp) {
        let offset = offset.unsigned_abs();
        match self.own.last_mut() {
            Some(last)
                if last.producer == stamp.producer
                    && last.offset + last.count == offset
                    && last.sequence + last.count == stamp.sequence =>
            {
                last.count += 1;
            }
            _ => {
                let (producer, sequence) = (stamp.producer, stamp.sequence);
                self.own.push(Own { offset, producer, sequence, count: 1 });
            }
        }
    }
}

/// Decides what is said of records.
#[derive(Debug)]
pub struct Judge {
    mix: Mix,
    random: fastrand::Rng,
}

impl Judge {
    /// Draws by `seed`.
    pub fn new(mix: Mix, seed: u64) -> Self {
        Self { mix, random: fastrand::Rng::with_seed(seed) }
    }

    fn judge(&mut self, delivery_count: i16) -> i8 {
        let Mix { release, reject } = self.mix;
        if release + reject == 0.0 {
            return ACCEPT;
        }
        let drawn = self.random.f64();
        if drawn < reject {
            REJECT
        } else if drawn < reject + release && delivery_count <= RELEASES_MAX {
            RELEASE
        } else {
            ACCEPT
        }
    }
}

/// The part of an acquired run that lies in a batch.
struct Part<'a> {
    held: &'a mut Held,
    delivery_count: i16,
    first: i64,
    last: i64,
}

/// Takes what an answer brought of one partition; none if it cannot be.
pub fn take(
    answer: &ShareAnswer,
    judge: &mut Judge,
    reading: &mut Reading,
    found: &mut Interval,
) -> Option<Vec<Held>> {
    let mut runs = answer.acquired.clone();
    runs.sort_unstable_by_key(|run| run.first);
    let sane = runs.iter().all(|run| 0 <= run.first && run.first <= run.last)
        && runs.windows(2).all(|two| two[0].last < two[1].first);
    // They do not overlap, so there is no overflow.
    let records: u64 = if sane { runs.iter().map(|run| run.last.abs_diff(run.first) + 1).sum() } else { 0 };
    if !sane || records > ACQUIRED_MAX {
        found.error("acquired records that cannot be", 1);
        return None;
    }
    let mut held: Vec<(Held, i16)> = runs.iter().map(|run| (Held::new(run), run.delivery_count)).collect();
    let mut at = 0;
    for batch in batches(&answer.records, reading, found) {
        let (first, last) = (batch.base_offset().0, batch.last_offset().0);
        while held.get(at).is_some_and(|(run, _)| run.last() < first) {
            at += 1;
        }
        found.bytes_received += batch.payload().len() as u64;
        for (run, delivery_count) in held[at..].iter_mut().take_while(|(run, _)| run.first <= last) {
            let (from, to) = (first.max(run.first), last.min(run.last()));
            let part = Part { held: run, delivery_count: *delivery_count, first: from, last: to };
            part.take(&batch, judge, reading, found);
        }
    }
    Some(held.into_iter().map(|(run, _)| run).collect())
}

/// The batches of an answer that hold records, as far as they can be read.
fn batches<'a>(records: &'a Bytes, reading: &Reading, found: &mut Interval) -> Vec<RecordBatch<'a>> {
    let (mut rest, mut batches) = (&records[..], Vec::new());
    while !rest.is_empty() {
        match RecordBatch::parse(rest) {
            Ok((batch, after)) => {
                rest = after;
                if !batch.is_control() && batch.last_offset_delta() >= 0 {
                    batches.push(batch);
                }
            }
            // Nothing of what is cut off is acquired.
            Err(BatchError::Truncated { .. }) => break,
            Err(error) => {
                found.error(&format!("unreadable batch: {error}"), 1);
                found.verification.damaged += u64::from(reading.stamping == Stamping::Full);
                break;
            }
        }
    }
    batches
}

impl Part<'_> {
    fn take(
        mut self,
        batch: &RecordBatch<'_>,
        judge: &mut Judge,
        reading: &mut Reading,
        found: &mut Interval,
    ) {
        // Without holes, and where nobody wants to know more, the header says enough.
        let whole = batch.record_count() == batch.last_offset_delta().saturating_add(1);
        if whole && reading.stamping == Stamping::None {
            (self.first..=self.last).for_each(|offset| self.set(offset, judge.judge(self.delivery_count)));
            return self.count(self.last.abs_diff(self.first) + 1, found);
        }
        let mut records = 0;
        reading.each(batch, found, |record, reading, found| {
            let offset = record.offset(batch).0;
            if !(self.first..=self.last).contains(&offset) {
                return;
            }
            records += 1;
            let kind = judge.judge(self.delivery_count);
            self.set(offset, kind);
            let (key, value) = (record.key.unwrap_or_default(), record.value.unwrap_or_default());
            if reading.stamping == Stamping::Full {
                self.check(offset, kind, (key, value), reading, found);
            }
            // How long a record took that was given back before is no matter of the broker alone.
            if reading.stamping != Stamping::None && self.delivery_count <= 1 {
                reading.latency(value, found);
            }
        });
        self.count(records, found);
    }

    fn set(&mut self, offset: i64, kind: i8) {
        let at = usize::try_from(offset - self.held.first).unwrap_or(usize::MAX);
        if let Some(slot) = self.held.kinds.get_mut(at) {
            *slot = kind;
        }
    }

    fn count(&self, records: u64, found: &mut Interval) {
        found.records_received += records;
        found.shares.acquired += records;
        found.shares.redelivered += if self.delivery_count > 1 { records } else { 0 };
    }

    fn check(
        &mut self,
        offset: i64,
        kind: i8,
        (key, value): (&[u8], &[u8]),
        reading: &Reading,
        found: &mut Interval,
    ) {
        let checked = Stamp::check(key, value, reading.run);
        found.verification.checked += u64::from(checked != Checked::Foreign);
        match checked {
            Checked::Foreign => found.verification.foreign += 1,
            Checked::Damaged => found.verification.damaged += 1,
            Checked::Good(stamp) if stamp.run == reading.run && kind != RELEASE => {
                self.held.note(offset, &stamp);
            }
            Checked::Good(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use model::batch::BatchBuilder;
    use model::{ErrorCode, LeaderEpoch, Offset, TimestampMs};

    use super::*;
    use crate::report::Measure;

    const NONE: Mix = Mix { release: 0.0, reject: 0.0 };

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

    fn taken(
        records: &[Vec<u8>],
        acquired: &[(i64, i64, i16)],
        mix: Mix,
        stamping: Stamping,
    ) -> (Option<Vec<Held>>, Interval) {
        let run = |(first, last, delivery_count): &(i64, i64, i16)| Acquired {
            first: *first,
            last: *last,
            delivery_count: *delivery_count,
        };
        let answer = ShareAnswer {
            index: 0,
            error: ErrorCode::None,
            acknowledge_error: ErrorCode::None,
            records: Bytes::from(records.concat()),
            acquired: acquired.iter().map(run).collect(),
        };
        let mut reading =
            Reading { stamping, run: 9, any_run: false, now_unix_ns: 7_000_000, scratch: Vec::new() };
        let mut found = Interval::new();
        (take(&answer, &mut Judge::new(mix, 1), &mut reading, &mut found), found)
    }

    #[test]
    fn only_what_was_acquired_counts() {
        let records = [batch(10, &[0, 1, 2, 3]), batch(14, &[4, 5])];
        for stamping in [Stamping::None, Stamping::Time, Stamping::Full] {
            let (held, found) = taken(&records, &[(11, 12, 1), (14, 15, 3)], NONE, stamping);
            let held = held.unwrap();
            assert_eq!(
                held.iter().map(|run| (run.first, run.last())).collect::<Vec<_>>(),
                [(11, 12), (14, 15)]
            );
            assert!(held.iter().all(|run| run.types() == [ACCEPT]));
            let counted = (found.records_received, found.shares.acquired, found.shares.redelivered);
            assert_eq!(counted, (4, 4, 2));
            // Latencies are of first deliveries.
            let latencies = found.latencies[Measure::EndToEnd as usize].as_ref();
            assert_eq!(latencies.map_or(0, |all| all.len()), if stamping == Stamping::None { 0 } else { 2 });
        }
        let (held, found) = taken(&records, &[(11, 12, 1), (13, 15, 1)], NONE, Stamping::Full);
        let own = |offset: u64, sequence: u64, count: u64| Own { offset, producer: 1, sequence, count };
        let held = held.unwrap();
        assert_eq!((&held[0].own[..], &held[1].own[..]), (&[own(11, 1, 2)][..], &[own(13, 3, 3)][..]));
        assert_eq!((found.verification.checked, found.verification.is_clean()), (5, true));
    }

    #[test]
    fn where_there_is_no_record_there_is_a_gap() {
        let (held, found) = taken(&[batch(10, &[0, 1])], &[(8, 13, 1)], NONE, Stamping::None);
        let held = held.unwrap().remove(0);
        assert_eq!(held.types(), [GAP, GAP, ACCEPT, ACCEPT, GAP, GAP]);
        // What is no record is through as well.
        assert_eq!((held.through(), held.count(ACCEPT), found.records_received), (vec![(8, 14)], 2, 2));
    }

    #[test]
    fn the_mix_is_as_asked() {
        let sequences: Vec<u64> = (0..1000).collect();
        let mix = Mix { release: 0.3, reject: 0.2 };
        let (held, _) = taken(&[batch(0, &sequences)], &[(0, 999, 1)], mix, Stamping::Full);
        let held = held.unwrap().remove(0);
        let counts = [ACCEPT, RELEASE, REJECT].map(|kind| held.count(kind));
        assert!(counts[1].abs_diff(300) < 60 && counts[2].abs_diff(200) < 60, "{counts:?}");
        let through: u64 = held.through().iter().map(|(first, end)| end - first).sum();
        let own: u64 = held.own.iter().map(|own| own.count).sum();
        assert_eq!((through, own), (1000 - counts[1], 1000 - counts[1]));
        // Not for ever.
        let (held, _) = taken(&[batch(0, &sequences)], &[(0, 999, 4)], mix, Stamping::None);
        assert_eq!(held.unwrap()[0].count(RELEASE), 0);
    }

    #[test]
    fn what_cannot_be_is_an_error() {
        for runs in [&[(5, 4, 1)][..], &[(-1, 4, 1)], &[(0, i64::MAX, 1)], &[(0, 5, 1), (5, 6, 1)]] {
            let (held, found) = taken(&[batch(0, &[0])], runs, NONE, Stamping::None);
            assert!(held.is_none() && found.errors_total() == 1, "{runs:?}");
        }
        let mut damaged = batch(0, &[0, 1]);
        let last = damaged.len() - 2;
        damaged[last] ^= 1;
        let (_, found) = taken(&[damaged, vec![7; 100]], &[(0, 1, 1)], NONE, Stamping::Full);
        // The batch's checksum, the record's, and the bytes that are no batch.
        assert_eq!(found.verification.damaged, 3);
    }
}
