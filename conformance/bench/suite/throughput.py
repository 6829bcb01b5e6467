"""How much goes in: one axis at a time around one base point."""

import time

from bench.case import EVERY_CASE, Bench, Case, Setting, Target, Values, load
from bench.figures import MIB
from bench.stage import Stage
from harness.process import usage

SHOWS = ("sent_mb_s", "sent_k_s", "of_disk", "of_loopback", "p99_ms", "cpu_s_per_gb", "switches_per_gb", "resident_max_mib")
BASE = "1 KiB, 6 partitions"
COMPRESSIBLE = ("--compressibility", "0.5")
IDLE_S = 3


def _case(name: str, *settings: Setting) -> Case:
    return Case(name, load("produce", "--unthrottled", *settings), SHOWS)


def _partitions(number: int) -> Case:
    def run(stage: Stage) -> Values:
        partitions = stage.scale.many(number)
        stage.heat()
        stage.touch(partitions)
        return stage.generate("produce", "--unthrottled", "--partitions", partitions)

    return Case(f"{number:,} partition{'s' if number > 1 else ''}", run, SHOWS)


def _idle(stage: Stage) -> Values:
    time.sleep(IDLE_S)
    return {"resident_idle_mib": usage(stage.broker.pid).resident_bytes / MIB}


BENCH = Bench(
    name="throughput",
    title="Throughput",
    cases=(
        Case("idle", _idle, ("resident_idle_mib",)),
        _case(BASE),
        _case("100 B", "--record-size", "100"),
        _case("10 KiB", "--record-size", "10KiB"),
        _partitions(1),
        _partitions(100),
        _partitions(1000),
        _case("16 producers", "--producers", 16),
        _case("lz4", "--codec", "lz4", *COMPRESSIBLE),
        _case("zstd", "--codec", "zstd", *COMPRESSIBLE),
        _case("250 KiB batches", "--batch-bytes", "250KiB"),
        _case("250 KiB batches, 16 producers", "--batch-bytes", "250KiB", "--producers", 16),
    ),
    targets=(
        Target("idle", "resident_idle_mib", limit=40e6 / MIB),
        Target(BASE, "sent_mb_s", than="kafka", times=6),
        Target(BASE, "sent_mb_s", than="kafka-flush", times=10),
        Target(BASE, "cpu_s_per_gb", than="kafka", times=7),
        Target(BASE, "cpu_s_per_gb", limit=0.8),
        Target("100 B", "sent_k_s", than="kafka", times=5),
        Target("1,000 partitions", "sent_mb_s", than="kafka", times=10),
        Target("1,000 partitions", "sent_mb_s", than=("millrace", BASE), times=0.75),
        Target("250 KiB batches", "sent_mb_s", limit=1000),
        Target(EVERY_CASE, "resident_max_mib", limit=256),
    ),
    says=(
        "the base is 1 KiB records of random bytes, 6 partitions, 1 producer with 5 requests in flight, no compression, batches of "
        "128 KiB, acks=all; each other case changes what its name says",
        "1, 100 and 1,000 partitions: each has a record before anything is measured",
        "lz4 and zstd: half of each value compresses away, and sizes are those before compression",
        f"idle: a fresh server, {IDLE_S} s after it began to serve",
    ),
)
