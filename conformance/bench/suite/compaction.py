"""A log of which much is out of date is compacted: how long, for how much, and what producers feel of it."""

import time

from bench import logs
from bench.case import Bench, Case, Setting, Values
from bench.figures import MIB
from bench.stage import Stage
from harness.broker import BrokerFailed
from harness.process import usage

GIB = 10
KEYS = 10_000_000
RATE = "20MB"
PAUSE_S = 0.5
BEGIN_BOUND_S, QUIET_S = 300, 60
"""A pass first reads for a good while what it will remember, and makes nothing smaller: so long a size must stay to be the last."""
LOG: tuple[Setting, ...] = ("--partitions", "1", "--topic-config", "segment.bytes=268435456", "--topic-config",
                            "min.cleanable.dirty.ratio=0.01")


def _fill(stage: Stage) -> int:
    """Writes the log and returns its bytes. It is not compacted yet."""
    keys = max(100, round(KEYS * stage.scale.part))
    stage.generate("produce", "--unthrottled", "--records", stage.scale.records(GIB), "--keys", f"uniform:{keys}", *LOG)
    return logs.size(stage.broker.bootstrap, "bench")


def _compact(stage: Stage) -> None:
    logs.set_config(stage.broker.bootstrap, "bench", "cleanup.policy", "compact")


def _await_rest(stage: Stage, before: int) -> tuple[float, int, float]:
    """Waits until the log has become smaller and goes on as it is; returns when that was, its bytes and the server's CPU seconds then."""
    begun = changed = time.monotonic()
    held, used = before, usage(stage.broker.pid).cpu_s
    while time.monotonic() - changed < QUIET_S or held == before:
        if held == before and time.monotonic() - begun > BEGIN_BOUND_S:
            raise BrokerFailed(f"nothing was compacted in {BEGIN_BOUND_S} s")
        time.sleep(PAUSE_S)
        if (now := logs.size(stage.broker.bootstrap, "bench")) != held:
            held, changed, used = now, time.monotonic(), usage(stage.broker.pid).cpu_s
    return changed, held, used


def _alone(stage: Stage) -> Values:
    before = _fill(stage)
    used_before, begun = usage(stage.broker.pid).cpu_s, time.monotonic()
    _compact(stage)
    ended, held, used = _await_rest(stage, before)
    return {"compact_s": ended - begun, "compact_cpu_s_per_gb": (used - used_before) / (before / 1e9), "kept_mib": held / MIB,
            "resident_max_mib": usage(stage.broker.pid).resident_bytes_max / MIB}


def _beside(stage: Stage) -> Values:
    before = _fill(stage)
    seconds = max(1, round(2 * stage.scale.seconds))
    load: tuple[Setting, ...] = ("--rate", RATE, "--duration", seconds)
    quiet = stage.generate("produce", *load, topic="beside")
    begun = time.monotonic()
    sending = stage.begin("produce", *load, topic="beside")
    try:
        _compact(stage)
    finally:
        values = sending()
    ended, _, _ = _await_rest(stage, before)
    return {**values, "compact_s": ended - begun, "p99_without_ms": quiet["p99_ms"], "p999_without_ms": quiet["p999_ms"]}


BENCH = Bench(
    name="compaction",
    title="Compaction",
    cases=(
        Case(f"{GIB} GiB, {KEYS // 1_000_000} M keys", _alone, ("compact_s", "compact_cpu_s_per_gb", "kept_mib", "resident_max_mib"), page=False),
        Case(f"{RATE[:-2]} MB/s beside it", _beside, ("p50_ms", "p99_ms", "p999_ms", "p99_without_ms", "p999_without_ms", "compact_s",
                                                     "cpu_cores", "resident_max_mib")),
    ),
    says=(
        f"{GIB} GiB with keys drawn from {KEYS:,} go to one partition with segments of 256 MiB, unthrottled; then `cleanup.policy` becomes "
        "`compact` and `min.cleanable.dirty.ratio` lets all of it be compacted but the active segment",
        f"the time counts until the last change of the log's size that DescribeLogDirs tells, seen every {PAUSE_S} s; CPU is per GB that "
        "was there before",
        "the second case sends to another topic for 20 s, first without, then while it is compacted; both rest 1 s when there is "
        "nothing to compact",
    ),
    settings=(("log.cleaner.backoff.ms", "1000"),),
)
