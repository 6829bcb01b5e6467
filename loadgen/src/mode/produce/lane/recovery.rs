//! Behind a failure: wait until nothing is in flight, learn who leads, get a new producer id if need be, send again in order.

use std::io;
use std::task::Poll;
use std::time::Duration;

use futures_lite::future::{self, poll_fn};
use protocol::ApiKey;

use super::Lane;
use crate::run;
use crate::setup::producer_id_request;

/// Longest pause after failures in a row.
const PAUSE_MAX: Duration = Duration::from_secs(2);

impl Lane {
    /// Waits until nothing is in flight, but not longer for one answer than the run's end allows.
    pub(super) async fn settled(&self) -> io::Result<()> {
        let settled =
            poll_fn(|_| if self.in_flight.borrow().is_empty() { Poll::Ready(Ok(())) } else { Poll::Pending });
        let patience = async {
            loop {
                let (before, drain) = (self.free_at.get(), Duration::from_nanos(self.core.step.plan.drain));
                run::sleep(drain).await;
                if self.free_at.get() == before {
                    return Err(io::ErrorKind::TimedOut.into());
                }
            }
        };
        future::or(settled, patience).await
    }

    /// Behind a failure, with nothing in flight: waits, learns who leads, gets a new producer id if need be.
    pub(super) async fn recover(&self) {
        let pause = self.pause.get();
        self.pause.set((2 * pause).min(PAUSE_MAX));
        run::sleep(pause).await;
        if self.stale.replace(false) {
            self.core.refresh().await;
        }
        {
            let mut resend = self.resend.borrow_mut();
            self.failed.take().into_iter().rev().for_each(|batch| resend.push_front(batch));
        }
        if self.renew.get() && !self.out_of_time() {
            self.renew_identity().await;
        } else {
            self.renew.set(false);
        }
        self.producer.reroute(self);
        // Until here the broker kept us, not the generator.
        self.free_at.set(self.core.clock().now());
    }

    /// A new id, for which every partition begins at sequence 0 with the first record that is not acknowledged.
    async fn renew_identity(&self) {
        let address = self.core.cluster.borrow().brokers.get(&self.node).copied();
        let Some(address) = address else { return };
        match self.core.call(address, ApiKey::InitProducerId, &producer_id_request()).await {
            Ok(response) if response.error_code == 0 => {
                self.producer.identity.set((response.producer_id, response.producer_epoch));
                // The other lanes' sequences are of the old id: they begin anew as well, at their next failure.
                for (node, lane) in self.producer.lanes.borrow().iter() {
                    if *node != self.node {
                        lane.renew.set(false);
                    }
                    lane.begin_sequences();
                }
                self.renew.set(false);
            }
            Ok(response) => self.core.error(&crate::cluster::error_name(response.error_code)),
            Err(error) => self.core.broken(&error),
        }
    }

    fn begin_sequences(&self) {
        let mut slots = self.slots.borrow_mut();
        for slot in slots.by_place.values_mut() {
            slot.origin = slot.next;
        }
        for batch in self.resend.borrow().iter().rev() {
            if let Some(slot) = slots.by_place.get_mut(&batch.place) {
                slot.origin = batch.number;
            }
        }
    }
}
