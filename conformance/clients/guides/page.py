"""A guide's page: the commands that a reader types, and what the page says that they print."""

import re
from dataclasses import dataclass, field
from pathlib import Path

INSTALL = "Install"
"""The heading of what is typed once, from the root of the repository, and prints what it likes."""

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


@dataclass
class Command:
    """What follows a `$`, and the lines below it."""

    text: str
    prints: list[str] = field(default_factory=list)


@dataclass
class Page:
    """The commands of a page in their order."""

    install: list[Command]
    shown: list[Command]


def read(path: Path) -> Page:
    """The blocks marked `console`: a line with `$ ` is typed, every other one is printed."""
    page = Page([], [])
    heading, inside = "", False
    for line in path.read_text().splitlines():
        if line.startswith("```"):
            inside = line == "```console"
        elif not inside and line.startswith("#"):
            heading = line.lstrip("# ")
        elif inside and line.startswith("$ "):
            (page.install if heading == INSTALL else page.shown).append(Command(line.removeprefix("$ ")))
        elif inside:
            (page.install if heading == INSTALL else page.shown)[-1].prints.append(line)
    return page


def timeless(lines: list[str]) -> list[str]:
    """The lines, all times in them the same."""
    return [TIME.sub("TIME", line) for line in lines]
