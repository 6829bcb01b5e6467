//! A consumer that is a member of a group: it receives what it is assigned, commits, and gives everything up at a rebalance
//! (the eager protocol: commit, join, begin again where the group is).

use std::io;
use std::rc::Rc;
use std::time::Duration;

use futures_lite::future;
use model::{ErrorCode, TopicId};
use protocol::TopicRef;

use super::Consumer;
use crate::clock::Ns;
use crate::core::{Core, Probe};
use crate::group::{Membership, Standing};
use crate::plan::Group;
use crate::report::{Interval, Measure};
use crate::run;
use crate::units::nanos;
use crate::verify::Ledger;

/// Pause after a failure.
const PAUSE: Duration = Duration::from_millis(100);
/// How often a member looks whether the run is over.
const LOOK: Duration = Duration::from_millis(10);

/// See the module.
#[derive(Debug)]
pub struct Member {
    core: Rc<Core>,
    consumer: Rc<Consumer>,
    membership: Membership,
    commit_every: Ns,
    /// When the next commit is due.
    commit_at: Ns,
    /// Since when it has no assignment that holds; none while it has one.
    upset: Option<Ns>,
    /// Partitions that it was assigned last.
    owned: Vec<usize>,
}

#[derive(Debug)]
struct MemberProbe(Rc<Consumer>);

impl Probe for MemberProbe {
    fn report(&self, _now: Ns, found: &mut Interval, _intended: &mut u64) {
        *found.gauges.entry("members stable").or_default() += u64::from(self.0.is_assigned());
    }
}

/// When to do next what is done every so often; 0 is never.
const fn after(now: Ns, every: Ns) -> Ns {
    if every == 0 { Ns::MAX } else { now.saturating_add(every) }
}

impl Member {
    /// Starts consumer `number`, which is of the given set.
    pub fn begin(core: &Rc<Core>, set: u32, group: &Group, number: u32) {
        let consumer = Consumer::of_group(core, set);
        core.probe(MemberProbe(Rc::clone(&consumer)));
        let member = Self {
            core: Rc::clone(core),
            membership: Membership::new(core, &group.of_set(set), number as usize),
            consumer,
            commit_every: group.commit_every,
            commit_at: Ns::MAX,
            upset: Some(core.clock().now()),
            owned: Vec::new(),
        };
        core.spawn(member.run());
    }

    async fn run(mut self) {
        while !self.consumer.is_over() {
            if let Err(error) = self.live().await {
                self.core.broken(&error);
                run::sleep(PAUSE).await;
            }
        }
        self.end().await;
    }

    /// Is a member until the run is over or the connection to the coordinator breaks. Meanwhile it receives what it has.
    async fn live(&mut self) -> io::Result<()> {
        self.membership.connect().await?;
        while !self.consumer.is_over() {
            if self.upset.is_some() {
                self.join().await?;
            } else {
                self.attend().await?;
            }
        }
        Ok(())
    }

    /// Joins, and begins with what it is assigned, unless the run is over before.
    async fn join(&mut self) -> io::Result<()> {
        let over = async {
            while !self.consumer.is_over() {
                run::sleep(LOOK).await;
            }
            None
        };
        let joined = future::or(async { Some(self.membership.join().await) }, over).await;
        let Some(joined) = joined else {
            self.membership.disconnect();
            return Ok(());
        };
        let places = self.places(&joined?);
        let committed = self.membership.committed(&places).await?;
        let step = &self.core.step;
        let progress = self.consumer.progress();
        let mut positions = Vec::new();
        for place in &places {
            let start = step.starts[*place];
            let offset = committed.get(place).copied().unwrap_or(start);
            let (position, again) = progress.take_over(*place, offset, offset == 0);
            if again > 0 {
                self.core.found.borrow_mut().error("records received again after a rebalance", again);
            }
            progress.reach(*place, offset);
            positions.push((*place, position));
        }
        let now = self.core.clock().now();
        progress.hear(now);
        self.owned = places;
        self.consumer.assign(positions);
        if let Some(since) = self.upset.take() {
            let took = now.saturating_sub(since) / 1000;
            self.core.found.borrow_mut().record_n(Measure::Rebalance, took, 1);
        }
        self.commit_at = after(now, self.commit_every);
        Ok(())
    }

    /// The partitions of an assignment, as far as they are of this run.
    fn places(&self, assigned: &[(String, Vec<i32>)]) -> Vec<usize> {
        let cluster = self.core.cluster.borrow();
        let mut places = Vec::new();
        for (topic, partitions) in assigned {
            let topic = TopicRef { name: topic.as_str().into(), id: TopicId::ZERO };
            places.extend(partitions.iter().filter_map(|index| cluster.find(&topic, *index)));
        }
        places
    }

    /// Heartbeats and commits, until there is a rebalance or the run is over.
    async fn attend(&mut self) -> io::Result<()> {
        let interval = nanos(self.core.step.plan.membership.heartbeat);
        let mut beat_at = self.core.clock().now();
        while !self.consumer.is_over() {
            let now = self.core.clock().now();
            if now >= self.commit_at {
                self.commit_at = after(now, self.commit_every);
                self.membership.commit(&self.consumer.offsets()).await?;
            }
            if now >= beat_at {
                beat_at = now + interval;
                let standing = self.membership.beat().await?;
                if standing == Standing::Expelled {
                    self.core.error(ErrorCode::UnknownMemberId.name());
                }
                if standing != Standing::Member {
                    return self.give_up().await;
                }
            }
            self.core.sleep_until(beat_at.min(self.commit_at).min(now + nanos(LOOK))).await;
        }
        Ok(())
    }

    /// Stops receiving, and commits how far it came while the coordinator still takes that from it.
    async fn give_up(&mut self) -> io::Result<()> {
        self.upset = Some(self.core.clock().now());
        let (mut offsets, progress) = (Vec::new(), self.consumer.progress());
        for (place, position) in self.consumer.revoke() {
            offsets.push((place, position.offset));
            progress.park(place, position);
        }
        self.membership.commit(&offsets).await
    }

    /// Lets what is outstanding come, commits, and leaves.
    async fn end(&mut self) {
        while self.consumer.is_receiving() {
            run::sleep(LOOK).await;
        }
        if let Err(error) = self.leave().await {
            self.core.broken(&error);
        }
        // Of what it gave up and nobody took over any more.
        let progress = self.consumer.progress();
        let given_up = self.owned.iter().filter_map(|place| Some((*place, progress.parked_at(*place)?)));
        let run = self.core.step.run;
        let lost: u64 = given_up.map(|(place, position)| position.lost(place, run, &Ledger::new())).sum();
        self.core.found.borrow_mut().verification.lost += lost;
    }

    async fn leave(&mut self) -> io::Result<()> {
        if !self.membership.is_known() {
            return Ok(());
        }
        if !self.membership.is_connected() {
            self.membership.connect().await?;
        }
        self.membership.commit(&self.consumer.offsets()).await?;
        self.membership.leave().await
    }
}
