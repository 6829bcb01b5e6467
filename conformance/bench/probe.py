"""How long a start takes: until the ready line, and until Metadata shows a leader for every partition."""

import struct
import threading
import time

from harness.broker import READY_BOUND_S, Broker, BrokerFailed, Millrace

from .case import Values
from .wire import Answer, ask, connect, text

PAUSE_S = 0.005
API_VERSIONS, METADATA = 18, 3
METADATA_VERSION = 4
"""The oldest that asks without creating the topic."""


def leaders(bootstrap: str, topic: str) -> int:
    """How many partitions of `topic` have a leader, by ApiVersions and Metadata on one connection."""
    with connect(bootstrap) as connection:
        if ask(connection, API_VERSIONS, 0).number("h") != 0:
            return 0
        answer = ask(connection, METADATA, METADATA_VERSION, struct.pack(">i", 1) + text(topic) + b"\0")
    answer.number("i")
    for _ in range(answer.number("i")):
        answer.number("i")
        answer.text()
        answer.number("i")
        answer.text()
    answer.text()
    answer.number("i")
    return sum(_leaders_of_topic(answer) for _ in range(answer.number("i")))


def _leaders_of_topic(answer: Answer) -> int:
    answer.number("h")
    answer.text()
    answer.number("b")
    led = 0
    for _ in range(answer.number("i")):
        error, _, leader = answer.number("h"), answer.number("i"), answer.number("i")
        answer.numbers()
        answer.numbers()
        led += error == 0 and leader >= 0
    return led


def timed_start(broker: Broker, topic: str, partitions: int) -> Values:
    """Starts a broker that has stopped and returns `serving_s`, for Millrace `ready_s` too."""
    values: Values = {}
    failures: list[BaseException] = []
    bootstrap = broker.bootstrap
    begun = time.monotonic()

    def start() -> None:
        try:
            broker.start()
            if isinstance(broker, Millrace):
                values["ready_s"] = time.monotonic() - begun
        except BaseException as error:
            failures.append(error)

    starting = threading.Thread(target=start)
    starting.start()
    try:
        while not failures:
            try:
                if leaders(bootstrap, topic) == partitions:
                    values["serving_s"] = time.monotonic() - begun
                    break
            except OSError:
                pass
            if time.monotonic() - begun > READY_BOUND_S:
                raise BrokerFailed(f"no leader for every partition within {READY_BOUND_S} s")
            time.sleep(PAUSE_S)
    finally:
        starting.join()
    if failures:
        raise failures[0]
    return values
