"""The well-behaved client beside the fuzzer: it produces, consumes, and knows what was acknowledged."""

import threading
import time

from confluent_kafka import Consumer, KafkaError, Message, Producer, TopicPartition

from clients.librdkafka.common import read_all
from harness.check import Context, that
from harness.topics import ANSWER_BOUND_S

PARTITIONS = 2
PAUSE_S = 0.02


class Neighbour:
    """Sends numbered records one after the other to a topic of its own; a consumer reads them as they come."""

    def __init__(self, ctx: Context, topic: str):
        self._ctx, self._topic = ctx, topic
        self.acknowledged: dict[int, list[bytes]] = {partition: [] for partition in range(PARTITIONS)}
        self.faults: list[str] = []
        self.slowest_s = 0.0
        self._seen = [0] * PARTITIONS
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._guarded, args=(body,)) for body in (self._produce, self._consume)]

    def start(self) -> None:
        """Begins; it goes on until `stop`."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Ends when everything acknowledged was consumed too."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def felt_nothing(self) -> None:
        """Fails when anything went wrong."""
        that(not self.faults, f"the client beside it: {self.faults[:3]}")

    def _guarded(self, body) -> None:
        try:
            body()
        except Exception as error:  # told by `stop`, in the main thread
            self.faults.append(f"{type(error).__name__}: {error}")

    def _produce(self) -> None:
        client = Producer({"bootstrap.servers": self._ctx.bootstrap, "enable.idempotence": True, "linger.ms": 0, "log_level": 0})
        number = 0
        while not self._stopping.is_set():
            began = time.monotonic()
            for partition in range(PARTITIONS):
                client.produce(self._topic, b"%d" % number, partition=partition, on_delivery=self._delivered)
            that(client.flush(ANSWER_BOUND_S) == 0, f"no acknowledgement in {ANSWER_BOUND_S} s")
            self.slowest_s = max(self.slowest_s, time.monotonic() - began)
            number += 1
            time.sleep(PAUSE_S)

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error:
            self.faults.append(f"not delivered: {error}")
            return
        known = self.acknowledged[message.partition()]
        if message.offset() != len(known):
            self.faults.append(f"acknowledged at {message.offset()}, expected {len(known)}")
        known.append(message.value())

    def _consume(self) -> None:
        client = Consumer({"bootstrap.servers": self._ctx.bootstrap, "group.id": "neighbour", "enable.auto.commit": False,
                           "auto.offset.reset": "error", "check.crcs": True, "fetch.wait.max.ms": 100, "log_level": 0})
        client.assign([TopicPartition(self._topic, partition, 0) for partition in range(PARTITIONS)])
        deadline = None
        while deadline is None or self._behind() and time.monotonic() < deadline:
            if self._stopping.is_set() and deadline is None:
                self._threads[0].join()
                deadline = time.monotonic() + ANSWER_BOUND_S
            for message in client.consume(500, timeout=0.1):
                self._check(message)
        client.close()
        that(not self._behind(), f"consumed {self._seen} of {[len(known) for known in self.acknowledged.values()]}")

    def _behind(self) -> bool:
        return any(self._seen[partition] < len(known) for partition, known in self.acknowledged.items())

    def _check(self, message: Message) -> None:
        if message.error():
            self.faults.append(f"consumer: {message.error()}")
            return
        partition = message.partition()
        if (message.offset(), message.value()) != (self._seen[partition], b"%d" % self._seen[partition]):
            self.faults.append(f"consumed {message.value()} at {message.offset()}, expected number {self._seen[partition]}")
        self._seen[partition] += 1

    def verify(self) -> None:
        """Everything acknowledged is there, in its place, and nothing else."""
        found = read_all(self._ctx, self._topic, PARTITIONS)
        for partition, known in self.acknowledged.items():
            held = [message.value() for message in found[partition]]
            that(held == known, f"partition {partition} holds {len(held)} records, {len(known)} were acknowledged")
