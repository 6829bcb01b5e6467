"""Kafka's administration tools: log-dirs, metadata-quorum, features, leader-election, reassign-partitions, cluster, transactions."""

import json
import re
import subprocess
import urllib.request

from harness import paths
from harness.check import Context, check, equal, eventually, that

from clients.librdkafka.common import create_topic, producer, send

from .one_jvm import CLIENT_METRICS, CLUSTER, CONFIGS, ELECTION, FEATURES, LOG_DIRS, QUORUM, REASSIGN, TOPICS, TRANSACTIONS, Tools


def fields(text: str) -> dict[str, str]:
    """Lines `Name:   value`."""
    return {name: value.strip() for name, colon, value in (line.partition(":") for line in text.splitlines()) if colon}


@check("java")
def log_dirs_tool(ctx: Context) -> None:
    topic = create_topic(ctx, partitions=2)
    send(producer(ctx, linger_ms=20), topic, ({"value": b"x" * 1000, "partition": 1} for _ in range(10)))
    with Tools(ctx) as tools:
        said = tools.call(LOG_DIRS, "--describe", "--topic-list", topic)
        that("Received log directory information from brokers 1" in said, f"it said {said!r}")
        document = json.loads(said.strip().splitlines()[-1])
        [broker] = document["brokers"]
        [directory] = broker["logDirs"]
        equal((document["version"], broker["broker"], directory["error"]), (1, 1, None), "the frame of the answer")
        that(directory["logDir"].startswith("/"), f"the directory is {directory['logDir']}")
        partitions = {one["partition"]: one for one in directory["partitions"]}
        equal(sorted(partitions), [f"{topic}-0", f"{topic}-1"], "partitions")
        sizes = [partitions[f"{topic}-{index}"]["size"] for index in range(2)]
        that(sizes[0] == 0 and 10_000 < sizes[1] < 12_000, f"sizes {sizes}")
        equal({(one["offsetLag"], one["isFuture"]) for one in partitions.values()}, {(0, False)}, "lags")
        # Without a topic: all of them.
        document = json.loads(tools.call(LOG_DIRS, "--describe").strip().splitlines()[-1])
        every = {one["partition"]: one["size"] for one in document["brokers"][0]["logDirs"][0]["partitions"]}
        equal(every[f"{topic}-1"], sizes[1], "the size among those of all partitions")


@check("java")
def metadata_quorum_tool(ctx: Context) -> None:
    with Tools(ctx) as tools:
        status = fields(tools.call(QUORUM, "describe", "--status"))
        equal((status["LeaderId"], status["MaxFollowerLag"], status["MaxFollowerLagTimeMs"], status["CurrentObservers"]),
              ("1", "0", "0", "[]"), f"the quorum {status}")
        that(int(status["LeaderEpoch"]) >= 1 and int(status["HighWatermark"]) >= 1, f"the quorum {status}")
        cluster = tools.call(CLUSTER, first="cluster-id")
        equal(cluster.strip(), f"Cluster ID: {status['ClusterId']}", "the cluster's id")
        [voter] = json.loads(status["CurrentVoters"])
        equal(voter["id"], 1, "the voter")
        before = int(status["HighWatermark"])
        topic = create_topic(ctx)
        grown = fields(tools.call(QUORUM, "describe", "--status"))
        that(int(grown["HighWatermark"]) > before, f"the log of metadata does not grow with {topic}: {before}, {grown}")
        equal(grown["LeaderEpoch"], status["LeaderEpoch"], "the epoch")
        said = tools.call(QUORUM, "describe", "--replication")
        [head, row] = [line.split() for line in said.strip().splitlines()]
        named = dict(zip(head, row))
        equal((named["NodeId"], named["Lag"], named["Status"]), ("1", "0", "Leader"), f"replication {said!r}")
        that(int(named["LogEndOffset"]) >= before, f"replication {said!r}")


@check("java")
def features_tool(ctx: Context) -> None:
    with Tools(ctx) as tools:
        def described() -> dict[str, str]:
            found = {}
            for line in tools.call(FEATURES, "describe").splitlines():
                if match := re.match(r"Feature: (\S+)\s.*FinalizedVersionLevel: (\S+)", line):
                    found[match[1]] = match[2]
            return found

        equal(described()["metadata.version"], "4.3-IV0", "the level of metadata.version")
        said = tools.call(FEATURES, "upgrade", "--feature", "metadata.version=30")
        that("metadata.version was upgraded to 30." in said, f"it said {said!r}")
        said = tools.call(FEATURES, "upgrade", "--feature", "metadata.version=31", status=1)
        that("Invalid update version 31 for feature metadata.version. Local controller 1 only supports versions" in said,
             f"it said {said!r}")
        said = tools.call(FEATURES, "downgrade", "--feature", "metadata.version=29", status=1)
        that("Could not downgrade metadata.version to 29" in said, f"it said {said!r}")
        said = tools.call(FEATURES, "upgrade", "--feature", "no.such.version=1", status=1)
        that("does not support this feature" in said, f"it said {said!r}")
        said = tools.call(FEATURES, "upgrade", "--dry-run", "--feature", "metadata.version=30")
        that("metadata.version can be upgraded to 30." in said, f"it said {said!r}")
        equal(described()["metadata.version"], "4.3-IV0", "the level afterwards")


@check("java")
def leader_election_tool(ctx: Context) -> None:
    topic = create_topic(ctx, partitions=2)
    with Tools(ctx) as tools:
        for kind in ("preferred", "unclean"):
            said = tools.call(ELECTION, "--election-type", kind, "--topic", topic, "--partition", 1)
            equal(said.strip(), f"Valid replica already elected for partitions {topic}-1", f"a {kind} election")
        said = tools.call(ELECTION, "--election-type", "preferred", "--topic", topic, "--partition", 2, status=None)
        that(f"No such partition as {topic}-2" in said, f"it said {said!r}")
        said = tools.call(ELECTION, "--election-type", "preferred", "--topic", ctx.name("none"), "--partition", 0, status=None)
        that("No such topic as" in said, f"it said {said!r}")
        equal(tools.call(ELECTION, "--election-type", "preferred", "--all-topic-partitions").strip(), "", "of all partitions")


@check("java")
def reassign_partitions_tool(ctx: Context) -> None:
    topic = create_topic(ctx, partitions=2)
    file = ctx.scratch / "reassignment.json"

    def plan(*replicas: list[int]) -> None:
        partitions = [{"topic": topic, "partition": index, "replicas": list(ids)} for index, ids in enumerate(replicas)]
        file.write_text(json.dumps({"version": 1, "partitions": partitions}))

    with Tools(ctx) as tools:
        plan([1], [1])
        said = tools.call(REASSIGN, "--reassignment-json-file", file, "--execute")
        that(f"Successfully started partition reassignments for {topic}-0,{topic}-1" in said, f"it said {said!r}")
        said = eventually(lambda: tools.call(REASSIGN, "--reassignment-json-file", file, "--verify"))
        for index in range(2):
            that(f"Reassignment of partition {topic}-{index} is completed." in said, f"it said {said!r}")
        equal(tools.call(REASSIGN, "--list").strip(), "No partition reassignments found.", "--list")
        said = tools.call(REASSIGN, "--reassignment-json-file", file, "--cancel")
        that("None of the specified partition reassignments are active." in said, f"it said {said!r}")
        plan([2], [1])
        said = tools.call(REASSIGN, "--reassignment-json-file", file, "--execute", status=1)
        that("Unknown broker id 2" in said or "no such broker" in said, f"it said {said!r}")
        topics = ctx.scratch / "topics.json"
        topics.write_text(json.dumps({"version": 1, "topics": [{"topic": topic}]}))
        said = tools.call(REASSIGN, "--topics-to-move-json-file", topics, "--broker-list", "1", "--generate")
        proposed = json.loads(said.strip().splitlines()[-1])
        equal(sorted((one["partition"], one["replicas"]) for one in proposed["partitions"]), [(0, [1]), (1, [1])], "--generate")


@check("java")
def log_directory_moves(ctx: Context) -> None:
    topic = create_topic(ctx)
    file = ctx.scratch / "move.json"
    with Tools(ctx) as tools:
        document = json.loads(tools.call(LOG_DIRS, "--describe", "--topic-list", topic).strip().splitlines()[-1])
        here = document["brokers"][0]["logDirs"][0]["logDir"]
        place = {"topic": topic, "partition": 0, "replicas": [1], "log_dirs": [here]}
        file.write_text(json.dumps({"version": 1, "partitions": [place]}))
        said = tools.call(REASSIGN, "--reassignment-json-file", file, "--execute")
        that(f"Successfully started moving log directory to {here} for replica {topic}-0 with broker 1" in said, f"it said {said!r}")
        said = eventually(lambda: tools.call(REASSIGN, "--reassignment-json-file", file, "--verify"))
        that(f"Reassignment of replica {topic}-0-1 completed successfully." in said, f"it said {said!r}")


@check("java")
def cluster_tool(ctx: Context) -> None:
    with Tools(ctx) as tools:
        said = tools.call(CLUSTER, first="list-endpoints")
        [head, row] = [line.split() for line in said.strip().splitlines()]
        host, _, port = ctx.bootstrap.rpartition(":")
        equal(dict(zip(head, row)), {"ID": "1", "HOST": host, "PORT": port, "RACK": "null", "STATE": "unfenced",
                                    "ENDPOINT_TYPE": "broker"}, "endpoints")
        said = tools.call(CLUSTER, "--id", 77, first="unregister", status=1)
        that("Broker ID 77 is not currently registered" in said, f"it said {said!r}")


@check("java")
def producers_are_described(ctx: Context) -> None:
    topic = create_topic(ctx, partitions=2)
    send(producer(ctx, enable_idempotence=True), topic, ({"value": b"x", "partition": 0} for _ in range(5)))
    with Tools(ctx) as tools:
        said = tools.call(TRANSACTIONS, "describe-producers", "--topic", topic, "--partition", 0)
        [head, row] = [line.split() for line in said.strip().splitlines()]
        named = dict(zip(head, row))
        equal({key: value for key, value in named.items() if key not in ("ProducerId", "LastTimestamp")},
              {"ProducerEpoch": "0", "LatestCoordinatorEpoch": "-1", "LastSequence": "4", "CurrentTransactionStartOffset": "None"},
              "the producer")
        that(int(named["ProducerId"]) >= 0 and int(named["LastTimestamp"]) > 0, f"the producer {named}")
        said = tools.call(TRANSACTIONS, "describe-producers", "--topic", topic, "--partition", 1)
        equal(len(said.strip().splitlines()), 1, f"lines about a partition that no such producer wrote to: {said!r}")


@check("java")
def quotas_and_credentials_are_told(ctx: Context) -> None:
    with Tools(ctx) as tools:
        for kind in ("users", "clients", "ips"):
            equal(tools.call(CONFIGS, "--describe", "--entity-type", kind).strip(), "", f"quotas of {kind}")
        said = tools.call(CONFIGS, "--describe", "--user", "nobody")
        that("Error" not in said, f"it said {said!r}")


@check("java")
def assignments_are_judged_in_kafkas_words(ctx: Context) -> None:
    topic = ctx.name()
    with Tools(ctx) as tools:
        for options, sentence in (
            (["--replica-assignment", "2"], "The manual partition assignment includes broker 2, but no such broker is registered."),
            (["--partitions", 1, "--replication-factor", 3], "The target replication factor of 3 cannot be reached because only "
                                                             "1 broker(s) are registered"),
            (["--partitions", 1, "--replication-factor", 1, "--config", "no.such=1"], "Unknown topic config name: no.such"),
        ):
            said = tools.call(TOPICS, "--create", "--topic", topic, *options, status=None)
            that(sentence in said, f"{options} says {said!r}")
        said = tools.call(TOPICS, "--create", "--topic", "x" * 250, status=None)
        that("is longer than the max allowed length 249" in said, f"it said {said!r}")
        tools.call(TOPICS, "--create", "--topic", f"{topic}.a", "--partitions", 1, status=None)
        said = eventually(lambda: tools.call(TOPICS, "--create", "--topic", f"{topic}_a", status=None))
        that(f"collides with existing topic: {topic}.a" in said, f"it said {said!r}")
        said = tools.call(TOPICS, "--alter", "--topic", f"{topic}.a", "--partitions", 2, "--replica-assignment", "1,2", status=None)
        that("manual partition assignment includes broker 2" in said or "no such broker" in said, f"it said {said!r}")


@check("java")
def client_metrics_tool(ctx: Context) -> None:
    name = ctx.name("subscription")
    with Tools(ctx) as tools:
        said = tools.call(CLIENT_METRICS, "--alter", "--name", name, "--metrics", "org.apache.kafka.producer.,b", "--interval", 5000,
                          "--match", "client_id=a.*", status=None)
        that("Altered client metrics config" in said, f"it said {said!r}")
        eventually(lambda: that(name in tools.call(CLIENT_METRICS, "--list", status=None).split(),
                                "the subscription is not listed"))
        said = eventually(lambda: tools.call(CLIENT_METRICS, "--describe", "--name", name, status=None))
        lines = sorted(line.strip() for line in said.splitlines() if "=" in line)
        equal(lines, ["interval.ms=5000", "match=client_id=a.*", "metrics=org.apache.kafka.producer.,b"], "--describe")
        said = tools.call(CLIENT_METRICS, "--alter", "--name", name, "--interval", 50, status=None)
        that("interval must be between 100 and 3600000 (1 hour)" in said, f"it said {said!r}")
        tools.call(CLIENT_METRICS, "--delete", "--name", name, status=None)
        eventually(lambda: that(name not in tools.call(CLIENT_METRICS, "--list", status=None).split(),
                                "the subscription is still listed"))


@check("java")
def clients_push_their_metrics(ctx: Context) -> None:
    if ctx.target == "kafka":
        return  # Which needs a plug-in to take them, and asks no client without one.
    name, topic = ctx.name("subscription"), create_topic(ctx)

    def told(client: str) -> list[str]:
        with urllib.request.urlopen(f"http://{ctx.broker.admin}/metrics/clients", timeout=10) as answer:
            return [line for line in answer.read().decode().splitlines() if f'client_id="{client}"' in line]

    with Tools(ctx) as tools:
        tools.call(CLIENT_METRICS, "--alter", "--name", name, "--metrics", "org.apache.kafka.producer.", "--interval", 200,
                   "--match", f"client_id={name}.*", status=None)
        c_client = producer(ctx, client_id=f"{name}-c")
        config = ctx.scratch / "producer.properties"
        config.write_text(f"client.id={name}-java\n")
        java_client = subprocess.Popen(
            [paths.KAFKA, "tool", "kafka-verifiable-producer", "--bootstrap-server", ctx.bootstrap, "--topic", topic,
             "--throughput", "100", "--command-config", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            def both() -> None:
                c_client.produce(topic, b"x")
                c_client.poll(0)
                for client in ("c", "java"):
                    lines = told(f"{name}-{client}")
                    that(any(line.startswith("org_apache_kafka_producer_") for line in lines), f"{client} pushed {lines}")

            eventually(both)
        finally:
            java_client.kill()
            java_client.wait()
        c_client.flush(10)
        eventually(lambda: equal(told(f"{name}-java"), [], "metrics of a client that is gone"))
        tools.call(CLIENT_METRICS, "--delete", "--name", name, status=None)
