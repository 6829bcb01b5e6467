//! What one partition remembers of its idempotent producers, and what it says to their next batch.
//!
//! The rules are Kafka's (KIP-98, KIP-360): a batch with the exact sequence range of one of the producer's last five
//! is a duplicate; otherwise its epoch may not be older than the newest seen, and its first sequence must follow the
//! last one. A producer nothing is known of (never seen, or forgotten because it was silent for
//! `producer.id.expiration.ms`) may start anywhere.

use std::collections::{HashMap, VecDeque};

use model::limits::{PRODUCER_BATCHES, PRODUCERS_MAX};
use model::{ErrorCode, Offset, ProducerEpoch, ProducerId, TimestampMs};

/// What the check needs to know of a batch of an idempotent producer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BatchFacts {
    /// Who wrote it; never [`ProducerId::NONE`].
    pub producer: ProducerId,
    /// Which incarnation of it.
    pub epoch: ProducerEpoch,
    /// Sequence of the first record, from 0.
    pub first_sequence: i32,
    /// Sequence of the last record; below `first_sequence` when the counter wrapped.
    pub last_sequence: i32,
    /// The batch's largest timestamp.
    pub max_timestamp: TimestampMs,
}

/// One batch of a producer, as remembered and as kept in snapshots.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BatchMemo {
    /// Sequence of its first record.
    pub first_sequence: i32,
    /// Sequence of its last record.
    pub last_sequence: i32,
    /// Offset of its first record.
    pub base_offset: Offset,
    /// Offset of its last record.
    pub last_offset: Offset,
    /// Its largest timestamp.
    pub timestamp: TimestampMs,
}

/// One producer, as kept in snapshots.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProducerSnapshot {
    /// Who.
    pub producer: ProducerId,
    /// Newest epoch seen.
    pub epoch: ProducerEpoch,
    /// Timestamp of its last batch: what expiry counts from.
    pub last_timestamp: TimestampMs,
    /// Its last batches, oldest first, at most [`PRODUCER_BATCHES`].
    pub batches: Vec<BatchMemo>,
}

/// What to do with a batch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Append it, then call [`Producers::appended`].
    Append,
    /// It is in the log already: answer with these offsets once *they* are durable.
    Duplicate(BatchMemo),
    /// Append nothing; the code for the client and a sentence for people.
    Refuse(ErrorCode, String),
}

#[derive(Clone, Debug)]
struct Producer {
    epoch: ProducerEpoch,
    last_timestamp: TimestampMs,
    /// Oldest first, all of `epoch`, at most `PRODUCER_BATCHES`.
    batches: VecDeque<BatchMemo>,
}

/// The idempotent producers of one partition.
#[derive(Clone, Default, Debug)]
pub struct Producers {
    known: HashMap<ProducerId, Producer>,
}

impl Producers {
    /// Knows nobody.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What was snapshotted. Batches beyond [`PRODUCER_BATCHES`] are dropped, oldest first.
    #[must_use]
    pub fn from_snapshot(snapshot: Vec<ProducerSnapshot>) -> Self {
        let known = snapshot.into_iter().map(|kept| {
            let surplus = kept.batches.len().saturating_sub(PRODUCER_BATCHES);
            let batches = kept.batches.into_iter().skip(surplus).collect();
            (kept.producer, Producer { epoch: kept.epoch, last_timestamp: kept.last_timestamp, batches })
        });
        Self { known: known.collect() }
    }

    /// Everything, ordered by producer id.
    #[must_use]
    pub fn snapshot(&self) -> Vec<ProducerSnapshot> {
        let mut all: Vec<_> = self
            .known
            .iter()
            .map(|(&producer, known)| ProducerSnapshot {
                producer,
                epoch: known.epoch,
                last_timestamp: known.last_timestamp,
                batches: known.batches.iter().copied().collect(),
            })
            .collect();
        all.sort_unstable_by_key(|kept| kept.producer);
        all
    }

    /// How many producers are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether none is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Bytes of memory they take at most: as if each had all the batches that are remembered.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        // One byte of control beside each place in the table; a queue of batches doubles as it grows.
        let places = self.known.capacity() * (size_of::<(ProducerId, Producer)>() + 1);
        places + self.known.len() * PRODUCER_BATCHES.next_power_of_two() * size_of::<BatchMemo>()
    }

    /// Judges a client's batch; changes nothing.
    #[must_use]
    pub fn check(&self, batch: &BatchFacts) -> Verdict {
        let Some(known) = self.known.get(&batch.producer) else { return Verdict::Append };
        if batch.epoch == known.epoch
            && let Some(original) = known.batches.iter().find(|memo| {
                memo.first_sequence == batch.first_sequence && memo.last_sequence == batch.last_sequence
            })
        {
            return Verdict::Duplicate(*original);
        }
        if batch.epoch < known.epoch {
            let (id, epoch, newest) = (batch.producer.0, batch.epoch.0, known.epoch.0);
            let text = format!("epoch {epoch} of producer {id} is older than the last seen epoch {newest}");
            return Verdict::Refuse(ErrorCode::InvalidProducerEpoch, text);
        }
        let expected = if batch.epoch > known.epoch {
            0
        } else {
            known.batches.back().map_or(0, |last| sequence_after(last.last_sequence))
        };
        if batch.first_sequence == expected {
            return Verdict::Append;
        }
        let (id, epoch, first) = (batch.producer.0, batch.epoch.0, batch.first_sequence);
        let text = format!("sequence {first} of producer {id}, epoch {epoch}, where {expected} was expected");
        Verdict::Refuse(ErrorCode::OutOfOrderSequenceNumber, text)
    }

    /// Remembers a batch that is in the log: after [`Verdict::Append`], in replay and for a follower. Never refuses.
    pub fn appended(&mut self, batch: &BatchFacts, base_offset: Offset, last_offset: Offset) {
        debug_assert!(base_offset <= last_offset);
        if !self.known.contains_key(&batch.producer) && self.known.len() >= PRODUCERS_MAX {
            self.forget_longest_silent(PRODUCERS_MAX / 16);
        }
        let known = self.known.entry(batch.producer).or_insert_with(|| Producer {
            epoch: batch.epoch,
            last_timestamp: batch.max_timestamp,
            batches: VecDeque::new(),
        });
        if known.epoch != batch.epoch {
            known.epoch = batch.epoch;
            known.batches.clear();
        }
        if known.batches.len() == PRODUCER_BATCHES {
            known.batches.pop_front();
        }
        known.last_timestamp = batch.max_timestamp;
        known.batches.push_back(BatchMemo {
            first_sequence: batch.first_sequence,
            last_sequence: batch.last_sequence,
            base_offset,
            last_offset,
            timestamp: batch.max_timestamp,
        });
    }

    /// Forgets producers whose last batch is `expiration_ms` old or older at wall time `now`; says how many.
    pub fn expire(&mut self, now: TimestampMs, expiration_ms: u64) -> usize {
        let before = self.known.len();
        let age_max = i64::try_from(expiration_ms).unwrap_or(i64::MAX);
        self.known.retain(|_, known| now.0.saturating_sub(known.last_timestamp.0) < age_max);
        before - self.known.len()
    }

    fn forget_longest_silent(&mut self, count: usize) {
        let mut silence: Vec<_> = self.known.iter().map(|(id, known)| (known.last_timestamp, *id)).collect();
        silence.sort_unstable();
        for (_, id) in silence.into_iter().take(count) {
            self.known.remove(&id);
        }
    }
}

/// The sequence that follows: from `i32::MAX` it starts again at 0.
#[must_use]
pub const fn sequence_after(sequence: i32) -> i32 {
    if sequence == i32::MAX { 0 } else { sequence + 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(epoch: i16, first: i32, last: i32) -> BatchFacts {
        BatchFacts {
            producer: ProducerId(7),
            epoch: ProducerEpoch(epoch),
            first_sequence: first,
            last_sequence: last,
            max_timestamp: TimestampMs(1000),
        }
    }

    fn after(batches: &[(i16, i32, i32, i64)]) -> Producers {
        let mut producers = Producers::new();
        for &(epoch, first, last, base) in batches {
            let end = base + i64::from(last.wrapping_sub(first) & i32::MAX);
            producers.appended(&facts(epoch, first, last), Offset(base), Offset(end));
        }
        producers
    }

    fn refusal(verdict: &Verdict) -> Option<ErrorCode> {
        if let Verdict::Refuse(code, _) = verdict { Some(*code) } else { None }
    }

    #[test]
    fn an_unknown_producer_may_start_anywhere() {
        assert_eq!(Producers::new().check(&facts(3, 41, 50)), Verdict::Append);
    }

    #[test]
    fn the_last_five_are_recognised_and_the_sixth_is_out_of_order() {
        let batches: Vec<_> = (0..6).map(|i| (0, i * 10, i * 10 + 9, i64::from(i) * 10 + 100)).collect();
        let producers = after(&batches);
        for i in 1..6 {
            let Verdict::Duplicate(original) = producers.check(&facts(0, i * 10, i * 10 + 9)) else {
                panic!("batch {i} not recognised")
            };
            assert_eq!(original.base_offset, Offset(i64::from(i) * 10 + 100));
            assert_eq!(original.last_offset, Offset(i64::from(i) * 10 + 109));
        }
        assert_eq!(refusal(&producers.check(&facts(0, 0, 9))), Some(ErrorCode::OutOfOrderSequenceNumber));
        assert_eq!(producers.check(&facts(0, 60, 60)), Verdict::Append);
        assert_eq!(refusal(&producers.check(&facts(0, 61, 61))), Some(ErrorCode::OutOfOrderSequenceNumber));
        // Part of a remembered batch is no duplicate.
        assert_eq!(refusal(&producers.check(&facts(0, 50, 58))), Some(ErrorCode::OutOfOrderSequenceNumber));
    }

    #[test]
    fn a_new_epoch_starts_at_zero_and_fences_the_old_one() {
        let mut producers = after(&[(4, 0, 9, 0)]);
        assert_eq!(refusal(&producers.check(&facts(5, 10, 11))), Some(ErrorCode::OutOfOrderSequenceNumber));
        assert_eq!(producers.check(&facts(5, 0, 0)), Verdict::Append);
        producers.appended(&facts(5, 0, 0), Offset(10), Offset(10));
        assert_eq!(refusal(&producers.check(&facts(4, 10, 10))), Some(ErrorCode::InvalidProducerEpoch));
        assert_eq!(refusal(&producers.check(&facts(4, 0, 9))), Some(ErrorCode::InvalidProducerEpoch));
    }

    #[test]
    fn sequences_wrap_to_zero() {
        let producers = after(&[(0, i32::MAX - 1, i32::MAX, 0)]);
        assert_eq!(producers.check(&facts(0, 0, 3)), Verdict::Append);
        let producers = after(&[(0, i32::MAX, 1, 0)]);
        assert_eq!(producers.check(&facts(0, 2, 3)), Verdict::Append);
        assert!(matches!(producers.check(&facts(0, i32::MAX, 1)), Verdict::Duplicate(_)));
    }

    #[test]
    fn the_silent_expire() {
        let mut producers = after(&[(0, 0, 9, 0)]);
        assert_eq!(producers.expire(TimestampMs(1999), 1000), 0);
        assert_eq!(producers.expire(TimestampMs(2000), 1000), 1);
        assert_eq!(producers.check(&facts(0, 77, 77)), Verdict::Append);
    }

    #[test]
    fn a_snapshot_restores_every_answer() {
        let producers = after(&[(0, 0, 9, 0), (0, 10, 19, 10)]);
        let restored = Producers::from_snapshot(producers.snapshot());
        for batch in [facts(0, 0, 9), facts(0, 10, 19), facts(0, 20, 20), facts(0, 21, 21), facts(1, 0, 0)] {
            assert_eq!(restored.check(&batch), producers.check(&batch));
        }
    }

    #[test]
    fn memory_is_bounded_by_forgetting_the_longest_silent() {
        let mut producers = Producers::new();
        for id in 0..=i64::try_from(PRODUCERS_MAX).unwrap() {
            let facts =
                BatchFacts { producer: ProducerId(id), max_timestamp: TimestampMs(id), ..facts(0, 0, 0) };
            producers.appended(&facts, Offset(id), Offset(id));
        }
        assert!(producers.len() <= PRODUCERS_MAX);
        let gone = BatchFacts { producer: ProducerId(0), ..facts(0, 5, 5) };
        assert_eq!(producers.check(&gone), Verdict::Append);
        let kept = BatchFacts { producer: ProducerId(60_000), ..facts(0, 5, 5) };
        assert_eq!(refusal(&producers.check(&kept)), Some(ErrorCode::OutOfOrderSequenceNumber));
    }
}
