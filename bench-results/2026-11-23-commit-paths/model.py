"""Commits of two writers without a broker: three segments and a journal block each, written directly and then made durable.

    python3 model.py DIR    # needs 2 GB there; about two minutes

Each row is one way to make them durable, into blocks in one of three states.
"""

import ctypes
import mmap
import os
import resource
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

SECONDS = 3
WRITERS = 2
SEGMENTS = 3
SEGMENT_BYTES = 1 << 28
JOURNAL_BYTES = 1 << 22
BLOCK = 4096
FALLOC_FL_ZERO_RANGE = 0x10

libc = ctypes.CDLL("libc.so.6", use_errno=True)
libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_long, ctypes.c_long]


def prepare(path: Path, blocks: str) -> None:
    """reserved: as the broker does it; zeroed: reserved, but the device has seen the blocks; written: written before."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT)
    if blocks == "reserved":
        os.posix_fallocate(fd, 0, SEGMENT_BYTES)
    else:
        for at in range(0, SEGMENT_BYTES, 1 << 20):
            os.pwrite(fd, b"\1" * (1 << 20), at)
        os.fsync(fd)
        if blocks == "zeroed" and libc.fallocate(fd, FALLOC_FL_ZERO_RANGE, 0, SEGMENT_BYTES) != 0:
            raise OSError(ctypes.get_errno(), "fallocate")
    os.fsync(fd)
    os.close(fd)


def sync(how: str, pool: ThreadPoolExecutor, segments: list[int], journal: int) -> None:
    if how == "each":
        for done in [pool.submit(os.fdatasync, fd) for fd in [*segments, journal]]:
            done.result()
    elif how == "syncfs":
        libc.syncfs(journal)
    elif how == "one":
        # Promises nothing for the other files: how fast a commit with a single sync would be.
        os.fdatasync(segments[-1])


def writer(directory: Path, number: int, size: int, how: str, latencies: list[float]) -> None:
    flags = os.RWF_DSYNC if how == "dsync" else 0
    segments = [os.open(directory / f"s{number}-{i}", os.O_RDWR | os.O_DIRECT) for i in range(SEGMENTS)]
    journal = os.open(directory / f"j{number}", os.O_RDWR | os.O_DIRECT)
    memory = mmap.mmap(-1, size)
    memory.write(os.urandom(size))
    bytes_ = memoryview(memory)
    end = time.monotonic() + SECONDS
    with ThreadPoolExecutor(SEGMENTS + 1) as pool:
        for at in range(0, SEGMENT_BYTES - size + 1, size):
            begun = time.monotonic()
            if begun >= end:
                break
            writes = [pool.submit(os.pwritev, fd, [bytes_], at, flags) for fd in segments]
            place = at // size * BLOCK % JOURNAL_BYTES
            writes.append(pool.submit(os.pwritev, journal, [bytes_[:BLOCK]], place, flags))
            for done in writes:
                done.result()
            sync(how, pool, segments, journal)
            latencies.append(time.monotonic() - begun)
    for fd in [*segments, journal]:
        os.close(fd)


def run(directory: Path, size: int, blocks: str, how: str) -> None:
    for number in range(WRITERS):
        (directory / f"j{number}").write_bytes(bytes(JOURNAL_BYTES))
        for i in range(SEGMENTS):
            prepare(directory / f"s{number}-{i}", blocks)
    os.sync()
    latencies: list[float] = []
    threads = [threading.Thread(target=writer, args=(directory, n, size, how, latencies)) for n in range(WRITERS)]
    begun, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_stime
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.monotonic() - begun
    system = resource.getrusage(resource.RUSAGE_SELF).ru_stime - before
    for path in directory.iterdir():
        path.unlink()
    os.sync()
    gigabytes = len(latencies) * SEGMENTS * size / 1e9
    latencies.sort()
    p50, p99 = (latencies[int(len(latencies) * part)] * 1e3 for part in (0.5, 0.99))
    print(
        f"3 x {size >> 10} KiB  {blocks:8}  {how:6}  {gigabytes / seconds * 1e3:5.0f} MB/s"
        f"  p50 {p50:.2f} ms  p99 {p99:.2f} ms  system CPU {system / gigabytes:.2f} s/GB",
        flush=True,
    )


def main() -> None:
    directory = Path(sys.argv[1])
    directory.mkdir()
    for _ in range(3):
        for how in ["each", "dsync", "syncfs", "one"]:
            run(directory, 256 << 10, "reserved", how)
        for size in [256 << 10, 768 << 10]:
            for blocks in ["reserved", "zeroed", "written"]:
                run(directory, size, blocks, "each")
    directory.rmdir()


if __name__ == "__main__":
    main()
