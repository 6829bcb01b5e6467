"""Watches a broker's log: a WARN or ERROR that is not listed in allowed_log_lines.toml is a failure."""

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

from . import paths

ANSI = re.compile(r"\x1b\[[0-9;]*m")
LOUD = {
    "millrace": re.compile(r'^\S+\s+(WARN|ERROR)\b|"level":\s*"(WARN|ERROR)"|panicked at|^(memory allocation of|fatal)'),
    "kafka": re.compile(r"^\[[^]]+\] (WARN|ERROR|FATAL) "),
}


@dataclass(frozen=True)
class Allowed:
    """One listed line: which target may say it, in which check (or any), and why that is right."""

    target: str
    pattern: re.Pattern
    check: str | None
    because: str


def allowed_lines(path: Path = paths.ALLOWED_LOG_LINES) -> list[Allowed]:
    """The list; an entry without a reason is refused."""
    entries = tomllib.loads(path.read_text()).get("line", [])
    return [Allowed(entry["target"], re.compile(entry["pattern"]), entry.get("check"), entry["because"])
            for entry in entries]


class LogWatch:
    """Reads what a log grew by, and keeps the loud lines that nobody listed."""

    def __init__(self, target: str, log: Path, allowed: list[Allowed]):
        self._target, self._log = target, log
        self._allowed = [entry for entry in allowed if entry.target == target]
        self._offset = 0

    def unlisted(self, check: str) -> list[str]:
        """Loud lines since the last call that may not come from `check`."""
        if not self._log.exists():
            return []
        with open(self._log, "rb") as file:
            file.seek(self._offset)
            grown = file.read()
        # A line still being written is left for the next call.
        grown = grown[: grown.rfind(b"\n") + 1]
        self._offset += len(grown)
        lines = (ANSI.sub("", line) for line in grown.decode(errors="replace").splitlines())
        return [line for line in lines if LOUD[self._target].search(line) and not self._listed(line, check)]

    def _listed(self, line: str, check: str) -> bool:
        return any(entry.pattern.search(line) and entry.check in (None, check) for entry in self._allowed)
