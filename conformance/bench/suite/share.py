"""Share groups: what it costs to give records away one by one and to remember what became of each, and how long that takes."""

from bench.case import EVERY_CASE, Bench, Case, Run, Setting, Target, Values
from bench.stage import Stage

RATE = 20_000
CONSUMERS = 4
GIB = 1
RELEASED, REJECTED = 10, 5
BASE = f"1 group of {CONSUMERS} consumers"
GROUPS = f"3 groups of {CONSUMERS} consumers"
MIXED = f"1 group, {RELEASED} % released and {REJECTED} % rejected"
BACKLOG = f"a backlog of {GIB} GiB"
PER_CPU = ("acknowledged_k_s", "acknowledged_k_per_cpu_s", "cpu_cores", "resident_max_mib")
SHOWS = ("e2e_p50_ms", "e2e_p99_ms", "e2e_p999_ms", "ack_p50_ms", "ack_p99_ms", "p99_ms", *PER_CPU)


def _beside(*settings: Setting) -> Run:
    """Share consumers beside a producer at a fixed rate."""

    def run(stage: Stage) -> Values:
        stage.heat(share=True)
        return stage.generate("share", "--rate", RATE, "--consumers", CONSUMERS, *settings)

    return run


def _backlog(stage: Stage) -> Values:
    """What is there already, as fast as it goes."""
    stage.heat(share=True)
    records = stage.scale.records(GIB)
    stage.generate("produce", "--unthrottled", "--records", records)
    return stage.generate("share", "--records", records, "--consumers", CONSUMERS)


BENCH = Bench(
    name="share",
    title="Share groups",
    cases=(
        Case(BASE, _beside(), SHOWS),
        Case(GROUPS, _beside("--groups", 3), SHOWS),
        Case(MIXED, _beside("--release", RELEASED, "--reject", REJECTED), SHOWS),
        Case(BACKLOG, _backlog, PER_CPU),
    ),
    targets=(Target(EVERY_CASE, "acknowledged_k_per_cpu_s", than="kafka", times=3),),
    says=(
        f"one producer sends {RATE:,} records a second; the consumers take at most 500 records at a time (batch optimized) and acknowledge them "
        "with their next fetch; before anything counts they have joined, and a group has taken records from the heated topic",
        "records per server CPU second: acknowledgements that the server confirmed, accepted, released or rejected, by all CPU that it used "
        "meanwhile, that for the producer included; the backlog has no producer beside it",
        "acknowledge: from the request that carries an acknowledgement to its answer, which waits for the next records",
    ),
    servers=("millrace", "kafka"),
)
