//! Produces records: produce TOPIC KEY=VALUE...

use std::env;
use std::error::Error;

use rdkafka::ClientConfig;
use rdkafka::producer::{FutureProducer, FutureRecord};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let topic = arguments.next().ok_or("usage: produce TOPIC KEY=VALUE...")?;
    let bootstrap = env::var("BOOTSTRAP_SERVERS").unwrap_or_else(|_| "127.0.0.1:9092".into());
    let producer: FutureProducer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        // acks=all, and a retry neither repeats nor reorders.
        .set("enable.idempotence", "true")
        // A key goes where the clients of other languages put it.
        .set("partitioner", "murmur2_random")
        .create()?;

    let mut deliveries = Vec::new();
    for pair in arguments {
        let (key, value) = pair.split_once('=').ok_or("a record is KEY=VALUE")?;
        // Only queued here: batches leave in the background, in this order.
        let record = FutureRecord::to(&topic).key(key).payload(value);
        let delivery = producer.send_result(record).map_err(|(error, _)| error)?;
        deliveries.push((pair, delivery));
    }
    for (pair, delivery) in deliveries {
        let stored = delivery.await?.map_err(|(error, _)| error)?;
        println!("{pair} -> partition {}, offset {}", stored.partition, stored.offset);
    }
    Ok(())
}
