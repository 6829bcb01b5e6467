//! The script's share groups. Every member is assigned every partition; a record that a member has is its own until it says
//! something of it or its session ends.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use model::batch::{RecordBatch, header};
use model::{ErrorCode, Offset};
use protocol::control::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use protocol::control::messages::share_acknowledge_response::{
    PartitionData as Acknowledged, ShareAcknowledgeTopicResponse,
};
use protocol::control::messages::share_fetch_response::{
    AcquiredRecords, PartitionData, ShareFetchableTopicResponse,
};
use protocol::control::messages::share_group_heartbeat_response::{Assignment, TopicPartitions};
use protocol::control::messages::{
    IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse, ShareAcknowledgeRequest,
    ShareAcknowledgeResponse, ShareFetchRequest, ShareFetchResponse, ShareGroupHeartbeatRequest,
    ShareGroupHeartbeatResponse,
};
use protocol::control::{decode, encode_response};
use protocol::{ApiKey, RequestHeader, Uuid, message};

use super::{ID, Log, Misdeed, State};

const HEARTBEAT_MS: i32 = 20;
const ACCEPT: i8 = 1;
const RELEASE: i8 = 2;
const REJECT: i8 = 3;
/// Whoever swaps batches must not have given them away before.
const SETTLED: Duration = Duration::from_millis(300);
/// How often whoever waits for records looks for some.
const POLL: Duration = Duration::from_millis(2);

/// What becomes of share groups.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trouble {
    /// Nothing.
    None,
    /// Of every tenth run nobody is given the first record.
    Skips,
    /// Every tenth run that was accepted is given away again.
    GivesAgain,
    /// Every tenth acknowledgement is refused, and the records are given away again.
    Refuses,
    /// Every tenth request of a session finds that there is none.
    ForgetsSessions,
    /// Every tenth heartbeat finds that there is no such member.
    ForgetsMembers,
}

#[derive(Clone, Default)]
struct Slot {
    owner: Option<String>,
    through: bool,
    deliveries: i16,
}

struct Session {
    epoch: i32,
    partitions: BTreeSet<i32>,
}

#[derive(Default)]
struct Group {
    /// Epochs.
    members: HashMap<String, i32>,
    sessions: HashMap<String, Session>,
    slots: BTreeMap<i32, Vec<Slot>>,
}

#[derive(Default)]
pub struct Shares {
    groups: HashMap<String, Group>,
    /// Settings of groups, as the last request had them.
    pub configs: HashMap<String, String>,
    /// Runs given away, and runs of which something was said.
    given: u32,
    said: u32,
    acknowledgements: u32,
    requests: u32,
    beats: u32,
}

/// Whether this is the tenth.
fn tenth(counter: &mut u32) -> bool {
    *counter += 1;
    (*counter).is_multiple_of(10)
}

/// Answers what is asked of share groups; none if it is something else.
pub fn answer(header: &RequestHeader, frame: &Bytes, state: &Mutex<State>) -> Option<Bytes> {
    let (version, body) = (header.api_version, header.body(frame));
    let answer = match header.api()? {
        ApiKey::ShareGroupHeartbeat => {
            encode_response(header, &beat(&decode(version, body).unwrap(), &mut state.lock().unwrap()))
        }
        ApiKey::ShareFetch => encode_response(header, &fetch(&decode(version, body).unwrap(), state)),
        ApiKey::ShareAcknowledge => {
            let request = decode(version, body).unwrap();
            encode_response(header, &acknowledge(&request, &mut state.lock().unwrap()))
        }
        ApiKey::IncrementalAlterConfigs => {
            let request = decode(version, body).unwrap();
            encode_response(header, &configure(&request, &mut state.lock().unwrap()))
        }
        _ => return None,
    };
    Some(answer.unwrap())
}

fn configure(request: &IncrementalAlterConfigsRequest, state: &mut State) -> IncrementalAlterConfigsResponse {
    let done = request.resources.iter().map(|resource| {
        let settings = resource.configs.iter();
        let settings =
            settings.map(|one| (one.name.to_string(), one.value.clone().unwrap_or_default().to_string()));
        state.shares.configs = settings.collect();
        message!(AlterConfigsResourceResponse { resource_name: resource.resource_name.clone() })
    });
    message!(IncrementalAlterConfigsResponse { responses: done.collect() })
}

fn beat(request: &ShareGroupHeartbeatRequest, state: &mut State) -> ShareGroupHeartbeatResponse {
    let (partitions, trouble) = (state.script.partitions, state.script.trouble);
    let forgets = tenth(&mut state.shares.beats) && trouble == Trouble::ForgetsMembers;
    let group = state.shares.groups.entry(request.group_id.to_string()).or_default();
    let (id, epoch) = (request.member_id.to_string(), request.member_epoch);
    if epoch == 0 {
        assert!(request.subscribed_topic_names.is_some(), "who joins says what it reads");
        group.members.insert(id.clone(), 1);
    } else if forgets || group.members.get(&id).is_none_or(|known| epoch > 0 && *known != epoch) {
        group.members.remove(&id);
        return message!(ShareGroupHeartbeatResponse { error_code: ErrorCode::UnknownMemberId.code() });
    } else if epoch == -1 {
        group.members.remove(&id);
        return message!(ShareGroupHeartbeatResponse { member_epoch: -1 });
    }
    let all =
        message!(TopicPartitions { topic_id: Uuid::from_bytes(ID.0), partitions: (0..partitions).collect() });
    message!(ShareGroupHeartbeatResponse {
        member_id: Some(request.member_id.clone()),
        member_epoch: 1,
        heartbeat_interval_ms: HEARTBEAT_MS,
        assignment: (epoch == 0).then(|| message!(Assignment { topic_partitions: vec![all] })),
    })
}

/// Takes what is said of one partition; why not, if it does not count.
fn said(
    state: &mut State,
    group: &str,
    member: &str,
    index: i32,
    batches: &[(i64, i64, Vec<i8>)],
) -> ErrorCode {
    if batches.is_empty() {
        return ErrorCode::None;
    }
    let trouble = state.script.trouble;
    let (shares, mut error) = (&mut state.shares, ErrorCode::None);
    let slots = shares.groups.get_mut(group).unwrap().slots.entry(index).or_default();
    let refuses = tenth(&mut shares.acknowledgements) && trouble == Trouble::Refuses;
    for (first, last, types) in batches {
        let again = tenth(&mut shares.said) && trouble == Trouble::GivesAgain;
        for (at, offset) in (*first..=*last).enumerate() {
            let slot = &mut slots[usize::try_from(offset).unwrap()];
            if refuses || slot.owner.as_deref() != Some(member) {
                slot.owner = None;
                error = ErrorCode::InvalidRecordState;
                continue;
            }
            slot.owner = None;
            match types[at.min(types.len() - 1)] {
                RELEASE => {}
                kind => {
                    assert!(kind == ACCEPT || kind == REJECT, "type {kind}: all offsets have records");
                    slot.through = !again;
                }
            }
        }
    }
    error
}

fn end_session(group: &mut Group, member: &str) {
    group.sessions.remove(member);
    for slot in group.slots.values_mut().flatten().filter(|slot| slot.owner.as_deref() == Some(member)) {
        slot.owner = None;
        slot.deliveries -= 1;
    }
}

fn acknowledge(request: &ShareAcknowledgeRequest, state: &mut State) -> ShareAcknowledgeResponse {
    let (group, member) = (request.group_id.clone().unwrap(), request.member_id.clone().unwrap());
    let sessions = &mut state.shares.groups.get_mut(&*group).unwrap().sessions;
    let Some(session) = sessions.get_mut(&*member) else {
        return message!(ShareAcknowledgeResponse { error_code: ErrorCode::ShareSessionNotFound.code() });
    };
    assert!([-1, session.epoch].contains(&request.share_session_epoch));
    session.epoch += 1;
    let mut topics = Vec::new();
    for topic in &request.topics {
        let mut partitions = Vec::new();
        for one in &topic.partitions {
            let batches = one.acknowledgement_batches.iter();
            let batches: Vec<_> =
                batches.map(|of| (of.first_offset, of.last_offset, of.acknowledge_types.clone())).collect();
            let error = said(state, &group, &member, one.partition_index, &batches);
            let index = one.partition_index;
            partitions.push(message!(Acknowledged { partition_index: index, error_code: error.code() }));
        }
        let id = topic.topic_id;
        topics.push(message!(ShareAcknowledgeTopicResponse { topic_id: id, partitions: partitions }));
    }
    if request.share_session_epoch == -1 {
        end_session(state.shares.groups.get_mut(&*group).unwrap(), &member);
    }
    message!(ShareAcknowledgeResponse { responses: topics })
}

fn fetch(request: &ShareFetchRequest, state: &Mutex<State>) -> ShareFetchResponse {
    let (group, member) = (request.group_id.clone().unwrap(), request.member_id.clone().unwrap());
    let refused = |error: ErrorCode| message!(ShareFetchResponse { error_code: error.code() });
    let mut verdicts: BTreeMap<i32, ErrorCode> = BTreeMap::new();
    {
        let state = &mut *state.lock().unwrap();
        let forgets = tenth(&mut state.shares.requests) && state.script.trouble == Trouble::ForgetsSessions;
        let own = state.shares.groups.entry(group.to_string()).or_default();
        if forgets {
            end_session(own, &member);
        }
        let named = request.topics.iter().flat_map(|topic| &topic.partitions);
        if request.share_session_epoch == 0 {
            end_session(own, &member);
            assert!(named.clone().all(|one| one.acknowledgement_batches.is_empty()));
            own.sessions.insert(member.to_string(), Session { epoch: 0, partitions: BTreeSet::new() });
        }
        let Some(session) = own.sessions.get_mut(&*member) else {
            return refused(ErrorCode::ShareSessionNotFound);
        };
        assert_eq!(session.epoch, request.share_session_epoch);
        session.epoch += 1;
        session.partitions.extend(named.clone().map(|one| one.partition_index));
        for index in request.forgotten_topics_data.iter().flat_map(|topic| &topic.partitions) {
            session.partitions.remove(index);
        }
        for one in named {
            let batches = one.acknowledgement_batches.iter();
            let batches: Vec<_> =
                batches.map(|of| (of.first_offset, of.last_offset, of.acknowledge_types.clone())).collect();
            if !batches.is_empty() {
                let verdict = said(state, &group, &member, one.partition_index, &batches);
                verdicts.insert(one.partition_index, verdict);
            }
        }
    }
    let mut acquired = acquire(request, &group, &member, &mut state.lock().unwrap());
    for _ in 0..request.max_wait_ms / 2 {
        if !acquired.is_empty() {
            break;
        }
        thread::sleep(POLL);
        acquired = acquire(request, &group, &member, &mut state.lock().unwrap());
    }
    for (index, verdict) in verdicts {
        let data =
            acquired.entry(index).or_insert_with(|| message!(PartitionData { partition_index: index }));
        data.acknowledge_error_code = verdict.code();
    }
    let topic = message!(ShareFetchableTopicResponse {
        topic_id: Uuid::from_bytes(ID.0),
        partitions: acquired.into_values().collect(),
    });
    message!(ShareFetchResponse { acquisition_lock_timeout_ms: 30_000, responses: vec![topic] })
}

/// Gives away what is free, as much as was asked for.
fn acquire(
    request: &ShareFetchRequest,
    group: &str,
    member: &str,
    state: &mut State,
) -> BTreeMap<i32, PartitionData> {
    let State { script, logs, shares, produced_at, .. } = state;
    let mut given = BTreeMap::new();
    if script.misdeed == Misdeed::Swaps && produced_at.elapsed() < SETTLED {
        return given;
    }
    let own = shares.groups.get_mut(group).unwrap();
    let mut left = usize::try_from(request.max_records).unwrap();
    let length_max = usize::try_from(request.batch_size).unwrap();
    for index in own.sessions[member].partitions.clone() {
        let log = &logs[usize::try_from(index).unwrap()];
        let slots = own.slots.entry(index).or_default();
        slots.resize(usize::try_from(log.end).unwrap(), Slot::default());
        let mut runs: Vec<(usize, usize, i16)> = Vec::new();
        for (offset, slot) in slots.iter_mut().enumerate() {
            if left == 0 {
                break;
            }
            if slot.through || slot.owner.is_some() {
                continue;
            }
            let deliveries = slot.deliveries + 1;
            match runs.last_mut() {
                Some((first, last, count))
                    if *last + 1 == offset && *count == deliveries && offset - *first < length_max =>
                {
                    *last = offset;
                }
                _ => {
                    if tenth(&mut shares.given) && script.trouble == Trouble::Skips {
                        slot.through = true;
                        continue;
                    }
                    runs.push((offset, offset, deliveries));
                }
            }
            (slot.owner, slot.deliveries) = (Some(member.to_owned()), deliveries);
            left -= 1;
        }
        let (Some(first), Some(last)) = (runs.first(), runs.last()) else { continue };
        let acquired = runs.iter().map(|(first, last, delivery_count)| {
            message!(AcquiredRecords {
                first_offset: i64::try_from(*first).unwrap(),
                last_offset: i64::try_from(*last).unwrap(),
                delivery_count: *delivery_count,
            })
        });
        let data = message!(PartitionData {
            partition_index: index,
            records: between(log, first.0, last.1),
            acquired_records: acquired.collect(),
        });
        given.insert(index, data);
    }
    given
}

/// The batches with these offsets.
fn between(log: &Log, first: usize, last: usize) -> Bytes {
    let (first, last) = (i64::try_from(first).unwrap(), i64::try_from(last).unwrap());
    let mut out = Vec::new();
    for (at, batch) in &log.batches {
        let end = at + i64::from(RecordBatch::parse(batch).unwrap().0.last_offset_delta());
        if end >= first && *at <= last {
            let from = out.len();
            out.extend_from_slice(batch);
            header::set_base_offset(&mut out[from..], Offset(*at));
        }
    }
    Bytes::from(out)
}
