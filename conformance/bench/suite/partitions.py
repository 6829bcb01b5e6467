"""What many partitions cost: throughput, latency at one rate, memory, the time to start again."""

from bench.case import Bench, Case, Run, Target, Values
from bench.probe import timed_start
from bench.stage import Stage

RATE = "20MB"
SHOWS = ("sent_mb_s", "cpu_s_per_gb", "p50_ms", "p99_ms", "p999_ms", "resident_max_mib", "ready_s", "serving_s")


def _with(number: int) -> Run:
    def run(stage: Stage) -> Values:
        partitions = stage.scale.many(number)
        stage.heat()
        stage.touch(partitions)
        most = stage.generate("produce", "--unthrottled", "--partitions", partitions)
        steady = stage.generate("produce", "--rate", RATE, "--partitions", partitions)
        latencies = {key: steady[key] for key in ("p50_ms", "p99_ms", "p999_ms")}
        resident = max(most["resident_max_mib"], steady["resident_max_mib"])
        stage.broker.stop()
        return {**most, **latencies, "resident_max_mib": resident, **timed_start(stage.broker, "bench", partitions)}

    return run


def _case(number: int) -> Case:
    return Case(f"{number:,} partition{'s' if number > 1 else ''} in all", _with(number), SHOWS)


BENCH = Bench(
    name="partitions",
    title="Partitions",
    cases=tuple(_case(number) for number in (1, 6, 1000, 10_000)),
    targets=(
        Target("10,000 partitions in all", "p99_ms", than=("millrace", "6 partitions in all"), times=1 / 1.5),
        Target("10,000 partitions in all", "resident_max_mib", limit=256),
    ),
    says=(
        f"unthrottled, then latencies at {RATE[:-2]} MB/s; batches go to the partitions in turn, and each has a record before",
        "then a clean stop and the time of the next start: until the ready line, and until Metadata shows a leader for every partition",
    ),
)
