"""Many consumer groups: what their heartbeats cost, and what it costs when members come and go."""

from bench.case import Bench, Case, Run, Values
from bench.stage import Stage

GROUPS, MEMBERS = 1_000, 5
STORM = 20
QUIET = f"{GROUPS:,} groups of {MEMBERS} members"
SHOWS = ("cpu_cores", "resident_max_mib", "rebalance_p50_ms", "rebalance_p99_ms")


def _groups(storm: int) -> Run:
    def run(stage: Stage) -> Values:
        groups = stage.scale.many(GROUPS)
        return stage.generate("groups", "--groups", groups, "--members", MEMBERS, "--storm", storm, "--heartbeat", "3s", "--session-timeout",
                              "45s", "--duration", 3 * stage.scale.seconds, "--warm-up", 6 * stage.scale.warm_up_s)

    return run


BENCH = Bench(
    name="groups",
    title="Groups",
    cases=(
        Case(QUIET, _groups(0), SHOWS[:2]),
        Case(f"the same, {STORM} members a second leave and come back", _groups(STORM), SHOWS),
    ),
    says=(
        "members by the classic protocol with Kafka's defaults of heartbeats (3 s) and sessions (45 s), each with a connection of its own; "
        "they gather before anything counts",
    ),
)
