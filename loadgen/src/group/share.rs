//! One member of a share group (KIP-932), as its coordinator knows it: heartbeats, each of which may bring another assignment.

use std::io;
use std::rc::Rc;

use model::{ErrorCode, TopicId};
use protocol::control::messages::ShareGroupHeartbeatRequest;
use protocol::control::messages::share_group_heartbeat_response::Assignment;
use protocol::{ApiKey, Text, TopicRef, message};

use super::coordinator::Coordinator;
use super::refuse;
use crate::clock::Ns;
use crate::cluster::Cluster;
use crate::core::Core;
use crate::link::PATIENCE;

/// Epoch of a member that joins.
pub const JOINS: i32 = 0;
/// Epoch of one that leaves.
const LEAVES: i32 = -1;
/// What a broker asks for is believed from here on: more often helps nobody.
const INTERVAL_MIN_MS: i32 = 10;

/// What a heartbeat tells.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Beat {
    /// All is as it was.
    Same,
    /// These partitions are its own now, by their places.
    Assigned(Vec<usize>),
    /// The coordinator does not know it, or not in this epoch: the next heartbeat joins.
    Expelled,
}

/// See the module.
#[derive(Debug)]
pub struct ShareMembership {
    at: Coordinator,
    id: Text,
    epoch: i32,
    interval: Ns,
}

/// A heartbeat; what is subscribed to is said when it joins.
pub fn heartbeat(group: &Text, id: &Text, epoch: i32, topics: &[String]) -> ShareGroupHeartbeatRequest {
    let names = || topics.iter().map(|name| name.as_str().into()).collect();
    message!(ShareGroupHeartbeatRequest {
        group_id: group.clone(),
        member_id: id.clone(),
        member_epoch: epoch,
        subscribed_topic_names: (epoch == JOINS).then(names),
    })
}

/// The places of what is assigned, as far as it is of this run.
pub fn places(cluster: &Cluster, assignment: &Assignment) -> Vec<usize> {
    let mut places = Vec::new();
    for topic in &assignment.topic_partitions {
        let named = TopicRef { name: Text::default(), id: TopicId(topic.topic_id.to_bytes()) };
        places.extend(topic.partitions.iter().filter_map(|index| cluster.find(&named, *index)));
    }
    places
}

/// How long until the next heartbeat.
fn interval(ms: i32) -> Ns {
    u64::from(ms.max(INTERVAL_MIN_MS).unsigned_abs()) * 1_000_000
}

impl ShareMembership {
    /// One that has joined already, with the interval that it was told.
    pub fn joined(core: &Rc<Core>, group: &str, turn: usize, id: &str, epoch: i32, ms: i32) -> Self {
        Self { at: Coordinator::new(core, group, turn), id: id.into(), epoch, interval: interval(ms) }
    }

    /// From one heartbeat to the next, as the coordinator wants it.
    pub const fn interval(&self) -> Ns {
        self.interval
    }

    /// Whether there is a connection on which nothing is outstanding.
    pub const fn is_connected(&self) -> bool {
        self.at.is_connected()
    }

    /// Gives up the connection, as when it broke.
    pub fn disconnect(&mut self) {
        self.at.disconnect();
    }

    /// Connects to whom coordinates the group.
    pub async fn connect(&mut self) -> io::Result<()> {
        self.at.connect().await
    }

    /// Tells the coordinator that it lives.
    pub async fn beat(&mut self) -> io::Result<Beat> {
        let request = heartbeat(&self.at.group, &self.id, self.epoch, &self.at.core.step.plan.topics.names);
        let told = self.at.ask(ApiKey::ShareGroupHeartbeat, &request, PATIENCE).await?;
        match ErrorCode::from_code(told.error_code) {
            Some(ErrorCode::UnknownMemberId | ErrorCode::FencedMemberEpoch) => {
                self.epoch = JOINS;
                return Ok(Beat::Expelled);
            }
            _ => refuse(told.error_code)?,
        }
        self.epoch = told.member_epoch;
        self.interval = interval(told.heartbeat_interval_ms);
        let cluster = self.at.core.cluster.borrow();
        Ok(told.assignment.map_or(Beat::Same, |assigned| Beat::Assigned(places(&cluster, &assigned))))
    }

    /// Leaves for good.
    pub async fn leave(&mut self) -> io::Result<()> {
        let request = heartbeat(&self.at.group, &self.id, LEAVES, &[]);
        let told = self.at.ask(ApiKey::ShareGroupHeartbeat, &request, PATIENCE).await?;
        refuse(told.error_code)
    }
}
