"""Clients to be recorded: `clients.py BOOTSTRAP` lets confluent-kafka do a little of everything; `clients.py BOOTSTRAP topics` prints
the topics that are there."""

import sys

from confluent_kafka import Consumer, IsolationLevel, Producer, TopicCollection, TopicPartition
from confluent_kafka.admin import (AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions, NewTopic,
                                   OffsetSpec, ResourceType)

BOUND_S = 30
TOPICS = ["recorded", "recorded-too"]


def main(bootstrap: str) -> None:
    """The whole conversation."""
    common = {"bootstrap.servers": bootstrap, "log_level": 0}
    admin = AdminClient(common)
    for future in admin.create_topics([NewTopic(name, 2, 1, config={"retention.ms": "86400000"}) for name in TOPICS]).values():
        future.result(BOUND_S)
    produce(common)
    consume(common)
    administer(admin)


def print_topics(bootstrap: str) -> None:
    """A line for each."""
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    names = [name for name in admin.list_topics(timeout=BOUND_S).topics if not name.startswith("__")]
    for name, future in admin.describe_topics(TopicCollection(names)).items():
        print(f"topic {name} {future.result(BOUND_S).topic_id}")


def produce(common: dict) -> None:
    """Every codec, every acks, with and without idempotence."""
    for codec in ("none", "gzip", "snappy", "lz4", "zstd"):
        for acks, idempotent in ((0, False), (1, False), (-1, True)):
            client = Producer({**common, "compression.type": codec, "acks": acks, "enable.idempotence": idempotent, "linger.ms": 5})
            for n in range(12):
                client.produce(TOPICS[n % 2], value=b"value %d" % n * 3, key=b"key" if n % 3 else None, partition=n % 2,
                               headers=[("h", b"1"), ("h", None)] if n % 4 == 0 else None)
            client.flush(BOUND_S)


def consume(common: dict) -> None:
    """Groups: eager, cooperative, static; commits; times; isolation."""
    for strategy, more in (("range", {}), ("cooperative-sticky", {}), ("roundrobin", {"group.instance.id": "recorded-static"})):
        group = {**common, "group.id": f"recorded-{strategy}", "partition.assignment.strategy": strategy,
                 "auto.offset.reset": "earliest", "enable.auto.commit": False, "session.timeout.ms": 6000,
                 "heartbeat.interval.ms": 200, "fetch.wait.max.ms": 50}
        members = [Consumer({**group, **more}), Consumer({**group, **({"group.instance.id": "recorded-2"} if more else {})})]
        for member in members:
            member.subscribe(TOPICS)
        taken = 0
        for _ in range(600):
            taken += sum(len(member.consume(100, timeout=0.02)) for member in members)
            if taken >= 100 and all(member.assignment() for member in members):
                break
        for member in members:
            places = [place for place in member.position(member.assignment()) if place.offset >= 0]
            if places:
                member.commit(offsets=places, asynchronous=False)
            member.close()
    single = Consumer({**common, "group.id": "recorded-idle", "isolation.level": "read_uncommitted", "enable.auto.commit": False,
                       "auto.offset.reset": "earliest"})
    places = [TopicPartition(name, partition, 0) for name in TOPICS for partition in (0, 1)]
    single.assign(places)
    single.consume(50, timeout=2)
    single.commit(offsets=[TopicPartition(place.topic, place.partition, 5) for place in places], asynchronous=False)
    single.committed(places, timeout=BOUND_S)
    single.offsets_for_times([TopicPartition(place.topic, place.partition, 1) for place in places], timeout=BOUND_S)
    single.get_watermark_offsets(places[0], timeout=BOUND_S)
    single.close()


def administer(admin: AdminClient) -> None:
    """What the admin client can ask."""
    admin.list_topics(timeout=BOUND_S)
    admin.describe_cluster().result(BOUND_S)
    resource = ConfigResource(ResourceType.TOPIC, TOPICS[0], incremental_configs=[
        ConfigEntry("retention.ms", "90000000", incremental_operation=AlterConfigOpType.SET)])
    waits = [*admin.incremental_alter_configs([resource]).values(),
             *admin.describe_configs([ConfigResource(ResourceType.TOPIC, TOPICS[0]), ConfigResource(ResourceType.BROKER, "1")]).values(),
             *admin.create_topics([NewTopic("recorded-gone", 1, 1)]).values(), admin.list_consumer_groups(),
             *admin.describe_consumer_groups(["recorded-range", "recorded-idle"]).values(),
             *admin.list_offsets({TopicPartition(TOPICS[0], 0): OffsetSpec.latest(), TopicPartition(TOPICS[1], 0): OffsetSpec.max_timestamp()},
                                 isolation_level=IsolationLevel.READ_COMMITTED).values()]
    for future in waits:
        future.result(BOUND_S)
    waits = [*admin.create_partitions([NewPartitions("recorded-gone", 3)]).values(),
             *admin.delete_records([TopicPartition(TOPICS[0], 0, 3)]).values()]
    for future in waits:
        future.result(BOUND_S)
    for future in (*admin.delete_topics(["recorded-gone"]).values(), *admin.delete_consumer_groups(["recorded-range"]).values()):
        future.result(BOUND_S)


(print_topics if sys.argv[2:] == ["topics"] else main)(sys.argv[1])
