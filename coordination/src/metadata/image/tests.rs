//! What records make of an image.

use std::cell::Cell;

use super::*;
use crate::effects::Effects;
use crate::machine::Machine;
use crate::metadata::alter::{Changes, Target};
use crate::metadata::configs::ConfigChange;
use crate::metadata::machine::{Command, Input, Metadata};
use crate::metadata::topics::Policy;
use model::{BrokerId, Tick};

thread_local! {
    /// How often all topics were looked through, in this test.
    pub(super) static RESOLVED: Cell<u32> = const { Cell::new(0) };
}

fn resolved() -> u32 {
    RESOLVED.with(Cell::take)
}

fn created(byte: u8, name: &str) -> Record {
    Record::TopicCreated {
        id: TopicId([byte; 16]),
        name: name.into(),
        partitions: 3,
        configs: Overrides::new(),
    }
}

fn changed(resource: Resource, key: &str, value: Option<&str>) -> Record {
    Record::ConfigChanged { resource, key: key.into(), value: value.map(str::to_owned) }
}

#[test]
fn a_default_of_the_broker_reaches_topics_that_do_not_say() {
    let mut image = Image::default();
    image.apply(1, &created(1, "a"));
    image.apply(2, &created(2, "b"));
    image.apply(3, &changed(Resource::Topic(TopicId([2; 16])), "retention.ms", Some("5")));
    let told = |image: &Image| ["a", "b"].map(|name| image.topic(name).unwrap().settings.retention_ms);
    let b = Arc::clone(image.topic("b").unwrap());
    image.apply(4, &changed(Resource::Brokers, "log.retention.ms", Some("100")));
    assert_eq!(told(&image), [Some(100), Some(5)]);
    image.apply(5, &changed(Resource::Broker(BrokerId(0)), "log.retention.ms", Some("200")));
    image.apply(6, &changed(Resource::Broker(BrokerId(9)), "log.retention.ms", Some("300")));
    assert_eq!(told(&image), [Some(200), Some(5)]);
    assert!(Arc::ptr_eq(&b, image.topic("b").unwrap()), "what says itself is not touched");
    assert_eq!(image.partitions(), 6);
    image.apply(7, &changed(Resource::Broker(BrokerId(0)), "log.retention.ms", None));
    image.apply(8, &changed(Resource::Brokers, "log.retention.ms", None));
    assert_eq!(told(&image), [Some(604_800_000), Some(5)]);
    image.apply(9, &changed(Resource::Broker(BrokerId(9)), "log.retention.ms", None));
    assert_eq!(image.altered_bytes(), 0);
    image.apply(10, &changed(Resource::Brokers, "max.connections", Some("7")));
    assert_eq!((image.settings().connections_max, image.settings().connections_per_ip_max), (7, u32::MAX));
    assert_eq!(image.altered_bytes(), SETTING_BYTES + "max.connections7".len());
}

#[test]
fn defaults_that_change_together_reach_topics_once_and_mean_the_same() {
    let default = |key, value| changed(Resource::Brokers, key, value);
    let records = [
        created(1, "a"),
        default("log.retention.ms", Some("100")),
        default("log.segment.bytes", Some("1048576")),
        created(2, "b"),
        changed(Resource::Topic(TopicId([2; 16])), "retention.ms", Some("5")),
        default("message.max.bytes", Some("2000")),
        created(3, "c"),
        default("log.retention.ms", None),
        Record::TopicDeleted { id: TopicId([1; 16]) },
        default("log.segment.bytes", None),
        default("message.max.bytes", None),
    ];
    for count in 0..=records.len() {
        let records = &records[..count];
        let mut one_by_one = Image::default();
        (1..).zip(records).for_each(|(index, record)| one_by_one.apply(index, record));
        resolved();
        let mut at_once = Image::default();
        at_once.apply_all((1..).zip(records));
        assert_eq!(at_once, one_by_one, "{count}");
        assert_eq!(resolved(), u32::from(count > 1), "{count}");
    }
}

#[test]
fn a_command_that_changes_many_defaults_has_topics_looked_through_once() {
    let policy = Policy { node: BrokerId(1), partitions_default: 1 };
    let machine = || Metadata::new(policy, Overrides::new(), [1; 16]);
    let set = |(key, value): (&str, &str)| (key.to_owned(), ConfigChange::Set(value.to_owned()));
    let keys = [("log.retention.ms", "100"), ("log.segment.bytes", "1048576"), ("message.max.bytes", "2000")];
    let resources = vec![(Target::Brokers, Changes::Some(keys.map(set).to_vec()))];
    let mut altered = machine();
    let mut effects = Effects::new();
    let command = Command::AlterConfigs { resources, validate_only: false };
    altered.step(Tick(0), Input::Propose(1, command), &mut effects);
    assert_eq!(resolved(), 1, "in the draft");
    altered.step(Tick(0), Input::Durable, &mut effects);
    assert_eq!(resolved(), 1);
    assert_eq!(altered.image().applied(), 3);
    let mut restarted = machine();
    restarted.replay(altered.image().to_records().iter().map(|record| (3, record)));
    assert_eq!((resolved(), restarted.image()), (1, altered.image()));
}

#[test]
fn a_snapshot_rebuilds_the_image() {
    let id = TopicId([1; 16]);
    let resource = Resource::Topic(id);
    let records = [
        Record::Boot { boot: 1 },
        created(1, "a"),
        created(2, "b"),
        Record::PartitionsAdded { id, partitions: 9 },
        changed(resource, "retention.ms", Some("5")),
        Record::TopicDeleted { id: TopicId([2; 16]) },
        Record::ProducerIdsReserved { up_to: 2000 },
        Record::Boot { boot: 2 },
        changed(Resource::Brokers, "log.segment.bytes", Some("1048576")),
        changed(Resource::Broker(BrokerId(0)), "log.retention.ms", Some("9")),
        changed(Resource::Group("g".into()), "share.isolation.level", Some("read_committed")),
        changed(Resource::ClientMetrics("s".into()), "interval.ms", Some("1000")),
        Record::FeatureLevelChanged { name: "f".into(), level: 1 },
    ];
    let mut image = Image::default();
    for (index, record) in (1..).zip(&records) {
        image.apply(index, record);
    }
    assert_eq!(image.leader_epoch(), LeaderEpoch(2));
    assert_eq!(image.partitions(), 9);
    assert!(image.topic("b").is_none() && image.knows(TopicId([2; 16])));
    let topic = image.topic("a").unwrap();
    assert_eq!(topic.settings.retention_ms, Some(5));
    assert!(topic.partition(8).is_some() && topic.partition(9).is_none() && topic.partition(-1).is_none());

    let mut rebuilt = Image::default();
    for record in image.to_records() {
        rebuilt.apply(image.applied(), &record);
    }
    assert_eq!(rebuilt, image);
}

#[test]
fn records_without_a_subject_change_nothing() {
    let mut image = Image::default();
    image.apply(1, &Record::PartitionsAdded { id: TopicId([7; 16]), partitions: 9 });
    image.apply(2, &Record::TopicFilesRemoved { id: TopicId([7; 16]) });
    assert_eq!(image.topics().len(), 0);
    assert_eq!(image.applied(), 2);
}
