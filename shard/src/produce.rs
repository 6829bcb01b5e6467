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

/// Appends to a log that is being loaded, in the order in which they came.
#[derive(Default)]
pub(crate) struct Deferred {
    waiting: VecDeque<(Bytes, Rc<Later>)>,
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
        if self.store.usable(&log) && !queue_exists {
            return Step::Now(self.append_now(&log, batch));
        }
        let later = Rc::new(Later::default());
        self.deferred.borrow_mut().entry(id).or_default().waiting.push_back((batch, Rc::clone(&later)));
        if !queue_exists {
            let shard = Rc::clone(self);
            self.disk.spawn(async move {
                let loaded = shard.store.load(&log, &settings).await;
                shard.append_deferred(&log, loaded.map_err(|error| fault(id, &error)));
            });
        }
        Step::Later(later)
    }

    /// The log is loaded, or cannot be: everything that waited goes in now, at once.
    fn append_deferred(&self, log: &PartitionLog<D>, loaded: Result<(), Fault>) {
        let deferred = self.deferred.borrow_mut().remove(&log.id).unwrap_or_default();
        for (batch, later) in deferred.waiting {
            let outcome = match &loaded {
                Ok(()) => self.append_now(log, batch),
                Err(fault) => Err(fault.clone()),
            };
            *later.outcome.borrow_mut() = Some(outcome);
            later.there.notify();
        }
    }

    fn append_now(&self, log: &PartitionLog<D>, batch: Bytes) -> Result<Taken, Fault> {
        let header = Header::parse(&batch)
            .map_err(|error| Fault { code: ErrorCode::CorruptMessage, message: error.to_string() })?;
        if let Some(facts) = batch_facts(&header) {
            match log.with_derived(|state| state.producers.check(&facts)) {
                Some(Verdict::Append) | None => {}
                // The original may still be on its way to the disk: the answer waits for everything before it.
                Some(Verdict::Duplicate(original)) => {
                    return Ok(Taken {
                        base: original.base_offset,
                        ticket: self.store.last_ticket(),
                        when_written: log.acknowledges_written(),
                        original_time: original.timestamp,
                    });
                }
                Some(Verdict::Refuse(code, message)) => return Err(Fault { code, message }),
            }
        }
        let (bytes, records) = (batch.len() as u64, u64::from(header.record_count().unsigned_abs()));
        let epoch = self.image().leader_epoch();
        let placed = self.store.append(log, batch, epoch, self.disk.now_ms());
        let placed = placed.map_err(|error| fault(log.id, &error))?;
        self.counters.add(Counted::ProduceBytes, bytes);
        self.counters.add(Counted::ProduceRecords, records);
        let when_written = log.acknowledges_written();
        let original_time = TimestampMs::NONE;
        Ok(Taken { base: placed.base, ticket: placed.ticket, when_written, original_time })
    }
}
