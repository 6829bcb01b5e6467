//! Consumers, a network that delays and loses, a log that takes its time, fails and is read back: all from a seed.

pub mod client;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};

use client::{Client, GROUP, Phase};
use coordination::effects::Effects;
use coordination::group::record::{decode, encode};
use coordination::group::{
    Coordinator, Decoded, Effect, GroupSettings, GroupState, Input, JoinReply, Record, Reply, Request,
    SyncReply,
};
use coordination::machine::Machine;
use model::{ErrorCode, Tick, TimestampMs};

pub struct Random(u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    pub fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }
}

type Stored = (Vec<u8>, Option<Vec<u8>>);

/// Who is behind a member id: the instance of a static one, or the id.
fn who(id: &str) -> String {
    let name = &id[..id.len() - 37];
    if name.starts_with("static") { name.into() } else { id.into() }
}

/// Who leads a generation, what was computed for it: must never be two.
#[derive(Default)]
struct Seen {
    /// Generation to the leader's identity, in this incarnation of the coordinator.
    leaders: BTreeMap<i32, String>,
    /// Generation to the leader's computation, for ever: what was handed out was durable.
    computations: BTreeMap<i32, String>,
}

pub struct World {
    pub random: Random,
    pub now: u64,
    pub machine: Coordinator,
    pub clients: Vec<Client>,
    pub calm: bool,
    pub trace: DefaultHasher,
    pub settled: u64,
    tickets: u64,
    /// To the coordinator, in order for each client: when, ticket, request.
    requests: Vec<VecDeque<(u64, u64, Request)>>,
    /// To clients: when, client, ticket, reply.
    replies: Vec<(u64, usize, u64, Reply)>,
    /// Asked and not answered: the client, and what it is called.
    open: BTreeMap<u64, (usize, Request)>,
    log: Vec<Stored>,
    /// When it lands, id, records.
    flights: VecDeque<(u64, u64, Vec<Record>)>,
    seen: Seen,
}

impl World {
    pub fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let settings = GroupSettings {
            initial_rebalance_delay_ms: u32::try_from(random.below(2) * 1000).unwrap(),
            offsets_retention_check_ms: 1 << 40,
            ..GroupSettings::default()
        };
        let count = 2 + usize::try_from(random.below(5)).unwrap();
        let mut world = Self {
            machine: Coordinator::new(settings, random.next()),
            random,
            now: 0,
            clients: (0..count).map(Client::new).collect(),
            calm: false,
            trace: DefaultHasher::new(),
            settled: 0,
            tickets: 0,
            requests: vec![VecDeque::new(); count],
            replies: Vec::new(),
            open: BTreeMap::new(),
            log: Vec::new(),
            flights: VecDeque::new(),
            seen: Seen::default(),
        };
        let mut effects = Effects::new();
        world.machine.loaded(Tick(0), TimestampMs(0), &mut effects);
        world.take(&mut effects);
        world
    }

    fn step(&mut self, input: Input) {
        let mut effects = Effects::new();
        self.machine.step(Tick(self.now), input, &mut effects);
        self.take(&mut effects);
    }

    fn wall(&self) -> TimestampMs {
        TimestampMs(i64::try_from(self.now).unwrap())
    }

    fn take(&mut self, effects: &mut Effects<Effect>) {
        let effects: Vec<Effect> = effects.drain().collect();
        format!("{} {effects:?}", self.now).hash(&mut self.trace);
        let joins = effects.iter().filter_map(|effect| match effect {
            Effect::Reply { reply: Reply::Join(join), .. } if join.error.is_ok() => Some(join.clone()),
            _ => None,
        });
        self.check_joins(&joins.collect::<Vec<_>>());
        for effect in effects {
            match effect {
                Effect::InitializeShares { .. } => panic!("there are no share groups"),
                Effect::Append { id, records } => {
                    assert!(!records.is_empty());
                    let before = self.flights.back().map_or(self.now, |(at, ..)| *at);
                    let delay = match (self.calm, self.random.one_in(20)) {
                        (true, _) => 1,
                        (false, true) => self.random.below(12_000),
                        (false, false) => self.random.below(800),
                    };
                    self.flights.push_back((before.max(self.now + delay), id, records));
                }
                Effect::Reply { ticket, reply } => {
                    let (client, request) =
                        self.open.remove(&ticket).expect("answered once, and asked before");
                    self.check_kind(&request, &reply);
                    if let (Reply::Sync(sync), Request::Sync(asked)) = (&reply, &request) {
                        self.check_sync(client, sync, asked.generation);
                    }
                    if self.calm || !self.random.one_in(12) {
                        let delay = if self.calm { 1 } else { self.random.below(400) };
                        self.replies.push((self.now + delay, client, ticket, reply));
                    }
                }
            }
        }
    }

    fn check_kind(&self, request: &Request, reply: &Reply) {
        let same = matches!(
            (request, reply),
            (Request::Join(_), Reply::Join(_))
                | (Request::Sync(_), Reply::Sync(_))
                | (Request::Heartbeat(_), Reply::Heartbeat(_))
                | (Request::Leave(_), Reply::Leave(_))
                | (Request::OffsetCommit(_), Reply::OffsetCommit(_))
                | (Request::Describe(_), Reply::Describe(_))
        );
        assert!(same, "{request:?} answered by {reply:?}");
    }

    /// One leader per generation, and only the leader gets the members.
    fn check_joins(&mut self, joins: &[JoinReply]) {
        for join in joins {
            let leader = &who(&join.leader);
            let known = self.seen.leaders.entry(join.generation).or_insert_with(|| leader.clone());
            assert_eq!(known, leader, "two leaders of generation {}", join.generation);
            let (newest, _) = self.seen.leaders.last_key_value().unwrap();
            assert_eq!(*newest, join.generation, "two generations at a time");
            if !join.members.is_empty() {
                assert_eq!(who(&join.member_id), *leader, "a follower was told the members");
            }
        }
    }

    /// Everybody gets its own assignment, of its generation, from one computation.
    fn check_sync(&mut self, client: usize, sync: &SyncReply, generation: i32) {
        if !sync.error.is_ok() {
            return;
        }
        let text = String::from_utf8(sync.assignment.to_vec()).unwrap();
        let parts: Vec<&str> = text.split('/').collect();
        let [of_generation, whose, nonce] = parts[..] else { panic!("client {client} got {text:?}") };
        assert_eq!(of_generation, generation.to_string());
        let known = self.seen.computations.entry(generation).or_insert_with(|| nonce.to_owned());
        assert_eq!(known, nonce, "two assignments of generation {generation}");
        let client = &self.clients[client];
        match &client.instance {
            Some(instance) => assert_eq!(whose, instance),
            None => assert!(whose.starts_with(&format!("client{}-", client.number)), "{whose}"),
        }
    }

    fn ask(&mut self, client: usize, request: Request, waits: bool) {
        self.tickets += 1;
        let delay = if self.calm { 1 } else { self.random.below(300) };
        // A connection keeps the order.
        let at = self.requests[client].back().map_or(0, |(at, ..)| *at).max(self.now + delay);
        if waits {
            let hasty = !self.calm && self.random.one_in(4);
            self.clients[client].asked(self.tickets, &request, self.now, hasty);
        }
        self.requests[client].push_back((at, self.tickets, request));
    }

    fn deliver(&mut self) {
        for client in 0..self.clients.len() {
            while self.requests[client].front().is_some_and(|(at, ..)| *at <= self.now) {
                let (_, ticket, request) = self.requests[client].pop_front().unwrap();
                self.open.insert(ticket, (client, request.clone()));
                let wall = self.wall();
                self.step(Input::Request { ticket, wall, request });
            }
        }
        let now = self.now;
        let (due, later): (Vec<_>, Vec<_>) = self.replies.drain(..).partition(|(at, ..)| *at <= now);
        self.replies = later;
        for (_, client, ticket, reply) in due {
            self.clients[client].answered(ticket, &reply, &mut self.random);
        }
    }

    fn land(&mut self) {
        while self.flights.front().is_some_and(|(at, ..)| *at <= self.now) {
            let (_, id, records) = self.flights.pop_front().unwrap();
            if !self.calm && self.random.one_in(25) {
                let errors =
                    [ErrorCode::NotEnoughReplicas, ErrorCode::KafkaStorageError, ErrorCode::MessageTooLarge];
                let error = errors[usize::try_from(self.random.below(3)).unwrap()];
                self.step(Input::AppendFailed(id, error));
            } else {
                self.log.extend(records.iter().map(encode));
                self.step(Input::Durable(id));
            }
            self.check_hard_state();
        }
    }

    fn replayed(&self) -> Coordinator {
        let mut machine = Coordinator::new(GroupSettings::default(), 0);
        for (key, value) in &self.log {
            let Ok(Decoded::Record(record)) = decode(key, value.as_deref()) else { panic!("not our record") };
            machine.replay(&record);
        }
        machine
    }

    /// The hard state is exactly what is durable, and holds every offset that was acknowledged.
    fn check_hard_state(&self) {
        let snapshot = self.machine.snapshot();
        if self.random.0.is_multiple_of(8) {
            assert_eq!(snapshot, self.replayed().snapshot());
        }
        let offsets: BTreeMap<String, i64> = snapshot
            .iter()
            .filter_map(|record| match record {
                Record::Offset { topic, value: Some(value), .. } => Some((topic.to_string(), value.offset.0)),
                _ => None,
            })
            .collect();
        for client in &self.clients {
            let kept = offsets.get(&client.topic()).copied().unwrap_or(0);
            assert!(kept >= client.acknowledged, "client {} lost a commit", client.number);
            assert!(kept <= client.sent);
        }
    }

    /// The coordinator dies: of what was in flight a part is in the log, though nobody was told.
    fn crash(&mut self) {
        let landed = usize::try_from(self.random.below(self.flights.len() as u64 + 1)).unwrap();
        let in_log = self.flights.drain(..).take(landed);
        self.log.extend(in_log.flat_map(|(_, _, records)| records.iter().map(encode).collect::<Vec<_>>()));
        let snapshot = self.replayed().snapshot();
        self.machine = Coordinator::new(
            GroupSettings { offsets_retention_check_ms: 1 << 40, ..GroupSettings::default() },
            self.random.next(),
        );
        // From a snapshot, as after any start.
        snapshot.iter().for_each(|record| self.machine.replay(record));
        self.open.clear();
        self.seen.leaders.clear();
        let mut effects = Effects::new();
        self.machine.loaded(Tick(self.now), self.wall(), &mut effects);
        self.take(&mut effects);
        self.check_hard_state();
    }

    fn disturb(&mut self) {
        let client = usize::try_from(self.random.below(self.clients.len() as u64)).unwrap();
        match self.random.below(200) {
            0..4 if self.clients[client].phase == Phase::Away => self.clients[client].start(),
            4 => {
                // A static member that restarts is meant to keep its place.
                let says_so = self.random.one_in(2) && self.clients[client].instance.is_none();
                if let Some(leave) = self.clients[client].stop(says_so) {
                    self.ask(client, leave, false);
                }
            }
            5 if self.clients[client].phase == Phase::Settled => {
                self.clients[client].metadata = self.clients[client].metadata.wrapping_add(1);
                self.clients[client].phase = Phase::Joining;
            }
            6 if self.clients[client].phase != Phase::Away => self.clients[client].start(),
            7 if self.random.one_in(3) => self.crash(),
            8 if self.random.one_in(6) => {
                self.step(Input::Unload);
                assert!(self.open.is_empty() && self.machine.parked() == 0 && self.machine.is_empty());
                self.crash();
            }
            _ => {}
        }
    }

    pub fn run(&mut self, until: u64) {
        while self.now < until {
            self.now += 50;
            if !self.calm {
                self.disturb();
            }
            self.deliver();
            self.land();
            while self.machine.next_deadline().is_some_and(|due| due.0 <= self.now) {
                let wall = self.wall();
                self.step(Input::Tick { wall });
            }
            for client in 0..self.clients.len() {
                let commits = !self.calm;
                let request = self.clients[client].poll(self.now, commits, &mut self.random);
                if let Some(request) = request {
                    self.ask(client, request, true);
                }
                self.settled += u64::from(self.clients[client].phase == Phase::Settled);
            }
        }
    }

    /// With a network that loses nothing the group is stable and everybody who lives is in it, and nobody else.
    pub fn check_settled(&mut self) {
        let alive: Vec<&Client> = self.clients.iter().filter(|client| client.phase != Phase::Away).collect();
        let generations: BTreeSet<i32> = alive.iter().map(|client| client.generation).collect();
        assert!(generations.len() <= 1, "{generations:?}");
        for client in &alive {
            assert!(client.phase == Phase::Settled && client.assignment.is_some(), "{client:?}");
        }
        let ids: BTreeSet<String> = alive.iter().map(|client| client.member_id.clone()).collect();
        assert_eq!(self.machine.parked(), self.open.len());
        assert_eq!(self.machine.parked(), 0);
        let mut effects = Effects::new();
        let request = Request::Describe(vec![GROUP.into()]);
        let input = Input::Request { ticket: 0, wall: self.wall(), request };
        self.machine.step(Tick(self.now), input, &mut effects);
        let Some(Effect::Reply { reply: Reply::Describe(groups), .. }) = effects.drain().next() else {
            panic!("no answer")
        };
        let members: BTreeSet<String> =
            groups[0].members.iter().map(|member| member.member_id.clone()).collect();
        assert_eq!(members, ids);
        let stable = [GroupState::Stable, GroupState::Empty, GroupState::Dead][usize::from(ids.is_empty())];
        assert!(
            groups[0].state == stable || groups[0].missing.is_some() && ids.is_empty(),
            "{:?}",
            groups[0].state
        );
    }

    /// Everybody goes and the group is deleted: nothing is left, and nothing is counted.
    pub fn check_end(&mut self) {
        self.clients.iter_mut().for_each(|client| drop(client.stop(false)));
        self.run(self.now + 2 * client::SESSION_MS + 20_000);
        let mut effects = Effects::new();
        let request = Request::Delete(vec![GROUP.into()]);
        let input = Input::Request { ticket: 0, wall: self.wall(), request };
        self.machine.step(Tick(self.now), input, &mut effects);
        let appends = effects.drain().filter_map(|effect| match effect {
            Effect::Append { id, .. } => Some(id),
            Effect::Reply { .. } | Effect::InitializeShares { .. } => None,
        });
        for id in appends.collect::<Vec<_>>() {
            self.machine.step(Tick(self.now), Input::Durable(id), &mut effects);
        }
        assert!(self.machine.is_empty() && self.machine.snapshot().is_empty());
        assert_eq!((self.machine.memory_bytes(), self.machine.parked()), (0, 0));
    }

    pub fn digest(&self) -> u64 {
        self.trace.finish()
    }
}
