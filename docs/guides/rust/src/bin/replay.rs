//! Reads again from a time: replay TOPIC TIME, for example replay orders 2026-11-22T10:00:00Z

use std::collections::BTreeSet;
use std::env;
use std::error::Error;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};

const ANSWER_BOUND: Duration = Duration::from_secs(30);

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let (Some(topic), Some(since)) = (arguments.next(), arguments.next()) else {
        return Err("usage: replay TOPIC TIME".into());
    };
    let time_ms = DateTime::parse_from_rfc3339(&since)?.timestamp_millis();
    let bootstrap = env::var("BOOTSTRAP_SERVERS").unwrap_or_else(|_| "127.0.0.1:9092".into());
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        // The client wants a name; who assigns partitions joins no group.
        .set("group.id", "replay")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .create()?;
    let starts = starts(&consumer, &topic, time_ms)?;
    consumer.assign(&starts)?;
    let mut left: BTreeSet<i32> = starts.elements().iter().map(|start| start.partition()).collect();
    let mut count = 0;
    while !left.is_empty() {
        match consumer.poll(Duration::from_secs(1)) {
            None => {}
            Some(Ok(record)) => {
                let time = record
                    .timestamp()
                    .to_millis()
                    .and_then(DateTime::from_timestamp_millis)
                    .unwrap_or_default();
                let time = time.to_rfc3339_opts(SecondsFormat::Millis, true);
                let key = record.key_view::<str>().transpose()?.unwrap_or_default();
                let value = record.payload_view::<str>().transpose()?.unwrap_or_default();
                let (partition, offset) = (record.partition(), record.offset());
                println!("{time} partition {partition}, offset {offset}: {key}={value}");
                count += 1;
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                left.remove(&partition);
            }
            Some(Err(error)) => return Err(error.into()),
        }
    }
    println!("{count} records since {since}");
    Ok(())
}

/// The first offset of each partition whose record is not older than `time_ms`; the end where there is none.
fn starts(consumer: &BaseConsumer, topic: &str, time_ms: i64) -> Result<TopicPartitionList, Box<dyn Error>> {
    let described = consumer.fetch_metadata(Some(topic), ANSWER_BOUND)?;
    let partitions = described.topics().first().map_or(&[][..], |topic| topic.partitions());
    if partitions.is_empty() {
        return Err(format!("there is no topic {topic}").into());
    }
    let mut asked = TopicPartitionList::new();
    for partition in partitions {
        asked.add_partition_offset(topic, partition.id(), Offset::Offset(time_ms))?;
    }
    let found = consumer.offsets_for_times(asked, ANSWER_BOUND)?;
    for start in found.elements() {
        start.error()?;
    }
    Ok(found)
}
