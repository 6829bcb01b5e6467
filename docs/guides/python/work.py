"""Takes jobs from a queue in a share group: work.py TOPIC GROUP [COUNT]. Ends when COUNT jobs are settled, or with Ctrl-C."""

import math
import os
import signal
import sys

from confluent_kafka import AcknowledgeType, KafkaException, Message, ShareConsumer
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

DELIVERIES_MAX = 3
"""A job that failed so often is given up."""

SAID = {AcknowledgeType.ACCEPT: "done", AcknowledgeType.RELEASE: "failed, to be tried again",
        AcknowledgeType.REJECT: "failed, given up"}


def work(consumer: ShareConsumer, topic: str, count: float) -> None:
    consumer.subscribe([topic])
    while count > 0:
        for job in consumer.poll(1.0):  # all of these have to be settled before the next poll
            if error := job.error():
                raise KafkaException(error)
            outcome = attempt(job)
            consumer.acknowledge(job, outcome)
            count -= outcome != AcknowledgeType.RELEASE
        # The next poll would say it too, but would not tell what came too late: another may be at that job by now.
        for place, error in consumer.commit_sync().items():
            if error:
                print(f"partition {place.partition}: {error}", file=sys.stderr)


def attempt(job: Message) -> AcknowledgeType:
    """Does a job. What cannot be done stands for work that fails."""
    key, value, delivery = job.key().decode() if job.key() else "", job.value().decode(), job.delivery_count()
    outcome = AcknowledgeType.ACCEPT
    if value == "impossible":
        outcome = AcknowledgeType.RELEASE if delivery < DELIVERIES_MAX else AcknowledgeType.REJECT
    print(f"partition {job.partition()}, offset {job.offset()}, delivery {delivery}: {key}={value} {SAID[outcome]}")
    return outcome


def take_all_that_is_there(bootstrap: str, group: str) -> None:
    """A group begins with what comes after it. This one also takes what is there already; the broker keeps that for the group."""
    earliest = ConfigEntry("share.auto.offset.reset", "earliest", incremental_operation=AlterConfigOpType.SET)
    admin = AdminClient({"bootstrap.servers": bootstrap})  # to be kept until it has the answers
    altered = admin.incremental_alter_configs([ConfigResource(ResourceType.GROUP, group, incremental_configs=[earliest])])
    for future in altered.values():
        future.result()


def main() -> None:
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    bootstrap = os.environ.get("BOOTSTRAP_SERVERS", "127.0.0.1:9092")
    take_all_that_is_there(bootstrap, sys.argv[2])
    consumer = ShareConsumer({
        "bootstrap.servers": bootstrap,
        "group.id": sys.argv[2],
        "share.acknowledgement.mode": "explicit",  # each job is settled by itself
    })
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, lambda *_: sys.exit())
    try:
        work(consumer, sys.argv[1], int(sys.argv[3]) if len(sys.argv) == 4 else math.inf)
    finally:
        consumer.close()  # hands back what is not settled: others get it at once


if __name__ == "__main__":
    main()
