"""Half an hour at half speed: does memory grow, do latencies?"""

import statistics

from bench.case import SATURATION, Bench, Case, Setting, Target, Values, share
from bench.figures import MIB
from bench.stage import Stage

MINUTES = 30
RETENTION: tuple[Setting, ...] = ("--topic-config", "retention.bytes=536870912", "--topic-config", "segment.bytes=134217728")
"""Per partition: half an hour of everything would not fit on every disk."""


def _quarter(seconds: list[dict], number: int) -> list[dict]:
    return seconds[len(seconds) * number // 4:len(seconds) * (number + 1) // 4]


def _soak(stage: Stage) -> Values:
    seconds = round(60 * MINUTES * stage.scale.part) or 1
    stage.heat()
    values = stage.generate("e2e", "--rate", share(0.5), *RETENTION, "--duration", max(4, seconds), "--warm-up",
                            str(stage.scale.warm_up_s))
    measured = [second for second in stage.last["seconds"] if not second["warm_up"]]
    for figure, number in (("p999_first_ms", 0), ("p999_last_ms", 3)):
        points = [second["latencies"]["produce"]["p999"] / 1e3 for second in _quarter(measured, number)
                  if "produce" in second["latencies"]]
        if points:
            values[figure] = statistics.median(points)
    early, late = ([second["server"]["resident"] for second in _quarter(measured, number) if second["server"]] for number in (1, 3))
    if early and late:
        values["resident_grown_mib"] = (statistics.median(late) - statistics.median(early)) / MIB
    return values


BENCH = Bench(
    name="soak",
    title="Soak",
    cases=(
        SATURATION,
        Case(f"{MINUTES} minutes at 50 %", _soak, (
            "p999_first_ms", "p999_last_ms", "p50_ms", "p99_ms", "p999_ms", "e2e_p99_ms", "e2e_p999_ms", "sent_mb_s", "cpu_s_per_gb",
            "resident_max_mib", "resident_grown_mib")),
    ),
    targets=(Target(f"{MINUTES} minutes at 50 %", "resident_max_mib", limit=256),),
    says=(
        f"one producer and one tail consumer for {MINUTES} minutes at half of what Kafka took unthrottled in the same round; topics "
        "keep 512 MiB per partition, looked after every 30 s: with the 5 minutes of the default a round needs 50 GB of disk",
        "p99.9 of a quarter is the median of its seconds' p99.9; growth of memory is between the medians of two quarters",
    ),
    rounds=1,
    settings=(("log.retention.check.interval.ms", "30000"),),
)
