"""How librdkafka reads: assign, seek, times, watermarks, limits of a fetch, the tail, what is out of range."""

import time

from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import OffsetSpec

from harness.check import CheckFailed, Context, check, equal, that

from .common import (ANSWER_BOUND_S, admin_client, answer, consumer, create_topic, next_message, offsets, producer,
                     read_all, read_until_end, send, values)

T0 = (int(time.time()) - 86_400) * 1000
"""Yesterday: what is older than a week falls to the default retention in the middle of a check."""


def numbered(ctx: Context, count: int, partitions: int = 1, **config: object) -> str:
    """A topic whose partitions each hold the numbers from 0, number n with timestamp T0 + 1000 n."""
    topic = create_topic(ctx, partitions=partitions)
    records = ({"value": b"%d" % n, "partition": p, "timestamp": T0 + 1000 * n}
               for n in range(count) for p in range(partitions))
    send(producer(ctx, linger_ms=10, **config), topic, records)
    return topic


@check("librdkafka")
def assign_from_offsets(ctx: Context) -> None:
    topic = numbered(ctx, 1000, partitions=3)
    client = consumer(ctx)
    starts = [TopicPartition(topic, 0, OFFSET_BEGINNING), TopicPartition(topic, 1, 250), TopicPartition(topic, 2, 999)]
    found = read_until_end(client, starts)
    for partition, first in enumerate((0, 250, 999)):
        equal(values(found[partition]), [b"%d" % n for n in range(first, 1000)], f"values of partition {partition}")
        equal(offsets(found[partition]), list(range(first, 1000)), f"offsets of partition {partition}")
    equal([position.offset for position in client.position(starts)], [1000] * 3, "positions")
    client.close()


@check("librdkafka")
def seek_back_and_forth(ctx: Context) -> None:
    topic = numbered(ctx, 1000, compression_codec="lz4")
    client = consumer(ctx)
    client.assign([TopicPartition(topic, 0, 0)])
    equal(next_message(client).offset(), 0, "the first offset")
    for target in (500, 3, 999, 0, 501, 500):
        client.seek(TopicPartition(topic, 0, target))
        message = next_message(client)
        equal((message.offset(), message.value()), (target, b"%d" % target), f"after seek to {target}")
        if target < 999:
            equal(next_message(client).offset(), target + 1, f"second after seek to {target}")
    client.seek(TopicPartition(topic, 0, OFFSET_BEGINNING))
    equal(next_message(client).offset(), 0, "after seek to the beginning")
    client.close()


@check("librdkafka")
def offsets_for_times(ctx: Context) -> None:
    for codec in ("none", "gzip", "zstd"):
        topic = numbered(ctx, 500, compression_codec=codec)
        client = consumer(ctx)
        # The first record at or after a time; beyond the last one there is none.
        for at, expected in ((0, 0), (T0, 0), (T0 + 1, 1), (T0 + 123_000, 123), (T0 + 123_001, 124), (T0 + 499_000, 499),
                             (T0 + 499_001, OFFSET_END)):
            found = client.offsets_for_times([TopicPartition(topic, 0, at)], ANSWER_BOUND_S)[0]
            that(found.error is None, f"error {found.error}")
            equal(found.offset, expected, f"offset for time {at - T0} with {codec}")
        client.close()


@check("librdkafka")
def offsets_by_admin(ctx: Context) -> None:
    topic = create_topic(ctx)
    admin = admin_client(ctx)

    def listed(spec: OffsetSpec) -> int:
        return answer(admin.list_offsets({TopicPartition(topic, 0): spec})[TopicPartition(topic, 0)]).offset

    equal([listed(OffsetSpec.earliest()), listed(OffsetSpec.latest())], [0, 0], "offsets of an empty partition")
    equal(listed(OffsetSpec.max_timestamp()), -1, "offset of the greatest time of an empty partition")
    # The greatest time is neither first nor last.
    times = [T0, T0 + 1000, T0 + 9000, T0 + 2000, T0 + 9000, T0 + 3000]
    send(producer(ctx, linger_ms=20), topic, ({"value": b"x", "timestamp": at} for at in times))
    equal([listed(OffsetSpec.earliest()), listed(OffsetSpec.latest())], [0, 6], "earliest and latest")
    result = answer(admin.list_offsets({TopicPartition(topic, 0): OffsetSpec.max_timestamp()})[TopicPartition(topic, 0)])
    equal((result.offset, result.timestamp), (2, T0 + 9000), "first offset of the greatest time, and the time")
    equal(listed(OffsetSpec.for_timestamp(T0 + 1001)), 2, "first offset at or after a time")


@check("librdkafka")
def watermarks(ctx: Context) -> None:
    topic = create_topic(ctx, partitions=2)
    client = consumer(ctx)
    equal(client.get_watermark_offsets(TopicPartition(topic, 0), ANSWER_BOUND_S), (0, 0), "of an empty partition")
    send(producer(ctx), topic, ({"value": b"x", "partition": 1} for _ in range(77)))
    equal(client.get_watermark_offsets(TopicPartition(topic, 1), ANSWER_BOUND_S), (0, 77), "after 77 records")
    answer(admin_client(ctx).delete_records([TopicPartition(topic, 1, 30)])[TopicPartition(topic, 1)])
    equal(client.get_watermark_offsets(TopicPartition(topic, 1), ANSWER_BOUND_S), (30, 77), "after DeleteRecords")
    client.assign([TopicPartition(topic, 1, 30)])
    next_message(client)
    equal(client.get_watermark_offsets(TopicPartition(topic, 1), cached=True)[1], 77, "high, from the fetch response")
    client.close()


@check("librdkafka")
def the_first_batch_always_comes(ctx: Context) -> None:
    topic = create_topic(ctx, partitions=2)
    sent = [bytes([n]) * size for n, size in enumerate((900_000, 10, 300_000, 500_000))]
    send(producer(ctx), topic, ({"value": value, "partition": p} for value in sent for p in range(2)))
    # Less than any large batch: each must come all the same, alone.
    found = read_all(ctx, topic, partitions=2, max_partition_fetch_bytes=1000, fetch_max_bytes=1000, message_max_bytes=1000,
                     receive_message_max_bytes=10_000_000)
    for partition in range(2):
        that(values(found[partition]) == sent, f"contents of partition {partition} differ")


@check("librdkafka")
def small_fetches_lose_nothing(ctx: Context) -> None:
    topic = numbered(ctx, 5000, partitions=2, batch_num_messages=50)
    found = read_all(ctx, topic, partitions=2, max_partition_fetch_bytes=4096, fetch_max_bytes=8192, message_max_bytes=8192,
                     queued_min_messages=100)
    for partition in range(2):
        equal(values(found[partition]), [b"%d" % n for n in range(5000)], f"values of partition {partition}")


@check("librdkafka")
def a_waiting_fetch_wakes_up(ctx: Context) -> None:
    topic = create_topic(ctx, partitions=8)
    # The wait is longer than every bound here: only a woken fetch can answer. The end of each partition is
    # reported by the first answer, so the wait begins after the client has been told of eight ends.
    client = consumer(ctx, fetch_wait_max_ms=290_000, socket_timeout_ms=295_000)
    client.assign([TopicPartition(topic, p, 0) for p in range(8)])
    time.sleep(1)
    writer = producer(ctx)
    for n in range(40):
        send(writer, topic, [{"value": b"%d" % n, "partition": n % 8}])
        message = next_message(client)
        equal((message.partition(), message.offset(), message.value()), (n % 8, n // 8, b"%d" % n), f"message {n}")
    client.close()


@check("librdkafka")
def min_bytes_are_gathered(ctx: Context) -> None:
    topic = create_topic(ctx, partitions=4)
    client = consumer(ctx, fetch_wait_max_ms=2_000, fetch_min_bytes=50_000)
    client.assign([TopicPartition(topic, p, 0) for p in range(4)])
    # Four partitions with 20 kB each make 80 kB together, no single one of them the 50 kB asked for.
    send(producer(ctx, linger_ms=20), topic, ({"value": b"x" * 1000, "partition": n % 4} for n in range(80)))
    count = {p: 0 for p in range(4)}
    for _ in range(80):
        message = next_message(client)
        equal(message.offset(), count[message.partition()], f"offset in partition {message.partition()}")
        count[message.partition()] += 1
    # Less than asked for comes when the wait is over.
    send(producer(ctx), topic, [{"value": b"last", "partition": 3}])
    equal(next_message(client).value(), b"last", "what is less than the minimum")
    client.close()


@check("librdkafka")
def partitions_come_and_go_in_a_session(ctx: Context) -> None:
    topic = numbered(ctx, 200, partitions=6)
    client = consumer(ctx)
    client.assign([TopicPartition(topic, p, 0) for p in range(6)])
    for _ in range(50):
        next_message(client)
    # Forgotten, then back: from where it is told to, in the same session.
    client.incremental_unassign([TopicPartition(topic, p) for p in (1, 3, 5)])
    client.incremental_assign([TopicPartition(topic, 1, 150), TopicPartition(topic, 3, 0)])
    client.pause([TopicPartition(topic, 2)])
    client.resume([TopicPartition(topic, 2)])
    client.seek(TopicPartition(topic, 0, 0))
    seen: dict[int, list[int]] = {p: [] for p in range(6)}
    wanted = {0: list(range(200)), 1: list(range(150, 200)), 3: list(range(200))}
    while any(len(seen[p]) < len(offsets_) for p, offsets_ in wanted.items()):
        message = next_message(client)
        seen[message.partition()].append(message.offset())
    for partition, expected in wanted.items():
        equal(seen[partition], expected, f"offsets of partition {partition}")
    equal(seen[5], [], "offsets of a forgotten partition")
    client.close()


@check("librdkafka")
def out_of_range_follows_the_reset_policy(ctx: Context) -> None:
    topic = numbered(ctx, 100)
    answer(admin_client(ctx).delete_records([TopicPartition(topic, 0, 40)])[TopicPartition(topic, 0)])
    for start in (0, 39, 500):
        client = consumer(ctx, auto_offset_reset="earliest")
        found = read_until_end(client, [TopicPartition(topic, 0, start)])[0]
        equal(offsets(found), list(range(40, 100)), f"offsets from {start} with earliest")
        client.close()
    client = consumer(ctx, auto_offset_reset="latest")
    equal(offsets(read_until_end(client, [TopicPartition(topic, 0, 0)])[0]), [], "offsets from 0 with latest")
    client.close()
    client = consumer(ctx)
    try:
        read_until_end(client, [TopicPartition(topic, 0, 10)])
    except KafkaException as error:
        equal(error.args[0].code(), KafkaError._AUTO_OFFSET_RESET, "the error without a policy")
    else:
        raise CheckFailed("an offset before the log start was read without an error")
    finally:
        client.close()


@check("librdkafka")
def both_isolation_levels(ctx: Context) -> None:
    topic = numbered(ctx, 300)
    for level in ("read_uncommitted", "read_committed"):
        found = read_all(ctx, topic, isolation_level=level)[0]
        equal(values(found), [b"%d" % n for n in range(300)], f"values with {level}")


@check("librdkafka")
def old_records_from_disk(ctx: Context) -> None:
    # More than a cold cache serves in one piece: 40 MB over two partitions, read twice, in two ways.
    topic = create_topic(ctx, partitions=2)
    block = bytes(range(256)) * 39
    count = 4000
    client = producer(ctx, linger_ms=5, batch_size=200_000)
    send(client, topic, ({"value": b"%08d" % n + block, "partition": n % 2} for n in range(count)))
    for _ in range(2):
        for number, found in read_all(ctx, topic, partitions=2).items():
            that(values(found) == [b"%08d" % n + block for n in range(number, count, 2)],
                 f"contents of partition {number} differ")
    tail = read_all(ctx, topic, partitions=2, start=count // 2 - 3)
    equal([len(tail[p]) for p in range(2)], [3, 3], "records at the tail")
