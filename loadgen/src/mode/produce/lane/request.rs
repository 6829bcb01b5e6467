//! A batch as a request: its records as they lie in the template, or marked for this sending.

use std::io::{self, IoSlice};

use protocol::client::{ClientHead, ProduceWriter};

use super::{Batch, Lane};
use crate::link::Link;
use crate::run;
use crate::template::{BatchFacts, Marking};

/// How long a broker may take to gather acknowledgements, as it is told.
const TIMEOUT_MS: i32 = 30_000;

impl Lane {
    pub(super) async fn send(&self, link: &Link, version: i16, mut batch: Batch) -> io::Result<()> {
        let count = batch.times.count();
        let template = &self.core.templates[batch.template];
        batch.correlation_id = link.next_correlation();
        let (facts, marking) = self.facts(&batch);
        let mut scratch = self.scratch.take();
        let plain;
        let (header, records): (_, &[u8]) = if marking.is_none() {
            plain = template.plain(count);
            (template.plain_header(count, &plain, facts), &plain)
        } else {
            (template.marked(&batch.times, facts, &marking, &mut scratch), &scratch)
        };
        let mut out = self.request.take();
        out.clear();
        let acks = self.load().acks;
        let client_id = Some(&*self.core.step.plan.client_id);
        let head = ClientHead { version, correlation_id: batch.correlation_id, client_id };
        let (front, request) = {
            let cluster = self.core.cluster.borrow();
            let partition = cluster.partitions[batch.place];
            let mut writer = ProduceWriter::begin(out, &head, acks, TIMEOUT_MS, 1);
            writer.topic(&cluster.reference(partition.topic, version), 1);
            writer.partition(partition.index, header.len() + records.len());
            let front = writer.len();
            writer.end_partition();
            writer.end_topic();
            (front, writer.end())
        };
        let answered = acks != 0;
        let silent = if answered {
            // Its answer may be there before the last byte is known to be sent.
            self.in_flight.borrow_mut().push_back(batch);
            None
        } else {
            Some(batch)
        };
        let (before, after) = request.split_at(front);
        let mut pieces =
            [IoSlice::new(before), IoSlice::new(&header), IoSlice::new(records), IoSlice::new(after)];
        link.send(&mut pieces).await?;
        if let Some(batch) = silent {
            self.acknowledged(&batch, self.core.clock().now(), -1);
            run::yield_if_needed().await;
        }
        self.request.replace(request);
        self.scratch.replace(scratch);
        Ok(())
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
