"""The first comparison: durable Millrace and page-cache Kafka by turns, with Kafka's own producer perf test."""

import argparse
import datetime
import os
import shlex
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench import machine, report  # noqa: E402
from bench.phases import CONSUMERS, PARTITIONS, PRODUCER, RECORD_BYTES, SETTLE_S, Bench, Phase  # noqa: E402
from harness import paths  # noqa: E402
from harness.broker import Broker, Kafka, Millrace  # noqa: E402
from harness.process import unwind_on_terminate  # noqa: E402

PEERS = {
    "millrace": ("Millrace as it comes: every acknowledgement after its fdatasync", lambda: Millrace()),
    "kafka": ("Apache Kafka 4.3.1 as it comes: acknowledged from the page cache, heap 1 GiB", lambda: Kafka()),
    "kafka-durable": ("Apache Kafka 4.3.1 with an fsync before each acknowledgement",
                      lambda: Kafka({"log.flush.interval.messages": "1"})),
}
THROTTLED_PER_SECOND = 20_000_000 // RECORD_BYTES


def one_turn(peer: str, turn: int, arguments: argparse.Namespace, raw: Path) -> list[Phase]:
    """A fresh broker on a fresh directory, warmed up, through all phases."""
    os.sync()  # what the turn before left to write back is not this one's burden
    broker: Broker = PEERS[peer][1]()
    with broker:
        bench = Bench(peer, turn, broker, raw)
        bench.produce("warm-up", bench.topic(), arguments.records // 4, -1, tail=False)
        rows = []
        first = bench.topic()
        steady = THROTTLED_PER_SECOND * arguments.seconds
        for name, topic, records, per_second, tail in (
                ("unthrottled", first, arguments.records, -1, False),
                ("unthrottled with consumers at the tail", bench.topic(), arguments.records, -1, True),
                ("20 MB/s", bench.topic(), steady, THROTTLED_PER_SECOND, False),
                ("20 MB/s with consumers at the tail", bench.topic(), steady, THROTTLED_PER_SECOND, True)):
            rows.append(_said(bench.produce(name, topic, records, per_second, tail)))
        rows.append(_said(bench.read_back("read back", first)))
        broker.stop()
    return rows


def _said(row: Phase) -> Phase:
    shown = {key: round(value, 2) for key, value in vars(row).items() if isinstance(value, float)}
    print(f"turn {row.turn} {row.peer:10} {row.name:40} {shown}", flush=True)
    return row


def setup(arguments: argparse.Namespace, peers: list[str]) -> list[str]:
    """What the README says about the method."""
    return [
        *(f"**{peer}**: {PEERS[peer][0]}" for peer in peers),
        f"{arguments.turns} turns each, one after the other, never two brokers at a time; every turn a new broker on an "
        "empty directory, warmed up by a quarter of a phase that is not counted; `sync` before each turn",
        f"kafka-producer-perf-test, {RECORD_BYTES}-byte random records, {PARTITIONS} partitions, `{' '.join(PRODUCER)}`; "
        f"{arguments.records:,} records unthrottled, {arguments.seconds} s at {THROTTLED_PER_SECOND:,} records/s (20 MB/s); "
        "percentiles are the tool's, over all records, whole milliseconds",
        f"consumers: {CONSUMERS} processes of librdkafka (confluent-kafka), assigned partitions, default settings; end to "
        "end is arrival minus the record's create time, sampled at the first and last record of each gulp, the worse of "
        "the two processes",
        "read back: the same consumers read the topic of the first phase from its start, CPU per GB fetched",
        f"MB are 10^6, GB 10^9 bytes of record values; server CPU is user and system time of the broker's process "
        f"from /proc, with {SETTLE_S} s of rest after each phase included, per GB produced (with consumers: each GB is "
        "produced once and fetched once)",
        "producer, consumers and broker share the processors: a broker that needs less leaves more to the clients",
    ]


def result_directory(name: str) -> Path:
    """bench-results/<date>-<name>, with a number when that is taken."""
    base = paths.REPOSITORY / "bench-results" / f"{datetime.date.today().isoformat()}-{name}"
    candidates = [base, *(base.with_name(f"{base.name}-{number}") for number in range(2, 100))]
    return next(candidate for candidate in candidates if not candidate.exists())


def main() -> int:
    """Runs all turns; what was measured before a failure is written too."""
    unwind_on_terminate()
    parser = argparse.ArgumentParser(prog="scripts/bench first-comparison", description=__doc__)
    parser.add_argument("--turns", type=int, default=3, help="of each peer (default 3)")
    parser.add_argument("--records", type=int, default=1_000_000, help="of an unthrottled phase (default 1,000,000)")
    parser.add_argument("--seconds", type=int, default=20, help="of a throttled phase (default 20)")
    parser.add_argument("--peers", default="millrace,kafka", help=f"of {','.join(PEERS)}")
    parser.add_argument("--out", type=Path, help="result directory (default bench-results/<date>-first-comparison)")
    arguments = parser.parse_args()
    peers = arguments.peers.split(",")
    if unknown := set(peers) - set(PEERS):
        parser.error(f"no peer {', '.join(unknown)}")
    directory = arguments.out or result_directory("first-comparison")
    raw = directory / "raw"
    raw.mkdir(parents=True)
    paths.WORK.mkdir(parents=True, exist_ok=True)
    rows: list[Phase] = []
    facts = machine.facts(paths.WORK)
    try:
        for turn in range(1, arguments.turns + 1):
            for peer in peers:
                rows += one_turn(peer, turn, arguments, raw)
    finally:
        command = shlex.join(["scripts/bench", "first-comparison", *sys.argv[1:]])
        report.write(directory, "First comparison", command, setup(arguments, peers), facts, rows, peers)
        print(f"written to {directory}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
