//! A consumer as the classic protocol makes them: it joins, syncs, heartbeats, commits, and starts over on errors.

use bytes::Bytes;
use coordination::group::{
    CommitPartition, CommitTopic, Heartbeat, Join, JoinReply, Leave, Leaver, OffsetCommit, Reply, Request,
    Sync,
};
use model::{ErrorCode, Offset, TopicId};

use super::Random;

pub const GROUP: &str = "g";
pub const SESSION_MS: u64 = 10_000;
const REBALANCE_MS: u64 = 15_000;
const PATIENCE_MS: u64 = 4_000;
const HEARTBEAT_MS: u64 = 2_000;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// Not in the group, does not want to be.
    Away,
    /// To join at the next chance.
    Joining,
    /// Has its assignment.
    Settled,
}

#[derive(Debug)]
pub struct Client {
    pub number: usize,
    pub instance: Option<String>,
    pub phase: Phase,
    pub member_id: String,
    pub generation: i32,
    /// What the leader gave it, and in which generation.
    pub assignment: Option<Bytes>,
    /// Changes make it join again.
    pub metadata: u8,
    /// The ticket it waits for, and until when.
    pub waits: Option<(u64, u64)>,
    next_heartbeat: u64,
    /// What it committed last, and what it knows to be committed.
    pub sent: i64,
    pub acknowledged: i64,
    /// The request to make next, if it is settled already which.
    next: Option<Request>,
}

/// What a member is whatever its id: its instance, or the id.
pub fn identity(instance: Option<&str>, member_id: &str) -> String {
    instance.unwrap_or(member_id).to_owned()
}

impl Client {
    pub fn new(number: usize) -> Self {
        Self {
            number,
            instance: (number % 2 == 1).then(|| format!("static{number}")),
            phase: Phase::Away,
            member_id: String::new(),
            generation: -1,
            assignment: None,
            metadata: 0,
            waits: None,
            next_heartbeat: 0,
            sent: 0,
            acknowledged: 0,
            next: None,
        }
    }

    pub fn topic(&self) -> String {
        format!("t{}", self.number)
    }

    /// The process starts: it knows nothing but its instance id.
    pub fn start(&mut self) {
        self.phase = Phase::Joining;
        self.member_id.clear();
        self.generation = -1;
        (self.assignment, self.waits, self.next) = (None, None, None);
    }

    /// The process dies, or goes with a word.
    pub fn stop(&mut self, says_so: bool) -> Option<Request> {
        self.phase = Phase::Away;
        (self.assignment, self.waits, self.next) = (None, None, None);
        let leaver = Leaver { member_id: self.member_id.clone(), instance_id: self.instance.clone() };
        let leave = Leave { group: GROUP.into(), members: vec![leaver] };
        (says_so && !self.member_id.is_empty()).then_some(Request::Leave(leave))
    }

    fn rejoin(&mut self) {
        self.phase = Phase::Joining;
        (self.assignment, self.next) = (None, None);
    }

    fn join(&self) -> Request {
        Request::Join(Join {
            group: GROUP.into(),
            member_id: self.member_id.clone(),
            instance_id: self.instance.clone(),
            client_id: format!("client{}", self.number),
            client_host: "/10.0.0.1".into(),
            session_timeout_ms: i32::try_from(SESSION_MS).unwrap(),
            rebalance_timeout_ms: i32::try_from(REBALANCE_MS).unwrap(),
            protocol_type: "consumer".into(),
            protocols: vec![("range".into(), Bytes::from(vec![self.metadata]))],
            require_known_member_id: self.number.is_multiple_of(4),
            can_skip_assignment: self.number.is_multiple_of(3),
        })
    }

    /// What it asks now, if anything. `commits` lets it commit.
    pub fn poll(&mut self, now: u64, commits: bool, random: &mut Random) -> Option<Request> {
        match self.waits {
            Some((_, until)) if now < until => return None,
            // No answer: a heartbeat or commit is simply lost, else it starts the handshake again.
            Some(_) => self.waits = None,
            None => {}
        }
        if let Some(next) = self.next.take() {
            return Some(next);
        }
        match self.phase {
            Phase::Away => None,
            Phase::Joining => Some(self.join()),
            Phase::Settled if now >= self.next_heartbeat => {
                self.next_heartbeat = now + HEARTBEAT_MS;
                Some(Request::Heartbeat(Heartbeat {
                    group: GROUP.into(),
                    member_id: self.member_id.clone(),
                    instance_id: self.instance.clone(),
                    generation: self.generation,
                }))
            }
            Phase::Settled if commits && random.one_in(4) => Some(self.commit()),
            Phase::Settled => None,
        }
    }

    fn commit(&mut self) -> Request {
        self.sent += 1;
        let partition = CommitPartition {
            partition: 0,
            offset: Offset(self.sent),
            leader_epoch: -1,
            metadata: String::new(),
            commit_time: None,
        };
        Request::OffsetCommit(OffsetCommit {
            group: GROUP.into(),
            member_id: self.member_id.clone(),
            instance_id: self.instance.clone(),
            generation: self.generation,
            retention_ms: None,
            knows_group_not_found: true,
            topics: vec![CommitTopic {
                name: self.topic(),
                topic_id: TopicId::ZERO,
                partitions: vec![partition],
            }],
        })
    }

    /// A `hasty` one soon asks again.
    pub fn asked(&mut self, ticket: u64, request: &Request, now: u64, hasty: bool) {
        let join = matches!(request, Request::Join(_)) && !hasty;
        let patience = if join { REBALANCE_MS + 5_000 } else { PATIENCE_MS };
        self.waits = Some((ticket, now + patience));
    }

    /// Takes an answer; one it no longer waits for it does not even see.
    pub fn answered(&mut self, ticket: u64, reply: &Reply, random: &mut Random) {
        if self.waits.is_none_or(|(waited, _)| waited != ticket) {
            return;
        }
        self.waits = None;
        let error = match reply {
            Reply::Join(join) => return self.joined(join, random),
            Reply::Sync(sync) => {
                if sync.error.is_ok() {
                    self.phase = Phase::Settled;
                    self.assignment = Some(sync.assignment.clone());
                }
                sync.error
            }
            Reply::Heartbeat(error) => *error,
            Reply::OffsetCommit(topics) => {
                let error = topics[0].partitions[0].1;
                if error.is_ok() {
                    self.acknowledged = self.sent;
                }
                // It will hear of a rebalance by its heartbeat.
                if matches!(error, ErrorCode::RebalanceInProgress) { ErrorCode::None } else { error }
            }
            _ => ErrorCode::None,
        };
        self.failed(error);
    }

    fn failed(&mut self, error: ErrorCode) {
        match error {
            ErrorCode::None => {}
            ErrorCode::UnknownMemberId => {
                self.member_id.clear();
                self.rejoin();
            }
            // Another process has its instance id: there is none in this world, so it is an older self of it.
            ErrorCode::FencedInstanceId => self.start(),
            ErrorCode::IllegalGeneration | ErrorCode::RebalanceInProgress => self.rejoin(),
            error if error.retriable() || error == ErrorCode::UnknownServerError => {
                if self.phase != Phase::Settled {
                    self.rejoin();
                }
            }
            other => panic!("client {} hears {}", self.number, other.name()),
        }
    }

    fn joined(&mut self, join: &JoinReply, random: &mut Random) {
        match join.error {
            ErrorCode::None => {}
            ErrorCode::MemberIdRequired => {
                self.member_id.clone_from(&join.member_id);
                return;
            }
            error => return self.failed(error),
        }
        self.member_id.clone_from(&join.member_id);
        self.generation = join.generation;
        // Each assignment says whose it is, in which generation, and in which computation of the leader.
        let nonce = random.next() % 1_000_000;
        let assignments = join.members.iter().filter(|_| !join.skip_assignment).map(|member| {
            let whose = identity(member.instance_id.as_deref(), &member.member_id);
            (member.member_id.clone(), Bytes::from(format!("{}/{whose}/{nonce}", join.generation)))
        });
        self.next = Some(Request::Sync(Sync {
            group: GROUP.into(),
            member_id: self.member_id.clone(),
            instance_id: self.instance.clone(),
            generation: self.generation,
            protocol_type: Some("consumer".into()),
            protocol: Some("range".into()),
            assignments: assignments.collect(),
        }));
    }
}
