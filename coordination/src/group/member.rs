//! One member of a group, and whom it keeps waiting.

use std::sync::Arc;

use bytes::Bytes;

use super::limits::MEMBER_BYTES;
use super::record::MemberValue;
use super::request::Join;
use super::timers::TimerKey;

/// A member. Its strings and bytes are its own copies: a slice of a request would keep the whole request alive.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub id: Arc<str>,
    pub instance: Option<String>,
    pub client_id: String,
    pub client_host: String,
    pub rebalance_timeout_ms: i32,
    pub session_timeout_ms: i32,
    /// Best first.
    pub protocols: Vec<(String, Bytes)>,
    pub assignment: Bytes,
    /// Ticket of its JoinGroup that waits.
    pub joining: Option<u64>,
    /// Ticket of its SyncGroup that waits.
    pub syncing: Option<u64>,
    /// In its first JoinGroup: it does not know its id yet and cannot send heartbeats.
    pub is_new: bool,
    pub session: Option<TimerKey>,
}

impl Member {
    pub fn new(id: Arc<str>, join: &Join) -> Self {
        Self {
            id,
            instance: join.instance_id.clone(),
            client_id: join.client_id.clone(),
            client_host: join.client_host.clone(),
            rebalance_timeout_ms: join.rebalance_timeout_ms,
            session_timeout_ms: join.session_timeout_ms,
            protocols: own_protocols(&join.protocols),
            assignment: Bytes::new(),
            joining: None,
            syncing: None,
            is_new: true,
            session: None,
        }
    }

    pub fn loaded(stored: &MemberValue, protocol: &str) -> Self {
        Self {
            id: stored.member_id.as_str().into(),
            instance: stored.instance_id.clone(),
            client_id: stored.client_id.clone(),
            client_host: stored.client_host.clone(),
            rebalance_timeout_ms: stored.rebalance_timeout_ms,
            session_timeout_ms: stored.session_timeout_ms,
            protocols: vec![(protocol.to_owned(), stored.subscription.clone())],
            assignment: stored.assignment.clone(),
            joining: None,
            syncing: None,
            is_new: false,
            session: None,
        }
    }

    pub fn stored(&self, protocol: &str, assignment: Bytes) -> MemberValue {
        MemberValue {
            member_id: self.id.to_string(),
            instance_id: self.instance.clone(),
            client_id: self.client_id.clone(),
            client_host: self.client_host.clone(),
            rebalance_timeout_ms: self.rebalance_timeout_ms,
            session_timeout_ms: self.session_timeout_ms,
            subscription: self.metadata(protocol),
            assignment,
        }
    }

    pub fn metadata(&self, protocol: &str) -> Bytes {
        let found = self.protocols.iter().find(|(name, _)| name == protocol);
        found.map_or_else(Bytes::new, |(_, metadata)| metadata.clone())
    }

    pub fn supports(&self, protocol: &str) -> bool {
        self.protocols.iter().any(|(name, _)| name == protocol)
    }

    /// Offers the same, in the same order, as it did.
    pub fn matches(&self, protocols: &[(String, Bytes)]) -> bool {
        self.protocols == without_repetitions(protocols)
    }

    pub fn update(&mut self, join: &Join) {
        self.protocols = own_protocols(&join.protocols);
        self.rebalance_timeout_ms = join.rebalance_timeout_ms;
        self.session_timeout_ms = join.session_timeout_ms;
    }

    /// Silence is excused while it waits for us, but not forever in its first JoinGroup.
    pub const fn excused(&self) -> bool {
        !self.is_new && (self.joining.is_some() || self.syncing.is_some())
    }

    pub fn bytes(&self) -> u64 {
        let strings = 2 * self.id.len()
            + self.instance.as_ref().map_or(0, String::len)
            + self.client_id.len()
            + self.client_host.len();
        MEMBER_BYTES + (strings + protocol_bytes(&self.protocols) + self.assignment.len()) as u64
    }
}

pub(super) fn protocol_bytes(protocols: &[(String, Bytes)]) -> usize {
    protocols.iter().map(|(name, metadata)| name.len() + metadata.len()).sum()
}

fn without_repetitions(protocols: &[(String, Bytes)]) -> Vec<(String, Bytes)> {
    let mut kept: Vec<(String, Bytes)> = Vec::new();
    for (name, metadata) in protocols {
        if kept.iter().all(|(known, _)| known != name) {
            kept.push((name.clone(), metadata.clone()));
        }
    }
    kept
}

fn own_protocols(protocols: &[(String, Bytes)]) -> Vec<(String, Bytes)> {
    let copied = |(name, metadata): (String, Bytes)| (name, Bytes::copy_from_slice(&metadata));
    without_repetitions(protocols).into_iter().map(copied).collect()
}
