//! Takes jobs from a queue in a consumer group: work TOPIC GROUP [COUNT]. A job that failed goes to the end of the queue as a new record.
//! Ends when COUNT jobs are settled, or with Ctrl-C.

use std::env;
use std::error::Error;
use std::str::from_utf8;

use rdkafka::consumer::{Consumer, StreamConsumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Header, Headers, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::util::Timeout;
use rdkafka::{ClientConfig, Message};
use tokio::signal::unix::{SignalKind, signal};

/// A job that failed so often is given up.
const DELIVERIES_MAX: u32 = 3;

/// The header that counts how often a job was handed out.
const DELIVERY: &str = "delivery";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let (Some(topic), Some(group)) = (arguments.next(), arguments.next()) else {
        return Err("usage: work TOPIC GROUP [COUNT]".into());
    };
    let count = arguments.next().map_or(Ok(u64::MAX), |count| count.parse())?;
    let bootstrap = env::var("BOOTSTRAP_SERVERS").unwrap_or_else(|_| "127.0.0.1:9092".into());
    let producer: FutureProducer = ClientConfig::new()
        .set("bootstrap.servers", &bootstrap)
        .set("enable.idempotence", "true")
        .set("partitioner", "murmur2_random")
        .create()?;
    let consumer: StreamConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", group)
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.offset.store", "false")
        .create()?;
    consumer.subscribe(&[&topic])?;

    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let mut settled = 0;
    while settled < count {
        let job = tokio::select! {
            job = consumer.recv() => job,
            _ = interrupt.recv() => break,
            _ = terminate.recv() => break,
        };
        match job {
            Ok(job) => {
                settled += u64::from(attempt(&producer, &job).await?);
                // Behind the new record: who dies in between does the job twice, and loses none.
                consumer.store_offset_from_message(&job)?;
            }
            Err(fatal @ KafkaError::MessageConsumptionFatal(_)) => return Err(fatal.into()),
            Err(error) => eprintln!("{error}"), // a connection that broke, say: the client goes on by itself
        }
    }
    Ok(()) // dropped, the consumer commits what was stored and leaves the group: others take over at once
}

/// Does a job. What cannot be done stands for work that fails. Returns whether it is settled.
async fn attempt(producer: &FutureProducer, job: &BorrowedMessage<'_>) -> Result<bool, Box<dyn Error>> {
    let key = job.key_view::<str>().transpose()?.unwrap_or_default();
    let value = job.payload_view::<str>().transpose()?.unwrap_or_default();
    let delivery = delivery(job);
    let settled = value != "impossible" || delivery >= DELIVERIES_MAX;
    if !settled {
        let next = (delivery + 1).to_string();
        let headers = OwnedHeaders::new().insert(Header { key: DELIVERY, value: Some(&next) });
        let record = FutureRecord::to(job.topic()).key(key).payload(value).headers(headers);
        // Resolves when it is stored, or has failed for good.
        producer.send(record, Timeout::Never).await.map_err(|(error, _)| error)?;
    }
    let said = match (value != "impossible", settled) {
        (true, _) => "done",
        (false, false) => "failed, to be tried again",
        (false, true) => "failed, given up",
    };
    println!("partition {}, offset {}, delivery {delivery}: {key}={value} {said}", job.partition(), job.offset());
    Ok(settled)
}

fn delivery(job: &BorrowedMessage<'_>) -> u32 {
    let headers = job.headers().into_iter().flat_map(|headers| headers.iter());
    let told = headers.filter(|header| header.key == DELIVERY);
    told.filter_map(|header| from_utf8(header.value?).ok()?.parse().ok()).last().unwrap_or(1)
}
