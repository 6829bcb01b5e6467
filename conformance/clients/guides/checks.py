"""The guides in docs/guides, each as a check: its page is typed word for word and must print what it says."""

import hashlib
import os
import shutil
import signal
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from confluent_kafka import TopicPartition

from harness import paths
from harness.check import REGISTERED, Check, CheckFailed, Context, equal, that

from clients.librdkafka.common import admin_client, consumer, create_topic, read_until_end

from . import page
from .shell import shell, typed

SUITE = "guides"
GUIDES = paths.REPOSITORY / "docs" / "guides"
NEEDS = {"java": ["java", "javac", "mvn"], "python": ["python3"], "rust": ["cargo", "cc", "c++", "make"], "go": ["go"],
         "node": ["node", "npm"]}
MADE = {".venv", "node_modules", "target", "bin"}
"""What installing makes in a guide's folder; that of a reader who followed the page in place is not copied."""
INSTALL_BOUND_S = 1800
SHOW_BOUND_S = 200
ANSWER_BOUND_S = 30
LEAVE_BOUND_S = 20
"""Long before a session ends, which takes 45 seconds at least: who is gone by then has left."""


def installed(language: str) -> Path:
    """A copy of the guide as a reader has it, after what its page says under Install; kept until one of them changes."""
    for program in NEEDS[language]:
        if not shutil.which(program):
            raise CheckFailed(f"{program} is not installed: docs/guides/{language}/README.md says what is needed")
    guide = GUIDES / language
    commands = [command.text for command in page.read(guide / "README.md").install]
    entries = [entry for entry in sorted(guide.iterdir()) if entry.name not in MADE]
    files = sorted(path for entry in entries for path in [entry, *entry.rglob("*")] if path.is_file() and path.suffix != ".md")
    wanted = hashlib.sha256("\n".join(commands).encode())
    for file in files:
        wanted.update(str(file.relative_to(guide)).encode() + b"\0" + file.read_bytes())

    root = paths.WORK / "guides" / language
    copy, stamp = root / "docs" / "guides" / language, root / "installed"
    if not stamp.exists() or stamp.read_text() != wanted.hexdigest():
        shutil.rmtree(root, ignore_errors=True)
        for file in files:
            place = copy / file.relative_to(guide)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, place)
        typed(commands, root, INSTALL_BOUND_S)
        stamp.write_text(wanted.hexdigest())
    return copy


def page_holds(ctx: Context, language: str) -> None:
    """What the commands print is what the page shows, but for the times; those of the records are of now."""
    where, shown = installed(language), page.read(GUIDES / language / "README.md").shown
    began = time.time()
    printed = typed([command.text for command in shown], where, SHOW_BOUND_S, BOOTSTRAP_SERVERS=ctx.bootstrap)
    ended = time.time()
    for command, lines in zip(shown, printed, strict=True):
        equal(page.timeless(lines), page.timeless(command.prints), f"what `{command.text}` prints")
    records = [line for lines in printed for line in lines if page.TIME.match(line)]
    that(records, "no record is shown with its time")
    for line in records:
        told = datetime.fromisoformat(line.split()[0]).timestamp()
        that(began - 0.001 <= told <= ended, f"the time of {line!r} is not between {began} and {ended}")
    leaves_when_interrupted(ctx, shown, where)


def leaves_when_interrupted(ctx: Context, shown: list[page.Command], where: Path) -> None:
    """Without a count the consumer takes what came meanwhile, and Ctrl-C makes it leave its group."""
    counted = [command.text for command in shown if "consume" in command.text.lower()][-1]
    command, _, _ = counted.rpartition(" ")
    group = command.split()[-1]
    replayed = next(found.prints for found in shown if found.prints and page.TIME.match(found.prints[0]))
    expected = [line.partition(" ")[2] for line in replayed if page.TIME.match(line)]
    with shell(f"exec {command}", where, BOOTSTRAP_SERVERS=ctx.bootstrap) as process:
        taken = [process.stdout.readline().rstrip("\n") for _ in expected]
        equal(taken, expected, f"what `{command}` prints")
        os.killpg(process.pid, signal.SIGINT)
        status = process.wait()
        complaints = process.stderr.read().strip()
    # A JVM that a signal ends says so, after its hooks have run.
    that(status in (0, 128 + signal.SIGINT), f"`{command}` ended with {status} after Ctrl-C: {complaints[-1500:]}")
    deadline = time.monotonic() + LEAVE_BOUND_S
    while members := members_of(ctx, group):
        that(time.monotonic() < deadline, f"{members} members are in {group} {LEAVE_BOUND_S} s after the only one ended")
        time.sleep(0.1)


def keys_meet(ctx: Context) -> None:
    """The programs of all languages send a key to the same partition, also where their number is not a power of two."""
    topic, keys = create_topic(ctx, partitions=5), [f"key-{number}" for number in range(40)]
    for language in NEEDS:
        where, shown = installed(language), page.read(GUIDES / language / "README.md").shown
        program, _, _ = shown[0].text.partition(" orders-")
        pairs = " ".join(f"{key}={language}" for key in keys)
        typed([f"{program} {topic} {pairs}"], where, SHOW_BOUND_S, BOOTSTRAP_SERVERS=ctx.bootstrap)
    chosen = {key: {} for key in keys}
    found = read_until_end(consumer(ctx), [TopicPartition(topic, number, 0) for number in range(5)])
    for partition, records in found.items():
        for record in records:
            chosen[record.key().decode()][record.value().decode()] = partition
    for key, by_language in chosen.items():
        equal(by_language, dict.fromkeys(NEEDS, by_language["java"]), f"partitions of {key}")


def members_of(ctx: Context, group: str) -> int:
    """How many members a group has."""
    return len(admin_client(ctx).describe_consumer_groups([group])[group].result(ANSWER_BOUND_S).members)


def register(name: str, body: Callable[[Context], None]) -> None:
    """A check that may have to install first; nobody waits for a group's first members."""
    settings = {"group.initial.rebalance.delay.ms": "0"}
    REGISTERED.append(Check(SUITE, name, body, settings, lambda: INSTALL_BOUND_S + 2 * SHOW_BOUND_S))


for one in NEEDS:
    register(one, lambda ctx, language=one: page_holds(ctx, language))
register("keys_meet", keys_meet)
