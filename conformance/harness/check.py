"""What a check is, and what it is handed: a broker that serves, fresh names, a scratch directory, assertions."""

import faulthandler
import re
import signal
import time
import uuid
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from .broker import Broker

CHECK_BOUND_S = 300
"""Ends a check that hangs. A check that works needs a small part of it, so no outcome depends on speed."""

DEAF_BOUND_S = 60
"""What a check that was interrupted has for its end."""

EVENTUALLY_BOUND_S = 60
"""Ends the wait for a change that never shows."""


Result = TypeVar("Result")


class CheckFailed(AssertionError):
    """The broker or a client did something else than the check asks for."""


@dataclass(frozen=True)
class Check:
    """One named behaviour. With `settings` it gets a broker of its own that was started with them."""

    suite: str
    name: str
    body: Callable[["Context"], None]
    settings: dict[str, str] = field(default_factory=dict)
    bound_s: Callable[[], int] = lambda: CHECK_BOUND_S

    @property
    def full_name(self) -> str:
        """`suite.name`, as printed and as matched by --only."""
        return f"{self.suite}.{self.name}"


REGISTERED: list[Check] = []


def check(suite: str, settings: dict[str, str] | None = None,
          bound_s: Callable[[], int] = lambda: CHECK_BOUND_S) -> Callable:
    """Registers a function as a check of `suite`; its name is the check's name. `bound_s` ends one that hangs."""

    def register(body: Callable[["Context"], None]) -> Callable[["Context"], None]:
        REGISTERED.append(Check(suite, body.__name__, body, settings or {}, bound_s))
        return body

    return register


class Context:
    """What a check works with."""

    def __init__(self, broker: Broker, check_name: str, scratch: Path):
        self.broker = broker
        self.scratch = scratch
        self.kept: dict[str, object] = {}
        self._prefix = re.sub(r"[^a-zA-Z0-9]+", "-", check_name)

    @property
    def bootstrap(self) -> str:
        """Address of the broker, the same after a restart."""
        return self.broker.bootstrap

    @property
    def target(self) -> str:
        """`millrace` or `kafka`. Only for what is named in a reason; checks ask the same of both."""
        return self.broker.name

    def name(self, word: str = "t") -> str:
        """A topic name that nothing has used."""
        return f"{self._prefix}-{word}-{uuid.uuid4().hex[:8]}"


def equal(actual: object, expected: object, what: str) -> None:
    """Fails unless both are equal; long lists are shown from where they part."""
    if actual == expected:
        return
    if isinstance(actual, list) and isinstance(expected, list):
        pairs = zip(actual, expected)
        at = next((i for i, (got, wanted) in enumerate(pairs) if got != wanted), min(len(actual), len(expected)))
        raise CheckFailed(f"{what}: {len(actual)} items, expected {len(expected)}; they part at {at}: "
                          f"{_short(actual[at:at + 3])}, expected {_short(expected[at:at + 3])}")
    raise CheckFailed(f"{what}: {_short(actual)}, expected {_short(expected)}")


def that(condition: object, what: str) -> None:
    """Fails with `what` unless `condition` holds."""
    if not condition:
        raise CheckFailed(what)


def eventually(body: Callable[[], Result]) -> Result:
    """Repeats `body` until it passes, and returns its result. Kafka answers a change before its broker has applied it."""
    deadline = time.monotonic() + EVENTUALLY_BOUND_S
    while True:
        try:
            return body()
        except Exception:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.05)


def _short(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 300 else f"{shown[:300]}... ({len(shown)} characters)"


@contextmanager
def bounded(seconds: int):
    """Raises in the main thread when the body takes longer.

    A client that hangs outside of Python, perhaps with the interpreter's lock, cannot be raised in: after `DEAF_BOUND_S` more
    the stacks of all threads are printed and the process ends with status 1. The broker goes on, to be looked at.
    """

    def ring(*_):
        raise CheckFailed(f"still not done after {seconds} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    faulthandler.dump_traceback_later(seconds + DEAF_BOUND_S, exit=True)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
