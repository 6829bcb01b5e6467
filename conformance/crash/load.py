"""The load of a crash run: idempotent librdkafka producers, a plain one, and a consumer at the tail."""

import random
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from confluent_kafka import Consumer, KafkaError, Message, Producer, TopicPartition

from .checker import Seen
from .ledger import Identity, Ledger, decode, encode

Shown = TypeVar("Shown")

PARTITIONS = 6
FLUSH_BOUND_S = 120
"""Ends the wait for acknowledgements that never come."""

PATIENT = {"log_level": 0, "reconnect.backoff.ms": 20, "reconnect.backoff.max.ms": 200, "retry.backoff.ms": 20,
           "retry.backoff.max.ms": 200}
IDEMPOTENT = {"enable.idempotence": True, "acks": "all"}
# One request in flight: so order holds without idempotence too, and only what was not acknowledged may be repeated.
PLAIN = {"enable.idempotence": False, "acks": "1", "max.in.flight.requests.per.connection": 1}
KINDS = [
    {**IDEMPOTENT, "compression.codec": "none", "linger.ms": 0, "batch.num.messages": 50},
    {**IDEMPOTENT, "compression.codec": "lz4", "linger.ms": 5},
    {**IDEMPOTENT, "compression.codec": "zstd", "linger.ms": 2, "batch.size": 30_000},
    {**PLAIN, "compression.codec": "none", "linger.ms": 3},
]
GONE = {KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError._RESOLVE, KafkaError._TIMED_OUT}


class Client:
    """One producer on its own thread: sends while told to, and keeps the ledger. `key` names a record's key; a record whose value
    `empty` wants gone is a tombstone."""

    def __init__(self, bootstrap: str, topic: str, number: int, kind: int, ledger: Ledger, seed: int, *,
                 key: Callable[[Identity], bytes | None] = lambda _: None, empty: Callable[[Identity], bool] = lambda _: False):
        self._topic, self._number, self._ledger = topic, number, ledger
        self._key, self._empty = key, empty
        self._chance = random.Random(f"{seed} client {number}")
        if not KINDS[kind]["enable.idempotence"]:
            ledger.plain.add(number)
        self._producer = Producer({"bootstrap.servers": bootstrap, "message.timeout.ms": 0,
                                   "queue.buffering.max.messages": 20_000, "queue.buffering.max.kbytes": 32_768,
                                   **PATIENT, **KINDS[kind],
                                   "error_cb": self._error})
        self._sending, self._ended = threading.Event(), threading.Event()
        self._idle = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"client-{number}", daemon=True)
        self._thread.start()

    def resume(self) -> None:
        """Starts sending, at a rate of this stretch."""
        self._idle.clear()
        self._sending.set()

    def pause(self) -> None:
        """Stops sending and waits until everything sent is acknowledged."""
        self._sending.clear()
        if not self._idle.wait(FLUSH_BOUND_S):
            self._ledger.complaints.append(f"client {self._number}: {len(self._producer)} records unanswered after "
                                           f"{FLUSH_BOUND_S} s of a running broker")

    def end(self) -> None:
        """Ends the thread; nothing may be in flight."""
        self._ended.set()
        self._sending.set()
        self._thread.join(FLUSH_BOUND_S)

    def _run(self) -> None:
        while not self._ended.is_set():
            if self._sending.is_set():
                self._idle.clear()
                self._stretch()
            elif len(self._producer):
                self._producer.poll(0.01)
            else:
                self._idle.set()
                self._sending.wait(0.05)

    def _stretch(self) -> None:
        """Sends in small bursts at one rate until it is told to stop."""
        per_second = self._chance.choice([200, 1000, 4000, 8000])
        burst = max(1, per_second // 100)
        while self._sending.is_set() and not self._ended.is_set():
            began = time.monotonic()
            for _ in range(burst):
                self._send_one()
            self._producer.poll(0)
            if (left := burst / per_second - (time.monotonic() - began)) > 0:
                time.sleep(left)

    def _send_one(self) -> None:
        identity = self._ledger.sent(self._number, self._chance.randrange(PARTITIONS))
        # Mostly small, some of a journal frame's size, a few that span several frames.
        length = self._chance.choices([self._chance.randint(20, 1500), self._chance.randint(1500, 40_000),
                                       self._chance.randint(40_000, 500_000)], [970, 28, 2])[0]
        value = None if self._empty(identity) else encode(identity, length)
        try:
            self._producer.produce(self._topic, value, key=self._key(identity), partition=identity.partition,
                                   on_delivery=lambda error, message: self._delivered(error, message, identity))
        except BufferError:
            self._ledger.unsent(identity)
            self._producer.poll(0.02)

    def _delivered(self, error: KafkaError | None, message: Message, identity: Identity) -> None:
        if error:
            self._ledger.complaints.append(f"client {self._number}: delivery failed: {error.name()}: {error.str()}")
        else:
            self._ledger.acknowledged(identity, message.offset())

    def _error(self, error: KafkaError) -> None:
        if error.fatal():
            self._ledger.complaints.append(f"client {self._number}: fatal error: {error.name()}: {error.str()}")


def _consumer(bootstrap: str, **more: object) -> Consumer:
    return Consumer({"bootstrap.servers": bootstrap, "group.id": "unused", "enable.auto.commit": False,
                     "auto.offset.reset": "error", "check.crcs": True, **PATIENT, **more})


class Tail:
    """A consumer that follows the log on its own thread and remembers what it was shown."""

    def __init__(self, bootstrap: str, topic: str):
        self._consumer = _consumer(bootstrap)
        self._consumer.assign([TopicPartition(topic, partition, 0) for partition in range(PARTITIONS)])
        self._seen: Seen = []
        self._lock = threading.Lock()
        self.complaints: list[str] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tail", daemon=True)
        self._thread.start()

    def taken(self) -> Seen:
        """What was shown since the last call."""
        with self._lock:
            seen, self._seen = self._seen, []
        return seen

    def end(self) -> None:
        """Stops following."""
        self._ended.set()
        self._thread.join(FLUSH_BOUND_S)
        self._consumer.close()

    def _run(self) -> None:
        while not self._ended.is_set():
            for message in self._consumer.consume(500, timeout=0.05):
                if error := message.error():
                    if error.code() not in GONE:
                        self.complaints.append(f"tail consumer: {error.name()}: {error.str()}")
                    continue
                with self._lock:
                    self._seen.append((message.partition(), message.offset(), decode(message.value())))


def read_log(bootstrap: str, topic: str, show: Callable[[Message], Shown]) -> dict[int, list[tuple[int, Shown]]]:
    """The whole topic, by a consumer of its own, from offset 0 to the end: offsets and what `show` makes of each record."""
    consumer = _consumer(bootstrap, **{"enable.partition.eof": True})
    try:
        consumer.assign([TopicPartition(topic, partition, 0) for partition in range(PARTITIONS)])
        log: dict[int, list[tuple[int, Shown]]] = {partition: [] for partition in range(PARTITIONS)}
        left = set(log)
        deadline = time.monotonic() + FLUSH_BOUND_S
        while left:
            first = consumer.poll(1)
            if first is None:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"no more records and no end of partitions {left} in {FLUSH_BOUND_S} s")
                continue
            deadline = time.monotonic() + FLUSH_BOUND_S
            for message in [first, *consumer.consume(2000, timeout=0)]:
                if error := message.error():
                    if error.code() == KafkaError._PARTITION_EOF:
                        left.discard(message.partition())
                    elif error.code() not in GONE:
                        raise RuntimeError(f"reading back: {error.name()}: {error.str()}")
                else:
                    log[message.partition()].append((message.offset(), show(message)))
        return log
    finally:
        consumer.close()
