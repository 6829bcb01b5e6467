//! Batches as a request: their records as they lie in the template, or marked for this sending.

use std::io::{self, IoSlice};
use std::ops::Deref;

use bytes::BytesMut;
use model::batch::header::HEADER_BYTES;
use protocol::client::{ClientHead, ProduceWriter};

use super::{Batch, Flight, Lane};
use crate::link::Link;
use crate::run;
use crate::template::{BatchFacts, Marking, Plain};

/// How long a broker may take to gather acknowledgements, as it is told.
const TIMEOUT_MS: i32 = 30_000;
/// Records up to this size are copied into the request: cheaper than a slice of their own for the kernel to walk.
const COPIED_BYTES_MAX: usize = 4 << 10;

/// A batch as it goes out.
struct Ready<'a> {
    header: [u8; HEADER_BYTES],
    records: Records<'a>,
}

enum Records<'a> {
    Plain(Plain<'a>),
    Marked(Vec<u8>),
}

impl Deref for Records<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Plain(records) => records,
            Self::Marked(records) => records,
        }
    }
}

impl Lane {
    /// Sends these batches, each of another partition, in one request.
    pub(super) async fn send(&self, link: &Link, version: i16, mut batches: Vec<Batch>) -> io::Result<()> {
        // Topics together, and in an order in which their answers are found.
        batches.sort_unstable_by_key(|batch| batch.place);
        let correlation_id = link.next_correlation();
        let mut memory = self.scratch.take();
        let ready: Vec<Ready<'_>> = batches.iter().map(|batch| self.ready(batch, &mut memory)).collect();
        let client_id = Some(&*self.core.step.plan.client_id);
        let head = ClientHead { version, correlation_id, client_id };
        let (request, cuts) = self.frame(&head, &batches, &ready);
        let answered = self.load().acks != 0;
        let silent = if answered {
            // Its answer may be there before the last byte is known to be sent.
            self.in_flight.borrow_mut().push_back(Flight { correlation_id, batches });
            Vec::new()
        } else {
            batches
        };
        let mut pieces = Vec::with_capacity(2 * cuts.len() + 1);
        let mut from = 0;
        for (at, records) in cuts {
            pieces.extend([IoSlice::new(&request[from..at]), IoSlice::new(records)]);
            from = at;
        }
        pieces.push(IoSlice::new(&request[from..]));
        let sent = link.send(&mut pieces).await;
        drop(pieces);
        if let Err(error) = sent {
            silent.into_iter().for_each(|batch| self.give_up(batch));
            return Err(error);
        }
        if !answered {
            let now = self.core.clock().now();
            self.core.found.borrow_mut().requests += 1;
            silent.iter().for_each(|batch| self.acknowledged(batch, now, -1));
            run::yield_if_needed().await;
        }
        self.request.replace(request);
        memory.extend(ready.into_iter().filter_map(|batch| match batch.records {
            Records::Marked(records) => Some(records),
            Records::Plain(_) => None,
        }));
        self.scratch.replace(memory);
        Ok(())
    }

    /// Header and records of a batch; `memory` is for those that are marked.
    fn ready<'a>(&'a self, batch: &Batch, memory: &mut Vec<Vec<u8>>) -> Ready<'a> {
        let count = batch.times.count();
        let template = &self.core.templates[batch.template];
        let (facts, marking) = self.facts(batch);
        if marking.is_none() {
            let records = template.plain(count);
            let header = template.plain_header(count, &records, facts);
            return Ready { header, records: Records::Plain(records) };
        }
        let mut records = memory.pop().unwrap_or_default();
        let header = template.marked(&batch.times, facts, &marking, &mut records);
        Ready { header, records: Records::Marked(records) }
    }

    /// The request's own bytes, and what is to be put in where: large records are not copied.
    fn frame<'a>(
        &self,
        head: &ClientHead<'_>,
        batches: &[Batch],
        ready: &'a [Ready<'_>],
    ) -> (BytesMut, Vec<(usize, &'a [u8])>) {
        let cluster = self.core.cluster.borrow();
        let topic = |batch: &Batch| cluster.partitions[batch.place].topic;
        let topics = || batches.chunk_by(|one, next| topic(one) == topic(next));
        let (mut out, mut ready, mut cuts) = (self.request.take(), ready.iter(), Vec::new());
        out.clear();
        let mut writer = ProduceWriter::begin(out, head, self.load().acks, TIMEOUT_MS, topics().count());
        for batches in topics() {
            writer.topic(&cluster.reference(topic(&batches[0]), head.version), batches.len());
            for (batch, Ready { header, records }) in batches.iter().zip(&mut ready) {
                writer.partition(cluster.partitions[batch.place].index, header.len() + records.len());
                writer.copy(header);
                if records.len() <= COPIED_BYTES_MAX {
                    writer.copy(records);
                } else {
                    cuts.push((writer.len(), &**records));
                }
                writer.end_partition();
            }
            writer.end_topic();
        }
        (writer.end(), cuts)
    }

    fn facts(&self, batch: &Batch) -> (BatchFacts, Marking) {
        let load = self.load();
        let origin = self.slots.borrow().by_place.get(&batch.place).map_or(0, |slot| slot.origin);
        let producer = self.producer.identity.get();
        // Sequences go from the largest 31-bit number to 0.
        let sequence = i32::try_from((batch.number - origin) & 0x7fff_ffff).unwrap_or(0);
        let clock = self.core.clock();
        let facts = BatchFacts {
            timestamp: clock.unix_ms(batch.times.at(0)),
            producer,
            base_sequence: if load.idempotent { sequence } else { -1 },
        };
        let number = self.producer.number;
        let marking = Marking {
            stamping: load.stamping,
            keys: load.keys,
            identity: (self.core.step.run, number),
            sequence: batch.number,
            epoch_ns: clock.unix_ns(0),
            seed: batch.number.wrapping_mul(0x9e37_79b9_7f4a_7c15)
                ^ (batch.place as u64) << 32
                ^ u64::from(number),
        };
        (facts, marking)
    }
}
