"""The arithmetic of results: pairs by round, which way is better, what counts as met; and the probe's reading of Metadata."""

import socket
import struct
import sys
import threading
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench import figures, probe, run, servers  # noqa: E402
from bench.case import EVERY_CASE, Bench, Case, Target  # noqa: E402
from bench.results import Result, Results  # noqa: E402


def results(*targets: Target) -> Results:
    """Three rounds: Millrace gets 600, 500, 800 of Kafka's 100, 50, 200; in case "wide" half as much."""
    case = Case("base", lambda stage: {}, ("sent_mb_s",))
    found = Results(Bench("b", "B", (case,), targets), ["millrace", "kafka"])
    for number, (ours, theirs) in enumerate(((600, 100), (500, 50), (800, 200)), 1):
        found.limits.append({"disk_mb_s": 1000, "loopback_mb_s": 4000})
        found.rows += [Result(number, "base", "millrace", {"sent_mb_s": ours, "p99_ms": 2}),
                       Result(number, "base", "kafka", {"sent_mb_s": theirs, "p99_ms": 8}),
                       Result(number, "wide", "millrace", {"sent_mb_s": ours / 2, "p99_ms": 3})]
    return found


class Arithmetic(unittest.TestCase):
    """Medians, ratios, targets."""

    def test_ratios_are_of_the_same_round(self):
        ratio = results().better("sent_mb_s", ("base", "millrace"), ("base", "kafka"))
        # Of the medians it would be 600 / 100 as well: the spread tells them apart.
        self.assertEqual((ratio.median, ratio.least, ratio.most), (6, 4, 10))

    def test_less_is_better_for_latencies(self):
        self.assertEqual(results().better("p99_ms", ("base", "millrace"), ("base", "kafka")).median, 4)

    def test_rounds_that_failed_are_in_no_ratio(self):
        found = results()
        found.rows[0].values = {}
        ratio = found.better("sent_mb_s", ("base", "millrace"), ("base", "kafka"))
        self.assertEqual((ratio.least, ratio.most), (4, 10))
        self.assertEqual(found.spread("base", "millrace", "sent_mb_s").least, 500)

    def test_a_verdict_on_remarkable_runs_is_doubtful(self):
        for server, doubtful in (("kafka", True), ("other", False)):
            found = results(Target("base", "sent_mb_s", than="kafka", times=5))
            found.rows.append(Result(4, "base", server, remarks=["errors"]))
            said, = found.verdicts("base", "sent_mb_s")
            self.assertEqual("doubtful" in said, doubtful)

    def test_a_verdict_says_how_many_rounds_it_rests_on(self):
        found = results(Target("base", "sent_mb_s", than="kafka", times=5), Target("base", "sent_mb_s", limit=100))
        self.assertFalse(any("rounds" in said for said in found.verdicts("base", "sent_mb_s")))
        found.rows[0].values = {}
        self.assertTrue(all("in 2 of 3 rounds" in said for said in found.verdicts("base", "sent_mb_s")))

    def test_targets(self):
        for target, met in ((Target("base", "sent_mb_s", than="kafka", times=6), True),
                            (Target("base", "sent_mb_s", than="kafka", times=6.1), False),
                            (Target("base", "sent_mb_s", limit=600), True), (Target("base", "sent_mb_s", limit=601), False),
                            (Target("base", "p99_ms", limit=2), True), (Target("base", "p99_ms", limit=1.9), False),
                            (Target(EVERY_CASE, "p99_ms", than="kafka", times=4), True)):
            said, = results(target).verdicts("base", target.figure)
            self.assertEqual("missed" not in said, met, f"{target}: {said}")

    def test_targets_against_itself(self):
        for times, met in ((1 / 1.5, True), (0.7, False)):
            said, = results(Target("wide", "p99_ms", than=("millrace", "base"), times=times)).verdicts("wide", "p99_ms")
            self.assertEqual("missed" not in said, met, said)

    def test_a_server_that_did_not_run_has_no_verdict(self):
        self.assertEqual(results(Target("base", "sent_mb_s", than="kafka-flush", times=10)).verdicts("base", "sent_mb_s"), [])

    def test_parts_of_the_limits(self):
        self.assertEqual(results().spread("base", "millrace", "of_disk").median, 0.6)
        self.assertEqual(results().spread("base", "millrace", "of_loopback").most, 0.2)


class Reading(unittest.TestCase):
    """Reports, requests, words."""

    def test_a_server_that_falls_behind_its_schedule_is_told(self):
        whole = {"length_s": 10, "traffic": {"records_sent": 900}, "errors": {}, "errors_in_warm_up": 0, "health": {}, "server": None}
        for rate, told in ((None, 0), (90, 0), (92, 0), (100, 1)):
            self.assertEqual(len(figures.remarks({"rate": rate, "whole": whole})), told)

    def test_figures_of_a_report(self):
        server = {"used": {"cpu_user_s": 1, "cpu_system_s": 2, "switches_voluntary": 50, "switches_involuntary": 10}, "seen_s": 10,
                  "bytes_moved": 6_000_000_000}
        found = figures.read({"whole": {"length_s": 10, "server": server, "latencies": {"produce": {"p50": 500, "p99": 2000, "p999": 3000}},
                                        "traffic": {"bytes_sent": 4_000_000_000, "records_sent": 4_000_000, "bytes_received": 0}}})
        self.assertEqual(found, {"sent_mb_s": 400, "sent_k_s": 400, "p50_ms": 0.5, "p99_ms": 2, "p999_ms": 3, "cpu_cores": 0.3, "cpu_s_per_gb": 0.5, "switches_per_gb": 10})

    def test_figures_of_share_groups(self):
        server = {"used": {"cpu_user_s": 1, "cpu_system_s": 3, "switches_voluntary": 0, "switches_involuntary": 0}, "seen_s": 10, "bytes_moved": 0}
        shares = {"acquired": 21_000, "redelivered": 1_000, "accepted": 18_000, "released": 1_000, "rejected": 1_000}
        found = figures.read({"whole": {"length_s": 10, "server": server, "latencies": {"acknowledge": {"p50": 500, "p99": 2000, "p999": 3000}},
                                        "traffic": {"bytes_sent": 0, "records_sent": 0, "bytes_received": 0, "shares": shares}}})
        self.assertEqual(found, {"ack_p50_ms": 0.5, "ack_p99_ms": 2, "ack_p999_ms": 3, "acknowledged_k_s": 2, "acknowledged_k_per_cpu_s": 5,
                                 "cpu_cores": 0.4})

    def test_only_partitions_with_a_leader_count(self):
        text = lambda word: struct.pack(">h", len(word)) + word  # noqa: E731
        part = lambda error, index, leader: struct.pack(">hiiiiii", error, index, leader, 1, 1, 1, 1)  # noqa: E731
        metadata = (struct.pack(">iii", 0, 1, 1) + text(b"localhost") + struct.pack(">ih", 9092, -1) + text(b"cluster")
                    + struct.pack(">iih", 1, 1, 0) + text(b"t") + b"\0" + struct.pack(">i", 3)
                    + part(0, 0, 1) + part(5, 1, -1) + part(0, 2, 1))
        with socket.create_server(("127.0.0.1", 0)) as listener:

            def answer():
                connection, _ = listener.accept()
                with connection:
                    for body in (struct.pack(">hi", 0, 0), metadata):
                        length, = struct.unpack(">i", connection.recv(4, socket.MSG_WAITALL))
                        connection.recv(length, socket.MSG_WAITALL)
                        connection.sendall(struct.pack(">ii", len(body) + 4, 1) + body)

            answering = threading.Thread(target=answer)
            answering.start()
            self.assertEqual(probe.leaders("127.0.0.1:%d" % listener.getsockname()[1], "t"), 2)
            answering.join()

    def test_results_name_no_directory(self):
        said = run.shown_command(["latency", "--out", "/somewhere/else", "--servers", "millrace,old=/a/b/millrace", "--rounds", "2"])
        self.assertEqual(said, "scripts/bench latency --servers millrace,old=... --rounds 2")

    def test_servers_by_name(self):
        self.assertEqual([server.name for server in servers.named("kafka-flush,millrace,old=/x")], ["kafka-flush", "millrace", "old"])
        for wrong in ("kafkaa", "millrace,millrace"):
            with self.assertRaises(ValueError):
                servers.named(wrong)


if __name__ == "__main__":
    unittest.main()
