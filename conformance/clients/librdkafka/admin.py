"""librdkafka's admin client: topics, partitions, settings, records, the cluster."""

from confluent_kafka import TopicPartition
from confluent_kafka.admin import (AlterConfigOpType, ConfigEntry, ConfigResource, ConfigSource, NewPartitions, NewTopic,
                                   ResourceType)

from harness.check import Context, check, equal, eventually, that

from .common import (ANSWER_BOUND_S, Deliveries, admin_client, answer, await_served, create_topic, error_of, flush, offsets, producer,
                     read_all, send, values)


def topic_config(ctx: Context, topic: str) -> dict[str, ConfigEntry]:
    """DescribeConfigs of a topic."""
    resource = ConfigResource(ResourceType.TOPIC, topic)
    return answer(admin_client(ctx).describe_configs([resource])[resource])


def alter(ctx: Context, topic: str, operation: AlterConfigOpType, **settings: str | None):
    """The future of an IncrementalAlterConfigs with one operation per setting."""
    entries = [ConfigEntry(key.replace("_", "."), value, incremental_operation=operation)
               for key, value in settings.items()]
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=entries)
    return admin_client(ctx).incremental_alter_configs([resource])[resource]


def partition_count(ctx: Context, topic: str) -> int | None:
    """Partitions by Metadata; None when there is no such topic."""
    found = admin_client(ctx).list_topics(timeout=ANSWER_BOUND_S).topics.get(topic)
    return len(found.partitions) if found else None


def counts_become(ctx: Context, names: list[str], expected: list[int | None], what: str) -> None:
    """Waits until Metadata shows these numbers of partitions."""
    eventually(lambda: equal([partition_count(ctx, name) for name in names], expected, what))


def settings_become(ctx: Context, topic: str, expected: dict[str, str], defaults: list[str]) -> None:
    """Waits until DescribeConfigs shows these values, those in `defaults` as nobody's choice."""

    def become() -> None:
        found = topic_config(ctx, topic)
        equal({key: found[key].value for key in expected}, expected, "settings")
        equal([key for key in expected if found[key].is_default], defaults, "settings that are defaults")

    eventually(become)


@check("librdkafka")
def create_list_delete(ctx: Context) -> None:
    admin = admin_client(ctx)
    names = [ctx.name("a"), ctx.name("b.c_d"), ctx.name("c")]
    created = admin.create_topics([NewTopic(name, num_partitions=n + 1, replication_factor=1)
                                   for n, name in enumerate(names)])
    for name in names:
        answer(created[name])
    counts_become(ctx, names, [1, 2, 3], "partitions")
    metadata = admin.list_topics(timeout=ANSWER_BOUND_S)
    for partition in metadata.topics[names[2]].partitions.values():
        equal(partition.error, None, "partition error")
        that(partition.leader in metadata.brokers, f"leader {partition.leader} is no broker")
        equal((partition.replicas, partition.isrs), ([partition.leader], [partition.leader]), "replicas")
    deleted = admin.delete_topics(names[:2])
    for name in names[:2]:
        answer(deleted[name])
    counts_become(ctx, names, [None, None, 3], "partitions after the deletion")


@check("librdkafka")
def create_is_refused(ctx: Context) -> None:
    admin = admin_client(ctx)
    taken = create_topic(ctx)
    wrong = [
        (NewTopic(taken, 1, 1), "TOPIC_ALREADY_EXISTS"),
        (NewTopic("no spaces", 1, 1), "TOPIC_EXCEPTION"),
        (NewTopic("x" * 250, 1, 1), "TOPIC_EXCEPTION"),
        (NewTopic("..", 1, 1), "TOPIC_EXCEPTION"),
        (NewTopic(ctx.name("zero"), 0, 1), "INVALID_PARTITIONS"),
        (NewTopic(ctx.name("two"), 1, 2), "INVALID_REPLICATION_FACTOR"),
        (NewTopic(ctx.name("word"), 1, 1, config={"no.such.setting": "1"}), "INVALID_CONFIG"),
        (NewTopic(ctx.name("value"), 1, 1, config={"retention.ms": "soon"}), "INVALID_CONFIG"),
    ]
    for topic, expected in wrong:
        equal(error_of(admin.create_topics([topic])[topic.topic]), expected, f"creating {topic.topic[:20]!r}")
    # Good and bad in one request: each has its own answer.
    good, bad = ctx.name("good"), "bad name"
    both = admin.create_topics([NewTopic(good, 2, 1), NewTopic(bad, 2, 1)])
    answer(both[good])
    equal(error_of(both[bad]), "TOPIC_EXCEPTION", "the bad one of two")
    counts_become(ctx, [good], [2], "partitions of the good one of two")


@check("librdkafka")
def validate_only_changes_nothing(ctx: Context) -> None:
    admin = admin_client(ctx)
    name = ctx.name()
    answer(admin.create_topics([NewTopic(name, 1, 1)], validate_only=True)[name])
    equal(partition_count(ctx, name), None, "partitions after a validated creation")
    answer(admin.create_topics([NewTopic(name, 1, 1)])[name])
    answer(admin.create_partitions([NewPartitions(name, 5)], validate_only=True)[name])
    counts_become(ctx, [name], [1], "partitions after a validated growth")


@check("librdkafka")
def default_partitions(ctx: Context) -> None:
    name = ctx.name()
    answer(admin_client(ctx).create_topics([NewTopic(name)])[name])
    counts_become(ctx, [name], [1], "partitions by default (num.partitions)")


@check("librdkafka")
def delete_unknown(ctx: Context) -> None:
    name = ctx.name()
    equal(error_of(admin_client(ctx).delete_topics([name])[name]), "UNKNOWN_TOPIC_OR_PART", "deleting what is not there")


@check("librdkafka")
def a_recreated_topic_is_another(ctx: Context) -> None:
    topic = create_topic(ctx)
    send(producer(ctx, linger_ms=5), topic, ({"value": b"old %d" % n} for n in range(500)))
    admin = admin_client(ctx)
    answer(admin.delete_topics([topic])[topic])
    answer(admin.create_topics([NewTopic(topic, 2, 1)])[topic])
    counts_become(ctx, [topic], [2], "partitions of the new topic")
    await_served(ctx, topic, 2)
    found = read_all(ctx, topic, partitions=2)
    equal([values(found[p]) for p in range(2)], [[], []], "contents of the new topic")
    reports = send(producer(ctx), topic, [{"value": b"new", "partition": 0}])
    equal(offsets(reports), [0], "the first offset of the new topic")
    equal(values(read_all(ctx, topic)[0]), [b"new"], "contents of the new topic")


@check("librdkafka")
def partitions_grow(ctx: Context) -> None:
    admin = admin_client(ctx)
    topic = create_topic(ctx, partitions=2)
    send(producer(ctx), topic, ({"value": b"%d" % p, "partition": p} for p in range(2)))
    answer(admin.create_partitions([NewPartitions(topic, 5)])[topic])
    counts_become(ctx, [topic], [5], "partitions")
    await_served(ctx, topic, 5)
    send(producer(ctx), topic, ({"value": b"%d" % p, "partition": p} for p in range(2, 5)))
    found = read_all(ctx, topic, partitions=5)
    equal([values(found[p]) for p in range(5)], [[b"%d" % p] for p in range(5)], "contents")
    for count in (5, 3):
        equal(error_of(admin.create_partitions([NewPartitions(topic, count)])[topic]), "INVALID_PARTITIONS",
              f"growing from 5 to {count}")
    absent = ctx.name("absent")
    equal(error_of(admin.create_partitions([NewPartitions(absent, 3)])[absent]), "UNKNOWN_TOPIC_OR_PART", "unknown topic")


@check("librdkafka")
def settings_are_described(ctx: Context) -> None:
    topic = create_topic(ctx, config={"retention.ms": "123456789", "segment.bytes": "2097152"})
    found = topic_config(ctx, topic)
    for key, value in {"retention.ms": "123456789", "segment.bytes": "2097152"}.items():
        equal((found[key].value, found[key].is_default, found[key].source),
              (value, False, ConfigSource.DYNAMIC_TOPIC_CONFIG.value), f"{key}, which was set")
    defaults = {"retention.bytes": "-1", "max.message.bytes": "1048588", "message.timestamp.type": "CreateTime",
                "segment.ms": "604800000", "cleanup.policy": "delete"}
    for key, value in defaults.items():
        equal((found[key].value, found[key].is_default), (value, True), f"{key}, by default")
        that(not found[key].is_sensitive and not found[key].is_read_only, f"{key} is sensitive or read-only")
    absent = ctx.name("absent")
    resource = ConfigResource(ResourceType.TOPIC, absent)
    equal(error_of(admin_client(ctx).describe_configs([resource])[resource]), "UNKNOWN_TOPIC_OR_PART", "unknown topic")


@check("librdkafka")
def settings_are_altered(ctx: Context) -> None:
    topic = create_topic(ctx, config={"segment.bytes": "2097152"})
    answer(alter(ctx, topic, AlterConfigOpType.SET, retention_ms="1000000", max_message_bytes="3000"))
    settings_become(ctx, topic, {"retention.ms": "1000000", "max.message.bytes": "3000", "segment.bytes": "2097152"}, [])
    client = producer(ctx)
    refusals = Deliveries()
    client.produce(topic, b"x" * 10_000, on_delivery=refusals)
    flush(client)
    equal(refusals.errors, ["MSG_SIZE_TOO_LARGE"], "a message over the new limit")
    answer(alter(ctx, topic, AlterConfigOpType.DELETE, retention_ms=None, max_message_bytes=None))
    settings_become(ctx, topic, {"retention.ms": "604800000", "max.message.bytes": "1048588", "segment.bytes": "2097152"},
                    ["retention.ms", "max.message.bytes"])
    send(client, topic, [{"value": b"x" * 10_000}])


@check("librdkafka")
def alteration_is_refused(ctx: Context) -> None:
    topic = create_topic(ctx)
    equal(error_of(alter(ctx, topic, AlterConfigOpType.SET, retention_ms="soon")), "INVALID_CONFIG", "a word for a number")
    equal(error_of(alter(ctx, topic, AlterConfigOpType.SET, no_such_setting="1")), "INVALID_CONFIG", "an unknown setting")
    equal(error_of(alter(ctx, topic, AlterConfigOpType.APPEND, retention_ms="1")), "INVALID_CONFIG", "APPEND to no list")
    equal(error_of(alter(ctx, ctx.name("absent"), AlterConfigOpType.SET, retention_ms="1")), "UNKNOWN_TOPIC_OR_PART",
          "an unknown topic")
    equal(topic_config(ctx, topic)["retention.ms"].is_default, True, "retention.ms after refusals")


@check("librdkafka")
def records_are_deleted(ctx: Context) -> None:
    topic = create_topic(ctx, partitions=2)
    send(producer(ctx, linger_ms=5), topic, ({"value": b"%d" % n, "partition": n % 2} for n in range(200)))
    admin = admin_client(ctx)

    def delete(partition: int, before: int):
        asked = TopicPartition(topic, partition, before)
        return admin.delete_records([asked])[asked]

    equal(answer(delete(0, 30)).low_watermark, 30, "low watermark")
    equal(answer(delete(0, 10)).low_watermark, 30, "low watermark after deleting less")
    equal(answer(delete(1, -1)).low_watermark, 100, "low watermark after deleting everything")
    equal(error_of(delete(0, 101)), "OFFSET_OUT_OF_RANGE", "deleting beyond the end")
    found = read_all(ctx, topic, partitions=2, auto_offset_reset="earliest")
    equal(values(found[0]), [b"%d" % n for n in range(60, 200, 2)], "what is left of partition 0")
    equal(values(found[1]), [], "what is left of partition 1")
    equal(offsets(send(producer(ctx), topic, [{"value": b"next", "partition": 1}])), [100], "the next offset")


@check("librdkafka")
def the_cluster_is_described(ctx: Context) -> None:
    admin = admin_client(ctx)
    cluster = answer(admin.describe_cluster(include_authorized_operations=False))
    host, port = ctx.bootstrap.split(":")
    equal([(node.host, node.port) for node in cluster.nodes], [(host, int(port))], "nodes")
    that(cluster.cluster_id, "no cluster id")
    that(cluster.controller is not None, "no controller")
    metadata = admin.list_topics(timeout=ANSWER_BOUND_S)
    equal(metadata.cluster_id, cluster.cluster_id, "cluster id by Metadata")
    equal(sorted(metadata.brokers), [node.id for node in cluster.nodes], "brokers by Metadata")
