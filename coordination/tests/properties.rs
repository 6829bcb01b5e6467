//! Random runs against simple models.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use coordination::effects::Effects;
use coordination::epochs::{EpochStart, Epochs};
use coordination::machine::Machine;
use coordination::metadata::alter::{Changes, Target};
use coordination::metadata::configs::ConfigChange;
use coordination::metadata::{
    BrokerConfig, Command, Effect, Image, Input, Metadata, NewTopic, Outcome, Overrides, Policy, Record,
    TopicRef,
};
use coordination::producers::{BatchFacts, Producers, Verdict};
use model::{BrokerId, LeaderEpoch, Offset, ProducerEpoch, ProducerId, Tick, TimestampMs};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Create(u8, i32),
    Delete(u8),
    Ids,
    /// Of which resource, and the value; 0 is the default.
    Configure(u8, u8),
    Durable,
    Fail,
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0..6_u8, -1..4_i32).prop_map(|(name, count)| Step::Create(name, count)),
        2 => (0..6_u8).prop_map(Step::Delete),
        1 => Just(Step::Ids),
        3 => (0..4_u8, 0..4_u8).prop_map(|(resource, value)| Step::Configure(resource, value)),
        4 => Just(Step::Durable),
        1 => Just(Step::Fail),
        1 => Just(Step::Restart),
    ];
    proptest::collection::vec(step, 1..60)
}

fn machine() -> Metadata {
    let policy = Policy { node: BrokerId(1), partitions_default: 1 };
    Metadata::new(policy, Overrides::new(), [3; 16])
}

fn configure(resource: u8, value: u8) -> Command {
    let (target, key) = match resource {
        0 => (Target::Topic("t1".into()), "retention.ms"),
        1 => (Target::Broker(BrokerId(1)), "log.retention.ms"),
        2 => (Target::Brokers, "log.retention.ms"),
        _ => (Target::Group("g".into()), "share.partition.max.record.locks"),
    };
    let change = match value {
        0 => ConfigChange::Delete,
        value => ConfigChange::Set((1000 + u32::from(value)).to_string()),
    };
    let changes = Changes::Some(vec![(key.into(), change)]);
    Command::AlterConfigs { resources: vec![(target, changes)], validate_only: false }
}

/// The log a driver keeps: what is durable, and what was appended since.
#[derive(Default)]
struct Log {
    durable: Vec<Record>,
    in_flight: Vec<Record>,
    reserved: Vec<i64>,
}

impl Log {
    fn take(&mut self, effects: &mut Effects<Effect>) {
        for effect in effects.drain() {
            match effect {
                Effect::Append(first, records) => {
                    assert!(self.in_flight.is_empty(), "two groups in flight");
                    assert_eq!(first, self.durable.len() as u64 + 1);
                    self.in_flight = records;
                }
                Effect::Publish(image) => assert_eq!(image.applied(), self.durable.len() as u64),
                Effect::Reply(_, Outcome::ProducerIds(first)) => self.reserved.push(first),
                Effect::Reply(..) => {}
            }
        }
    }
}

proptest! {
    #[test]
    fn the_image_is_exactly_the_durable_log(steps in steps()) {
        let mut log = Log::default();
        let mut machine = machine();
        let mut effects = Effects::new();
        for (ticket, step) in (0..).zip(steps) {
            let input = match step {
                Step::Create(name, partitions) => Input::Propose(ticket, Command::CreateTopics {
                    topics: vec![NewTopic { partitions, ..NewTopic::new(format!("t{name}")) }],
                    validate_only: false,
                }),
                Step::Delete(name) =>
                    Input::Propose(ticket, Command::DeleteTopics(vec![TopicRef::Name(format!("t{name}"))])),
                Step::Ids => Input::Propose(ticket, Command::ReserveProducerIds),
                Step::Configure(resource, value) => Input::Propose(ticket, configure(resource, value)),
                Step::Durable => {
                    let landed = std::mem::take(&mut log.in_flight);
                    log.durable.extend(landed);
                    Input::Durable
                }
                Step::Fail => {
                    log.in_flight.clear();
                    Input::AppendFailed("full".into())
                }
                Step::Restart => {
                    log.in_flight.clear();
                    machine = self::machine();
                    machine.replay((1..).zip(&log.durable));
                    continue;
                }
            };
            machine.step(Tick(0), input, &mut effects);
            log.take(&mut effects);
            let mut replayed = Image::new(BrokerConfig::new(BrokerId(1), Overrides::new()));
            for (index, record) in (1..).zip(&log.durable) {
                replayed.apply(index, record);
            }
            prop_assert_eq!(&**machine.image(), &replayed);
            let sum: u64 = replayed.topics().map(|topic| u64::from(topic.partitions)).sum();
            prop_assert_eq!(replayed.partitions(), sum);
            // A snapshot says the same.
            let mut rebuilt = Image::new(BrokerConfig::new(BrokerId(1), Overrides::new()));
            for record in replayed.to_records() {
                rebuilt.apply(replayed.applied(), &record);
            }
            prop_assert_eq!(rebuilt, replayed);
        }
        // No block of producer ids is given out twice, restarts and failures included.
        let mut blocks = log.reserved.clone();
        blocks.dedup();
        prop_assert!(blocks.len() == log.reserved.len() && blocks.is_sorted());
    }

    #[test]
    fn a_record_is_read_back_or_refused_and_never_panics(kind in 0..40_u16, version in 0..2_u16,
                                                       payload in proptest::collection::vec(any::<u8>(), 0..80)) {
        if let Ok(record) = Record::decode(kind, version, &payload) {
            let bytes = record.encode();
            prop_assert_eq!(Record::decode(bytes.kind, bytes.version, &bytes.payload), Ok(record));
        }
    }

    /// A client that resends until answered: whatever is lost or repeated, the log holds each batch once and in order.
    #[test]
    fn resending_neither_repeats_nor_skips(sends in proptest::collection::vec((0..6_usize, 1..5_i32), 1..80)) {
        let mut producers = Producers::new();
        let mut sent: Vec<BatchFacts> = Vec::new();
        let (mut end, mut next) = (0_i64, 0_i32);
        for (back, count) in sends {
            // `back` batches ago again, or a fresh one.
            let batch = match sent.len().checked_sub(back) {
                Some(at) if back > 0 => sent[at],
                _ => BatchFacts {
                    producer: ProducerId(1), epoch: ProducerEpoch(0), first_sequence: next,
                    last_sequence: next + count - 1, max_timestamp: TimestampMs(0),
                },
            };
            let fresh = batch.first_sequence == next;
            match producers.check(&batch) {
                Verdict::Append => {
                    prop_assert!(fresh);
                    let last = end + i64::from(batch.last_sequence - batch.first_sequence);
                    producers.appended(&batch, Offset(end), Offset(last));
                    end = last + 1;
                    next = batch.last_sequence + 1;
                    sent.push(batch);
                }
                Verdict::Duplicate(original) => {
                    prop_assert!(!fresh);
                    prop_assert_eq!(original.base_offset, Offset(i64::from(batch.first_sequence)));
                }
                Verdict::Refuse(..) => prop_assert!(!fresh),
            }
            prop_assert_eq!(end, i64::from(next), "offsets and sequences run together");
        }
    }

    #[test]
    fn epochs_answer_like_a_list_of_every_record(
        runs in proptest::collection::vec((1..3_i32, 1..5_i64), 1..8), requested in -1..20_i32, cut in 0..30_i64,
    ) {
        // The model: the epoch of each record, one by one.
        let mut records: Vec<i32> = Vec::new();
        let mut epochs = Epochs::new();
        let mut epoch = 0;
        for (rise, count) in runs {
            epoch += rise;
            epochs.assign(LeaderEpoch(epoch), Offset(records.len() as i64));
            records.extend((0..count).map(|_| epoch));
        }
        let cut = usize::try_from(cut).unwrap().min(records.len());
        records.truncate(cut);
        epochs.truncate_to(Offset(cut as i64));
        for (offset, epoch) in records.iter().enumerate() {
            prop_assert_eq!(epochs.epoch_at(Offset(offset as i64)), LeaderEpoch(*epoch));
        }
        let newest = records.last().copied().unwrap_or(-1);
        let expected = if requested == -1 || requested > newest {
            (-1, -1)
        } else {
            let end = records.iter().filter(|epoch| **epoch <= requested).count();
            let floor = records[..end].last().copied().unwrap_or(requested);
            (floor, end as i64)
        };
        let (epoch, end) = epochs.end_offset_for(LeaderEpoch(requested), Offset(cut as i64));
        prop_assert_eq!((epoch.0, end.0), expected);
        let starts: Vec<EpochStart> = epochs.starts().to_vec();
        prop_assert_eq!(Epochs::from_starts(starts), epochs);
    }
}
