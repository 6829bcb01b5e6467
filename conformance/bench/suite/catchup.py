"""A consumer reads a log that no memory holds, while producers go on."""

import os
from pathlib import Path

from bench.case import SATURATION, Bench, Case, Values, share
from bench.stage import Stage

GIB = 8
READ_S = 15
"""How long producers go on from the moment at which the reading begins: a read at some 600 MB/s."""


def _forget(directory: Path) -> None:
    """Takes the files below out of the page cache, as a log is that nobody has read for long."""
    os.sync()
    for path in directory.rglob("*"):
        if path.is_file():
            with open(path, "rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _cold(stage: Stage) -> Values:
    records = stage.scale.records(GIB)
    stage.generate("produce", "--unthrottled", "--records", records)
    _forget(stage.broker.directory)
    seconds = max(1, round(READ_S * stage.scale.part))
    sending = stage.begin("produce", "--rate", share(0.5), "--duration", seconds)
    try:
        read = stage.generate("consume", "--from", "earliest")["received_mb_s"]
        catch_up_s = stage.last["whole"]["length_s"]
    finally:
        sent = sending()
    return {**sent, "received_mb_s": read, "catch_up_s": catch_up_s}


BENCH = Bench(
    name="catchup",
    title="Catching up",
    cases=(
        SATURATION,
        Case(f"cold read of {GIB} GiB", _cold, ("received_mb_s", "catch_up_s", "p50_ms", "p99_ms", "p999_ms", "sent_mb_s", "cpu_cores",
                                                "resident_max_mib")),
    ),
    says=(
        f"{GIB} GiB are produced, everything is written down and the files leave the page cache; then one consumer reads from the "
        f"first record to where the log ended, and for {READ_S} s from its start a producer sends at half of what Kafka took "
        "unthrottled in the same round: latencies, CPU and memory are of those seconds",
    ),
)
