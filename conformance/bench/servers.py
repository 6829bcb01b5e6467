"""The columns of a benchmark: which servers there are and how each is started."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness.broker import Broker, Kafka, Millrace

MEMORY = "256MiB"


@dataclass(frozen=True)
class Server:
    """A way to start a broker, and what its topics are created with."""

    name: str
    says: str
    make: Callable[[], Broker]
    topic_configs: tuple[str, ...] = ()


def _millrace(name: str, says: str, binary: Path | None = None) -> Server:
    return Server(name, says, lambda: Millrace(arguments=["--memory", MEMORY], binary=binary))


KNOWN = {server.name: server for server in (
    _millrace("millrace", f"durable Millrace, every acknowledgement after its fdatasync; `--memory {MEMORY}`, else as it comes"),
    Server("kafka", "Apache Kafka 4.3.1 as it comes: acknowledged from the page cache, heap 1 GiB", Kafka),
    Server("kafka-flush", "the same with `flush.messages=1` on the topics: an fsync before each acknowledgement", Kafka,
           ("flush.messages=1",)),
)}


def named(words: str) -> list[Server]:
    """Servers by name, comma-separated; `NAME=FILE` is another binary of Millrace, to hold one build against another."""
    servers = []
    for word in words.split(","):
        name, _, file = word.partition("=")
        if file:
            servers.append(_millrace(name, "another build of Millrace, started in the same way", Path(file).resolve()))
        elif name in KNOWN:
            servers.append(KNOWN[name])
        else:
            raise ValueError(f"no server {name}: one of {', '.join(KNOWN)}, or NAME=FILE for another binary of Millrace")
    if len({server.name for server in servers}) < len(servers):
        raise ValueError("two servers have the same name")
    return servers


@contextmanager
def on_cpus(cpus: str | None) -> Iterator[None]:
    """What is started within runs on these CPUs only, as in `0-3,8`."""
    if not cpus:
        yield
        return
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {number for part in cpus.split(",") for first, _, last in [part.partition("-")]
                             for number in range(int(first), int(last or first) + 1)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)
