"""Consumes in a group: consume.py TOPIC GROUP [COUNT]. Ends after COUNT records, or with Ctrl-C."""

import math
import os
import signal
import sys

from confluent_kafka import Consumer, KafkaException


def consume(consumer: Consumer, topic: str, count: float) -> None:
    consumer.subscribe([topic])
    while count > 0:
        record = consumer.poll(1.0)
        if record is None:
            continue
        if error := record.error():
            raise KafkaException(error)
        key = record.key().decode() if record.key() else ""
        print(f"partition {record.partition()}, offset {record.offset()}: {key}={record.value().decode()}")
        consumer.store_offsets(record)  # the work is done: the next commit may pass this record
        count -= 1


def main() -> None:
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    consumer = Consumer({
        "bootstrap.servers": os.environ.get("BOOTSTRAP_SERVERS", "127.0.0.1:9092"),
        "group.id": sys.argv[2],
        "auto.offset.reset": "earliest",  # where a group begins that has committed nothing
        "enable.auto.offset.store": False,  # only what was stored above is committed, every five seconds
    })
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, lambda *_: sys.exit())
    try:
        consume(consumer, sys.argv[1], int(sys.argv[3]) if len(sys.argv) == 4 else math.inf)
    finally:
        consumer.close()  # commits what was stored and leaves the group: others take over at once


if __name__ == "__main__":
    main()
