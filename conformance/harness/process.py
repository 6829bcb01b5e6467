"""Child processes: run to completion with a bound, and read what the kernel knows about a running one."""

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
COMMAND_BOUND_S = 240
"""Ends a command that hangs; nothing that works comes near it, so no outcome depends on the machine's speed."""


class CommandFailed(Exception):
    """A command ended with another status than was asked for, or not at all."""


def unwind_on_terminate() -> None:
    """Makes SIGTERM unwind the main thread, so that brokers are ended as after an interrupt. And whoever is started from here can
    be interrupted: a script that runs this in the background has that ignored."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    signal.signal(signal.SIGINT, signal.default_int_handler)


def run(command: list, stdin: str | bytes | None = None, status: int | None = 0, bound_s: float = COMMAND_BOUND_S,
        env: dict | None = None, cwd: Path | None = None) -> subprocess.CompletedProcess:
    """Runs `command` and returns its output as text. `status` None accepts every exit status."""
    words = [str(word) for word in command]
    data = stdin.encode() if isinstance(stdin, str) else stdin
    try:
        done = subprocess.run(words, input=data if data is not None else b"", capture_output=True, timeout=bound_s,
                              env={**os.environ, **env} if env else None, cwd=cwd)
    except subprocess.TimeoutExpired as error:
        heard = (error.stdout or b"") + (error.stderr or b"")
        raise CommandFailed(f"`{' '.join(words)}` did not end in {bound_s} s; it said: {_tail(heard)}") from None
    if status is not None and done.returncode != status:
        raise CommandFailed(f"`{' '.join(words)}` ended with {done.returncode}, not {status}: "
                            f"{_tail(done.stdout + done.stderr)}")
    done.stdout = done.stdout.decode("utf-8", "surrogateescape")
    done.stderr = done.stderr.decode("utf-8", "surrogateescape")
    return done


def followed(command: list, env: dict) -> str:
    """Runs `command`, shows each line that it prints as it comes, and returns the last one that says something. It ends with the
    caller."""
    said = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True, env=env)
    last = ""
    try:
        for line in said.stdout:
            print(f"          | {line}", end="", flush=True)
            last = line.strip() or last
    finally:
        said.kill()
        said.wait()
        said.stdout.close()
    return last


def _tail(heard: bytes) -> str:
    return heard.decode("utf-8", "replace").strip()[-1500:]


@dataclass(frozen=True)
class Usage:
    """What a process has used so far: CPU seconds of all its threads, resident bytes now and at most."""

    cpu_s: float
    resident_bytes: int
    resident_bytes_max: int


def usage(pid: int) -> Usage:
    """Usage of a running process, from /proc."""
    # The command name may hold spaces and parentheses: fields count from behind the last one.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    user, system = int(fields[11]), int(fields[12])
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line)
    kib = {key: int(status[key].split()[0]) for key in ("VmRSS", "VmHWM")}
    return Usage((user + system) / TICKS_PER_SECOND, kib["VmRSS"] * 1024, kib["VmHWM"] * 1024)
