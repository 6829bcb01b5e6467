"""Third-party clients against real brokers: `run.py [SUITE] [--target ...] [--only WORD]`."""

import argparse
import importlib
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from harness import check as registry, options, paths, runner  # noqa: E402
from harness.process import unwind_on_terminate  # noqa: E402

MODULES = {
    "kcat": ["clients.kcat.checks"],
    "librdkafka": ["clients.librdkafka.produce", "clients.librdkafka.consume", "clients.librdkafka.admin",
                   "clients.librdkafka.admin_rest", "clients.librdkafka.restart"],
    "groups": ["clients.librdkafka.groups", "clients.librdkafka.group_offsets", "clients.librdkafka.group_admin"],
    "storms": ["clients.librdkafka.group_storms"],
    "consumers": ["clients.librdkafka.consumer_protocol", "clients.java.consumers"],
    "shares": ["clients.librdkafka.shares", "clients.java.shares", "clients.tools.checks", "shares.checks"],
    "queue": ["shares.checks"],
    "rdkafka": ["clients.crates.checks"],
    "rskafka": ["clients.crates.checks"],
    "node-rdkafka": ["clients.node.checks"],
    "guides": ["clients.guides.checks"],
    "differential": ["differential.checks"],
    "fuzz": ["fuzz.checks"],
    "tools": ["clients.tools.checks", "clients.tools.compaction"],
    "java": ["clients.java.tools", "clients.java.programs", "clients.java.groups", "clients.java.admin"],
}
# A suite is made of others, or of single checks of them.
SUITES = {"quick": ["kcat", "librdkafka", "groups", "guides.python"],
          "all": ["kcat", "librdkafka", "groups", "storms", "consumers", "shares", "java", "tools", "guides", "differential",
                  "fuzz"],
          **{name: [name] for name in MODULES}}


def main() -> int:
    """Runs one suite; the exit status says whether everything passed."""
    unwind_on_terminate()
    parser = argparse.ArgumentParser(prog="scripts/conformance", description=__doc__)
    parser.add_argument("suite", nargs="?", default="all", choices=sorted(SUITES))
    parser.add_argument("--target", default="millrace", choices=["millrace", "kafka", "both"],
                        help="the broker; both prints the outcomes side by side (default millrace)")
    parser.add_argument("--only", metavar="WORD", help="checks whose name contains WORD")
    parser.add_argument("--list", action="store_true", help="names of the checks, and nothing else")
    parser.add_argument("--requests", type=int, metavar="N", help="how many, for differential and fuzz (default 3,000)")
    parser.add_argument("--records", type=int, metavar="N", help="how many, for queue (default 1,000,000)")
    parser.add_argument("--seed", type=int, metavar="S", help="of the requests, or of who is killed when; drawn when it is not given")
    arguments = parser.parse_args()
    options.ask(arguments.requests, arguments.records, arguments.seed)
    wanted = SUITES[arguments.suite]
    for name in wanted:
        for module in MODULES[name.partition(".")[0]]:
            importlib.import_module(module)
    checks = [check for check in registry.REGISTERED
              if (check.suite in wanted or check.full_name in wanted) and (arguments.only or "") in check.full_name]
    if arguments.list:
        print("\n".join(check.full_name for check in checks))
        return 0
    if not checks:
        parser.error(f"no check of suite {arguments.suite} is called like {arguments.only!r}")
    paths.WORK.mkdir(parents=True, exist_ok=True)
    targets = ["millrace", "kafka"] if arguments.target == "both" else [arguments.target]
    return runner.report(runner.run_checks(checks, targets), targets)


if __name__ == "__main__":
    sys.exit(main())
