//! A consumer by the classic protocol, eager or cooperative: it gives back everything before it joins, or only what it is not
//! given again. As a leader it shares out what nobody else still has.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use coordination::group::{Heartbeat, Join, JoinReply, Leave, Leaver, Reply, Request, Sync};
use coordination::metadata::Image;
use model::{ErrorCode, TopicId};

use super::{GROUP, Random, Used};

pub const SESSION_MS: u64 = 10_000;
const REBALANCE_MS: u64 = 6000;
const PATIENCE_MS: u64 = 4000;
const HEARTBEAT_MS: u64 = 1500;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    Away,
    Joining,
    Settled,
}

#[derive(Debug)]
pub struct Classic {
    pub number: usize,
    pub cooperative: bool,
    pub instance: Option<String>,
    pub phase: Phase,
    pub id: String,
    pub generation: i32,
    pub uses: Used,
    pub topics: Vec<String>,
    /// Its topics as they were when it joined.
    seen: Vec<(TopicId, u32)>,
    waits: Option<(u64, u64)>,
    next_heartbeat: u64,
    next: Option<Request>,
}

fn put_string(out: &mut Vec<u8>, text: &str) {
    out.extend(u16::try_from(text.len()).unwrap().to_be_bytes());
    out.extend(text.as_bytes());
}

fn put_named(out: &mut Vec<u8>, named: &BTreeMap<String, Vec<i32>>) {
    out.extend(u32::try_from(named.len()).unwrap().to_be_bytes());
    for (topic, partitions) in named {
        put_string(out, topic);
        out.extend(u32::try_from(partitions.len()).unwrap().to_be_bytes());
        partitions.iter().for_each(|partition| out.extend(partition.to_be_bytes()));
    }
}

struct From<'a>(&'a [u8]);

impl From<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (taken, rest) = self.0.split_first_chunk().unwrap();
        self.0 = rest;
        *taken
    }

    fn number(&mut self) -> usize {
        usize::try_from(i32::from_be_bytes(self.take())).unwrap_or(0)
    }

    fn string(&mut self) -> String {
        let length = usize::from(u16::from_be_bytes(self.take()));
        let (text, rest) = self.0.split_at(length);
        self.0 = rest;
        String::from_utf8(text.to_vec()).unwrap()
    }

    fn named(&mut self) -> BTreeMap<String, Vec<i32>> {
        let count = self.number();
        let mut named = BTreeMap::new();
        for _ in 0..count {
            let topic = self.string();
            let partitions = self.number();
            named.insert(topic, (0..partitions).map(|_| i32::from_be_bytes(self.take())).collect());
        }
        named
    }
}

fn named(used: &Used, image: &Image) -> BTreeMap<String, Vec<i32>> {
    let mut named: BTreeMap<String, Vec<i32>> = BTreeMap::new();
    for (topic, partition) in used {
        if let Some(topic) = image.topic_by_id(*topic) {
            named.entry(topic.name.to_string()).or_default().push(*partition);
        }
    }
    named
}

fn assignment(named: &BTreeMap<String, Vec<i32>>) -> Bytes {
    let mut out = vec![0, 1];
    put_named(&mut out, named);
    out.extend((-1_i32).to_be_bytes());
    out.into()
}

fn with_ids(named: &BTreeMap<String, Vec<i32>>, image: &Image) -> Used {
    let ids = named.iter().filter_map(|(topic, partitions)| Some((image.topic(topic)?.id, partitions)));
    ids.flat_map(|(id, partitions)| partitions.iter().map(move |partition| (id, *partition))).collect()
}

impl Classic {
    pub fn new(number: usize, cooperative: bool) -> Self {
        Self {
            number,
            cooperative,
            instance: number.is_multiple_of(3).then(|| format!("classic{number}")),
            phase: Phase::Away,
            id: String::new(),
            generation: -1,
            uses: Used::new(),
            topics: vec!["a".into(), "b".into()],
            seen: Vec::new(),
            waits: None,
            next_heartbeat: 0,
            next: None,
        }
    }

    pub fn start(&mut self) {
        self.id.clear();
        self.lose();
    }

    /// It drops everything, and joins again.
    fn lose(&mut self) {
        self.uses.clear();
        self.generation = -1;
        (self.waits, self.next) = (None, None);
        self.phase = Phase::Joining;
    }

    fn rejoin(&mut self) {
        if !self.cooperative {
            self.uses.clear();
        }
        self.next = None;
        self.phase = Phase::Joining;
    }

    pub fn stop(&mut self, says_so: bool) -> Option<Request> {
        self.phase = Phase::Away;
        self.uses.clear();
        (self.waits, self.next) = (None, None);
        let leaver = Leaver { member_id: self.id.clone(), instance_id: self.instance.clone() };
        let leave = Leave { group: GROUP.into(), members: vec![leaver] };
        (says_so && !self.id.is_empty()).then_some(Request::Leave(leave))
    }

    fn join(&self, image: &Image) -> Request {
        let mut metadata = vec![0, 1];
        metadata.extend(u32::try_from(self.topics.len()).unwrap().to_be_bytes());
        self.topics.iter().for_each(|topic| put_string(&mut metadata, topic));
        metadata.extend((-1_i32).to_be_bytes());
        put_named(&mut metadata, &named(&self.uses, image));
        Request::Join(Join {
            group: GROUP.into(),
            member_id: self.id.clone(),
            instance_id: self.instance.clone(),
            client_id: format!("classic{}", self.number),
            client_host: "/10.0.0.2".into(),
            session_timeout_ms: i32::try_from(SESSION_MS).unwrap(),
            rebalance_timeout_ms: i32::try_from(REBALANCE_MS).unwrap(),
            protocol_type: "consumer".into(),
            protocols: vec![("p".into(), metadata.into())],
            require_known_member_id: self.number.is_multiple_of(2),
            can_skip_assignment: false,
        })
    }

    fn see(&self, image: &Image) -> Vec<(TopicId, u32)> {
        let topics = self.topics.iter().filter_map(|name| image.topic(name));
        topics.map(|topic| (topic.id, topic.partitions)).collect()
    }

    pub fn poll(&mut self, now: u64, image: &Image) -> Option<Request> {
        match self.waits {
            Some((_, until)) if now < until => return None,
            Some(_) => self.waits = None,
            None => {}
        }
        if let Some(next) = self.next.take() {
            return Some(next);
        }
        match self.phase {
            Phase::Away => None,
            Phase::Joining => {
                self.seen = self.see(image);
                Some(self.join(image))
            }
            Phase::Settled if self.seen != self.see(image) => {
                self.rejoin();
                None
            }
            Phase::Settled if now >= self.next_heartbeat => {
                self.next_heartbeat = now + HEARTBEAT_MS;
                Some(Request::Heartbeat(Heartbeat {
                    group: GROUP.into(),
                    member_id: self.id.clone(),
                    instance_id: self.instance.clone(),
                    generation: self.generation,
                }))
            }
            Phase::Settled => None,
        }
    }

    pub fn asked(&mut self, ticket: u64, request: &Request, now: u64) {
        let join = matches!(request, Request::Join(_));
        let patience = if join { REBALANCE_MS + 2000 } else { PATIENCE_MS };
        self.waits = Some((ticket, now + patience));
    }

    pub fn answered(&mut self, ticket: u64, reply: &Reply, image: &Image, random: &mut Random) {
        if self.phase == Phase::Away || self.waits.is_none_or(|(waited, _)| waited != ticket) {
            return;
        }
        self.waits = None;
        let error = match reply {
            Reply::Join(join) => return self.joined(join, image, random),
            Reply::Sync(sync) if sync.error.is_ok() => return self.synced(&sync.assignment, image),
            Reply::Sync(sync) => sync.error,
            Reply::Heartbeat(error) => *error,
            _ => ErrorCode::None,
        };
        self.failed(error);
    }

    fn failed(&mut self, error: ErrorCode) {
        match error {
            ErrorCode::None => {}
            ErrorCode::UnknownMemberId | ErrorCode::FencedInstanceId => {
                self.id.clear();
                self.lose();
            }
            ErrorCode::IllegalGeneration => self.lose(),
            ErrorCode::RebalanceInProgress => self.rejoin(),
            error if error.retriable() || error == ErrorCode::UnknownServerError => {
                if self.phase != Phase::Settled {
                    self.rejoin();
                }
            }
            other => panic!("classic {} hears {}", self.number, other.name()),
        }
    }

    fn synced(&mut self, bytes: &[u8], image: &Image) {
        self.phase = Phase::Settled;
        let told = if bytes.is_empty() {
            Used::new()
        } else {
            let mut from = From(bytes);
            from.take::<2>();
            with_ids(&from.named(), image)
        };
        let revokes = self.uses.difference(&told).next().is_some();
        self.uses = told;
        if revokes {
            // Whoever waits for that gets it in the next generation.
            self.rejoin();
        }
    }

    fn joined(&mut self, join: &JoinReply, image: &Image, random: &mut Random) {
        match join.error {
            ErrorCode::None => {}
            ErrorCode::MemberIdRequired => {
                self.id.clone_from(&join.member_id);
                return;
            }
            error => return self.failed(error),
        }
        self.id.clone_from(&join.member_id);
        self.generation = join.generation;
        let leads = join.leader == join.member_id;
        self.next = Some(Request::Sync(Sync {
            group: GROUP.into(),
            member_id: self.id.clone(),
            instance_id: self.instance.clone(),
            generation: self.generation,
            protocol_type: Some("consumer".into()),
            protocol: Some("p".into()),
            assignments: if leads { lead(join, image, random) } else { Vec::new() },
        }));
    }

    pub fn reads(&self) -> BTreeSet<String> {
        self.topics.iter().cloned().collect()
    }
}

/// Shares everything out at random; what another still has goes to nobody for now, or stays.
fn lead(join: &JoinReply, image: &Image, random: &mut Random) -> Vec<(String, Bytes)> {
    let mut readers: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    let mut owners: BTreeMap<(String, i32), usize> = BTreeMap::new();
    for (place, member) in join.members.iter().enumerate() {
        let mut from = From(&member.metadata);
        from.take::<2>();
        for _ in 0..from.number() {
            readers.entry(from.string()).or_default().push(place);
        }
        from.take::<4>();
        for (topic, partitions) in from.named() {
            for partition in partitions {
                owners.insert((topic.clone(), partition), place);
            }
        }
    }
    let mut shares: Vec<BTreeMap<String, Vec<i32>>> = vec![BTreeMap::new(); join.members.len()];
    for (topic, places) in readers {
        let count = image.topic(&topic).map_or(0, |topic| i32::try_from(topic.partitions).unwrap());
        for partition in 0..count {
            let owner = owners.get(&(topic.clone(), partition)).copied();
            let mut place = places[usize::try_from(random.below(places.len() as u64)).unwrap()];
            if let Some(owner) = owner.filter(|owner| places.contains(owner)) {
                if random.one_in(40) && owner != place {
                    continue;
                }
                place = owner;
            } else if owner.is_some() {
                continue;
            }
            shares[place].entry(topic.clone()).or_default().push(partition);
        }
    }
    join.members
        .iter()
        .zip(shares)
        .map(|(member, share)| (member.member_id.clone(), assignment(&share)))
        .collect()
}
