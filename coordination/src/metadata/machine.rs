//! The metadata machine: commands in, records to append out, replies once those are durable.
//!
//! One group of commands is in flight at a time; later ones gather and are judged together when it has landed, each
//! on a draft that holds what those before it want. The draft is thrown away: the image moves only by replaying what
//! is durable, so a failed append leaves no trace.

use std::collections::VecDeque;
use std::sync::Arc;

use model::limits::COMMANDS_WAITING_MAX;
use model::{ErrorCode, Tick, TopicId};

use super::alter::{self, Changes, Target};
use super::broker_config::BrokerConfig;
use super::configs::Overrides;
use super::delta::Record;
use super::eligible;
use super::features::{self, FEATURES, FeatureUpdate};
use super::image::{Image, Topic};
use super::topics::{self, MorePartitions, NewTopic, Policy, Refusal, TopicRef};
use crate::effects::Effects;
use crate::machine::Machine;

/// Producer ids in one reserved block, as in Kafka.
pub const PRODUCER_ID_BLOCK: u32 = 1000;

/// What can be asked of the metadata.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// This process starts: once, before it serves.
    Boot,
    /// Create topics, each by itself; with `validate_only` say only what would happen.
    CreateTopics {
        /// Which.
        topics: Vec<NewTopic>,
        /// Change nothing.
        validate_only: bool,
    },
    /// Delete topics, each by itself.
    DeleteTopics(Vec<TopicRef>),
    /// Grow topics, each by itself; with `validate_only` say only what would happen.
    CreatePartitions {
        /// Which, and to how many.
        topics: Vec<MorePartitions>,
        /// Change nothing.
        validate_only: bool,
    },
    /// Change settings, of each resource by itself; with `validate_only` say only what would happen.
    AlterConfigs {
        /// Whose, and what.
        resources: Vec<(Target, Changes)>,
        /// Change nothing.
        validate_only: bool,
    },
    /// Choose levels of features, all or none; with `validate_only` say only what would happen.
    UpdateFeatures {
        /// Which, and the levels.
        updates: Vec<FeatureUpdate>,
        /// Change nothing.
        validate_only: bool,
    },
    /// Reserve a block of [`PRODUCER_ID_BLOCK`] producer ids.
    ReserveProducerIds,
    /// The files of these deleted topics are gone.
    ForgetTopics(Vec<TopicId>),
}

/// What became of a command; lists are in the command's order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// One verdict per topic, with the topic as it is afterwards (as it was, when deleted).
    Topics(Vec<Result<Arc<Topic>, Refusal>>),
    /// One verdict per resource whose settings were to change.
    Configs(Vec<Result<(), Refusal>>),
    /// First id of the reserved block.
    ProducerIds(i64),
    /// Done.
    Done,
    /// The whole command failed.
    Failed(Refusal),
}

/// What can happen to the metadata machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Input {
    /// Somebody wants something; the answer carries the ticket.
    Propose(u64, Command),
    /// All records appended so far are durable.
    Durable,
    /// The last append failed; nothing of it is in the log or ever will be.
    AppendFailed(String),
}

/// What the metadata machine asks of its driver.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Append these in one write, first index first, then say `Durable` or `AppendFailed`.
    Append(u64, Vec<Record>),
    /// Give this to every core; replies that follow must wait until each has it.
    Publish(Arc<Image>),
    /// Answer the ticket.
    Reply(u64, Outcome),
}

/// Metadata of the cluster, as a quorum of one.
#[derive(Debug)]
pub struct Metadata {
    policy: Policy,
    image: Arc<Image>,
    ids: IdSource,
    waiting: VecDeque<(u64, Command)>,
    /// Records appended and not known durable, and the answers that ride behind them.
    flight: Option<Flight>,
}

#[derive(Debug)]
struct Flight {
    records: Vec<Record>,
    replies: Vec<(u64, Outcome)>,
}

impl Metadata {
    /// Of an empty log, on a broker that was started with `started` (values checked by their rows). `seed` makes topic ids: 16 random bytes, new at every start.
    #[must_use]
    pub fn new(policy: Policy, started: Overrides, seed: [u8; 16]) -> Self {
        Self {
            policy,
            image: Arc::new(Image::new(BrokerConfig::new(policy.node, started))),
            ids: IdSource::new(seed),
            waiting: VecDeque::new(),
            flight: None,
        }
    }

    /// Applies records read back from the snapshot or the log, with their indexes, before the first step.
    pub fn replay<'a>(&mut self, records: impl IntoIterator<Item = (u64, &'a Record)>) {
        assert!(self.flight.is_none(), "replay comes before the first command");
        Arc::make_mut(&mut self.image).apply_all(records);
    }

    /// The metadata as of the last durable record.
    #[must_use]
    pub const fn image(&self) -> &Arc<Image> {
        &self.image
    }

    fn take_off(&mut self, effects: &mut Effects<Effect>) {
        while self.flight.is_none() && !self.waiting.is_empty() {
            let mut judge = Judge {
                policy: self.policy,
                draft: Arc::clone(&self.image),
                records: Vec::new(),
                ids: &mut self.ids,
            };
            let group = self.waiting.drain(..);
            let replies: Vec<_> = group.map(|(ticket, command)| (ticket, judge.decide(command))).collect();
            let records = judge.records;
            if records.is_empty() {
                for (ticket, outcome) in replies {
                    effects.push(Effect::Reply(ticket, outcome));
                }
            } else {
                effects.push(Effect::Append(self.image.applied() + 1, records.clone()));
                self.flight = Some(Flight { records, replies });
            }
        }
    }
}

impl Machine for Metadata {
    type Input = Input;
    type Effect = Effect;

    fn step(&mut self, _now: Tick, input: Input, effects: &mut Effects<Effect>) {
        match input {
            Input::Propose(ticket, _) if self.waiting.len() >= COMMANDS_WAITING_MAX => {
                let text = format!("{COMMANDS_WAITING_MAX} metadata changes are waiting already");
                let refusal = Refusal::new(ErrorCode::RequestTimedOut, text);
                effects.push(Effect::Reply(ticket, Outcome::Failed(refusal)));
            }
            Input::Propose(ticket, command) => self.waiting.push_back((ticket, command)),
            Input::Durable => {
                if let Some(flight) = self.flight.take() {
                    let image = Arc::make_mut(&mut self.image);
                    image.apply_all((image.applied() + 1..).zip(&flight.records));
                    effects.push(Effect::Publish(Arc::clone(&self.image)));
                    for (ticket, outcome) in flight.replies {
                        effects.push(Effect::Reply(ticket, outcome));
                    }
                }
            }
            Input::AppendFailed(why) => {
                if let Some(flight) = self.flight.take() {
                    let refusal = Refusal::new(ErrorCode::KafkaStorageError, why);
                    for (ticket, _) in flight.replies {
                        effects.push(Effect::Reply(ticket, Outcome::Failed(refusal.clone())));
                    }
                }
            }
        }
        self.take_off(effects);
    }
}

/// Judges a group of commands, one after the other, on a draft of what they make.
struct Judge<'a> {
    policy: Policy,
    draft: Arc<Image>,
    records: Vec<Record>,
    ids: &'a mut IdSource,
}

impl Judge<'_> {
    fn decide(&mut self, command: Command) -> Outcome {
        match command {
            Command::Boot => {
                self.keep(Record::Boot { boot: self.draft.boot() + 1 });
                self.keep_all(eligible::settled(&self.draft));
                Outcome::Done
            }
            Command::CreateTopics { topics, validate_only } => self.trial(validate_only, |judge| {
                let mut created = 0;
                Outcome::Topics(topics.iter().map(|topic| judge.create(topic, &mut created)).collect())
            }),
            Command::DeleteTopics(topics) => {
                Outcome::Topics(topics.iter().map(|topic| self.delete(topic)).collect())
            }
            Command::CreatePartitions { topics, validate_only } => self.trial(validate_only, |judge| {
                let mut created = 0;
                Outcome::Topics(topics.iter().map(|topic| judge.grow(topic, &mut created)).collect())
            }),
            Command::AlterConfigs { resources, validate_only } => self.trial(validate_only, |judge| {
                let each = resources.iter().map(|(target, changes)| judge.alter(target, changes));
                Outcome::Configs(each.collect())
            }),
            Command::UpdateFeatures { updates, validate_only } => self.trial(validate_only, |judge| {
                match features::update(&judge.draft, FEATURES, judge.policy.node.0, &updates) {
                    Ok(records) => {
                        judge.keep_all(records);
                        judge.keep_all(eligible::settled(&judge.draft));
                        Outcome::Done
                    }
                    Err(refusal) => Outcome::Failed(refusal),
                }
            }),
            Command::ReserveProducerIds => {
                let first = self.draft.producer_ids();
                match first.checked_add(i64::from(PRODUCER_ID_BLOCK)) {
                    Some(up_to) => {
                        self.keep(Record::ProducerIdsReserved { up_to });
                        Outcome::ProducerIds(first)
                    }
                    None => Outcome::Failed(Refusal::new(
                        ErrorCode::UnknownServerError,
                        "All producer ids were given out",
                    )),
                }
            }
            Command::ForgetTopics(ids) => {
                for id in ids {
                    if self.draft.tombstones().contains(&id) {
                        self.keep(Record::TopicFilesRemoved { id });
                    }
                }
                Outcome::Done
            }
        }
    }

    /// Runs `decide` and forgets its records and draft when it was only a trial.
    fn trial(&mut self, only: bool, decide: impl FnOnce(&mut Self) -> Outcome) -> Outcome {
        let before = only.then(|| (Arc::clone(&self.draft), self.records.len()));
        let outcome = decide(self);
        if let Some((draft, records)) = before {
            self.draft = draft;
            self.records.truncate(records);
        }
        outcome
    }

    fn keep(&mut self, record: Record) {
        self.keep_all(vec![record]);
    }

    fn keep_all(&mut self, records: Vec<Record>) {
        let first = self.draft.applied() + 1;
        Arc::make_mut(&mut self.draft).apply_all((first..).zip(&records));
        self.records.extend(records);
    }

    fn create(&mut self, wanted: &NewTopic, created: &mut u32) -> Result<Arc<Topic>, Refusal> {
        let id = self.ids.next(&self.draft);
        let record = topics::create(&self.draft, self.policy, wanted, *created, id)?;
        self.keep(record);
        let topic = self.found(id)?;
        *created += topic.partitions;
        Ok(topic)
    }

    fn delete(&mut self, topic: &TopicRef) -> Result<Arc<Topic>, Refusal> {
        let id = topic.resolve(&self.draft)?.id;
        let was = self.found(id)?;
        self.keep(Record::TopicDeleted { id });
        Ok(was)
    }

    fn grow(&mut self, wanted: &MorePartitions, created: &mut u32) -> Result<Arc<Topic>, Refusal> {
        let (record, more) = topics::grow(&self.draft, self.policy, wanted, *created)?;
        *created += more;
        self.keep(record);
        let id = TopicRef::Name(wanted.topic.clone()).resolve(&self.draft)?.id;
        self.found(id)
    }

    fn alter(&mut self, target: &Target, changes: &Changes) -> Result<(), Refusal> {
        self.keep_all(alter::alter(&self.draft, target, changes)?);
        Ok(())
    }

    fn found(&self, id: TopicId) -> Result<Arc<Topic>, Refusal> {
        let topic = self.draft.topic_by_id(id).cloned();
        topic.ok_or_else(|| {
            Refusal::new(ErrorCode::UnknownTopicId, "This server does not host this topic ID.")
        })
    }
}

/// Random topic ids (UUID version 4) from a seed: two SplitMix64 streams.
#[derive(Debug)]
struct IdSource {
    state: [u64; 2],
}

impl IdSource {
    fn new(seed: [u8; 16]) -> Self {
        let (low, high) = seed.split_at(8);
        let word = |bytes: &[u8]| bytes.iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
        Self { state: [word(low), word(high)] }
    }

    /// An id that was never given out.
    fn next(&mut self, image: &Image) -> TopicId {
        loop {
            let mut id = [0; 16];
            for (half, state) in id.chunks_exact_mut(8).zip(&mut self.state) {
                *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
                let mut mixed = *state;
                mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
                half.copy_from_slice(&(mixed ^ mixed >> 31).to_be_bytes());
            }
            id[6] = id[6] & 0x0f | 0x40;
            id[8] = id[8] & 0x3f | 0x80;
            // A tool that takes the id on its command line mistakes a leading '-' (in base64: 0b111110) for an option.
            if id[0] >> 2 != 0b11_1110 && !image.knows(TopicId(id)) {
                return TopicId(id);
            }
        }
    }
}
