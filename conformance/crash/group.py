"""Consumer groups that follow a crash run: what they were told is committed must stay so, and they may leave out no record."""

import random
import threading
import time
from dataclasses import dataclass

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from .load import FLUSH_BOUND_S, GONE, PARTITIONS, PATIENT

MEMBERS = 2


@dataclass(frozen=True)
class Kind:
    """How the members of a group divide the partitions; static ones keep their identity when they are replaced."""

    strategy: str
    static: bool

    @property
    def group(self) -> str:
        """The group's id."""
        return f"crash-{self.strategy}"

    def settings(self, number: int) -> dict[str, object]:
        """Of a member."""
        static = {"group.instance.id": f"member-{number}"} if self.static else {}
        if self.strategy == CONSUMER_PROTOCOL:
            return {"group.protocol": "consumer", **static}
        # A static member whose own session ran out commits once more without its member id, and is fenced for it for good
        # (Kafka answers so, too): no kill lasts as long as its session.
        return {"partition.assignment.strategy": self.strategy, "session.timeout.ms": 45_000 if self.static else 6000, **static}


CONSUMER_PROTOCOL = "consumer-protocol"
"""The broker divides (KIP-848)."""
KINDS = [Kind("cooperative-sticky", static=False), Kind("range", static=True), Kind(CONSUMER_PROTOCOL, static=False)]
PASSING = GONE | {KafkaError.REBALANCE_IN_PROGRESS, KafkaError.UNKNOWN_MEMBER_ID, KafkaError.ILLEGAL_GENERATION,
                  KafkaError.NOT_COORDINATOR, KafkaError.COORDINATOR_NOT_AVAILABLE, KafkaError.REQUEST_TIMED_OUT,
                  KafkaError.COORDINATOR_LOAD_IN_PROGRESS, KafkaError.STALE_MEMBER_EPOCH, KafkaError.FENCED_MEMBER_EPOCH,
                  KafkaError._WAIT_COORD, KafkaError._TIMED_OUT_QUEUE,
                  KafkaError._ASSIGNMENT_LOST, KafkaError._STATE, KafkaError._DESTROY, KafkaError._NO_OFFSET}
"""What a commit may fail with while the broker is away or the group rebalances."""


class Commits:
    """What the members of the group were shown, and what they were told is committed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._shown: dict[int, set[int]] = {partition: set() for partition in range(PARTITIONS)}
        self._acknowledged: dict[int, int] = {}
        self.complaints: list[str] = []

    def shown(self, partition: int, offset: int) -> None:
        """A member has this record."""
        with self._lock:
            self._shown[partition].add(offset)

    def acknowledged(self, partition: int, offset: int) -> None:
        """A commit of this offset succeeded."""
        with self._lock:
            self._acknowledged[partition] = max(offset, self._acknowledged.get(partition, 0))

    def violations(self, committed: dict[int, int], ends: dict[int, int]) -> list[str]:
        """What is wrong with these committed offsets, of a group that has come to the end of its partitions."""
        wrong = []
        with self._lock:
            for partition, end in ends.items():
                told, found = self._acknowledged.get(partition, 0), committed.get(partition, -1)
                if found < told:
                    wrong.append(f"COMMIT LOST: partition {partition}: {told} was acknowledged, {found} is committed")
                if found > end:
                    wrong.append(f"COMMIT AHEAD: partition {partition}: {found} is committed, the log ends at {end}")
                if left_out := [offset for offset in range(min(found, end)) if offset not in self._shown[partition]]:
                    wrong.append(f"LEFT OUT: partition {partition}: {len(left_out)} records before the committed {found} "
                                 f"were shown to no member, the first at {left_out[0]}")
        return wrong


class Member:
    """One member on its own thread: takes records, commits what it took."""

    def __init__(self, bootstrap: str, topic: str, kind: Kind, number: int, commits: Commits):
        self._name, self._commits = f"{kind.group} member {number}", commits
        self._consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": kind.group, "enable.auto.commit": False,
                                   "auto.offset.reset": "earliest", "check.crcs": True, **kind.settings(number), **PATIENT})
        self._topic = topic
        self._uncommitted: dict[int, int] = {}
        """Offsets after what was taken, of the partitions this member has, until a commit of them succeeds."""
        self._consumer.subscribe([topic], on_revoke=self._gone, on_lost=self._gone)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Leaves the group."""
        self._ended.set()
        self._thread.join(FLUSH_BOUND_S)

    def _run(self) -> None:
        while not self._ended.is_set():
            for message in self._consumer.consume(500, timeout=0.1):
                if error := message.error():
                    if error.code() not in PASSING:
                        self._complain(error)
                    continue
                self._commits.shown(message.partition(), message.offset())
                self._uncommitted[message.partition()] = message.offset() + 1
            if self._uncommitted:
                self._commit()
        self._consumer.close()

    def _gone(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Whoever has these next reads on from what is committed; a late commit of ours would set that back."""
        for one in partitions:
            self._uncommitted.pop(one.partition, None)

    def _commit(self) -> None:
        offsets = [TopicPartition(self._topic, partition, offset) for partition, offset in self._uncommitted.items()]
        try:
            for done in self._consumer.commit(offsets=offsets, asynchronous=False) or []:
                if done.error is None:
                    self._commits.acknowledged(done.partition, done.offset)
                    if self._uncommitted.get(done.partition) == done.offset:
                        del self._uncommitted[done.partition]
        except KafkaException as failed:
            if failed.args[0].code() not in PASSING:
                self._complain(failed.args[0])

    def _complain(self, error: KafkaError) -> None:
        self._commits.complaints.append(f"{self._name}: {error.name()}: {error.str()}")


class Group:
    """A group of members that come and go, and what is known of it."""

    def __init__(self, bootstrap: str, topic: str, kind: Kind):
        self._bootstrap, self._topic, self._kind = bootstrap, topic, kind
        self._commits = Commits()
        self._members = [self._member(number) for number in range(MEMBERS)]

    def replace_a_member(self, chance: random.Random) -> None:
        """A member goes, another one comes in its place."""
        number = chance.randrange(MEMBERS)
        self._members[number].end()
        self._members[number] = self._member(number)

    def verify(self) -> list[str]:
        """Waits until everything is committed; what is wrong then."""
        committed, ends = self._caught_up()
        wrong = self._commits.violations(committed, ends)
        wrong += [f"GROUP BEHIND: partition {partition}: committed {committed.get(partition, -1)} of {end}"
                  for partition, end in ends.items() if committed.get(partition, -1) < end and end]
        return [f"{self._kind.group}: {line}" for line in wrong] + self._commits.complaints

    def end(self) -> None:
        """All members go."""
        for member in self._members:
            member.end()

    def _member(self, number: int) -> Member:
        return Member(self._bootstrap, self._topic, self._kind, number, self._commits)

    def _caught_up(self) -> tuple[dict[int, int], dict[int, int]]:
        """Committed offsets and ends, once they are equal or too much time has passed."""
        looker = Consumer({"bootstrap.servers": self._bootstrap, "group.id": self._kind.group,
                           "enable.auto.commit": False, **PATIENT})
        partitions = [TopicPartition(self._topic, partition) for partition in range(PARTITIONS)]
        try:
            ends = {one.partition: looker.get_watermark_offsets(one, timeout=30)[1] for one in partitions}
            deadline = time.monotonic() + FLUSH_BOUND_S
            while True:
                try:
                    committed = {one.partition: max(one.offset, -1) for one in looker.committed(partitions, timeout=30)}
                except KafkaException as failed:
                    if failed.args[0].code() not in PASSING:
                        raise
                    committed = {}
                behind = [partition for partition, end in ends.items() if committed.get(partition, -1) < end and end]
                if not behind or time.monotonic() > deadline:
                    return committed, ends
                time.sleep(0.1)
        finally:
            looker.close()


def self_test() -> list[str]:
    """Tamperings with committed offsets that would be missed."""
    commits = Commits()
    for offset in (0, 1, 2, 4, 5, 6, 7):
        commits.shown(0, offset)
    commits.acknowledged(0, 3)
    missed = []
    for name, committed, end in [("COMMIT LOST", 2, 8), ("COMMIT AHEAD", 9, 8), ("LEFT OUT", 5, 8)]:
        if not any(line.startswith(name) for line in commits.violations({0: committed}, {0: end})):
            missed.append(name)
    if commits.violations({0: 3}, {0: 8}):
        missed.append("a good group is complained of")
    return missed
