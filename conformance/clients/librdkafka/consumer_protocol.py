"""Groups by the consumer protocol (KIP-848) through librdkafka: what takes longer, or needs members of both protocols."""

import time

from confluent_kafka import ConsumerGroupState, ConsumerGroupType, KafkaException, TopicPartition
from confluent_kafka.admin import ConsumerGroupListing

from harness.check import CheckFailed, Context, check, equal, eventually, that

from .common import admin_client, again, answer, create_topic
from .groups import come_and_leave, finds_what_is_new, numbers, until_got
from .members import BY_CONSUMER, CONSUMER_SETTINGS, Member, Place, Stranger, all_got, beat_for, divided, drive


def listed(ctx: Context, group: str, **filters: object) -> ConsumerGroupListing | None:
    """What ListGroups says of a group."""

    def ask() -> ConsumerGroupListing | None:
        result = answer(admin_client(ctx).list_consumer_groups(**filters))
        equal(result.errors, [], "errors of ListGroups")
        return next((one for one in result.valid if one.group_id == group), None)

    return eventually(ask)


@check("consumers", CONSUMER_SETTINGS)
def members_share_by_the_range_assignor(ctx: Context) -> None:
    come_and_leave(ctx, "range", [2, 4], group_remote_assignor="range", **BY_CONSUMER)


@check("consumers", CONSUMER_SETTINGS)
def a_pattern_is_looked_up_by_the_broker(ctx: Context) -> None:
    finds_what_is_new(ctx, **BY_CONSUMER)


@check("consumers", CONSUMER_SETTINGS)
def partitions_that_need_not_move_stay(ctx: Context) -> None:
    topic = create_topic(ctx, partitions=6)
    places = {(topic, number) for number in range(6)}
    group = ctx.name("g")
    first = Member(ctx, group, [topic], **BY_CONSUMER)
    drive([first], lambda: divided([first], places), "one owner")
    second = Member(ctx, group, [topic], **BY_CONSUMER)
    drive([first, second], lambda: divided([first, second], places), "two owners")
    revoked = [held for what, held in first.told if what == "revoked" and held]
    equal([len(held) for held in revoked], [3], "partitions taken from the first member, at each time")
    equal(set(revoked[0]), second.owned, "what was taken is what the second member has")
    first.close()
    second.close()


@check("consumers", CONSUMER_SETTINGS)
def a_killed_broker_is_no_rebalance(ctx: Context) -> None:
    topic = create_topic(ctx, partitions=4)
    places = {(topic, number) for number in range(4)}
    group = ctx.name("g")
    members = [Member(ctx, group, [topic], **BY_CONSUMER) for _ in range(2)]
    drive(members, lambda: divided(members, places), "two owners")
    numbers(ctx, [topic], 4, 0, 200)
    until_got(members, 200)
    for member in members:
        member.commit()
    told = [list(member.told) for member in members]
    again(ctx, kill=True)
    numbers(ctx, [topic], 4, 200, 400)
    until_got(members, 400)
    equal(all_got(members), [b"%d" % n for n in range(400)], "what both got")
    for member in members:
        eventually(member.commit)
    equal([member.told for member in members], told, "what members were told of their partitions")
    found = listed(ctx, group)
    equal((found.type, found.state), (ConsumerGroupType.CONSUMER, ConsumerGroupState.STABLE), "the group")
    for member in members:
        member.close()


@check("consumers", {**CONSUMER_SETTINGS, "group.consumer.session.timeout.ms": "3000"})
def a_killed_member_by_the_consumer_protocol_is_missed_when_its_session_ends(ctx: Context) -> None:
    topic = create_topic(ctx, partitions=4)
    places = {(topic, number) for number in range(4)}
    group = ctx.name("g")
    stays = Member(ctx, group, [topic], **BY_CONSUMER)
    drive([stays], lambda: divided([stays], places), "one owner")
    for config in ({}, {"group_instance_id": "static"}):
        killed = Stranger(ctx, group, topic, **BY_CONSUMER, **config)
        try:
            drive([stays], lambda: len(stays.owned) == 2, "two members")
            taken = killed.first_assignment()
            equal({number for _, number in stays.owned} | taken, set(range(4)), "partitions of both")
            beat_for([stays], 0.3)
        finally:
            killed.kill()
        died = time.monotonic()
        drive([stays], lambda: divided([stays], places), "all partitions back")
        # At the kill the last heartbeat is a fraction of a second old, not counting how busy the machine is.
        that(time.monotonic() - died > 1.5, "the member was given up before its session could end")
    stays.close()


@check("consumers", CONSUMER_SETTINGS)
def groups_by_the_consumer_protocol_are_listed_and_described(ctx: Context) -> None:
    topic = create_topic(ctx, partitions=4)
    places = {(topic, number) for number in range(4)}
    group = ctx.name("g")
    members = [Member(ctx, group, [topic], client_id="plain", **BY_CONSUMER),
               Member(ctx, group, [topic], client_id="static", group_instance_id="i-7", **BY_CONSUMER)]
    drive(members, lambda: divided(members, places), "two owners")
    beat_for(members, 0.5)
    found = listed(ctx, group, types={ConsumerGroupType.CONSUMER}, states={ConsumerGroupState.STABLE})
    that(found is not None, "it is not listed as a stable one of its type")
    equal(listed(ctx, group, types={ConsumerGroupType.CLASSIC}), None, "listed as a classic one")
    described = answer(admin_client(ctx).describe_consumer_groups([group])[group])
    equal((described.group_id, described.state, described.partition_assignor), (group, ConsumerGroupState.STABLE, "uniform"),
          "the group")
    by_client = {member.client_id: member for member in described.members}
    equal(sorted(by_client), ["plain", "static"], "client ids")
    for client_id, member, instance in (("plain", members[0], None), ("static", members[1], "i-7")):
        seen = by_client[client_id]
        equal((seen.member_id, seen.group_instance_id or None), (member.client.memberid(), instance), f"ids of {client_id}")
        equal({(p.topic, p.partition) for p in seen.assignment.topic_partitions}, member.owned, f"assignment of {client_id}")
    for member in members:
        member.close()


@check("consumers", CONSUMER_SETTINGS)
def an_eager_group_changes_its_protocol_and_back(ctx: Context) -> None:
    changes(ctx, "range")


@check("consumers", CONSUMER_SETTINGS)
def a_cooperative_group_changes_its_protocol_and_back(ctx: Context) -> None:
    changes(ctx, "cooperative-sticky")


@check("consumers", CONSUMER_SETTINGS)
def a_cooperative_group_of_librdkafka_cannot_change_its_protocol_once_it_rebalanced(ctx: Context) -> None:
    """From its second generation on a member sends what it had as user data of its assignor, which the leader repeats in what it
    assigns. To a broker that is what a custom assignor does, whose data would be lost: GROUP_ID_NOT_FOUND, and the group goes on."""
    topic = create_topic(ctx, partitions=6)
    places = {(topic, number) for number in range(6)}
    group = ctx.name("g")
    members: list[Member] = []
    for _ in range(2):
        members.append(Member(ctx, group, [topic], partition_assignment_strategy="cooperative-sticky"))
        drive(members, lambda: divided(members, places), f"{len(members)} owners")
    refused = Member(ctx, group, [topic], **BY_CONSUMER)
    # The last rebalance may still have nothing to tell somebody.
    told = [[one for one in member.told if one[1]] for member in members]
    try:
        drive([refused], lambda: refused.owned, "a refusal")
        raise CheckFailed("the group changed its protocol")
    except KafkaException as error:
        that("The group id does not exist" in str(error), f"it was told {error}")
    beat_for(members, 0.5)
    equal([[one for one in member.told if one[1]] for member in members], told, "what the others were told of their partitions")
    equal(listed(ctx, group).type, ConsumerGroupType.CLASSIC, "the type of the group")
    # It cannot even unsubscribe.
    refused.client.close()
    for member in members:
        member.close()


def beginning(ctx: Context, topic: str, places: set[Place], **config: object) -> tuple[str, list[Member]]:
    """A group whose two members came in one generation. Where one came alone first, librdkafka's cooperative groups cannot change their
    protocol any more: see the check above."""
    while True:
        group = ctx.name("g")
        members = [Member(ctx, group, [topic], **config) for _ in range(2)]
        drive(members, lambda: divided(members, places), "two owners")
        if all(len(member.told) == 1 for member in members):
            return group, members
        for member in members:
            member.close()


def changes(ctx: Context, strategy: str) -> None:
    """Members by the classic protocol, of both, by the consumer protocol, of both, by the classic one: every record comes once."""
    topic = create_topic(ctx, partitions=6)
    places = {(topic, number) for number in range(6)}
    classic = {"partition_assignment_strategy": strategy}
    group, members = beginning(ctx, topic, places, **classic)
    gone: list[Member] = []
    sent = 0

    def share(kind: ConsumerGroupType, what: str) -> None:
        nonlocal sent
        drive(members, lambda: divided(members, places), what)
        numbers(ctx, [topic], 6, sent, sent + 300)
        sent += 300
        until_got(members, sent - sum(len(member.got) for member in gone))
        equal(all_got([*members, *gone]), [b"%d" % n for n in range(sent)], f"records of {what}")
        for member in members:
            if member.owned:
                member.commit()
        equal(listed(ctx, group).type, kind, f"the type of the group of {what}")

    def leave() -> None:
        gone.append(members.pop(0))
        gone[-1].close()

    share(ConsumerGroupType.CLASSIC, "two classic members")
    members.append(Member(ctx, group, [topic], **BY_CONSUMER))
    share(ConsumerGroupType.CONSUMER, "two classic members and a new one")
    leave()
    share(ConsumerGroupType.CONSUMER, "a classic member and a new one")
    leave()
    share(ConsumerGroupType.CONSUMER, "a new member")
    members.append(Member(ctx, group, [topic], **classic))
    share(ConsumerGroupType.CONSUMER, "a new member and a classic one")
    leave()
    share(ConsumerGroupType.CLASSIC, "a classic member")
    committed = members[0].client.committed([TopicPartition(topic, number) for number in range(6)])
    equal([place.offset for place in committed], [sent // 6] * 6, "committed offsets")
    leave()
