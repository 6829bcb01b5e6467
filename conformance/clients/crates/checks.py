"""The test suites inside published Rust crates, each test as a check: `rdkafka.toml` and `rskafka.toml` list them."""

import os
import shutil
import tomllib
from functools import cache
from pathlib import Path

from harness import paths
from harness.check import REGISTERED, Check, CheckFailed, Context, equal, that
from harness.process import run

BUILD_BOUND_S = 3600
HERE = Path(__file__).parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", paths.WORK / "suites")) / "suites"
"""Where cargo builds the suites: they are built once."""


@cache
def listed(crate: str) -> dict:
    """The list of one crate."""
    return tomllib.loads((HERE / f"{crate}.toml").read_text())


def sources(crate: str) -> Path:
    """The published sources, as a package of its own; fetched by cargo."""
    version = listed(crate)["version"]
    place = paths.WORK / "suites" / f"{crate}-{version}"
    if (place / "prepared").exists():
        return place
    wanted = paths.WORK / "suites" / f"fetch-{crate}"
    shutil.rmtree(wanted, ignore_errors=True)
    shutil.rmtree(place, ignore_errors=True)
    (wanted / "src").mkdir(parents=True)
    (wanted / "src" / "lib.rs").touch()
    (wanted / "Cargo.toml").write_text(f'[package]\nname = "fetch"\nedition = "2021"\n[dependencies]\n{crate} = "={version}"\n'
                                       "[workspace]\n")
    run(["cargo", "vendor", "--quiet", "--manifest-path", wanted / "Cargo.toml", wanted / "vendor"], bound_s=BUILD_BOUND_S)
    shutil.copytree(wanted / "vendor" / crate, place)
    shutil.rmtree(wanted)
    # A toolchain of its own is not wanted, and neither is membership in the workspace around it.
    (place / "rust-toolchain.toml").unlink(missing_ok=True)
    with open(place / "Cargo.toml", "a") as manifest:
        manifest.write("\n[workspace]\n")
    for package in listed(crate).get("update", []):
        run(["cargo", "update", "--quiet", "--manifest-path", place / "Cargo.toml", "-p", package], bound_s=BUILD_BOUND_S)
    (place / "prepared").touch()
    return place


@cache
def binaries(crate: str) -> dict[str, Path]:
    """Test programs by name; builds them when they are not there."""
    if not shutil.which("cargo"):
        raise CheckFailed("cargo is not installed: Rust is needed to build the suite")
    done = run(["cargo", "test", "--no-run", "--manifest-path", sources(crate) / "Cargo.toml"], bound_s=BUILD_BOUND_S,
               env={"CARGO_TARGET_DIR": str(TARGET)})
    programs = [Path(line[line.rindex("(") + 1:].rstrip(")")) for line in done.stderr.splitlines() if "Executable" in line]
    return {program.name.rpartition("-")[0]: program for program in programs}


def tests_in(program: Path) -> list[str]:
    """What a test program says that it holds."""
    lines = run([program, "--list"]).stdout.splitlines()
    return sorted(line.removesuffix(": test") for line in lines if line.endswith(": test"))


def run_test(ctx: Context, crate: str, program: str, test: str) -> None:
    """Runs one test alone; it must have run and passed."""
    settings = {key: value.format(bootstrap=ctx.bootstrap) for key, value in listed(crate)["environment"].items()}
    done = run([binaries(crate)[program], "--exact", test, "--nocapture"], status=None, env={"RUST_BACKTRACE": "0", **settings})
    said = (done.stdout + done.stderr).strip()
    that(done.returncode == 0 and "1 passed" in said, f"it said {said[-1500:]}")


def list_is_complete(ctx: Context, crate: str) -> None:
    """Every test of the suite is listed: run, or left out with a reason."""
    held = listed(crate)
    for program, path in binaries(crate).items():
        left_out = set(held.get("left_out", {}).get(program, {}))
        if program in held.get("programs_left_out", {}):
            continue
        expected = sorted({*held["tests"].get(program, []), *left_out})
        equal(tests_in(path), expected, f"tests of {program}")


def register(crate: str) -> None:
    """A check for each listed test, and one for the list."""
    settings = listed(crate)["broker"]
    REGISTERED.append(Check(crate, "list_is_complete", lambda ctx: list_is_complete(ctx, crate), settings))
    for program, tests in listed(crate)["tests"].items():
        for test in tests:
            body = lambda ctx, program=program, test=test: run_test(ctx, crate, program, test)  # noqa: E731
            REGISTERED.append(Check(crate, f"{program}.{test}", body, settings))


register("rdkafka")
register("rskafka")
