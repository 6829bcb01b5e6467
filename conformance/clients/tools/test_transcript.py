"""Transcripts are read and written as they say; what no two runs share is taken out of what tools say."""

import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from clients.tools.said import cleaned, filtered  # noqa: E402
from clients.tools.transcript import Deed, File, Said, Step, Transcript  # noqa: E402

TEXT = """# About orders.

+ plan.json
{"version": 1}

% records orders 0 3

$ kafka-console-producer @ \\
  --topic orders
< one
<  two
  >>

~ kafka-topics @ --list
| grep ^o
| sort
  orders
  {*} lines
= 1
! millrace: It has none.
  nothing
"""


def read(text: str) -> Transcript:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "one.txt"
        path.write_text(text)
        return Transcript(path)


class Transcripts(unittest.TestCase):
    def test_a_file_is_read_and_written_alike(self):
        self.assertEqual(read(TEXT).text(), TEXT)

    def test_what_is_to_be_done(self):
        file, deed, typed, listed = read(TEXT).todo()
        self.assertEqual(file, File("plan.json", '{"version": 1}\n'))
        self.assertEqual(deed, Deed(["records", "orders", "0", "3"]))
        self.assertEqual((typed.command, typed.standard_input, typed.repeated),
                         ("kafka-console-producer @ --topic orders", "one\n two\n", False))
        self.assertEqual((listed.repeated, listed.filters), (True, ["grep ^o", "sort"]))

    def test_each_target_has_what_it_must_say(self):
        listed = read(TEXT).todo()[-1]
        self.assertIsInstance(listed, Step)
        self.assertEqual(listed.wanted("kafka"), Said(["orders", "{*} lines"], 1))
        self.assertEqual(listed.wanted("millrace"), Said(["nothing"], 0))

    def test_anything_stands_for_anything_and_the_rest_for_itself(self):
        wanted = Said(["(a) {*} lines"], 1)
        self.assertTrue(wanted.holds(Said(["(a) 17 lines"], 1)))
        for other in (Said(["(b) 17 lines"], 1), Said(["(a) 17 lines"], 0), Said([], 1), Said(["(a) 1 lines", ""], 1)):
            self.assertFalse(wanted.holds(other))

    def test_a_stray_line_is_refused(self):
        with self.assertRaises(ValueError):
            read("kafka-topics --list\n").todo()


class Saying(unittest.TestCase):
    def test_what_no_two_runs_share_is_named(self):
        text = ("[2026-11-22 10:11:12,345] ERROR at 127.0.0.1:9\n\tat org.apache.Kafka.main(Kafka.java:1)\n\n"
                "Topic: a\tTopicId: cAOvcH1FRsmO8gQ5q6iuRg\n1577836800000 1000000000000   c-01234567-89ab-cdef-0123-456789abcdef\n")
        self.assertEqual(cleaned(text, {"127.0.0.1:9": "{server}"}),
                         ["{now} ERROR at {server}", "Topic: a TopicId: {id}", "{ms} 1000000000000 c-{uuid}"])

    def test_the_help_is_only_said_to_be_there(self):
        self.assertEqual(cleaned("Missing\nOption (* = required)      Description\n-------\n--list  All\n", {}), ["Missing", "{help}"])
        self.assertEqual(cleaned("usage: kafka-cluster [-h]\n      {a,b}\nkafka-cluster: error: too few\n", {}),
                         ["{help}", "kafka-cluster: error: too few"])

    def test_filters_follow_each_other(self):
        lines = ["b 2", "a 1", "c 3"]
        self.assertEqual(filtered(lines, ['grep "[ab]"', "sort", r'sed "\d" n']), ["a n", "b n"])
        self.assertEqual(filtered(['{"name": "x", "at": 7}', "not JSON"], ["keys name"]), ['{"name": "x"}'])
        self.assertEqual(filtered(["x", "x"], ["unique", "count"]), ["1 lines"])


if __name__ == "__main__":
    unittest.main()
