//! What records make of an image.

use super::*;
use model::BrokerId;

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
