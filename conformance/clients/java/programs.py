"""Java programs of our own on Kafka's clients: KafkaProducer, KafkaConsumer.assign without a group, Admin."""

import os
import shutil

from harness import paths
from harness.check import CheckFailed, Context, check, that
from harness.process import run

SOURCES = paths.CONFORMANCE / "clients" / "java" / "src"
CLASSES = paths.WORK / "java-classes"


def class_path() -> str:
    """Kafka's jars and the compiled program; compiles it when a source is newer."""
    jars = run([paths.KAFKA, "classpath"], bound_s=900).stdout.strip()
    sources = sorted(SOURCES.glob("*.java"))
    stamp = CLASSES / "compiled"
    if not stamp.exists() or stamp.stat().st_mtime < max(source.stat().st_mtime for source in sources):
        if not shutil.which("javac"):
            raise CheckFailed("javac is not installed: a JDK of version 17 or newer is needed")
        CLASSES.mkdir(parents=True, exist_ok=True)
        run(["javac", "-Xlint:all", "-Werror", "-proc:none", "-cp", jars, "-d", CLASSES, *sources])
        stamp.touch()
    return f"{jars}:{CLASSES}"


def program(ctx: Context, scenario: str, name: str = "AssignedClient") -> None:
    """Runs one scenario of a program; it ends with its own word that all of it held."""
    logging = f"-Dlog4j2.configurationFile={paths.KAFKA.parent / 'log4j2.xml'}"
    command = ["java", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", logging, name, scenario,
               ctx.bootstrap, ctx.name()]
    said = run(command, env={"CLASSPATH": class_path(), "LC_ALL": os.environ.get("LC_ALL", "C.UTF-8")}).stdout
    that(said.strip().endswith(f"{scenario}: everything held"), f"it said {said[-1000:]!r}")


@check("java")
def assigned_round_trip(ctx: Context) -> None:
    program(ctx, "roundTrip")


@check("java")
def assigned_positions(ctx: Context) -> None:
    program(ctx, "positions")


@check("java")
def assigned_at_the_tail(ctx: Context) -> None:
    program(ctx, "tail")


@check("java")
def java_admin(ctx: Context) -> None:
    program(ctx, "admin")


@check("java")
def java_large_messages(ctx: Context) -> None:
    program(ctx, "large")
