//! What a lane sends next, and when: what failed first, then what the schedule says.
//!
//! A request takes along every batch that is ready, each for another partition, as far as `--request-bytes` go: as with
//! Kafka's clients, many partitions do not make many requests.

use std::io;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use futures_lite::future::{self, poll_fn};

use super::{Batch, Lane};
use crate::clock::Ns;
use crate::link::Link;
use crate::plan::Until;
use crate::run;
use crate::schedule::Times;
use crate::template::Template;

/// How often a lane without partitions looks for some.
const LOOK: Duration = Duration::from_millis(20);

/// What the writer does next.
enum Next {
    /// These in one request, each of another partition.
    Send(Vec<Batch>),
    /// Something has changed: look again.
    Again,
    Finished,
}

impl Lane {
    pub(super) async fn write(&self, link: &Link, version: i16) -> io::Result<()> {
        loop {
            if self.in_trouble() {
                self.settled().await?;
                self.recover().await;
                continue;
            }
            let nothing_waits = self.resend.borrow().is_empty();
            let next = if nothing_waits { self.next_request().await } else { self.again().await };
            match next {
                Next::Send(batches) => self.send(link, version, batches).await?,
                Next::Again => {}
                Next::Finished => {
                    self.settled().await?;
                    if !self.in_trouble() {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Whether something failed, so that nothing new may be sent.
    fn in_trouble(&self) -> bool {
        self.renew.get() || !self.failed.borrow().is_empty()
    }

    /// Waits for a free place in flight; false if something failed meanwhile.
    async fn place_in_flight(&self) -> bool {
        let most = self.load().in_flight;
        poll_fn(|_| {
            if self.in_trouble() {
                Poll::Ready(false)
            } else if self.in_flight.borrow().len() < most {
                Poll::Ready(true)
            } else {
                Poll::Pending
            }
        })
        .await
    }

    /// Whether nothing new is to be begun.
    fn is_over(&self) -> bool {
        let plan = &self.core.step.plan;
        match plan.until {
            Until::Records(_) => self.core.step.shared.to_send.load(Ordering::Relaxed) == 0,
            _ => self.core.clock().now() >= plan.end(),
        }
    }

    /// Whether nothing is left at the end that was due before, or too much: a request's worth is sent late, a backlog is not.
    fn is_done(&self) -> bool {
        let end = self.core.step.plan.end();
        let template = self.template();
        let batches = self.load().request_bytes / template.bytes(template.records());
        let batches = batches.min(self.slots.borrow().len()).max(1) as u64;
        match &*self.schedule.borrow() {
            Some(schedule) if self.core.step.plan.until.is_timed() => {
                schedule.first() >= end || schedule.due(end - 1) > batches * u64::from(template.records())
            }
            _ => true,
        }
    }

    /// What the next batch is made of.
    fn template(&self) -> &Template {
        &self.core.templates[self.turn.get() % self.core.templates.len()]
    }

    /// When the next batch is due; none if that is behind the end. Without a schedule it always is.
    fn due(&self) -> Option<Ns> {
        let end = self.core.step.plan.end();
        match &mut *self.schedule.borrow_mut() {
            Some(schedule) if schedule.first() >= end => None,
            Some(schedule) => {
                let complete = schedule.complete_at(self.template().records(), self.load().linger);
                Some(complete.min(end - 1))
            }
            None => Some(0),
        }
    }

    /// What failed, in its order, as far as it goes into one request.
    async fn again(&self) -> Next {
        if !self.place_in_flight().await {
            return Next::Again;
        }
        let mut resend = self.resend.borrow_mut();
        let (mut batches, mut bytes) = (Vec::<Batch>::new(), 0);
        while let Some(batch) = resend.front() {
            bytes += self.core.templates[batch.template].bytes(batch.times.count());
            let fits = bytes <= self.load().request_bytes;
            if !batches.is_empty() && (!fits || batches.iter().any(|other| other.place == batch.place)) {
                break;
            }
            batches.extend(resend.pop_front());
        }
        Next::Send(batches)
    }

    /// Waits until a batch is due and there is a place for it in flight.
    async fn next_request(&self) -> Next {
        if self.is_over() && self.is_done() {
            return Next::Finished;
        }
        if self.slots.borrow().len() == 0 {
            if self.is_over() {
                return Next::Finished;
            }
            run::sleep(LOOK).await;
            return Next::Again;
        }
        let Some(due) = self.due() else { return Next::Finished };
        let trouble =
            poll_fn(|_| if self.failed.borrow().is_empty() { Poll::Pending } else { Poll::Ready(()) });
        future::or(self.core.sleep_until(due), trouble).await;
        if !self.place_in_flight().await {
            return Next::Again;
        }
        if self.is_over() && self.is_done() {
            return Next::Finished;
        }
        self.gather(due)
    }

    /// Takes the batch that is due, and what else is ready, each for the next partition.
    fn gather(&self, first_due: Ns) -> Next {
        let now = self.core.clock().now();
        let partitions = self.slots.borrow().len();
        let (mut batches, mut bytes, mut due) = (Vec::new(), 0, Some(first_due));
        while let Some(at) = due
            && batches.len() < partitions
        {
            let template = self.template();
            bytes += template.bytes(template.records());
            if !batches.is_empty() && (at > now || bytes > self.load().request_bytes) {
                break;
            }
            let Some(batch) = self.take(now, at) else { break };
            batches.push(batch);
            due = self.due();
        }
        if batches.is_empty() { Next::Again } else { Next::Send(batches) }
    }

    /// Makes a batch of what is due, for the next partition; none if others took the last records.
    fn take(&self, now: Ns, due: Ns) -> Option<Batch> {
        let turn = self.turn.get();
        let template = turn % self.core.templates.len();
        let most = self.claim(self.core.templates[template].records());
        if most == 0 {
            return None;
        }
        let times = match &mut *self.schedule.borrow_mut() {
            Some(schedule) => {
                // The generator's own lateness: nothing but it kept the batch once it was due and a place was free.
                let late = now.saturating_sub(due.max(self.free_at.get()));
                self.core.found.borrow_mut().started_late(Duration::from_nanos(late));
                schedule.take(now.min(self.core.step.plan.end() - 1), most)
            }
            None => Times::together(crate::units::real(now), most),
        };
        let count = times.count();
        self.unclaim(most - count);
        let mut slots = self.slots.borrow_mut();
        let slot = slots.next().filter(|_| count > 0)?;
        self.turn.set(turn.wrapping_add(1));
        self.taken.set(self.taken.get() + u64::from(count));
        let batch = Batch { place: slot.place, template, times, number: slot.next };
        slot.next += u64::from(count);
        Some(batch)
    }

    /// Takes up to `most` of the records that are to be sent.
    fn claim(&self, most: u32) -> u32 {
        if self.core.step.plan.until.is_timed() {
            return most;
        }
        let left = &self.core.step.shared.to_send;
        let take = |left: u64| Some(left - left.min(u64::from(most)));
        let before = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).unwrap_or(0);
        u32::try_from(before.min(u64::from(most))).unwrap_or(most)
    }

    fn unclaim(&self, count: u32) {
        if !self.core.step.plan.until.is_timed() {
            self.core.step.shared.to_send.fetch_add(u64::from(count), Ordering::Relaxed);
        }
    }
}
