"""Groups under change: members come, go and die for a while, brokers too; no record is lost, no partition owned twice."""

import itertools
import random
import threading
import time

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from harness.check import Context, check, equal, that

from .common import again, create_topic, dotted, producer, said
from .members import (BY_CONSUMER, CONSUMER_SETTINGS, EVENTUALLY_BOUND_S, GROUP_SETTINGS, QUIET, Stranger,
                      close_without_callbacks)

STORM_S = 20
PARTITIONS = 8
SOFT = (KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError._RESOLVE, KafkaError.REBALANCE_IN_PROGRESS)
"""What a member may be told while it goes on. The last one: its group changes its protocol while it joins, and it joins again."""
RETRIABLE = (KafkaError.REBALANCE_IN_PROGRESS, KafkaError.ILLEGAL_GENERATION, KafkaError.UNKNOWN_MEMBER_ID,
             KafkaError._STATE, KafkaError._NO_OFFSET, KafkaError._ASSIGNMENT_LOST, KafkaError.NOT_COORDINATOR,
             KafkaError.STALE_MEMBER_EPOCH, KafkaError.FENCED_MEMBER_EPOCH,
             KafkaError.COORDINATOR_LOAD_IN_PROGRESS, KafkaError.COORDINATOR_NOT_AVAILABLE, KafkaError._TIMED_OUT, *SOFT)
"""A commit that ends so was not taken: its records come again to somebody."""


class Ledger:
    """What all members did, under one lock: who owns what now, what was read, how often a partition had two owners."""

    def __init__(self, exclusive: bool):
        self._lock = threading.Lock()
        self._exclusive = exclusive
        self._owner: dict[int, object] = {}
        self.read: list[list[int]] = [[] for _ in range(PARTITIONS)]
        self.wrong: list[str] = []
        self.rebalances = 0

    def take(self, who: object, partitions: list[int]) -> None:
        """`who` was given `partitions`."""
        with self._lock:
            self.rebalances += 1
            for partition in partitions:
                if partition in self._owner and self._exclusive:
                    self.wrong.append(f"partition {partition} was given to a second member")
                self._owner[partition] = who

    def give(self, who: object, partitions: list[int]) -> None:
        """`who` owns `partitions` no more."""
        with self._lock:
            for partition in partitions:
                if self._owner.get(partition) is who:
                    del self._owner[partition]

    def note(self, partition: int, offset: int, value: bytes) -> None:
        """A record was read and dealt with."""
        with self._lock:
            self.read[partition].append(offset)
            if value != b"%d" % offset:
                self.wrong.append(f"partition {partition} offset {offset} holds {value[:20]!r}")

    def begins(self, partition: int, offset: int) -> None:
        """A member starts reading `partition` at `offset`: everything before must have been dealt with."""
        with self._lock:
            missing = set(range(offset)) - set(self.read[partition])
            if missing:
                self.wrong.append(f"partition {partition} begins at {offset}, without {len(missing)} records before it")


class Runner(threading.Thread):
    """A member in a thread: reads, notes, commits now and then, until told to leave."""

    def __init__(self, ctx: Context, group: str, topic: str, ledger: Ledger, config: dict[str, object]):
        super().__init__(daemon=True)
        self._ledger, self._topic = ledger, topic
        self.leaving, self.settled = threading.Event(), threading.Event()
        self._closing = False
        self._fresh: set[int] = set()
        self._next: dict[int, int] = {}
        defaults = {"bootstrap.servers": ctx.bootstrap, "group.id": group, "enable.auto.commit": False,
                    "auto.offset.reset": "earliest", "session.timeout.ms": 20_000, "heartbeat.interval.ms": 100,
                    "reconnect.backoff.max.ms": 500, **QUIET}
        self._client = Consumer(said({**defaults, **dotted(config)}))

    def run(self) -> None:
        self._client.subscribe([self._topic], on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._lost)
        count = 0
        try:
            while not self.leaving.is_set():
                for message in self._client.consume(50, timeout=0.05):
                    if message.error():
                        if message.error().code() not in SOFT:
                            raise KafkaException(message.error())
                        continue
                    self._deal_with(message)
                    count += 1
                    if count % 200 == 0:
                        self._commit()
            self._commit()
            self._close()
        except Exception as error:  # a thread's failure is the check's
            self._ledger.wrong.append(f"a member failed: {error!r}")
            self._close()

    def _close(self) -> None:
        # It reads no more, so it owns nothing; librdkafka may still hand an assignment of before to the callback.
        self._closing = True
        self._ledger.give(self, list(range(PARTITIONS)))
        close_without_callbacks(self._client)

    def _deal_with(self, message) -> None:
        partition, offset = message.partition(), message.offset()
        if partition in self._fresh:
            self._fresh.discard(partition)
            self._ledger.begins(partition, offset)
        self._ledger.note(partition, offset, message.value())
        self._next[partition] = offset + 1

    def _commit(self) -> None:
        if not self._next:
            return
        try:
            places = [TopicPartition(self._topic, partition, offset) for partition, offset in self._next.items()]
            for place in self._client.commit(offsets=places, asynchronous=False):
                if place.error and place.error.code() not in RETRIABLE:
                    raise KafkaException(place.error)
        except KafkaException as error:
            if error.args[0].code() not in RETRIABLE:
                raise

    def _assigned(self, _: Consumer, places: list[TopicPartition]) -> None:
        if self._closing:
            return
        partitions = [place.partition for place in places]
        self._fresh.update(partitions)
        self.settled.set()
        self._ledger.take(self, partitions)

    def _revoked(self, _: Consumer, places: list[TopicPartition]) -> None:
        self._commit()
        self._drop(places)

    def _lost(self, _: Consumer, places: list[TopicPartition]) -> None:
        self._drop(places)

    def _drop(self, places: list[TopicPartition]) -> None:
        partitions = [place.partition for place in places]
        for partition in partitions:
            self._next.pop(partition, None)
        self._ledger.give(self, partitions)


class Writer(threading.Thread):
    """Sends to all partitions at a steady rate: the value of a record is its offset."""

    def __init__(self, ctx: Context, topic: str):
        super().__init__(daemon=True)
        self._client = producer(ctx, enable_idempotence=True, linger_ms=5, reconnect_backoff_max_ms=500)
        self._topic = topic
        self.enough = threading.Event()
        self.sent = 0
        self.errors: list[str] = []

    def run(self) -> None:
        while not self.enough.is_set():
            for _ in range(10):
                for partition in range(PARTITIONS):
                    self._client.produce(self._topic, b"%d" % self.sent, partition=partition, on_delivery=self._reported)
                self.sent += 1
            self._client.poll(0.05)
        self._client.flush(EVENTUALLY_BOUND_S)

    def _reported(self, error: KafkaError | None, _) -> None:
        if error:
            self.errors.append(error.name())


def storm(ctx: Context, *kinds: dict[str, object], exclusive: bool = True, kills_too: bool = False) -> None:
    """Members of all `kinds` in turn come and go at random; then one reads what is left, and the ledger must hold every record.

    `kills_too`: the broker and members are killed meanwhile. Then, or when not `exclusive`, a member that has not yet been
    told of its end may still count a partition as its own."""
    exclusive = exclusive and not kills_too
    kind = itertools.cycle(kinds)
    topic, group = create_topic(ctx, partitions=PARTITIONS), ctx.name("g")
    ledger, writer, chance = Ledger(exclusive), Writer(ctx, topic), random.Random(7)
    strangers: list[Stranger] = []
    running: list[Runner] = []
    gone: list[Runner] = []
    writer.start()
    try:
        ends, kills = time.monotonic() + STORM_S, 0
        while time.monotonic() < ends:
            if len(running) < 2 or (len(running) < 6 and chance.random() < 0.55):
                running.append(Runner(ctx, group, topic, ledger, next(kind)))
                running[-1].start()
            else:
                # One that leaves before it has a member id is no member to librdkafka, so it does not say that it goes,
                # and the coordinator waits until its session ends.
                if settled := [runner for runner in running if runner.settled.is_set()]:
                    gone.append(chance.choice(settled))
                    running.remove(gone[-1])
                    gone[-1].leaving.set()
            if kills_too and chance.random() < 0.2:
                strangers.append(Stranger(ctx, group, topic, **{"session_timeout_ms": 1500, **next(kind)}))
            if strangers and chance.random() < 0.3:
                strangers.pop().kill()
            if kills_too and kills < 2 and time.monotonic() > ends - STORM_S * (2 - kills) / 3:
                again(ctx, kill=True)
                kills += 1
            time.sleep(chance.uniform(0.1, 0.6))
    finally:
        writer.enough.set()
        for stranger in strangers:
            stranger.kill()
    writer.join(EVENTUALLY_BOUND_S)
    equal(writer.errors, [], "errors of the producer")
    deadline = time.monotonic() + 2 * EVENTUALLY_BOUND_S
    while any(len(set(read)) < writer.sent for read in ledger.read) and not ledger.wrong and time.monotonic() < deadline:
        time.sleep(0.1)
    for runner in [*running, *gone]:
        runner.leaving.set()
    for runner in [*running, *gone]:
        runner.join(EVENTUALLY_BOUND_S)
        that(not runner.is_alive(), "a member does not end")
    equal(ledger.wrong, [], "what must not happen")
    lost = [writer.sent - len(set(read)) for read in ledger.read]
    equal(lost, [0] * PARTITIONS, f"records lost by partition, of {writer.sent} each")
    that(ledger.rebalances > (8 if kills_too else 20), f"only {ledger.rebalances} assignments: no storm")


@check("storms", GROUP_SETTINGS)
def eager_members_come_and_go(ctx: Context) -> None:
    storm(ctx, {"partition_assignment_strategy": "range"})


@check("storms", GROUP_SETTINGS)
def cooperative_members_come_and_go(ctx: Context) -> None:
    storm(ctx, {"partition_assignment_strategy": "cooperative-sticky"})


@check("storms", GROUP_SETTINGS)
def members_and_brokers_are_killed(ctx: Context) -> None:
    storm(ctx, {"partition_assignment_strategy": "range"}, kills_too=True)


@check("storms", CONSUMER_SETTINGS)
def members_by_the_consumer_protocol_come_and_go(ctx: Context) -> None:
    # With the same clients a partition is at times two members' for a moment where Kafka 4.3.1 coordinates: in two storms of three.
    storm(ctx, BY_CONSUMER, exclusive=ctx.target == "millrace")


@check("storms", {**CONSUMER_SETTINGS, "group.consumer.session.timeout.ms": "1500"})
def members_by_the_consumer_protocol_and_brokers_are_killed(ctx: Context) -> None:
    storm(ctx, BY_CONSUMER, kills_too=True)


@check("storms", CONSUMER_SETTINGS)
def members_by_both_protocols_come_and_go(ctx: Context) -> None:
    # While a group changes its protocol Kafka gives partitions away that their holders may still use. Not cooperative-sticky:
    # librdkafka puts what it remembers into assignments, and then both brokers refuse the change, as of an unknown assignor.
    storm(ctx, BY_CONSUMER, {"partition_assignment_strategy": "range"}, exclusive=ctx.target == "millrace")
