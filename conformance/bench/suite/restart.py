"""How long a killed server takes until it serves again."""

from bench.case import Bench, Case, Run, Target, Values
from bench.probe import timed_start
from bench.stage import Stage

PARTITIONS = 200


def _killed_with(gib: int) -> Run:
    def run(stage: Stage) -> Values:
        partitions = stage.scale.many(PARTITIONS)
        stage.generate("produce", "--unthrottled", "--records", stage.scale.records(gib), "--partitions", partitions,
                       "--batch-bytes", "250KiB")
        stage.broker.kill()
        return timed_start(stage.broker, "bench", partitions)

    return run


BENCH = Bench(
    name="restart",
    title="Restart after kill -9",
    cases=tuple(Case(f"killed with {gib} GiB", _killed_with(gib), ("ready_s", "serving_s"), page=False) for gib in (1, 4, 16)),
    targets=(
        Target("killed with 16 GiB", "ready_s", limit=1),
        Target("killed with 16 GiB", "serving_s", limit=1),
    ),
    says=(
        f"{PARTITIONS} partitions are filled, unthrottled; the server is killed with signal 9 right behind the last acknowledgement and "
        "started again at once on what it left, the page cache as it is",
        "the time counts from the start of the process until the ready line (Millrace only), and until ApiVersions is answered and "
        "Metadata shows a leader for every partition; a part of Kafka's is its controller's wait until the killed broker's "
        "session has expired",
    ),
    servers=("millrace", "kafka"),
)
