"""A share group that follows a crash run: what it said is finished does not come again, and every record comes to somebody."""

import random
import threading
import time

from confluent_kafka import AcknowledgeType, KafkaError, KafkaException, Message, ShareConsumer, TopicPartition
from confluent_kafka.admin import AdminClient

from clients.librdkafka.share_members import configure

from .load import FLUSH_BOUND_S, GONE, PARTITIONS, PATIENT

GROUP = "crash-share"
MEMBERS = 2
# A member hears soon what it reads, and what a member does not know that it has is somebody else's soon.
BROKER_CONFIG = {"group.share.min.heartbeat.interval.ms": "500", "group.share.heartbeat.interval.ms": "1000",
                 "group.share.min.session.timeout.ms": "5000", "group.share.session.timeout.ms": "10000",
                 "group.share.min.record.lock.duration.ms": "1000", "group.share.record.lock.duration.ms": "5000"}
COMMIT_S = 10
PASSING = GONE | {KafkaError.NOT_COORDINATOR, KafkaError.COORDINATOR_NOT_AVAILABLE, KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
                  KafkaError.REQUEST_TIMED_OUT, KafkaError.UNKNOWN_MEMBER_ID, KafkaError.FENCED_MEMBER_EPOCH,
                  KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.INVALID_RECORD_STATE, KafkaError.SHARE_SESSION_NOT_FOUND,
                  KafkaError.INVALID_SHARE_SESSION_EPOCH, KafkaError._TIMED_OUT_QUEUE, KafkaError._STATE, KafkaError._DESTROY}
"""What an acknowledgement may fail with while the broker is away, or when it has forgotten who had the records."""

Place = tuple[int, int]
"""Partition and offset."""


def is_released(partition: int, offset: int, count: int) -> bool:
    """Some records come twice or three times."""
    return count < 3 and (offset * 7919 + partition + count) % 31 == 0


class Handed:
    """What the members were handed, and what they said of it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[Place, int] = {}
        """The last delivery count of each record that was handed out."""
        self._finished: set[Place] = set()
        """Accepted, and the broker agreed."""
        self._released: set[Place] = set()
        """Perhaps or surely released, and not handed out since."""
        self._counted: set[Place] = set()
        """Released, and the broker agreed: the next delivery counts."""
        self.complaints: list[str] = []

    def handed(self, place: Place, count: int) -> None:
        """A member has this record."""
        with self._lock:
            before = self._counts.get(place, 0)
            if place in self._finished:
                self.complaints.append(f"AGAIN: {place[0]}:{place[1]} was accepted at its delivery {before} and comes with count {count}")
            if count < before + (place in self._counted):
                self.complaints.append(f"COUNT BACK: {place[0]}:{place[1]} comes with count {count} after {before}"
                                       + (", which was released" if place in self._counted else ""))
            self._counts[place] = count
            self._released.discard(place)
            self._counted.discard(place)

    def says(self, places: list[Place]) -> None:
        """Members try to release these."""
        with self._lock:
            self._released.update(places)

    def agreed(self, accepted: list[Place], released: dict[Place, int]) -> None:
        """The broker agreed; what was released came with these counts."""
        with self._lock:
            self._finished.update(accepted)
            # Another member may have them already: then that delivery is the next one.
            self._counted.update(place for place, count in released.items() if place in self._released and self._counts[place] == count)

    def owed(self, ends: dict[int, int]) -> list[Place]:
        """Records that must still come to somebody."""
        with self._lock:
            never = [(partition, offset) for partition, end in ends.items() for offset in range(end) if (partition, offset) not in self._counts]
            return never + sorted(self._released)

    def strange(self, ends: dict[int, int]) -> list[str]:
        """Records that were handed out and are not in the log."""
        with self._lock:
            return [f"BEYOND: {partition}:{offset} was handed out, the log ends at {ends[partition]}"
                    for partition, offset in self._counts if offset >= ends[partition]]


class Member:
    """One member on its own thread: takes records, and says what becomes of them."""

    def __init__(self, bootstrap: str, topic: str, number: int, handed: Handed):
        self._name, self._handed = f"{GROUP} member {number}", handed
        self._consumer = ShareConsumer({"bootstrap.servers": bootstrap, "group.id": GROUP, "share.acknowledgement.mode": "explicit",
                                        "check.crcs": True, **PATIENT})
        self._consumer.subscribe([topic])
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Leaves the group."""
        self._ended.set()
        self._thread.join(FLUSH_BOUND_S)

    def _run(self) -> None:
        try:
            while not self._ended.is_set():
                self._turn()
            self._consumer.close()
        except Exception as error:  # a thread's end would else go unseen
            self._handed.complaints.append(f"{self._name}: {type(error).__name__}: {error}")

    def _turn(self) -> None:
        try:
            messages = list(self._consumer.poll(0.1))
        except KafkaException as failed:
            self._bear(failed.args[0])
            return
        accepted, released = self._said(messages)
        if not messages:
            return
        self._handed.says([place for places in released.values() for place in places])
        try:
            answers: dict[TopicPartition, KafkaException | None] = self._consumer.commit_sync(COMMIT_S)
        except KafkaException as failed:
            self._bear(failed.args[0])
            return
        for place, error in answers.items():
            if error is None:
                self._handed.agreed(accepted.get(place.partition, []), released.get(place.partition, {}))
            else:
                self._bear(error.args[0])

    def _said(self, messages: list[Message]) -> tuple[dict[int, list[Place]], dict[int, dict[Place, int]]]:
        """Acknowledges what came; by partition what is accepted, and what is released with its count."""
        accepted: dict[int, list[Place]] = {}
        released: dict[int, dict[Place, int]] = {}
        for message in messages:
            if error := message.error():
                self._bear(error)
                continue
            place, count = (message.partition(), message.offset()), message.delivery_count()
            self._handed.handed(place, count)
            if is_released(*place, count):
                released.setdefault(place[0], {})[place] = count
                self._consumer.acknowledge(message, AcknowledgeType.RELEASE)
            else:
                accepted.setdefault(place[0], []).append(place)
                self._consumer.acknowledge(message, AcknowledgeType.ACCEPT)
        return accepted, released

    def _bear(self, error: KafkaError) -> None:
        if error.code() not in PASSING:
            self._handed.complaints.append(f"{self._name}: {error.name()}: {error.str()}")


class Group:
    """The group's members, which come and go, and what is known of its records."""

    def __init__(self, bootstrap: str, topic: str):
        self._bootstrap, self._topic, self._handed = bootstrap, topic, Handed()
        configure(AdminClient({"bootstrap.servers": bootstrap, "log_level": 0}), GROUP)
        self._members = [self._member(number) for number in range(MEMBERS)]

    def _member(self, number: int) -> Member:
        return Member(self._bootstrap, self._topic, number, self._handed)

    def replace_a_member(self, chance: random.Random) -> None:
        """A member goes, another one comes in its place."""
        number = chance.randrange(MEMBERS)
        self._members[number].end()
        self._members[number] = self._member(number)

    def verify(self, ends: dict[int, int]) -> list[str]:
        """Waits until every record up to these ends came; what is wrong then."""
        deadline = time.monotonic() + FLUSH_BOUND_S
        while (owed := self._handed.owed(ends)) and time.monotonic() < deadline:
            time.sleep(0.2)
        wrong = self._handed.complaints + self._handed.strange(ends)
        if owed:
            wrong.append(f"QUEUE BEHIND: {len(owed)} records did not come, or not again, the first is {owed[0][0]}:{owed[0][1]}")
        return [f"{GROUP}: {line}" for line in wrong]

    def end(self) -> None:
        """All members go."""
        for member in self._members:
            member.end()


def self_test() -> list[str]:
    """Things that would be missed."""
    missed = []

    def holds(kind: str, handed: Handed) -> None:
        if not any(line.startswith(kind) for line in handed.complaints + handed.strange({partition: 2 for partition in range(PARTITIONS)})):
            missed.append(kind)

    for kind, then in [("AGAIN", 2), ("COUNT BACK", 1), ("BEYOND", 1)]:
        handed = Handed()
        offset = 2 if kind == "BEYOND" else 0
        handed.handed((0, offset), 1)
        if kind == "COUNT BACK":
            handed.says([(0, offset)])
        handed.agreed([(0, offset)] if kind == "AGAIN" else [], {(0, offset): 1} if kind == "COUNT BACK" else {})
        handed.handed((0, offset), then)
        holds(kind, handed)
    good = Handed()
    good.handed((0, 0), 1)
    good.handed((0, 0), 1)
    good.says([(0, 0)])
    if good.owed({0: 2}) != [(0, 1), (0, 0)] or good.complaints:
        missed.append("QUEUE BEHIND, or a good group is complained of")
    return missed
