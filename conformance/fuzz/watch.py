"""What the broker uses while it is fuzzed; and a janitor who removes what the fuzzer made, so that growth would be a leak.

Ring and cache fill as records come, and are meant to: what is judged is resident memory without what the broker counts."""

import os
import re
import threading
import time
import urllib.request
from http.client import HTTPException

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from harness.check import Context, that
from harness.process import usage

PAUSE_S = 1.0
WARM_UP_S = 20
CLEAN_EVERY_S = 5
ADMIN_BOUND_S = 60


class Watch:
    """Measures resident memory once a second and cleans up now and then, until `stop`."""

    def __init__(self, ctx: Context, kept: set[str]):
        self._pid, self._kept = ctx.broker.pid, kept
        self._admin = AdminClient({"bootstrap.servers": ctx.bootstrap, "log_level": 0})
        self._admin_address = ctx.broker.admin
        self.resident: list[int] = []
        self.uncounted: list[int] = []
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._measure), threading.Thread(target=self._clean)]

    def start(self) -> None:
        """Begins."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Ends, after a last cleaning."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()
        self._remove_strangers()

    def _measure(self) -> None:
        while not self._stopping.wait(PAUSE_S):
            try:
                counted = sum(uses(self._admin_address).values())
                resident = usage(self._pid).resident_bytes
            except (KeyError, OSError, HTTPException):
                return  # it has ended, which others tell
            self.resident.append(resident)
            self.uncounted.append(resident - counted)

    def _clean(self) -> None:
        while not self._stopping.wait(CLEAN_EVERY_S):
            self._remove_strangers()

    def _remove_strangers(self) -> None:
        try:
            strangers = [name for name in self._admin.list_topics(timeout=ADMIN_BOUND_S).topics
                         if name not in self._kept and not name.startswith("__")]
            groups = [group.group_id for group in self._admin.list_consumer_groups().result(ADMIN_BOUND_S).valid]
        except KafkaException:
            return
        waits = list(self._admin.delete_topics(strangers).values()) if strangers else []
        for group in groups:
            # One at a time: a name that the client cannot say must not stop the others.
            if group:
                waits += self._admin.delete_consumer_groups([group]).values()
        for wait in waits:
            try:
                wait.result(ADMIN_BOUND_S)
            except (KafkaException, ValueError):
                pass  # a group with members goes when they have expired


def uses(admin: str) -> dict[str, int]:
    """What the broker's memory is used for, by its own count, in bytes."""
    with urllib.request.urlopen(f"http://{admin}/metrics", timeout=ADMIN_BOUND_S) as answer:
        lines = [line for line in answer.read().decode().splitlines() if line.startswith("millrace_memory_bytes{")]
    totals: dict[str, int] = {}
    for line in lines:
        use = re.search(r'use="([^"]*)"', line).group(1)
        totals[use] = totals.get(use, 0) + int(float(line.split()[-1]))
    return totals


def open_files(pid: int) -> int:
    """File handles of the process."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def returns_to(pid: int, base: int, slack: int, bound_s: int = 60) -> None:
    """Waits until the process holds at most `slack` more file handles than it did."""
    deadline = time.monotonic() + bound_s
    while (held := open_files(pid)) > base + slack:
        that(time.monotonic() < deadline, f"{held} file handles are open, {base} were before")
        time.sleep(0.2)


def no_trend(uncounted: list[int], slack_bytes: int) -> str:
    """Holds the first quarter of the measurements against the last; returns what it saw. A run shorter than a few times
    WARM_UP_S only shows how buffers fill, and is not judged."""
    warm = uncounted[WARM_UP_S:] if len(uncounted) >= 4 * WARM_UP_S else uncounted
    quarter = max(1, len(warm) // 4)
    first, last = (sum(part) / len(part) for part in (warm[:quarter], warm[-quarter:]))
    told = (f"resident and not counted by the broker: {first / 2**20:.0f} MiB in the first quarter, {last / 2**20:.0f} MiB in the "
            f"last ({_points(uncounted)})")
    that(warm is uncounted or last <= first * 1.1 + slack_bytes, f"it grows: {told}")
    return told


def told(watch: Watch, admin: str) -> str:
    """What was resident, and what the broker counts now, in MiB."""
    counted = ", ".join(f"{use} {size >> 20}" for use, size in sorted(uses(admin).items()))
    return f"resident MiB: {_points(watch.resident)}, at most {max(watch.resident) >> 20}; counted at the end: {counted}"


def _points(sizes: list[int]) -> str:
    return " ".join(f"{size >> 20}" for size in sizes[:: max(1, len(sizes) // 16)])
