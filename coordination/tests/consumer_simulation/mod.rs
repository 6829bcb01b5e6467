//! Consumers by both protocols, topics that come, grow and go, a network that delays and loses, a log that takes its time,
//! fails and is read back: all from a seed.

pub mod classic;
pub mod consumer;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use classic::{Classic, Phase};
use consumer::Consumer;
use coordination::effects::Effects;
use coordination::group::consumer::{ConsumerRecord, CurrentValue};
use coordination::group::record::{decode, encode};
use coordination::group::{
    Bounded, ConsumerSettings, Coordinator, Decoded, Effect, GroupSettings, GroupState, Input, Record, Reply,
    Request,
};
use coordination::machine::Machine;
use coordination::metadata::{Image, Overrides, Record as Change};
use model::{ErrorCode, Tick, TimestampMs, TopicId};

pub const GROUP: &str = "g";
pub const SESSION_MS: u64 = 9000;

/// Partitions that a client uses.
pub type Used = BTreeSet<(TopicId, i32)>;
type Stored = (Vec<u8>, Option<Vec<u8>>);

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

    fn pick(&mut self, end: usize) -> usize {
        usize::try_from(self.below(end as u64)).unwrap()
    }
}

/// Who is behind a ticket: a consumer or, behind them, a classic one.
type Who = usize;

pub struct World {
    pub random: Random,
    pub now: u64,
    pub machine: Coordinator,
    pub consumers: Vec<Consumer>,
    pub classics: Vec<Classic>,
    /// What a classic client may use although the group does not say so: it came with an id that the group did not know (any more).
    excused: Vec<Used>,
    pub calm: bool,
    pub trace: DefaultHasher,
    /// Changes of the group's protocol, and moments in which everything was settled.
    pub changes: u64,
    pub settled: u64,
    settings: GroupSettings,
    image: Arc<Image>,
    index: u64,
    was_consumer: bool,
    tickets: u64,
    requests: Vec<VecDeque<(u64, u64, Request)>>,
    replies: Vec<(u64, Who, u64, Reply)>,
    open: BTreeMap<u64, Who>,
    log: Vec<Stored>,
    flights: VecDeque<(u64, u64, Vec<Record>)>,
}

impl World {
    pub fn new(seed: u64, classics: usize) -> Self {
        let mut random = Random(seed);
        let interval = i32::try_from(random.below(2) * 700).unwrap();
        let settings = GroupSettings {
            initial_rebalance_delay_ms: 0,
            offsets_retention_check_ms: 1 << 40,
            consumer: ConsumerSettings {
                session_timeout_ms: Bounded {
                    value: i32::try_from(SESSION_MS).unwrap(),
                    least: 0,
                    most: 60_000,
                },
                heartbeat_interval_ms: Bounded { value: 1000, least: 0, most: 60_000 },
                assignment_interval_ms: Bounded { value: interval, least: 0, most: 60_000 },
                ..ConsumerSettings::default()
            },
            ..GroupSettings::default()
        };
        // With few by the consumer protocol the group changes its protocol often.
        let count = 1 + random.pick(if classics == 0 { 5 } else { 2 });
        let cooperative = random.one_in(2);
        let mut world = Self {
            machine: Coordinator::new(settings.clone(), random.next()),
            random,
            now: 0,
            consumers: (0..count).map(Consumer::new).collect(),
            classics: (0..classics).map(|number| Classic::new(number, cooperative)).collect(),
            excused: vec![Used::new(); classics],
            calm: false,
            trace: DefaultHasher::new(),
            changes: 0,
            settled: 0,
            settings,
            image: Arc::default(),
            index: 0,
            was_consumer: false,
            tickets: 0,
            requests: vec![VecDeque::new(); count + classics],
            replies: Vec::new(),
            open: BTreeMap::new(),
            log: Vec::new(),
            flights: VecDeque::new(),
        };
        for (name, partitions) in [("a", 3), ("b", 5), ("c", 2)] {
            world.create(name, partitions);
        }
        let mut effects = Effects::new();
        world.machine.loaded(Tick(0), TimestampMs(0), &mut effects);
        world.take(&mut effects);
        world
    }

    fn change(&mut self, change: &Change) {
        self.index += 1;
        let mut image = Image::clone(&self.image);
        image.apply(self.index, change);
        self.image = Arc::new(image);
        self.machine.set_image(Arc::clone(&self.image));
    }

    fn create(&mut self, name: &str, partitions: u32) {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&(self.index + 1).to_be_bytes());
        let (id, configs) = (TopicId(id), Overrides::new());
        self.change(&Change::TopicCreated { id, name: name.into(), partitions, configs });
    }

    fn wall(&self) -> TimestampMs {
        TimestampMs(i64::try_from(self.now).unwrap() + 1)
    }

    fn step(&mut self, input: Input) {
        let mut effects = Effects::new();
        self.machine.step(Tick(self.now), input, &mut effects);
        self.take(&mut effects);
    }

    fn take(&mut self, effects: &mut Effects<Effect>) {
        for effect in effects.drain().collect::<Vec<_>>() {
            format!("{} {effect:?}", self.now).hash(&mut self.trace);
            match effect {
                Effect::InitializeShares { .. } => panic!("there are no share groups"),
                Effect::Append { id, records } => {
                    assert!(!records.is_empty());
                    self.excuse_the_fenced(&records);
                    self.excuse_the_absent(&records);
                    let before = self.flights.back().map_or(self.now, |(at, ..)| *at);
                    let delay = match (self.calm, self.random.one_in(20)) {
                        (true, _) => 1,
                        (false, true) => self.random.below(8000),
                        (false, false) => self.random.below(400),
                    };
                    self.flights.push_back((before.max(self.now + delay), id, records));
                }
                Effect::Reply { ticket, reply } => {
                    let who = self.open.remove(&ticket).expect("answered once, and asked before");
                    if self.calm || !self.random.one_in(12) {
                        let delay = if self.calm { 1 } else { self.random.below(400) };
                        self.replies.push((self.now + delay, who, ticket, reply));
                    }
                }
            }
        }
    }

    fn ask(&mut self, who: Who, request: Request) -> u64 {
        self.tickets += 1;
        let delay = if self.calm { 1 } else { self.random.below(300) };
        // A connection keeps the order.
        let at = self.requests[who].back().map_or(0, |(at, ..)| *at).max(self.now + delay);
        self.requests[who].push_back((at, self.tickets, request));
        self.tickets
    }

    fn deliver(&mut self) {
        for who in 0..self.requests.len() {
            while self.requests[who].front().is_some_and(|(at, ..)| *at <= self.now) {
                let (_, ticket, request) = self.requests[who].pop_front().unwrap();
                if !self.calm && self.random.one_in(20) {
                    continue;
                }
                self.excuse_strangers(who, &request);
                self.open.insert(ticket, who);
                let wall = self.wall();
                self.step(Input::Request { ticket, wall, request });
            }
        }
        let now = self.now;
        let (due, later): (Vec<_>, Vec<_>) = self.replies.drain(..).partition(|(at, ..)| *at <= now);
        self.replies = later;
        for (_, who, ticket, reply) in due {
            match (self.consumers.get_mut(who), reply) {
                (Some(consumer), Reply::ConsumerHeartbeat(reply)) => {
                    consumer.answered(ticket, &reply, now, &mut self.random, self.calm);
                }
                (Some(_), _) => {}
                (None, reply) => {
                    let number = who - self.consumers.len();
                    let image = Arc::clone(&self.image);
                    self.classics[number].answered(ticket, &reply, &image, &mut self.random);
                }
            }
            self.check();
        }
    }

    /// Whoever is put out of the group does not know it, and may come back with its id before it does.
    fn excuse_the_fenced(&mut self, records: &[Record]) {
        for record in records {
            let Record::Consumer { change: ConsumerRecord::Current { member, value: None }, .. } = record
            else {
                continue;
            };
            for (client, excused) in self.classics.iter().zip(&mut self.excused) {
                if client.id == **member {
                    excused.extend(client.uses.iter().copied());
                }
            }
        }
    }

    /// The classic protocol keeps a static member that does not join in time: others may be given what it does not know it lost.
    fn excuse_the_absent(&mut self, records: &[Record]) {
        for record in records {
            let Record::Group { value: Some(value), .. } = record else { continue };
            for (client, excused) in self.classics.iter().zip(&mut self.excused) {
                let absent = client.instance.is_some() && client.generation < value.generation;
                if absent && !self.was_consumer && value.members.iter().any(|one| one.member_id == client.id)
                {
                    excused.extend(client.uses.iter().copied());
                }
            }
        }
    }

    /// Kafka takes in whoever joins by the classic protocol with an id that it does not know.
    fn excuse_strangers(&mut self, who: Who, request: &Request) {
        if let Request::Join(join) = request
            && !join.member_id.is_empty()
            && !self.members().contains_key(join.member_id.as_str())
        {
            let number = who - self.consumers.len();
            let uses = self.classics[number].uses.clone();
            self.excused[number].extend(uses);
        }
    }

    fn land(&mut self) {
        while self.flights.front().is_some_and(|(at, ..)| *at <= self.now) {
            let (_, id, records) = self.flights.pop_front().unwrap();
            if !self.calm && self.random.one_in(25) {
                let errors =
                    [ErrorCode::NotEnoughReplicas, ErrorCode::KafkaStorageError, ErrorCode::MessageTooLarge];
                let error = errors[self.random.pick(3)];
                self.step(Input::AppendFailed(id, error));
            } else {
                self.log.extend(records.iter().map(encode));
                self.step(Input::Durable(id));
            }
            if self.random.one_in(8) {
                assert_eq!(
                    self.machine.snapshot(),
                    self.replayed().snapshot(),
                    "the state is what is durable"
                );
            }
            self.check();
        }
    }

    fn replayed(&self) -> Coordinator {
        let mut machine = Coordinator::new(self.settings.clone(), 0);
        for (key, value) in &self.log {
            let Ok(Decoded::Record(record)) = decode(key, value.as_deref()) else { panic!("not our record") };
            machine.replay(&record);
        }
        machine
    }

    /// The members by the consumer protocol, as they are durable.
    fn members(&self) -> BTreeMap<String, Arc<CurrentValue>> {
        let current = |record| match record {
            Record::Consumer { change: ConsumerRecord::Current { member, value: Some(value) }, .. } => {
                Some((member.to_string(), value))
            }
            _ => None,
        };
        self.machine.snapshot().into_iter().filter_map(current).collect()
    }

    fn is_consumer_group(&self) -> bool {
        self.machine.snapshot().iter().any(|record| matches!(record, Record::Consumer { .. }))
    }

    /// No partition is two members', and no member uses what is not its own.
    fn check(&mut self) {
        let is_consumer = self.is_consumer_group();
        if is_consumer != self.was_consumer {
            self.was_consumer = is_consumer;
            self.changes += 1;
        }
        for (excused, client) in self.excused.iter_mut().zip(&self.classics) {
            excused.retain(|partition| client.uses.contains(partition));
        }
        if !is_consumer {
            return;
        }
        let members = self.members();
        let mut owners: BTreeMap<(TopicId, i32), &str> = BTreeMap::new();
        for (id, current) in &members {
            let held = current.assigned.iter().chain(current.revoking.iter());
            for (topic, partition, _) in held {
                let other = owners.insert((topic, partition), id);
                assert_eq!(other, None, "{topic}/{partition} is of {id} too");
            }
        }
        for client in self.consumers.iter().filter(|client| client.alive) {
            if members.contains_key(&client.id) {
                for partition in
                    client.uses.iter().filter(|(topic, _)| self.image.topic_by_id(*topic).is_some())
                {
                    let owner = owners.get(partition);
                    assert_eq!(owner, Some(&client.id.as_str()), "{} uses {partition:?}", client.id);
                }
            }
        }
        for (client, excused) in self.classics.iter().zip(&self.excused) {
            if client.phase != Phase::Away && members.contains_key(&client.id) {
                let uses = client.uses.difference(excused);
                for partition in uses.filter(|(topic, _)| self.image.topic_by_id(*topic).is_some()) {
                    let owner = owners.get(partition);
                    assert_eq!(owner, Some(&client.id.as_str()), "{} uses {partition:?}", client.id);
                }
            }
        }
    }

    /// The coordinator dies: of what was in flight a part is in the log, though nobody was told.
    fn crash(&mut self) {
        let landed = self.random.pick(self.flights.len() + 1);
        let in_log = self.flights.drain(..).take(landed);
        self.log.extend(in_log.flat_map(|(_, _, records)| records.iter().map(encode).collect::<Vec<_>>()));
        let snapshot = self.replayed().snapshot();
        self.machine = Coordinator::new(self.settings.clone(), self.random.next());
        self.machine.set_image(Arc::clone(&self.image));
        snapshot.iter().for_each(|record| {
            let (key, value) = encode(record);
            let Ok(Decoded::Record(record)) = decode(&key, value.as_deref()) else {
                panic!("not our record")
            };
            self.machine.replay(&record);
        });
        assert_eq!(self.machine.snapshot(), snapshot);
        self.open.clear();
        let mut effects = Effects::new();
        self.machine.loaded(Tick(self.now), self.wall(), &mut effects);
        self.take(&mut effects);
        self.check();
    }

    fn disturb(&mut self) {
        let consumers = self.consumers.len();
        let who = self.random.pick(consumers + self.classics.len());
        let kind = self.random.below(240);
        let mixed = !self.classics.is_empty();
        if let Some(client) = self.consumers.get_mut(who) {
            match kind {
                0..4 if !client.alive => client.start(&mut self.random),
                4 | 10..16 if client.alive && (kind == 4 || mixed) => {
                    let says_so = self.random.one_in(2);
                    if let Some(leave) = client.stop(says_so) {
                        self.ask(who, Request::ConsumerHeartbeat(Box::new(leave)));
                    }
                }
                5 if client.alive => {
                    let topics: &[&str] = [&["a"][..], &["b", "c"], &["a", "b"], &[]][self.random.pick(4)];
                    client.resubscribe(topics);
                }
                6 if client.alive && self.random.one_in(2) => {
                    client.stop(false);
                    client.start(&mut self.random);
                }
                _ => {}
            }
        } else {
            let client = &mut self.classics[who - consumers];
            match kind {
                0..4 if client.phase == Phase::Away => client.start(),
                4 if client.phase != Phase::Away => {
                    let says_so = self.random.one_in(2) && client.instance.is_none();
                    if let Some(leave) = client.stop(says_so) {
                        self.ask(who, leave);
                    }
                }
                5 if client.phase == Phase::Settled => {
                    client.topics = vec![["a", "b", "c"][self.random.pick(3)].into()];
                    client.phase = Phase::Joining;
                    if !client.cooperative {
                        client.uses.clear();
                    }
                }
                _ => {}
            }
        }
        match kind {
            7 if self.random.one_in(3) => self.crash(),
            8 if self.random.one_in(4) => {
                self.step(Input::Unload);
                assert!(self.open.is_empty() && self.machine.parked() == 0 && self.machine.is_empty());
                self.crash();
            }
            9 if self.random.one_in(3) => self.change_topics(),
            _ => {}
        }
    }

    fn change_topics(&mut self) {
        let name = ["c", "d"][self.random.pick(2)];
        match self.image.topic(name).map(|topic| (topic.id, topic.partitions)) {
            None => {
                let partitions = 1 + u32::try_from(self.random.below(3)).unwrap();
                self.create(name, partitions);
            }
            Some((id, partitions)) if self.random.one_in(2) && partitions < 6 => {
                self.change(&Change::PartitionsAdded { id, partitions: partitions + 1 });
            }
            Some((id, _)) => self.change(&Change::TopicDeleted { id }),
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
            for who in 0..self.consumers.len() {
                if let Some(ask) = self.consumers[who].poll(self.now) {
                    let ticket = self.ask(who, Request::ConsumerHeartbeat(Box::new(ask)));
                    self.consumers[who].asked(ticket, self.now);
                }
            }
            for number in 0..self.classics.len() {
                let image = Arc::clone(&self.image);
                if let Some(request) = self.classics[number].poll(self.now, &image) {
                    let ticket = self.ask(self.consumers.len() + number, request.clone());
                    self.classics[number].asked(ticket, &request, self.now);
                }
            }
            self.check();
            self.settled += u64::from(self.is_full());
        }
    }

    /// Every partition that somebody reads is used by exactly one who does.
    fn is_full(&self) -> bool {
        let consumers = self.consumers.iter().filter(|client| client.alive);
        let consumers = consumers.map(|client| (client.reads(), &client.uses, client.is_settled()));
        let classics = self.classics.iter().filter(|client| client.phase != Phase::Away);
        let classics = classics.map(|client| (client.reads(), &client.uses, client.phase == Phase::Settled));
        let mut wanted = Used::new();
        let mut used = Used::new();
        for (reads, uses, settled) in consumers.chain(classics) {
            let topics = reads.iter().filter_map(|name| self.image.topic(name));
            let own: BTreeSet<TopicId> = topics.clone().map(|topic| topic.id).collect();
            wanted.extend(topics.flat_map(|topic| {
                (0..i32::try_from(topic.partitions).unwrap()).map(|partition| (topic.id, partition))
            }));
            for partition in uses {
                if !own.contains(&partition.0) || !used.insert(*partition) {
                    return false;
                }
            }
            if !settled {
                return false;
            }
        }
        wanted == used
    }

    /// With a network that loses nothing everything is read by somebody, and nothing by two.
    pub fn check_settled(&mut self) {
        let shown = || {
            let consumers: Vec<_> = self.consumers.iter().filter(|client| client.alive).collect();
            let classics: Vec<_> = self.classics.iter().filter(|one| one.phase != Phase::Away).collect();
            format!("{consumers:#?}\n{classics:#?}\n{:#?}", self.machine.snapshot())
        };
        assert!(self.is_full(), "{}", shown());
        assert_eq!((self.machine.parked(), self.open.len()), (0, 0));
        let living = self.consumers.iter().filter(|client| client.alive).count();
        let classic = self.classics.iter().filter(|client| client.phase != Phase::Away).count();
        if living > 0 {
            assert_eq!(self.members().len(), living + classic);
            let mut effects = Effects::new();
            let request = Request::ConsumerDescribe(vec![GROUP.into()]);
            let input = Input::Request { ticket: 0, wall: self.wall(), request };
            self.machine.step(Tick(self.now), input, &mut effects);
            let Some(Effect::Reply { reply: Reply::ConsumerDescribe(groups), .. }) = effects.drain().next()
            else {
                panic!("no answer")
            };
            assert_eq!(groups[0].state, GroupState::Stable, "{groups:#?}");
        } else if classic > 0 {
            assert!(!self.is_consumer_group(), "only classic members are left: {}", shown());
        }
    }

    /// Everybody goes and the group is deleted: nothing is left, and nothing is counted.
    pub fn check_end(&mut self) {
        self.consumers.iter_mut().for_each(|client| drop(client.stop(false)));
        self.classics.iter_mut().for_each(|client| drop(client.stop(false)));
        self.run(self.now + 3 * SESSION_MS + 20_000);
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
