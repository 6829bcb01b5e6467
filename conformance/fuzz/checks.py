"""A million changed requests of real clients: the broker lives, answers or closes, and its other client feels nothing."""

import shutil
from pathlib import Path

from clients.librdkafka.common import admin_client
from fuzz.neighbour import PARTITIONS, Neighbour
from fuzz.watch import Watch, no_trend, open_files, returns_to, told
from harness import options, paths, topics
from harness.check import CheckFailed, Context, check, that
from harness.java import class_path, logging_options
from harness.process import followed

RECORDING = Path(__file__).parent / "recording.txt"
SOURCES = [paths.CONFORMANCE / "wire" / "src", paths.CONFORMANCE / "fuzz" / "src"]
REQUESTS_DEFAULT = 3000
CONNECTIONS = 32
MEMORY_MIB = 256
BASE_BYTES = 192 << 20
"""What the process needs beside --memory: code, stacks, metadata, the allocator's slack."""
TREND_SLACK_BYTES = 32 << 20
HANDLES_SLACK = 16 + 50
"""The second part: a segment of each partition of `__consumer_offsets` stays open once a group of the fuzzer touched it."""

GIVES_BACK = {"GLIBC_TUNABLES": "glibc.malloc.mmap_threshold=131072:glibc.malloc.trim_threshold=131072"}
"""The system's allocator gives back what is freed rather than keep it, so that what stays resident is what is in use."""

SETTINGS = {
    "millrace.memory": f"{MEMORY_MIB}MiB",
    # Members of the fuzzer's groups are soon forgotten.
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "100",
    "group.max.session.timeout.ms": "6000",
}


@check("fuzz", settings=SETTINGS, bound_s=lambda: 600 + options.requests(REQUESTS_DEFAULT) // 200)
def changed_requests_break_nothing(ctx: Context) -> None:
    if ctx.target != "millrace":
        return  # what is asked here is a promise of Millrace's
    ctx.broker.stop()
    ctx.broker.environment = GIVES_BACK
    ctx.broker.start()
    topic = ctx.name("neighbour")
    topics.create(admin_client(ctx), topic, PARTITIONS)
    recorded = {line.split()[1] for line in RECORDING.read_text().splitlines() if line.startswith("topic ")}
    handles = open_files(ctx.broker.pid)
    neighbour, watch = Neighbour(ctx, topic), Watch(ctx, {topic, *recorded})
    neighbour.start()
    watch.start()
    try:
        _fuzz(ctx)
    finally:
        # Whatever happened: the threads end. What the fuzzer found is told before what follows from it.
        watch.stop()
        neighbour.stop()
    neighbour.felt_nothing()
    print(f"          | {told(watch, ctx.broker.admin)}; slowest turn of the client beside it {neighbour.slowest_s:.2f} s", flush=True)
    print(f"          | {no_trend(watch.uncounted, TREND_SLACK_BYTES)}", flush=True)
    that(max(watch.resident) <= (MEMORY_MIB << 20) + BASE_BYTES, f"{max(watch.resident) >> 20} MiB are resident")
    returns_to(ctx.broker.pid, handles, HANDLES_SLACK)
    ctx.broker.stop()
    ctx.broker.start()
    neighbour.verify()


def _fuzz(ctx: Context) -> None:
    command = ["java", "-Xmx384m", "-XX:+UseSerialGC", *logging_options(), "Fuzz", ctx.bootstrap, RECORDING,
               options.requests(REQUESTS_DEFAULT), options.seed(), CONNECTIONS, paths.WORK]
    last = followed(command, class_path("fuzz", SOURCES))
    if last != "nothing broke":
        kept = paths.WORK / f"broken-{options.seed()}.log"
        shutil.copy(ctx.broker.log, kept)
        state = "" if ctx.broker.running() else f"the broker has ended with status {ctx.broker.exit_status()}; "
        raise CheckFailed(f"{state}{last}; the broker's log: {kept}; again with --seed {options.seed()} "
                          f"--requests {options.requests(REQUESTS_DEFAULT)}")
