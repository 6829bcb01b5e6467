"""What a tool says, without what no two runs share: addresses, paths, ids, times, how columns are padded, stack traces, the help."""

import json
import re
import shlex
from collections.abc import Callable

ALWAYS = [
    (r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}\]", "{now}"),
    (r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", "{uuid}"),
    (r"\b(console-consumer|adminclient)-\d+", r"\1-{n}"),
    # Records of the checks are from 2001, so that their times stay.
    (r"\b1[5-9]\d{11}\b", "{ms}"),
    (r"((?:TopicId|Cluster ID|ClusterId|directoryId\"?): *\"?)[\w-]{22}", r"\1{id}"),
]

NOISE = re.compile(r"^\s+at [\w.$/<>]+\(|^\s*\.\.\. \d+ (more|common frames omitted)$|^\s*(Suppressed: .*)?$"
                   # Praise of another protocol, in many a tool's first line.
                   r"|^The consumer rebalance protocol \(KIP-848\) is production-ready!"
                   # What ends a logged stack trace.
                   r"|^\s*\([\w.]+\)$")


def cleaned(text: str, known: dict[str, str]) -> list[str]:
    """The lines that count. `known` are things of this run and what stands for them."""
    for thing, name in known.items():
        text = text.replace(thing, name)
    for pattern, name in ALWAYS:
        text = re.sub(pattern, name, text)
    text = re.sub(r"(?<=Configs: )\S+", lambda found: _settings(found[0]), text)
    # Options in the order of a hash set.
    text = re.sub(r"\[[\w-]+\](, \[[\w-]+\])+", lambda found: ", ".join(sorted(found[0].split(", "))), text)
    lines = [line for line in text.splitlines() if not NOISE.search(line)]
    return _without_help([re.sub(r"[ \t]+", " ", line).strip() for line in lines])


def _settings(listed: str) -> str:
    """Settings of a topic as kafka-topics lists them: Kafka in its own order."""
    return ",".join(sorted(listed.split(",")))


def _without_help(lines: list[str]) -> list[str]:
    """A list of options, of joptsimple or argparse4j, is only said to be there."""
    kept: list[str] = []
    helping = False
    for line in lines:
        if re.match(r"Option( \(\* = required\))? Description$|usage: ", line):
            helping = True
            kept.append("{help}")
        elif helping and re.match(r"[\w-]+: error: ", line):
            helping = False
        if not helping:
            kept.append(line)
    return kept


def _only(keys: str, line: str) -> str | None:
    """Of a JSON document only these members."""
    if not line.startswith('{"'):
        return None
    document = json.loads(line.replace("{ms}", "0"))
    return json.dumps({key: document[key] for key in keys.split(",") if key in document})


def filtered(lines: list[str], filters: list[str]) -> list[str]:
    """Applies a step's filters, one after the other."""
    for words in map(shlex.split, filters):
        lines = FILTERS[words[0]](lines, *words[1:])
    return lines


FILTERS: dict[str, Callable[..., list[str]]] = {
    "sort": lambda lines: sorted(lines),
    "unique": lambda lines: sorted(set(lines)),
    "grep": lambda lines, pattern: [line for line in lines if re.search(pattern, line)],
    "drop": lambda lines, pattern: [line for line in lines if not re.search(pattern, line)],
    "sed": lambda lines, pattern, instead: [re.sub(pattern, instead, line) for line in lines],
    "head": lambda lines, count: lines[:int(count)],
    "tail": lambda lines, count: lines[-int(count):],
    "count": lambda lines: [f"{len(lines)} lines"],
    "keys": lambda lines, keys: [kept for line in lines if (kept := _only(keys, line))],
    # A list within a line, whose order is that of a hash map.
    "words": lambda lines, between: [between.join(sorted(line.split(between))) for line in lines],
}
