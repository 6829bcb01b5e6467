"""One stream in, several out: what each further consumer costs and gets."""

from bench.case import SATURATION, Bench, Case, Run, Target, Values, load, share
from bench.stage import Stage

PART = 0.2
SHOWS = ("e2e_p50_ms", "e2e_p99_ms", "e2e_p999_ms", "p99_ms", "sent_mb_s", "received_mb_s", "of_loopback", "cpu_cores",
         "resident_max_mib")
ALONE = "1 tail consumer"


def _tails(number: int) -> Run:
    return load("e2e", "--rate", share(PART), "--fan-out", number)


def _further(number: int) -> Run:
    """The same with what it costs the server to send each GB once more than to one consumer."""

    def run(stage: Stage) -> Values:
        values = _tails(number)(stage)
        alone = stage.earlier(ALONE)
        more_gb_s = (values["received_mb_s"] - alone["received_mb_s"]) / 1e3
        if more_gb_s > 0:
            values["cpu_s_per_gb_fetched"] = (values["cpu_cores"] - alone["cpu_cores"]) / more_gb_s
        return values

    return run


BENCH = Bench(
    name="fanout",
    title="Fan-out",
    cases=(
        SATURATION,
        Case(ALONE, _tails(1), SHOWS),
        Case("5 tail consumers", _further(5), (*SHOWS, "cpu_s_per_gb_fetched")),
        Case("20 tail consumers", _further(20), (*SHOWS, "cpu_s_per_gb_fetched")),
        Case("20 tail consumers, unthrottled", load("e2e", "--unthrottled", "--fan-out", 20),
             ("sent_mb_s", "received_mb_s", "of_loopback", "cpu_s_per_gb", "resident_max_mib")),
    ),
    targets=(
        Target("5 tail consumers", "cpu_s_per_gb_fetched", than="kafka", times=2),
        Target("20 tail consumers", "cpu_s_per_gb_fetched", than="kafka", times=2),
    ),
    says=(
        f"one producer at {PART:.0%} of what Kafka took unthrottled in the same round; every consumer gets everything, from the tail",
        "CPU per further GB fetched: what the server used more than with one consumer, by what it sent more than to one",
    ),
)
