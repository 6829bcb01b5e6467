//! Consumes in a group: consume TOPIC GROUP [COUNT]. Ends after COUNT records, or with Ctrl-C.

use std::env;
use std::error::Error;

use rdkafka::consumer::{Consumer, StreamConsumer};
use rdkafka::error::KafkaError;
use rdkafka::{ClientConfig, Message};
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let (Some(topic), Some(group)) = (arguments.next(), arguments.next()) else {
        return Err("usage: consume TOPIC GROUP [COUNT]".into());
    };
    let count = arguments.next().map_or(Ok(u64::MAX), |count| count.parse())?;
    let bootstrap = env::var("BOOTSTRAP_SERVERS").unwrap_or_else(|_| "127.0.0.1:9092".into());
    let consumer: StreamConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", group)
        // Where a group begins that has committed nothing.
        .set("auto.offset.reset", "earliest")
        // Only what `store_offset_from_message` was told is committed, every five seconds and at the end.
        .set("enable.auto.offset.store", "false")
        .create()?;
    consumer.subscribe(&[&topic])?;

    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let mut taken = 0;
    while taken < count {
        let record = tokio::select! {
            record = consumer.recv() => record,
            _ = interrupt.recv() => break,
            _ = terminate.recv() => break,
        };
        match record {
            Ok(record) => {
                let key = record.key_view::<str>().transpose()?.unwrap_or_default();
                let value = record.payload_view::<str>().transpose()?.unwrap_or_default();
                println!("partition {}, offset {}: {key}={value}", record.partition(), record.offset());
                consumer.store_offset_from_message(&record)?; // the work is done
                taken += 1;
            }
            Err(fatal @ KafkaError::MessageConsumptionFatal(_)) => return Err(fatal.into()),
            Err(error) => eprintln!("{error}"), // a connection that broke, say: the client goes on by itself
        }
    }
    Ok(()) // dropped, the consumer commits what was stored and leaves the group: others take over at once
}
