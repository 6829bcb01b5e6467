//! What a lane sends next, and when: what failed first, then what the schedule says.

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

/// How often a lane without partitions looks for some.
const LOOK: Duration = Duration::from_millis(20);

/// What the writer does next.
enum Next {
    Send(Batch),
    /// Something has changed: look again.
    Again,
    Finished,
}

impl Lane {
    pub(super) async fn write(&self, link: &Link, version: i16) -> io::Result<()> {
        loop {
            if self.renew.get() || !self.failed.borrow().is_empty() {
                self.settled().await?;
                self.recover().await;
                continue;
            }
            let waiting = self.resend.borrow_mut().pop_front();
            let next = match waiting {
                Some(batch) if self.place_in_flight().await => Next::Send(batch),
                Some(batch) => {
                    self.resend.borrow_mut().push_front(batch);
                    Next::Again
                }
                None => self.next_batch().await,
            };
            match next {
                Next::Send(batch) => self.send(link, version, batch).await?,
                Next::Again => {}
                Next::Finished => {
                    self.settled().await?;
                    if !self.renew.get() && self.failed.borrow().is_empty() {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Waits for a free place in flight; false if something failed meanwhile.
    async fn place_in_flight(&self) -> bool {
        let most = self.load().in_flight;
        poll_fn(|_| {
            if self.renew.get() || !self.failed.borrow().is_empty() {
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

    /// Whether nothing is left at the end that was due before, or too much: a batch's worth is sent late, a backlog is not.
    fn is_done(&self, most: u32) -> bool {
        let end = self.core.step.plan.end();
        match &*self.schedule.borrow() {
            Some(schedule) if self.core.step.plan.until.is_timed() => {
                schedule.first() >= end || schedule.due(end - 1) > u64::from(most)
            }
            _ => true,
        }
    }

    async fn next_batch(&self) -> Next {
        let turn = self.turn.get();
        let template = turn % self.core.templates.len();
        let most = self.core.templates[template].records();
        if self.is_over() && self.is_done(most) {
            return Next::Finished;
        }
        if self.slots.borrow().len() == 0 {
            if self.is_over() {
                return Next::Finished;
            }
            run::sleep(LOOK).await;
            return Next::Again;
        }
        let due = match &mut *self.schedule.borrow_mut() {
            Some(schedule) if schedule.first() >= self.core.step.plan.end() => return Next::Finished,
            Some(schedule) => {
                schedule.complete_at(most, self.load().linger).min(self.core.step.plan.end() - 1)
            }
            None => 0,
        };
        let trouble =
            poll_fn(|_| if self.failed.borrow().is_empty() { Poll::Pending } else { Poll::Ready(()) });
        future::or(self.core.sleep_until(due), trouble).await;
        if !self.place_in_flight().await {
            return Next::Again;
        }
        if self.is_over() && self.is_done(most) {
            return Next::Finished;
        }
        self.turn.set(turn.wrapping_add(1));
        self.take(template, most, due)
    }

    /// Makes a batch of what is due.
    fn take(&self, template: usize, most: u32, due: Ns) -> Next {
        let now = self.core.clock().now();
        let most = self.claim(most);
        if most == 0 {
            return Next::Finished;
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
        if count == 0 {
            return Next::Again;
        }
        self.taken.set(self.taken.get() + u64::from(count));
        let mut slots = self.slots.borrow_mut();
        let Some(slot) = slots.next() else { return Next::Again };
        let batch = Batch { place: slot.place, template, times, number: slot.next, correlation_id: 0 };
        slot.next += u64::from(count);
        Next::Send(batch)
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
