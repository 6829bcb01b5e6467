"""What members of a share group were handed and said, held against what a share group promises. Pure."""

import struct
from bisect import bisect_left, bisect_right
from collections import Counter
from dataclasses import dataclass, field

ENTRY = struct.Struct(">BIqH")
"""Kind, partition, offset or time, delivery count. A worker writes `P` and the time when a poll brought something; `a`, `r` or `j` for each
record and what it will say of it (accept, release, reject), or `X` when its value is another record's; `S` when it slept through its locks;
`T` and the time before it says all that; then `O` or `F` for each partition, as the broker agreed or refused."""

SECOND_NS = 1_000_000_000
UPHEAVAL_NS = 15 * SECOND_NS
"""For so long after a kill records may have been handed out and seen by nobody: to the killed one, or to one whose partitions changed, when
the killed member was missed or its successor came, and which had prefetched some."""


@dataclass
class Poll:
    """What one poll of a worker brought, and how it ended."""

    worker: int
    at: int
    told_at: int | None = None
    slept: bool = False
    answers: dict[int, str] = field(default_factory=dict)
    """By partition: `O` or `F`. None of a partition: the worker was killed before it heard."""


Delivery = tuple[Poll, int, str]
"""The poll that brought a record, its delivery count, and what was to be said of it."""

ENDING = "aj"


@dataclass
class Ledger:
    """Everything that was handed out."""

    ends: dict[int, int]
    """Records by partition: their offsets are 0, 1, ..."""
    lock_ns: int
    limit: int
    """Of deliveries of one record."""
    kills: list[int] = field(default_factory=list)
    """When workers were killed, ascending."""
    deliveries: dict[tuple[int, int], list[Delivery]] = field(default_factory=dict)
    polls: list[Poll] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def read(self, worker: int, log: bytes) -> None:
        """Books what a worker wrote down. Its last entry may be cut."""
        poll = Poll(worker, 0)
        for kind, partition, number, count in ENTRY.iter_unpack(log[:len(log) // ENTRY.size * ENTRY.size]):
            match chr(kind):
                case "P":
                    poll = Poll(worker, number)
                    self.polls.append(poll)
                case "S":
                    poll.slept = True
                case "T":
                    poll.told_at = number
                case "O" | "F" as answer:
                    poll.answers[partition] = answer
                case "a" | "r" | "j" as verdict:
                    self.deliveries.setdefault((partition, number), []).append((poll, count, verdict))
                case other:
                    self.complaints.append(f"WRONG: entry {other!r} of worker {worker}: {partition}:{number} had another record's value")

    def violations(self) -> list[str]:
        """Everything that is wrong, each beginning with the word of its kind."""
        found = list(self.complaints)
        for poll in self.polls:
            found += self._answered(poll)
        for partition, end in self.ends.items():
            for offset in range(end):
                deliveries = self.deliveries.get((partition, offset))
                if not deliveries:
                    found.append(f"LOST: {partition}:{offset} was handed to nobody")
                    continue
                deliveries.sort(key=lambda one: one[0].at)
                found += self._ended(partition, offset, deliveries)
                found += self._counted(partition, offset, deliveries)
        strange = [place for place in self.deliveries if place[1] >= self.ends.get(place[0], 0)]
        return found + [f"STRANGE: {partition}:{offset} was handed out and never sent" for partition, offset in strange]

    def _answered(self, poll: Poll) -> list[str]:
        """A broker refuses what is said of records whose locks ended, and nothing else."""
        held_ns = (poll.told_at or 0) - poll.at
        return [f"REFUSED: worker {poll.worker} was refused about partition {partition} {held_ns / SECOND_NS:.1f} s after it got its records"
                for partition, answer in poll.answers.items() if answer == "F" and not poll.slept and held_ns < self.lock_ns // 2]

    def _ended(self, partition: int, offset: int, deliveries: list[Delivery]) -> list[str]:
        """Somebody accepted or rejected it, or was killed when he perhaps had; or it was handed out as often as it may be."""
        for poll, _, verdict in deliveries:
            if verdict in ENDING and poll.told_at and not poll.slept and poll.answers.get(partition) != "F":
                return []
        if deliveries[-1][1] >= self.limit:
            return []
        return [f"LEFT: {partition}:{offset} was neither accepted nor rejected: {self._story(partition, deliveries)}"]

    def _counted(self, partition: int, offset: int, deliveries: list[Delivery]) -> list[str]:
        """Delivery counts follow from what became of the deliveries before."""
        found = []
        poll, count, _ = deliveries[0]
        if not 1 <= count <= 1 + self._upheavals(0, poll.at):
            found.append(f"COUNT: {partition}:{offset} came first with count {count}")
        for before, after in zip(deliveries, deliveries[1:]):
            least, what = self._least(partition, before)
            if least is None:
                found.append(f"AGAIN: {partition}:{offset}: {self._story(partition, deliveries)}")
            elif not least <= after[1] <= before[1] + 1 + self._upheavals(before[0].at, after[0].at):
                found.append(f"COUNT: {partition}:{offset} came with count {after[1]} after {before[1]} that was {what}")
            elif self._at_once(before[0], after[0]):
                found.append(f"AT ONCE: {partition}:{offset} was two members': {self._story(partition, deliveries)}")
        return found

    @staticmethod
    def _least(partition: int, delivery: Delivery) -> tuple[int | None, str]:
        """The least count that may follow, or none if nothing may; and what the delivery was."""
        poll, count, verdict = delivery
        answer = poll.answers.get(partition)
        # A broker agrees to whatever is said of records that others have finished meanwhile, as all before them are finished, too.
        if poll.slept:
            return count + 1, "slept through"
        if answer == "O" and verdict in ENDING:
            return None, "ended"
        # A member that goes or is killed gives back what it had with the count that it has: that delivery was one.
        return count + 1, "released" if answer == "O" else "a killed member's"

    def _at_once(self, before: Poll, after: Poll) -> bool:
        """Whether a record went to another member while its lock held, and nothing was said of it."""
        until = before.told_at if before.told_at is not None else before.at + self.lock_ns
        # A worker may live for a moment after its kill was decided.
        killed = not before.answers and self._kills(before.at - SECOND_NS, after.at)
        return after.at < until and after.at - before.at < self.lock_ns * 3 // 4 and not killed

    def _kills(self, since: int, until: int) -> int:
        return bisect_right(self.kills, until) - bisect_left(self.kills, since)

    def _upheavals(self, since: int, until: int) -> int:
        return self._kills(since - UPHEAVAL_NS, until)

    @staticmethod
    def _story(partition: int, deliveries: list[Delivery]) -> str:
        return "; ".join(f"worker {poll.worker} at {poll.at / SECOND_NS:.3f} s, count {count}, {verdict}, answer {poll.answers.get(partition)}"
                         + (", slept" if poll.slept else "") for poll, count, verdict in deliveries)

    def summary(self) -> str:
        """What the run was, in figures."""
        every = [one for of_record in self.deliveries.values() for one in of_record]
        verdicts = Counter(verdict for _, _, verdict in every)
        again = [len(one) for one in self.deliveries.values() if len(one) > 1]
        counts = ", ".join(f"{count}: {number}" for count, number in sorted(Counter(count for _, count, _ in every).items()))
        exact = sum(1 for of_record in self.deliveries.values() for before, after in zip(of_record, of_record[1:])
                    if not self._upheavals(before[0].at, after[0].at))
        return (f"{sum(self.ends.values())} records, {len(every)} deliveries ({verdicts['a']} accepted, {verdicts['r']} released, {verdicts['j']} "
                f"rejected), {len(again)} records more than once, {exact} of these repetitions far from a kill, {len(self.kills)} kills, "
                f"{sum(poll.slept for poll in self.polls)} locks slept through; deliveries by count: {counts}")
