"""Runs checks against each target in turn and prints the outcomes side by side."""

import sys
import tempfile
import time
import tomllib
import traceback
from dataclasses import dataclass
from pathlib import Path

from . import paths
from .broker import TARGETS, Broker
from .check import Check, Context, bounded
from .logs import LogWatch, allowed_lines


@dataclass
class Outcome:
    """How one check ended on one target; `why` is empty when it passed."""

    target: str
    check: str
    why: str
    seconds: float
    known: str = ""


def known_failures(path: Path = paths.KNOWN_FAILURES) -> dict[tuple[str, str], str]:
    """Why a target is known to fail a check; an entry without a reason is refused."""
    entries = tomllib.loads(path.read_text()).get("check", [])
    return {(entry["target"], entry["name"]): entry["because"] for entry in entries}


def judged(outcome: Outcome, known: dict[tuple[str, str], str]) -> Outcome:
    """A listed check that fails is known to; a listed one that passes has no business on the list."""
    if because := known.get((outcome.target, outcome.check)):
        if outcome.why:
            outcome.known, outcome.why = because, ""
        else:
            outcome.why = f"it passes, and {paths.KNOWN_FAILURES.name} says that it fails: {because}"
    return outcome


def run_checks(checks: list[Check], targets: list[str]) -> list[Outcome]:
    """Every check on every target, one target after the other so that the two never share the processors."""
    outcomes: list[Outcome] = []
    for target in targets:
        outcomes += _run_on(target, checks)
    return outcomes


def _run_on(target: str, checks: list[Check]) -> list[Outcome]:
    groups: dict[tuple, list[Check]] = {}
    for check in checks:
        groups.setdefault(tuple(sorted(check.settings.items())), []).append(check)
    outcomes: list[Outcome] = []
    for settings, group in groups.items():
        outcomes += _run_group(target, dict(settings), group)
    return outcomes


def _run_group(target: str, settings: dict[str, str], group: list[Check]) -> list[Outcome]:
    broker = TARGETS[target](settings)
    outcomes: list[Outcome] = []
    try:
        began = time.monotonic()
        if why := _guarded(broker.start):
            return [_say(Outcome(target, check.full_name, f"the broker did not start: {why}", 0)) for check in group]
        print(f"{target:8}  started in {time.monotonic() - began:.1f} s on {broker.bootstrap}", flush=True)
        watch = LogWatch(target, broker.log, allowed_lines())
        for check in group:
            outcomes.append(_say(judged(_run_one(broker, check, watch), known_failures())))
        outcomes.append(_say(_stop(broker, watch)))
    finally:
        broker.remove()
    return outcomes


def _run_one(broker: Broker, check: Check, watch: LogWatch) -> Outcome:
    began = time.monotonic()
    if not broker.running():
        # One fallen broker must not fail every check behind it.
        if why := _guarded(broker.start):
            return Outcome(broker.name, check.full_name, f"the broker is gone and does not start: {why}", 0)
    with tempfile.TemporaryDirectory(prefix="check-", dir=paths.WORK) as scratch:
        context = Context(broker, check.full_name, Path(scratch))

        def body():
            with bounded(check.bound_s()):
                check.body(context)

        why = _guarded(body)
    if loud := watch.unlisted(check.full_name):
        shown = "\n".join(loud[:10])
        why = f"{why}\n{len(loud)} log lines of WARN or ERROR that are not listed:\n{shown}".strip()
    return Outcome(broker.name, check.full_name, why, time.monotonic() - began)


def _stop(broker: Broker, watch: LogWatch) -> Outcome:
    began = time.monotonic()
    why = _guarded(broker.stop) if broker.running() else "the broker had ended"
    if loud := watch.unlisted("broker.stop"):
        why = f"{why}\nlog lines that are not listed:\n" + "\n".join(loud[:10])
    return Outcome(broker.name, "broker.stops_cleanly", why.strip(), time.monotonic() - began)


def _guarded(body) -> str:
    """What went wrong in `body`, or nothing."""
    try:
        body()
    except Exception as error:  # every failure of a check is its outcome, whatever its type
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "clients" in frame.filename]
        where = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
        return f"{type(error).__name__}: {error}{where}"
    return ""


def _say(outcome: Outcome) -> Outcome:
    word = "FAILED" if outcome.why else "known" if outcome.known else "ok"
    print(f"{outcome.target:8}  {outcome.check:48} {word:6} {outcome.seconds:6.1f} s", flush=True)
    if outcome.known:
        print(f"          | known to fail: {outcome.known}", flush=True)
    for line in outcome.why.splitlines():
        print(f"          | {line}", flush=True)
    return outcome


def report(outcomes: list[Outcome], targets: list[str]) -> int:
    """Prints the table and the closing line; returns the exit status."""
    if len(targets) > 1:
        _table(outcomes, targets)
    failed = sum(1 for outcome in outcomes if outcome.why)
    known = sum(1 for outcome in outcomes if outcome.known)
    note = f" ({known} more known to fail)" if known else ""
    print(f"{len(outcomes) - failed - known} passed, {failed} failed{note}")
    sys.stdout.flush()
    return 1 if failed or not outcomes else 0


def _table(outcomes: list[Outcome], targets: list[str]) -> None:
    words: dict[str, dict[str, str]] = {}
    for outcome in outcomes:
        row = words.setdefault(outcome.check, {})
        # A check with own settings stops its own broker: one row, the worst of them.
        word = "FAILED" if outcome.why or row.get(outcome.target) == "FAILED" else "known" if outcome.known else "ok"
        row[outcome.target] = word
    print("\n" + " " * 50 + "".join(f"{target:10}" for target in targets))
    for check, row in words.items():
        cells = [row.get(target, "-") for target in targets]
        note = "  <- differ" if len(set(cells)) > 1 else ""
        print(f"{check:50}" + "".join(f"{cell:10}" for cell in cells) + note)
    print()
