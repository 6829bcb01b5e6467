//! One member of a classic group, on a connection of its own: joins, is assigned, keeps its session alive, leaves.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use model::ErrorCode;
use protocol::control::RequestResponsePair;
use protocol::control::messages::join_group_request::JoinGroupRequestProtocol;
use protocol::control::messages::join_group_response::JoinGroupResponseMember;
use protocol::control::messages::leave_group_request::MemberIdentity;
use protocol::control::messages::sync_group_request::SyncGroupRequestAssignment;
use protocol::control::messages::{
    FindCoordinatorRequest, HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest, SyncGroupRequest,
};
use protocol::{ApiKey, Text, message};

use super::assignor;
use crate::cluster::{error_name, resolve};
use crate::core::Core;
use crate::link::{Link, PATIENCE};

/// First version of FindCoordinator with a list of keys.
const COORDINATOR_KEYS_SINCE: i16 = 4;
/// First version of LeaveGroup with a list of members.
const LEAVING_MEMBERS_SINCE: i16 = 3;

/// What a heartbeat tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// All is well.
    Member,
    /// Somebody came or went: join again.
    Rebalance,
    /// The coordinator took it for gone: join anew.
    Expelled,
}

/// See the module.
#[derive(Debug)]
pub struct Membership {
    pub(super) core: Rc<Core>,
    pub(super) group: Text,
    /// Members ask different brokers first.
    turn: usize,
    /// To the coordinator.
    link: Option<Link>,
    pub(super) id: Text,
    /// Of the last assignment.
    pub(super) generation: i32,
}

impl Membership {
    /// Not connected, not joined.
    pub fn new(core: &Rc<Core>, group: &str, turn: usize) -> Self {
        let (core, group) = (Rc::clone(core), group.into());
        Self { core, group, turn, link: None, id: Text::default(), generation: -1 }
    }

    /// The generation that it was assigned in.
    pub const fn generation(&self) -> i32 {
        self.generation
    }

    /// Whether the coordinator may know it.
    pub fn is_known(&self) -> bool {
        !self.id.is_empty()
    }

    /// Whether there is a connection on which nothing is outstanding.
    pub const fn is_connected(&self) -> bool {
        self.link.is_some()
    }

    /// Gives up the connection, with an answer outstanding that nobody will read.
    pub fn disconnect(&mut self) {
        self.link = None;
    }

    /// Asks the coordinator.
    pub(super) async fn ask<M: RequestResponsePair>(
        &self,
        key: ApiKey,
        request: &M,
        patience: Duration,
    ) -> io::Result<M::Response> {
        let link = self.link.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        self.ask_on(link, key, request, patience).await
    }

    async fn ask_on<M: RequestResponsePair>(
        &self,
        link: &Link,
        key: ApiKey,
        request: &M,
        patience: Duration,
    ) -> io::Result<M::Response> {
        let versions = self.core.cluster.borrow().versions.clone();
        let response = link.call(&self.core.step.plan.client_id, &versions, key, request, patience).await?;
        self.core.found.borrow_mut().requests += 1;
        Ok(response)
    }

    pub(super) fn version(&self, key: ApiKey) -> io::Result<i16> {
        self.core.cluster.borrow().versions.of(key).map_err(io::Error::other)
    }

    /// Connects to whom coordinates the group.
    pub async fn connect(&mut self) -> io::Result<()> {
        self.link = None;
        let any = Link::connect(self.core.any_broker(self.turn)?).await?;
        let name = self.group.clone();
        let listed = self.version(ApiKey::FindCoordinator)? >= COORDINATOR_KEYS_SINCE;
        let request = if listed {
            message!(FindCoordinatorRequest { coordinator_keys: vec![name] })
        } else {
            message!(FindCoordinatorRequest { key: name })
        };
        let found = self.ask_on(&any, ApiKey::FindCoordinator, &request, PATIENCE).await?;
        let (code, host, port) = match found.coordinators.first() {
            Some(one) => (one.error_code, &one.host, one.port),
            None => (found.error_code, &found.host, found.port),
        };
        refuse(code)?;
        let address = resolve(&format!("{host}:{port}")).map_err(io::Error::other)?;
        self.link = Some(Link::connect(address).await?);
        Ok(())
    }

    /// Joins and takes its assignment: topics and partitions.
    pub async fn join(&mut self) -> io::Result<Vec<(String, Vec<i32>)>> {
        let session = self.core.step.plan.membership.session;
        let ms = i32::try_from(session.as_millis()).unwrap_or(i32::MAX);
        let patience = session * 2 + PATIENCE;
        loop {
            let protocol = message!(JoinGroupRequestProtocol {
                name: assignor::NAME.into(),
                metadata: assignor::subscription(&self.core.step.plan.topics.names),
            });
            let request = message!(JoinGroupRequest {
                group_id: self.group.clone(),
                session_timeout_ms: ms,
                rebalance_timeout_ms: ms,
                member_id: self.id.clone(),
                protocol_type: "consumer".into(),
                protocols: vec![protocol],
            });
            let joined = self.ask(ApiKey::JoinGroup, &request, patience).await?;
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
            let assignments =
                if joined.leader == joined.member_id { self.assign(&joined.members) } else { Vec::new() };
            self.id = joined.member_id;
            self.generation = joined.generation_id;
            let request = message!(SyncGroupRequest {
                group_id: self.group.clone(),
                generation_id: self.generation,
                member_id: self.id.clone(),
                protocol_type: Some("consumer".into()),
                protocol_name: Some(assignor::NAME.into()),
                assignments: assignments,
            });
            let synced = self.ask(ApiKey::SyncGroup, &request, patience).await?;
            match ErrorCode::from_code(synced.error_code) {
                Some(ErrorCode::None) => {
                    let assigned = assignor::parse(&synced.assignment);
                    return assigned.ok_or_else(|| io::Error::other("an assignment that cannot be read"));
                }
                // Somebody came or went meanwhile.
                Some(ErrorCode::RebalanceInProgress | ErrorCode::IllegalGeneration) => {}
                _ => refuse(synced.error_code)?,
            }
        }
    }

    /// What the leader says of who gets what.
    fn assign(&self, members: &[JoinGroupResponseMember]) -> Vec<SyncGroupRequestAssignment> {
        let cluster = self.core.cluster.borrow();
        let mut topics: Vec<(String, i32)> =
            cluster.topics.iter().map(|topic| (topic.name.clone(), 0)).collect();
        for partition in &cluster.partitions {
            topics[partition.topic].1 += 1;
        }
        let members: Vec<String> = members.iter().map(|member| member.member_id.to_string()).collect();
        let assigned = assignor::range(&topics, &members).into_iter();
        assigned
            .map(|(member, assignment)| {
                message!(SyncGroupRequestAssignment { member_id: member.into(), assignment: assignment })
            })
            .collect()
    }

    /// Tells the coordinator that it lives, and hears whether its assignment still holds.
    pub async fn beat(&self) -> io::Result<Standing> {
        let request = message!(HeartbeatRequest {
            group_id: self.group.clone(),
            generation_id: self.generation,
            member_id: self.id.clone(),
        });
        let answer = self.ask(ApiKey::Heartbeat, &request, PATIENCE).await?;
        match ErrorCode::from_code(answer.error_code) {
            Some(ErrorCode::RebalanceInProgress | ErrorCode::IllegalGeneration) => Ok(Standing::Rebalance),
            Some(ErrorCode::UnknownMemberId) => Ok(Standing::Expelled),
            _ => refuse(answer.error_code).map(|()| Standing::Member),
        }
    }

    /// Leaves for good.
    pub async fn leave(&self) -> io::Result<()> {
        let group_id = self.group.clone();
        let request = if self.version(ApiKey::LeaveGroup)? >= LEAVING_MEMBERS_SINCE {
            let member = message!(MemberIdentity { member_id: self.id.clone() });
            message!(LeaveGroupRequest { group_id: group_id, members: vec![member] })
        } else {
            message!(LeaveGroupRequest { group_id: group_id, member_id: self.id.clone() })
        };
        let answer = self.ask(ApiKey::LeaveGroup, &request, PATIENCE).await?;
        refuse(answer.error_code)
    }
}

/// Whether an error says that others came or went, or that this one was taken for gone: the answer is to join.
pub(super) fn is_rebalance(code: i16) -> bool {
    matches!(
        ErrorCode::from_code(code),
        Some(ErrorCode::RebalanceInProgress | ErrorCode::IllegalGeneration | ErrorCode::UnknownMemberId)
    )
}

/// An error as one of the connection: the answer is to find the coordinator again.
pub(super) fn refuse(code: i16) -> io::Result<()> {
    if code == 0 { Ok(()) } else { Err(io::Error::other(error_name(code))) }
}
