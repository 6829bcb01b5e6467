//! A member of a share group: a taker per broker, and heartbeats while they take.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use model::ErrorCode;
use protocol::Text;

use super::Tally;
use super::taker::Taker;
use crate::clock::Ns;
use crate::core::{Core, Probe};
use crate::group::{Beat, ShareMembership};
use crate::plan::{Share, Until};
use crate::report::Interval;
use crate::setup::Seat;
use crate::stamp::Stamping;
use crate::units::nanos;

/// Pause after a failure.
const PAUSE: Duration = Duration::from_millis(100);
/// How long the broker may wait where the run could end.
const LAST_WAIT: Duration = Duration::from_millis(20);
/// How often a member looks whether its takers have ended.
const LOOK: Duration = Duration::from_millis(10);

/// See the module.
#[derive(Debug)]
pub struct Member {
    /// Its core.
    pub core: Rc<Core>,
    /// Among all.
    pub number: usize,
    /// Its group, by number.
    group: usize,
    /// Its id.
    pub id: Text,
    /// Partitions that it is to take from.
    assigned: RefCell<Vec<usize>>,
    /// By node.
    takers: RefCell<BTreeMap<i32, Rc<Taker>>>,
    /// When it last saw that somebody still sends.
    sending_at: Cell<Ns>,
}

#[derive(Debug)]
struct MemberProbe(Rc<Member>);

impl Probe for MemberProbe {
    fn report(&self, _now: Ns, found: &mut Interval, _intended: &mut u64) {
        let assigned = !self.0.assigned.borrow().is_empty();
        *found.gauges.entry("members assigned").or_default() += u64::from(assigned);
    }
}

impl Member {
    /// Starts member `number`, which has joined.
    pub fn begin(core: &Rc<Core>, number: usize, group: usize, seat: &Seat) {
        let member = Rc::new(Self {
            core: Rc::clone(core),
            number,
            group,
            id: seat.id.as_str().into(),
            assigned: RefCell::new(Vec::new()),
            takers: RefCell::default(),
            sending_at: Cell::new(0),
        });
        core.probe(MemberProbe(Rc::clone(&member)));
        let name = member.group_name();
        let membership = ShareMembership::joined(core, &name, number, &seat.id, seat.epoch, seat.interval_ms);
        let places = seat.places.clone();
        core.spawn(async move {
            member.assign(places);
            member.run(membership).await;
        });
    }

    /// The plan.
    pub fn share(&self) -> &Share {
        // Members are made where there are share groups.
        self.core.step.plan.share.as_ref().expect("a member belongs to a share group")
    }

    /// What its group is called.
    pub fn group_name(&self) -> String {
        self.share().group(self.group)
    }

    /// What its group is through with.
    pub fn tally(&self) -> &Tally {
        // One was made for each group.
        &self.core.step.shared.shares[self.group]
    }

    /// Takes from these partitions from now on, of whichever broker leads each.
    fn assign(self: &Rc<Self>, places: Vec<usize>) {
        *self.assigned.borrow_mut() = places;
        self.reroute();
    }

    /// Tells the takers of all brokers what they are to take from.
    pub fn reroute(self: &Rc<Self>) {
        let mut wanted: BTreeMap<i32, BTreeSet<usize>> = BTreeMap::new();
        for place in &*self.assigned.borrow() {
            let leader = self.core.cluster.borrow().partitions[*place].leader;
            wanted.entry(leader).or_default().insert(*place);
        }
        let mut takers = self.takers.borrow_mut();
        for taker in takers.values() {
            taker.want(wanted.remove(&taker.node).unwrap_or_default());
        }
        for (node, places) in wanted {
            let taker = Taker::new(self, node);
            taker.want(places);
            taker.start();
            takers.insert(node, taker);
        }
    }

    /// How long the broker may wait for records: not beyond the end, since what is said along with the question waits too.
    pub fn wait(&self) -> Duration {
        let left = self.core.step.plan.end().saturating_sub(self.core.clock().now());
        self.share().wait.min(Duration::from_nanos(left).max(LAST_WAIT))
    }

    /// Whether nothing more is to be taken.
    pub fn is_over(&self) -> bool {
        let (step, now) = (&self.core.step, self.core.clock().now());
        let patience = step.plan.drain.max(nanos(self.share().wait).saturating_mul(2));
        let quiet = || self.tally().quiet(now).min(now.saturating_sub(self.sending_at.get())) > patience;
        if step.plan.load.is_some() {
            if !self.core.senders_done() {
                self.sending_at.set(now);
                return false;
            }
            return self.has_everything() || quiet();
        }
        match step.plan.until {
            Until::Records(records) => step.shared.received.load(Ordering::Relaxed) >= records || quiet(),
            _ => now >= step.plan.end(),
        }
    }

    /// Offsets of what was sent, by partition: first to end.
    fn sent(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        let step = &self.core.step;
        let whole = |offset: i64| u64::try_from(offset).unwrap_or(0);
        let ends = step.shared.ends.iter().map(move |end| whole(end.load(Ordering::Acquire)));
        step.starts.iter().map(move |start| whole(*start)).zip(ends)
    }

    /// Whether its group is through with everything that was sent.
    fn has_everything(&self) -> bool {
        self.tally().covers(self.sent())
    }

    async fn run(self: Rc<Self>, mut membership: ShareMembership) {
        let mut beat_at = self.core.clock().now() + membership.interval();
        while !self.is_over() || self.is_taking() {
            let now = self.core.clock().now();
            if now >= beat_at {
                match self.beat(&mut membership).await {
                    Ok(()) => beat_at = now + membership.interval(),
                    Err(error) => {
                        membership.disconnect();
                        self.core.broken(&error);
                        beat_at = now + nanos(PAUSE);
                    }
                }
            }
            self.core.sleep_until(beat_at.min(now + nanos(LOOK))).await;
        }
        let left = async {
            if !membership.is_connected() {
                membership.connect().await?;
            }
            membership.leave().await
        };
        if let Err(error) = left.await {
            self.core.broken(&error);
        }
        self.conclude();
    }

    fn is_taking(&self) -> bool {
        self.takers.borrow().values().any(|taker| taker.is_running())
    }

    async fn beat(self: &Rc<Self>, membership: &mut ShareMembership) -> std::io::Result<()> {
        if !membership.is_connected() {
            membership.connect().await?;
        }
        match membership.beat().await? {
            Beat::Same => {}
            Beat::Assigned(places) => self.assign(places),
            Beat::Expelled => {
                self.core.error(ErrorCode::UnknownMemberId.name());
                self.assign(Vec::new());
                // It joins at once, and takes what it is assigned then.
                if let Beat::Assigned(places) = membership.beat().await? {
                    self.assign(places);
                }
            }
        }
        Ok(())
    }

    /// Counts what never came to an end in the group, once all its members are done.
    fn conclude(&self) {
        if !self.tally().leave() {
            return;
        }
        let left = if self.core.step.plan.load.is_some() { self.tally().left(self.sent()) } else { 0 };
        if left > 0 {
            self.core.found.borrow_mut().error("records that a group did not come to an end with", left);
        }
        if self.share().stamping != Stamping::Full {
            return;
        }
        let ledger = self.core.step.shared.ledger.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        self.core.found.borrow_mut().verification.lost += self.tally().lost(&ledger);
    }
}
