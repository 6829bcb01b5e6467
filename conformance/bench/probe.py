"""How long a start takes: until the ready line, and until Metadata shows a leader for every partition.

The few requests are written here byte by byte: a client library's own pauses between tries would be part of the time."""

import socket
import struct
import threading
import time

from harness.broker import READY_BOUND_S, Broker, BrokerFailed, Millrace

from .case import Values

PAUSE_S = 0.005
ANSWER_BOUND_S = 10
API_VERSIONS, METADATA = 18, 3
METADATA_VERSION = 4
"""The oldest that asks without creating the topic."""


class _Answer:
    """Reads an answer from its front."""

    def __init__(self, body: bytes):
        self._body, self._at = body, 0

    def number(self, form: str) -> int:
        value, = struct.unpack_from(f">{form}", self._body, self._at)
        self._at += struct.calcsize(f">{form}")
        return value

    def text(self) -> None:
        length = self.number("h")
        self._at += max(0, length)

    def numbers(self) -> None:
        count = self.number("i")
        self._at += 4 * count


def _ask(connection: socket.socket, key: int, version: int, body: bytes = b"") -> _Answer:
    header = struct.pack(">hhih", key, version, 1, -1)
    connection.sendall(struct.pack(">i", len(header) + len(body)) + header + body)
    length, = struct.unpack(">i", _exactly(connection, 4))
    answer = _Answer(_exactly(connection, length))
    answer.number("i")
    return answer


def _exactly(connection: socket.socket, length: int) -> bytes:
    heard = b""
    while len(heard) < length:
        piece = connection.recv(length - len(heard))
        if not piece:
            raise OSError("closed")
        heard += piece
    return heard


def leaders(bootstrap: str, topic: str) -> int:
    """How many partitions of `topic` have a leader, by ApiVersions and Metadata on one connection."""
    host, _, port = bootstrap.rpartition(":")
    with socket.create_connection((host, int(port)), ANSWER_BOUND_S) as connection:
        connection.settimeout(ANSWER_BOUND_S)
        if _ask(connection, API_VERSIONS, 0).number("h") != 0:
            return 0
        name = topic.encode()
        answer = _ask(connection, METADATA, METADATA_VERSION, struct.pack(">ih", 1, len(name)) + name + b"\0")
    answer.number("i")
    for _ in range(answer.number("i")):
        answer.number("i")
        answer.text()
        answer.number("i")
        answer.text()
    answer.text()
    answer.number("i")
    return sum(_leaders_of_topic(answer) for _ in range(answer.number("i")))


def _leaders_of_topic(answer: _Answer) -> int:
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
