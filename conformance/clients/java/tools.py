"""Kafka's own command-line tools, as a user types them."""

import json
import re

from harness.check import Context, check, equal, eventually, that
from harness.paths import KAFKA
from harness.process import run

from clients.librdkafka.common import create_topic, offsets, producer, read_all, send, values


def tool(ctx: Context, name: str, *arguments: object, status: int | None = 0) -> str:
    """Standard output of one of Kafka's programs, pointed at the broker."""
    # A small heap and the quick compiler only: these programs live for a second.
    quick = {"KAFKA_JVM_PERFORMANCE_OPTS": "-XX:+UseSerialGC -XX:TieredStopAtLevel=1"}
    command = [KAFKA, "tool", name, "--bootstrap-server", ctx.bootstrap, *arguments]
    return run(command, status=status, env=quick).stdout


def described(ctx: Context, topic: str) -> list[str]:
    """Lines of kafka-topics --describe without the topic id."""
    text = tool(ctx, "kafka-topics", "--describe", "--topic", topic)
    return [re.sub(r"\s+", " ", re.sub(r"TopicId: \S+", "", line)).strip() for line in text.splitlines()]


def get_offsets(ctx: Context, topic: str, time: object) -> dict[int, int]:
    """kafka-get-offsets: offsets by partition."""
    lines = tool(ctx, "kafka-get-offsets", "--topic", topic, "--time", time).split()
    return {int(partition): int(offset) for _, partition, offset in (line.rsplit(":", 2) for line in lines)}


@check("java")
def topics_tool(ctx: Context) -> None:
    topic = ctx.name()
    said = tool(ctx, "kafka-topics", "--create", "--topic", topic, "--partitions", 3, "--config", "retention.ms=86400000")
    that(f"Created topic {topic}." in said, f"it said {said!r}")
    eventually(lambda: that(topic in tool(ctx, "kafka-topics", "--list").split(), "the topic is not listed"))
    lines = described(ctx, topic)
    that("PartitionCount: 3 ReplicationFactor: 1" in lines[0], f"described as {lines[0]}")
    that("retention.ms=86400000" in lines[0], f"described as {lines[0]}")
    node = re.search(r"Leader: (\d+)", lines[1]).group(1)
    equal([line.split(" Elr")[0] for line in lines[1:]],
          [f"Topic: {topic} Partition: {p} Leader: {node} Replicas: {node} Isr: {node}" for p in range(3)], "partitions")
    tool(ctx, "kafka-topics", "--alter", "--topic", topic, "--partitions", 5)
    eventually(lambda: equal(len(described(ctx, topic)), 6, "lines after the growth"))
    again = tool(ctx, "kafka-topics", "--create", "--topic", topic, status=1)
    that("already exists" in again, f"it said {again!r}")
    tool(ctx, "kafka-topics", "--create", "--topic", topic, "--if-not-exists")
    fewer = tool(ctx, "kafka-topics", "--alter", "--topic", topic, "--partitions", 2, status=1)
    that("currently has 5 partition(s)" in fewer or "2" in fewer, f"it said {fewer!r}")
    tool(ctx, "kafka-topics", "--delete", "--topic", topic)
    eventually(lambda: that(topic not in tool(ctx, "kafka-topics", "--list").split(), "the topic is still listed"))
    gone = tool(ctx, "kafka-topics", "--describe", "--topic", topic, status=1)
    that("does not exist" in gone, f"it said {gone!r}")


@check("java")
def producer_perf_test(ctx: Context) -> None:
    topic = create_topic(ctx, partitions=6)
    said = tool(ctx, "kafka-producer-perf-test", "--topic", topic, "--num-records", 60_000, "--record-size", 1024,
                "--throughput", -1, "--command-property", "acks=all", "batch.size=131072", "linger.ms=5")
    that(said.strip().splitlines()[-1].startswith("60000 records sent"), f"it said {said!r}")
    found = read_all(ctx, topic, partitions=6)
    equal(sum(len(messages) for messages in found.values()), 60_000, "records in the log")
    for partition, messages in found.items():
        equal(offsets(messages), list(range(len(messages))), f"offsets of partition {partition}")
        equal({len(value) for value in values(messages)} - {1024}, set(), f"other sizes in partition {partition}")


@check("java")
def producer_perf_test_with_codecs(ctx: Context) -> None:
    for codec in ("gzip", "snappy", "lz4", "zstd"):
        topic = create_topic(ctx, partitions=2, word=codec)
        tool(ctx, "kafka-producer-perf-test", "--topic", topic, "--num-records", 3000, "--payload-monotonic",
             "--throughput", -1, "--command-property", "acks=all", f"compression.type={codec}", "linger.ms=5")
        found = [value for messages in read_all(ctx, topic, partitions=2).values() for value in values(messages)]
        equal(sorted(found, key=int), [b"%d" % n for n in range(3000)], f"values with {codec}")


@check("java")
def verifiable_producer(ctx: Context) -> None:
    for acks in (-1, 1, 0):
        topic = create_topic(ctx, partitions=3, word=f"acks{acks}")
        said = tool(ctx, "kafka-verifiable-producer", "--topic", topic, "--max-messages", 5000, "--acks", acks,
                    "--repeating-keys", 100)
        events = [json.loads(line) for line in said.splitlines()]
        sent = [event for event in events if event["name"] == "producer_send_success"]
        equal([event for event in events if event["name"] == "producer_send_error"], [], "errors")
        equal(len(sent), 5000, f"acknowledged with acks={acks}")
        found = read_all(ctx, topic, partitions=3)
        if acks == 0:
            held = sorted(int(value) for messages in found.values() for value in values(messages))
            equal(held, list(range(5000)), "values with acks=0")
            continue
        held = {(p, m.offset()): (m.key(), m.value()) for p, messages in found.items() for m in messages}
        said_so = {(event["partition"], event["offset"]): (event["key"].encode(), event["value"].encode())
                   for event in sent}
        equal(held == said_so, True, f"each acknowledged record at its offset with acks={acks}")


@check("java")
def get_offsets_tool(ctx: Context) -> None:
    topic = create_topic(ctx, partitions=2)
    send(producer(ctx, linger_ms=20), topic, ({"value": b"x", "partition": 0} for _ in range(10)))
    now = int(read_all(ctx, topic)[0][-1].timestamp()[1])
    # The greatest time is at offset 12 of partition 0.
    send(producer(ctx, linger_ms=20), topic,
         [{"value": b"x", "partition": 0, "timestamp": now + ahead} for ahead in (1000, 2000, 60_000, 3000)])
    tool(ctx, "kafka-delete-records", "--offset-json-file", offset_file(ctx, topic, {0: 4}))
    equal(get_offsets(ctx, topic, -1), {0: 14, 1: 0}, "latest (-1)")
    equal(get_offsets(ctx, topic, "latest"), {0: 14, 1: 0}, "latest")
    equal(get_offsets(ctx, topic, -2), {0: 4, 1: 0}, "earliest (-2)")
    equal(get_offsets(ctx, topic, -3), {0: 12}, "max-timestamp (-3); an empty partition has none")
    equal(get_offsets(ctx, topic, -4), {0: 4, 1: 0}, "earliest-local (-4)")
    equal(get_offsets(ctx, topic, -5), {}, "latest-tiered (-5): nothing is tiered")
    equal(get_offsets(ctx, topic, now + 1500), {0: 11}, "a time")
    equal(get_offsets(ctx, topic, now + 100_000), {}, "a time after the last record")


def offset_file(ctx: Context, topic: str, before: dict[int, int]) -> str:
    """The file that kafka-delete-records takes."""
    places = [{"topic": topic, "partition": partition, "offset": offset} for partition, offset in before.items()]
    path = ctx.scratch / "offsets.json"
    path.write_text(json.dumps({"partitions": places, "version": 1}))
    return str(path)


@check("java")
def delete_records_tool(ctx: Context) -> None:
    topic = create_topic(ctx, partitions=2)
    send(producer(ctx, linger_ms=5), topic, ({"value": b"%d" % n, "partition": n % 2} for n in range(100)))
    said = tool(ctx, "kafka-delete-records", "--offset-json-file", offset_file(ctx, topic, {0: 20, 1: -1}))
    that(f"partition: {topic}-0\tlow_watermark: 20" in said, f"it said {said!r}")
    that(f"partition: {topic}-1\tlow_watermark: 50" in said, f"it said {said!r}")
    found = read_all(ctx, topic, partitions=2, auto_offset_reset="earliest")
    equal(values(found[0]), [b"%d" % n for n in range(40, 100, 2)], "partition 0")
    equal(values(found[1]), [], "partition 1")
    beyond = tool(ctx, "kafka-delete-records", "--offset-json-file", offset_file(ctx, topic, {0: 51}), status=None)
    that("OffsetOutOfRangeException" in beyond, f"it said {beyond!r}")


@check("java")
def configs_tool(ctx: Context) -> None:
    topic = create_topic(ctx)
    entity = ["--entity-type", "topics", "--entity-name", topic]

    def shown(*more: str) -> dict[str, str]:
        lines = tool(ctx, "kafka-configs", "--describe", *entity, *more).splitlines()[1:]
        return dict(line.split()[0].split("=", 1) for line in lines)

    equal(shown(), {}, "settings of a new topic")
    tool(ctx, "kafka-configs", "--alter", *entity, "--add-config", "retention.ms=5000000,segment.bytes=2097152")
    eventually(lambda: equal(shown(), {"retention.ms": "5000000", "segment.bytes": "2097152"}, "settings after --add"))
    tool(ctx, "kafka-configs", "--alter", *entity, "--delete-config", "retention.ms")
    eventually(lambda: equal(shown(), {"segment.bytes": "2097152"}, "settings after --delete"))
    every = shown("--all")
    for key, value in {"segment.bytes": "2097152", "retention.ms": "604800000", "max.message.bytes": "1048588"}.items():
        equal(every[key], value, f"{key} with --all")
    refused = tool(ctx, "kafka-configs", "--alter", *entity, "--add-config", "retention.ms=soon", status=1)
    equal(shown(), {"segment.bytes": "2097152"}, f"settings after a refusal ({refused!r})")
