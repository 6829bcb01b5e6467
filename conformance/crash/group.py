"""A consumer group that follows a crash run: what it was told is committed must stay so, and it may leave out no record."""

import threading
import time

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from .load import FLUSH_BOUND_S, GONE, PARTITIONS, PATIENT

GROUP = "crash-group"
MEMBERS = 2
PASSING = GONE | {KafkaError.REBALANCE_IN_PROGRESS, KafkaError.UNKNOWN_MEMBER_ID, KafkaError.ILLEGAL_GENERATION,
                  KafkaError.NOT_COORDINATOR, KafkaError.COORDINATOR_NOT_AVAILABLE, KafkaError.REQUEST_TIMED_OUT,
                  KafkaError.COORDINATOR_LOAD_IN_PROGRESS, KafkaError._WAIT_COORD, KafkaError._TIMED_OUT_QUEUE,
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

    def __init__(self, bootstrap: str, topic: str, number: int, commits: Commits):
        self._number, self._commits = number, commits
        self._consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": GROUP, "enable.auto.commit": False,
                                   "auto.offset.reset": "earliest", "session.timeout.ms": 6000, "check.crcs": True,
                                   "partition.assignment.strategy": "cooperative-sticky", **PATIENT})
        self._topic = topic
        self._uncommitted: dict[int, int] = {}
        """Offsets after what was taken, of the partitions this member has, until a commit of them succeeds."""
        self._consumer.subscribe([topic], on_revoke=self._gone, on_lost=self._gone)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"member-{number}", daemon=True)
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
        self._commits.complaints.append(f"group member {self._number}: {error.name()}: {error.str()}")


def caught_up(bootstrap: str, topic: str) -> tuple[dict[int, int], dict[int, int]]:
    """Waits until the group has committed the end of every partition; committed offsets and ends, as they are then."""
    looker = Consumer({"bootstrap.servers": bootstrap, "group.id": GROUP, "enable.auto.commit": False, **PATIENT})
    partitions = [TopicPartition(topic, partition) for partition in range(PARTITIONS)]
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
