//! What must be true of each log, kept beside the store by whoever calls it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use model::batch::Header;
use model::{LeaderEpoch, Offset, TopicId, TopicPartition};
use storage::derived::{Derived, DerivedSnapshot};

use crate::derived::Tally;
use crate::keyed::Record;

/// What the metadata would say of a topic.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Topic {
    Live,
    /// A tombstone is durable, files may be there.
    Deleted,
    /// The tombstone went too.
    Forgotten,
}

/// One batch as it must come back.
pub struct Batch {
    pub base: Offset,
    pub end: Offset,
    pub bytes: Vec<u8>,
    /// Of a log that is compacted.
    pub records: Vec<Record>,
}

/// One log.
#[derive(Default)]
pub struct Line {
    /// Everything appended and not known to be lost, from offset 0 on.
    pub batches: Vec<Batch>,
    /// Acknowledged up to here.
    pub acked: Offset,
    /// On stable storage up to here: the same, but where what is written is acknowledged.
    pub synced: Offset,
    /// The log start, acknowledged, and the furthest that was asked for.
    pub start: Offset,
    pub start_asked: Offset,
    /// A truncation under way: where it leaves the end, either of the two.
    pub cut_asked: Option<[Offset; 2]>,
    /// Where a truncation left the end, if no batch ends there.
    pub tail: Offset,
    /// Leader epochs and where they began.
    pub epochs: Vec<(i32, i64)>,
    /// A pass of compaction was begun: records that later ones replace may be gone.
    pub compacted: bool,
    /// Records that may be gone though those that replaced them have been cut off.
    pub excused: BTreeSet<i64>,
    /// It was cut off after that: producers are known by what was left.
    pub vague: bool,
    /// Counts truncations: what was read across one says nothing.
    pub generation: u32,
    pub sequences: BTreeMap<i64, i32>,
}

#[derive(Default)]
pub struct Oracle {
    pub topics: BTreeMap<TopicId, Topic>,
    pub lines: BTreeMap<TopicPartition, Line>,
}

impl Oracle {
    pub fn is_live(&self, id: TopicPartition) -> bool {
        self.topics.get(&id.topic) == Some(&Topic::Live)
    }

    pub fn line(&mut self, id: TopicPartition) -> &mut Line {
        self.lines.entry(id).or_default()
    }
}

impl Line {
    pub fn end(&self) -> Offset {
        self.batches.last().map_or(Offset::ZERO, |batch| batch.end).max(self.tail)
    }

    /// One more batch.
    pub fn add(&mut self, batch: Batch, epoch: LeaderEpoch) {
        if self.epochs.last().is_none_or(|last| last.0 < epoch.0) {
            self.epochs.push((epoch.0, batch.base.0));
        }
        self.batches.push(batch);
    }

    pub fn was_cut_to(&self, end: Offset) -> bool {
        self.cut_asked.is_some_and(|asked| asked.contains(&end))
    }

    /// The batch that holds `offset`.
    pub fn holding(&self, offset: Offset) -> Option<usize> {
        let at = self.batches.partition_point(|batch| batch.end <= offset);
        self.batches.get(at).map(|_| at)
    }

    pub fn is_boundary(&self, offset: Offset) -> bool {
        offset == Offset::ZERO || offset == self.tail || self.batches.iter().any(|batch| batch.end == offset)
    }

    pub fn cut(&mut self, end: Offset) {
        if self.compacted && end < self.end() {
            let replaced = crate::keyed::replaced(&self.batches);
            self.excused.extend(replaced.range(..end.0));
            self.vague = true;
            self.tail = end;
        }
        self.epochs.retain(|(_, start)| *start < end.0);
        self.batches.retain(|batch| batch.end <= end);
        self.acked = self.acked.min(end);
        self.synced = self.synced.min(end);
        self.start = self.start.min(end);
        self.start_asked = self.start;
        self.cut_asked = None;
        self.generation += 1;
    }

    /// Derived state of everything.
    pub fn derived(&self) -> DerivedSnapshot {
        let mut tally = Tally::default();
        for batch in &self.batches {
            let header = Header::parse(&batch.bytes).expect("the oracle's batches are whole");
            tally.observe(&header, batch.base, header.leader_epoch());
        }
        tally.snapshot()
    }

    /// The store came back with this, and had to keep up to `kept`: checks that it is allowed, and goes on from there.
    pub fn recovered(&mut self, id: TopicPartition, start: Offset, end: Offset, kept: Offset) {
        let cut = self.was_cut_to(end);
        assert!(cut || end >= kept, "{id}: acknowledged up to {kept}, but the log ends at {end}");
        let cut_within = cut && self.compacted;
        assert!(
            cut_within || self.is_boundary(end),
            "{id}: the log ends at {end}, within a batch or behind the last one"
        );
        if cut {
            self.cut(end);
            assert!(start <= self.start, "{id}: starts at {start} behind its end {end}");
        } else {
            // A log start is a record of its own, durable before it is acknowledged; and nothing behind it can be missing.
            assert!(
                (self.start..=self.start_asked).contains(&start),
                "{id}: the log starts at {start}, not within {}..={}",
                self.start,
                self.start_asked
            );
            self.batches.retain(|batch| batch.end <= end);
            self.epochs.retain(|(_, start)| *start < end.0);
            self.tail = self.tail.min(end);
        }
        (self.acked, self.synced) = (end, end);
        (self.start, self.start_asked) = (start, start);
        self.cut_asked = None;
        self.generation += 1;
    }

    /// What was read from `from` on must be this log's batches, whole, in order, the first one holding `from`.
    pub fn check_read(&self, id: TopicPartition, from: Offset, bytes: &[u8], durable_end: Offset) {
        if from >= durable_end {
            assert!(bytes.is_empty(), "{id}: bytes behind the end");
            return;
        }
        if self.compacted {
            return self.check_compacted(id, from, bytes, durable_end);
        }
        assert!(!bytes.is_empty(), "{id}: nothing read at {from}, though the log goes on to {durable_end}");
        let first = self.holding(from).unwrap_or_else(|| panic!("{id}: no batch holds {from}"));
        let mut rest = bytes;
        for batch in &self.batches[first..] {
            if rest.is_empty() {
                break;
            }
            assert!(batch.end <= durable_end, "{id}: batch {} is not durable yet", batch.base);
            let Some((head, after)) = rest.split_at_checked(batch.bytes.len()) else {
                panic!("{id}: batch {} is cut to {} of {} bytes", batch.base, rest.len(), batch.bytes.len());
            };
            assert!(head == batch.bytes, "{id}: batch {} differs", batch.base);
            rest = after;
        }
        assert!(rest.is_empty(), "{id}: {} bytes more than there are", rest.len());
    }

    /// Of a compacted log: batches are as they were, or have fewer records.
    fn check_compacted(&self, id: TopicPartition, from: Offset, bytes: &[u8], durable_end: Offset) {
        let mut next = from;
        for (batch, records) in crate::keyed::read(bytes) {
            let (base, end) = (batch.base_offset(), batch.last_offset().next());
            assert!(
                end > next && end <= durable_end,
                "{id}: batch {base} to {end} is out of place at {next}"
            );
            next = end;
            let at = self.batches.binary_search_by_key(&base, |batch| batch.base);
            let original = &self.batches[at.unwrap_or_else(|_| panic!("{id}: no batch begins at {base}"))];
            assert_eq!(original.end, end, "{id}: the end of batch {base}");
            let before = Header::parse(&original.bytes).expect("the oracle's batches are whole");
            assert_eq!(
                (before.producer_id(), before.producer_epoch(), before.base_sequence()),
                (batch.producer_id(), batch.producer_epoch(), batch.base_sequence()),
                "{id}: the producer of batch {base}"
            );
            assert_eq!(before.leader_epoch(), batch.leader_epoch(), "{id}: the epoch of batch {base}");
            assert!(batch.record_count() == 0 || batch.compression() == before.compression());
            for record in &records {
                let same = original.records.iter().find(|original| original.offset == record.offset);
                assert_eq!(same, Some(record), "{id}: a record of batch {base}");
            }
        }
    }

    /// What was read of a part of a compacted log has the last record of every key there.
    pub fn check_complete(&self, id: TopicPartition, part: Range<Offset>, found: &BTreeSet<i64>) {
        let replaced = crate::keyed::replaced(&self.batches);
        let first = self.batches.partition_point(|batch| batch.end <= part.start);
        for batch in self.batches[first..].iter().take_while(|batch| batch.end <= part.end) {
            for record in batch.records.iter().filter(|record| record.offset >= part.start.0) {
                let may_miss = replaced.contains(&record.offset)
                    || self.excused.contains(&record.offset)
                    || record.key.is_none()
                    || record.value.is_none();
                assert!(
                    may_miss || found.contains(&record.offset),
                    "{id}: record {} is gone, the last of its key: read {} to {}",
                    record.offset,
                    part.start,
                    part.end
                );
            }
        }
    }
}
