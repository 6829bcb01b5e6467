"""Reads again from a time: replay.py TOPIC TIME, for example replay.py orders 2026-11-22T10:00:00Z"""

import os
import sys
from datetime import datetime, timezone

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

ANSWER_BOUND_S = 30


def starts(consumer: Consumer, topic: str, since: datetime) -> list[TopicPartition]:
    """The first offset of each partition whose record is not older than `since`; the end where there is none."""
    described = consumer.list_topics(topic, timeout=ANSWER_BOUND_S).topics[topic]
    if described.error:
        raise KafkaException(described.error)
    time_ms = round(since.timestamp() * 1000)
    asked = [TopicPartition(topic, partition, time_ms) for partition in described.partitions]
    found = consumer.offsets_for_times(asked, timeout=ANSWER_BOUND_S)
    for place in found:
        if place.error:
            raise KafkaException(place.error)
    return found


def replay(consumer: Consumer, topic: str, since: datetime) -> int:
    """Prints every record from there to the end; returns how many."""
    places = starts(consumer, topic, since)
    consumer.assign(places)
    left = {place.partition for place in places}
    count = 0
    while left:
        record = consumer.poll(1.0)
        if record is None:
            continue
        if error := record.error():
            if error.code() != KafkaError._PARTITION_EOF:
                raise KafkaException(error)
            left.discard(record.partition())
            continue
        count += 1
        time = datetime.fromtimestamp(record.timestamp()[1] / 1000, timezone.utc)
        key = record.key().decode() if record.key() else ""
        shown = time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        print(f"{shown} partition {record.partition()}, offset {record.offset()}: {key}={record.value().decode()}")
    return count


def main() -> None:
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    topic, since = sys.argv[1:]
    consumer = Consumer({
        "bootstrap.servers": os.environ.get("BOOTSTRAP_SERVERS", "127.0.0.1:9092"),
        "group.id": "replay",  # the client wants a name; who assigns partitions joins no group
        "enable.auto.commit": False,
        "enable.partition.eof": True,
    })
    try:
        count = replay(consumer, topic, datetime.fromisoformat(since))
        print(f"{count} records since {since}")
    finally:
        consumer.close()


if __name__ == "__main__":
    main()
