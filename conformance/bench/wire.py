"""The few requests that benchmarks make themselves, byte by byte: a client library's own pauses between tries would be part of
the time."""

import socket
import struct

ANSWER_BOUND_S = 10


class Answer:
    """Reads an answer from its front."""

    def __init__(self, body: bytes):
        self._body, self._at = body, 0

    def number(self, form: str) -> int:
        value, = struct.unpack_from(f">{form}", self._body, self._at)
        self._at += struct.calcsize(f">{form}")
        return value

    def text(self) -> str:
        length = max(0, self.number("h"))
        self._at += length
        return self._body[self._at - length:self._at].decode()

    def numbers(self) -> None:
        count = self.number("i")
        self._at += 4 * count


def ask(connection: socket.socket, key: int, version: int, body: bytes = b"") -> Answer:
    header = struct.pack(">hhih", key, version, 1, -1)
    connection.sendall(struct.pack(">i", len(header) + len(body)) + header + body)
    length, = struct.unpack(">i", exactly(connection, 4))
    answer = Answer(exactly(connection, length))
    answer.number("i")
    return answer


def exactly(connection: socket.socket, length: int) -> bytes:
    heard = b""
    while len(heard) < length:
        piece = connection.recv(length - len(heard))
        if not piece:
            raise OSError("closed")
        heard += piece
    return heard


def text(words: str) -> bytes:
    """A string as a request holds it."""
    return struct.pack(">h", len(words.encode())) + words.encode()


def connect(bootstrap: str) -> socket.socket:
    """A connection whose every answer has a bound."""
    host, _, port = bootstrap.rpartition(":")
    connection = socket.create_connection((host, int(port)), ANSWER_BOUND_S)
    connection.settimeout(ANSWER_BOUND_S)
    return connection
