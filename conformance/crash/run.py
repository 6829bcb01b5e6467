"""kill -9 at random moments under idempotent load, restart, go on; then every acknowledged record is looked for."""

import argparse
import os
import random
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from confluent_kafka.admin import AdminClient  # noqa: E402

from crash import checker, compacted, group, load, share  # noqa: E402
from crash.ledger import Ledger, decode  # noqa: E402
from harness import paths, topics  # noqa: E402
from harness.broker import TARGETS, Broker, Millrace  # noqa: E402
from harness.logs import LogWatch, allowed_lines  # noqa: E402
from harness.process import unwind_on_terminate  # noqa: E402

RUNS_PER_DIRECTORY = 10
SHOWN = 20
"""Lines of what is wrong that are printed for one run."""

TOPIC = "crash"
# Small segments: a directory lives through many rolls and, with the budget below, many turns of the journals.
TOPIC_CONFIG = {"segment.bytes": str(4 << 20)}
MILLRACE_MEMORY = "256M"


class Stage:
    """One data directory with its broker, clients and ledger; lives through several runs."""

    def __init__(self, target: str, seed: int):
        self.broker: Broker = TARGETS[target](settings=compacted.BROKER_CONFIG | share.BROKER_CONFIG)
        self._chance = random.Random(f"{seed} stage")
        self._shape_next_start()
        self.ledger, self.keyed = Ledger(), Ledger()
        self._watch = LogWatch(target, self.broker.log, allowed_lines())
        self._seed, self._clients_made = seed, 0
        self._seen: checker.Seen = []
        self.compacted: compacted.Log = {}
        self.clients: list[load.Client] = []
        self.tail: load.Tail | None = None
        self.groups: list[group.Group] = []
        self.queue: share.Group | None = None

    def open(self) -> None:
        """Starts the broker, makes the topic, lets the clients connect."""
        self.broker.start()
        admin = AdminClient({"bootstrap.servers": self.broker.bootstrap, "log_level": 0})
        # A kill takes nothing from a topic that is acknowledged when it is written, either.
        relaxed = {"flush.ms": "1000"} if self._chance.random() < 0.5 else {}
        topics.create(admin, TOPIC, load.PARTITIONS, TOPIC_CONFIG | relaxed)
        topics.create(admin, compacted.TOPIC, load.PARTITIONS, compacted.TOPIC_CONFIG)
        self.tail = load.Tail(self.broker.bootstrap, TOPIC)
        self.clients = [*(self._client(kind) for kind in range(len(load.KINDS))), self._keyed_client()]
        self.groups = [group.Group(self.broker.bootstrap, TOPIC, kind) for kind in group.KINDS]
        self.queue = share.Group(self.broker.bootstrap, TOPIC)

    def _client(self, kind: int) -> load.Client:
        self._clients_made += 1
        return load.Client(self.broker.bootstrap, TOPIC, self._clients_made, kind, self.ledger, self._seed)

    def _keyed_client(self) -> load.Client:
        self._clients_made += 1
        return compacted.client(self.broker.bootstrap, self._clients_made, self.keyed, self._seed)

    def _shape_next_start(self) -> None:
        """Nothing on disk may depend on the number of cores: every start chooses one."""
        if isinstance(self.broker, Millrace):
            cores = self._chance.randint(1, min(2, os.cpu_count() or 1))
            self.broker.arguments = ["--cores", str(cores), "--memory", MILLRACE_MEMORY]

    def replace_a_client(self, chance: random.Random) -> None:
        """A client ends, another takes its place with a producer id of its own."""
        kind = chance.randrange(len(load.KINDS))
        self.clients[kind].end()
        self.clients[kind] = self._client(kind)

    def crash(self, chance: random.Random) -> int:
        """kill -9 after a moment, then a start; sometimes the start is killed too. Returns the number of kills."""
        time.sleep(chance.choice([chance.uniform(0, 0.2), chance.uniform(0.2, 1), chance.uniform(1, 3)]))
        self.broker.kill()
        kills = 1
        while isinstance(self.broker, Millrace) and chance.random() < 0.25:
            self._shape_next_start()
            self.broker.launch()
            time.sleep(chance.uniform(0, 0.06))
            self.broker.kill()
            kills += 1
        self._shape_next_start()
        self.broker.start()
        return kills

    def restart(self) -> None:
        """A clean stop and start."""
        self.broker.stop()
        self._shape_next_start()
        self.broker.start()

    def verify(self) -> tuple[checker.Log, list[str]]:
        """Reads everything back; the clients must be paused. Returns the log and what is wrong with it."""
        log = load.read_log(self.broker.bootstrap, TOPIC, lambda message: decode(message.value()))
        self.compacted = compacted.read(self.broker.bootstrap)
        self._seen += self.tail.taken()
        wrong = checker.violations(self.ledger, log, self._seen)
        for one in self.groups:
            wrong += one.verify()
        wrong += self.queue.verify({partition: len(records) for partition, records in log.items()})
        wrong += [f"{compacted.TOPIC}: {line}" for line in compacted.violations(self.keyed, self.compacted)]
        wrong += self.ledger.complaints + self.keyed.complaints + self.tail.complaints
        wrong += [f"LOG LINE: {line}" for line in self._watch.unlisted("crash")]
        return log, wrong

    def self_test(self, log: checker.Log, seed: int) -> list[str]:
        """Tamperings with the logs that the checkers miss."""
        return checker.self_test(self.ledger, log, self._seen, seed) + compacted.self_test(self.keyed, self.compacted, seed)

    def close(self, keep: bool) -> None:
        """Ends everything; a directory that shows a failure is kept."""
        for client in self.clients:
            client.end()
        for one in self.groups:
            one.end()
        if self.queue:
            self.queue.end()
        if self.tail:
            self.tail.end()
        if self.broker.running():
            self.broker.kill()
        if not keep:
            self.broker.remove()


def one_run(stage: Stage, chance: random.Random) -> tuple[int, checker.Log, list[str]]:
    """Load, one to three crashes, load, quiet, and the check."""
    if chance.random() < 0.25:
        stage.replace_a_client(chance)
    if chance.random() < 0.25:
        chance.choice([*stage.groups, stage.queue]).replace_a_member(chance)
    for client in stage.clients:
        client.resume()
    kills = sum(stage.crash(chance) for _ in range(chance.choice([1, 1, 2, 3])))
    time.sleep(chance.uniform(0.2, 0.7))
    for client in stage.clients:
        client.pause()
    log, wrong = stage.verify()
    return kills, log, wrong


def cut_on_disk(stage: Stage) -> list[str]:
    """Stops the broker, cuts the end off its largest log file, starts it: what is then found wrong (or why it refuses)."""
    for client in stage.clients:
        client.resume()
    time.sleep(2)
    for client in stage.clients:
        client.pause()
    _, before = stage.verify()
    if before:
        return []
    stage.broker.stop()
    place = stage.broker.directory / ("data/topics" if isinstance(stage.broker, Millrace) else "log")
    files = [path for path in place.rglob("*") if path.is_file() and "metadata" not in path.parent.name
             and path.suffix not in (".index", ".timeindex")]
    largest = max(files, key=lambda path: path.stat().st_blocks)
    os.truncate(largest, min(largest.stat().st_size, largest.stat().st_blocks * 512) // 2)
    try:
        stage.broker.start()
        return stage.verify()[1]
    except Exception as error:  # a broker that refuses damaged files has noticed, whatever it calls it
        return [f"REFUSED: {error}"]


def tamper(target: str, seed: int) -> int:
    """Proof on real files that a lost record is noticed."""
    stage = Stage(target, seed)
    try:
        stage.open()
        found = cut_on_disk(stage)
    finally:
        stage.close(keep=False)
    for line in found[:5]:
        print(f"  {line[:300]}")
    print(f"a log file cut in half: {len(found)} things found wrong")
    print("1 passed, 0 failed" if found else "0 passed, 1 failed")
    return 0 if found else 1


class Loop:
    """Run after run, a fresh stage now and then."""

    def __init__(self, target: str, runs: int, base: int):
        self._target, self._runs, self._base = target, runs, base
        self._stage: Stage | None = None
        self._tested = False

    def go(self) -> int:
        """All runs; returns the exit status."""
        failed = 0
        try:
            for number in range(self._runs):
                failed += not self._one(number)
        finally:
            if self._stage:
                self._stage.close(keep=False)
        print(f"{self._runs - failed} passed, {failed} failed")
        return 1 if failed else 0

    def _one(self, number: int) -> bool:
        seed = self._base + number
        last = number + 1 == self._runs or (number + 1) % RUNS_PER_DIRECTORY == 0
        told, wrong = "", []
        try:
            told, wrong = self._outcome(seed, last)
        except Exception as error:  # whatever stops a run is that run's outcome
            wrong = [f"{type(error).__name__}: {error}", *(self._stage.ledger.complaints if self._stage else [])]
        print(f"run {number + 1:3} seed {seed}: {told}{'FAILED' if wrong else 'ok'}", flush=True)
        for line in wrong[:SHOWN]:
            print(f"    {line}")
        if len(wrong) > SHOWN:
            print(f"    and {len(wrong) - SHOWN} more")
        if last or wrong:
            if wrong:
                print(f"    kept: {self._stage.broker.directory}", flush=True)
            stage, self._stage = self._stage, None
            stage.close(keep=bool(wrong))
        return not wrong

    def _outcome(self, seed: int, last: bool) -> tuple[str, list[str]]:
        if self._stage is None:
            self._stage = Stage(self._target, seed)
            self._stage.open()
        stage = self._stage
        kills, log, wrong = one_run(stage, random.Random(seed))
        recovered = "" if stage.broker.recovered_ms is None else f"recovered in {stage.broker.recovered_ms} ms, "
        if not wrong and not self._tested:
            self._tested = True
            missed = stage.self_test(log, seed) + group.self_test() + share.self_test()
            number = len(checker.TAMPERINGS) + len(compacted.TAMPERINGS)
            print(f"self-test of the checkers: {number - len(missed)} of {number} tamperings with the first logs were noticed", flush=True)
            wrong = [f"CHECKER: {line}" for line in missed]
        if last and not wrong:
            stage.restart()
            wrong = [f"after a clean restart: {line}" for line in stage.verify()[1]]
            if compacted.kept_everything(stage.keyed, stage.compacted):
                wrong += ["NOT COMPACTED: all records of all keys are still there"]
        held = sum(len(records) for records in log.values())
        return f"{kills} kills, {recovered}{stage.ledger.acknowledgements()} acknowledged, {held} in the log: ", wrong


def main() -> int:
    """Parses the command line."""
    unwind_on_terminate()
    parser = argparse.ArgumentParser(prog="scripts/crash", description=__doc__)
    parser.add_argument("runs", nargs="?", type=int, default=50, help="how many (default 50)")
    parser.add_argument("--seed", type=int, help="seed of the first run; each following one adds 1")
    parser.add_argument("--target", default="millrace", choices=sorted(TARGETS))
    parser.add_argument("--tamper", action="store_true", help="prove the checker on disk: cut a file, expect a failure")
    arguments = parser.parse_args()
    if arguments.runs < 1:
        parser.error("RUNS is at least 1")
    paths.WORK.mkdir(parents=True, exist_ok=True)
    seed = random.SystemRandom().randrange(10**9) if arguments.seed is None else arguments.seed
    return tamper(arguments.target, seed) if arguments.tamper else Loop(arguments.target, arguments.runs, seed).go()


if __name__ == "__main__":
    sys.exit(main())
