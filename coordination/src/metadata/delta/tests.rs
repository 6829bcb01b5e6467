//! Records and their bytes.

use super::*;

fn changed(resource: Resource) -> Record {
    Record::ConfigChanged { resource, key: "a".into(), value: Some("b".into()) }
}

fn samples() -> Vec<Record> {
    let id = TopicId([9; 16]);
    let configs = Overrides::from([("retention.ms".to_owned(), "-1".to_owned())]);
    vec![
        Record::Boot { boot: 3 },
        Record::TopicCreated { id, name: "größe".into(), partitions: 6, configs },
        Record::PartitionsAdded { id, partitions: 12 },
        Record::ConfigChanged { resource: Resource::Topic(id), key: "a".into(), value: None },
        Record::ConfigChanged { resource: Resource::Topic(id), key: "a".into(), value: Some("b".into()) },
        Record::TopicDeleted { id },
        Record::TopicFilesRemoved { id },
        Record::ProducerIdsReserved { up_to: 1000 },
        changed(Resource::Broker(BrokerId(7))),
        changed(Resource::Brokers),
        changed(Resource::Group("g".into())),
        Record::FeatureLevelChanged { name: "f".into(), level: 2 },
        changed(Resource::ClientMetrics("s".into())),
    ]
}

#[test]
fn records_survive_their_bytes() {
    for record in samples() {
        let bytes = record.encode();
        assert_eq!(Record::decode(bytes.kind, bytes.version, &bytes.payload), Ok(record));
    }
}

#[test]
fn a_state_survives_its_bytes() {
    let bytes = encode_state(&samples());
    assert_eq!(decode_state(&bytes), Ok(samples()));
    assert_eq!(decode_state(&[]), Ok(vec![]));
    for len in 1..8 {
        assert!(decode_state(&bytes[..bytes.len() - len]).is_err());
    }
}

#[test]
fn golden_bytes() {
    let topic = &samples()[1];
    let hex: String = topic.encode().payload.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(
        hex,
        "0909090909090909090909090909090906000000\
         0700\
         6772c3b6c39f65\
         01000c00726574656e74696f6e2e6d7302002d31"
    );
    let change = &samples()[4];
    let hex: String = change.encode().payload.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, "020909090909090909090909090909090901006101010062");
    for (place, version, expected) in [
        (4, 0, None),
        (11, 0, Some("0100660200")),
        (12, 2, Some("1001007301006101010062")),
        (8, 1, Some("040700000001006101010062")),
        (9, 1, Some("0501006101010062")),
        (10, 1, Some("2001006701006101010062")),
    ] {
        let bytes = samples()[place].encode();
        let hex: String = bytes.payload.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(bytes.version, version, "older programs read what they know");
        assert!(expected.is_none_or(|expected| hex == expected), "{hex}");
    }
}

#[test]
fn cut_long_and_newer_bytes_are_errors() {
    for record in samples() {
        let bytes = record.encode();
        for len in 0..bytes.payload.len() {
            assert!(
                Record::decode(bytes.kind, bytes.version, &bytes.payload[..len]).is_err(),
                "{record:?} cut at {len}"
            );
        }
        let mut longer = bytes.payload.clone();
        longer.push(0);
        assert!(Record::decode(bytes.kind, bytes.version, &longer).is_err());
        assert_eq!(Record::decode(bytes.kind, 3, &bytes.payload), Err(RecordError::Unknown(bytes.kind, 3)));
        assert!(bytes.version == 0 || Record::decode(bytes.kind, 0, &bytes.payload).is_err());
    }
    assert_eq!(Record::decode(15, 0, &[]), Err(RecordError::Unknown(15, 0)));
}
