"""Writes a benchmark down: README with the tables, a page per case, a line per run; the raw reports lie beside it."""

import json
from pathlib import Path

from . import generator
from .case import REFERENCE, Case
from .figures import FIGURES
from .limits import LIMITS
from .picture import bars
from .results import Result, Results, Spread, number
from .stage import slug


def write(directory: Path, command: str, facts: dict[str, str], says: list[str], results: Results) -> None:
    """README.md and results.jsonl, of what there is so far."""
    lines = [json.dumps({"round": at, "limits": limits}) for at, limits in enumerate(results.limits, 1)]
    lines += [json.dumps(row.as_row()) for row in results.rows]
    (directory / "results.jsonl").write_text("".join(line + "\n" for line in lines))
    text = f"# {results.bench.title}\n\n    {command}\n\n"
    text += "".join(f"* {key}: {value}\n" for key, value in facts.items())
    text += "\n## What was measured\n\n" + "".join(f"* {line}\n" for line in says)
    text += "\n## Limits of this machine in the same run\n\nMedian (least-most) of the rounds.\n\n" + _limits(results)
    text += "\n## Results\n\nMedian (least-most) of the rounds." + _explained(results)
    for case in results.bench.cases:
        if any(row.case == case.name for row in results.rows):
            text += _case(case, results, (directory / f"{slug(case.name)}.html").exists())
    text += "\n`results.jsonl` holds every run, `raw/` what millrace-loadgen wrote of each.\n"
    (directory / "README.md").write_text(text)
    if results.bench.name == "throughput" and (picture := bars(results, "sent_mb_s", f"{results.bench.title}: MB/s, medians")):
        (directory / "medians.svg").write_text(picture)


def _explained(results: Results) -> str:
    if REFERENCE not in results.servers or len(results.servers) < 2:
        return "\n"
    return (f" \"x {REFERENCE}\" is how many times better a server is than {REFERENCE} in the same round; below 1 it is worse. Targets "
            f"are for {results.servers[0]}.\n")


def pages(directory: Path, results: Results) -> None:
    """One page for each case with a run of every server, the one in the middle by the case's first figure."""
    for case in results.bench.cases:
        chosen = [report for server in sorted(results.servers, key=lambda name: name != REFERENCE)
                  if (report := _middle(results, case, server))]
        if chosen and case.page:
            generator.compare(chosen, directory / f"{slug(case.name)}.html")


def _middle(results: Results, case: Case, server: str) -> Path | None:
    rows = [row for row in results.rows if (row.case, row.server) == (case.name, server) and row.values and row.reports]
    rows.sort(key=lambda row: row.values.get(case.shows[0], 0))
    return rows[len(rows) // 2].reports[-1] if rows else None


def _limits(results: Results) -> str:
    text = "| | |\n|---|---|\n"
    for key, limit in LIMITS.items():
        spread = Spread.of([limits[key] for limits in results.limits if key in limits])
        text += f"| {limit.title} | {_cell(spread)} |\n" if spread else ""
    return text


def _case(case: Case, results: Results, has_page: bool) -> str:
    rows = [row for row in results.rows if row.case == case.name]
    servers = [server for server in results.servers if any(row.server == server for row in rows)]
    compared = [server for server in servers if server != REFERENCE] if REFERENCE in servers else []
    heads = ["", *servers, *(f"{server}, x {REFERENCE}" for server in compared), "target"]
    text = f"\n### {case.name}\n\n"
    commands = list(dict.fromkeys(command for row in rows[:1] for command in row.commands))
    text += "".join(f"    millrace-loadgen {command}\n" for command in commands) + ("\n" if commands else "")
    text += "|" + "|".join(f" {head} " for head in heads) + "|\n" + "|---" * len(heads) + "|\n"
    for figure in case.shows:
        cells = [_cell(results.spread(case.name, server, figure)) for server in servers]
        cells += [_cell(results.better(figure, (case.name, server), (case.name, REFERENCE)), "x") for server in compared]
        if set(cells) != {"-"}:
            cells.append("; ".join(results.verdicts(case.name, figure)))
            text += f"| {FIGURES[figure].title} | " + " | ".join(cells) + " |\n"
    text += _remarks(rows)
    return text + (f"\n[Over time, and percentiles]({slug(case.name)}.html)\n" if has_page else "")


def _remarks(rows: list[Result]) -> str:
    said: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        for remark in row.remarks:
            said.setdefault((row.server, remark), []).append(str(row.round))
    lines = [f"* {server}, round {', '.join(dict.fromkeys(rounds))}: {remark}\n" for (server, remark), rounds in said.items()]
    return "\n" + "".join(lines) if lines else ""


def _cell(spread: Spread | None, unit: str = "") -> str:
    if spread is None:
        return "-"
    if number(spread.least) == number(spread.most):
        return f"{number(spread.median)}{unit}"
    return f"{number(spread.median)}{unit} ({number(spread.least)}-{number(spread.most)})"
