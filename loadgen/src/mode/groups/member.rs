//! One member of a classic group, on a connection of its own: joins, is assigned, keeps its session alive, leaves.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use model::ErrorCode;
use protocol::control::RequestResponsePair;
use protocol::control::messages::join_group_request::JoinGroupRequestProtocol;
use protocol::control::messages::leave_group_request::MemberIdentity;
use protocol::control::messages::sync_group_request::SyncGroupRequestAssignment;
use protocol::control::messages::{
    FindCoordinatorRequest, HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest, SyncGroupRequest,
};
use protocol::{ApiKey, Text, message};

use super::{Group, LOOK, assignor, is_over};
use crate::cluster::{error_name, resolve};
use crate::link::{Link, PATIENCE};
use crate::run;

/// First version of FindCoordinator with a list of keys.
const COORDINATOR_KEYS_SINCE: i16 = 4;
/// First version of LeaveGroup with a list of members.
const LEAVING_MEMBERS_SINCE: i16 = 3;
/// Pause after a failure.
const PAUSE: Duration = Duration::from_millis(100);
/// A departed member comes back at the latest after this long, also where its group does not become stable.
const AWAY_MAX: Duration = Duration::from_secs(10);

/// One member.
#[derive(Debug)]
pub struct Member {
    group: Rc<Group>,
    number: u32,
    id: Text,
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
    pub fn new(group: Rc<Group>, number: u32) -> Self {
        Self { group, number, id: Text::default() }
    }

    /// Joins, leaves and comes back until the run is over.
    pub async fn run(mut self) {
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

    async fn live(&mut self) -> io::Result<Ended> {
        let link = self.coordinator().await?;
        self.id = Text::default();
        loop {
            let generation = self.join(&link).await?;
            self.group.settled(self.number, generation);
            if let Some(ended) = self.beat(&link, generation).await? {
                return Ok(ended);
            }
            self.group.unstable(self.number);
        }
    }

    async fn ask<M: RequestResponsePair>(
        &self,
        link: &Link,
        key: ApiKey,
        request: &M,
        patience: Duration,
    ) -> io::Result<M::Response> {
        let core = &self.group.core;
        let versions = core.cluster.borrow().versions.clone();
        let response = link.call(&core.step.plan.client_id, &versions, key, request, patience).await?;
        core.found.borrow_mut().requests += 1;
        Ok(response)
    }

    fn version(&self, key: ApiKey) -> io::Result<i16> {
        self.group.core.cluster.borrow().versions.of(key).map_err(io::Error::other)
    }

    /// A connection to whom coordinates the group.
    async fn coordinator(&self) -> io::Result<Link> {
        let core = &self.group.core;
        let any = Link::connect(core.any_broker(self.number as usize)?).await?;
        let name: Text = self.group.name.as_str().into();
        let listed = self.version(ApiKey::FindCoordinator)? >= COORDINATOR_KEYS_SINCE;
        let request = if listed {
            message!(FindCoordinatorRequest { coordinator_keys: vec![name] })
        } else {
            message!(FindCoordinatorRequest { key: name })
        };
        let found = self.ask(&any, ApiKey::FindCoordinator, &request, PATIENCE).await?;
        let (code, host, port) = match found.coordinators.first() {
            Some(one) => (one.error_code, &one.host, one.port),
            None => (found.error_code, &found.host, found.port),
        };
        refuse(code)?;
        Link::connect(resolve(&format!("{host}:{port}")).map_err(io::Error::other)?).await
    }

    /// Joins and takes its assignment; the generation.
    async fn join(&mut self, link: &Link) -> io::Result<i32> {
        let timers = self.group.core.step.plan.membership;
        let ms = |duration: Duration| i32::try_from(duration.as_millis()).unwrap_or(i32::MAX);
        let patience = timers.session * 2 + PATIENCE;
        loop {
            let protocol = message!(JoinGroupRequestProtocol {
                name: assignor::NAME.into(),
                metadata: assignor::subscription(&self.group.core.step.plan.topics.names),
            });
            let request = message!(JoinGroupRequest {
                group_id: self.group.name.as_str().into(),
                session_timeout_ms: ms(timers.session),
                rebalance_timeout_ms: ms(timers.session),
                member_id: self.id.clone(),
                protocol_type: "consumer".into(),
                protocols: vec![protocol],
            });
            let joined = self.ask(link, ApiKey::JoinGroup, &request, patience).await?;
            match ErrorCode::from_code(joined.error_code) {
                Some(ErrorCode::MemberIdRequired) => {
                    self.id = joined.member_id;
                    continue;
                }
                Some(ErrorCode::UnknownMemberId) => {
                    self.id = Text::default();
                    continue;
                }
                Some(ErrorCode::RebalanceInProgress) => continue,
                _ => refuse(joined.error_code)?,
            }
            self.id = joined.member_id.clone();
            let mut assignments = Vec::new();
            if joined.leader == joined.member_id {
                let members: Vec<String> = joined.members.iter().map(|m| m.member_id.to_string()).collect();
                for (member, assignment) in assignor::range(&self.topics(), &members) {
                    assignments.push(message!(SyncGroupRequestAssignment {
                        member_id: member.into(),
                        assignment: assignment,
                    }));
                }
            }
            let request = message!(SyncGroupRequest {
                group_id: self.group.name.as_str().into(),
                generation_id: joined.generation_id,
                member_id: self.id.clone(),
                protocol_type: Some("consumer".into()),
                protocol_name: Some(assignor::NAME.into()),
                assignments: assignments,
            });
            let synced = self.ask(link, ApiKey::SyncGroup, &request, patience).await?;
            match ErrorCode::from_code(synced.error_code) {
                Some(ErrorCode::None) => {
                    if assignor::parse(&synced.assignment).is_none() {
                        return Err(io::Error::other("an assignment that cannot be read"));
                    }
                    return Ok(joined.generation_id);
                }
                // Somebody came or went meanwhile: that is what a storm is.
                Some(ErrorCode::RebalanceInProgress | ErrorCode::IllegalGeneration) => {}
                _ => refuse(synced.error_code)?,
            }
        }
    }

    fn topics(&self) -> Vec<(String, i32)> {
        let cluster = self.group.core.cluster.borrow();
        let mut topics: Vec<(String, i32)> =
            cluster.topics.iter().map(|topic| (topic.name.clone(), 0)).collect();
        for partition in &cluster.partitions {
            topics[partition.topic].1 += 1;
        }
        topics
    }

    /// Heartbeats until there is a rebalance (none) or it leaves.
    async fn beat(&self, link: &Link, generation: i32) -> io::Result<Option<Ended>> {
        let core = &self.group.core;
        let interval = crate::units::nanos(core.step.plan.membership.heartbeat);
        let mut next = core.clock().now() + interval;
        loop {
            if let Some(at) = self.group.departure_of(self.number) {
                self.group.gone(self.number);
                self.group.upset(at);
                self.leave(link).await?;
                return Ok(Some(Ended::Left));
            }
            if is_over(core) {
                self.leave(link).await?;
                return Ok(Some(Ended::Over));
            }
            let now = core.clock().now();
            if now < next {
                core.sleep_until(next.min(now + crate::units::nanos(LOOK))).await;
                continue;
            }
            next = now + interval;
            let request = message!(HeartbeatRequest {
                group_id: self.group.name.as_str().into(),
                generation_id: generation,
                member_id: self.id.clone(),
            });
            let answer = self.ask(link, ApiKey::Heartbeat, &request, PATIENCE).await?;
            match ErrorCode::from_code(answer.error_code) {
                Some(ErrorCode::None) => {}
                Some(ErrorCode::RebalanceInProgress | ErrorCode::IllegalGeneration) => return Ok(None),
                _ => refuse(answer.error_code)?,
            }
        }
    }

    async fn leave(&self, link: &Link) -> io::Result<()> {
        let group_id = self.group.name.as_str().into();
        let request = if self.version(ApiKey::LeaveGroup)? >= LEAVING_MEMBERS_SINCE {
            let member = message!(MemberIdentity { member_id: self.id.clone() });
            message!(LeaveGroupRequest { group_id: group_id, members: vec![member] })
        } else {
            message!(LeaveGroupRequest { group_id: group_id, member_id: self.id.clone() })
        };
        let answer = self.ask(link, ApiKey::LeaveGroup, &request, PATIENCE).await?;
        refuse(answer.error_code)
    }
}

fn refuse(code: i16) -> io::Result<()> {
    if code == 0 { Ok(()) } else { Err(io::Error::other(error_name(code))) }
}
