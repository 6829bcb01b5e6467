"""Runs millrace-loadgen, bounded in time, and reads its reports."""

import json
import subprocess
from pathlib import Path

from harness import paths

SETTLE_BOUND_S = 120
"""On top of a timed run: creating topics, waiting for the last answers."""
COUNTED_BOUND_S = 3600
"""Ends a run of so many records on a server that has stopped."""


class GeneratorFailed(Exception):
    """The generator did not end well, or not at all."""


class Generator:
    """One run of the generator, which has begun."""

    def __init__(self, arguments: list[str], json_file: Path, timed_s: float | None):
        """`timed_s` is how long it was told to run, None if records decide."""
        self._json, self._bound_s = json_file, COUNTED_BOUND_S if timed_s is None else timed_s + SETTLE_BOUND_S
        self._mode = arguments[0]
        command = [str(paths.loadgen_binary()), *arguments, "--json", str(json_file), "--quiet"]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                         stderr=subprocess.STDOUT)

    def end(self) -> None:
        """Ends it, if it still runs."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate()

    def report(self) -> dict:
        """Waits for the end; the report, which lies in its file without white space afterwards."""
        try:
            said, _ = self._process.communicate(timeout=self._bound_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            said, _ = self._process.communicate()
            raise GeneratorFailed(f"{self._mode} did not end in {self._bound_s:.0f} s") from None
        if self._process.returncode != 0:
            words = said.decode(errors="replace").strip()
            raise GeneratorFailed(f"{self._mode} ended with {self._process.returncode}: {words[-600:]}")
        report = json.loads(self._json.read_text())
        self._json.write_text(json.dumps(report, separators=(",", ":")) + "\n")
        return report


def compare(reports: list[Path], page: Path) -> None:
    """Writes one page with several runs side by side; ratios are to the first."""
    done = subprocess.run([str(paths.loadgen_binary()), "compare", *map(str, reports), "--output", str(page)],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
    if done.returncode != 0:
        raise GeneratorFailed(f"compare ended with {done.returncode}: {done.stderr.strip()[-600:]}")
