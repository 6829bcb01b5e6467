"""Typing commands into a shell; what still runs of them in the end is ended."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.check import CheckFailed

MARK = "\x01"


@contextmanager
def shell(script: str, where: Path, **environment: str) -> Iterator[subprocess.Popen]:
    """bash running `script` in a process group of its own, which ends with the caller."""
    # Where cargo builds is the reader's business: what a page names must be where it says.
    inherited = {key: value for key, value in os.environ.items() if key != "CARGO_TARGET_DIR"}
    process = subprocess.Popen(["bash", "-c", script], cwd=where, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True, start_new_session=True,
                               env={**inherited, "PYTHONUNBUFFERED": "1", **environment})
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
        process.stderr.close()


def typed(commands: list[str], where: Path, bound_s: float, **environment: str) -> list[list[str]]:
    """Types the commands one after the other into one shell; returns the lines that each printed. All must succeed."""
    script = "".join(f"{command}\nstatus=$?; printf '\\001'; [ $status = 0 ] || exit $status\n" for command in commands)
    with shell(script, where, **environment) as process:
        try:
            out, complaints = process.communicate(timeout=bound_s)
        except subprocess.TimeoutExpired as expired:
            heard = (expired.stdout or b"").decode(errors="replace").split(MARK)
            raise CheckFailed(f"`{commands[min(len(heard), len(commands)) - 1]}` did not end in {bound_s} s") from None
    printed = [text.splitlines() for text in out.split(MARK)]
    if process.returncode != 0:
        at = max(len(printed) - 2, 0)
        raise CheckFailed(f"`{commands[at]}` ended with {process.returncode}; it printed {printed[at][-5:]} and complained: "
                          f"{complaints.strip()[-1500:]}")
    return printed[:-1]
