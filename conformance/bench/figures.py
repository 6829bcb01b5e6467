"""Figures: what they are called, whether more of them is better, and how they are read from a report of the generator."""

from dataclasses import dataclass

MIB = 1 << 20
BOTTLENECK = "the generator was the bottleneck"
BEHIND = "did not keep up"
"""Remarks that say so begin like this; they are about time only."""
KEPT_UP = 0.97
"""Part of a schedule below which a server did not keep up: its latencies then grow with the length of the run."""


@dataclass(frozen=True)
class Figure:
    """One number of a run."""

    title: str
    more_is_better: bool = False


FIGURES = {
    "sent_mb_s": Figure("sent MB/s", True),
    "sent_k_s": Figure("sent thousand records/s", True),
    "received_mb_s": Figure("received MB/s", True),
    "p50_ms": Figure("produce p50 ms"),
    "p99_ms": Figure("produce p99 ms"),
    "p999_ms": Figure("produce p99.9 ms"),
    "e2e_p50_ms": Figure("end to end p50 ms"),
    "e2e_p99_ms": Figure("end to end p99 ms"),
    "e2e_p999_ms": Figure("end to end p99.9 ms"),
    "connect_p50_ms": Figure("connect p50 ms"),
    "connect_p99_ms": Figure("connect p99 ms"),
    "ack_p50_ms": Figure("acknowledge p50 ms"),
    "ack_p99_ms": Figure("acknowledge p99 ms"),
    "acknowledged_k_s": Figure("acknowledged thousand records/s", True),
    "acknowledged_k_per_cpu_s": Figure("acknowledged thousand records per server CPU s", True),
    "rebalance_p50_ms": Figure("rebalance p50 ms"),
    "rebalance_p99_ms": Figure("rebalance p99 ms"),
    "cpu_s_per_gb": Figure("server CPU s per GB moved"),
    "cpu_s_per_gb_fetched": Figure("server CPU s per further GB fetched"),
    "cpu_cores": Figure("server CPU, cores"),
    "switches_per_gb": Figure("server context switches per GB"),
    "resident_max_mib": Figure("server resident MiB, peak since its start"),
    "resident_idle_mib": Figure("server resident MiB, idle"),
    "resident_grown_mib": Figure("server resident MiB, growth from the second to the last quarter"),
    "p999_first_ms": Figure("produce p99.9 ms, median second of the first quarter"),
    "p999_last_ms": Figure("produce p99.9 ms, median second of the last quarter"),
    "p99_without_ms": Figure("produce p99 ms, without it"),
    "p999_without_ms": Figure("produce p99.9 ms, without it"),
    "compact_s": Figure("seconds until compacted"),
    "compact_cpu_s_per_gb": Figure("server CPU s per GB that was there"),
    "kept_mib": Figure("MiB kept"),
    "catch_up_s": Figure("seconds until all was read"),
    "ready_s": Figure("seconds until the ready line"),
    "serving_s": Figure("seconds until Metadata shows all leaders"),
    "of_disk": Figure("sent, part of the raw write loop", True),
    "of_loopback": Figure("moved, part of the raw loopback stream", True),
}
"""Those named `of_` are made by the report from the limits of the same round."""

LATENCIES = {"produce": "", "end_to_end": "e2e_", "acknowledge": "ack_", "connect": "connect_", "rebalance": "rebalance_"}


def read(report: dict) -> dict[str, float]:
    """Every figure that a report of millrace-loadgen holds. MB are 10^6, GB 10^9 bytes of keys and values."""
    whole = report["whole"]
    traffic, length_s = whole["traffic"], whole["length_s"]
    values: dict[str, float] = {}
    if traffic["bytes_sent"] and length_s:
        values["sent_mb_s"] = traffic["bytes_sent"] / 1e6 / length_s
        values["sent_k_s"] = traffic["records_sent"] / 1e3 / length_s
    if traffic["bytes_received"] and length_s:
        values["received_mb_s"] = traffic["bytes_received"] / 1e6 / length_s
    for measure, front in LATENCIES.items():
        if found := whole["latencies"].get(measure):
            values |= {f"{front}{point}_ms": found[point] / 1e3 for point in ("p50", "p99", "p999")}
    acknowledged = _acknowledged(traffic)
    if acknowledged and length_s:
        values["acknowledged_k_s"] = acknowledged / 1e3 / length_s
    if server := whole["server"]:
        values |= _server(server)
        if acknowledged and (cpu_s := _cpu_s(server)):
            values["acknowledged_k_per_cpu_s"] = acknowledged / 1e3 / cpu_s
    return values


def _acknowledged(traffic: dict) -> int:
    """Records of share groups, whatever was said of them."""
    shares = traffic.get("shares", {})
    return sum(shares.get(kind, 0) for kind in ("accepted", "released", "rejected"))


def _cpu_s(server: dict) -> float:
    return server["used"]["cpu_user_s"] + server["used"]["cpu_system_s"]


def _server(server: dict) -> dict[str, float]:
    used, cpu_s = server["used"], _cpu_s(server)
    values: dict[str, float] = {}
    if server["seen_s"]:
        values["cpu_cores"] = cpu_s / server["seen_s"]
    if gb := server["bytes_moved"] / 1e9:
        values["cpu_s_per_gb"] = cpu_s / gb
        values["switches_per_gb"] = (used["switches_voluntary"] + used["switches_involuntary"]) / gb
    return values


def remarks(report: dict) -> list[str]:
    """What makes a run doubtful."""
    whole = report["whole"]
    found = [f"{count:,} x {name}" for name, count in whole["errors"].items()]
    if whole["errors_in_warm_up"]:
        found.append(f"{whole['errors_in_warm_up']:,} errors while warming up")
    sent_s = whole["traffic"]["records_sent"] / (whole["length_s"] or 1)
    if (rate := report["rate"]) and sent_s < rate * KEPT_UP:
        found.append(f"{BEHIND}: {sent_s / rate:.0%} of the schedule was sent, and latencies grow with the length of the run")
    if reason := whole["health"].get("bottleneck"):
        found.append(f"{BOTTLENECK} ({reason})")
    if (server := whole["server"]) and server.get("gone_at_s") is not None:
        found.append("the server ended")
    return found
