"""What real clients say to a broker, written down: `record(broker, into)` stands between them and keeps every request.

A recording is text: `topic NAME UUID` for each topic, then `CONNECTION HEX` for each request in the order in which it came. The
fuzzer sends them again, changed; topics are made anew and their ids put in place of the recorded ones.
"""

import selectors
import socket
import subprocess
import sys
import threading
from pathlib import Path

from harness import paths
from harness.broker import Millrace, free_port
from harness.java import class_path, logging_options
from harness.process import run

FRAME_BYTES_MAX = 4096
"""Longer requests are left out: they are many records, which shorter ones hold too."""


class Proxy:
    """Hands bytes on between clients and the broker, and keeps what clients send."""

    def __init__(self, port: int, broker: tuple[str, int]):
        self._broker = broker
        self._listener = socket.create_server(("127.0.0.1", port))
        self._lock = threading.Lock()
        self._connections = 0
        self.frames: list[tuple[int, bytes]] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._connections += 1
            threading.Thread(target=self._serve, args=(client, self._connections), daemon=True).start()

    def _serve(self, client: socket.socket, number: int) -> None:
        with client, socket.create_connection(self._broker) as broker, selectors.DefaultSelector() as selector:
            selector.register(client, selectors.EVENT_READ, broker)
            selector.register(broker, selectors.EVENT_READ, client)
            said = b""
            while True:
                for key, _ in selector.select():
                    try:
                        piece = key.fileobj.recv(65536)
                        key.data.sendall(piece)
                    except OSError:
                        return
                    if not piece:
                        return
                    if key.fileobj is client:
                        said = self._keep(number, said + piece)

    def _keep(self, number: int, said: bytes) -> bytes:
        while len(said) >= 4 and len(said) >= 4 + (length := int.from_bytes(said[:4])):
            if length <= FRAME_BYTES_MAX:
                with self._lock:
                    self.frames.append((number, said[4:4 + length]))
            said = said[4 + length:]
        return said

    def close(self) -> None:
        """Takes no more connections."""
        self._listener.close()


def record(into: Path) -> None:
    """Runs the clients against a broker of its own and writes what they said to `into`."""
    port = free_port()
    settings = {"group.initial.rebalance.delay.ms": "0", "group.min.session.timeout.ms": "1000"}
    with Millrace(settings, arguments=["--advertise", f"127.0.0.1:{port}"]) as broker:
        host, _, number = broker.bootstrap.rpartition(":")
        proxy = Proxy(port, (host, int(number)))
        bootstrap = f"127.0.0.1:{port}"
        clients = [sys.executable, Path(__file__).parent / "clients.py", bootstrap]
        run(clients, bound_s=120)
        _java(bootstrap)
        topics = run([*clients, "topics"], bound_s=120).stdout
        proxy.close()
    with open(into, "w") as file:
        file.write(topics)
        for connection, frame in _thinned(proxy.frames):
            file.write(f"{connection} {frame.hex()}\n")


def _java(bootstrap: str) -> None:
    environment = class_path("java", [paths.CONFORMANCE / "clients" / "java" / "src"])
    for scenario in ("positions", "tail", "admin"):
        command = ["java", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", *logging_options(), "AssignedClient",
                   scenario, bootstrap, f"recorded-{scenario}"]
        subprocess.run(command, check=True, capture_output=True, timeout=120, env=environment)
    groups = ["java", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", *logging_options(),
              "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand", "--bootstrap-server", bootstrap]
    for words in (["--list", "--state"], ["--describe", "--all-groups"], ["--describe", "--all-groups", "--members"],
                  ["--reset-offsets", "--group", "recorded-idle", "--all-topics", "--to-earliest", "--execute"],
                  ["--delete-offsets", "--group", "recorded-idle", "--topic", "recorded"], ["--delete", "--group", "recorded-idle"]):
        subprocess.run([*groups, *words], capture_output=True, timeout=120, env=environment)


def _thinned(frames: list[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
    """Of requests that one connection says over and over (fetches, heartbeats) the first few."""
    seen: dict[tuple, int] = {}
    kept = []
    for connection, frame in frames:
        kind = (connection, frame[:4], len(frame))
        seen[kind] = seen.get(kind, 0) + 1
        if seen[kind] <= 3:
            kept.append((connection, frame))
    return kept


