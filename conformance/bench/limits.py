"""What this machine can do at all, measured beside the servers: writing and syncing, and moving bytes over loopback."""

import mmap
import os
import socket
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

MIB = 1 << 20
RING_BYTES = 512 * MIB
COMMIT_BYTES = 4 * MIB
"""What a journal writes at once when it is full on."""
BLOCK_BYTES = 4096
STREAM_BYTES = 256 * 1024
SMALL_BYTES = 1024


@dataclass(frozen=True)
class Limit:
    """One number, and how it came about."""

    title: str
    more_is_better: bool = False


LIMITS = {
    "disk_mb_s": Limit("raw write loop, MB/s: 4 MiB direct writes, each followed by fdatasync, round a ring that was written before", True),
    "sync_p50_ms": Limit("4 KiB direct write and fdatasync, p50 ms"),
    "sync_p99_ms": Limit("4 KiB direct write and fdatasync, p99 ms"),
    "loopback_mb_s": Limit("raw loopback stream, MB/s: one process sends 256 KiB at a time, another receives", True),
    "round_trip_p50_ms": Limit("1 KiB there and back over loopback, p50 ms"),
    "round_trip_p99_ms": Limit("1 KiB there and back over loopback, p99 ms"),
}


def measure(directory: Path, seconds: float) -> dict[str, float]:
    """All limits; `directory` is on the disk that the servers write to."""
    values = {**_disk(directory, seconds)}
    values["loopback_mb_s"] = _stream(seconds)
    trips = _round_trips(seconds / 2)
    return {**values, "round_trip_p50_ms": _point(trips, 0.5), "round_trip_p99_ms": _point(trips, 0.99)}


def _point(times_s: list[float], quantile: float) -> float:
    return sorted(times_s)[int(len(times_s) * quantile)] * 1e3


def _disk(directory: Path, seconds: float) -> dict[str, float]:
    handle, name = tempfile.mkstemp(prefix="limits-", dir=directory)
    os.close(handle)
    # Direct I/O wants aligned memory: an anonymous map begins at a page.
    buffer = mmap.mmap(-1, COMMIT_BYTES)
    buffer.write(os.urandom(COMMIT_BYTES))
    try:
        file = os.open(name, os.O_RDWR | os.O_DIRECT)
        try:
            for place in range(0, RING_BYTES, COMMIT_BYTES):
                os.pwrite(file, buffer, place)
            os.fsync(file)
            commits = _writes(file, memoryview(buffer), seconds)
            small = memoryview(buffer)[:BLOCK_BYTES]
            syncs = _writes(file, small, seconds / 2)
            small.release()
        finally:
            os.close(file)
    finally:
        os.unlink(name)
    return {"disk_mb_s": COMMIT_BYTES / 1e6 / statistics.mean(commits), "sync_p50_ms": _point(syncs, 0.5),
            "sync_p99_ms": _point(syncs, 0.99)}


def _writes(file: int, bytes_: memoryview, seconds: float) -> list[float]:
    times_s, place = [], 0
    end = time.perf_counter() + seconds
    with bytes_:
        while (begun := time.perf_counter()) < end:
            os.pwrite(file, bytes_, place)
            os.fdatasync(file)
            times_s.append(time.perf_counter() - begun)
            place = (place + len(bytes_)) % RING_BYTES
    return times_s


def _stream(seconds: float) -> float:
    """MB/s of one stream between two processes."""

    def receive(connection: socket.socket) -> None:
        room = bytearray(4 * STREAM_BYTES)
        while connection.recv_into(room):
            pass
        connection.sendall(b"!")

    def send(connection: socket.socket) -> float:
        piece, sent = os.urandom(STREAM_BYTES), 0
        begun = time.perf_counter()
        while time.perf_counter() - begun < seconds:
            connection.sendall(piece)
            sent += len(piece)
        connection.shutdown(socket.SHUT_WR)
        connection.recv(1)
        return sent / 1e6 / (time.perf_counter() - begun)

    return _between(receive, send)


def _round_trips(seconds: float) -> list[float]:
    def echo(connection: socket.socket) -> None:
        while piece := connection.recv(SMALL_BYTES, socket.MSG_WAITALL):
            connection.sendall(piece)

    def ask(connection: socket.socket) -> list[float]:
        piece, times_s = bytes(SMALL_BYTES), []
        end = time.perf_counter() + seconds
        while (begun := time.perf_counter()) < end:
            connection.sendall(piece)
            connection.recv(SMALL_BYTES, socket.MSG_WAITALL)
            times_s.append(time.perf_counter() - begun)
        return times_s

    return _between(echo, ask)


def _between(peer: Callable[[socket.socket], None], ours: Callable[[socket.socket], object]):
    """Runs `peer` in a process of its own at the other end of a TCP connection; what `ours` returns."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(60)
        address = listener.getsockname()
        child = os.fork()
        if child == 0:
            status = 1
            try:
                listener.close()
                with socket.create_connection(address) as connection:
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    peer(connection)
                status = 0
            finally:
                os._exit(status)
        connection, _ = listener.accept()
    try:
        with connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.settimeout(60)
            return ours(connection)
    finally:
        os.waitpid(child, 0)
