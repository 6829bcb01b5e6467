//! The script's coordinator of one classic group. A rebalance ends when every member has come back, however long that takes.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use model::ErrorCode;
use protocol::control::messages::find_coordinator_response::Coordinator as Found;
use protocol::control::messages::join_group_response::JoinGroupResponseMember;
use protocol::control::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use protocol::control::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartitions, OffsetFetchResponseTopics,
};
use protocol::control::messages::{
    FindCoordinatorRequest, FindCoordinatorResponse, HeartbeatRequest, HeartbeatResponse, JoinGroupRequest,
    JoinGroupResponse, LeaveGroupRequest, LeaveGroupResponse, OffsetCommitRequest, OffsetCommitResponse,
    OffsetFetchRequest, OffsetFetchResponse, SyncGroupRequest, SyncGroupResponse,
};
use protocol::control::{decode, encode_response};
use protocol::{ApiKey, RequestHeader, message};

use super::State;

/// How often whoever waits for others looks for them.
const POLL: Duration = Duration::from_millis(2);

/// What happens to the group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unrest {
    /// Only what members cause.
    None,
    /// Every so many heartbeats there is a rebalance.
    Rebalances(u32),
    /// Every so many heartbeats the coordinator has forgotten whoever sent it.
    Forgets(u32),
}

#[derive(Default)]
struct Member {
    /// Whether it has come to the rebalance that goes on.
    joined: bool,
    subscription: Bytes,
    assignment: Option<Bytes>,
}

#[derive(Default)]
pub struct Coordinator {
    members: BTreeMap<String, Member>,
    /// How many there ever were.
    ids: u32,
    rebalancing: bool,
    beats: u32,
    pub generation: i32,
    pub commits: u32,
    /// By partition.
    pub offsets: HashMap<i32, i64>,
}

impl Coordinator {
    fn upset(&mut self) {
        if !self.rebalancing {
            self.rebalancing = true;
            self.members.values_mut().for_each(|member| member.joined = false);
        }
    }

    /// Ends the rebalance if everybody is there.
    fn settle(&mut self) {
        if self.rebalancing && self.members.values().all(|member| member.joined) {
            (self.rebalancing, self.generation) = (false, self.generation + 1);
            self.members.values_mut().for_each(|member| member.assignment = None);
        }
    }

    fn remove(&mut self, member: &str) {
        self.members.remove(member);
        self.upset();
        self.settle();
    }

    /// Whether this is a member of this generation.
    fn judge(&self, member: &str, generation: i32) -> ErrorCode {
        if !self.members.contains_key(member) {
            ErrorCode::UnknownMemberId
        } else if generation != self.generation {
            ErrorCode::IllegalGeneration
        } else {
            ErrorCode::None
        }
    }

    fn beat(&mut self, unrest: Unrest, member: &str, generation: i32) -> ErrorCode {
        self.beats += 1;
        let judged = self.judge(member, generation);
        match unrest {
            _ if judged != ErrorCode::None => return judged,
            Unrest::Rebalances(every) if self.beats % every == every - 1 => self.upset(),
            Unrest::Forgets(every) if self.beats % every == every - 1 => {
                self.remove(member);
                return ErrorCode::UnknownMemberId;
            }
            _ => {}
        }
        if self.rebalancing { ErrorCode::RebalanceInProgress } else { ErrorCode::None }
    }
}

/// Answers what is asked of a coordinator.
pub fn answer(header: &RequestHeader, frame: &Bytes, address: SocketAddr, state: &Mutex<State>) -> Bytes {
    let (version, body) = (header.api_version, header.body(frame));
    match header.api() {
        Some(ApiKey::FindCoordinator) => {
            let request: FindCoordinatorRequest = decode(version, body).unwrap();
            let found = message!(Found {
                key: request.coordinator_keys[0].clone(),
                node_id: 1,
                host: address.ip().to_string().into(),
                port: i32::from(address.port()),
            });
            encode_response(header, &message!(FindCoordinatorResponse { coordinators: vec![found] })).unwrap()
        }
        Some(ApiKey::JoinGroup) => {
            encode_response(header, &join(&decode(version, body).unwrap(), state)).unwrap()
        }
        Some(ApiKey::SyncGroup) => {
            encode_response(header, &sync(&decode(version, body).unwrap(), state)).unwrap()
        }
        Some(ApiKey::Heartbeat) => {
            let request: HeartbeatRequest = decode(version, body).unwrap();
            let mut state = state.lock().unwrap();
            let unrest = state.script.unrest;
            let code = state.coordinator.beat(unrest, &request.member_id, request.generation_id);
            encode_response(header, &message!(HeartbeatResponse { error_code: code.code() })).unwrap()
        }
        Some(ApiKey::LeaveGroup) => {
            let request: LeaveGroupRequest = decode(version, body).unwrap();
            state.lock().unwrap().coordinator.remove(&request.members[0].member_id);
            encode_response(header, &LeaveGroupResponse::default()).unwrap()
        }
        Some(ApiKey::OffsetCommit) => {
            encode_response(header, &commit(&decode(version, body).unwrap(), state)).unwrap()
        }
        Some(ApiKey::OffsetFetch) => {
            encode_response(header, &committed(&decode(version, body).unwrap(), state)).unwrap()
        }
        other => panic!("not in the script: {other:?}"),
    }
}

fn join(request: &JoinGroupRequest, state: &Mutex<State>) -> JoinGroupResponse {
    let id = request.member_id.to_string();
    let before = {
        let group = &mut state.lock().unwrap().coordinator;
        if id.is_empty() {
            group.ids += 1;
            let id = format!("member-{}", group.ids);
            let code = ErrorCode::MemberIdRequired.code();
            return message!(JoinGroupResponse { error_code: code, member_id: id.into() });
        }
        let before = group.generation;
        group.upset();
        let member = group.members.entry(id.clone()).or_default();
        (member.joined, member.subscription) = (true, request.protocols[0].metadata.clone());
        group.settle();
        before
    };
    loop {
        thread::sleep(POLL);
        let group = &state.lock().unwrap().coordinator;
        if !group.members.contains_key(&id) {
            return message!(JoinGroupResponse { error_code: ErrorCode::UnknownMemberId.code() });
        }
        if group.generation > before {
            let leader = group.members.keys().next().unwrap();
            let members = group.members.iter().map(|(id, member)| {
                message!(JoinGroupResponseMember {
                    member_id: id.as_str().into(),
                    metadata: member.subscription.clone(),
                })
            });
            return message!(JoinGroupResponse {
                generation_id: group.generation,
                protocol_name: Some(request.protocols[0].name.clone()),
                protocol_type: Some("consumer".into()),
                leader: leader.as_str().into(),
                member_id: id.as_str().into(),
                members: if *leader == id { members.collect() } else { Vec::new() },
            });
        }
    }
}

fn sync(request: &SyncGroupRequest, state: &Mutex<State>) -> SyncGroupResponse {
    loop {
        thread::sleep(POLL);
        let group = &mut state.lock().unwrap().coordinator;
        let judged = match group.judge(&request.member_id, request.generation_id) {
            ErrorCode::None if group.rebalancing => ErrorCode::RebalanceInProgress,
            judged => judged,
        };
        if judged != ErrorCode::None {
            return message!(SyncGroupResponse { error_code: judged.code() });
        }
        for given in &request.assignments {
            let member = group.members.get_mut(&*given.member_id).unwrap();
            member.assignment = Some(given.assignment.clone());
        }
        if let Some(assignment) = &group.members[&*request.member_id].assignment {
            return message!(SyncGroupResponse {
                protocol_type: Some("consumer".into()),
                protocol_name: request.protocol_name.clone(),
                assignment: assignment.clone(),
            });
        }
    }
}

fn commit(request: &OffsetCommitRequest, state: &Mutex<State>) -> OffsetCommitResponse {
    let group = &mut state.lock().unwrap().coordinator;
    group.commits += 1;
    let code = group.judge(&request.member_id, request.generation_id_or_member_epoch);
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| {
            if code == ErrorCode::None {
                group.offsets.insert(partition.partition_index, partition.committed_offset);
            }
            message!(OffsetCommitResponsePartition {
                partition_index: partition.partition_index,
                error_code: code.code(),
            })
        });
        message!(OffsetCommitResponseTopic { topic_id: topic.topic_id, partitions: partitions.collect() })
    });
    message!(OffsetCommitResponse { topics: topics.collect() })
}

fn committed(request: &OffsetFetchRequest, state: &Mutex<State>) -> OffsetFetchResponse {
    let group = &state.lock().unwrap().coordinator;
    let asked = &request.groups[0];
    let topics = asked.topics.iter().flatten().map(|topic| {
        let partitions = topic.partition_indexes.iter().map(|index| {
            message!(OffsetFetchResponsePartitions {
                partition_index: *index,
                committed_offset: group.offsets.get(index).copied().unwrap_or(-1),
                committed_leader_epoch: -1,
            })
        });
        message!(OffsetFetchResponseTopics { topic_id: topic.topic_id, partitions: partitions.collect() })
    });
    let topics = topics.collect();
    let group = message!(OffsetFetchResponseGroup { group_id: asked.group_id.clone(), topics: topics });
    message!(OffsetFetchResponse { groups: vec![group] })
}
