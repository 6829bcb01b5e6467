"""Kafka's producing tools, as a user types them: what they wrote is read back."""

import json

from harness.check import Context, check, equal, that
from harness.paths import KAFKA
from harness.process import run

from clients.librdkafka.common import create_topic, offsets, read_all, values


def tool(ctx: Context, name: str, *arguments: object, status: int | None = 0) -> str:
    """Standard output of one of Kafka's programs, pointed at the broker."""
    # A small heap and the quick compiler only: these programs live for a second.
    quick = {"KAFKA_JVM_PERFORMANCE_OPTS": "-XX:+UseSerialGC -XX:TieredStopAtLevel=1"}
    command = [KAFKA, "tool", name, "--bootstrap-server", ctx.bootstrap, *arguments]
    return run(command, status=status, env=quick).stdout


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
