"""The transcripts of Kafka's command-line tools, each a check. RECORD=1 writes down what the tools say instead of comparing it."""

import difflib
import os
import re
import shlex
import time
from contextlib import closing
from pathlib import Path

from confluent_kafka import TopicCollection

from harness import paths
from harness.check import CheckFailed, Context, check, that
from harness.process import run

from clients.java.one_jvm import Tools
from clients.librdkafka.common import admin_client, answer
from clients.librdkafka.share_members import SHARE_SETTINGS

from .deeds import Clients
from .said import cleaned, filtered
from .transcript import Deed, File, Said, Step, Transcript

TRANSCRIPTS = Path(__file__).with_name("transcripts")
SETTINGS = {"log.retention.ms": "-1", "group.initial.rebalance.delay.ms": "0"}
"""Records are of 2001 and stay; nobody waits for members that may join an empty group."""

BY_THEMSELVES = ("kafka-verifiable-producer", "kafka-verifiable-consumer", "kafka-verifiable-share-consumer")
"""Tools that say the half of it when their process ends."""

ALONE = {"KAFKA_JVM_PERFORMANCE_OPTS": "-XX:+UseSerialGC -XX:TieredStopAtLevel=1", "KAFKA_LOG_LEVEL": "ERROR"}

REPEATED_S = 10
"""Ends the repetition of a command. Kafka shows a change in milliseconds."""


def main_classes() -> dict[str, str]:
    """The class behind each of Kafka's programs."""
    return dict(re.findall(r"^(kafka-\S+) +(org\.\S+|kafka\.\S+)$", paths.KAFKA.read_text(), re.M))


def topic_id(ctx: Context, topic: str) -> str:
    """The id of a topic, as tools write it."""
    found = admin_client(ctx).describe_topics(TopicCollection([topic]))[topic]
    # librdkafka writes base64 in its first alphabet.
    return str(answer(found).topic_id).replace("+", "-").replace("/", "_")


class Stage:
    """One transcript on one broker."""

    def __init__(self, ctx: Context, tools: Tools):
        self._ctx, self._tools, self._classes = ctx, tools, main_classes()
        self._logs = str(ctx.broker.directory / {"kafka": "log", "millrace": "data"}[ctx.target])
        self._files: dict[str, str] = {}

    def write(self, file: File) -> None:
        """Makes a file whose name commands can use."""
        path = self._ctx.scratch / file.name
        path.write_text(self._spelled(file.content))
        self._files[file.name] = str(path)

    def _spelled(self, text: str) -> str:
        for name, path in self._files.items():
            text = text.replace(f"{{{name}}}", path)
        text = re.sub(r"\{id:([\w.-]+)\}", lambda named: topic_id(self._ctx, named[1]), text)
        return text.replace("{logs}", self._logs).replace("{server}", self._ctx.bootstrap)

    def say(self, step: Step) -> Said:
        """Runs a step's command once."""
        command = re.sub(r"(?<=\s)@(?=\s|$)", "--bootstrap-server {server}", step.command)
        tool, *words = [self._spelled(word) for word in shlex.split(command)]
        if tool in BY_THEMSELVES:
            done = run([paths.KAFKA, "tool", tool, *words], status=None, env=ALONE)
            text, status = done.stdout + done.stderr, done.returncode
        else:
            text, status = self._tools.run(self._classes[tool], words, step.standard_input)
        known = {f"{self._ctx.scratch}/": "", self._logs: "{logs}", self._ctx.bootstrap: "{server}"}
        return Said(filtered(cleaned(text, known), step.filters), status)

    def say_in_the_end(self, step: Step) -> Said:
        """Runs a step's command, repeatedly if it is one of those, until it says what it must."""
        wanted = step.wanted(self._ctx.target)
        deadline = time.monotonic() + REPEATED_S
        while True:
            said = self.say(step)
            if not step.repeated or wanted.holds(said) or time.monotonic() > deadline:
                return said
            time.sleep(0.1)

    def recorded(self, step: Step) -> Said:
        """What a step's command says once changes had their time."""
        if step.repeated:
            time.sleep(1)
        return self.say(step)


def difference(step: Step, wanted: Said, said: Said) -> str:
    """Both outputs, as a patch from one to the other."""
    lines = difflib.ndiff(wanted.lines, said.lines)
    shown = [f"    {line}" for line in lines if not line.startswith("?")]
    if wanted.status != said.status:
        shown.append(f"    ended with {said.status}, expected {wanted.status}")
    return "\n".join([f"$ {step.command}", *shown])


def play(ctx: Context, path: Path) -> None:
    """Runs a transcript to its end, and fails with all that was said differently."""
    transcript = Transcript(path)
    record = bool(os.environ.get("RECORD"))
    wrong: list[str] = []
    with Tools(ctx) as tools, closing(Clients(ctx)) as clients:
        stage = Stage(ctx, tools)
        for item in transcript.todo():
            if isinstance(item, File):
                stage.write(item)
            elif isinstance(item, Deed):
                clients.do(item.words)
            elif record:
                write_down(item, ctx.target, stage.recorded(item))
            else:
                wanted, said = item.wanted(ctx.target), stage.say_in_the_end(item)
                if not wanted.holds(said):
                    wrong.append(difference(item, wanted, said))
    if record:
        path.write_text(transcript.text())
    if wrong:
        raise CheckFailed(f"{len(wrong)} commands:\n" + "\n".join(wrong))


def write_down(step: Step, target: str, said: Said) -> None:
    """What Kafka says is what is expected; of another broker only what is already said to differ."""
    if step.wanted(target).holds(said):
        return
    if target in step.instead:
        step.instead[target] = (step.instead[target][0], said)
    elif target == "kafka":
        step.expected = said


def registered(path: Path, suite: str, settings: dict[str, str]) -> None:
    """Makes a transcript a check."""

    def body(ctx: Context) -> None:
        play(ctx, path)

    body.__name__ = path.stem.replace("-", "_")
    check(suite, settings)(body)


for transcript_path in sorted(TRANSCRIPTS.glob("*.txt")):
    registered(transcript_path, "tools", SETTINGS)
for transcript_path in sorted((TRANSCRIPTS / "shares").glob("*.txt")):
    registered(transcript_path, "shares", SHARE_SETTINGS)


@check("tools", SETTINGS)
def api_versions_are_those_of_the_table(ctx: Context) -> None:
    """What the table in docs/compatibility.md says of this broker is what the tool shows."""
    column = {"kafka": 2, "millrace": 3}[ctx.target]
    table = (paths.REPOSITORY / "docs" / "compatibility.md").read_text()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines() if re.match(r"\| \d+ \| \w+ \|", line)]
    stated = {row[1]: (int(row[0]), row[column]) for row in rows}
    that(len(stated) > 60, f"{len(stated)} APIs in the table")
    with Tools(ctx) as tools:
        text, status = tools.run(main_classes()["kafka-broker-api-versions"], ["--bootstrap-server", ctx.bootstrap])
    lines = cleaned(text, {ctx.bootstrap: "{server}"})
    that(status == 0 and lines[0] == "{server} (id: 1 rack: null isFenced: false) -> (" and lines[-1] == ")", f"it said {lines[:2]}")
    shown = {}
    for line in lines[1:-1]:
        found = re.fullmatch(r"(\w+)\((\d+)\): (?:(\d+)(?: to (\d+))? \[usable: \d+\]|UNSUPPORTED),?", line)
        that(found, f"a line {line!r}")
        name, key, low, high = found.groups()
        shown[name] = (int(key), "-" if low is None else low if high is None else f"{low}-{high}")
    for name, (key, versions) in sorted(stated.items()):
        if name in ("GetTelemetrySubscriptions", "PushTelemetry") and ctx.target == "kafka":
            versions = "-"  # Which names them only where a receiver is plugged in.
        that(name in shown, f"{name} is not shown") if versions != "-" else None
        if name in shown and shown[name] != (key, versions):
            raise CheckFailed(f"{name} is shown as {shown[name]}, the table says {(key, versions)}")
