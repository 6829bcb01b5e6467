"""Many connections that do little, beside a producer."""

from bench.case import Bench, Case, Run, Values
from bench.stage import Stage

RATE = "20MB"
PER_SECOND = 2000
SHOWS = ("connect_p50_ms", "connect_p99_ms", "p50_ms", "p99_ms", "p999_ms", "cpu_cores", "resident_max_mib")


def _open(number: int) -> Run:
    def run(stage: Stage) -> Values:
        connections = stage.scale.many(number)
        seconds = stage.scale.seconds + connections // PER_SECOND
        stage.heat()
        return stage.generate("connections", "--connections", connections, "--connect-rate", PER_SECOND, "--every", "5s", "--rate",
                              RATE, "--duration", seconds)

    return run


BENCH = Bench(
    name="connections",
    title="Connections",
    cases=tuple(Case(f"{number:,} connections", _open(number), SHOWS) for number in (100, 1000, 10_000)),
    says=(
        f"{PER_SECOND:,} connections a second are opened on a schedule, each asks for something small every 5 s; one producer "
        f"sends {RATE[:-2]} MB/s all the while, the seconds of opening are part of the measurement",
    ),
)
