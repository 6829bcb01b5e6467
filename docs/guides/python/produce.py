"""Produces records: produce.py TOPIC KEY=VALUE..."""

import os
import sys

from confluent_kafka import KafkaError, Message, Producer


def main() -> None:
    if len(sys.argv) < 3 or not all("=" in pair for pair in sys.argv[2:]):
        sys.exit(__doc__)
    topic, pairs = sys.argv[1], sys.argv[2:]
    failed: list[KafkaError] = []

    def delivered(error: KafkaError | None, record: Message) -> None:
        if error:
            failed.append(error)
            return
        print(f"{record.key().decode()}={record.value().decode()} -> partition {record.partition()}, offset {record.offset()}")

    producer = Producer({
        "bootstrap.servers": os.environ.get("BOOTSTRAP_SERVERS", "127.0.0.1:9092"),
        "enable.idempotence": True,  # acks=all, and a retry neither repeats nor reorders
        "partitioner": "murmur2_random",  # a key goes where the clients of other languages put it
    })
    for pair in pairs:
        key, _, value = pair.partition("=")
        producer.produce(topic, key=key, value=value, on_delivery=delivered)
        producer.poll(0)  # calls `delivered` for what has been answered meanwhile
    producer.flush()  # returns when every record is stored, or has failed for good
    if failed:
        sys.exit(f"{len(failed)} records were not stored: {failed[0].str()}")


if __name__ == "__main__":
    main()
