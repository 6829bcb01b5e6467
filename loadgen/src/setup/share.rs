//! Share groups before a run: settings, members, and partitions that are begun. What that takes is no part of what is measured, and
//! nothing that is sent later passes a group by.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use model::{ErrorCode, TopicId};
use protocol::client::read_share_fetch;
use protocol::control::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use protocol::control::messages::share_fetch_request::{FetchPartition, FetchTopic};
use protocol::control::messages::{
    IncrementalAlterConfigsRequest, ShareAcknowledgeRequest, ShareFetchRequest,
};
use protocol::{ApiKey, Text, TopicRef, Uuid, message};

use super::{Client, SetupError};
use crate::cluster::{Cluster, error_name, resolve};
use crate::group::{JOINS, find_request, heartbeat, places};
use crate::plan::Share;

/// How long members of all groups, or the partitions of one, may take. A broker makes topics of its own for the first of them.
const PATIENCE: Duration = Duration::from_secs(60);
/// ConfigResource's number of groups.
const GROUP_RESOURCE: i8 = 32;
/// Between two questions.
const PAUSE: Duration = Duration::from_millis(100);
/// Between two heartbeats of a member that waits for others.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// How long the broker waits for records while partitions are begun.
const WAIT_MS: i32 = 100;
/// Bytes that such an answer may have.
const BYTES_MAX: i32 = 1 << 20;

/// A member that has joined.
#[derive(Clone, Debug)]
pub struct Seat {
    /// Its id.
    pub id: String,
    /// Its epoch.
    pub epoch: i32,
    /// From one heartbeat to the next.
    pub interval_ms: i32,
    /// What it was assigned.
    pub places: Vec<usize>,
}

/// Joins all members of all groups; they have something to take from then, and every partition is ready to be taken from.
///
/// # Errors
/// The broker has no share groups, refuses, or takes too long.
pub fn gather(cluster: &Cluster, client_id: &str, share: &Share) -> Result<Vec<Seat>, SetupError> {
    let until = Instant::now() + PATIENCE;
    let mut groups = Vec::new();
    for number in 0..share.groups as usize {
        groups.push(Joining::new(cluster, client_id, share.group(number), share, until)?);
    }
    loop {
        groups.iter_mut().try_for_each(|group| group.beat(until))?;
        match groups.iter().find(|group| !group.is_seated()) {
            Some(group) if Instant::now() > until => {
                return Err(group.failed("members are assigned nothing"));
            }
            Some(_) => thread::sleep(PAUSE),
            None => break,
        }
    }
    for at in 0..groups.len() {
        let until = Instant::now() + PATIENCE;
        groups[at].begin(client_id, until)?;
        // That of all of them may take longer than a session lasts.
        groups.iter_mut().try_for_each(|group| group.beat(until))?;
    }
    Ok(groups.into_iter().flat_map(|group| group.seats).map(|(seat, _)| seat).collect())
}

/// Asks again and again until there is an answer, as long as what is said may pass by itself.
fn patiently<T>(
    until: Instant,
    mut ask: impl FnMut() -> Result<Result<T, i16>, SetupError>,
) -> Result<T, SetupError> {
    loop {
        let code = match ask()? {
            Ok(answer) => return Ok(answer),
            Err(code) => code,
        };
        let passes = ErrorCode::from_code(code).is_some_and(ErrorCode::retriable);
        if !passes || Instant::now() > until {
            return Err(SetupError(error_name(code)));
        }
        thread::sleep(PAUSE);
    }
}

/// A group whose members join.
struct Joining<'a> {
    cluster: &'a Cluster,
    group: Text,
    coordinator: Client,
    topics: Vec<String>,
    /// With the time of the last heartbeat.
    seats: Vec<(Seat, Instant)>,
}

impl<'a> Joining<'a> {
    fn new(
        cluster: &'a Cluster,
        client_id: &str,
        group: String,
        share: &Share,
        until: Instant,
    ) -> Result<Self, SetupError> {
        let name = Text::from(group.as_str());
        let addresses: Vec<String> = cluster.brokers.values().map(ToString::to_string).collect();
        let mut any = Client::connect_any(&addresses, client_id)?;
        configure(&mut any, &name, share)?;
        let version = any.versions.of(ApiKey::FindCoordinator)?;
        let address = patiently(until, || {
            let found = any.call(ApiKey::FindCoordinator, &find_request(&name, version))?;
            let (code, host, port) = match found.coordinators.first() {
                Some(one) => (one.error_code, &one.host, one.port),
                None => (found.error_code, &found.host, found.port),
            };
            Ok(if code == 0 { Ok(format!("{host}:{port}")) } else { Err(code) })
        });
        let address = address.map_err(|error| SetupError(format!("share group {group}: {error}")))?;
        let unseated = || Seat { id: member_id(), epoch: JOINS, interval_ms: 0, places: Vec::new() };
        Ok(Self {
            cluster,
            group: name,
            coordinator: Client::connect(resolve(&address)?, client_id)?,
            topics: cluster.topics.iter().map(|topic| topic.name.clone()).collect(),
            seats: (0..share.consumers).map(|_| (unseated(), Instant::now())).collect(),
        })
    }

    fn failed(&self, why: impl std::fmt::Display) -> SetupError {
        SetupError(format!("share group {}: {why}", &*self.group))
    }

    /// Whether every member has been assigned something.
    fn is_seated(&self) -> bool {
        self.seats.iter().all(|(seat, _)| !seat.places.is_empty())
    }

    /// Heartbeats of members that have nothing yet, and of those whose last one was long ago.
    fn beat(&mut self, until: Instant) -> Result<(), SetupError> {
        for at in 0..self.seats.len() {
            let (seat, last) = &self.seats[at];
            if !seat.places.is_empty() && last.elapsed() < HEARTBEAT {
                continue;
            }
            let request = heartbeat(&self.group, &seat.id.as_str().into(), seat.epoch, &self.topics);
            let coordinator = &mut self.coordinator;
            let told = patiently(until, || {
                let told = coordinator.call(ApiKey::ShareGroupHeartbeat, &request)?;
                Ok(if told.error_code == 0 { Ok(told) } else { Err(told.error_code) })
            });
            let told = told.map_err(|error| self.failed(error))?;
            let (seat, last) = &mut self.seats[at];
            *last = Instant::now();
            (seat.epoch, seat.interval_ms) = (told.member_epoch, told.heartbeat_interval_ms);
            if let Some(assigned) = told.assignment {
                seat.places = places(self.cluster, &assigned);
            }
        }
        Ok(())
    }

    /// Asks every leader for records of its partitions until none refuses: a partition begins when it is first asked for. What is
    /// acquired by that is given back with the session.
    fn begin(&self, client_id: &str, until: Instant) -> Result<(), SetupError> {
        let Some((seat, _)) = self.seats.first() else { return Ok(()) };
        let mut led: BTreeMap<i32, BTreeSet<usize>> = BTreeMap::new();
        for (place, partition) in self.cluster.partitions.iter().enumerate() {
            led.entry(partition.leader).or_default().insert(place);
        }
        for (node, mine) in led {
            let address = self.cluster.brokers.get(&node);
            let address = address.ok_or_else(|| self.failed(format!("no address of node {node}")))?;
            let mut client = Client::connect(*address, client_id)?;
            let opened = patiently(until, || open(&mut client, self.cluster, &self.group, &seat.id, &mine));
            opened.map_err(|error| self.failed(error))?;
            let request = message!(ShareAcknowledgeRequest {
                group_id: Some(self.group.clone()),
                member_id: Some(seat.id.as_str().into()),
                share_session_epoch: -1,
            });
            client.call(ApiKey::ShareAcknowledge, &request)?;
        }
        Ok(())
    }
}

/// A random id as Kafka's clients make them: a UUID in base64.
fn member_id() -> String {
    URL_SAFE_NO_PAD.encode(fastrand::Rng::new().u128(..).to_be_bytes())
}

fn configure(any: &mut Client, group: &Text, share: &Share) -> Result<(), SetupError> {
    let configs = share.configs.iter().map(|(name, value)| {
        message!(AlterableConfig { name: name.as_str().into(), value: Some(value.as_str().into()) })
    });
    let resource = message!(AlterConfigsResource {
        resource_type: GROUP_RESOURCE,
        resource_name: group.clone(),
        configs: configs.collect(),
    });
    let request = message!(IncrementalAlterConfigsRequest { resources: vec![resource] });
    let answer = any.call(ApiKey::IncrementalAlterConfigs, &request)?;
    match answer.responses.first() {
        Some(told) if told.error_code != 0 => {
            let words = told.error_message.as_deref().unwrap_or_default();
            Err(SetupError(format!("settings: {} {words}", error_name(told.error_code))))
        }
        _ => Ok(()),
    }
}

/// Opens a session of these partitions; an error if one of them has any.
fn open(
    client: &mut Client,
    cluster: &Cluster,
    group: &Text,
    member: &str,
    mine: &BTreeSet<usize>,
) -> Result<Result<(), i16>, SetupError> {
    let mut topics: Vec<FetchTopic> = Vec::new();
    for place in mine {
        let partition = cluster.partitions[*place];
        let id = Uuid::from_bytes(cluster.topics[partition.topic].id.0);
        let named = message!(FetchPartition { partition_index: partition.index });
        match topics.last_mut() {
            Some(topic) if topic.topic_id == id => topic.partitions.push(named),
            _ => topics.push(message!(FetchTopic { topic_id: id, partitions: vec![named] })),
        }
    }
    let request = message!(ShareFetchRequest {
        group_id: Some(group.clone()),
        member_id: Some(member.into()),
        max_wait_ms: WAIT_MS,
        min_bytes: 1,
        max_bytes: BYTES_MAX,
        max_records: 1,
        batch_size: 1,
        topics: topics,
    });
    let version = client.versions.of(ApiKey::ShareFetch)?;
    let failed = |error: &dyn std::fmt::Display| SetupError(format!("ShareFetch: {error}"));
    let frame = client.exchange(version, &request).map_err(|error| failed(&error))?;
    let mut refused = ErrorCode::None;
    let head = read_share_fetch(version, &frame, |topic: TopicId, answer| {
        let named = TopicRef { name: Text::default(), id: topic };
        if answer.error != ErrorCode::None && cluster.find(&named, answer.index).is_some() {
            refused = answer.error;
        }
    });
    let head = head.map_err(|error| failed(&error))?;
    let worst = if head.error == ErrorCode::None { refused } else { head.error };
    Ok(if worst == ErrorCode::None { Ok(()) } else { Err(worst.code()) })
}
