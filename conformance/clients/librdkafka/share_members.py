"""Members of share groups (KIP-932) through librdkafka: share consumers that write down what they got."""

import time
from collections import Counter
from collections.abc import Callable

from confluent_kafka import AcknowledgeType, Message, ShareConsumer
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from harness.check import EVENTUALLY_BOUND_S, Context, equal, eventually, that

from .common import QUIET, admin_client, answer, dotted

SHARE_SETTINGS = {"group.share.min.heartbeat.interval.ms": "100", "group.share.heartbeat.interval.ms": "200",
                  "group.share.min.session.timeout.ms": "1000", "group.share.session.timeout.ms": "20000",
                  "group.share.assignment.interval.ms": "0", "group.share.min.record.lock.duration.ms": "1000",
                  "share.coordinator.state.topic.num.partitions": "5", "offsets.topic.num.partitions": "5",
                  "log.retention.ms": "-1"}
"""Of the brokers of these checks: members are told soon what they read, and locks and sessions may be short. By default a member hears of its
partitions five seconds after it came: whatever is sent before that, a group that begins at the end passes over."""

QUIET_S = 1.0
"""In which nothing comes that should not."""

Verdict = Callable[[Message], AcknowledgeType]


def accept(_: Message) -> AcknowledgeType:
    """Every record was processed."""
    return AcknowledgeType.ACCEPT


def configure(admin: AdminClient, group: str, **settings: object) -> None:
    """Sets settings of a share group, without their `share.`, and waits until they are shown. They begin with their first record."""
    wanted = {f"share.{name.replace('_', '.')}": str(value) for name, value in {"auto_offset_reset": "earliest", **settings}.items()}
    entries = [ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET) for name, value in wanted.items()]
    changed = ConfigResource(ResourceType.GROUP, group, incremental_configs=entries)
    answer(admin.incremental_alter_configs([changed])[changed])
    asked = ConfigResource(ResourceType.GROUP, group)

    def shown() -> None:
        found = answer(admin.describe_configs([asked])[asked])
        equal({name: found[name].value for name in wanted}, wanted, f"settings of {group}")

    eventually(shown)


def fresh_group(ctx: Context, **settings: object) -> str:
    """The id of a share group that nobody has been in."""
    name = ctx.name("g")
    configure(admin_client(ctx), name, **settings)
    return name


class ShareMember:
    """A subscribed share consumer with explicit acknowledgement. Beat it with `drive_shares`."""

    def __init__(self, ctx: Context, group: str, topics: list[str], **config: object):
        defaults = {"bootstrap.servers": ctx.bootstrap, "group.id": group, "share.acknowledgement.mode": "explicit",
                    "reconnect.backoff.max.ms": 500, **QUIET}
        self.got: list[Message] = []
        self.client = ShareConsumer({**defaults, **dotted(config)})
        self.client.subscribe(topics)

    def poll(self, seconds: float = 0.02) -> list[Message]:
        """What one poll brings. An error of a record is a failure."""
        messages = list(self.client.poll(seconds))
        for message in messages:
            that(message.error() is None, f"error of {message.topic()} {message.partition()}:{message.offset()}: {message.error()}")
        self.got += messages
        return messages

    def commit(self) -> None:
        """Tells the broker what was acknowledged; it must agree."""
        for place, error in self.client.commit_sync(30).items():
            that(error is None, f"acknowledgements of {place.topic} {place.partition}: {error}")

    def beat(self, verdict: Verdict) -> None:
        """One poll, and what is to be said of it."""
        if messages := self.poll():
            for message in messages:
                self.client.acknowledge(message, verdict(message))
            self.commit()

    def hold(self, count: int) -> list[Message]:
        """Polls until something comes, of which nothing is said; it must be so much."""
        deadline = time.monotonic() + EVENTUALLY_BOUND_S
        while not (messages := self.poll(0.1)):
            that(time.monotonic() < deadline, "no record came")
        equal(len(messages), count, "records of one poll")
        return messages

    def close(self) -> None:
        """Leaves the group."""
        self.client.close()


def counts(members: list[ShareMember]) -> dict[int, list[int]]:
    """The delivery counts with which each number came."""
    found: dict[int, list[int]] = {}
    for member in members:
        for message in member.got:
            found.setdefault(int(message.value()), []).append(message.delivery_count())
    return {number: sorted(found[number]) for number in sorted(found)}


def drive_shares(members: list[ShareMember], expected: dict[int, list[int]], verdict: Verdict = accept) -> None:
    """Beats the members until they have as many records as they should, and for a while longer: then these must be the right ones."""
    deadline = time.monotonic() + EVENTUALLY_BOUND_S
    wanted = sum(len(one) for one in expected.values())
    while sum(len(member.got) for member in members) < wanted and time.monotonic() < deadline:
        for member in members:
            member.beat(verdict)
    quiet = time.monotonic() + QUIET_S
    while time.monotonic() < quiet:
        for member in members:
            member.beat(verdict)
    found = counts(members)
    wrong = {number: (found.get(number), expected.get(number)) for number in sorted({*found, *expected})
             if found.get(number) != expected.get(number)}
    shown = dict(list(wrong.items())[:5])
    that(not wrong, f"{len(wrong)} numbers came otherwise than expected, by number (delivery counts, expected): {shown}; "
         f"records with each count: {dict(Counter(count for one in found.values() for count in one))}")
