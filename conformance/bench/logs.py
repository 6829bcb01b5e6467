"""What a partition's log is told to do, and how large it is."""

import struct

from harness.broker import BrokerFailed

from .wire import ask, connect, text

INCREMENTAL_ALTER_CONFIGS, DESCRIBE_LOG_DIRS = 44, 35
TOPIC, SET = 2, 0


def set_config(bootstrap: str, topic: str, key: str, value: str) -> None:
    """Changes one setting of a topic."""
    body = struct.pack(">ib", 1, TOPIC) + text(topic) + struct.pack(">i", 1) + text(key) + struct.pack(">b", SET) + text(value) + b"\0"
    with connect(bootstrap) as connection:
        answer = ask(connection, INCREMENTAL_ALTER_CONFIGS, 0, body)
    answer.number("i")
    answer.number("i")
    if error := answer.number("h"):
        raise BrokerFailed(f"{topic} {key}={value} is answered with error {error}: {answer.text()}")


def size(bootstrap: str, topic: str) -> int:
    """Bytes of all partitions of a topic."""
    with connect(bootstrap) as connection:
        answer = ask(connection, DESCRIBE_LOG_DIRS, 1, struct.pack(">i", -1))
    answer.number("i")
    held = 0
    for _ in range(answer.number("i")):
        if error := answer.number("h"):
            raise BrokerFailed(f"the size of {topic} is answered with error {error}")
        answer.text()
        for _ in range(answer.number("i")):
            name = answer.text()
            for _ in range(answer.number("i")):
                answer.number("i")
                bytes_ = answer.number("q")
                answer.number("q")
                answer.number("b")
                held += bytes_ if name == topic else 0
    return held
