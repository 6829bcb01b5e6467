"""What librdkafka writes comes back: codecs, acks, idempotence, headers, timestamps, sizes."""

import random
import time

from confluent_kafka import TIMESTAMP_CREATE_TIME, TIMESTAMP_LOG_APPEND_TIME, KafkaException

from harness.check import CheckFailed, Context, check, equal, that

from .common import (Deliveries, admin_client, create_topic, flush, offsets, producer, read_all, send, values)

CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]


def text_values(count: int, word: str) -> list[bytes]:
    """Distinct values that compress."""
    return [f"{word} {number} ".encode() * 20 for number in range(count)]


def round_trip(ctx: Context, word: str, count: int = 2000, **config: object) -> None:
    """Sends `count` records to a fresh partition and reads them back in order."""
    topic = create_topic(ctx, word=word)
    sent = text_values(count, word)
    reports = send(producer(ctx, **config), topic, ({"value": value} for value in sent))
    found = read_all(ctx, topic)[0]
    equal(values(found), sent, f"values with {config}")
    equal(offsets(found), list(range(count)), f"offsets with {config}")
    if config.get("acks") != 0:
        equal(sorted(offsets(reports)), list(range(count)), f"reported offsets with {config}")


@check("librdkafka")
def every_codec(ctx: Context) -> None:
    for codec in CODECS:
        round_trip(ctx, codec, compression_codec=codec, linger_ms=20)


@check("librdkafka")
def every_codec_in_one_partition(ctx: Context) -> None:
    topic = create_topic(ctx)
    sent: list[bytes] = []
    for turn in range(3):
        for codec in CODECS:
            part = text_values(50 + turn, f"{codec}{turn}")
            send(producer(ctx, compression_codec=codec, linger_ms=20), topic, ({"value": value} for value in part))
            sent += part
    found = read_all(ctx, topic)[0]
    equal(values(found), sent, "values of all codecs")
    # A start inside a compressed batch: the batch is returned whole, the client skips to the offset.
    middle = len(sent) // 2 + 7
    equal(values(read_all(ctx, topic, start=middle)[0]), sent[middle:], "values from the middle of a batch")


@check("librdkafka")
def every_codec_in_topics_of_another(ctx: Context) -> None:
    for stored in ["uncompressed", *CODECS[1:]]:
        topic = create_topic(ctx, config={"compression.type": stored}, word=stored)
        sent: list[bytes] = []
        for codec in CODECS:
            part = text_values(100, codec)
            send(producer(ctx, compression_codec=codec, linger_ms=20, enable_idempotence=True), topic, ({"value": value} for value in part))
            sent += part
        found = read_all(ctx, topic)[0]
        equal(values(found), sent, f"values that are stored as {stored}")
        equal(offsets(found), list(range(len(sent))), f"offsets of what is stored as {stored}")


@check("librdkafka")
def every_acks(ctx: Context) -> None:
    for acks in (0, 1, -1):
        round_trip(ctx, f"acks{acks}", acks=acks, linger_ms=5)


@check("librdkafka")
def all_replicas_are_no_more_than_there_are(ctx: Context) -> None:
    topic = create_topic(ctx, config={"min.insync.replicas": "2"})
    send(producer(ctx, acks=-1), topic, [{"value": b"one replica"}])
    equal(values(read_all(ctx, topic)[0]), [b"one replica"], "what was acknowledged")


@check("librdkafka")
def idempotence(ctx: Context) -> None:
    topic = create_topic(ctx, partitions=4)
    # Small batches, five in flight on each partition: sequences must be taken in order.
    client = producer(ctx, enable_idempotence=True, acks=-1, linger_ms=1, batch_num_messages=20)
    count = 8000
    reports = send(client, topic, ({"value": b"%d" % n, "partition": n % 4} for n in range(count)))
    for number, found in read_all(ctx, topic, partitions=4).items():
        equal(values(found), [b"%d" % n for n in range(number, count, 4)], f"values of partition {number}")
    reported = {(report.partition(), report.offset()): report.value() for report in reports}
    equal(len(reported), count, "distinct reported offsets")


@check("librdkafka")
def a_topic_that_relaxes_its_durability_keeps_order(ctx: Context) -> None:
    topic = create_topic(ctx, partitions=2, config={"flush.messages": "10000", "flush.ms": "1000"})
    client = producer(ctx, enable_idempotence=True, linger_ms=1, batch_num_messages=20)
    count = 4000
    reports = send(client, topic, ({"value": b"%d" % n, "partition": n % 2} for n in range(count)))
    for number, found in read_all(ctx, topic, partitions=2).items():
        equal(values(found), [b"%d" % n for n in range(number, count, 2)], f"values of partition {number}")
    equal(len({(report.partition(), report.offset()) for report in reports}), count, "distinct reported offsets")


@check("librdkafka")
def two_idempotent_producers_share_partitions(ctx: Context) -> None:
    topic = create_topic(ctx, partitions=2)
    clients = [producer(ctx, enable_idempotence=True, linger_ms=1, batch_num_messages=10) for _ in range(2)]
    reports = Deliveries()
    for number in range(4000):
        for index, client in enumerate(clients):
            client.produce(topic, f"{index}:{number}", partition=number % 2, on_delivery=reports)
            client.poll(0)
    for client in clients:
        flush(client)
    equal(reports.errors, [], "delivery errors")
    for partition, found in read_all(ctx, topic, partitions=2).items():
        for index in range(2):
            mine = [value for value in values(found) if value.startswith(b"%d:" % index)]
            equal(mine, [b"%d:%d" % (index, n) for n in range(partition, 4000, 2)],
                  f"producer {index} in partition {partition}")


@check("librdkafka")
def keys_choose_partitions_and_keep_order(ctx: Context) -> None:
    topic = create_topic(ctx, partitions=6)
    records = [{"key": b"key-%d" % (n % 40), "value": b"%d" % n} for n in range(3000)]
    send(producer(ctx, linger_ms=5, partitioner="murmur2_random"), topic, records)
    home: dict[bytes, int] = {}
    by_key: dict[bytes, list[bytes]] = {}
    for partition, found in read_all(ctx, topic, partitions=6).items():
        for message in found:
            equal(home.setdefault(message.key(), partition), partition, f"partition of {message.key()}")
            by_key.setdefault(message.key(), []).append(message.value())
    for key in range(40):
        equal(by_key[b"key-%d" % key], [b"%d" % n for n in range(key, 3000, 40)], f"values of key {key}")


@check("librdkafka")
def headers_keys_and_nothing(ctx: Context) -> None:
    topic = create_topic(ctx)
    headers = [("a", b"1"), ("b", b""), ("a", b"2"), ("none", None), ("a", b"1"), ("", b"empty name"),
               ("bin", bytes(range(256)))]
    records = [
        {"key": b"k", "value": b"v", "headers": headers},
        {"key": None, "value": None, "headers": [("only", b"header")]},
        {"key": b"", "value": b""},
        {"key": b"k", "value": None},
        {"key": None, "value": b"v"},
        {"key": bytes(range(256)), "value": bytes(range(255, -1, -1))},
    ]
    send(producer(ctx, linger_ms=5), topic, records)
    found = [(message.key(), message.value(), message.headers()) for message in read_all(ctx, topic)[0]]
    equal(found, [(r["key"], r["value"], r.get("headers")) for r in records], "keys, values and headers")


@check("librdkafka")
def create_time_is_kept(ctx: Context) -> None:
    topic = create_topic(ctx)
    # Out of order on purpose: a record's time is the client's business.
    now = int(time.time() * 1000)
    times = [now + offset for offset in (0, 5_000, 1_000, 9_000, 1, 0)]
    send(producer(ctx, linger_ms=20), topic, ({"value": b"x", "timestamp": at} for at in times))
    found = [message.timestamp() for message in read_all(ctx, topic)[0]]
    equal(found, [(TIMESTAMP_CREATE_TIME, at) for at in times], "timestamps")


@check("librdkafka")
def log_append_time_is_the_brokers(ctx: Context) -> None:
    topic = create_topic(ctx, config={"message.timestamp.type": "LogAppendTime"})
    before = int(time.time() * 1000)
    for codec in CODECS:
        records = ({"value": b"%d" % n, "timestamp": 1_000_000} for n in range(20))
        reports = send(producer(ctx, compression_codec=codec, linger_ms=20), topic, records)
        for report in reports:
            equal(report.timestamp()[0], TIMESTAMP_LOG_APPEND_TIME, "timestamp type in the report")
    after = int(time.time() * 1000)
    found = read_all(ctx, topic)[0]
    equal(values(found), [b"%d" % n for n in range(20)] * len(CODECS), "values")
    stamps = [message.timestamp() for message in found]
    equal({kind for kind, _ in stamps}, {TIMESTAMP_LOG_APPEND_TIME}, "timestamp types")
    that(all(before <= at <= after for _, at in stamps), f"timestamps outside {before}..{after}: {stamps[:3]}")
    that(stamps == sorted(stamps), "append times go back")


@check("librdkafka")
def large_messages(ctx: Context) -> None:
    topic = create_topic(ctx, partitions=2)
    # Up to what the default max.message.bytes (1,048,588) lets a batch hold.
    sizes = [1, 100, 4_096, 65_536, 262_144, 524_288, 999_999, 1_000_000, 1_048_000, 10, 1_048_000]
    noise = random.Random(7)
    sent = [noise.randbytes(size) for size in sizes]
    client = producer(ctx, message_max_bytes=2_000_000)
    send(client, topic, ({"value": value, "partition": n % 2} for n, value in enumerate(sent)))
    for number, found in read_all(ctx, topic, partitions=2).items():
        equal([len(value) for value in values(found)], sizes[number::2], f"sizes in partition {number}")
        that(values(found) == sent[number::2], f"contents of partition {number} differ")


@check("librdkafka")
def too_large_is_refused(ctx: Context) -> None:
    topic = create_topic(ctx, config={"max.message.bytes": "2000"})
    client = producer(ctx, message_max_bytes=2_000_000)
    refusals = Deliveries()
    client.produce(topic, b"x" * 5_000, on_delivery=refusals)
    flush(client)
    equal(refusals.errors, ["MSG_SIZE_TOO_LARGE"], "the refusal")
    wide = create_topic(ctx, word="wide")
    client.produce(wide, b"x" * 1_100_000, on_delivery=refusals)
    flush(client)
    equal(refusals.errors, ["MSG_SIZE_TOO_LARGE"] * 2, "the refusal by the default")
    # The connection and the partition are still good.
    send(client, topic, [{"value": b"small"}])
    equal(values(read_all(ctx, topic)[0]), [b"small"], "what is in the log")


@check("librdkafka")
def larger_where_the_topic_allows(ctx: Context) -> None:
    topic = create_topic(ctx, config={"max.message.bytes": "4000000"})
    noise = random.Random(11)
    sent = [noise.randbytes(size) for size in (3_900_000, 10, 2_500_000, 3_900_000)]
    send(producer(ctx, message_max_bytes=4_000_000), topic, ({"value": value} for value in sent))
    found = values(read_all(ctx, topic, fetch_message_max_bytes=4_000_000)[0])
    equal([len(value) for value in found], [len(value) for value in sent], "sizes")
    that(found == sent, "contents differ")


@check("librdkafka", settings={"millrace.cores": "1", "millrace.memory": "512MiB"})
def larger_than_a_journal_takes(ctx: Context) -> None:
    # More than a quarter of the ring of such a core: these go around it, the others between them do not.
    topic = create_topic(ctx, config={"max.message.bytes": "60000000"})
    noise = random.Random(12)
    sent = [noise.randbytes(size) for size in (10, 40_000_000, 20, 50_000_000, 36_000_000, 5)]
    send(producer(ctx, message_max_bytes=60_000_000), topic, ({"value": value} for value in sent))
    found = values(read_all(ctx, topic, fetch_message_max_bytes=60_000_000, receive_message_max_bytes=200_000_000)[0])
    equal([len(value) for value in found], [len(value) for value in sent], "sizes")
    that(found == sent, "contents differ")


@check("librdkafka")
def many_partitions_many_requests(ctx: Context) -> None:
    topic = create_topic(ctx, partitions=48)
    client = producer(ctx, linger_ms=2, batch_size=4096, max_in_flight=5)
    count = 48 * 500
    send(client, topic, ({"value": b"%d" % n, "partition": n % 48} for n in range(count)))
    for number, found in read_all(ctx, topic, partitions=48).items():
        equal(values(found), [b"%d" % n for n in range(number, count, 48)], f"values of partition {number}")


@check("librdkafka")
def first_write_creates_the_topic(ctx: Context) -> None:
    topic = ctx.name("auto")
    send(producer(ctx), topic, [{"value": b"hello"}])
    described = admin_client(ctx).list_topics(topic, timeout=30).topics[topic]
    equal(len(described.partitions), 1, "partitions of an auto-created topic")
    equal(values(read_all(ctx, topic)[0]), [b"hello"], "values")


@check("librdkafka", settings={"auto.create.topics.enable": "false"})
def no_topic_is_created_when_that_is_off(ctx: Context) -> None:
    topic = ctx.name("absent")
    client = producer(ctx, message_timeout_ms=20_000, topic_metadata_propagation_max_ms=0)
    refusals = Deliveries()
    try:
        client.produce(topic, b"x", on_delivery=refusals)
    except KafkaException as error:
        refusals.errors.append(error.args[0].name())
    flush(client)
    that(refusals.errors in (["_UNKNOWN_TOPIC"], ["UNKNOWN_TOPIC_OR_PART"]), f"errors: {refusals.errors}")
    if topic in admin_client(ctx).list_topics(timeout=30).topics:
        raise CheckFailed("the topic was created")
