//! One member that comes and goes.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use model::ErrorCode;

use super::{Group, LOOK, is_over};
use crate::group::{Membership, Standing};
use crate::run;

/// Pause after a failure.
const PAUSE: Duration = Duration::from_millis(100);
/// A departed member comes back at the latest after this long, also where its group does not become stable.
const AWAY_MAX: Duration = Duration::from_secs(10);

/// One member.
#[derive(Debug)]
pub struct Member {
    group: Rc<Group>,
    number: u32,
}

/// Why a member stops being one for a while.
enum Ended {
    /// It has left, on demand.
    Left,
    /// The run is over; it has left.
    Over,
}

impl Member {
    /// Not joined yet.
    pub const fn new(group: Rc<Group>, number: u32) -> Self {
        Self { group, number }
    }

    /// Joins, leaves and comes back until the run is over.
    pub async fn run(self) {
        while !is_over(&self.group.core) {
            match self.live().await {
                Ok(Ended::Over) => return,
                Ok(Ended::Left) => {
                    let mut waited = Duration::ZERO;
                    while !self.group.is_stable() && waited < AWAY_MAX && !is_over(&self.group.core) {
                        run::sleep(LOOK).await;
                        waited += LOOK;
                    }
                    self.group.upset(self.group.core.clock().now());
                    self.group.unstable(self.number);
                }
                Err(error) => {
                    self.group.core.broken(&error);
                    self.group.upset(self.group.core.clock().now());
                    self.group.unstable(self.number);
                    run::sleep(PAUSE).await;
                }
            }
        }
    }

    async fn live(&self) -> io::Result<Ended> {
        let mut membership = Membership::new(&self.group.core, &self.group.name, self.number as usize);
        membership.connect().await?;
        loop {
            membership.join().await?;
            self.group.settled(self.number, membership.generation());
            if let Some(ended) = self.beat(&membership).await? {
                return Ok(ended);
            }
            self.group.unstable(self.number);
        }
    }

    /// Heartbeats until there is a rebalance (none) or it leaves.
    async fn beat(&self, membership: &Membership) -> io::Result<Option<Ended>> {
        let core = &self.group.core;
        let interval = crate::units::nanos(core.step.plan.membership.heartbeat);
        let mut next = core.clock().now() + interval;
        loop {
            if let Some(at) = self.group.departure_of(self.number) {
                self.group.gone(self.number);
                self.group.upset(at);
                membership.leave().await?;
                return Ok(Some(Ended::Left));
            }
            if is_over(core) {
                membership.leave().await?;
                return Ok(Some(Ended::Over));
            }
            let now = core.clock().now();
            if now < next {
                core.sleep_until(next.min(now + crate::units::nanos(LOOK))).await;
                continue;
            }
            next = now + interval;
            match membership.beat().await? {
                Standing::Member => {}
                Standing::Rebalance => return Ok(None),
                Standing::Expelled => return Err(io::Error::other(ErrorCode::UnknownMemberId.name())),
            }
        }
    }
}
