"""How long it takes: at parts of what Kafka can do at all, and one record at a time."""

from bench.case import SATURATION, Bench, Case, Target, load, share

PRODUCE = ("p50_ms", "p99_ms", "p999_ms", "sent_mb_s", "cpu_cores")
END_TO_END = ("e2e_p50_ms", "e2e_p99_ms", "e2e_p999_ms", *PRODUCE)
PARTS = (10, 50, 80)
ONE_AT_A_TIME = ("--closed-loop", "--in-flight", 1, "--batch-bytes", 1, "--linger", "0s", "--partitions", 1)

BENCH = Bench(
    name="latency",
    title="Latency",
    cases=(
        SATURATION,
        *(Case(f"produce at {part} %", load("produce", "--rate", share(part / 100)), PRODUCE) for part in PARTS),
        *(Case(f"end to end at {part} %", load("e2e", "--rate", share(part / 100)), END_TO_END) for part in PARTS),
        Case("one record at a time", load("produce", *ONE_AT_A_TIME), (*PRODUCE[:3], "sent_k_s")),
        Case("one record at a time, end to end", load("e2e", *ONE_AT_A_TIME), (*END_TO_END[:6], "sent_k_s")),
        Case("800 MB/s in batches of 250 KiB", load("produce", "--rate", "800MB", "--batch-bytes", "250KiB"), PRODUCE,
             servers=("millrace",)),
    ),
    targets=(
        Target("produce at 50 %", "p99_ms", than="kafka", times=5),
        Target("produce at 50 %", "p999_ms", than="kafka", times=10),
        Target("produce at 10 %", "p99_ms", than="kafka-flush", times=10),
        Target("produce at 50 %", "p99_ms", than="kafka-flush", times=10),
        Target("one record at a time, end to end", "e2e_p50_ms", limit=0.6),
        Target("one record at a time, end to end", "e2e_p99_ms", limit=2),
        Target("800 MB/s in batches of 250 KiB", "p99_ms", limit=5),
        Target("800 MB/s in batches of 250 KiB", "p999_ms", limit=10),
    ),
    says=(
        "parts are of what Kafka took unthrottled in the same round (case saturation); all servers get the same rate, "
        "and the commands below show the first round's",
        "open loop: latency counts from the moment at which the schedule wanted a record sent, so it holds the linger of 5 ms that "
        "the first record of a batch waits",
        "one record at a time: closed loop, one record per batch, one request in flight, the next one when its answer is there",
    ),
)
