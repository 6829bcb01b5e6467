"""What clients beside the tools do in a transcript: write records, commit offsets, be members of groups."""

from collections.abc import Callable

from confluent_kafka import TopicPartition

from harness.check import Context, equal, eventually

from clients.librdkafka.common import admin_client, await_served, consumer, producer, send
from clients.librdkafka.members import Member, drive

FIRST_MS = 1_000_000_000_000
"""Record n of a partition has this timestamp and n seconds. It is 2001-09-09T01:46:40Z."""


class Clients:
    """The clients of one transcript."""

    def __init__(self, ctx: Context):
        self._ctx = ctx
        self._members: dict[str, Member] = {}
        self._verbs: dict[str, Callable[..., None]] = {"await": self._await, "records": self._records, "commit": self._commit,
                                                      "join": self._join, "leave": self._leave}

    def do(self, words: list[str]) -> None:
        """Does what a line `% VERB WORDS` says."""
        self._verbs[words[0]](*words[1:])

    def close(self) -> None:
        """Ends the members that are left."""
        for member in self._members.values():
            member.close()

    def _await(self, topic: str, partitions: str) -> None:
        """TOPIC PARTITIONS: until all of them answer."""
        await_served(self._ctx, topic, int(partitions))

    def _records(self, topic: str, partition: str, count: str, first: str = "0") -> None:
        """TOPIC PARTITION COUNT [FIRST]: the values are FIRST, FIRST + 1, ..."""
        numbers = range(int(first), int(first) + int(count))
        send(producer(self._ctx, linger_ms=5), topic,
             ({"value": b"%d" % n, "partition": int(partition), "timestamp": FIRST_MS + 1000 * n} for n in numbers))

    def _commit(self, group: str, *places: str) -> None:
        """GROUP TOPIC:PARTITION=OFFSET...: of a group without members."""
        client = consumer(self._ctx, group_id=group)
        found = []
        for place in places:
            where, _, offset = place.partition("=")
            topic, _, partition = where.rpartition(":")
            found.append(TopicPartition(topic, int(partition), int(offset)))
        # Who comes first has the topic of groups made, and Kafka's coordinator says for a while that it loads it.
        done = eventually(lambda: client.commit(offsets=found, asynchronous=False))
        equal([place.error for place in done], [None] * len(found), "commits")
        client.close()

    def _join(self, name: str, group: str, topic: str, instance: str | None = None) -> None:
        """NAME GROUP TOPIC [INSTANCE]: a member with NAME as its client id, until it owns something."""
        more = {"group_instance_id": instance} if instance else {}
        member = self._members[name] = Member(self._ctx, group, [topic], client_id=name, **more)
        drive(list(self._members.values()), lambda: bool(member.owned), f"{name} owns a partition")

    def _leave(self, name: str) -> None:
        """NAME: the member closes."""
        self._members.pop(name).close()
