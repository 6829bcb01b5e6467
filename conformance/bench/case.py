"""What a benchmark is made of: cases, what each of them shows, and what is aimed at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .stage import Stage

Values = dict[str, float]
Run = Callable[["Stage"], Values]
Setting = str | int | Callable[["Stage"], str]

EVERY_CASE = "*"
REFERENCE = "kafka"
"""What ratios are to, and whose rates others get parts of."""
SERVERS = ("millrace", "kafka", "kafka-flush")


@dataclass(frozen=True)
class Scale:
    """How long and how large. A quick run shows that things work, not how fast they are."""

    name: str
    seconds: float
    """Measured, of each run."""
    heat_s: float
    """A fresh server is first loaded this long, to the full, on a topic of its own: a Java machine compiles while it runs."""
    warm_up_s: float
    """The beginning of each run, not counted."""
    part: float
    """Part of the bytes that a case wants on disk."""
    most: int
    """Most partitions or connections."""

    def records(self, gib: float) -> int:
        """How many records of 1 KiB stand for `gib`."""
        return max(1000, int(gib * self.part * (1 << 20)))

    def many(self, number: int) -> int:
        """So many partitions or connections, if the scale allows it."""
        return min(number, self.most)


FULL = Scale("full", seconds=10, heat_s=5, warm_up_s=3, part=1, most=1_000_000)
QUICK = Scale("quick", seconds=3, heat_s=1, warm_up_s=1, part=1 / 16, most=1_000)
SMOKE = Scale("smoke", seconds=0.5, heat_s=0.2, warm_up_s=0, part=1 / 512, most=20)


@dataclass(frozen=True)
class Case:
    """One row of a benchmark: `run` loads a fresh server and returns its figures, of which the report shows `shows`."""

    name: str
    run: Run
    shows: tuple[str, ...]
    servers: tuple[str, ...] | None = None
    """Only these; None is all that are asked for."""
    page: bool = True
    """Whether the last run of the generator is worth a page."""


@dataclass(frozen=True)
class Target:
    """What is aimed at for the first server: `times` better than `than`, another server in the same case or (server, case); or
    at least, for figures of which less is better at most, `limit`."""

    case: str
    figure: str
    limit: float | None = None
    than: str | tuple[str, str] | None = None
    times: float = 1


@dataclass(frozen=True)
class Bench:
    """A named benchmark."""

    name: str
    title: str
    cases: tuple[Case, ...]
    targets: tuple[Target, ...] = ()
    says: tuple[str, ...] = ()
    """What a reader must know of the method, besides what all benchmarks have in common."""
    servers: tuple[str, ...] = SERVERS
    rounds: int = 3
    settings: tuple[tuple[str, str], ...] = ()
    """Of every server, where the defaults will not do."""


def load(mode: str, *settings: Setting) -> Run:
    """One run of the generator on a heated server; settings that need the round are functions of the stage."""

    def run(stage: Stage) -> Values:
        stage.heat()
        return stage.generate(mode, *settings)

    return run


def share(part: float, case: str = "saturation") -> Callable[[Stage], str]:
    """A rate: this part of what Kafka took in `case` of the same round."""
    return lambda stage: f"{stage.reference(case, 'sent_mb_s') * part:.3f}MB"


SATURATION = Case("saturation", load("produce", "--unthrottled"), ("sent_mb_s", "cpu_s_per_gb"))
"""The base load as fast as it goes: other cases take parts of its rate."""
