"""Writes a comparison down: README with medians and ratios, raw rows beside it."""

import statistics
from pathlib import Path

from .phases import Phase

METRICS = [
    ("produced_mb_s", "produced MB/s", True), ("p50_ms", "p50 ms", False), ("p99_ms", "p99 ms", False),
    ("p999_ms", "p99.9 ms", False), ("consumed_mb_s", "consumed MB/s", True), ("e2e_p50_ms", "end to end p50 ms", False),
    ("e2e_p99_ms", "end to end p99 ms", False), ("e2e_p999_ms", "end to end p99.9 ms", False),
    ("cpu_s_per_gb", "server CPU s per GB", False), ("resident_mib", "server resident MiB", False),
    ("resident_max_mib", "server resident MiB, most", False),
]


def medians(rows: list[Phase], peers: list[str]) -> str:
    """Markdown tables, one per phase: the median of each metric by peer, its spread, and the ratio."""
    text = ""
    for name in dict.fromkeys(row.name for row in rows):
        heads = ["", *peers, *(["better by"] if len(peers) == 2 else [])]
        text += f"\n### {name}\n\n|" + "|".join(f" {head} " for head in heads) + "|\n" + "|---" * len(heads) + "|\n"
        for key, title, more_is_better in METRICS:
            values = {peer: [value for row in rows if (row.peer, row.name) == (peer, name)
                             and (value := getattr(row, key)) is not None] for peer in peers}
            if any(values.values()):
                text += _line(title, values, more_is_better)
    return text


def _line(title: str, values: dict[str, list[float]], more_is_better: bool) -> str:
    cells = []
    for found in values.values():
        cells.append(f"{_number(statistics.median(found))} ({_number(min(found))}-{_number(max(found))})" if found else "-")
    if len(values) == 2:
        first, second = (statistics.median(found) if found else 0 for found in values.values())
        above, below = (first, second) if more_is_better else (second, first)
        cells.append(f"{above / below:.2f}x" if above and below else "-")
    return f"| {title} | " + " | ".join(cells) + " |\n"


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def write(directory: Path, title: str, command: str, setup: list[str], facts: dict[str, str], rows: list[Phase],
          peers: list[str]) -> None:
    """README.md and results.jsonl."""
    (directory / "results.jsonl").write_text("".join(row.as_json() + "\n" for row in rows))
    text = f"# {title}\n\n    {command}\n\n"
    text += "".join(f"* {key}: {value}\n" for key, value in facts.items())
    text += "\n## What was measured\n\n" + "".join(f"* {line}\n" for line in setup)
    text += "\n## Medians (least-most of the turns)\n\n"
    if len(peers) == 2:
        text += f"\"better by\" is how many times better {peers[0]} is than {peers[1]}; below 1 it is worse.\n"
    text += medians(rows, peers)
    text += "\n`results.jsonl` holds every turn, `raw/` what the tools printed.\n"
    (directory / "README.md").write_text(text)
