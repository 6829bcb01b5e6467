//! Who gets which records: a member takes what is free among those that were read for it.

use std::ops::Range;
use std::sync::Arc;

use model::{Offset, Tick};

use super::limits::SOFT_RECORDS_MAX;
use super::partition::SharePartition;
use super::window::{Cell, Kind, Run};

/// How strictly the wanted number of records is kept (KIP-1206).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AcquireMode {
    /// What is free in the batch of the last record comes along, so that batches of the log stay whole.
    BatchOptimized,
    /// Not one record more.
    RecordLimit,
}

impl AcquireMode {
    /// Of Kafka's number, if it is one.
    #[must_use]
    pub const fn from_code(code: i8) -> Option<Self> {
        match code {
            0 => Some(Self::BatchOptimized),
            1 => Some(Self::RecordLimit),
            _ => None,
        }
    }
}

/// What a member asks for.
#[derive(Clone, Copy, Debug)]
pub struct Acquire<'a> {
    /// Who.
    pub member: &'a Arc<str>,
    /// How strict it is.
    pub mode: AcquireMode,
    /// Records, see [`AcquireMode`].
    pub records_max: u32,
    /// Records of one [`Acquired`] above which the next batch of the log begins another, when batch-optimised.
    pub batch_size: u32,
    /// Where the log was read: [`SharePartition::next_fetch_offset`] of then.
    pub fetch_offset: Offset,
}

/// One batch of the log, as far as its header says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LogBatch {
    /// Offset of its first record.
    pub first: Offset,
    /// Offset of its last record.
    pub last: Offset,
}

/// Records that are the member's now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Acquired {
    /// Offset of the first one.
    pub first: Offset,
    /// Offset of the last one.
    pub last: Offset,
    /// How often each was delivered, this time included.
    pub delivery_count: u16,
}

/// What a member took so far.
struct Taken {
    now: Tick,
    list: Vec<Acquired>,
    records: u64,
    /// Records that may be taken, softly or not.
    max: u64,
}

impl SharePartition {
    /// Gives a member what is free in `batches`: those that were read at the request's offset, ascending. What the log
    /// does not have is archived on the way.
    ///
    /// Records that came back often are delivered in ever smaller answers, at last alone, so that one that no member
    /// survives does not take others with it.
    pub fn acquire(&mut self, now: Tick, request: &Acquire<'_>, batches: &[LogBatch]) -> Vec<Acquired> {
        let (Some(first), Some(last)) = (batches.first(), batches.last()) else { return Vec::new() };
        let Some((to, max)) = self.bounds(request, last.last.next()) else { return Vec::new() };
        let mut taken = Taken { now, list: Vec::new(), records: 0, max };
        self.archive_absent(request.fetch_offset, first.first.min(to));
        let mut at = first.first.max(self.start());
        for batch in batches {
            if taken.records >= taken.max || batch.first >= to {
                break;
            }
            if at < batch.first {
                self.archive_absent(at, batch.first);
                at = batch.first;
            }
            let end = batch.last.next().min(to);
            if at < end && !self.take_of(request, *batch, at..end, &mut taken) {
                break;
            }
            at = at.max(end);
        }
        self.advance();
        taken.list
    }

    /// Up to before which offset, and how many: new records only when there is room for them.
    fn bounds(&self, request: &Acquire<'_>, read_to: Offset) -> Option<(Offset, u64)> {
        let (end, wanted) = (self.end(), u64::from(request.records_max));
        // Read before the log's start moved: nothing is known of what is between.
        if request.fetch_offset > end {
            return None;
        }
        let (to, max) = match self.room() {
            0 => (read_to.min(end), wanted.min(end.0.abs_diff(request.fetch_offset.0))),
            room => (read_to, wanted.min(room)),
        };
        (max > 0).then_some((to, max))
    }

    /// The log has nothing between these offsets: nobody needs to look there again.
    fn archive_absent(&mut self, from: Offset, to: Offset) {
        let absent = |run: &Run| run.cell.kind == Kind::Available;
        let runs: Vec<Run> = self.window.runs(from, to).filter(absent).collect();
        for run in runs {
            self.become_free(run, Kind::Archived, run.cell.count);
            self.count_complete(run.records());
        }
        if to > self.end() {
            self.count_complete(to.0.abs_diff(self.end().0));
            self.window.push(to, Cell::free(Kind::Archived, 0));
        }
    }

    /// Takes what is free of one batch of the log within `range`; says whether the next may be looked at.
    fn take_of(
        &mut self,
        request: &Acquire<'_>,
        batch: LogBatch,
        Range { start: at, end }: Range<Offset>,
        taken: &mut Taken,
    ) -> bool {
        let free = |run: &Run| run.cell.kind == Kind::Available;
        let mut runs: Vec<Run> = self.window.runs(at, end).filter(free).collect();
        if end > self.end() {
            runs.push(Run { first: at.max(self.end()), end, cell: Cell::free(Kind::Available, 0) });
        }
        for run in runs {
            let most = match request.mode {
                AcquireMode::BatchOptimized if !self.is_short() => taken.max.max(SOFT_RECORDS_MAX),
                AcquireMode::BatchOptimized | AcquireMode::RecordLimit => taken.max,
            };
            let left = most.saturating_sub(taken.records);
            if left == 0 {
                return false;
            }
            let batch_records = batch.last.next().0.abs_diff(batch.first.max(self.opened_at).0);
            let isolated = self.isolated(run.cell.count, batch_records);
            if isolated.is_some() && taken.records > 0 {
                return false;
            }
            let records = run.records().min(left).min(isolated.unwrap_or(u64::MAX));
            let end = Offset(run.first.0.saturating_add_unsigned(records));
            self.take(request, Run { end, ..run }, run.first == at, taken);
            if isolated.is_some() {
                return false;
            }
        }
        true
    }

    /// How many records of a batch of so many are delivered alone when they were delivered so often; `None` when they
    /// are nothing special. Kafka begins at half of the limit, and halves with every delivery.
    fn isolated(&self, count: u16, batch_records: u64) -> Option<u64> {
        let limit = self.settings.delivery_count_limit;
        let from = limit.div_ceil(2).max(2);
        if limit > 2 && count >= limit - 1 {
            return Some(1);
        }
        let steps = u32::from(count.checked_sub(from)?) + 1;
        Some(batch_records.checked_shr(steps).unwrap_or(0).max(1))
    }

    /// Makes records the member's.
    fn take(&mut self, request: &Acquire<'_>, run: Run, begins_batch: bool, taken: &mut Taken) {
        let ms = self.settings.lock_duration_ms;
        let lock = self.locks.lock(request.member, taken.now, ms, run.first, run.end);
        let count = run.cell.count.saturating_add(1);
        let cell = Cell { lock, count, kind: Kind::Acquired };
        if run.end > self.end() {
            self.window.push(run.end, cell);
        } else {
            self.window.set(run.first, run.end, cell);
        }
        taken.records += run.records();
        let last = Offset(run.end.0 - 1);
        match taken.list.last_mut() {
            Some(before)
                if before.last.next() == run.first
                    && before.delivery_count == count
                    && !(begins_batch && is_full(before, request)) =>
            {
                before.last = last;
            }
            _ => taken.list.push(Acquired { first: run.first, last, delivery_count: count }),
        }
    }
}

/// Whether the next batch of the log begins another list of records.
const fn is_full(before: &Acquired, request: &Acquire<'_>) -> bool {
    matches!(request.mode, AcquireMode::BatchOptimized)
        && before.last.0.abs_diff(before.first.0) + 1 >= request.batch_size as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::share::acknowledge::{AckBatch, AckType};
    use crate::share::settings::ShareSettings;
    use crate::share::testing::{batches, fresh, shown};

    fn settings() -> ShareSettings {
        ShareSettings { record_locks_max: 100, ..ShareSettings::default() }
    }

    fn take(
        partition: &mut SharePartition,
        member: &str,
        mode: AcquireMode,
        max: u32,
        log: &[LogBatch],
    ) -> Vec<(i64, i64, u16)> {
        let member: Arc<str> = member.into();
        let fetch_offset = partition.next_fetch_offset();
        let request = Acquire { member: &member, mode, records_max: max, batch_size: 10, fetch_offset };
        let log: Vec<LogBatch> = log.iter().copied().filter(|batch| batch.last >= fetch_offset).collect();
        let list = partition.acquire(Tick(0), &request, &log);
        list.iter().map(|one| (one.first.0, one.last.0, one.delivery_count)).collect()
    }

    const SOFT: AcquireMode = AcquireMode::BatchOptimized;
    const STRICT: AcquireMode = AcquireMode::RecordLimit;

    #[test]
    fn batches_stay_whole_unless_the_limit_is_strict() {
        let log = batches(&[(0, 9), (10, 19), (20, 29)]);
        let mut partition = fresh(settings(), 0);
        assert_eq!(take(&mut partition, "a", SOFT, 3, &log), [(0, 9, 1)]);
        assert_eq!(take(&mut partition, "b", STRICT, 3, &log), [(10, 12, 1)]);
        assert_eq!(partition.end(), Offset(13), "the rest of the batch is as it was");
        assert_eq!(take(&mut partition, "c", SOFT, 8, &log), [(13, 29, 1)]);
        assert_eq!(shown(&partition), ["0-9 a 1", "10-12 b 1", "13-29 c 1"]);
    }

    #[test]
    fn long_answers_are_cut_between_batches_of_the_log() {
        let log = batches(&[(0, 5), (6, 11), (12, 40), (41, 42)]);
        let mut partition = fresh(settings(), 0);
        assert_eq!(take(&mut partition, "a", SOFT, 90, &log), [(0, 11, 1), (12, 40, 1), (41, 42, 1)]);
        let mut partition = fresh(settings(), 0);
        assert_eq!(take(&mut partition, "a", STRICT, 90, &log), [(0, 42, 1)]);
    }

    #[test]
    fn what_the_log_does_not_have_is_finished() {
        let log = batches(&[(100, 104), (110, 112)]);
        let mut partition = fresh(settings(), 50);
        assert_eq!(take(&mut partition, "a", SOFT, 90, &log), [(100, 104, 1), (110, 112, 1)]);
        assert_eq!(shown(&partition), ["100-104 a 1", "105-109 archived 0", "110-112 a 1"]);
        assert_eq!((partition.start(), partition.delivery_complete_count()), (Offset(100), 5));
        partition.expire(Tick(30_000));
        // Compacted since.
        let log = batches(&[(103, 104), (110, 112)]);
        assert_eq!(take(&mut partition, "b", SOFT, 90, &log), [(103, 104, 2), (110, 112, 2)]);
        assert_eq!(partition.start(), Offset(103));
    }

    #[test]
    fn new_records_wait_for_room_and_old_ones_do_not() {
        let log = batches(&[(0, 59), (60, 119), (120, 200)]);
        let mut partition = fresh(settings(), 0);
        assert_eq!(take(&mut partition, "a", SOFT, 60, &log), [(0, 59, 1)]);
        assert_eq!(take(&mut partition, "b", SOFT, 500, &log), [(60, 119, 1)], "softly over the limit");
        assert!(!partition.can_acquire());
        assert_eq!(take(&mut partition, "c", SOFT, 500, &log), []);
        let write = partition.release("a").unwrap();
        partition.landed(write.id, Ok(()));
        assert!(partition.can_acquire());
        assert_eq!(take(&mut partition, "c", STRICT, 500, &log), [(0, 59, 2)]);
        assert_eq!(partition.end(), Offset(120));
    }

    #[test]
    fn when_memory_is_short_few_new_records_come_into_flight() {
        let log = batches(&[(0, 9), (10, 29), (30, 49)]);
        let mut partition = fresh(settings(), 0);
        assert_eq!(take(&mut partition, "a", SOFT, 5, &log), [(0, 9, 1)]);
        partition.set_short(true);
        assert_eq!(take(&mut partition, "b", SOFT, 90, &log), [(10, 15, 1)], "sixteen, whatever the batch");
        assert!(!partition.can_acquire());
        let write = partition.release("a").unwrap();
        partition.landed(write.id, Ok(()));
        assert_eq!(take(&mut partition, "c", SOFT, 90, &log), [(0, 9, 2)], "what is in flight goes on");
        partition.set_short(false);
        assert_eq!(take(&mut partition, "b", SOFT, 1, &log), [(16, 29, 1)]);
    }

    #[test]
    fn no_batch_is_so_long_that_all_of_it_comes_along() {
        let most = i64::try_from(SOFT_RECORDS_MAX).unwrap();
        let log = batches(&[(0, 3 * most - 1)]);
        let mut partition = fresh(settings(), 0);
        assert_eq!(take(&mut partition, "a", SOFT, 1, &log), [(0, most - 1, 1)]);
        assert!(!partition.can_acquire() && partition.memory_bytes() >= SOFT_RECORDS_MAX * 8);
    }

    #[test]
    fn nothing_is_handed_out_of_what_was_read_too_early() {
        let mut partition = fresh(settings(), 0);
        let member: Arc<str> = "a".into();
        let request =
            Acquire { member: &member, mode: SOFT, records_max: 5, batch_size: 5, fetch_offset: Offset(7) };
        assert_eq!(partition.acquire(Tick(0), &request, &batches(&[(7, 9)])), []);
        let none = Acquire { records_max: 0, fetch_offset: Offset(0), ..request };
        assert_eq!(partition.acquire(Tick(0), &none, &batches(&[(0, 9)])), []);
        assert_eq!(partition.acquire(Tick(0), &request, &[]), []);
        assert_eq!(partition.end(), Offset(0));
    }

    #[test]
    fn what_comes_back_often_is_delivered_in_ever_smaller_answers() {
        let log = batches(&[(0, 15), (16, 31)]);
        let mut partition = fresh(ShareSettings { delivery_count_limit: 6, ..settings() }, 0);
        let mut sizes = Vec::new();
        for round in 0..400_u64 {
            let list = take(&mut partition, "a", SOFT, 500, &log);
            let records: i64 = list.iter().map(|(first, last, _)| last - first + 1).sum();
            let Some((_, _, count)) = list.first() else { break };
            sizes.push((*count, records));
            assert!(round < 399);
            partition.expire(Tick(30_000));
        }
        assert_eq!(sizes[..4], [(1, 32), (2, 32), (3, 32), (4, 8)]);
        assert!(sizes.iter().all(|(count, records)| *count < 6 || *records == 1));
        assert_eq!(partition.start(), Offset(32), "in the end all are given up");
    }

    #[test]
    fn how_much_of_a_batch_comes_does_not_depend_on_what_of_it_is_done() {
        let log = batches(&[(0, 15)]);
        let mut partition = fresh(ShareSettings { delivery_count_limit: 6, ..settings() }, 0);
        take(&mut partition, "a", SOFT, 500, &log);
        let accepted = AckBatch { first: Offset(0), last: Offset(5), types: vec![AckType::Accept] };
        let write = partition.acknowledge(Tick(0), "a", &[accepted]).unwrap().unwrap();
        partition.landed(write.id, Ok(()));
        for count in 2..=3 {
            partition.expire(Tick(30_000));
            assert_eq!(take(&mut partition, "a", SOFT, 500, &log), [(6, 15, count)]);
        }
        partition.expire(Tick(30_000));
        assert_eq!(take(&mut partition, "a", SOFT, 500, &log), [(6, 13, 4)], "half of sixteen");

        let settings = ShareSettings { delivery_count_limit: 6, ..settings() };
        let mut partition = fresh(settings, 6);
        for count in 1..=3 {
            assert_eq!(take(&mut partition, "a", SOFT, 500, &log), [(6, 15, count)]);
            partition.expire(Tick(30_000));
        }
        assert_eq!(take(&mut partition, "a", SOFT, 500, &log), [(6, 10, 4)], "half of what it began with");
    }
}
