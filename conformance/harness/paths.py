"""Where things are in the tree; nothing here depends on the current directory."""

import os
from pathlib import Path

CONFORMANCE = Path(__file__).resolve().parent.parent
REPOSITORY = CONFORMANCE.parent
WORK = CONFORMANCE / ".work"
"""Scratch of every run: virtual environment, data directories, compiled classes. Ignored by git."""

KAFKA = CONFORMANCE / "peers" / "kafka" / "kafka"
KNOWN_FAILURES = CONFORMANCE / "known_failures.toml"
ALLOWED_LOG_LINES = CONFORMANCE / "allowed_log_lines.toml"


def millrace_binary() -> Path:
    """The release binary under test; MILLRACE_BIN names another one."""
    return _binary("millrace", "MILLRACE_BIN")


def loadgen_binary() -> Path:
    """The load generator; LOADGEN_BIN names another one."""
    return _binary("millrace-loadgen", "LOADGEN_BIN")


def _binary(name: str, variable: str) -> Path:
    if named := os.environ.get(variable):
        return Path(named)
    target = Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target"))
    return (target if target.is_absolute() else REPOSITORY / target) / "release" / name
