//! Plays the transcripts under `scenarios/group/`: a line at the margin is done, the indented lines below it are what
//! came out. `UPDATE_SCENARIOS=1` writes what comes out into the files, for review as a diff.
//!
//! Member ids are shown by their name and a number (`a-1`); every record passes through its bytes. Times are in
//! milliseconds. Words `key=value` after a verb are options.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "group_transcript/show.rs"]
mod show;

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use coordination::effects::Effects;
use coordination::group::consumer::Partitions;
use coordination::group::record::{decode, encode};
use coordination::group::{
    CommitPartition, CommitTopic, ConsumerHeartbeat, Coordinator, Decoded, Effect, GroupSettings, Heartbeat,
    Input, Join, Leave, Leaver, ListFilter, Migration, OffsetCommit, OffsetDelete, OffsetFetch, PartitionsOf,
    Record, Request, Sync,
};
use coordination::machine::Machine;
use coordination::metadata::{Image, Overrides, Record as Change};
use model::{ErrorCode, Offset, Tick, TimestampMs, TopicId};

/// The wall clock at tick 0.
const EPOCH_MS: i64 = 1_700_000_000_000;

struct World {
    machine: Coordinator,
    settings: GroupSettings,
    image: Arc<Image>,
    now: u64,
    tickets: u64,
    /// Durable, as bytes.
    log: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    flights: VecDeque<(u64, Vec<Record>)>,
    /// Appends land at once.
    auto: bool,
    /// Real member id to the name in the transcript.
    names: BTreeMap<String, String>,
}

struct Words<'a> {
    plain: VecDeque<&'a str>,
    options: BTreeMap<&'a str, &'a str>,
}

impl<'a> Words<'a> {
    fn new(line: &'a str) -> Self {
        let (options, plain): (Vec<&str>, Vec<&str>) = line.split_whitespace().partition(|word| {
            word.split_once('=')
                .is_some_and(|(key, _)| key.chars().all(|c| c.is_ascii_lowercase() || c == '_'))
        });
        let options = options.into_iter().map(|word| word.split_once('=').unwrap()).collect();
        Self { plain: plain.into(), options }
    }

    fn next(&mut self) -> &'a str {
        self.plain.pop_front().unwrap()
    }

    fn number<T: std::str::FromStr>(&self, key: &str, default: T) -> T {
        self.options.get(key).map_or(default, |text| text.parse().ok().unwrap())
    }

    fn text(&self, key: &str) -> Option<String> {
        self.options.get(key).map(|text| (*text).to_owned())
    }

    fn flag(&self, flag: &str) -> bool {
        self.plain.contains(&flag)
    }
}

/// `orders:0,1+audit:3`, or nothing.
fn owned(text: &str) -> Partitions {
    let parts = text.split('+').filter(|part| !part.is_empty()).map(partitions_of);
    parts.map(|part| (topic_id(&part.topic), part.partitions.into_iter().collect())).collect()
}

/// `range` without metadata, `range:orders+audit` with a consumer's subscription.
fn protocol(text: &str) -> (String, Bytes) {
    let Some((name, topics)) = text.split_once(':') else { return (text.into(), Bytes::new()) };
    let topics: Vec<&str> = topics.split('+').collect();
    let mut bytes = vec![0, 1];
    bytes.extend(u32::try_from(topics.len()).unwrap().to_be_bytes());
    for topic in topics {
        bytes.extend(u16::try_from(topic.len()).unwrap().to_be_bytes());
        bytes.extend(topic.as_bytes());
    }
    // No user data, and nothing owned.
    bytes.extend([0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
    (name.into(), bytes.into())
}

fn topic_id(name: &str) -> TopicId {
    let mut id = [0; 16];
    id[..name.len().min(16)].copy_from_slice(&name.as_bytes()[..name.len().min(16)]);
    TopicId(id)
}

/// `orders:0,1` to a topic and its partitions.
fn partitions_of(text: &str) -> PartitionsOf {
    let (topic, partitions) = text.split_once(':').unwrap();
    PartitionsOf {
        topic: topic.into(),
        partitions: partitions.split(',').map(|at| at.parse().unwrap()).collect(),
    }
}

/// `orders/0@42` or `orders/0@42@metadata`.
fn commit_topic(text: &str) -> CommitTopic {
    let mut parts = text.split('@');
    let (topic, partition) = parts.next().unwrap().split_once('/').unwrap();
    let offset = Offset(parts.next().unwrap().parse().unwrap());
    let metadata = parts.next().map_or_else(String::new, |text| match text.strip_prefix("long") {
        Some(length) => "x".repeat(length.parse().unwrap()),
        None => text.into(),
    });
    let partition = partition.parse().unwrap();
    CommitTopic {
        name: topic.into(),
        topic_id: topic_id(topic),
        partitions: vec![CommitPartition { partition, offset, leader_epoch: 3, metadata, commit_time: None }],
    }
}

impl World {
    fn new() -> Self {
        Self {
            machine: Coordinator::new(GroupSettings::default(), 1),
            settings: GroupSettings::default(),
            image: Arc::default(),
            now: 0,
            tickets: 0,
            log: Vec::new(),
            flights: VecDeque::new(),
            auto: false,
            names: BTreeMap::new(),
        }
    }

    fn wall(&self) -> TimestampMs {
        TimestampMs(EPOCH_MS + i64::try_from(self.now).unwrap())
    }

    /// The name of a member in the transcript, made when it is first seen.
    fn name(&mut self, id: &str) -> String {
        if id.len() < 37 {
            return if id.is_empty() { "-".into() } else { id.into() };
        }
        let number = self.names.len() + 1;
        let name = format!("{}-{number}", &id[..id.len() - 37]);
        self.names.entry(id.to_owned()).or_insert(name).clone()
    }

    fn id(&self, name: &str) -> String {
        let known = self.names.iter().find(|(_, known)| *known == name);
        known.map_or_else(|| name.to_owned(), |(id, _)| id.clone())
    }

    fn member(&self, words: &Words) -> String {
        words.options.get("member").map_or_else(String::new, |name| self.id(name))
    }

    fn join(&self, words: &mut Words) -> Request {
        let group = words.next().to_owned();
        let protocols = words.options.get("protocols").copied().unwrap_or("range:orders");
        Request::Join(Join {
            group,
            member_id: self.member(words),
            instance_id: words.text("instance"),
            client_id: words.text("client").unwrap_or_else(|| "c".into()),
            client_host: "/10.0.0.1".into(),
            session_timeout_ms: words.number("session", 10_000),
            rebalance_timeout_ms: words.number("rebalance", 60_000),
            protocol_type: words.text("type").unwrap_or_else(|| "consumer".into()),
            protocols: protocols.split(',').map(protocol).collect(),
            require_known_member_id: words.flag("known"),
            can_skip_assignment: words.flag("skip"),
        })
    }

    /// Who joins sends everything, who does not only what it says.
    fn beat(&self, words: &mut Words) -> Request {
        let (group, member_id) = (words.next().to_owned(), self.id(words.next()));
        let epoch = words.number("epoch", 0);
        let list = |key: &str| words.text(key).map(|text| text.split('+').map(str::to_owned).collect());
        Request::ConsumerHeartbeat(Box::new(ConsumerHeartbeat {
            group,
            member_id,
            makes_own_id: !words.flag("v0"),
            epoch,
            instance_id: words.text("instance"),
            rack_id: words.text("rack"),
            rebalance_timeout_ms: words.number("rebalance", if epoch == 0 { 60_000 } else { -1 }),
            client_id: "c".into(),
            client_host: "/10.0.0.1".into(),
            topics: list("topics").or_else(|| (epoch == 0).then(Vec::new)),
            regex: words.text("regex"),
            assignor: words.text("assignor"),
            owned: words.text("owned").or_else(|| (epoch == 0).then(String::new)).map(|text| owned(&text)),
        }))
    }

    fn sync(&self, words: &mut Words) -> Request {
        let group = words.next().to_owned();
        let assigned = words.options.get("assign").copied().unwrap_or_default();
        let assigned = assigned.split(',').filter(|text| !text.is_empty());
        let assigned = assigned.map(|text| text.split_once(':').unwrap());
        Request::Sync(Sync {
            group,
            member_id: self.member(words),
            instance_id: words.text("instance"),
            generation: words.number("gen", 1),
            protocol_type: words.text("type"),
            protocol: words.text("protocol"),
            assignments: assigned
                .map(|(name, part)| (self.id(name), Bytes::copy_from_slice(part.as_bytes())))
                .collect(),
        })
    }

    fn commit(&self, words: &mut Words) -> Request {
        let group = words.next().to_owned();
        Request::OffsetCommit(OffsetCommit {
            group,
            member_id: self.member(words),
            instance_id: words.text("instance"),
            generation: words.number("gen", -1),
            retention_ms: words.options.get("retention").map(|text| text.parse().unwrap()),
            knows_group_not_found: words.flag("v9"),
            topics: words
                .plain
                .iter()
                .filter(|word| word.contains('@'))
                .map(|word| commit_topic(word))
                .collect(),
        })
    }

    fn leave(&self, words: &mut Words) -> Request {
        let group = words.next().to_owned();
        let leaver = |word: &&str| match word.strip_prefix("instance:") {
            Some(instance) => Leaver { member_id: String::new(), instance_id: Some(instance.into()) },
            None => Leaver { member_id: self.id(word), instance_id: None },
        };
        Request::Leave(Leave { group, members: words.plain.iter().map(leaver).collect() })
    }

    fn request(&self, verb: &str, words: &mut Words) -> Request {
        let names = |words: &Words| words.plain.iter().map(|word| (*word).to_owned()).collect();
        match verb {
            "join" => self.join(words),
            "sync" => self.sync(words),
            "heartbeat" => Request::Heartbeat(Heartbeat {
                group: words.next().into(),
                member_id: self.member(words),
                instance_id: words.text("instance"),
                generation: words.number("gen", 1),
            }),
            "leave" => self.leave(words),
            "beat" => self.beat(words),
            "consumer-describe" => Request::ConsumerDescribe(names(words)),
            "commit" => self.commit(words),
            "fetch" => Request::OffsetFetch(OffsetFetch {
                member: words.text("member").map(|name| (self.id(&name), words.number("epoch", -1))),
                group: words.next().into(),
                require_stable: words.plain.iter().any(|word| *word == "stable"),
                topics: (!words.flag("all")).then(|| {
                    words
                        .plain
                        .iter()
                        .filter(|word| word.contains(':'))
                        .map(|word| partitions_of(word))
                        .collect()
                }),
            }),
            "offset-delete" => Request::OffsetDelete(OffsetDelete {
                group: words.next().into(),
                topics: words.plain.iter().map(|word| partitions_of(word)).collect(),
            }),
            "list" => Request::List(ListFilter {
                states: words.text("state").into_iter().collect(),
                types: words.text("type").into_iter().collect(),
            }),
            "describe" => Request::Describe(names(words)),
            "delete" => Request::Delete(names(words)),
            other => panic!("no verb {other}"),
        }
    }

    fn step(&mut self, input: Input) -> String {
        let mut effects = Effects::new();
        self.machine.step(Tick(self.now), input, &mut effects);
        self.take(&mut effects)
    }

    fn take(&mut self, effects: &mut Effects<Effect>) -> String {
        let mut out = String::new();
        for effect in effects.drain() {
            match effect {
                Effect::InitializeShares { .. } => panic!("there are no share groups"),
                Effect::Append { id, records } => {
                    for record in &records {
                        writeln!(out, "append {id} {}", self.show_record(record)).unwrap();
                    }
                    self.flights.push_back((id, records));
                }
                Effect::Reply { ticket, reply } => {
                    let text = self.show(&reply);
                    writeln!(out, "#{ticket} {text}").unwrap();
                }
            }
        }
        if self.auto && !self.flights.is_empty() {
            out += &self.land(usize::MAX);
        }
        out
    }

    /// The oldest `count` appends become durable.
    fn land(&mut self, count: usize) -> String {
        let count = count.min(self.flights.len());
        let landed: Vec<_> = self.flights.drain(..count).collect();
        let Some((last, _)) = landed.last() else { return String::new() };
        let last = *last;
        self.log.extend(landed.iter().flat_map(|(_, records)| records.iter().map(encode)));
        self.step(Input::Durable(last))
    }

    fn tick(&mut self, ms: u64) -> String {
        let end = self.now + ms;
        let mut out = String::new();
        while let Some(due) = self.machine.next_deadline().filter(|due| due.0 <= end) {
            self.now = self.now.max(due.0);
            let wall = self.wall();
            let text = self.step(Input::Tick { wall });
            if !text.is_empty() {
                writeln!(out, "at {}", self.now).unwrap();
                out += &text;
            }
        }
        self.now = end;
        out
    }

    fn reload(&mut self) -> String {
        self.flights.clear();
        self.machine = Coordinator::new(self.settings.clone(), self.now + 77);
        self.machine.set_image(Arc::clone(&self.image));
        for (key, value) in &self.log {
            let Ok(Decoded::Record(record)) = decode(key, value.as_deref()) else { panic!("not our record") };
            self.machine.replay(&record);
        }
        let mut effects = Effects::new();
        let wall = self.wall();
        self.machine.loaded(Tick(self.now), wall, &mut effects);
        self.take(&mut effects)
    }

    /// `orders 3` has so many partitions from now on, 0 is none.
    fn topic(&mut self, words: &mut Words) -> String {
        let name = words.next();
        let partitions: u32 = words.next().parse().unwrap();
        let (id, index) = (topic_id(name), self.image.applied() + 1);
        let change = match (self.image.topic(name), partitions) {
            (_, 0) => Change::TopicDeleted { id },
            (Some(_), partitions) => Change::PartitionsAdded { id, partitions },
            (None, partitions) => {
                Change::TopicCreated { id, name: name.into(), partitions, configs: Overrides::new() }
            }
        };
        let mut image = Image::clone(&self.image);
        image.apply(index, &change);
        self.image = Arc::new(image);
        self.machine.set_image(Arc::clone(&self.image));
        String::new()
    }

    fn configure(&mut self, words: &Words) -> String {
        let settings = &mut self.settings;
        settings.initial_rebalance_delay_ms = words.number("delay", settings.initial_rebalance_delay_ms);
        settings.group_max_size = words.number("max_size", settings.group_max_size);
        settings.offsets_retention_minutes =
            words.number("retention_minutes", settings.offsets_retention_minutes);
        settings.offsets_retention_check_ms = words.number("check", settings.offsets_retention_check_ms);
        settings.memory_bytes_max = words.number("memory", settings.memory_bytes_max);
        let consumer = &mut settings.consumer;
        consumer.max_size = words.number("consumer_max_size", consumer.max_size);
        consumer.assignment_interval_ms.value =
            words.number("interval", consumer.assignment_interval_ms.value);
        if let Some(policy) = words.text("migration") {
            consumer.migration = Migration::named(&policy).unwrap();
        }
        self.machine.set_settings(self.settings.clone());
        String::new()
    }

    fn line(&mut self, verb: &str, words: &mut Words) -> String {
        match verb {
            "settings" => self.configure(words),
            "topic" => self.topic(words),
            "auto" => {
                self.auto = true;
                String::new()
            }
            "manual" => {
                self.auto = false;
                String::new()
            }
            "durable" => {
                let count = words.plain.pop_front().map_or(usize::MAX, |count| count.parse().unwrap());
                self.land(count)
            }
            "fail" => {
                let code = words.next();
                let code = ErrorCode::ALL.iter().find(|known| known.name() == code).unwrap();
                let (id, _) = self.flights.pop_front().unwrap();
                self.step(Input::AppendFailed(id, *code))
            }
            "tick" => self.tick(words.next().parse().unwrap()),
            "load" | "reload" => self.reload(),
            "unload" => self.step(Input::Unload),
            "snapshot" => {
                let records = self.machine.snapshot();
                records.iter().map(|record| self.show_record(record) + "\n").collect()
            }
            "topics-deleted" => {
                let topics = words.plain.iter().map(|name| ((*name).to_owned(), topic_id(name))).collect();
                let wall = self.wall();
                self.step(Input::TopicsDeleted { wall, topics })
            }
            _ => {
                self.tickets += 1;
                let (ticket, wall) = (self.tickets, self.wall());
                let request = self.request(verb, words);
                self.step(Input::Request { ticket, wall, request })
            }
        }
    }
}

#[test]
fn group_transcripts() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios/group");
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty());
    for file in files {
        let expected = std::fs::read_to_string(&file).unwrap();
        let mut world = World::new();
        let mut actual = String::new();
        for text in expected.lines().filter(|text| !text.starts_with("  ")) {
            writeln!(actual, "{text}").unwrap();
            let mut words = Words::new(text);
            match words.plain.pop_front() {
                None => {}
                Some(comment) if comment.starts_with('#') => {}
                Some(verb) => {
                    for out in world.line(verb, &mut words).lines() {
                        writeln!(actual, "  {out}").unwrap();
                    }
                }
            }
        }
        if std::env::var_os("UPDATE_SCENARIOS").is_some() {
            std::fs::write(&file, actual).unwrap();
        } else {
            assert!(actual == expected, "{}:\n{}", file.display(), show::difference(&expected, &actual));
        }
    }
}
