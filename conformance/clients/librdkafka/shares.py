"""Share groups (KIP-932) through librdkafka's share consumer, as far as its preview goes: it neither renews nor limits what a poll brings."""

import json
import subprocess
import sys
import time
from pathlib import Path

from confluent_kafka import AcknowledgeType, KafkaError, Message, ShareConsumer

from harness.check import Context, check, equal, eventually, that

from .common import QUIET, again, create_topic, producer, send
from .share_members import SHARE_SETTINGS, ShareMember, accept, drive_shares, fresh_group


def numbers(ctx: Context, topic: str, partitions: int, first: int, end: int) -> None:
    """Sends the numbers from `first` to `end`, in as few batches as there are partitions."""
    send(producer(ctx, linger_ms=500), topic, ({"value": b"%d" % n, "partition": n % partitions} for n in range(first, end)))


def each(first: int, end: int, *delivered: int) -> dict[int, list[int]]:
    """Each of these numbers with these delivery counts."""
    return {number: list(delivered) for number in range(first, end)}


@check("shares", SHARE_SETTINGS)
def members_take_what_others_do_not(ctx: Context) -> None:
    topic = create_topic(ctx, partitions=3)
    group = fresh_group(ctx)
    members = [ShareMember(ctx, group, [topic]) for _ in range(4)]
    for turn in range(10):
        numbers(ctx, topic, 3, turn * 300, turn * 300 + 300)
    drive_shares(members, each(0, 3000, 1))
    gone = members.pop()
    gone.close()
    numbers(ctx, topic, 3, 3000, 3300)
    drive_shares(members, {**each(3000, 3300, 1), **{n: [1] for member in members for n in map(int, values_of(member))}})
    for member in members:
        member.close()


def values_of(member: ShareMember) -> list[bytes]:
    """What a member got."""
    return [message.value() for message in member.got]


@check("shares", SHARE_SETTINGS)
def records_are_accepted_released_and_rejected(ctx: Context) -> None:
    topic = create_topic(ctx)
    group = fresh_group(ctx)
    numbers(ctx, topic, 1, 0, 40)
    member = ShareMember(ctx, group, [topic])

    def verdict(message: Message) -> AcknowledgeType:
        kind, count = int(message.value()) % 4, message.delivery_count()
        if kind == 0 or (kind == 1 and count == 2):
            return AcknowledgeType.ACCEPT
        return AcknowledgeType.RELEASE if kind in (1, 2) and count <= kind else AcknowledgeType.REJECT

    expected = {0: [1], 1: [1, 2], 2: [1, 2, 3], 3: [1]}
    drive_shares([member], {n: expected[n % 4] for n in range(40)}, verdict)
    member.close()
    # Nothing is left of it for whoever comes later.
    numbers(ctx, topic, 1, 40, 50)
    later = ShareMember(ctx, group, [topic])
    drive_shares([later], each(40, 50, 1))
    later.close()


@check("shares", SHARE_SETTINGS)
def a_record_is_given_up_after_its_last_delivery(ctx: Context) -> None:
    topic = create_topic(ctx)
    group = fresh_group(ctx, delivery_count_limit=2)
    numbers(ctx, topic, 1, 0, 10)
    member = ShareMember(ctx, group, [topic])
    drive_shares([member], each(0, 10, 1, 2), lambda _: AcknowledgeType.RELEASE)
    numbers(ctx, topic, 1, 10, 20)
    drive_shares([member], {**each(0, 10, 1, 2), **each(10, 20, 1)})
    member.close()


@check("shares", SHARE_SETTINGS)
def a_lock_ends_and_its_member_is_told(ctx: Context) -> None:
    topic = create_topic(ctx)
    group = fresh_group(ctx, record_lock_duration_ms=2000)
    numbers(ctx, topic, 1, 0, 10)
    slow = ShareMember(ctx, group, [topic])
    held, since = slow.hold(10), time.monotonic()
    other = ShareMember(ctx, group, [topic])
    taken = other.hold(10)
    that(time.monotonic() - since > 1.5, "records were another member's before their lock could end")
    equal({message.delivery_count() for message in taken}, {2}, "delivery counts after the lock ended")
    for message in held:
        slow.client.acknowledge(message)
    [error] = slow.client.commit_sync(30).values()
    equal(error and error.args[0].code(), KafkaError.INVALID_RECORD_STATE, "the answer to a late acknowledgement")
    for message in taken:
        other.client.acknowledge(message)
    other.commit()
    slow.close()
    other.close()


@check("shares", SHARE_SETTINGS)
def a_member_that_closes_gives_back_what_it_holds(ctx: Context) -> None:
    topic = create_topic(ctx)
    group = fresh_group(ctx)
    numbers(ctx, topic, 1, 0, 10)
    gone = ShareMember(ctx, group, [topic])
    for message in gone.hold(10)[:3]:
        gone.client.acknowledge(message)
    gone.close()
    other = ShareMember(ctx, group, [topic])
    # They were handed out: that counts.
    drive_shares([other], each(3, 10, 2))
    other.close()


@check("shares", SHARE_SETTINGS)
def the_next_poll_accepts_implicitly(ctx: Context) -> None:
    topic = create_topic(ctx)
    group = fresh_group(ctx)
    with ShareConsumer({"bootstrap.servers": ctx.bootstrap, "group.id": group, **QUIET}) as client:
        client.subscribe([topic])
        numbers(ctx, topic, 1, 0, 100)
        got: list[int] = []

        def all_of_it() -> None:
            got.extend(int(message.value()) for message in client.poll(0.1))
            equal(len(got), 100, "records")

        eventually(all_of_it)
        client.poll(0.2)
    equal(sorted(got), list(range(100)), "what came")
    numbers(ctx, topic, 1, 100, 110)
    later = ShareMember(ctx, group, [topic])
    drive_shares([later], each(100, 110, 1))
    later.close()


@check("shares", {**SHARE_SETTINGS, "group.share.session.timeout.ms": "3000"})
def what_a_killed_member_held_comes_again(ctx: Context) -> None:
    topic = create_topic(ctx)
    group = fresh_group(ctx, record_lock_duration_ms=2000)
    numbers(ctx, topic, 1, 0, 20)
    settings = {"bootstrap.servers": ctx.bootstrap, "group.id": group, "share.acknowledgement.mode": "explicit", **QUIET}
    command = [sys.executable, str(Path(__file__).with_name("share_stranger.py")), json.dumps(settings), topic]
    killed = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
    try:
        taken = json.loads(killed.stdout.readline())
    finally:
        killed.kill()
        killed.wait()
        killed.stdout.close()
    equal(taken, list(range(20)), "what the killed member had")
    stays = ShareMember(ctx, group, [topic])
    # Its connection ends with it: that gives back what it had, or the lock ends first. That it was handed out counts.
    deadline = time.monotonic() + 60
    while len(stays.got) < 20 and time.monotonic() < deadline:
        stays.beat(accept)
    equal(sorted(map(int, values_of(stays))), list(range(20)), "what came again")
    equal({message.delivery_count() for message in stays.got}, {2}, "delivery counts of what came again")
    stays.close()


def outlives(ctx: Context, kill: bool) -> None:
    """Members go on after a broker came back; what was accepted does not come again, and what was released counts on."""
    topic = create_topic(ctx, partitions=2)
    group = fresh_group(ctx)
    members = [ShareMember(ctx, group, [topic]) for _ in range(2)]
    numbers(ctx, topic, 2, 0, 200)
    drive_shares(members, {n: [1, 2] if n % 10 == 0 else [1] for n in range(200)},
                 lambda one: AcknowledgeType.RELEASE if int(one.value()) % 10 == 0 and one.delivery_count() == 1 else AcknowledgeType.ACCEPT)
    again(ctx, kill)
    numbers(ctx, topic, 2, 200, 400)
    expected = {n: [1, 2] if n % 10 == 0 and n < 200 else [1] for n in range(400)}
    drive_shares(members, expected)
    for member in members:
        member.close()


@check("shares", SHARE_SETTINGS)
def share_groups_outlive_a_restart(ctx: Context) -> None:
    outlives(ctx, kill=False)


@check("shares", SHARE_SETTINGS)
def share_groups_outlive_a_kill(ctx: Context) -> None:
    outlives(ctx, kill=True)


@check("shares", SHARE_SETTINGS)
def a_release_outlives_a_kill(ctx: Context) -> None:
    topic = create_topic(ctx)
    group = fresh_group(ctx)
    numbers(ctx, topic, 1, 0, 30)
    member = ShareMember(ctx, group, [topic])
    for message in member.hold(30):
        member.client.acknowledge(message, [AcknowledgeType.ACCEPT, AcknowledgeType.RELEASE, AcknowledgeType.REJECT][int(message.value()) % 3])
    member.commit()
    # Before anything of it can be handed out again to somebody else than this member, which polls no more.
    again(ctx, kill=True)
    other = ShareMember(ctx, group, [topic])
    drive_shares([other], {n: [2] for n in range(1, 30, 3)})
    other.close()
    member.close()
