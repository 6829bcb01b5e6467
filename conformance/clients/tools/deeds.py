"""What clients beside the tools do in a transcript: write records, commit offsets, be members of groups."""

import time
from collections.abc import Callable

from confluent_kafka import AcknowledgeType, TopicPartition

from harness.check import EVENTUALLY_BOUND_S, Context, equal, eventually, that

from clients.librdkafka.common import admin_client, await_served, consumer, producer, send
from clients.librdkafka.members import Member, drive
from clients.librdkafka.share_members import ShareMember, configure

FIRST_MS = 1_000_000_000_000
"""Record n of a partition has this timestamp and n seconds. It is 2001-09-09T01:46:40Z."""


class Clients:
    """The clients of one transcript."""

    def __init__(self, ctx: Context):
        self._ctx = ctx
        self._members: dict[str, Member] = {}
        self._shares: dict[str, ShareMember] = {}
        self._verbs: dict[str, Callable[..., None]] = {"await": self._await, "records": self._records, "commit": self._commit,
                                                      "join": self._join, "leave": self._leave,
                                                      "share": self._share, "take": self._take}

    def do(self, words: list[str]) -> None:
        """Does what a line `% VERB WORDS` says."""
        self._verbs[words[0]](*words[1:])

    def close(self) -> None:
        """Ends the members that are left."""
        for member in [*self._members.values(), *self._shares.values()]:
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
        (self._shares if name in self._shares else self._members).pop(name).close()

    def _share(self, name: str, group: str, *topics: str) -> None:
        """NAME GROUP TOPIC...: a member of a share group that begins with the first records, with NAME as its client id."""
        configure(admin_client(self._ctx), group)
        self._shares[name] = ShareMember(self._ctx, group, list(topics), client_id=name)

    def _take(self, name: str, count: str, what: str = "accept") -> None:
        """NAME COUNT [accept|release|reject|hold]: the member polls until it got so many records more, and says so of them."""
        member = self._shares[name]
        if what == "hold":
            member.hold(int(count))
            return
        wanted, deadline = len(member.got) + int(count), time.monotonic() + EVENTUALLY_BOUND_S
        while len(member.got) < wanted:
            that(time.monotonic() < deadline, f"{name} has {len(member.got)} of {wanted} records")
            member.beat(lambda _: AcknowledgeType[what.upper()])
        equal(len(member.got), wanted, f"records of {name}")
