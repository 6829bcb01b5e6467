"""Members of consumer groups: consumers that write down what they own and what they were told."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from harness.check import EVENTUALLY_BOUND_S, Context, that

from .common import QUIET, dotted, said

Place = tuple[str, int]
"""Topic and partition."""

GROUP_SETTINGS = {"group.initial.rebalance.delay.ms": "0", "group.min.session.timeout.ms": "1000"}
"""Of the brokers of these checks: no waiting for members that may join an empty group, and short sessions."""

CONSUMER_SETTINGS = {**GROUP_SETTINGS, "group.consumer.min.heartbeat.interval.ms": "100",
                     "group.consumer.heartbeat.interval.ms": "200", "group.consumer.min.session.timeout.ms": "1000",
                     "group.consumer.session.timeout.ms": "20000", "group.consumer.assignment.interval.ms": "0"}
"""The same for the consumer protocol, where the broker says how often members are heard of."""

BY_CONSUMER = {"group_protocol": "consumer", "session_timeout_ms": None, "heartbeat_interval_ms": None}
"""Options of a member by the consumer protocol (KIP-848)."""


class Member:
    """A subscribed consumer. Beat it with `drive`; `owned` is what it owns, `told` how that changed."""

    def __init__(self, ctx: Context, group: str, topics: list[str], on_commit: Callable | None = None, **config: object):
        defaults = {"bootstrap.servers": ctx.bootstrap, "group.id": group, "enable.auto.commit": False,
                    "auto.offset.reset": "earliest", "session.timeout.ms": 30_000, "heartbeat.interval.ms": 200,
                    "topic.metadata.refresh.interval.ms": 1000, "reconnect.backoff.max.ms": 500, "check.crcs": True, **QUIET}
        if on_commit:
            defaults["on_commit"] = on_commit
        self.owned: set[Place] = set()
        self.borne = {KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN}
        """Errors that fail nothing: a broker that is being restarted is no failure of the group."""
        self.told: list[tuple[str, frozenset[Place]]] = []
        self.got: list[Message] = []
        settings = said({**defaults, **dotted(config)})
        self._static = "group.instance.id" in settings
        self.client = Consumer(settings)
        self.client.subscribe(topics, on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._lost)

    def _assigned(self, _: Consumer, places: list[TopicPartition]) -> None:
        self._write_down("assigned", places)
        self.owned |= places_of(places)

    def _revoked(self, _: Consumer, places: list[TopicPartition]) -> None:
        self._write_down("revoked", places)
        self.owned -= places_of(places)

    def _lost(self, _: Consumer, places: list[TopicPartition]) -> None:
        self._write_down("lost", places)
        self.owned -= places_of(places)

    def _write_down(self, what: str, places: list[TopicPartition]) -> None:
        self.told.append((what, frozenset(places_of(places))))

    def beat(self, seconds: float = 0.02) -> None:
        """One poll and all that has come; errors as exceptions."""
        first = self.client.poll(seconds)
        if first is None:
            return
        for message in [first, *self.client.consume(1000, timeout=0)]:
            if not message.error():
                self.got.append(message)
            elif message.error().code() not in self.borne:
                raise KafkaException(message.error())

    def commit(self) -> None:
        """Commits what was handed out, and waits for the answer."""
        for place in self.client.commit(asynchronous=False):
            that(place.error is None, f"commit of {place.topic} {place.partition}: {place.error}")

    def close(self) -> None:
        """Leaves the group (a static member stays, and would leave if it unsubscribed)."""
        if self._static:
            self.client.close()
        else:
            close_without_callbacks(self.client)


def close_without_callbacks(client: Consumer) -> None:
    """Closes a consumer that has nothing left to be told.

    `close` that calls a callback can hang for ever with Python's lock held: confluent-kafka asks librdkafka for its protocol
    in there (librdkafka#4041), and an assignment by parts that comes meanwhile is never taken (librdkafka#4527).
    """
    client.unsubscribe()
    began = time.monotonic()
    while time.monotonic() < began + 1 and (client.assignment() or time.monotonic() < began + 0.1):
        client.consume(50, timeout=0.02)
    client.close()


def places_of(places: list[TopicPartition]) -> set[Place]:
    """What a callback was handed, as a set."""
    return {(place.topic, place.partition) for place in places}


def drive(members: list[Member], until: Callable[[], object], what: str) -> None:
    """Beats all members until `until` holds."""
    deadline = time.monotonic() + EVENTUALLY_BOUND_S
    while not until():
        that(time.monotonic() < deadline, f"in {EVENTUALLY_BOUND_S} s never: {what}; owned: {[m.owned for m in members]}, "
             f"messages: {[len(m.got) for m in members]}")
        for member in members:
            member.beat()


def beat_for(members: list[Member], seconds: float) -> None:
    """Beats all members for a while in which nothing is expected."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for member in members:
            member.beat()


def divided(members: list[Member], places: set[Place]) -> bool:
    """Whether each place is owned by exactly one member, and each member has one if there are enough."""
    held = [place for member in members for place in member.owned]
    return sorted(held) == sorted(places) and (len(places) < len(members) or all(member.owned for member in members))


def all_got(members: list[Member]) -> list[bytes]:
    """Values that the members got, sorted as numbers."""
    return sorted((message.value() for member in members for message in member.got), key=int)


class Stranger:
    """A member in a process of its own, so that it can be killed: it never says that it goes."""

    def __init__(self, ctx: Context, group: str, topic: str, **config: object):
        settings = {"bootstrap.servers": ctx.bootstrap, "group.id": group, "auto.offset.reset": "earliest",
                    "enable.auto.commit": False, "heartbeat.interval.ms": 200, **QUIET, **dotted(config)}
        settings = said(settings)
        command = [sys.executable, str(Path(__file__).with_name("stranger.py")), json.dumps(settings), topic]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)

    def first_assignment(self) -> set[int]:
        """The partitions it was given first that were not none."""
        for line in self._process.stdout:
            if partitions := json.loads(line):
                return set(partitions)
        raise AssertionError("the member in its own process ended")

    def kill(self) -> None:
        """kill -9: the coordinator has only the session's end to go by."""
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()
