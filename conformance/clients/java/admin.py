"""Kafka's administration tools where what they say is a measure: log-dirs, metadata-quorum, describe-producers, clients' metrics."""

import json
import subprocess
import urllib.request

from harness import paths
from harness.check import Context, check, equal, eventually, that

from clients.librdkafka.common import create_topic, producer, send

from .one_jvm import CLIENT_METRICS, CLUSTER, LOG_DIRS, QUORUM, TRANSACTIONS, Tools


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
