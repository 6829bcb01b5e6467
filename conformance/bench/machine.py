"""What a reader of a result must know about where it was measured."""

import hashlib
import os
import platform
import subprocess
from pathlib import Path

from harness import paths


def facts(directory: Path) -> dict[str, str]:
    """Commit, binaries, processors, memory, kernel, and the file system that holds `directory`."""
    return {
        "commit": _said("git", "-C", paths.REPOSITORY, "rev-parse", "HEAD") + _dirty(),
        "millrace": _binary(paths.millrace_binary(), "MILLRACE_BIN"),
        "millrace-loadgen": _binary(paths.loadgen_binary(), "LOADGEN_BIN"),
        "processors": f"{os.cpu_count()} x {_field('/proc/cpuinfo', 'model name')}",
        "memory": f"{int(_field('/proc/meminfo', 'MemTotal').split()[0]) / 1024 / 1024:.1f} GiB",
        "kernel": platform.release(),
        "file system": _said("findmnt", "-n", "-o", "FSTYPE,OPTIONS", "-T", directory),
        "Java": _said("sh", "-c", "java -version 2>&1 | head -1"),
        "Rust": _said("rustc", "--version"),
    }


def _binary(path: Path, variable: str) -> str:
    """Which binary it was: one that was handed in may come from any commit."""
    try:
        content = path.read_bytes()
    except OSError:
        return "?"
    origin = f"given by {variable}, not built from this commit by this run" if variable in os.environ else "built from this commit"
    return f"{_said(path, '--version')}, SHA-256 {hashlib.sha256(content).hexdigest()[:16]}, {origin}"


def _dirty() -> str:
    changed = _said("git", "-C", paths.REPOSITORY, "status", "--porcelain", "--untracked-files=no")
    return " (with uncommitted changes)" if changed and changed != "?" else ""


def _said(*command: object) -> str:
    try:
        return subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=30,
                              check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "?"


def _field(path: str, key: str) -> str:
    for line in Path(path).read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == key:
            return value.strip()
    return "?"
