"""What was measured, and what it says: medians, ratios, targets."""

import statistics
from dataclasses import asdict, dataclass, field
from pathlib import Path

from .case import EVERY_CASE, REFERENCE, Bench, Target, Values
from .figures import FIGURES


@dataclass
class Result:
    """One case on one server in one round. Without values it failed, and the remarks say how."""

    round: int
    case: str
    server: str
    values: Values = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    reports: list[Path] = field(default_factory=list)

    def as_row(self) -> dict:
        """For results.jsonl."""
        return {**asdict(self), "reports": [report.name for report in self.reports]}


@dataclass
class Spread:
    """The median of the rounds, the least and the most."""

    median: float
    least: float
    most: float
    count: int

    @staticmethod
    def of(values: list[float]) -> "Spread | None":
        """None of nothing."""
        return Spread(statistics.median(values), min(values), max(values), len(values)) if values else None


@dataclass
class Results:
    """All of a benchmark so far."""

    bench: Bench
    servers: list[str]
    rows: list[Result] = field(default_factory=list)
    limits: list[Values] = field(default_factory=list)
    """Of each round."""

    def values(self, case: str, server: str, figure: str) -> dict[int, float]:
        """By round. Parts of the machine's limits are made here."""
        found = {row.round: row.values for row in self.rows if (row.case, row.server) == (case, server)}
        if figure == "of_disk":
            return {number: values["sent_mb_s"] / self.limits[number - 1]["disk_mb_s"]
                    for number, values in found.items() if "sent_mb_s" in values}
        if figure == "of_loopback":
            return {number: (values.get("sent_mb_s", 0) + values.get("received_mb_s", 0)) / self.limits[number - 1]["loopback_mb_s"]
                    for number, values in found.items() if values}
        return {number: values[figure] for number, values in found.items() if figure in values}

    def spread(self, case: str, server: str, figure: str) -> Spread | None:
        """Over the rounds."""
        return Spread.of(list(self.values(case, server, figure).values()))

    def better(self, figure: str, ours: tuple[str, str], theirs: tuple[str, str]) -> Spread | None:
        """How many times better (case, server) is than another, round by round; below 1 it is worse."""
        first, second = self.values(*ours, figure), self.values(*theirs, figure)
        pairs = [(first[number], second[number]) for number in first if number in second]
        if not FIGURES[figure].more_is_better:
            pairs = [(second, first) for first, second in pairs]
        return Spread.of([above / below for above, below in pairs if below > 0])

    def verdicts(self, case: str, figure: str) -> list[str]:
        """What is aimed at in this figure of this case for the first server, and whether it was met."""
        said = [self._verdict(target, case) for target in self.bench.targets
                if target.case in (case, EVERY_CASE) and target.figure == figure and self._measured(case, target)]
        return list(dict.fromkeys(said))

    def _measured(self, case: str, target: Target) -> bool:
        theirs = target.than if isinstance(target.than, str) else None
        return bool(self.values(case, self.servers[0], target.figure)) and theirs in (None, *self.servers)

    def _verdict(self, target: Target, case: str) -> str:
        if target.limit is not None:
            found = self.spread(case, self.servers[0], target.figure)
            more = FIGURES[target.figure].more_is_better
            met = found.median >= target.limit if more else found.median <= target.limit
            return f"{'>=' if more else '<='} {number(target.limit)}: {_said(met)}{self._of(found.count)}{self._doubt((case, self.servers[0]))}"
        # A target against itself in another case names Millrace: that is the first server, whatever build it is.
        server, other = (target.than, case) if isinstance(target.than, str) else (self.servers[0], target.than[1])
        ratio = self.better(target.figure, (case, self.servers[0]), (other, server))
        what = server if other == case else f"its own {other}"
        if ratio is None:
            return f"{number(target.times)}x {what}: not measured"
        return f">= {number(target.times)}x {what}: {_said(ratio.median >= target.times)} ({number(ratio.median)}x{self._of(ratio.count)})" + self._doubt(
            (case, self.servers[0]), (other, server))

    def _doubt(self, *runs: tuple[str, str]) -> str:
        """A verdict is no better than the runs that it rests on: failures, errors, a schedule not kept, a generator that was
        the bottleneck."""
        return ", doubtful: see below" if any(row.remarks and (row.case, row.server) in runs for row in self.rows) else ""

    def _of(self, count: int) -> str:
        """Says it where a verdict rests on fewer rounds than there were."""
        return "" if count == len(self.limits) else f", in {count} of {len(self.limits)} rounds"


def _said(met: bool) -> str:
    return "met" if met else "**missed**"


def number(value: float) -> str:
    """Three digits or all whole ones."""
    size = abs(value)
    return f"{value:,.0f}" if size >= 100 else f"{value:.1f}" if size >= 10 else f"{value:.2f}" if size >= 0.1 else f"{value:.3f}"
