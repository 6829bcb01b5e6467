"""The same random requests to the broker under test and to Apache Kafka, and their answers field by field."""

import json
import tomllib

from harness import options, paths
from harness.broker import TARGETS
from harness.check import CheckFailed, Context, check
from harness.java import class_path, logging_options
from harness.process import followed

DIFFERENCES = paths.CONFORMANCE / "differential" / "differences.toml"
SOURCES = [paths.CONFORMANCE / "wire" / "src", paths.CONFORMANCE / "differential" / "src"]
REQUESTS_DEFAULT = 3000

SETTINGS = {
    # Alike at both, and nothing that happens by the clock.
    "node.id": "1",
    "auto.create.topics.enable": "false",
    "num.partitions": "2",
    "group.initial.rebalance.delay.ms": "0",
    "group.max.session.timeout.ms": "100000000",
    "group.share.max.session.timeout.ms": "100000000",
    "group.share.session.timeout.ms": "100000000",
    "group.share.max.record.lock.duration.ms": "3600000",
    "group.share.record.lock.duration.ms": "3600000",
    "group.share.assignment.interval.ms": "0",
    "share.coordinator.state.topic.num.partitions": "4",
    "group.consumer.max.session.timeout.ms": "100000000",
    "group.consumer.session.timeout.ms": "100000000",
    "group.consumer.assignment.interval.ms": "0",
    "offsets.retention.check.interval.ms": "100000000",
    "offsets.topic.num.partitions": "4",
    "log.retention.ms": "-1",
    "log.retention.check.interval.ms": "100000000",
}


KAFKAS = {
    # Partitions are shared out before a heartbeat is answered, not some time after it.
    "group.consumer.assignor.offload.enable": "false",
    "group.share.assignor.offload.enable": "false",
}


@check("differential", settings=SETTINGS, bound_s=lambda: 300 + options.requests(REQUESTS_DEFAULT) // 10)
def answers_agree(ctx: Context) -> None:
    rules = ctx.scratch / "differences.json"
    rules.write_text(json.dumps(tomllib.loads(DIFFERENCES.read_text())))
    with TARGETS["kafka"](SETTINGS | KAFKAS) as reference:
        command = ["java", "-Xmx512m", "-XX:+UseSerialGC", *logging_options(), "Differential", reference.bootstrap,
                   ctx.bootstrap, rules, options.requests(REQUESTS_DEFAULT), options.seed()]
        last = followed(command, class_path("differential", SOURCES))
    if last != "every answer agrees":
        raise CheckFailed(f"{last}; again with --seed {options.seed()} --requests {options.requests(REQUESTS_DEFAULT)}")
