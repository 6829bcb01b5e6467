"""The ledger of share groups notices what it should, and nothing else."""

import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from shares.ledger import ENTRY, SECOND_NS, UPHEAVAL_NS, Ledger  # noqa: E402

LATE = 100 * SECOND_NS


def log(*entries: tuple) -> bytes:
    """A worker's log: `(kind, partition, offset or time, count)`, the last ones 0 if they are left out."""
    return b"".join(ENTRY.pack(ord(kind), *([*rest, 0, 0, 0][:3])) for kind, *rest in entries)


def poll(at: int, *records: tuple[str, int, int], answer: str | None = "O", slept: bool = False) -> list[tuple]:
    """A poll that brought these records of partition 0, as (verdict, offset, count)."""
    told = at + (5 * SECOND_NS if slept else SECOND_NS // 10)
    entries = [("P", 0, at), *((verdict, 0, offset, count) for verdict, offset, count in records)]
    entries += [("S", 0, told)] if slept else []
    return [*entries, ("T", 0, told), *([(answer, 0, told)] if answer else [])]


def judged(*workers: list[tuple], records: int = 1, kills: tuple[int, ...] = ()) -> list[str]:
    """The kinds of what is wrong."""
    ledger = Ledger({0: records}, 4 * SECOND_NS, 5, list(kills))
    for number, entries in enumerate(workers):
        ledger.read(number, log(*entries))
    ledger.summary()
    return [line.split(":")[0] for line in ledger.violations()]


class Judging(unittest.TestCase):
    def test_good_runs(self):
        self.assertEqual(judged(poll(LATE, ("a", 0, 1))), [])
        self.assertEqual(judged(poll(LATE, ("r", 0, 1)) + poll(LATE + SECOND_NS, ("j", 0, 2))), [])
        self.assertEqual(judged(poll(LATE, ("a", 0, 1), answer="F", slept=True), poll(LATE + 4 * SECOND_NS, ("a", 0, 2))), [])
        self.assertEqual(judged([entry for at in range(5) for entry in poll(LATE + at * SECOND_NS, ("r", 0, at + 1))]), [])

    def test_a_kill_explains_what_was_not_seen(self):
        killed = poll(LATE, ("a", 0, 1), answer=None)
        for count in (2, 3):
            self.assertEqual(judged(killed, poll(LATE + SECOND_NS, ("a", 0, count)), kills=(LATE + SECOND_NS // 5,)), [])
        self.assertEqual(judged(killed, poll(LATE + SECOND_NS, ("a", 0, 1)), kills=(LATE + SECOND_NS // 5,)), ["COUNT"])
        self.assertEqual(judged(killed, kills=(LATE + SECOND_NS // 5,)), [])
        self.assertEqual(judged(poll(LATE, ("a", 0, 2)), kills=(LATE - SECOND_NS,)), [])
        self.assertEqual(judged(poll(3 * LATE, ("a", 0, 4)), kills=(LATE,)), ["COUNT"])

    def test_records_that_are_lost(self):
        self.assertEqual(judged(poll(LATE, ("a", 0, 1)), records=2), ["LOST"])
        self.assertEqual(judged(poll(LATE, ("r", 0, 1))), ["LEFT"])
        self.assertEqual(judged(poll(LATE, ("a", 0, 1), answer="F", slept=True)), ["LEFT"])
        self.assertEqual(judged([("P", 0, LATE), ("a", 0, 0, 1)]), ["LEFT"])

    def test_records_that_come_again(self):
        self.assertEqual(judged(poll(LATE, ("a", 0, 1)) + poll(LATE + SECOND_NS, ("a", 0, 2))), ["AGAIN"])
        self.assertEqual(judged(poll(LATE, ("j", 0, 1)) + poll(LATE + SECOND_NS, ("a", 0, 2))), ["AGAIN"])

    def test_counts(self):
        self.assertEqual(judged(poll(LATE, ("a", 0, 2))), ["COUNT"])
        for count in (1, 3):
            self.assertEqual(judged(poll(LATE, ("r", 0, 1)) + poll(LATE + SECOND_NS, ("a", 0, count))), ["COUNT"])
        self.assertEqual(judged(poll(LATE, ("a", 0, 2), answer=None), poll(LATE + SECOND_NS, ("a", 0, 1)), kills=(LATE - 1, LATE + 1)), ["COUNT"])

    def test_locks(self):
        self.assertEqual(judged(poll(LATE, ("a", 0, 1), answer="F") + poll(LATE + SECOND_NS, ("a", 0, 2))), ["REFUSED"])
        self.assertEqual(judged(poll(LATE, ("a", 0, 1), slept=True)), ["LEFT"])
        self.assertEqual(judged(poll(LATE, ("a", 0, 1), slept=True), poll(LATE + 4 * SECOND_NS, ("a", 0, 2))), [])
        sleeper = poll(LATE, ("a", 0, 1), answer="F", slept=True)
        self.assertEqual(judged(sleeper, poll(LATE + SECOND_NS, ("a", 0, 2))), ["AT ONCE"])

    def test_what_was_never_sent(self):
        self.assertEqual(judged(poll(LATE, ("a", 0, 1), ("a", 1, 1))), ["STRANGE"])
        self.assertEqual(judged(poll(LATE, ("X", 0, 1), ("a", 0, 1))), ["WRONG"])


if __name__ == "__main__":
    unittest.main()
