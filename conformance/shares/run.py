"""A queue of many records under members of a share group that are killed: who runs, who is killed when, and when it is over."""

import random
import subprocess
import threading
import time
from collections import Counter
from pathlib import Path

from harness import paths
from harness.check import CheckFailed, Context, that
from harness.java import class_path, logging_options

from clients.java.one_jvm import SHARE_GROUPS, Tools, table
from clients.librdkafka.common import create_topic, flush, producer
from clients.librdkafka.share_members import fresh_group

from .ledger import SECOND_NS, Ledger

SOURCES = [paths.CONFORMANCE / "shares" / "src"]
PARTITIONS = 6
WORKERS = 4
ACQUIRE_MODES = ["record_limit", "record_limit", "record_limit", "batch_optimized"]
"""Of the workers, by place. Only some prefetch, as nobody sees the deliveries of what was prefetched for a member that is killed."""
LOCK_MS = 4000
SESSION_MS = 6000
DELIVERIES_MAX = 10
SENT_PER_SECOND = 12_000
"""At most: a run of few records sees some kills, too."""
SENT_S_MIN = 15
SHOWN = 20


class Workers:
    """The processes, each in a place, in which another one follows it when it is killed."""

    def __init__(self, ctx: Context, topic: str, group: str, seed: int):
        self._ctx, self._topic, self._group, self._seed = ctx, topic, group, seed
        self._environment = class_path("shares", SOURCES)
        self._complaints = open(ctx.scratch / "complaints.txt", "w+b")
        self.logs: list[Path] = []
        self.kills: list[int] = []
        self._processes = [self._started(place) for place in range(WORKERS)]

    def _started(self, place: int) -> subprocess.Popen:
        number = len(self.logs)
        self.logs.append(self._ctx.scratch / f"worker-{number}.log")
        command = ["java", "-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", *logging_options(), "ShareWorker", self._ctx.bootstrap,
                   self._topic, self._group, self._seed * 1000 + number, self.logs[-1], ACQUIRE_MODES[place], LOCK_MS]
        return subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                stderr=self._complaints, env=self._environment)

    def replace(self, place: int) -> None:
        """Kills a worker and starts another one."""
        worker = self._processes[place]
        that(worker.poll() is None, f"a worker ended by itself; they said: {self.said()}")
        # Before it dies: nobody gets what it had before that.
        self.kills.append(time.monotonic_ns())
        worker.kill()
        worker.wait()
        self._processes[place] = self._started(place)

    def end(self) -> None:
        """Kills all of them."""
        for worker in self._processes:
            worker.kill()
            worker.wait()
        self._complaints.close()

    def said(self) -> str:
        """The end of what they complained of."""
        self._complaints.seek(0)
        return self._complaints.read().decode(errors="replace")[-1500:]


def send(ctx: Context, topic: str, records: int, ended: threading.Event) -> None:
    """Sends so many records, each with its offset as its value, not faster than SENT_PER_SECOND."""
    client = producer(ctx, enable_idempotence=True, linger_ms=20, queue_buffering_max_messages=1_000_000)
    pace, began = min(SENT_PER_SECOND, records / SENT_S_MIN), time.monotonic()
    for number in range(records):
        client.produce(topic, b"%d" % (number // PARTITIONS), partition=number % PARTITIONS)
        if number % 500 == 0:
            client.poll(0)
            if (early := began + number / pace - time.monotonic()) > 0:
                time.sleep(early)
            if ended.is_set():
                return
    flush(client)


def come_to_the_end(tools: Tools, group: str) -> bool:
    """Whether nothing is left for the group, as kafka-share-groups shows it."""
    said = tools.call(SHARE_GROUPS, "--describe", "--group", group)
    if "START-OFFSET" not in said:
        return False
    lags = [row["LAG"] for row in table(said)]
    return lags == ["0"] * PARTITIONS


def queue(ctx: Context, records: int, seed: int, bound_s: int) -> str:
    """A run; returns its figures."""
    chance = random.Random(seed)
    topic = create_topic(ctx, partitions=PARTITIONS)
    group = fresh_group(ctx, record_lock_duration_ms=LOCK_MS, session_timeout_ms=SESSION_MS, delivery_count_limit=DELIVERIES_MAX)
    ends = {number: len(range(number, records, PARTITIONS)) for number in range(PARTITIONS)}
    over = threading.Event()
    sender = threading.Thread(target=send, args=(ctx, topic, records, over), daemon=True)
    began = time.monotonic()
    workers = Workers(ctx, topic, group, seed)
    try:
        sender.start()
        with Tools(ctx) as tools:
            while sender.is_alive() or not come_to_the_end(tools, group):
                that(time.monotonic() - began < bound_s, f"not at the end after {bound_s} s; workers said: {workers.said()}")
                time.sleep(chance.uniform(0.5, 4))
                # Nobody is killed for a while at the end: what is left has to come to an end.
                if sender.is_alive() or chance.random() < 0.3:
                    workers.replace(chance.randrange(WORKERS))
    finally:
        over.set()
        workers.end()
    sender.join()
    took = time.monotonic() - began
    ledger = Ledger(ends, LOCK_MS * (SECOND_NS // 1000), DELIVERIES_MAX, workers.kills)
    for number, log in enumerate(workers.logs):
        ledger.read(number, log.read_bytes() if log.exists() else b"")
    figures = f"{ledger.summary()}; in {took:.0f} s"
    if wrong := ledger.violations():
        kept = paths.WORK / f"queue-{seed}"
        kept.mkdir(exist_ok=True)
        for log in workers.logs:
            if log.exists():
                log.rename(kept / log.name)
        kinds = dict(Counter(line.split(":")[0] for line in wrong))
        raise CheckFailed("\n".join([f"{len(wrong)} things are wrong, {kinds}, seed {seed}, logs in {kept}: {figures}", *wrong[:SHOWN]]))
    return figures
