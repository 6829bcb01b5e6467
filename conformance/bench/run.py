"""Runs a benchmark: its cases on every server in turns, round by round."""

import argparse
import datetime
import importlib
import os
import resource
import shlex
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench import limits, machine, report  # noqa: E402
from bench.case import FULL, QUICK, SMOKE, Bench, Case, Scale  # noqa: E402
from bench.figures import BEHIND, BOTTLENECK  # noqa: E402
from bench.generator import GeneratorFailed  # noqa: E402
from bench.results import Result, Results, number  # noqa: E402
from bench.servers import Server, named, on_cpus  # noqa: E402
from bench.stage import Round, Stage  # noqa: E402
from harness import paths  # noqa: E402
from harness.broker import BrokerFailed  # noqa: E402
from harness.process import CommandFailed, unwind_on_terminate  # noqa: E402

NAMES = ("throughput", "latency", "fanout", "catchup", "partitions", "connections", "groups", "share", "compaction", "restart", "soak", "smoke")
LIMIT_S = 4
FAILURES = (BrokerFailed, CommandFailed, GeneratorFailed, OSError, ValueError, KeyError)
"""What one run may end with while the others go on."""


class Runner:
    """One benchmark, with what was asked for."""

    def __init__(self, bench: Bench, servers: list[Server], scale: Scale, directory: Path, options: argparse.Namespace):
        self._bench, self._servers, self._scale, self._directory = bench, servers, scale, directory
        words = [*options.only, "saturation"] if options.only else [""]
        self._cases = [case for case in bench.cases if any(word in case.name for word in words)]
        self._server_cpus = options.server_cpus
        self._generator = ("--cpus", options.generator_cpus) if options.generator_cpus else ("--cores", "1")
        self.results = Results(bench, [server.name for server in servers])

    def round(self, number_: int) -> None:
        """Every case on every server, one after the other."""
        os.sync()
        seconds = min(LIMIT_S, self._scale.seconds)
        self.results.limits.append(limits.measure(paths.WORK, seconds))
        current = Round(number_)
        for case in self._cases:
            for server in self._servers:
                if case.servers is None or server.name in case.servers:
                    self._one(current, case, server)

    def _one(self, current: Round, case: Case, server: Server) -> None:
        """One case on a fresh server; what the one before left to write back is not its burden."""
        os.sync()
        result = Result(current.number, case.name, server.name)
        self.results.rows.append(result)
        try:
            broker = server.make()
            broker.settings.update(self._bench.settings)
            with on_cpus(self._server_cpus):
                broker.__enter__()
            try:
                stage = Stage(server, broker, case.name, current, self._scale, self._directory / "raw", self._generator,
                              remarks=result.remarks, reports=result.reports, commands=result.commands)
                result.values = case.run(stage)
                current.values[case.name, server.name] = result.values
            finally:
                broker.remove()
        except FAILURES as error:
            result.remarks.append(f"failed: {without_paths(f'{type(error).__name__}: {error}')}")
        shown = [f"{figure}={number(result.values[figure])}" for figure in case.shows if figure in result.values]
        print(f"round {current.number} {server.name:12} {case.name:36} {' '.join(shown + result.remarks)}", flush=True)

    def complaints(self, strict: bool) -> list[str]:
        """Runs that failed, or did not give a figure that the case shows; with `strict`, those with errors on the way too, but
        never those that were slow."""
        found = []
        for row in self.results.rows:
            case = next(case for case in self._cases if case.name == row.case)
            missing = [figure for figure in case.shows if not self.results.values(row.case, row.server, figure)]
            if not row.values:
                found.append(f"{row.server}, {row.case}, round {row.round}: {'; '.join(row.remarks)}")
            elif strict and (doubts := [remark for remark in row.remarks if not remark.startswith((BOTTLENECK, BEHIND))]):
                found.append(f"{row.server}, {row.case}: {'; '.join(doubts)}")
            elif missing and not (set(missing) <= {"ready_s"} and row.server.startswith("kafka")):
                found.append(f"{row.server}, {row.case}: no {', '.join(missing)}")
        return found


def without_paths(text: str) -> str:
    """A complaint without names of this machine's directories, and in one line."""
    for path in (paths.WORK, paths.REPOSITORY, Path.home(), Path(tempfile.gettempdir())):
        text = text.replace(str(path), "...")
    return " ".join(text.split())[:600]


def method(servers: list[Server], scale: Scale, rounds: int, options: argparse.Namespace) -> list[str]:
    """What all benchmarks have in common, for the README."""
    pinned = [f"servers on CPUs {options.server_cpus}"] if options.server_cpus else []
    pinned += [f"the generator on CPUs {options.generator_cpus}, an executor on each"] if options.generator_cpus else []
    return [
        *(f"**{server.name}**: {server.says}" for server in servers),
        f"{rounds} rounds; in each, case by case, one server after the other, never two at a time: a fresh one on an empty directory, "
        f"loaded for {scale.heat_s} s on another topic, then measured for {scale.seconds} s behind {scale.warm_up_s} s of warm-up unless "
        "the case says otherwise; its files are removed and `sync` is called before the next one",
        "one generator, millrace-loadgen, with the same settings for all: those that are not named are its defaults (1 KiB records of "
        "random bytes, 6 partitions, 1 producer, batches of 128 KiB, requests of up to 1 MiB of them, linger 5 ms, 5 requests in flight, acks=all)",
        "MB are 10^6, GB 10^9 bytes of record values; server CPU and context switches are those of its process in the measured seconds, "
        "from /proc, CPU per GB that went in or out; peak memory is the kernel's (VmHWM), heating included",
        f"{'; '.join(pinned)}" if pinned else "generator (one executor) and server share the processors: what a server uses its client lacks",
        *([f"**scale {scale.name}: this run shows that things work, its numbers say little**"] if scale != FULL else []),
    ]


def result_directory(name: str) -> Path:
    """bench-results/<date>-<name>, with a number when that is taken."""
    base = paths.REPOSITORY / "bench-results" / f"{datetime.date.today().isoformat()}-{name}"
    candidates = [base, *(base.with_name(f"{base.name}-{number_}") for number_ in range(2, 1000))]
    return next(candidate for candidate in candidates if not candidate.exists())


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("name", choices=NAMES)
    parser.add_argument("--rounds", type=int, help="how often each server has its turn (default 3; soak 1)")
    parser.add_argument("--quick", action="store_true", help="short runs, less data: does it work?")
    parser.add_argument("--servers", help="comma-separated, of millrace, kafka, kafka-flush; NAME=FILE is another binary of Millrace")
    parser.add_argument("--only", metavar="WORD", action="append", default=[],
                        help="only cases whose name holds this, and the saturation that others refer to; may be repeated")
    parser.add_argument("--server-cpus", metavar="LIST", help="CPUs for the servers, such as 0-3")
    parser.add_argument("--generator-cpus", metavar="LIST", help="CPUs for the generator, an executor on each")
    parser.add_argument("--out", type=Path, help="result directory (default bench-results/<date>-NAME)")
    return parser.parse_args(arguments)


def shown_command(arguments: list[str]) -> str:
    """The command without names of this machine's directories."""
    words = [word for at, word in enumerate(arguments) if not word.startswith("--out") and (at == 0 or arguments[at - 1] != "--out")]
    return shlex.join(["scripts/bench", *(",".join(name.partition("=")[0] + "=..." if "=" in name and "/" in name else name
                                                   for name in word.split(",")) for word in words)])


def main() -> int:
    """Runs all rounds; what was measured before a failure is written too."""
    unwind_on_terminate()
    options = parse(sys.argv[1:])
    bench: Bench = importlib.import_module(f"bench.suite.{options.name}").BENCH
    servers = named(options.servers or ",".join(bench.servers))
    smoke = options.name == "smoke"
    scale = SMOKE if smoke else QUICK if options.quick else FULL
    rounds = options.rounds or bench.rounds
    # Ten thousand connections, or as many files: both ends inherit this.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    paths.WORK.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=paths.WORK) as scratch:
        directory = options.out or (Path(scratch) if smoke else result_directory(options.name))
        (directory / "raw").mkdir(parents=True)
        runner = Runner(bench, servers, scale, directory, options)
        facts = machine.facts(paths.WORK)

        def write() -> None:
            report.write(directory, shown_command(sys.argv[1:]), facts,
                         [*method(servers, scale, rounds, options), *bench.says], runner.results)

        try:
            for number_ in range(1, rounds + 1):
                runner.round(number_)
                write()
            report.pages(directory, runner.results)
        finally:
            write()
        complaints = runner.complaints(strict=smoke)
        for complaint in complaints:
            print(f"FAILED {complaint}", file=sys.stderr)
        if not smoke or options.out:
            print(f"written to {directory}")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
