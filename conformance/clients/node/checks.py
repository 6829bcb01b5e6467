"""The end-to-end tests inside npm's node-rdkafka, each as a check: `node_rdkafka.toml` lists them."""

import json
import re
import shutil
import tomllib
from functools import cache
from pathlib import Path

from confluent_kafka.admin import AdminClient

from harness import paths, topics
from harness.check import REGISTERED, Check, CheckFailed, Context, equal
from harness.process import CommandFailed, run

SUITE = "node-rdkafka"
HERE = Path(__file__).parent
BUILD_BOUND_S = 3600
SPEC_BOUND_S = 140
"""Ends a file of tests that hangs; each takes less than half of it."""
TRIES = 2
"""On a loaded machine the package's own disconnect never calls back now and then, whichever broker it speaks to."""
LISTED = tomllib.loads((HERE / "node_rdkafka.toml").read_text())


@cache
def package() -> Path:
    """The installed package; npm builds its librdkafka once."""
    for program, what in [("npm", "Node's package manager"), ("g++", "a compiler for node-rdkafka's librdkafka")]:
        if not shutil.which(program):
            raise CheckFailed(f"{program} is not installed: {what} is needed")
    place = paths.WORK / "suites" / "node"
    wanted = (HERE / "package.json").read_text()
    if not (place / "prepared").exists() or (place / "prepared").read_text() != wanted:
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        (place / "package.json").write_text(wanted)
        run(["npm", "install", "--no-audit", "--no-fund", "--prefix", place], bound_s=BUILD_BOUND_S)
        (place / "prepared").write_text(wanted)
    return place / "node_modules" / SUITE


def mocha(spec: str, *options: str, bootstrap: str = "") -> list[dict]:
    """Runs one file of tests ; every test with its outcome."""
    report = paths.WORK / "suites" / f"node-{spec}.json"
    report.unlink(missing_ok=True)
    done = run(["node", package().parent / "mocha" / "bin" / "mocha.js", "--exit", "--timeout", "60000",
                "--reporter", "json", "--reporter-option", f"output={report}", *options, f"e2e/{spec}.spec.js"],
               bound_s=SPEC_BOUND_S, cwd=package(), env={"KAFKA_HOST": bootstrap}, status=None)
    if not report.exists():
        raise CheckFailed(f"mocha made no report: {(done.stdout + done.stderr)[-1500:]}")
    return json.loads(report.read_text())["tests"]


@cache
def outcomes(spec: str, bootstrap: str) -> dict[str, dict] | CheckFailed | CommandFailed:
    """What came of each test of a file, run once and as a whole: its tests rest on one another."""
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    held = admin.list_topics(timeout=30).topics
    for topic in LISTED["topics"]:
        if topic not in held:
            topics.create(admin, topic, 1, {})
    left_out = "|".join(re.escape(title) for title in LISTED["left_out"])
    for _ in range(TRIES):
        try:
            return {test["fullTitle"]: test for test in mocha(spec, "--grep", left_out, "--invert", bootstrap=bootstrap)}
        except (CheckFailed, CommandFailed) as error:
            failed = error
    return failed


def run_test(ctx: Context, spec: str, title: str) -> None:
    """One test: it must have run and passed."""
    came = outcomes(spec, ctx.bootstrap)
    if isinstance(came, Exception):
        raise came
    test = came.get(title)
    if test is None:
        raise CheckFailed("it did not run: a hook before it failed")
    if test["err"]:
        raise CheckFailed(f"{test['err'].get('message')}: {test['err'].get('stack', '')[:800]}")
    if "duration" not in test:
        raise CheckFailed("it was skipped")


def list_is_complete(_: Context) -> None:
    """Every test of the package is listed: run, or left out with a reason."""
    for spec in sorted(path.name.removesuffix(".spec.js") for path in (package() / "e2e").glob("*.spec.js")):
        found = {test["fullTitle"] for test in mocha(spec, "--dry-run")} - set(LISTED["left_out"])
        equal(sorted(found), sorted(LISTED["tests"].get(spec, [])), f"tests of {spec}")


def short(title: str) -> str:
    """A title as a check's name."""
    return re.sub(r"[^a-z0-9]+", "_", title.lower()).strip("_")


REGISTERED.append(Check(SUITE, "list_is_complete", list_is_complete, LISTED["broker"]))
for spec_name, titles in LISTED["tests"].items():
    for one in titles:
        body = lambda ctx, spec=spec_name, title=one: run_test(ctx, spec, title)  # noqa: E731
        REGISTERED.append(Check(SUITE, f"{spec_name}.{short(one)}", body, LISTED["broker"]))
