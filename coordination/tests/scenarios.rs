//! Plays the transcripts under `scenarios/`: a line at the margin is done, the indented lines below it are what came
//! out. `UPDATE_SCENARIOS=1` writes what comes out into the files, for review as a diff.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use coordination::effects::Effects;
use coordination::fetch_session::{
    Context, FetchSessions, PartitionKey, Report, SessionRequest, TopicKey, Wish,
};
use coordination::machine::Machine;
use coordination::metadata::alter::{Changes, Target};
use coordination::metadata::configs::ConfigChange;
use coordination::metadata::delta::Resource;
use coordination::metadata::{
    Command, Effect, Input, Metadata, MorePartitions, NewTopic, Outcome, Overrides, Policy, Record, TopicRef,
};
use model::{BrokerId, ErrorCode, LeaderEpoch, Offset, Tick, TopicId};

type Words<'a> = std::str::SplitWhitespace<'a>;

fn play(kind: &str, mut line: impl FnMut(&str, &mut Words) -> String) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios").join(kind);
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty());
    for file in files {
        line("", &mut "".split_whitespace());
        let expected = std::fs::read_to_string(&file).unwrap();
        let mut actual = String::new();
        for text in expected.lines().filter(|text| !text.starts_with("  ")) {
            writeln!(actual, "{text}").unwrap();
            let mut words = text.split_whitespace();
            match words.next() {
                None => {}
                Some(comment) if comment.starts_with('#') => {}
                Some(verb) => {
                    for out in line(verb, &mut words).lines() {
                        writeln!(actual, "  {out}").unwrap();
                    }
                }
            }
        }
        if std::env::var_os("UPDATE_SCENARIOS").is_some() {
            std::fs::write(&file, actual).unwrap();
        } else {
            assert_eq!(actual, expected, "{}", file.display());
        }
    }
}

fn new_metadata() -> Metadata {
    let policy = Policy { node: BrokerId(1), partitions_default: 1 };
    Metadata::new(policy, Overrides::new(), [7; 16])
}

/// `orders:3` with settings `retention.ms=5` after it.
fn new_topics(words: &mut Words) -> Vec<NewTopic> {
    let mut topics: Vec<NewTopic> = Vec::new();
    for word in words {
        if let Some((name, count)) = word.split_once(':') {
            topics.push(NewTopic { partitions: count.parse().unwrap(), ..NewTopic::new(name) });
        } else {
            let (key, value) = word.split_once('=').unwrap();
            topics.last_mut().unwrap().configs.insert(key.into(), value.into());
        }
    }
    topics
}

fn command(words: &mut Words) -> Command {
    match words.next().unwrap() {
        "boot" => Command::Boot,
        "create" => Command::CreateTopics { topics: new_topics(words), validate_only: false },
        "try-create" => Command::CreateTopics { topics: new_topics(words), validate_only: true },
        "delete" => Command::DeleteTopics(words.map(|name| TopicRef::Name(name.into())).collect()),
        "grow" => Command::CreatePartitions {
            topics: words
                .map(|word| word.split_once(':').unwrap())
                .map(|(topic, count)| MorePartitions {
                    topic: topic.into(),
                    count: count.parse().unwrap(),
                    assignment: None,
                })
                .collect(),
            validate_only: false,
        },
        "set" => {
            let target = target(words.next().unwrap());
            let changes = words.map(|word| match (word.split_once("+="), word.split_once('=')) {
                (Some((key, value)), _) => (key.into(), ConfigChange::Append(value.into())),
                (_, Some((key, value))) => (key.into(), ConfigChange::Set(value.into())),
                _ => (word.into(), ConfigChange::Delete),
            });
            let changes = Changes::Some(changes.collect());
            Command::AlterConfigs { resources: vec![(target, changes)], validate_only: false }
        }
        "replace" => {
            let target = target(words.next().unwrap());
            let pairs = words.map(|word| word.split_once('=').unwrap());
            let changes = Changes::All(pairs.map(|(key, value)| (key.into(), value.into())).collect());
            Command::AlterConfigs { resources: vec![(target, changes)], validate_only: false }
        }
        "ids" => Command::ReserveProducerIds,
        other => panic!("no command {other}"),
    }
}

/// `broker:1`, `brokers`, `group:g`, else the name of a topic.
fn target(word: &str) -> Target {
    match word.split_once(':') {
        Some(("broker", id)) => Target::Broker(BrokerId(id.parse().unwrap())),
        Some(("group", id)) => Target::Group(id.into()),
        _ if word == "brokers" => Target::Brokers,
        _ => Target::Topic(word.into()),
    }
}

fn show_record(record: &Record) -> String {
    match record {
        Record::TopicCreated { name, partitions, configs, .. } => {
            format!("TopicCreated {name} partitions={partitions} {configs:?}")
        }
        Record::PartitionsAdded { partitions, .. } => format!("PartitionsAdded {partitions}"),
        Record::TopicDeleted { .. } => "TopicDeleted".into(),
        Record::ConfigChanged { resource: Resource::Topic(_), key, value } => {
            format!("ConfigChanged {key} {value:?}")
        }
        Record::ConfigChanged { resource, key, value } => {
            format!("ConfigChanged {resource:?} {key} {value:?}")
        }
        other => format!("{other:?}"),
    }
}

fn show_effect(effect: Effect) -> String {
    match effect {
        Effect::Append(index, records) => (index..)
            .zip(&records)
            .map(|(i, record)| format!("append {i} {}\n", show_record(record)))
            .collect(),
        Effect::Publish(image) => {
            let topics: Vec<_> = image
                .topics_sorted()
                .iter()
                .map(|topic| format!("{}:{}", topic.name, topic.partitions))
                .collect();
            let (at, dead) = (image.applied(), image.tombstones().len());
            format!(
                "publish at={at} epoch={} [{}] tombstones={dead}\n",
                image.leader_epoch(),
                topics.join(" ")
            )
        }
        Effect::Reply(ticket, Outcome::Topics(each)) => each
            .iter()
            .map(|one| match one {
                Ok(topic) => format!("reply {ticket} {} ok\n", topic.name),
                Err(why) => format!("reply {ticket} {} {}\n", why.code.name(), why.message),
            })
            .collect(),
        Effect::Reply(ticket, Outcome::Configs(each)) => each
            .iter()
            .map(|one| match one {
                Ok(()) => format!("reply {ticket} ok\n"),
                Err(why) => format!("reply {ticket} {} {}\n", why.code.name(), why.message),
            })
            .collect(),
        Effect::Reply(ticket, Outcome::Failed(why)) => {
            format!("reply {ticket} failed {} {}\n", why.code.name(), why.message)
        }
        Effect::Reply(ticket, outcome) => format!("reply {ticket} {outcome:?}\n"),
    }
}

#[test]
fn metadata() {
    let mut machine = new_metadata();
    play("metadata", |verb, words| {
        let input = match verb {
            "" => {
                machine = new_metadata();
                return String::new();
            }
            "durable" => Input::Durable,
            "fail" => Input::AppendFailed(words.collect::<Vec<_>>().join(" ")),
            "propose" => {
                let ticket = words.next().unwrap().parse().unwrap();
                Input::Propose(ticket, command(words))
            }
            other => panic!("no verb {other}"),
        };
        let mut effects = Effects::new();
        machine.step(Tick(0), input, &mut effects);
        effects.drain().map(show_effect).collect()
    });
}

struct Client {
    sessions: FetchSessions,
    /// Names of sessions in the transcript: the ids are random.
    ids: Vec<i32>,
    open: Option<(Context, Vec<(PartitionKey, Wish)>)>,
}

fn partition_key(index: &str) -> PartitionKey {
    PartitionKey { topic: TopicKey::Id(TopicId([1; 16])), index: index.parse().unwrap() }
}

impl Client {
    fn new() -> Self {
        Self { sessions: FetchSessions::new(2, 1), ids: vec![0], open: None }
    }

    /// `fetch <now> s<session> <epoch> <partition>... -<forgotten>...`
    fn fetch(&mut self, words: &mut Words) -> String {
        let now = Tick(words.next().unwrap().parse().unwrap());
        let session: usize = words.next().unwrap().trim_start_matches('s').parse().unwrap();
        let session_epoch = words.next().unwrap().parse().unwrap();
        let (gone, wanted): (Vec<&str>, Vec<&str>) = words.partition(|word| word.starts_with('-'));
        let (current_leader_epoch, last_fetched_epoch) = (LeaderEpoch::NONE, LeaderEpoch::NONE);
        let wish = Wish { offset: Offset(0), bytes_max: 1, current_leader_epoch, last_fetched_epoch };
        let request = SessionRequest {
            session_id: self.ids.get(session).copied().unwrap_or(12_345),
            session_epoch,
            by_id: true,
            wishes: wanted.into_iter().map(|index| (partition_key(index), wish)).collect(),
            forgotten: gone.into_iter().map(|word| partition_key(&word[1..])).collect(),
        };
        match self.sessions.begin(now, request) {
            Err(code) => code.name().to_owned(),
            Ok((context, wishes)) => {
                let order: Vec<_> = wishes.iter().map(|(key, _)| key.index.to_string()).collect();
                let kind = match context {
                    Context::Sessionless => "sessionless",
                    Context::Opening { .. } => "opening",
                    Context::Incremental { .. } => "incremental",
                };
                self.open = Some((context, wishes));
                format!("{kind} serve [{}]", order.join(" "))
            }
        }
    }

    /// `answer <now> <high watermark> <partition with records>... !<partition with an error>...`
    fn answer(&mut self, words: &mut Words) -> String {
        let now = Tick(words.next().unwrap().parse().unwrap());
        let high_watermark = Offset(words.next().unwrap().parse().unwrap());
        let said: Vec<&str> = words.collect();
        let (context, wishes) = self.open.take().unwrap();
        let report = |(key, wish): &(PartitionKey, Wish)| {
            let failed = said.contains(&format!("!{}", key.index).as_str());
            Report {
                key: key.clone(),
                wish: *wish,
                error: if failed { ErrorCode::NotLeaderOrFollower } else { ErrorCode::None },
                high_watermark,
                log_start: Offset(0),
                has_news: said.contains(&key.index.to_string().as_str()),
            }
        };
        let reports: Vec<_> = wishes.iter().map(report).collect();
        let closing = self.sessions.finish(now, context, &reports);
        if !closing.error.is_ok() {
            return closing.error.name().to_owned();
        }
        let included = reports.iter().zip(&closing.include).filter(|(_, include)| **include);
        let told: Vec<_> = included.map(|(report, _)| report.key.index.to_string()).collect();
        let known = self.ids.iter().position(|id| *id == closing.session_id);
        let session = known.unwrap_or_else(|| {
            self.ids.push(closing.session_id);
            self.ids.len() - 1
        });
        format!("session s{session} tell [{}]", told.join(" "))
    }
}

#[test]
fn fetch_session() {
    let mut client = Client::new();
    play("fetch_session", |verb, words| match verb {
        "" => {
            client = Client::new();
            String::new()
        }
        "fetch" => client.fetch(words),
        "answer" => client.answer(words),
        other => panic!("no verb {other}"),
    });
}
