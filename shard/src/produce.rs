//! Appends: offsets are given synchronously in the order of arrival, so that being queued here fixes the order; the answer
//! waits until the records are safe.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use bytes::Bytes;
use coordination::producers::Verdict;
use model::batch::Header;
use model::{ErrorCode, Offset, TimestampMs, TopicPartition};
use storage::disk::Disk;
use storage::signal::Signal;
use storage::{LogSettings, Placed, StoreError};

use crate::counters::Counted;
use crate::ops::{AppendPartition, Appended};
use crate::shard::{Fault, PartitionLog, Shard, fault};
use crate::state::batch_facts;

/// What the journal has to reach before a batch is answered.
#[derive(Clone, Copy)]
struct Taken {
    base: Offset,
    ticket: u64,
    /// Written is enough: the log does not ask for stable storage.
    when_written: bool,
    /// Of a duplicate's original; -1 of what is new.
    original_time: TimestampMs,
}

/// The outcome of an append that waits for its log to be loaded.
#[derive(Default)]
struct Later {
    outcome: RefCell<Option<Result<Taken, Fault>>>,
    there: Signal,
}

/// Appends to a log that is being loaded, or takes a large batch, in the order in which they came.
#[derive(Default)]
pub(crate) struct Deferred {
    waiting: VecDeque<(Bytes, Rc<Later>)>,
}

/// What the log knows of a batch.
enum Judged {
    /// Nothing; it has so many bytes and records.
    New(u64, u64),
    /// It is there already.
    Known(Taken),
}

enum Step {
    Now(Result<Taken, Fault>),
    Later(Rc<Later>),
}

impl<D: Disk> Shard<D> {
    /// Appends one batch to each of these partitions. Up to the first wait everything is in order of the calls.
    pub async fn append(self: &Rc<Self>, partitions: Vec<AppendPartition>) -> Vec<Appended> {
        let ids: Vec<TopicPartition> = partitions.iter().map(|append| append.partition).collect();
        let steps: Vec<Step> =
            partitions.into_iter().map(|append| self.begin_append(append.partition, append.batch)).collect();
        let mut answers = Vec::with_capacity(steps.len());
        let (mut written, mut durable) = (0, 0);
        for (id, step) in ids.into_iter().zip(steps) {
            let taken = match step {
                Step::Now(taken) => taken,
                Step::Later(later) => later.there.until(|| later.outcome.take()).await,
            };
            if let Ok(taken) = &taken {
                let reach = if taken.when_written { &mut written } else { &mut durable };
                *reach = taken.ticket.max(*reach);
            }
            answers.push((id, taken));
        }
        self.store.written(written).await;
        self.store.durable(durable).await;
        answers.into_iter().map(|(id, taken)| self.appended(id, taken)).collect()
    }

    fn appended(&self, id: TopicPartition, taken: Result<Taken, Fault>) -> Appended {
        match taken {
            Ok(taken) => Appended {
                error: ErrorCode::None,
                message: None,
                base_offset: taken.base,
                log_start: self.log_start(id),
                original_time: taken.original_time,
            },
            Err(fault) => {
                self.counters.count(Counted::ProduceErrors);
                // As in Kafka: whoever lost count of its sequences learns whether the log lost records instead.
                let lost = matches!(
                    fault.code,
                    ErrorCode::OutOfOrderSequenceNumber
                        | ErrorCode::InvalidProducerEpoch
                        | ErrorCode::UnknownProducerId
                );
                Appended {
                    error: fault.code,
                    message: Some(fault.message),
                    base_offset: Offset::NONE,
                    log_start: if lost { self.log_start(id) } else { Offset::NONE },
                    original_time: TimestampMs::NONE,
                }
            }
        }
    }

    fn log_start(&self, id: TopicPartition) -> Offset {
        self.store.existing(id).map_or(Offset::NONE, |log| log.log_start())
    }

    fn begin_append(self: &Rc<Self>, id: TopicPartition, batch: Bytes) -> Step {
        let (log, settings) = match self.known(id) {
            Ok(known) => known,
            Err(fault) => return Step::Now(Err(fault)),
        };
        let queue_exists = self.deferred.borrow().contains_key(&id);
        if self.store.usable(&log) && !queue_exists && !self.is_large(&batch) {
            return Step::Now(self.append_now(&log, batch));
        }
        let later = Rc::new(Later::default());
        self.deferred.borrow_mut().entry(id).or_default().waiting.push_back((batch, Rc::clone(&later)));
        if !queue_exists {
            let shard = Rc::clone(self);
            self.disk.spawn(async move { shard.append_deferred(&log, &settings).await });
        }
        Step::Later(later)
    }

    /// Whether the store takes it only when nobody else appends to its log meanwhile.
    fn is_large(&self, batch: &Bytes) -> bool {
        batch.len() as u64 > self.store.plan().append_bytes_max()
    }

    /// Works off what waits for a log, until nothing does. When it cannot be loaded, all that waits then learns why.
    async fn append_deferred(self: &Rc<Self>, log: &PartitionLog<D>, settings: &Rc<LogSettings>) {
        let mut failed: Option<Fault> = None;
        while let Some((batch, later)) = self.next_deferred(log.id) {
            if failed.is_none() && !self.store.usable(log) {
                failed = self.store.load(log, settings).await.err().map(|error| fault(log.id, &error));
            }
            let outcome = match &failed {
                Some(fault) => Err(fault.clone()),
                None if self.is_large(&batch) => self.append_large(log, batch).await,
                None => self.append_now(log, batch),
            };
            *later.outcome.borrow_mut() = Some(outcome);
            later.there.notify();
        }
    }

    fn next_deferred(&self, id: TopicPartition) -> Option<(Bytes, Rc<Later>)> {
        let mut deferred = self.deferred.borrow_mut();
        let next = deferred.get_mut(&id).and_then(|deferred| deferred.waiting.pop_front());
        if next.is_none() {
            deferred.remove(&id);
        }
        next
    }

    fn append_now(&self, log: &PartitionLog<D>, batch: Bytes) -> Result<Taken, Fault> {
        let (bytes, records) = match self.judge(log, &batch)? {
            Judged::New(bytes, records) => (bytes, records),
            Judged::Known(original) => return Ok(original),
        };
        let placed = self.store.append(log, batch, self.image().leader_epoch(), self.disk.now_ms());
        self.appended_now(log, placed, (bytes, records))
    }

    async fn append_large(&self, log: &PartitionLog<D>, batch: Bytes) -> Result<Taken, Fault> {
        let (bytes, records) = match self.judge(log, &batch)? {
            Judged::New(bytes, records) => (bytes, records),
            Judged::Known(original) => return Ok(original),
        };
        let epoch = self.image().leader_epoch();
        let placed = self.store.append_large(log, batch, epoch, self.disk.now_ms()).await;
        self.appended_now(log, placed, (bytes, records))
    }

    /// Whether a batch is new, as far as its producer's sequences tell.
    fn judge(&self, log: &PartitionLog<D>, batch: &Bytes) -> Result<Judged, Fault> {
        let header = Header::parse(batch)
            .map_err(|error| Fault { code: ErrorCode::CorruptMessage, message: error.to_string() })?;
        if let Some(facts) = batch_facts(&header) {
            match log.with_derived(|state| state.producers.check(&facts)) {
                Some(Verdict::Append) | None => {}
                // The original may still be on its way to the disk: the answer waits for everything before it.
                Some(Verdict::Duplicate(original)) => {
                    return Ok(Judged::Known(Taken {
                        base: original.base_offset,
                        ticket: self.store.last_ticket(),
                        when_written: log.acknowledges_written(),
                        original_time: original.timestamp,
                    }));
                }
                Some(Verdict::Refuse(code, message)) => return Err(Fault { code, message }),
            }
        }
        Ok(Judged::New(batch.len() as u64, u64::from(header.record_count().unsigned_abs())))
    }

    fn appended_now(
        &self,
        log: &PartitionLog<D>,
        placed: Result<Placed, StoreError>,
        (bytes, records): (u64, u64),
    ) -> Result<Taken, Fault> {
        let placed = placed.map_err(|error| fault(log.id, &error))?;
        self.counters.add(Counted::ProduceBytes, bytes);
        self.counters.add(Counted::ProduceRecords, records);
        let when_written = log.acknowledges_written();
        let original_time = TimestampMs::NONE;
        Ok(Taken { base: placed.base, ticket: placed.ticket, when_written, original_time })
    }
}
