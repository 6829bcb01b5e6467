"""The phases of a comparison: Kafka's producer perf test and librdkafka consumers against one running broker."""

import json
import re
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from confluent_kafka.admin import AdminClient

from harness import paths, topics
from harness.broker import Broker
from harness.process import run, usage

RECORD_BYTES = 1024
PARTITIONS = 6
CONSUMERS = 2
PRODUCER = ["acks=all", "batch.size=131072", "linger.ms=5"]
SETTLE_S = 2
"""After each phase, inside the CPU measurement: what a broker puts off belongs to the phase that caused it."""
PHASE_BOUND_S = 600

SUMMARY = re.compile(r"^(\d+) records sent, ([\d.]+) records/sec .*? ([\d.]+) ms avg latency, ([\d.]+) ms max latency, "
                     r"(\d+) ms 50th, (\d+) ms 95th, (\d+) ms 99th, (\d+) ms 99\.9th\.")


@dataclass
class Phase:
    """One row of raw results. MB are 10^6 and GB 10^9 bytes of record values; times in ms unless named."""

    peer: str
    turn: int
    name: str
    produced_mb_s: float | None = None
    p50_ms: float | None = None
    p99_ms: float | None = None
    p999_ms: float | None = None
    max_ms: float | None = None
    consumed_mb_s: float | None = None
    e2e_p50_ms: float | None = None
    e2e_p99_ms: float | None = None
    e2e_p999_ms: float | None = None
    cpu_s_per_gb: float | None = None
    resident_mib: float | None = None
    resident_max_mib: float | None = None

    def as_json(self) -> str:
        """One line of results.jsonl."""
        return json.dumps(asdict(self))


class Bench:
    """Runs phases against one broker and writes what the tools said into `raw`."""

    def __init__(self, peer: str, turn: int, broker: Broker, raw: Path):
        self._peer, self._turn, self._broker, self._raw = peer, turn, broker, raw
        self._admin = AdminClient({"bootstrap.servers": broker.bootstrap, "log_level": 0})
        self._topics = 0

    def topic(self) -> str:
        """A fresh topic whose partitions serve."""
        self._topics += 1
        name = f"bench-{self._topics}"
        topics.create(self._admin, name, PARTITIONS)
        return name

    def ends(self, topic: str) -> dict[int, int]:
        """End offsets by partition."""
        return topics.ends(self._admin, topic, PARTITIONS)

    def produce(self, name: str, topic: str, records: int, per_second: int, tail: bool) -> Phase:
        """Kafka's producer perf test, alone or with consumers at the tail."""
        phase = Phase(self._peer, self._turn, name)
        consumers = [self._consumer(topic, share) for share in _shares()] if tail else []
        try:
            with self._server(phase, records):
                said = self._perf_test(topic, records, per_second)
                self._write(name, said)
                _read_summary(said, phase)
                if consumers:
                    self._finish(consumers, topic, phase, name)
        finally:
            for consumer in consumers:
                consumer.kill()
                consumer.wait()
        return phase

    def read_back(self, name: str, topic: str) -> Phase:
        """Consumers read a whole topic from its start, nothing else happens."""
        phase = Phase(self._peer, self._turn, name)
        records = sum(self.ends(topic).values())
        with self._server(phase, records):
            consumers = [self._consumer(topic, share, wait=False) for share in _shares()]
            try:
                self._finish(consumers, topic, phase, name)
            finally:
                for consumer in consumers:
                    consumer.kill()
                    consumer.wait()
        phase.e2e_p50_ms = phase.e2e_p99_ms = phase.e2e_p999_ms = None
        return phase

    @contextmanager
    def _server(self, phase: Phase, records: int):
        before = usage(self._broker.pid)
        yield
        time.sleep(SETTLE_S)
        after = usage(self._broker.pid)
        phase.cpu_s_per_gb = (after.cpu_s - before.cpu_s) / (records * RECORD_BYTES / 1e9)
        phase.resident_mib = after.resident_bytes / (1 << 20)
        phase.resident_max_mib = after.resident_bytes_max / (1 << 20)

    def _perf_test(self, topic: str, records: int, per_second: int) -> str:
        command = [paths.KAFKA, "tool", "kafka-producer-perf-test", "--bootstrap-server", self._broker.bootstrap,
                   "--topic", topic, "--num-records", records, "--record-size", RECORD_BYTES, "--throughput", per_second,
                   "--command-property", *PRODUCER]
        return run(command, bound_s=PHASE_BOUND_S).stdout

    def _consumer(self, topic: str, share: list[int], wait: bool = True) -> subprocess.Popen:
        program = Path(__file__).resolve().parent / "tail_consumer.py"
        consumer = subprocess.Popen([sys.executable, str(program), self._broker.bootstrap, topic, *map(str, share)],
                                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if wait and consumer.stdout.readline().strip() != "ready":
            consumer.kill()
            raise RuntimeError(f"a consumer did not start: {consumer.stderr.read()}")
        return consumer

    def _finish(self, consumers: list[subprocess.Popen], topic: str, phase: Phase, name: str) -> None:
        ends = self.ends(topic)
        for consumer in consumers:
            consumer.stdin.write(json.dumps(ends) + "\n")
            consumer.stdin.flush()
        results = []
        for consumer in consumers:
            said, complaint = consumer.communicate(timeout=PHASE_BOUND_S)
            self._write(name, said + complaint)
            if consumer.returncode != 0:
                raise RuntimeError(f"a consumer failed: {complaint}")
            results.append(json.loads(said.strip().splitlines()[-1]))
        read = sum(result["records"] for result in results)
        if read != sum(ends.values()):
            raise RuntimeError(f"{read} of {sum(ends.values())} records were consumed")
        phase.consumed_mb_s = read * RECORD_BYTES / 1e6 / max(result["seconds"] for result in results)
        phase.e2e_p50_ms, phase.e2e_p99_ms, phase.e2e_p999_ms = (
            max(result[key] for result in results) for key in ("p50_ms", "p99_ms", "p999_ms"))

    def _write(self, name: str, said: str) -> None:
        with open(self._raw / f"turn{self._turn}-{self._peer}-{name.replace(' ', '-').replace('/', '-')}.txt", "a") as file:
            file.write(said)


def _shares() -> list[list[int]]:
    return [list(range(first, PARTITIONS, CONSUMERS)) for first in range(CONSUMERS)]


def _read_summary(said: str, phase: Phase) -> None:
    lines = [match for line in said.splitlines() if (match := SUMMARY.match(line))]
    if not lines:
        raise RuntimeError(f"no summary in {said!r}")
    _, per_second, _, longest, p50, _, p99, p999 = map(float, lines[-1].groups())
    phase.produced_mb_s = per_second * RECORD_BYTES / 1e6
    phase.p50_ms, phase.p99_ms, phase.p999_ms, phase.max_ms = p50, p99, p999, longest
