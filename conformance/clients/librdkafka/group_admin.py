"""librdkafka's admin client about groups: list, describe, delete, alter and list offsets."""

from confluent_kafka import (OFFSET_INVALID, ConsumerGroupState, ConsumerGroupTopicPartitions, ConsumerGroupType,
                             TopicPartition)
from confluent_kafka.admin import ConsumerGroupDescription

from harness.check import Context, check, equal, eventually, that

from .common import admin_client, answer, consumer, create_topic, error_of
from .group_offsets import committed
from .members import GROUP_SETTINGS, Member, beat_for, divided, drive


def described(ctx: Context, group: str) -> ConsumerGroupDescription:
    """DescribeGroups of one group."""
    return answer(admin_client(ctx).describe_consumer_groups([group])[group])


def listed(ctx: Context, **filters: object) -> dict[str, ConsumerGroupState]:
    """ListGroups: states by group."""

    def ask() -> dict[str, ConsumerGroupState]:
        result = answer(admin_client(ctx).list_consumer_groups(**filters))
        equal(result.errors, [], "errors of ListGroups")
        return {group.group_id: group.state for group in result.valid}

    # After a start both brokers say for a while that coordinators are still loading.
    return eventually(ask)


def empty_group(ctx: Context, topic: str, **offsets: int) -> str:
    """A group that has offsets (p0=5 for partition 0) and never had a member."""
    group = ctx.name("g")
    client = consumer(ctx, group_id=group)
    client.commit(offsets=[TopicPartition(topic, int(key[1:]), offset) for key, offset in offsets.items()],
                  asynchronous=False)
    client.close()
    return group


def alter(ctx: Context, group: str, *places: TopicPartition):
    """The future of an alteration of offsets."""
    return admin_client(ctx).alter_consumer_group_offsets([ConsumerGroupTopicPartitions(group, list(places))])[group]


def group_offsets(ctx: Context, group: str, *places: TopicPartition) -> dict[tuple[str, int], int]:
    """Offsets by the admin client; of all partitions when none is named."""
    asked = ConsumerGroupTopicPartitions(group, list(places) or None)
    result = answer(admin_client(ctx).list_consumer_group_offsets([asked])[group])
    equal([place.error for place in result.topic_partitions if place.error], [], "errors of offsets")
    return {(place.topic, place.partition): place.offset for place in result.topic_partitions}


@check("groups", GROUP_SETTINGS)
def groups_are_listed_by_state(ctx: Context) -> None:
    topic = create_topic(ctx, partitions=2)
    empty = empty_group(ctx, topic, p0=1)
    group = ctx.name("stable")
    member = Member(ctx, group, [topic])
    drive([member], lambda: len(member.owned) == 2, "one owner")
    both = {empty: ConsumerGroupState.EMPTY, group: ConsumerGroupState.STABLE}

    def of_ours(**filters: object) -> dict[str, ConsumerGroupState]:
        return {name: state for name, state in listed(ctx, **filters).items() if name in both}

    equal(of_ours(), both, "without a filter")
    equal(of_ours(states={ConsumerGroupState.STABLE}), {group: ConsumerGroupState.STABLE}, "stable ones")
    equal(of_ours(states={ConsumerGroupState.EMPTY}), {empty: ConsumerGroupState.EMPTY}, "empty ones")
    equal(of_ours(states={ConsumerGroupState.DEAD}), {}, "dead ones")
    equal(of_ours(types={ConsumerGroupType.CLASSIC}), both, "classic ones")
    equal(of_ours(types={ConsumerGroupType.CONSUMER}), {}, "ones of the newer protocol")
    member.close()
    equal(of_ours(states={ConsumerGroupState.EMPTY}), dict.fromkeys(both, ConsumerGroupState.EMPTY), "empty ones, later")


@check("groups", GROUP_SETTINGS)
def groups_are_described(ctx: Context) -> None:
    topic = create_topic(ctx, partitions=4)
    places = {(topic, number) for number in range(4)}
    group = ctx.name("g")
    members = [Member(ctx, group, [topic], client_id="plain"),
               Member(ctx, group, [topic], client_id="static", group_instance_id="i-7")]
    drive(members, lambda: divided(members, places), "two owners")
    # Both own their part as soon as the second one is told; the group is stable then.
    found = described(ctx, group)
    equal((found.group_id, found.state, found.partition_assignor), (group, ConsumerGroupState.STABLE, "range"), "the group")
    that(not found.is_simple_consumer_group, "it is taken for a simple group")
    host, port = ctx.bootstrap.split(":")
    equal((found.coordinator.host, found.coordinator.port), (host, int(port)), "coordinator")
    by_client = {member.client_id: member for member in found.members}
    equal(sorted(by_client), ["plain", "static"], "client ids")
    for client_id, member, instance in (("plain", members[0], None), ("static", members[1], "i-7")):
        seen = by_client[client_id]
        equal(seen.member_id, member.client.memberid(), f"member id of {client_id}")
        equal(seen.group_instance_id or None, instance, f"instance of {client_id}")
        that("127.0.0.1" in seen.host, f"host {seen.host!r}")
        equal({(p.topic, p.partition) for p in seen.assignment.topic_partitions}, member.owned, f"assignment of {client_id}")
    for member in members:
        member.close()
    # The static one stays until its session ends.
    eventually(lambda: equal([m.client_id for m in described(ctx, group).members], ["static"], "members after both closed"))
    absent = described(ctx, ctx.name("absent"))
    equal((absent.state, list(absent.members)), (ConsumerGroupState.DEAD, []), "a group that never was")


@check("groups", GROUP_SETTINGS)
def groups_are_deleted(ctx: Context) -> None:
    topic = create_topic(ctx, partitions=2)
    admin = admin_client(ctx)
    gone, stays, absent = empty_group(ctx, topic, p0=4, p1=5), empty_group(ctx, topic, p0=6), ctx.name("absent")
    member = Member(ctx, stays, [topic])
    drive([member], lambda: len(member.owned) == 2, "one owner")
    futures = admin.delete_consumer_groups([gone, stays, absent])
    answer(futures[gone])
    equal(error_of(futures[stays]), "NON_EMPTY_GROUP", "deleting a group with a member")
    equal(error_of(futures[absent]), "GROUP_ID_NOT_FOUND", "deleting what is not there")
    that(gone not in listed(ctx) and stays in listed(ctx), "the wrong group went")
    equal(committed(ctx, gone, topic, 2), [OFFSET_INVALID] * 2, "offsets of the deleted group")
    equal(committed(ctx, stays, topic, 2), [6, OFFSET_INVALID], "offsets of the other one")
    beat_for([member], 0.3)
    equal(len(member.owned), 2, "partitions of the member, after the refusal")
    member.close()
    answer(admin.delete_consumer_groups([stays])[stays])
    that(stays not in listed(ctx), "still listed")
    # The name is free again.
    again = Member(ctx, gone, [topic])
    drive([again], lambda: len(again.owned) == 2, "one owner in a group of the old name")
    again.close()


@check("groups", GROUP_SETTINGS)
def offsets_are_altered_and_listed(ctx: Context) -> None:
    topic, other = create_topic(ctx, partitions=3), create_topic(ctx)
    group = empty_group(ctx, topic, p0=1, p1=2)
    result = answer(alter(ctx, group, TopicPartition(topic, 1, 20), TopicPartition(other, 0, 30)))
    equal([place.error for place in result.topic_partitions], [None, None], "errors of the alteration")
    equal(group_offsets(ctx, group), {(topic, 0): 1, (topic, 1): 20, (other, 0): 30}, "all offsets")
    named = group_offsets(ctx, group, TopicPartition(topic, 1), TopicPartition(topic, 2))
    equal(named, {(topic, 1): 20, (topic, 2): OFFSET_INVALID}, "offsets of named partitions")
    fresh = ctx.name("fresh")
    answer(alter(ctx, fresh, TopicPartition(topic, 0, 9)))
    equal(group_offsets(ctx, fresh), {(topic, 0): 9}, "offsets of a group made by the alteration")
    equal(group_offsets(ctx, ctx.name("absent")), {}, "offsets of a group that is not there")
    member = Member(ctx, group, [topic])
    drive([member], lambda: len(member.owned) == 3, "one owner")
    refused = answer(alter(ctx, group, TopicPartition(topic, 0, 3))).topic_partitions
    equal([place.error.name() for place in refused], ["UNKNOWN_MEMBER_ID"], "altering under a member")
    equal(group_offsets(ctx, group)[(topic, 0)], 1, "what was to be altered")
    member.close()
    # A member starts where the alteration put the group.
    answer(alter(ctx, group, TopicPartition(topic, 0, 0)))
    equal(committed(ctx, group, topic, 1), [0], "what is committed after the member left")
