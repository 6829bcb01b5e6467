//! One member of a classic group, on a connection of its own: joins, is assigned, keeps its session alive, leaves.

use std::io;
use std::rc::Rc;

use model::ErrorCode;
use protocol::control::messages::join_group_request::JoinGroupRequestProtocol;
use protocol::control::messages::join_group_response::JoinGroupResponseMember;
use protocol::control::messages::leave_group_request::MemberIdentity;
use protocol::control::messages::sync_group_request::SyncGroupRequestAssignment;
use protocol::control::messages::{HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest, SyncGroupRequest};
use protocol::{ApiKey, Text, message};

use super::coordinator::Coordinator;
use super::{assignor, refuse};
use crate::core::Core;
use crate::link::PATIENCE;

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
    pub(super) at: Coordinator,
    pub(super) id: Text,
    /// Of the last assignment.
    pub(super) generation: i32,
}

impl Membership {
    /// Not connected, not joined.
    pub fn new(core: &Rc<Core>, group: &str, turn: usize) -> Self {
        Self { at: Coordinator::new(core, group, turn), id: Text::default(), generation: -1 }
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
        self.at.is_connected()
    }

    /// Gives up the connection, with an answer outstanding that nobody will read.
    pub fn disconnect(&mut self) {
        self.at.disconnect();
    }

    /// Connects to whom coordinates the group.
    pub async fn connect(&mut self) -> io::Result<()> {
        self.at.connect().await
    }

    /// Joins and takes its assignment: topics and partitions.
    pub async fn join(&mut self) -> io::Result<Vec<(String, Vec<i32>)>> {
        let session = self.at.core.step.plan.membership.session;
        let ms = i32::try_from(session.as_millis()).unwrap_or(i32::MAX);
        let patience = session * 2 + PATIENCE;
        loop {
            let protocol = message!(JoinGroupRequestProtocol {
                name: assignor::NAME.into(),
                metadata: assignor::subscription(&self.at.core.step.plan.topics.names),
            });
            let request = message!(JoinGroupRequest {
                group_id: self.at.group.clone(),
                session_timeout_ms: ms,
                rebalance_timeout_ms: ms,
                member_id: self.id.clone(),
                protocol_type: "consumer".into(),
                protocols: vec![protocol],
            });
            let joined = self.at.ask(ApiKey::JoinGroup, &request, patience).await?;
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
                group_id: self.at.group.clone(),
                generation_id: self.generation,
                member_id: self.id.clone(),
                protocol_type: Some("consumer".into()),
                protocol_name: Some(assignor::NAME.into()),
                assignments: assignments,
            });
            let synced = self.at.ask(ApiKey::SyncGroup, &request, patience).await?;
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
        let cluster = self.at.core.cluster.borrow();
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
            group_id: self.at.group.clone(),
            generation_id: self.generation,
            member_id: self.id.clone(),
        });
        let answer = self.at.ask(ApiKey::Heartbeat, &request, PATIENCE).await?;
        match ErrorCode::from_code(answer.error_code) {
            Some(ErrorCode::RebalanceInProgress | ErrorCode::IllegalGeneration) => Ok(Standing::Rebalance),
            Some(ErrorCode::UnknownMemberId) => Ok(Standing::Expelled),
            _ => refuse(answer.error_code).map(|()| Standing::Member),
        }
    }

    /// Leaves for good.
    pub async fn leave(&self) -> io::Result<()> {
        let group_id = self.at.group.clone();
        let request = if self.at.version(ApiKey::LeaveGroup)? >= LEAVING_MEMBERS_SINCE {
            let member = message!(MemberIdentity { member_id: self.id.clone() });
            message!(LeaveGroupRequest { group_id: group_id, members: vec![member] })
        } else {
            message!(LeaveGroupRequest { group_id: group_id, member_id: self.id.clone() })
        };
        let answer = self.at.ask(ApiKey::LeaveGroup, &request, PATIENCE).await?;
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
