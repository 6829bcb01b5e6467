"""Consumer groups through librdkafka: who owns what, and when that changes."""

import time

from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import NewPartitions, NewTopic

from harness.check import Context, check, equal, that

from .common import admin_client, answer, await_served, create_topic, producer, send
from .members import BY_CONSUMER, CONSUMER_SETTINGS, GROUP_SETTINGS, Member, Place, Stranger, all_got, beat_for, divided, drive


def numbers(ctx: Context, topics: list[str], partitions: int, first: int, end: int) -> None:
    """Sends the numbers from `first` to `end` to the partitions of all topics in turn."""
    client = producer(ctx, linger_ms=5)
    for at, topic in enumerate(topics):
        send(client, topic, ({"value": b"%d" % n, "partition": n % partitions}
                             for n in range(first, end) if n % len(topics) == at))


def until_got(members: list[Member], count: int) -> None:
    """Beats the members until they have `count` messages, and then until no message too many can be under way."""
    drive(members, lambda: sum(len(member.got) for member in members) >= count, f"{count} messages")
    beat_for(members, 0.2)


def come_and_leave(ctx: Context, strategy: str, shares: list[int], **config: object) -> None:
    """Members join one by one, read, commit and leave: each place has one owner, each record comes once."""
    config = config or {"partition_assignment_strategy": strategy}
    topics = sorted([create_topic(ctx, partitions=3, word="a"), create_topic(ctx, partitions=3, word="b")])
    places = {(topic, number) for topic in topics for number in range(3)}
    group = ctx.name("g")
    members: list[Member] = []
    sent = 0
    for count in (1, 2, 3):
        members.append(Member(ctx, group, topics, **config))
        drive(members, lambda: divided(members, places), f"{count} members that share all partitions")
        numbers(ctx, topics, 3, sent, sent + 300)
        sent += 300
        until_got(members, sent)
        equal(all_got(members), [b"%d" % n for n in range(sent)], f"what {count} members got")
        for member in members:
            if member.owned:
                member.commit()
        if count == 2:
            equal(sorted(len(member.owned) for member in members), shares, f"shares of two members by {strategy}")
    gone = members.pop(0)
    gone.close()
    drive(members, lambda: divided(members, places), "two members that took over")
    numbers(ctx, topics, 3, sent, sent + 300)
    until_got(members, sent + 300 - len(gone.got))
    equal(all_got([gone, *members]), [b"%d" % n for n in range(sent + 300)], "what all members got")
    equal([what for member in members for what, _ in member.told if what == "lost"], [], "lost partitions")
    for member in members:
        member.close()


@check("groups", GROUP_SETTINGS)
def members_share_by_range(ctx: Context) -> None:
    # Two of each three partitions go to the first member.
    come_and_leave(ctx, "range", [2, 4])


@check("groups", GROUP_SETTINGS)
def members_share_by_round_robin(ctx: Context) -> None:
    come_and_leave(ctx, "roundrobin", [3, 3])


@check("groups", GROUP_SETTINGS)
def members_share_cooperatively(ctx: Context) -> None:
    come_and_leave(ctx, "cooperative-sticky", [3, 3])


@check("groups", CONSUMER_SETTINGS)
def members_share_by_the_consumer_protocol(ctx: Context) -> None:
    come_and_leave(ctx, "uniform", [3, 3], **BY_CONSUMER)


@check("groups", GROUP_SETTINGS)
def cooperation_keeps_what_need_not_move(ctx: Context) -> None:
    topic = create_topic(ctx, partitions=6)
    places = {(topic, number) for number in range(6)}
    group = ctx.name("g")
    first = Member(ctx, group, [topic], partition_assignment_strategy="cooperative-sticky")
    drive([first], lambda: divided([first], places), "one owner")
    second = Member(ctx, group, [topic], partition_assignment_strategy="cooperative-sticky")
    drive([first, second], lambda: divided([first, second], places), "two owners")
    revoked = [held for what, held in first.told if what == "revoked" and held]
    equal([len(held) for held in revoked], [3], "partitions taken from the first member, at each time")
    equal(set(revoked[0]), second.owned, "what was taken is what the second member has")
    first.close()
    second.close()


@check("groups", GROUP_SETTINGS)
def strategies_that_do_not_meet_are_refused(ctx: Context) -> None:
    topic = create_topic(ctx, partitions=2)
    group = ctx.name("g")
    first = Member(ctx, group, [topic], partition_assignment_strategy="range")
    drive([first], lambda: len(first.owned) == 2, "one owner")
    other = Member(ctx, group, [topic], partition_assignment_strategy="roundrobin")
    refused = []

    def is_refused() -> bool:
        try:
            other.beat()
        except KafkaException as error:
            refused.append(error.args[0].name())
        return bool(refused)

    drive([first], is_refused, "a refusal")
    equal(refused[0], "INCONSISTENT_GROUP_PROTOCOL", "the answer to a member with another strategy")
    equal(len(first.owned), 2, "partitions of the member that was there")
    other.close()
    first.close()


@check("groups", GROUP_SETTINGS)
def a_pattern_finds_new_topics_and_partitions(ctx: Context) -> None:
    finds_what_is_new(ctx)


def finds_what_is_new(ctx: Context, **config: object) -> None:
    """A member that subscribes by a pattern has what there is of topics like it, and not for long what is gone."""
    word = ctx.name("p")
    group = ctx.name("g")
    one = f"{word}-one"
    answer(admin_client(ctx).create_topics([NewTopic(one, 1, 1)])[one])
    await_served(ctx, one, 1)
    member = Member(ctx, group, [f"^{word}-.*"], **config)
    places: set[Place] = {(one, 0)}
    drive([member], lambda: member.owned == places, "the first topic")
    two = f"{word}-two"
    answer(admin_client(ctx).create_topics([NewTopic(two, 2, 1)])[two])
    places |= {(two, 0), (two, 1)}
    drive([member], lambda: member.owned == places, "the topic that came later")
    answer(admin_client(ctx).create_partitions([NewPartitions(one, 3)])[one])
    places |= {(one, 1), (one, 2)}
    drive([member], lambda: member.owned == places, "the partitions that came later")
    member.borne.add(KafkaError.UNKNOWN_TOPIC_OR_PART)
    answer(admin_client(ctx).delete_topics([two])[two])
    places -= {(two, 0), (two, 1)}
    drive([member], lambda: member.owned == places, "what is left after a deletion")
    member.close()


@check("groups", GROUP_SETTINGS)
def a_static_member_comes_back_to_its_partitions(ctx: Context) -> None:
    leaves_and_comes_back(ctx)


@check("groups", CONSUMER_SETTINGS)
def a_static_member_by_the_consumer_protocol_comes_back_to_its_partitions(ctx: Context) -> None:
    leaves_and_comes_back(ctx, **BY_CONSUMER)


def leaves_and_comes_back(ctx: Context, **config: object) -> None:
    """One of two static members, twice: it finds its partitions, and the other one feels nothing."""
    topic = create_topic(ctx, partitions=4)
    places = {(topic, number) for number in range(4)}
    group = ctx.name("g")
    one = Member(ctx, group, [topic], group_instance_id="one", **config)
    two = Member(ctx, group, [topic], group_instance_id="two", **config)
    drive([one, two], lambda: divided([one, two], places), "two owners")
    owned, told = two.owned.copy(), list(one.told)
    for _ in range(2):
        two.close()
        beat_for([one], 0.5)
        two = Member(ctx, group, [topic], group_instance_id="two", **config)
        drive([one, two], lambda: two.owned, "partitions for the one that came back")
        equal(two.owned, owned, "its partitions")
    beat_for([one, two], 1)
    equal(one.told, told, "what the other member was told")
    equal(two.owned, owned, "the partitions of the one that came back, later")
    two.close()
    one.close()


@check("groups", GROUP_SETTINGS)
def a_second_one_of_the_same_instance_fences_the_first(ctx: Context) -> None:
    topic = create_topic(ctx, partitions=2)
    group = ctx.name("g")
    first = Member(ctx, group, [topic], group_instance_id="same")
    drive([first], lambda: len(first.owned) == 2, "one owner")
    second = Member(ctx, group, [topic], group_instance_id="same")
    drive([second], lambda: len(second.owned) == 2, "the partitions for the second one")
    fatal: list[str] = []

    def is_fenced() -> bool:
        try:
            first.beat()
        except KafkaException as error:
            fatal.append(error.args[0].name())
        return bool(fatal)

    drive([second], is_fenced, "an end of the first one")
    equal(fatal[0], "_FATAL", "the error of the first one")
    try:
        first.client.commit(offsets=[TopicPartition(topic, 0, 1)], asynchronous=False)
    except KafkaException as error:
        that(error.args[0].name() in ("_FATAL", "FENCED_INSTANCE_ID"), f"the fenced one commits: {error}")
    else:
        that(False, "the fenced one could commit")
    first.close()
    beat_for([second], 0.5)
    equal(len(second.owned), 2, "partitions of the second one")
    second.close()


@check("groups", GROUP_SETTINGS)
def a_killed_member_is_missed_when_its_session_ends(ctx: Context) -> None:
    topic = create_topic(ctx, partitions=4)
    places = {(topic, number) for number in range(4)}
    group = ctx.name("g")
    stays = Member(ctx, group, [topic])
    drive([stays], lambda: divided([stays], places), "one owner")
    for config in ({}, {"group_instance_id": "static"}):
        killed = Stranger(ctx, group, topic, session_timeout_ms=1500, **config)
        try:
            drive([stays], lambda: len(stays.owned) == 2, "two members")
            taken = killed.first_assignment()
            equal({number for _, number in stays.owned} | taken, set(range(4)), "partitions of both")
            beat_for([stays], 0.3)
        finally:
            killed.kill()
        died = time.monotonic()
        drive([stays], lambda: divided([stays], places), "all partitions back")
        # At the kill the last heartbeat is 0.2 s old or less, not counting how busy the machine is.
        that(time.monotonic() - died > 0.7, "the member was given up before its session could end")
    stays.close()


@check("groups", GROUP_SETTINGS)
def a_member_that_does_not_poll_is_put_out(ctx: Context) -> None:
    topic = create_topic(ctx, partitions=2)
    group = ctx.name("g")
    lazy = Member(ctx, group, [topic], session_timeout_ms=1500, max_poll_interval_ms=1500)
    drive([lazy], lambda: len(lazy.owned) == 2, "one owner")
    other = Member(ctx, group, [topic])
    drive([other], lambda: len(other.owned) == 2, "the partitions of the one that does not poll")
    # It joins again when it polls again; librdkafka says first what had happened.
    told = []

    def is_told() -> bool:
        try:
            lazy.beat()
        except KafkaException as error:
            told.append(error.args[0].code())
        return divided([lazy, other], {(topic, 0), (topic, 1)})

    drive([other], is_told, "both share again")
    equal([code for code in told if code != KafkaError._MAX_POLL_EXCEEDED], [], "errors")
    lazy.close()
    other.close()


@check("groups", GROUP_SETTINGS)
def paused_partitions_stay_silent(ctx: Context) -> None:
    topic = create_topic(ctx, partitions=3)
    member = Member(ctx, ctx.name("g"), [topic])
    drive([member], lambda: len(member.owned) == 3, "one owner")
    numbers(ctx, [topic], 3, 0, 300)
    until_got([member], 300)
    member.client.pause([TopicPartition(topic, 1)])
    numbers(ctx, [topic], 3, 300, 600)
    until_got([member], 500)
    equal([m.value() for m in member.got[300:] if m.partition() == 1], [], "records of the paused partition")
    member.client.resume([TopicPartition(topic, 1)])
    until_got([member], 600)
    equal(all_got([member]), [b"%d" % n for n in range(600)], "all records")
    equal([m.offset() for m in member.got if m.partition() == 1], list(range(200)), "order of the paused partition")
    member.close()


@check("groups", GROUP_SETTINGS)
def seeking_inside_a_group(ctx: Context) -> None:
    topic = create_topic(ctx, partitions=2)
    numbers(ctx, [topic], 2, 0, 200)
    member = Member(ctx, ctx.name("g"), [topic])
    until_got([member], 200)
    member.client.seek(TopicPartition(topic, 1, 40))
    until_got([member], 260)
    equal([m.offset() for m in member.got[200:]], list(range(40, 100)), "offsets after the seek")
    equal({m.partition() for m in member.got[200:]}, {1}, "partitions after the seek")
    # What is committed is where the reader is after the seek, not the farthest it ever was.
    member.client.seek(TopicPartition(topic, 0, 10))
    member.got.clear()
    drive([member], lambda: member.got, "a record after the seek")
    member.client.commit(message=member.got[0], asynchronous=False)
    equal([place.offset for place in member.client.committed([TopicPartition(topic, 0)])], [11], "committed after the seek")
    member.close()
