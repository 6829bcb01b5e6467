"""What the command line asks of suites that are as long as one wants."""

import random

_asked: dict[str, int] = {}


def ask(requests: int | None, records: int | None, seed: int | None) -> None:
    """Called once, before the checks run."""
    if requests is not None:
        _asked["requests"] = requests
    if records is not None:
        _asked["records"] = records
    _asked["seed"] = random.SystemRandom().randrange(1 << 31) if seed is None else seed


def requests(default: int) -> int:
    """How many requests a suite sends."""
    return _asked.get("requests", default)


def records(default: int) -> int:
    """How many records a suite sends."""
    return _asked.get("records", default)


def seed() -> int:
    """What fixes the choices of a suite; drawn when it was not given."""
    return _asked["seed"]
