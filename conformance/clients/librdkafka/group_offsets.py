"""Committed offsets through librdkafka: every way to commit, and what a client finds when it or the broker comes back."""

from confluent_kafka import OFFSET_INVALID, Consumer, KafkaException, TopicPartition

from harness.check import Context, check, equal, eventually, that

from .common import ANSWER_BOUND_S, admin_client, again, answer, consumer, create_topic
from .groups import numbers, until_got
from .members import GROUP_SETTINGS, Member, all_got, beat_for, divided, drive


def committed(ctx: Context, group: str, topic: str, partitions: int) -> list[int]:
    """What a stranger to the group is told of its offsets."""
    client = consumer(ctx, group_id=group)

    def ask() -> list[int]:
        found = client.committed([TopicPartition(topic, p) for p in range(partitions)], ANSWER_BOUND_S)
        equal([place.error for place in found], [None] * partitions, "errors of committed()")
        return [place.offset for place in found]

    try:
        # After a start Kafka's coordinator is not there at once (NOT_COORDINATOR).
        return eventually(ask)
    finally:
        client.close()


def error_of_commit(client: Consumer, *places: TopicPartition) -> str:
    """Name of the error that a commit ends with, of the whole or of the only place; empty when it succeeds."""
    try:
        results = client.commit(offsets=list(places), asynchronous=False)
    except KafkaException as error:
        return error.args[0].name()
    return next((place.error.name() for place in results if place.error), "")


@check("groups", GROUP_SETTINGS)
def committed_of_what_nobody_committed(ctx: Context) -> None:
    topic = create_topic(ctx, partitions=2)
    client = consumer(ctx, group_id=ctx.name("g"))
    asked = [TopicPartition(topic, 0), TopicPartition(topic, 1), TopicPartition(ctx.name("absent"), 7)]
    found = client.committed(asked, ANSWER_BOUND_S)
    equal([(place.offset, place.error) for place in found], [(OFFSET_INVALID, None)] * 3, "offsets of a new group")
    client.commit(offsets=[TopicPartition(topic, 1, 5, metadata="a note")], asynchronous=False)
    found = client.committed(asked, ANSWER_BOUND_S)
    equal([place.offset for place in found], [OFFSET_INVALID, 5, OFFSET_INVALID], "offsets after one commit")
    equal(found[1].metadata, "a note", "metadata")
    client.close()


@check("groups", GROUP_SETTINGS)
def commits_without_a_member(ctx: Context) -> None:
    topic = create_topic(ctx, partitions=2)
    group = ctx.name("g")
    client = consumer(ctx, group_id=group)
    for offset in (0, 10, 3, 2**40):
        equal(error_of_commit(client, TopicPartition(topic, 0, offset)), "", f"committing {offset}")
        equal(committed(ctx, group, topic, 2), [offset, OFFSET_INVALID], "what is committed")
    equal(error_of_commit(client, TopicPartition(ctx.name("absent"), 0, 1)), "UNKNOWN_TOPIC_OR_PART", "an unknown topic")
    equal(error_of_commit(client, TopicPartition(topic, 2, 1)), "UNKNOWN_TOPIC_OR_PART", "an unknown partition")
    # The limit is 4096 bytes; this client sends a zero byte behind the text.
    fits = TopicPartition(topic, 1, 1, metadata="x" * 4095)
    equal(error_of_commit(client, fits), "", "metadata of 4095 bytes")
    long = TopicPartition(topic, 1, 2, metadata="x" * 4097)
    equal(error_of_commit(client, long), "OFFSET_METADATA_TOO_LARGE", "metadata of 4097 bytes")
    equal(committed(ctx, group, topic, 2), [2**40, 1], "what is committed after a refusal")
    # While the group has members, only they commit.
    member = Member(ctx, group, [topic])
    drive([member], lambda: len(member.owned) == 2, "one owner")
    equal(error_of_commit(client, TopicPartition(topic, 0, 1)), "UNKNOWN_MEMBER_ID", "a stranger's commit")
    member.close()
    equal(error_of_commit(client, TopicPartition(topic, 0, 1)), "", "a commit after the member left")
    client.close()


@check("groups", GROUP_SETTINGS)
def every_way_to_commit(ctx: Context) -> None:
    topic = create_topic(ctx, partitions=2)
    group = ctx.name("g")
    numbers(ctx, [topic], 2, 0, 200)
    reports: list[tuple[object, list[int]]] = []

    def reported(error: object, places: list[TopicPartition]) -> None:
        reports.append((error, sorted(place.offset for place in places)))

    member = Member(ctx, group, [topic], on_commit=reported)
    until_got([member], 200)
    member.client.commit(offsets=[TopicPartition(topic, 0, 10), TopicPartition(topic, 1, 20)], asynchronous=False)
    equal(committed(ctx, group, topic, 2), [10, 20], "after a commit of offsets")
    member.client.commit(message=next(m for m in member.got if m.partition() == 1 and m.offset() == 30), asynchronous=False)
    equal(committed(ctx, group, topic, 2), [10, 31], "after a commit of a message")
    reports.clear()
    member.client.commit(offsets=[TopicPartition(topic, 0, 50), TopicPartition(topic, 1, 60)], asynchronous=True)
    drive([member], lambda: reports, "a report of the asynchronous commit")
    equal(reports, [(None, [50, 60])], "reports")
    equal(committed(ctx, group, topic, 2), [50, 60], "after an asynchronous commit")
    member.commit()
    equal(committed(ctx, group, topic, 2), [100, 100], "after a commit of positions")
    member.close()


@check("groups", GROUP_SETTINGS)
def stored_offsets_are_committed_by_the_client(ctx: Context) -> None:
    topic = create_topic(ctx, partitions=2)
    group = ctx.name("g")
    numbers(ctx, [topic], 2, 0, 200)
    member = Member(ctx, group, [topic], enable_auto_commit=True, enable_auto_offset_store=False, auto_commit_interval_ms=200)
    until_got([member], 200)
    member.client.store_offsets(offsets=[TopicPartition(topic, 0, 33)])

    def becomes(expected: list[int]) -> None:
        member.beat()
        equal(committed(ctx, group, topic, 2), expected, "what is committed")

    eventually(lambda: becomes([33, OFFSET_INVALID]))
    # What is stored when the member leaves is committed by its leaving.
    member.client.store_offsets(offsets=[TopicPartition(topic, 0, 44), TopicPartition(topic, 1, 55)])
    member.close()
    equal(committed(ctx, group, topic, 2), [44, 55], "after close()")
    automatic = Member(ctx, group, [topic], enable_auto_commit=True)
    until_got([automatic], 56 + 45)
    automatic.close()
    equal(committed(ctx, group, topic, 2), [100, 100], "after close() of a member that stores by itself")


@check("groups", GROUP_SETTINGS)
def a_client_resumes_where_it_committed(ctx: Context) -> None:
    topic = create_topic(ctx, partitions=3)
    group = ctx.name("g")
    seen: list[bytes] = []
    for turn in range(4):
        numbers(ctx, [topic], 3, turn * 150, turn * 150 + 150)
        member = Member(ctx, group, [topic], partition_assignment_strategy=["range", "cooperative-sticky"][turn % 2])
        until_got([member], 150)
        seen += all_got([member])
        member.commit()
        member.close()
    equal(seen, [b"%d" % n for n in range(600)], "what four members, one after the other, got")


def survives(ctx: Context, kill: bool) -> None:
    """A group with members goes on over two ends of the broker; an idle group's offsets are as they were."""
    topic = create_topic(ctx, partitions=4)
    places = {(topic, number) for number in range(4)}
    group, idle = ctx.name("g"), ctx.name("idle")
    stranger = consumer(ctx, group_id=idle)
    stranger.commit(offsets=[TopicPartition(topic, 2, 77, metadata="kept")], asynchronous=False)
    stranger.close()
    members = [Member(ctx, group, [topic], group_instance_id=f"m{n}") for n in range(2)]
    drive(members, lambda: divided(members, places), "two owners")
    sent = 0
    for turn in range(3):
        numbers(ctx, [topic], 4, sent, sent + 200)
        sent += 200
        until_got(members, sent)
        equal(all_got(members), [b"%d" % n for n in range(sent)], f"what the members got by turn {turn}")
        for member in members:
            member.commit()
        if turn < 2:
            again(ctx, kill)
            equal(committed(ctx, group, topic, 4), [sent // 4] * 4, f"committed after end {turn} of the broker")
            equal(committed(ctx, idle, topic, 4), [OFFSET_INVALID, OFFSET_INVALID, 77, OFFSET_INVALID], "the idle group")
    beat_for(members, 0.5)
    that(divided(members, places), f"owned at the end: {[member.owned for member in members]}")
    for member in members:
        member.close()


@check("groups", GROUP_SETTINGS)
def groups_outlive_a_restart(ctx: Context) -> None:
    survives(ctx, kill=False)


@check("groups", GROUP_SETTINGS)
def groups_outlive_a_kill(ctx: Context) -> None:
    survives(ctx, kill=True)


@check("groups", GROUP_SETTINGS)
def offsets_go_with_their_topic(ctx: Context) -> None:
    topic, other = create_topic(ctx), create_topic(ctx)
    group = ctx.name("g")
    client = consumer(ctx, group_id=group)
    client.commit(offsets=[TopicPartition(topic, 0, 5), TopicPartition(other, 0, 6)], asynchronous=False)
    answer(admin_client(ctx).delete_topics([topic])[topic])
    eventually(lambda: equal(committed(ctx, group, topic, 1), [OFFSET_INVALID], "of the topic that went"))
    equal(committed(ctx, group, other, 1), [6], "of the topic that stays")
    client.close()
