"""Transcripts: commands and what they must say, as text that is read and, from Kafka's answers, written.

    # a remark
    + plan.json                     a file, to the next empty line; {plan.json} is its path
    % records orders 0 100          something done by a client beside the tools: deeds.py
    $ kafka-topics @ --list         a command; @ is --bootstrap-server with the broker's address
    ~ kafka-topics @ --list         a command that is repeated until it says what it must
    < text                          a line of its standard input
    | sort                          what is done with its output before it is compared: said.py
      orders                        what it says, {*} standing for anything
    = 1                             its exit status, when that is not 0
    ! millrace: the reason          from here on what that broker has the tool say instead, and its own "="
"""

import re
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Said:
    """Lines and an exit status."""

    lines: list[str] = field(default_factory=list)
    status: int = 0

    def holds(self, other: "Said") -> bool:
        """Whether `other` is what this one asks for."""
        return (self.status == other.status and len(self.lines) == len(other.lines)
                and all(_fits(wanted, got) for wanted, got in zip(self.lines, other.lines)))


@dataclass
class Step:
    """One command with all that belongs to it."""

    head: list[str]
    command: str
    repeated: bool
    standard_input: str
    filters: list[str]
    expected: Said
    instead: dict[str, tuple[str, Said]]
    """By target: the reason, and what it says there."""

    def wanted(self, target: str) -> Said:
        """What must be said on `target`."""
        return self.instead[target][1] if target in self.instead else self.expected


@dataclass(frozen=True)
class Deed:
    """A `%` line: a verb and its words."""

    words: list[str]


@dataclass(frozen=True)
class File:
    """A `+` block."""

    name: str
    content: str


class Transcript:
    """A file of steps. `items` also holds the lines between them, so that `text` gives the file back."""

    def __init__(self, path: Path):
        self.path = path
        self.items: list[str | Step] = []
        lines = path.read_text().splitlines()
        while lines:
            self.items.append(_step(lines) if lines[0][:2] in ("$ ", "~ ") else lines.pop(0))

    def todo(self) -> list[Step | Deed | File]:
        """What is to be done, in order."""
        found: list[Step | Deed | File] = []
        items = list(self.items)
        while items:
            item = items.pop(0)
            if isinstance(item, Step):
                found.append(item)
            elif item.startswith("% "):
                found.append(Deed(item[2:].split()))
            elif item.startswith("+ "):
                content = []
                while items and items[0] != "":
                    content.append(items.pop(0))
                found.append(File(item[2:], "\n".join(content) + "\n"))
            elif item and not item.startswith("#"):
                raise ValueError(f"{self.path.name}: not a line of a transcript: {item!r}")
        return found

    def text(self) -> str:
        """The whole file with what the steps expect by now."""
        lines: list[str] = []
        for item in self.items:
            if isinstance(item, str):
                lines.append(item)
                continue
            lines += [*item.head, *_written(item.expected)]
            for target, (reason, said) in item.instead.items():
                lines += [f"! {target}: {reason}", *_written(said)]
        return "\n".join(lines) + "\n"


def _step(lines: list[str]) -> Step:
    """Takes one step from the front of `lines`."""
    head = [lines.pop(0)]
    while head[-1].endswith("\\"):
        head.append(lines.pop(0))
    command = " ".join(line.rstrip("\\").strip() for line in head)
    typed, filters = [], []
    while lines and lines[0][:2] in ("< ", "| "):
        head.append(lines[0])
        (typed if lines[0][0] == "<" else filters).append(lines.pop(0)[2:])
    expected = _said(lines)
    instead = {}
    while lines and lines[0].startswith("! "):
        target, _, reason = lines.pop(0)[2:].partition(": ")
        instead[target] = (reason, _said(lines))
    return Step(head, command[2:], command[0] == "~", "".join(f"{line}\n" for line in typed), filters, expected, instead)


def _said(lines: list[str]) -> Said:
    said = Said()
    while lines and lines[0].startswith("  "):
        said.lines.append(lines.pop(0)[2:])
    if lines and lines[0].startswith("= "):
        said.status = int(lines.pop(0)[2:])
    return said


def _written(said: Said) -> list[str]:
    return [f"  {line}" for line in said.lines] + ([f"= {said.status}"] if said.status else [])


def _fits(wanted: str, got: str) -> bool:
    return re.fullmatch(".*".join(re.escape(part) for part in wanted.split("{*}")), got) is not None
