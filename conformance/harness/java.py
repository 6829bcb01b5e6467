"""Java programs of our own: compiled when a source is newer, on Kafka's jars."""

import os
import shutil
from pathlib import Path

from . import paths
from .process import run


def class_path(name: str, sources: list[Path]) -> dict[str, str]:
    """The environment in which `java CLASS` finds what the folders `sources` hold."""
    jars = run([paths.KAFKA, "classpath"], bound_s=900).stdout.strip()
    files = sorted(file for folder in sources for file in folder.glob("*.java"))
    classes = paths.WORK / f"{name}-classes"
    stamp = classes / "compiled"
    newest = max(path.stat().st_mtime for path in [*files, *sources])
    if not stamp.exists() or stamp.stat().st_mtime < newest:
        if not shutil.which("javac"):
            raise FileNotFoundError("javac is not installed: a JDK of version 17 or newer is needed")
        shutil.rmtree(classes, ignore_errors=True)
        classes.mkdir(parents=True)
        run(["javac", "-Xlint:all", "-Werror", "-proc:none", "-cp", jars, "-d", classes, *files])
        stamp.touch()
    return {**os.environ, "CLASSPATH": f"{jars}:{classes}", "LC_ALL": os.environ.get("LC_ALL", "C.UTF-8")}


def logging_options() -> list[str]:
    """Kafka's classes complain on standard error only, and only of errors."""
    return [f"-Dlog4j2.configurationFile={paths.KAFKA.parent / 'log4j2.xml'}", "-Dkafka.log.level=ERROR"]
