"""Kafka's tools, many calls in one JVM: a start of one costs more than most of what the tools do."""

import os
import subprocess
import tempfile

from harness import paths
from harness.check import Context, equal, that

from .programs import class_path

GROUPS = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"
SHARE_GROUPS = "org.apache.kafka.tools.consumer.group.ShareGroupCommand"
EVERY_GROUP = "org.apache.kafka.tools.GroupsCommand"
CONFIGS = "kafka.admin.ConfigCommand"
FEATURES = "org.apache.kafka.tools.FeatureCommand"
CONSOLE = "org.apache.kafka.tools.consumer.ConsoleConsumer"
PERFORMANCE = "org.apache.kafka.tools.ConsumerPerformance"
VERIFIABLE = "org.apache.kafka.tools.VerifiableConsumer"
CLIENT_METRICS = "org.apache.kafka.tools.ClientMetricsCommand"
CLUSTER = "org.apache.kafka.tools.ClusterTool"
LOG_DIRS = "org.apache.kafka.tools.LogDirsCommand"
QUORUM = "org.apache.kafka.tools.MetadataQuorumCommand"
TRANSACTIONS = "org.apache.kafka.tools.TransactionsCommand"


class Tools:
    """A running ToolRunner; `with Tools(ctx) as tools` ends it."""

    def __init__(self, ctx: Context):
        self._bootstrap = ctx.bootstrap

    def __enter__(self) -> "Tools":
        self._complaints = tempfile.TemporaryFile()
        self._start()
        return self

    def _start(self) -> None:
        logging = f"-Dlog4j2.configurationFile={paths.KAFKA.parent / 'log4j2.xml'}"
        command = ["java", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", logging, "-Dkafka.log.level=ERROR",
                   "-Duser.timezone=UTC", "ToolRunner"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._complaints,
                                         text=True, env={**os.environ, "CLASSPATH": class_path(), "LC_ALL": "C.UTF-8"})

    def _end(self) -> int:
        self._process.kill()
        status = self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()
        return status

    def __exit__(self, *_) -> None:
        self._end()
        self._complaints.close()

    def call(self, tool: str, *arguments: object, first: str | None = None, status: int | None = 0) -> str:
        """What the tool says; it must end with `status` (None: any). `first` is a word that must come before all others."""
        words = [*([first] if first else []), "--bootstrap-server", self._bootstrap, *(str(word) for word in arguments)]
        text, ended = self.run(tool, words)
        if status is not None:
            equal(ended, status, f"exit status of {tool} {' '.join(words)}, which said {text[-800:]!r}")
        return text

    def run(self, tool: str, words: list[str], standard_input: str = "") -> tuple[str, int]:
        """What the tool says, until it asks to end, and its exit status."""
        typed = standard_input.replace("\n", "\x03").replace("\t", "\x04")
        self._process.stdin.write("\t".join([typed, tool, *words]) + "\n")
        self._process.stdin.flush()
        said, over = [], False
        for line in self._process.stdout:
            if line.startswith("\x01"):
                return "".join(said), int(line[1:])
            if line[0] in "\x02\x05":
                over = line[0] == "\x02"
            elif not over:
                said.append(line)
        # Wrong words make argparse4j end the process itself, past Kafka's own way to do so.
        status = self._process.wait()
        self._end()
        self._start()
        return "".join(said), status


def table(text: str) -> list[dict[str, str]]:
    """Rows of a tool's table by column; lines before the header, and empty ones, are dropped."""
    lines = [line.split() for line in text.splitlines()]
    head = next((at for at, words in enumerate(lines) if words[:1] == ["GROUP"]), None)
    that(head is not None, f"no table in {text!r}")
    # A column's name may be two words; such ones come last in what the checks read.
    return [dict(zip(lines[head], words)) for words in lines[head + 1:] if words and words[0] != "GROUP"]
