//! Groups whose members leave and come back. A rebalance takes from what caused it until every member is stable in the same
//! generation.

mod member;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use crate::clock::Ns;
use crate::core::{Core, Probe};
use crate::plan::Storm;
use crate::report::{Interval, Measure};
use crate::run;
use crate::schedule::{Arrival, Schedule};

use member::Member;

/// How often a member looks whether it is to go, and a departed one whether it may come back.
const LOOK: Duration = Duration::from_millis(10);

/// One group.
#[derive(Debug)]
pub struct Group {
    /// Its core.
    core: Rc<Core>,
    /// Its name.
    name: String,
    /// By member: the generation that it is stable in, or none while it is not.
    stable: RefCell<BTreeMap<u32, Option<i32>>>,
    /// Since when it is not stable, if it is not.
    trigger: Cell<Option<Ns>>,
    /// Members that are to leave, and when they should have.
    departures: RefCell<Vec<(u32, Ns)>>,
}

#[derive(Debug)]
struct GroupProbe(Rc<Group>);

impl Probe for GroupProbe {
    fn report(&self, _now: Ns, found: &mut Interval, _intended: &mut u64) {
        *found.gauges.entry("groups stable").or_default() += u64::from(self.0.trigger.get().is_none());
        let members = self.0.stable.borrow().values().filter(|stable| stable.is_some()).count();
        *found.gauges.entry("members stable").or_default() += members as u64;
    }
}

impl Group {
    /// Something has happened to it that takes a rebalance, at `at`.
    fn upset(&self, at: Ns) {
        if self.trigger.get().is_none() {
            self.trigger.set(Some(at));
        }
    }

    /// A member has come, or is not stable any more.
    fn unstable(&self, member: u32) {
        self.stable.borrow_mut().insert(member, None);
    }

    /// A member has gone.
    fn gone(&self, member: u32) {
        self.stable.borrow_mut().remove(&member);
    }

    /// A member is stable in a generation; with that the group may be.
    fn settled(&self, member: u32, generation: i32) {
        let mut stable = self.stable.borrow_mut();
        stable.insert(member, Some(generation));
        if stable.values().all(|of| *of == Some(generation))
            && let Some(at) = self.trigger.take()
        {
            let took = self.core.clock().now().saturating_sub(at);
            self.core.found.borrow_mut().record_n(Measure::Rebalance, took / 1000, 1);
        }
    }

    fn departure_of(&self, member: u32) -> Option<Ns> {
        let mut departures = self.departures.borrow_mut();
        let at = departures.iter().position(|(of, _)| *of == member)?;
        Some(departures.swap_remove(at).1)
    }

    /// Whether no rebalance is going on.
    fn is_stable(&self) -> bool {
        self.trigger.get().is_none()
    }
}

/// Whether members are to leave for good.
fn is_over(core: &Core) -> bool {
    core.clock().now() >= core.step.plan.end()
}

/// Starts this core's groups.
pub fn begin(core: &Rc<Core>) {
    let Some(storm) = core.step.plan.storm.clone() else { return };
    let cores = core.step.plan.cores;
    let mut groups = Vec::new();
    for number in (0..storm.groups).filter(|number| *number as usize % cores == core.index) {
        let group = Rc::new(Group {
            core: Rc::clone(core),
            name: format!("{}-{number}", storm.name),
            stable: (0..storm.members).map(|member| (member, None)).collect::<BTreeMap<_, _>>().into(),
            trigger: Cell::new(Some(core.clock().now())),
            departures: RefCell::default(),
        });
        core.probe(GroupProbe(Rc::clone(&group)));
        for number in 0..storm.members {
            let group = Rc::clone(&group);
            core.spawn(async move { Member::new(group, number).run().await });
        }
        groups.push(group);
    }
    if storm.rate > 0.0 && !groups.is_empty() {
        let own = Rc::clone(core);
        core.spawn(async move { blow(&own, &storm, &groups).await });
    }
}

/// Sends members away on schedule, once everybody has gathered.
async fn blow(core: &Core, storm: &Storm, groups: &[Rc<Group>]) {
    while !is_over(core) && !groups.iter().all(|group| group.is_stable()) {
        run::sleep(LOOK).await;
    }
    let share = f64::from(storm.groups) / groups.len() as f64;
    let now = crate::units::real(core.clock().now());
    let seed = core.step.plan.seed.wrapping_add(core.index as u64);
    let mut schedule = Schedule::new(Arrival::Poisson, storm.rate / share, now, seed);
    let mut random = fastrand::Rng::with_seed(seed);
    while !is_over(core) {
        let at = schedule.complete_at(1, 0);
        core.sleep_until(at.min(core.step.plan.end())).await;
        for _ in 0..schedule.take(core.clock().now(), 1000).count() {
            let (group, member) = (&groups[random.usize(..groups.len())], random.u32(..storm.members));
            group.departures.borrow_mut().push((member, at));
        }
    }
}
