"""Kafka's log compaction tester: it writes keys over and over, reads what compaction left, and compares the last word on every key."""

import re

from harness.check import Context, check, equal, that
from harness.paths import KAFKA
from harness.process import run

MESSAGES, TOPICS, TIMES = 400_000, 2, 20
"""Some four MiB a topic, every key about so many times. Segments are sealed at one."""

SETTINGS = {"log.segment.bytes": "1048576", "log.cleaner.backoff.ms": "200", "log.cleaner.min.cleanable.ratio": "0.01"}

SECONDS = 8
"""Between the last record and the first look. What the tester checks holds however far compaction got by then."""


@check("tools", SETTINGS)
def log_compaction_tester(ctx: Context) -> None:
    for codec, deletes in (("none", 0), ("zstd", 20)):
        # It writes what it sent and what it read to files, sorts them, and leaves them behind.
        quick = {"KAFKA_JVM_PERFORMANCE_OPTS": "-XX:+UseSerialGC -XX:TieredStopAtLevel=1", "KAFKA_OPTS": f"-Djava.io.tmpdir={ctx.scratch}"}
        said = run([KAFKA, "tool", "kafka-log-compaction-tester", "--bootstrap-server", ctx.bootstrap, "--messages", MESSAGES, "--topics", TOPICS,
                    "--duplicates", TIMES, "--percent-deletes", deletes, "--compression-type", codec, "--sleep", SECONDS],
                   bound_s=150, env=quick).stdout
        rows = re.search(r"^(\d+) rows of data produced, (\d+) rows of data consumed", said, re.M)
        that(rows, f"it said {said!r}")
        produced, consumed = map(int, rows.groups())
        equal(produced, MESSAGES * TOPICS, f"records produced with {codec}")
        that(consumed < produced / 2, f"{consumed} of {produced} records are left with {codec}")
        validated = re.search(r"^Validated (\d+) values, 0 mismatches\.$", said, re.M)
        that(validated and int(validated[1]) > 0, f"it said {said!r}")
        that(said.rstrip().endswith("Data verification is completed"), f"it said {said!r}")
