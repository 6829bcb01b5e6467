"""kcat: lines in, lines out, in every shape that its options offer."""

import json
import shutil
import time

from harness.check import CheckFailed, Context, check, equal, that
from harness.process import run

from clients.librdkafka.common import create_topic


def kcat(ctx: Context, *arguments: object, stdin: str | bytes | None = None) -> str:
    """Standard output of a kcat that must end with 0."""
    program = shutil.which("kcat") or shutil.which("kafkacat")
    if not program:
        raise CheckFailed("kcat is not installed: apt-get install kcat")
    return run([program, "-b", ctx.bootstrap, *arguments], stdin=stdin).stdout


def produce(ctx: Context, topic: str, lines: list[str], *arguments: object) -> None:
    """One message a line."""
    kcat(ctx, "-P", "-t", topic, *arguments, stdin="".join(f"{line}\n" for line in lines))


def consume(ctx: Context, topic: str, *arguments: object) -> list[str]:
    """Lines of one partition (0 unless told) from the beginning to the end."""
    place = [] if "-p" in arguments else ["-p", 0]
    start = [] if "-o" in arguments else ["-o", "beginning"]
    return kcat(ctx, "-C", "-q", "-e", "-t", topic, *place, *start, "-X", "check.crcs=true", *arguments).splitlines()


def numbers(*span: int) -> list[str]:
    """Numbers as lines."""
    return [str(number) for number in range(*span)]


@check("kcat")
def lines_round_trip(ctx: Context) -> None:
    topic = create_topic(ctx)
    produce(ctx, topic, numbers(10_000))
    equal(consume(ctx, topic), numbers(10_000), "lines")


@check("kcat")
def codecs(ctx: Context) -> None:
    for codec in ("none", "gzip", "snappy", "lz4", "zstd"):
        topic = create_topic(ctx, word=codec)
        lines = [f"{codec} {n} " * 10 for n in range(1000)]
        produce(ctx, topic, lines, "-z", codec)
        equal(consume(ctx, topic), lines, f"lines with {codec}")


@check("kcat")
def acks(ctx: Context) -> None:
    for acks_ in (0, 1, -1):
        topic = create_topic(ctx, word=f"acks{acks_}")
        produce(ctx, topic, numbers(1000), "-X", f"acks={acks_}")
        equal(consume(ctx, topic), numbers(1000), f"lines with acks={acks_}")


@check("kcat")
def idempotent(ctx: Context) -> None:
    topic = create_topic(ctx)
    produce(ctx, topic, numbers(5000), "-X", "enable.idempotence=true", "-X", "batch.num.messages=50")
    equal(consume(ctx, topic), numbers(5000), "lines")


@check("kcat")
def keys_and_headers(ctx: Context) -> None:
    topic = create_topic(ctx)
    produce(ctx, topic, ["k1:v1", "k2:v2", "k1:v3"], "-K", ":", "-H", "a=1", "-H", "a=2", "-H", "b=x")
    produce(ctx, topic, ["plain"])
    found = consume(ctx, topic, "-f", "%o|%k|%K|%s|%S|%h\n")
    equal(found, ["0|k1|2|v1|2|a=1,a=2,b=x", "1|k2|2|v2|2|a=1,a=2,b=x", "2|k1|2|v3|2|a=1,a=2,b=x", "3||-1|plain|5|"],
          "formatted messages")


@check("kcat")
def nothing_is_not_empty(ctx: Context) -> None:
    topic = create_topic(ctx)
    produce(ctx, topic, ["gone:", "empty:x"], "-K", ":", "-Z")
    found = [json.loads(line) for line in consume(ctx, topic, "-J")]
    equal([(m["key"], m["payload"], m["offset"]) for m in found], [("gone", None, 0), ("empty", "x", 1)], "messages")


@check("kcat")
def from_offsets(ctx: Context) -> None:
    topic = create_topic(ctx)
    produce(ctx, topic, numbers(500))
    equal(consume(ctx, topic, "-o", 123), numbers(123, 500), "from an offset")
    equal(consume(ctx, topic, "-o", -7), numbers(493, 500), "the last seven")
    equal(consume(ctx, topic, "-o", 100, "-c", 5), numbers(100, 105), "five from an offset")
    equal(consume(ctx, topic, "-o", "end"), [], "from the end")


@check("kcat")
def between_times(ctx: Context) -> None:
    topic = create_topic(ctx)
    produce(ctx, topic, numbers(0, 50))
    time.sleep(0.05)
    middle = int(time.time() * 1000)
    time.sleep(0.05)
    produce(ctx, topic, numbers(50, 100))
    time.sleep(0.05)
    end = int(time.time() * 1000)
    time.sleep(0.05)
    produce(ctx, topic, numbers(100, 130))
    equal(consume(ctx, topic, "-o", f"s@{middle}"), numbers(50, 130), "from a time")
    equal(consume(ctx, topic, "-o", f"s@{middle}", "-o", f"e@{end}"), numbers(50, 100), "between two times")
    stamped = consume(ctx, topic, "-f", "%T\n")
    that(all(int(a) <= int(b) for a, b in zip(stamped, stamped[1:])), "timestamps go back")
    queried = kcat(ctx, "-Q", "-t", f"{topic}:0:{middle}").split()
    equal(queried, [topic, "[0]", "offset", "50"], "offset for a time")


@check("kcat")
def offsets_by_query(ctx: Context) -> None:
    topic = create_topic(ctx)
    produce(ctx, topic, numbers(42))
    for asked, expected in (("-1", 42), ("-2", 0)):
        found = kcat(ctx, "-Q", "-t", f"{topic}:0:{asked}").split()
        equal(found, [topic, "[0]", "offset", str(expected)], f"offset for {asked}")


@check("kcat")
def every_partition(ctx: Context) -> None:
    topic = create_topic(ctx, partitions=4)
    for partition in range(4):
        produce(ctx, topic, [f"{partition}:{n}" for n in range(300)], "-p", partition)
    for partition in range(4):
        equal(consume(ctx, topic, "-p", partition), [f"{partition}:{n}" for n in range(300)], f"partition {partition}")
    # Without -p it assigns all of them.
    found = kcat(ctx, "-C", "-q", "-e", "-t", topic, "-o", "beginning", "-f", "%p:%o=%s\n").splitlines()
    equal(sorted(found), sorted(f"{p}:{n}={p}:{n}" for p in range(4) for n in range(300)), "all partitions")


@check("kcat")
def metadata(ctx: Context) -> None:
    topic = create_topic(ctx, partitions=3)
    for more in ([], ["-t", topic]):
        found = json.loads(kcat(ctx, "-L", "-J", *more))
        equal([broker["name"] for broker in found["brokers"]], [ctx.bootstrap], "brokers")
        leader = found["brokers"][0]["id"]
        described = next(t for t in found["topics"] if t["topic"] == topic)
        equal(described["partitions"], [{"partition": p, "leader": leader, "replicas": [{"id": leader}],
                                         "isrs": [{"id": leader}]} for p in range(3)], "partitions")


@check("kcat")
def a_megabyte(ctx: Context) -> None:
    topic = create_topic(ctx)
    text = "".join(f"{n:09}," for n in range(100_000))[:999_000]
    source = ctx.scratch / "large"
    source.write_text(text)
    kcat(ctx, "-P", "-t", topic, source)
    found = consume(ctx, topic)
    that(found == [text], f"{len(found)} messages of {[len(line) for line in found]} bytes, not the one of {len(text)}")


@check("kcat")
def a_topic_comes_by_writing(ctx: Context) -> None:
    topic = ctx.name("auto")
    produce(ctx, topic, ["hello"])
    equal(consume(ctx, topic), ["hello"], "lines")
