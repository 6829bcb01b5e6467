"""Kafka's consumer tools in groups: console, verifiable, performance; kafka-consumer-groups; kafka-configs."""

import json
import re
import time

from confluent_kafka import TopicPartition

from harness.check import Context, check, equal, eventually, that

from clients.librdkafka.common import admin_client, consumer, create_topic, producer, send
from clients.librdkafka.members import Member, divided, drive

from .one_jvm import CONFIGS, CONSOLE, GROUPS, PERFORMANCE, VERIFIABLE, Tools, table

T0 = (int(time.time()) - 86_400) * 1000
"""Yesterday."""


def filled(ctx: Context, partitions: int = 2, count: int = 100, word: str = "t") -> str:
    """Each partition holds `count` numbers, number n with timestamp T0 + 1000 n."""
    topic = create_topic(ctx, partitions=partitions, word=word)
    send(producer(ctx, linger_ms=5), topic, ({"value": b"%d" % n, "partition": p, "timestamp": T0 + 1000 * n}
                                            for n in range(count) for p in range(partitions)))
    return topic


def commit(ctx: Context, group: str, topic: str, *offsets: int) -> None:
    """Commits for partitions 0, 1, ... of an idle group."""
    client = consumer(ctx, group_id=group)
    client.commit(offsets=[TopicPartition(topic, p, offset) for p, offset in enumerate(offsets)], asynchronous=False)
    client.close()


@check("java")
def consumers_in_groups(ctx: Context) -> None:
    topic = filled(ctx, partitions=3)
    group = ctx.name("g")
    with Tools(ctx) as tools:
        said = tools.call(CONSOLE, "--topic", topic, "--group", group, "--from-beginning", "--max-messages", 300,
                          "--timeout-ms", 60_000)
        # Its last line counts the messages.
        numbers = sorted(int(line) for line in said.splitlines() if line.isdigit())
        equal(numbers, sorted([*range(100)] * 3), "what the console consumer printed")
        rows = table(tools.call(GROUPS, "--describe", "--group", group))
        equal(sorted((row["PARTITION"], row["CURRENT-OFFSET"], row["LAG"]) for row in rows),
              [("0", "100", "0"), ("1", "100", "0"), ("2", "100", "0")], "offsets of the console consumer")
        send(producer(ctx), topic, ({"value": b"7", "partition": p} for p in range(3)))
        said = tools.call(VERIFIABLE, "--topic", topic, "--group-id", group, "--max-messages", 3, "--reset-policy", "earliest")
        events = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
        by_name = {event["name"] for event in events}
        that({"startup_complete", "partitions_assigned", "records_consumed", "offsets_committed"} <= by_name,
             f"events {by_name}")
        equal(sum(event["count"] for event in events if event["name"] == "records_consumed"), 3, "records, from the committed")
        that(all(event["success"] for event in events if event["name"] == "offsets_committed"), "a commit failed")
        equal(sorted(row["CURRENT-OFFSET"] for row in table(tools.call(GROUPS, "--describe", "--group", group))),
              ["101"] * 3, "offsets of the verifiable consumer")
        other = ctx.name("perf")
        said = tools.call(PERFORMANCE, "--topic", topic, "--group", other, "--num-records", 303, "--timeout", 60_000)
        figures = said.strip().splitlines()[-1].split(", ")
        equal(figures[4], "303", f"records of the performance consumer, which said {said!r}")


def documents(said: str) -> list[dict]:
    """JSON documents one behind the other: the formatters write no end of line."""
    found, at, decoder = [], said.find("{"), json.JSONDecoder()
    while at >= 0:
        document, end = decoder.raw_decode(said, at)
        found.append(document)
        at = said.find("{", end)
    return found


@check("java")
def the_topic_of_groups_reads_as_kafkas(ctx: Context) -> None:
    topic = filled(ctx)
    group = ctx.name("g")
    member = Member(ctx, group, [topic], client_id="reader")
    drive([member], lambda: len(member.got) == 200, "all records")
    member.commit()
    member_id = member.client.memberid()
    member.close()
    commit(ctx, group, topic, 41, 42)
    options = ["--topic", "__consumer_offsets", "--from-beginning", "--timeout-ms", 15000, "--formatter"]
    with Tools(ctx) as tools:
        said = tools.call(CONSOLE, *options, "org.apache.kafka.tools.consumer.OffsetsMessageFormatter", status=None)
        records = documents(said)
        ours = [record for record in records if record["key"]["data"]["group"] == group]
        found = [(r["key"]["data"]["topic"], r["key"]["data"]["partition"], r["value"]["data"]["offset"]) for r in ours]
        equal(sorted(found[:2]) + sorted(found[2:]), [(topic, 0, 100), (topic, 1, 100), (topic, 0, 41), (topic, 1, 42)],
              "commits in the topic")
        said = tools.call(CONSOLE, *options, "org.apache.kafka.tools.consumer.GroupMetadataMessageFormatter", status=None)
        records = documents(said)
        ours = [record["value"]["data"] for record in records if record["key"]["data"]["group"] == group]
        that(ours, f"no record of the group in {said[-800:]!r}")
        stable = [value for value in ours if value["members"]]
        equal((stable[-1]["protocolType"], stable[-1]["protocol"], stable[-1]["leader"]), ("consumer", "range", member_id),
              "the group in its stable state")
        equal([(m["memberId"], m["clientId"]) for m in stable[-1]["members"]], [(member_id, "reader")], "members")
        equal(ours[-1]["members"], [], "members in the last record")


@check("java")
def consumer_groups_tool_shows(ctx: Context) -> None:
    topic = filled(ctx)
    group, idle = ctx.name("busy"), ctx.name("idle")
    commit(ctx, idle, topic, 10, 20)
    member = Member(ctx, group, [topic], client_id="shown")
    drive([member], lambda: len(member.got) == 200 and divided([member], {(topic, 0), (topic, 1)}), "all records")
    member.commit()
    with Tools(ctx) as tools:
        that({group, idle} <= set(tools.call(GROUPS, "--list").split()), "a group is not listed")
        said = tools.call(GROUPS, "--list", "--state", "stable")
        that(group in said and idle not in said, f"stable groups: {said!r}")
        rows = table(tools.call(GROUPS, "--describe", "--group", group, "--offsets"))
        equal([(r["TOPIC"], r["PARTITION"], r["CURRENT-OFFSET"], r["LOG-END-OFFSET"], r["LAG"], r["CLIENT-ID"]) for r in rows],
              [(topic, str(p), "100", "100", "0", "shown") for p in range(2)], "--offsets")
        row = table(tools.call(GROUPS, "--describe", "--group", group, "--members"))[0]
        equal((row["CONSUMER-ID"], row["CLIENT-ID"], row["#PARTITIONS"]), (member.client.memberid(), "shown", "2"), "--members")
        verbose = tools.call(GROUPS, "--describe", "--group", group, "--members", "--verbose")
        that(f"{topic}:0,1" in verbose or f"{topic}(0,1)" in verbose, f"--verbose says {verbose!r}")
        said = tools.call(GROUPS, "--describe", "--group", group, "--state")
        that(re.search(rf"{ctx.bootstrap} +\(1\) +range +Stable +1\b", said) or re.search(r"range +Stable +1\b", said),
             f"--state says {said!r}")
        rows = table(tools.call(GROUPS, "--describe", "--all-groups", "--offsets"))
        equal(sorted((r["GROUP"], r["CURRENT-OFFSET"]) for r in rows if r["GROUP"] in (group, idle)),
              sorted([(group, "100"), (group, "100"), (idle, "10"), (idle, "20")]), "--all-groups")
        refused = tools.call(GROUPS, "--delete", "--group", group, status=None)
        that("GroupNotEmptyException" in refused, f"deleting it says {refused!r}")
        refused = tools.call(GROUPS, "--delete-offsets", "--group", group, "--topic", topic, status=None)
        that("actively subscribed" in refused or "GROUP_SUBSCRIBED" in refused or "not allowed" in refused,
             f"deleting offsets of a subscribed topic says {refused!r}")
        refused = tools.call(GROUPS, "--reset-offsets", "--group", group, "--topic", topic, "--to-earliest", "--execute",
                             status=None)
        that("inactive" in refused, f"resetting it says {refused!r}")
        said = tools.call(GROUPS, "--delete-offsets", "--group", idle, "--topic", f"{topic}:1")
        that("Successful" in said, f"deleting offsets says {said!r}")
        rows = table(tools.call(GROUPS, "--describe", "--group", idle))
        equal([(r["PARTITION"], r["CURRENT-OFFSET"]) for r in rows], [("0", "10")], "offsets left")
        said = tools.call(GROUPS, "--delete", "--group", idle)
        that("successful" in said, f"deleting says {said!r}")
        that(idle not in tools.call(GROUPS, "--list").split(), "still listed")
        absent = tools.call(GROUPS, "--describe", "--group", idle, status=None)
        that("does not exist" in absent or "not found" in absent, f"describing what was deleted says {absent!r}")
    member.close()


@check("java")
def consumer_groups_tool_resets(ctx: Context) -> None:
    topic, second = filled(ctx), filled(ctx, partitions=1, count=10, word="second")
    group = ctx.name("g")
    commit(ctx, group, topic, 50, 60)
    path = ctx.scratch / "plan.csv"
    with Tools(ctx) as tools:

        def reset(*options: object, execute: bool = True, scope: str | None = None) -> list[int]:
            """Resets and returns the new offsets that the tool names, by partition."""
            how = "--execute" if execute else "--dry-run"
            where = ["--all-topics"] if scope == "" else ["--topic", scope or topic]
            said = tools.call(GROUPS, "--reset-offsets", "--group", group, *where, *options, how)
            return [int(row["NEW-OFFSET"]) for row in sorted(table(said), key=lambda row: (row["TOPIC"], row["PARTITION"]))]

        def now() -> list[int]:
            rows = table(tools.call(GROUPS, "--describe", "--group", group))
            return [int(row["CURRENT-OFFSET"]) for row in sorted(rows, key=lambda row: row["PARTITION"]) if row["TOPIC"] == topic]

        equal(reset("--to-earliest", execute=False), [0, 0], "--to-earliest, only shown")
        equal(now(), [50, 60], "offsets after what was only shown")
        at = time.strftime("%Y-%m-%dT%H:%M:%S.000", time.gmtime(T0 // 1000 + 30))
        old = int(time.time() - T0 / 1000 - 40)
        for options, expected in ((["--to-earliest"], [0, 0]), (["--to-latest"], [100, 100]), (["--to-offset", 33], [33, 33]),
                                  (["--to-offset", 5000], [100, 100]), (["--shift-by", -40], [60, 60]),
                                  (["--shift-by", 5], [65, 65]), (["--shift-by", -1000], [0, 0]),
                                  (["--to-datetime", at], None), (["--to-current"], None)):
            named = reset(*options)
            if expected:
                equal(named, expected, " ".join(map(str, options)))
            elif "--to-datetime" in options:
                that(all(29 <= offset <= 31 for offset in named), f"--to-datetime {at} names {named}")
            equal(now(), named, f"offsets after {' '.join(map(str, options))}")
        # Not to the second: the tool counts back from its own now.
        that(all(30 <= offset <= 100 for offset in reset("--by-duration", f"PT{old}S")), f"--by-duration PT{old}S")
        equal(reset("--to-offset", 7, scope=f"{topic}:1"), [7], "one partition")
        equal(now()[1], 7, "offset after the reset of one partition")
        equal(reset("--to-offset", 3, scope=second), [3], "another topic")
        equal(reset("--to-earliest", scope=""), [0, 0, 0], "--all-topics")
        exported = tools.call(GROUPS, "--reset-offsets", "--group", group, "--topic", topic, "--to-offset", 21, "--export",
                              "--dry-run")
        lines = sorted(line.replace('"', "") for line in exported.split() if topic in line)
        equal(lines, [f"{topic},0,21", f"{topic},1,21"], "--export")
        path.write_text("\n".join([f"{topic},0,11", f"{topic},1,12"]) + "\n")
        tools.call(GROUPS, "--reset-offsets", "--group", group, "--from-file", path, "--execute")
        equal(now(), [11, 12], "offsets after --from-file")
        # A member begins where the reset put it.
        member = Member(ctx, group, [topic])
        drive([member], lambda: len(member.got) == 89 + 88, "records from the reset offsets")
        member.close()


# A broker of its own: these options take every group that there is.
@check("java", settings={"offsets.topic.num.partitions": "5"})
def consumer_groups_tool_takes_all_groups(ctx: Context) -> None:
    topic, second = filled(ctx), filled(ctx, partitions=1, count=10, word="second")
    groups = sorted(ctx.name(word) for word in "abc")
    for number, group in enumerate(groups):
        commit(ctx, group, topic, 10 + number, 20)
        commit(ctx, group, second, 3)
    with Tools(ctx) as tools:

        def now(topic: str) -> list[tuple[str, int]]:
            rows = table(tools.call(GROUPS, "--describe", "--all-groups"))
            return sorted((row["GROUP"], int(row["CURRENT-OFFSET"])) for row in rows if row["TOPIC"] == topic)

        both = ["--group", groups[0], "--group", groups[1]]
        tools.call(GROUPS, "--reset-offsets", *both, "--topic", topic, "--to-offset", 40, "--execute", "--timeout", 30_000)
        equal(now(topic), sorted([(groups[0], 40), (groups[0], 40), (groups[1], 40), (groups[1], 40), (groups[2], 12),
                                  (groups[2], 20)]), "two groups reset")
        exported = tools.call(GROUPS, "--reset-offsets", *both, "--topic", f"{topic}:0", "--shift-by", 2, "--export",
                              "--dry-run")
        lines = sorted(line.replace('"', "") for line in exported.split() if topic in line)
        equal(lines, [f"{group},{topic},0,42" for group in groups[:2]], "--export of two groups")
        path = ctx.scratch / "plan.csv"
        path.write_text("\n".join(f"{group},{topic},1,{n}" for n, group in enumerate(groups)) + "\n")
        tools.call(GROUPS, "--reset-offsets", "--all-groups", "--from-file", path, "--execute")
        equal([offset for _, offset in now(topic)], [0, 40, 1, 40, 2, 12], "--from-file for all groups")
        tools.call(GROUPS, "--reset-offsets", "--all-groups", "--all-topics", "--to-latest", "--execute")
        equal({offset for _, offset in now(topic)}, {100}, "--all-groups --all-topics")
        equal({offset for _, offset in now(second)}, {10}, "--all-groups --all-topics, the other topic")
        for kind in ("consumer", "classic"):
            listed = set(tools.call(GROUPS, "--list", "--type", kind).split()) & set(groups)
            equal(listed, set(groups) if kind == "classic" else set(), f"groups of type {kind}")
        states = tools.call(GROUPS, "--describe", "--all-groups", "--state")
        equal(sum("Empty" in line for line in states.splitlines()), 3, "--all-groups --state")
        said = tools.call(GROUPS, "--delete-offsets", "--group", groups[0], "--topic", f"{topic}:0,1", "--topic", second)
        equal(said.count("Successful"), 3, f"deleted offsets in {said!r}")
        said = tools.call(GROUPS, "--delete", "--all-groups")
        that("successful" in said, f"deleting all says {said!r}")
        equal(set(tools.call(GROUPS, "--list").split()) & set(groups), set(), "groups left")


def shown(tools: Tools, *entity: object) -> dict[str, str]:
    """kafka-configs --describe: values by setting."""
    lines = tools.call(CONFIGS, "--describe", *entity).splitlines()
    return dict(line.split()[0].split("=", 1) for line in lines if re.match(r"\s+\S+=", line))


@check("java")
def configs_tool_alters_topics_and_shows_brokers(ctx: Context) -> None:
    topic = create_topic(ctx)
    node = next(iter(admin_client(ctx).list_topics(timeout=60).brokers))
    one = ["--entity-type", "brokers", "--entity-name", node]
    of_topic = ["--entity-type", "topics", "--entity-name", topic]
    with Tools(ctx) as tools:
        every = shown(tools, *one, "--all")
        for key, value in {"num.partitions": "1", "group.max.session.timeout.ms": "1800000",
                           "offsets.topic.num.partitions": "50"}.items():
            equal(every.get(key), value, f"{key} of the broker")
        equal(shown(tools, *one), {}, "settings that somebody made on the broker")
        tools.call(CONFIGS, "--alter", *of_topic, "--add-config", "message.timestamp.type=LogAppendTime,retention.ms=5")
        eventually(lambda: equal(shown(tools, *of_topic), {"message.timestamp.type": "LogAppendTime", "retention.ms": "5"}, "set"))
        tools.call(CONFIGS, "--alter", *of_topic, "--delete-config", "message.timestamp.type,retention.ms")
        eventually(lambda: equal(shown(tools, *of_topic), {}, "settings of the topic in the end"))
        refused = tools.call(CONFIGS, "--alter", *one, "--add-config", "log.retention.ms=soon", status=1)
        that("Invalid" in refused, f"a word for a number: {refused[-300:]!r}")
        refused = tools.call(CONFIGS, "--alter", *one, "--add-config", "broker.id=7", status=1)
        that("Invalid" in refused, f"a setting that needs a restart: {refused[-300:]!r}")


@check("java")
def configs_tool_alters_brokers(ctx: Context) -> None:
    topic = create_topic(ctx)
    node = next(iter(admin_client(ctx).list_topics(timeout=60).brokers))
    one, default = ["--entity-type", "brokers", "--entity-name", node], ["--entity-type", "brokers", "--entity-default"]
    of_topic = ["--entity-type", "topics", "--entity-name", topic]
    with Tools(ctx) as tools:
        for entity in (default, one):
            tools.call(CONFIGS, "--alter", *entity, "--add-config", "log.retention.ms=77000000")
            eventually(lambda: equal(shown(tools, *entity).get("log.retention.ms"), "77000000", f"set on {entity}"))
            eventually(lambda: equal(shown(tools, *of_topic, "--all")["retention.ms"], "77000000", "what the topic inherits"))
            tools.call(CONFIGS, "--alter", *entity, "--delete-config", "log.retention.ms")
            eventually(lambda: equal("log.retention.ms" in shown(tools, *entity), False, f"still set on {entity}"))
        eventually(lambda: equal(shown(tools, *of_topic, "--all")["retention.ms"], "604800000", "what the topic inherits again"))


@check("java")
def configs_tool_alters_groups(ctx: Context) -> None:
    group = ctx.name("g")
    entity = ["--entity-type", "groups", "--entity-name", group]
    with Tools(ctx) as tools:
        equal(shown(tools, *entity, "--all")["consumer.session.timeout.ms"], "45000", "of a group that nobody configured")
        tools.call(CONFIGS, "--alter", *entity, "--add-config", "consumer.session.timeout.ms=50000")
        eventually(lambda: equal(shown(tools, *entity), {"consumer.session.timeout.ms": "50000"}, "set"))
        listed = tools.call(CONFIGS, "--describe", "--entity-type", "groups")
        that(group in listed, f"listed among groups with settings: {listed[-300:]!r}")
        refused = tools.call(CONFIGS, "--alter", *entity, "--add-config", "consumer.session.timeout.ms=5", status=1)
        that("group.consumer.min.session.timeout.ms" in refused, f"below the broker's bound: {refused[-300:]!r}")
        tools.call(CONFIGS, "--alter", *entity, "--delete-config", "consumer.session.timeout.ms")
        eventually(lambda: equal(shown(tools, *entity), {}, "settings of the group in the end"))
