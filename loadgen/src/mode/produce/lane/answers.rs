//! What became of the batches in flight.

use std::io;

use model::ErrorCode;
use protocol::produce::ProduceResponse;

use super::{Batch, Lane, PAUSE_MIN};
use crate::clock::Ns;
use crate::link::{Inbox, Link};
use crate::report::Measure;

/// Room for answers: they are small.
const INBOX_BYTES: usize = 16 << 10;

impl Lane {
    pub(super) async fn read(&self, link: &Link, version: i16) -> io::Result<()> {
        let mut inbox = Inbox::new(INBOX_BYTES);
        let mut verdicts = Vec::new();
        loop {
            let frame = inbox.next(link).await?;
            let now = self.core.clock().now();
            let (correlation_id, response) =
                ProduceResponse::decode(version, &frame).map_err(io::Error::other)?;
            self.judge(correlation_id, &response, &mut verdicts)?;
            let flight = self.in_flight.borrow_mut().pop_front();
            self.free_at.set(now);
            self.core.found.borrow_mut().requests += 1;
            for (batch, verdict) in flight.into_iter().flat_map(|flight| flight.batches).zip(&verdicts) {
                match *verdict {
                    Some((ErrorCode::None | ErrorCode::DuplicateSequenceNumber, offset)) => {
                        self.acknowledged(&batch, now, offset);
                    }
                    Some((error, _)) => self.refused(batch, error),
                    None => {}
                }
            }
        }
    }

    /// What an answer says of each batch of the oldest request in flight: error and first offset. A request that is not answered
    /// whole stays in flight: what became of it nobody knows.
    fn judge(
        &self,
        correlation_id: i32,
        response: &ProduceResponse,
        verdicts: &mut Vec<Option<(ErrorCode, i64)>>,
    ) -> io::Result<()> {
        let in_flight = self.in_flight.borrow();
        let flight = in_flight.front().filter(|flight| flight.correlation_id == correlation_id);
        let flight = flight.ok_or_else(|| io::Error::other("an answer that nobody waits for"))?;
        verdicts.clear();
        verdicts.resize(flight.batches.len(), None);
        let cluster = self.core.cluster.borrow();
        for topic in &response.topics {
            for partition in &topic.partitions {
                let Some(place) = cluster.find(&topic.topic, partition.index) else { continue };
                if let Ok(at) = flight.batches.binary_search_by_key(&place, |batch| batch.place) {
                    verdicts[at] = Some((partition.error, partition.base_offset.0));
                }
            }
        }
        if verdicts.contains(&None) {
            return Err(io::Error::other("an answer without the partition"));
        }
        Ok(())
    }

    pub(super) fn acknowledged(&self, batch: &Batch, now: Ns, base_offset: i64) {
        let count = batch.times.count();
        if let Some(slot) = self.slots.borrow_mut().by_place.get_mut(&batch.place)
            && base_offset >= 0
        {
            slot.end = slot.end.max(base_offset + i64::from(count));
        }
        let mut found = self.core.found.borrow_mut();
        found.records_sent += u64::from(count);
        found.bytes_sent += self.core.templates[batch.template].content_bytes(count);
        for (intended, records) in batch.times.steps() {
            found.record_n(Measure::Produce, now.saturating_sub(intended) / 1000, records);
        }
        self.pause.set(PAUSE_MIN);
    }

    fn refused(&self, batch: Batch, error: ErrorCode) {
        use ErrorCode as E;
        self.core.error(error.name());
        let elsewhere = matches!(
            error,
            E::NotLeaderOrFollower | E::UnknownTopicOrPartition | E::UnknownTopicId | E::LeaderNotAvailable
        );
        self.stale.set(self.stale.get() || elsewhere);
        // Behind one that failed every batch of its partition is out of order.
        let follows = error == E::OutOfOrderSequenceNumber
            && (self.renew.get() || self.failed.borrow().iter().any(|failed| failed.place == batch.place));
        // Without sequences only what was certainly not appended may be sent again.
        let certain = elsewhere || matches!(error, E::NotEnoughReplicas | E::ThrottlingQuotaExceeded);
        if certain || follows || (self.load().idempotent && error.retriable()) {
            self.failed.borrow_mut().push(batch);
        } else {
            self.renew.set(self.load().idempotent);
            self.give_up(batch);
        }
    }

    pub(super) fn give_up(&self, batch: Batch) {
        let count = u64::from(batch.times.count());
        self.core.found.borrow_mut().error("records given up", count);
        if let Some(slot) = self.slots.borrow_mut().by_place.get_mut(&batch.place) {
            slot.given_up.push((batch.number, batch.number + count));
        }
    }
}
