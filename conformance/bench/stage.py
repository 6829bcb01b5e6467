"""Where a case runs: one fresh server in one round, and what was measured before in that round."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from harness.broker import Broker
from harness.process import usage

from . import figures
from .case import REFERENCE, Scale, Setting, Values
from .generator import SETTLE_BOUND_S, Generator, GeneratorFailed
from .servers import Server

SETTLE_PAUSE_S = 0.2


@dataclass
class Round:
    """Values by case and server, in the order of the runs."""

    number: int
    values: dict[tuple[str, str], Values] = field(default_factory=dict)


@dataclass
class Stage:
    """What a case works with."""

    server: Server
    broker: Broker
    case: str
    round: Round
    scale: Scale
    raw: Path
    generator: tuple[str, ...] = ()
    """Settings of the generator that hold for every run, such as its CPUs."""
    remarks: list[str] = field(default_factory=list)
    reports: list[Path] = field(default_factory=list)
    """The raw files; a page shows the last one."""
    last: dict = field(default_factory=dict)
    """The last report, for what figures do not hold."""
    _settled: set[str] = field(default_factory=set)
    commands: list[str] = field(default_factory=list)
    """What the generator was told, without what differs from server to server."""

    def heat(self, share: bool = False) -> None:
        """Loads the fresh server before anything counts, then lets it write down what it owes. With `share`, consumers of a share group
        take what they can of that for as long again."""
        self._settle("heat", [])
        timed = ["--topic", "heat", "--duration", str(self.scale.heat_s)]
        self._aside("heat", ["produce", "--unthrottled", *timed])
        if share:
            self._aside("heat", ["share", "--group", "heat", "--consumers", "4", *timed])
        os.sync()

    def touch(self, partitions: int, topic: str = "bench") -> None:
        """Appends a record to every partition before anything counts: with the first one Kafka makes files and syncs one of them."""
        words = ["produce", "--partitions", str(partitions), "--records", str(2 * partitions), "--batch-bytes", "1", "--request-bytes",
                 "64KiB", "--unthrottled"]
        self._settle(topic, words)
        self._aside("touch", [*words, "--topic", topic])

    def _aside(self, step: str, words: list[str]) -> None:
        """Runs the generator for what is not measured."""
        begun = self._begin(step, words)
        try:
            begun.report()
        finally:
            begun.end()
        (self.raw / self._file(step)).unlink()

    def generate(self, mode: str, *settings: Setting, topic: str = "bench") -> Values:
        """Runs the generator to its end and reads its figures. Unless the settings say how long, it is the scale's time. Times are plain
        seconds, so that the run can be bounded."""
        return self.begin(mode, *settings, topic=topic)()

    def begin(self, mode: str, *settings: Setting, topic: str = "bench") -> Callable[[], Values]:
        """The same without waiting: a function that waits."""
        words = [mode, *(str(word(self)) if callable(word) else str(word) for word in settings)]
        if not {"--duration", "--records", "--from"} & set(words):
            words += ["--duration", str(self.scale.seconds)]
            if "--warm-up" not in words:
                words += ["--warm-up", str(self.scale.warm_up_s)]
        self.commands.append(" ".join(words))
        self._settle(topic, words)
        step = "" if not self.reports else f"{len(self.reports) + 1}"
        self.reports.append(self.raw / self._file(step))
        begun = self._begin(step, [*words, "--topic", topic])

        def wait() -> Values:
            try:
                report = begun.report()
            finally:
                begun.end()
            self.last = report
            self.remarks += figures.remarks(report)
            return {**figures.read(report), "resident_max_mib": self._peak_mib()}

        return wait

    def _settle(self, topic: str, words: list[str]) -> None:
        """Makes a topic and waits until the leader of every partition answers for it. Kafka takes its time for many partitions, and
        what a client's pauses after its errors cost is not what is measured here."""
        if topic in self._settled:
            return
        kept = [word for at, word in enumerate(words) for before in [words[at - 1] if at else ""]
                if {word, before} & {"--partitions", "--topic-config"}]
        ask = ["consume", "--from", "latest", "--topic", topic, "--duration", "0.2", *kept]
        deadline, why = time.monotonic() + SETTLE_BOUND_S, ""
        while topic not in self._settled:
            asking = self._begin("settle", ask)
            try:
                if errors := asking.report()["whole"]["errors"]:
                    why = str(errors)
                else:
                    self._settled.add(topic)
            except GeneratorFailed as error:
                why = str(error)
            finally:
                asking.end()
            if topic not in self._settled:
                if time.monotonic() > deadline:
                    raise GeneratorFailed(f"topic {topic} does not settle within {SETTLE_BOUND_S} s: {why}")
                time.sleep(SETTLE_PAUSE_S)
        (self.raw / self._file("settle")).unlink()

    def _peak_mib(self) -> float:
        """The kernel's own peak: samples once a second would miss some."""
        return usage(self.broker.pid).resident_bytes_max / figures.MIB

    def _begin(self, step: str, words: list[str]) -> Generator:
        timed = [float(words[words.index(key) + 1]) for key in ("--duration", "--warm-up") if key in words]
        configs = [word for config in self.server.topic_configs for word in ("--topic-config", config)]
        arguments = [words[0], "--bootstrap", self.broker.bootstrap, "--server-pid", str(self.broker.pid), "--label",
                     self.server.name, *configs, *self.generator, *words[1:]]
        return Generator(arguments, self.raw / self._file(step), sum(timed) if "--duration" in words else None)

    def _file(self, step: str) -> str:
        return "-".join(filter(None, (slug(self.case), self.server.name, str(self.round.number), step))) + ".json"

    def reference(self, case: str, figure: str) -> float:
        """What Kafka did in an earlier case of this round; without a Kafka, the first server that ran it."""
        found = {server: values for (name, server), values in self.round.values.items() if name == case}
        if not found:
            raise ValueError(f"nothing succeeded in case {case} of this round")
        return found.get(REFERENCE, next(iter(found.values())))[figure]

    def earlier(self, case: str) -> Values:
        """What this server did in an earlier case of this round."""
        return self.round.values[case, self.server.name]


def slug(name: str) -> str:
    """A name as part of a file's name."""
    return "".join(letter if letter.isalnum() or letter == "." else "-" for letter in name.replace(",", "")).strip("-")
