"""The brokers under test: Millrace's release binary and Apache Kafka, both on loopback, behind one interface."""

import os
import random
import re
import selectors
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from . import paths
from .process import CommandFailed, run

READY_BOUND_S = 120
STOP_BOUND_S = 60
READY = re.compile(r"^ready kafka=(\S+) admin=(\S+) pid=(\d+) recovered_ms=(\d+)$")


class BrokerFailed(Exception):
    """The broker did not start, did not stop as promised, or ended by itself."""


class Broker:
    """One broker on its own data directory. `start` after `stop` or `kill` opens the same directory again."""

    name = ""

    def __init__(self, settings: dict[str, str] | None = None, directory: Path | None = None):
        """`settings` are broker settings by Kafka's names; `directory` is made when absent and kept when given."""
        self.settings = dict(settings or {})
        self._owned = directory is None
        if directory is None:
            paths.WORK.mkdir(parents=True, exist_ok=True)
            directory = Path(tempfile.mkdtemp(prefix=f"{self.name}-", dir=paths.WORK))
        self.directory = directory
        self.directory.mkdir(parents=True, exist_ok=True)
        self.bootstrap = ""
        self.pid = 0
        self.recovered_ms: int | None = None

    def start(self) -> None:
        """Returns when the broker serves, on the same address at every start."""
        raise NotImplementedError

    def stop(self) -> None:
        """Clean stop."""
        raise NotImplementedError

    def kill(self) -> None:
        """kill -9."""
        raise NotImplementedError

    def running(self) -> bool:
        """Whether the process is there."""
        raise NotImplementedError

    def exit_status(self) -> int | None:
        """How a process that ended by itself ended, if that is known; a signal as a negative number."""
        return None

    @property
    def log(self) -> Path:
        """Everything the broker logged, over all its starts."""
        raise NotImplementedError

    def remove(self) -> None:
        """Ends the broker if it still runs and removes a directory that was made here."""
        if self.running():
            self.kill()
        if self._owned:
            shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> "Broker":
        try:
            self.start()
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(self, *_) -> None:
        self.remove()


class Millrace(Broker):
    """The release binary in the foreground, as a user starts it."""

    name = "millrace"

    def __init__(self, settings: dict[str, str] | None = None, directory: Path | None = None,
                 arguments: list[str] | None = None, binary: Path | None = None):
        """`binary` is another one than the release binary under test."""
        super().__init__(settings, directory)
        self.arguments = list(arguments or [])
        self.environment: dict[str, str] = {}
        """For the next start."""
        self._binary = binary or paths.millrace_binary()
        self._process: subprocess.Popen | None = None
        self._listen = f"127.0.0.1:{free_port()}"
        self.admin = ""

    @property
    def log(self) -> Path:
        return self.directory / "stderr.log"

    def launch(self) -> None:
        """Starts the process without waiting until it serves."""
        if not os.access(self._binary, os.X_OK):
            raise BrokerFailed(f"no release binary at {self._binary}: cargo build --release, or set MILLRACE_BIN")
        command = [str(self._binary), "server", "--data-dir", str(self.directory / "data"), "--listen", self._listen,
                   "--admin", "127.0.0.1:0", *self.arguments]
        for key, value in self.settings.items():
            command += ["--set", f"{key}={value}"]
        # Colours and a caller's filter would hide the lines that the harness looks for.
        env = {**os.environ, "NO_COLOR": "1", **self.environment}
        env.pop("RUST_LOG", None)
        with open(self.log, "ab") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log,
                                             env=env, start_new_session=True)
        self.pid = self._process.pid

    def await_ready(self) -> None:
        """Reads the ready line."""
        line = self._first_line()
        ready = READY.match(line)
        if not ready:
            status = self._end(signal.SIGKILL) if self.running() else self._process.wait()
            raise BrokerFailed(f"not the ready line: {line!r} (exit status {status}); its log ends: {self._log_end()}")
        self.bootstrap, self.admin, pid, recovered_ms = ready.groups()
        if int(pid) != self.pid:
            raise BrokerFailed(f"the ready line says pid {pid}, the process is {self.pid}")
        if self.bootstrap != self._listen:
            raise BrokerFailed(f"the ready line says {self.bootstrap}, it was told {self._listen}")
        self.recovered_ms = int(recovered_ms)

    def start(self) -> None:
        self.launch()
        self.await_ready()

    def _first_line(self) -> str:
        descriptor = self._process.stdout.fileno()
        heard = b""
        deadline = time.monotonic() + READY_BOUND_S
        with selectors.DefaultSelector() as selector:
            selector.register(descriptor, selectors.EVENT_READ)
            while b"\n" not in heard and (left := deadline - time.monotonic()) > 0:
                if selector.select(left):
                    piece = os.read(descriptor, 4096)
                    if not piece:
                        break
                    heard += piece
        return heard.decode(errors="replace").rstrip("\n")

    def _log_end(self) -> str:
        return self.log.read_text(errors="replace")[-1500:].strip()

    def _end(self, number: int) -> int:
        process = self._process
        process.send_signal(number)
        try:
            status = process.wait(STOP_BOUND_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise BrokerFailed(f"signal {number} did not end it in {STOP_BOUND_S} s") from None
        return status

    def stop(self) -> None:
        status = self._end(signal.SIGTERM)
        rest = self._process.stdout.read()
        self._process.stdout.close()
        if status != 0:
            raise BrokerFailed(f"exit status {status} after SIGTERM; its log ends: {self._log_end()}")
        if rest:
            raise BrokerFailed(f"standard output holds more than the ready line: {rest[:300]!r}")

    def kill(self) -> None:
        status = self._end(signal.SIGKILL)
        self._process.stdout.close()
        if status != -signal.SIGKILL:
            raise BrokerFailed(f"it had ended by itself with exit status {status}; its log ends: {self._log_end()}")

    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def exit_status(self) -> int | None:
        return None if self._process is None else self._process.poll()


class Kafka(Broker):
    """Apache Kafka as peers/kafka starts it: one node, broker and controller in one process."""

    name = "kafka"

    def __init__(self, settings: dict[str, str] | None = None, directory: Path | None = None, heap: str = "1g"):
        super().__init__(settings, directory)
        self._heap = heap
        self._port, self._controller_port = free_port(), free_port()

    @property
    def log(self) -> Path:
        return self.directory / "broker.log"

    def start(self) -> None:
        command = [paths.KAFKA, "start", "--port", self._port, "--controller-port", self._controller_port, "--dir",
                   self.directory, "--heap", self._heap]
        for key, value in self.settings.items():
            command += ["--set", f"{key}={value}"]
        # The broker inherits what this command has open: hand it no pipe, or reading would wait for the broker's end.
        said, complained = self.directory / "start.out", self.directory / "start.err"
        with open(said, "wb") as out, open(complained, "wb") as err:
            status = subprocess.run([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                                    timeout=READY_BOUND_S + 600).returncode
        pid = said.read_text().strip()
        if status != 0 or not pid:
            raise BrokerFailed(f"kafka start: {complained.read_text()[-1500:]}")
        self.pid = int(pid)
        self.bootstrap = f"127.0.0.1:{self._port}"

    def _stop(self, *options: str) -> None:
        try:
            run([paths.KAFKA, "stop", "--dir", self.directory, *options])
        except CommandFailed as error:
            raise BrokerFailed(str(error)) from None
        self.pid = 0

    def stop(self) -> None:
        self._stop()

    def kill(self) -> None:
        self._stop("--kill")

    def running(self) -> bool:
        return self.pid != 0


def free_port() -> int:
    """A free port below those that the kernel hands to clients. While a broker is down its clients keep connecting:
    on an ephemeral port one of them would sooner or later be given that very port and meet itself."""
    chance = random.SystemRandom()
    while True:
        port = chance.randrange(15_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port


TARGETS: dict[str, type[Broker]] = {"millrace": Millrace, "kafka": Kafka}
