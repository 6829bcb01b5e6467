//! A compacted topic through the real binary: the last of each key stays, at its offset, whatever ends the process.

use std::collections::BTreeMap;
use std::io::Write;
use std::thread;
use std::time::{Duration, Instant};

use model::TimestampMs;
use model::batch::{BatchBuilder, Compression, RecordBatch};
use protocol::control::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use protocol::control::messages::{CreateTopicsRequest, CreateTopicsResponse};
use protocol::message;

use super::harness::{Broker, Client, Scratch, TOPIC};

const INVALID_RECORD: i16 = 87;
/// Nothing here takes so long.
const PATIENCE: Duration = Duration::from_secs(60);
/// `delete.retention.ms` where tombstones are waited for.
const TOMBSTONES_STAY: Duration = Duration::from_millis(1000);

/// Offset and value by key; no value is a tombstone.
type Contents = BTreeMap<Vec<u8>, (i64, Option<Vec<u8>>)>;

fn start(scratch: &Scratch) -> (Broker, Client) {
    let broker = Broker::start(&scratch.data_dir(), &["--set", "log.cleaner.backoff.ms=20"]);
    let client = Client::connect(&broker.ready);
    (broker, client)
}

fn create(client: &mut Client) {
    let config = |name: &str, value: &str| {
        message!(CreatableTopicConfig { name: name.into(), value: Some(value.into()) })
    };
    let configs = vec![
        config("cleanup.policy", "compact"),
        config("internal.segment.bytes", "20000"),
        config("min.cleanable.dirty.ratio", "0.01"),
        config("delete.retention.ms", &TOMBSTONES_STAY.as_millis().to_string()),
    ];
    let topic = message!(CreatableTopic {
        name: TOPIC.into(),
        num_partitions: 1,
        replication_factor: 1,
        configs: configs,
    });
    let request = message!(CreateTopicsRequest { topics: vec![topic], timeout_ms: 60_000 });
    let response: CreateTopicsResponse = client.ask(7, &request);
    assert_eq!(response.topics[0].error_code, 0, "{:?}", response.topics[0].error_message);
}

/// Appends `count` batches of one record, with ten keys; what the last of each key is then.
fn fill(client: &mut Client, count: usize, contents: &mut Contents) {
    for n in 0..count {
        let key = format!("key {}", n % 10).into_bytes();
        let value = format!("{n} ").repeat(200).into_bytes();
        let offset = put(client, &key, Some(&value));
        contents.insert(key, (offset, Some(value)));
    }
}

/// Appends one record; its offset.
fn put(client: &mut Client, key: &[u8], value: Option<&[u8]>) -> i64 {
    let batch = BatchBuilder::new().record(TimestampMs(1), Some(key), value).build();
    let (code, offset) = client.produce_batch(&batch).unwrap();
    assert_eq!(code, 0);
    offset
}

/// Waits until a broker that was just started has compacted something.
fn wait_until_compacted(broker: &Broker) {
    let metric = |name: &str| broker.metric(&format!("millrace_{name}_total{{core=\"0\"}}"));
    let begun = Instant::now();
    while metric("compaction_written_bytes") == 0 {
        assert!(begun.elapsed() < PATIENCE, "nothing is compacted");
        thread::sleep(Duration::from_millis(20));
    }
    assert!(metric("compaction_read_bytes") > 0);
    assert_eq!(metric("compaction_errors"), 0);
}

/// Ends the process as by `kill -9`, and starts another: what was in memory is read from segments then.
fn restart(mut broker: Broker, scratch: &Scratch) -> (Broker, Client) {
    broker.process.kill().unwrap();
    broker.process.wait().unwrap();
    start(scratch)
}

/// How many records there are, and the last of each key.
fn read(client: &mut Client) -> (usize, Contents) {
    let (mut count, mut contents) = (0, Contents::new());
    let (mut at, end) = (0, client.end_offset());
    while at < end {
        let bytes = client.fetch(at);
        for batch in RecordBatch::all_in(&bytes) {
            let Ok(batch) = batch else { break };
            batch.check_crc().unwrap();
            for record in batch.records() {
                let record = record.unwrap();
                let offset = record.offset(&batch).0;
                contents.insert(record.key.unwrap().to_vec(), (offset, record.value.map(<[u8]>::to_vec)));
                count += 1;
            }
            at = batch.last_offset().0 + 1;
        }
    }
    (count, contents)
}

/// Waits until fewer records than that are left; all that must be there is.
fn wait_until_small(client: &mut Client, most: usize, expected: &Contents) {
    let begun = Instant::now();
    loop {
        let (count, found) = read(client);
        assert_eq!(&found, expected);
        if count < most {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{count} records are left");
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn the_last_of_each_key_stays_through_every_end_of_the_process() {
    let scratch = Scratch::new();
    let (mut broker, mut client) = start(&scratch);
    create(&mut client);
    assert_eq!(client.produce_code(b"without a key"), INVALID_RECORD);
    let keyless = BatchBuilder::new().record(TimestampMs(1), Some(b"k"), None).value(TimestampMs(1), b"v");
    let packed = keyless.build_compressed(Compression::Gzip, |records| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(records).unwrap();
        encoder.finish().unwrap()
    });
    assert_eq!(client.produce_batch(&packed).unwrap().0, INVALID_RECORD);
    assert_eq!(client.end_offset(), 0);
    let mut expected = Contents::new();
    for round in 0..4 {
        fill(&mut client, 200, &mut expected);
        wait_until_compacted(&broker);
        if round % 2 == 0 {
            (broker, client) = restart(broker, &scratch);
        } else {
            broker.signal(libc::SIGTERM);
            assert_eq!(broker.end().0, Some(0));
            (broker, client) = start(&scratch);
        }
        wait_until_small(&mut client, 100, &expected);
    }
    assert_eq!(client.end_offset(), 800, "offsets never change");
}

#[test]
fn a_tombstone_stays_for_its_time_and_goes_then() {
    let scratch = Scratch::new();
    let (broker, mut client) = start(&scratch);
    create(&mut client);
    assert_eq!(put(&mut client, b"gone", Some(b"v")), 0);
    let begun = Instant::now();
    assert_eq!(put(&mut client, b"gone", None), 1);
    let mut expected = Contents::from([(b"gone".to_vec(), (1, None))]);
    // One segment is sealed, and not a second one: nothing is compacted twice.
    fill(&mut client, 40, &mut expected);
    wait_until_compacted(&broker);
    let (broker, mut client) = restart(broker, &scratch);
    // Ten keys, the tombstone, and what the active segment has.
    wait_until_small(&mut client, 30, &expected);
    thread::sleep(TOMBSTONES_STAY);
    fill(&mut client, 60, &mut expected);
    wait_until_compacted(&broker);
    let (broker, mut client) = restart(broker, &scratch);
    while read(&mut client).1.contains_key(&b"gone"[..]) {
        assert!(begun.elapsed() < PATIENCE, "the tombstone stays");
        thread::sleep(Duration::from_millis(50));
    }
    assert!(begun.elapsed() >= TOMBSTONES_STAY);
    expected.remove(&b"gone"[..]);
    assert_eq!(read(&mut client).1, expected);
    broker.signal(libc::SIGTERM);
    assert_eq!(broker.end().0, Some(0));
}
