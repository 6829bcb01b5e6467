"""Kafka's consumer tools in groups: console, verifiable, performance; kafka-consumer-groups for all groups at once."""

import json
import time

from confluent_kafka import TopicPartition

from harness.check import Context, check, equal, that

from clients.librdkafka.common import consumer, create_topic, producer, send
from clients.librdkafka.members import Member, drive

from .one_jvm import CONSOLE, GROUPS, PERFORMANCE, VERIFIABLE, Tools, table

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
