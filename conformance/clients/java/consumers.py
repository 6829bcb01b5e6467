"""Groups by the consumer protocol (KIP-848): Kafka's Java consumer, and what Kafka's tools show and set of such groups."""

import re
import time

from harness.check import Context, check, equal, eventually, that

from clients.librdkafka.common import create_topic, producer, send
from clients.librdkafka.members import BY_CONSUMER, CONSUMER_SETTINGS, Member, Stranger, beat_for, divided, drive

from .one_jvm import CONFIGS, CONSOLE, EVERY_GROUP, FEATURES, GROUPS, VERIFIABLE, Tools, table
from .programs import program


def shown(tools: Tools, *entity: object) -> dict[str, str]:
    """kafka-configs --describe: values by setting."""
    lines = tools.call(CONFIGS, "--describe", *entity).splitlines()
    return dict(line.split()[0].split("=", 1) for line in lines if re.match(r"\s+\S+=", line))


@check("consumers", CONSUMER_SETTINGS)
def java_members_share(ctx: Context) -> None:
    program(ctx, "share", "GroupClient")


@check("consumers", CONSUMER_SETTINGS)
def java_members_subscribe_by_pattern(ctx: Context) -> None:
    program(ctx, "pattern", "GroupClient")


@check("consumers", CONSUMER_SETTINGS)
def java_static_members_come_back(ctx: Context) -> None:
    program(ctx, "statics", "GroupClient")


@check("consumers", CONSUMER_SETTINGS)
def a_java_group_changes_its_protocol_and_back(ctx: Context) -> None:
    program(ctx, "change", "GroupClient")


@check("consumers", CONSUMER_SETTINGS)
def tools_show_groups_by_the_consumer_protocol(ctx: Context) -> None:
    topic = create_topic(ctx, partitions=4)
    places = {(topic, number) for number in range(4)}
    group = ctx.name("g")
    members = [Member(ctx, group, [topic], client_id="plain", **BY_CONSUMER),
               Member(ctx, group, [topic], client_id="static", group_instance_id="i-7", **BY_CONSUMER)]
    send(producer(ctx), topic, ({"value": b"x", "partition": n % 4} for n in range(40)))
    drive(members, lambda: divided(members, places) and sum(len(member.got) for member in members) == 40, "all records")
    for member in members:
        member.commit()
    beat_for(members, 0.5)
    with Tools(ctx) as tools:
        [row] = table(tools.call(GROUPS, "--describe", "--group", group, "--state", "--verbose"))
        equal((row["ASSIGNMENT-STRATEGY"], row["STATE"], row["#MEMBERS"]), ("uniform", "Stable", "2"), "--state")
        epoch = int(row["GROUP-EPOCH"])
        that(epoch >= 2 and row["TARGET-ASSIGNMENT-EPOCH"] == row["GROUP-EPOCH"], f"epochs in {row}")
        # A member without an instance id has one column less.
        said = tools.call(GROUPS, "--describe", "--group", group, "--members", "--verbose").splitlines()
        for client_id, member in zip(("plain", "static"), members):
            [line] = [line.split() for line in said if client_id in line.split()]
            partitions = ",".join(str(number) for _, number in sorted(member.owned))
            equal(line[-5:], ["2", str(epoch), f"{topic}:{partitions}", str(epoch), f"{topic}:{partitions}"], f"--members: {client_id}")
            equal(line[1], member.client.memberid(), f"id of {client_id}")
        rows = table(tools.call(GROUPS, "--describe", "--group", group))
        equal(sorted((row["PARTITION"], row["CURRENT-OFFSET"], row["LAG"]) for row in rows),
              [(str(number), "10", "0") for number in range(4)], "--offsets")
        said = tools.call(GROUPS, "--list", "--type", "consumer", "--state", "stable")
        that([group, "Consumer", "Stable"] in [line.split() for line in said.splitlines()], f"--list says {said!r}")
        that(group not in tools.call(GROUPS, "--list", "--type", "classic").split(), "it is listed as a classic one")
        said = tools.call(EVERY_GROUP, "--list", status=None)
        that([group, "Consumer", "consumer"] in [line.split() for line in said.splitlines()], f"kafka-groups says {said!r}")
        that(group in tools.call(EVERY_GROUP, "--list", "--group-type", "consumer", status=None).split(), "not among its type")
        that(group not in tools.call(EVERY_GROUP, "--list", "--group-type", "classic", status=None).split(), "among the classic ones")
        refused = tools.call(GROUPS, "--delete", "--group", group, status=None)
        that("GroupNotEmptyException" in refused, f"deleting it says {refused!r}")
        for member in members:
            member.close()
        # The static one stays until its session ends.
        said = tools.call(GROUPS, "--describe", "--group", group, "--members")
        that("static" in said.split() and "plain" not in said.split(), f"members after both closed: {said!r}")


@check("consumers", CONSUMER_SETTINGS)
def tools_show_members_of_both_protocols(ctx: Context) -> None:
    topic = create_topic(ctx, partitions=4)
    places = {(topic, number) for number in range(4)}
    group = ctx.name("g")
    members = [Member(ctx, group, [topic], client_id="old", partition_assignment_strategy="cooperative-sticky"),
               Member(ctx, group, [topic], client_id="new", **BY_CONSUMER)]
    drive(members, lambda: divided(members, places), "two owners")
    beat_for(members, 0.5)
    with Tools(ctx) as tools:
        rows = table(tools.call(GROUPS, "--describe", "--group", group, "--members", "--verbose"))
        equal({row["CLIENT-ID"]: row["UPGRADED"] for row in rows}, {"old": "false", "new": "true"}, "who is upgraded")
        equal([row["#PARTITIONS"] for row in rows], ["2", "2"], "partitions")
    for member in members:
        member.close()


@check("consumers", CONSUMER_SETTINGS)
def kafkas_consumers_read_by_the_consumer_protocol(ctx: Context) -> None:
    topic, group = create_topic(ctx, partitions=3), ctx.name("g")
    send(producer(ctx, linger_ms=5), topic, ({"value": b"%d" % n, "partition": n % 3} for n in range(300)))
    config = ctx.scratch / "consumer.properties"
    config.write_text("group.protocol=consumer\n")
    with Tools(ctx) as tools:
        said = tools.call(CONSOLE, "--topic", topic, "--group", group, "--from-beginning", "--max-messages", 300,
                          "--timeout-ms", 60_000, "--command-config", config)
        equal(sorted(int(line) for line in said.splitlines() if line.isdigit()), list(range(300)), "what the console consumer printed")
        send(producer(ctx), topic, ({"value": b"7", "partition": p} for p in range(3)))
        said = tools.call(VERIFIABLE, "--topic", topic, "--group-id", group, "--group-protocol", "consumer", "--max-messages", 3,
                          "--reset-policy", "earliest")
        that('"name":"offsets_committed"' in said, f"the verifiable consumer said {said[-800:]!r}")
        rows = table(tools.call(GROUPS, "--describe", "--group", group))
        equal(sorted(row["CURRENT-OFFSET"] for row in rows), ["101"] * 3, "offsets of both")
        said = tools.call(GROUPS, "--list", "--type", "consumer")
        that([group, "Consumer"] in [line.split() for line in said.splitlines()], f"--list says {said!r}")
        said = tools.call(GROUPS, "--reset-offsets", "--group", group, "--topic", topic, "--to-offset", 5, "--execute")
        equal([row["NEW-OFFSET"] for row in table(said)], ["5"] * 3, "offsets that were reset")
        said = tools.call(GROUPS, "--delete", "--group", group)
        that("successful" in said, f"deleting it says {said!r}")


@check("consumers", {**CONSUMER_SETTINGS, "group.consumer.session.timeout.ms": "1500"})
def a_groups_own_session_timeout_is_obeyed(ctx: Context) -> None:
    topic, group = create_topic(ctx, partitions=2), ctx.name("g")
    entity = ["--entity-type", "groups", "--entity-name", group]
    with Tools(ctx) as tools:
        own = {"consumer.session.timeout.ms": "8000", "consumer.heartbeat.interval.ms": "300"}
        tools.call(CONFIGS, "--alter", *entity, "--add-config", ",".join(f"{key}={value}" for key, value in own.items()))
        eventually(lambda: equal(shown(tools, *entity), own, "settings of the group"))
        for name, value, bound in (("session.timeout", 900, "min"), ("heartbeat.interval", 50, "min"),
                                   ("session.timeout", 60_001, "max"), ("heartbeat.interval", 15_001, "max")):
            refused = tools.call(CONFIGS, "--alter", *entity, "--add-config", f"consumer.{name}.ms={value}", status=1)
            that(f"group.consumer.{bound}.{name}.ms" in refused, f"beyond the broker's bound: {refused[-300:]!r}")
    stays = Member(ctx, group, [topic], **BY_CONSUMER)
    killed = Stranger(ctx, group, topic, **BY_CONSUMER)
    try:
        drive([stays], lambda: len(stays.owned) == 1, "two members")
        killed.first_assignment()
    finally:
        killed.kill()
    died = time.monotonic()
    drive([stays], lambda: len(stays.owned) == 2, "all partitions back")
    that(time.monotonic() - died > 5, "the member was given up before the session of its group could end")
    stays.close()


@check("consumers", CONSUMER_SETTINGS)
def the_level_of_group_version_turns_the_protocol_off(ctx: Context) -> None:
    with Tools(ctx) as tools:
        said = tools.call(FEATURES, "describe")
        [told] = [dict(re.findall(r"(\w+): (\S+)", line)) for line in said.splitlines() if "group.version" in line]
        equal([told[f"{word}Version{level}"] for word, level in (("SupportedMin", ""), ("SupportedMax", ""), ("Finalized", "Level"))],
              ["0", "1", "1"], "least, most and present level")
        said = tools.call(FEATURES, "upgrade", "--feature", "group.version=2", status=1)
        that("only supports versions 0-1" in said, f"it said {said!r}")
        said = tools.call(FEATURES, "disable", "--feature", "group.version")
        that("group.version was disabled." in said, f"it said {said!r}")
        try:
            eventually(lambda: that(re.search(r"group.version\s.*FinalizedVersionLevel: 0", tools.call(FEATURES, "describe")), "still there"))
            program(ctx, "unsupported", "GroupClient")
        finally:
            said = tools.call(FEATURES, "upgrade", "--feature", "group.version=1")
        that("group.version was upgraded to 1." in said, f"it said {said!r}")
