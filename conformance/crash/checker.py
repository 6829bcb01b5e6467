"""Holds a log against the ledger: nothing lost, repeated, reordered, altered or moved. Pure."""

import copy
import random
from collections.abc import Callable

from .ledger import NOT_ACKNOWLEDGED, Identity, Ledger

Log = dict[int, list[tuple[int, Identity | None]]]
"""What was read: per partition (offset, identity) in order; the identity is None when a value is damaged."""

Seen = list[tuple[int, int, Identity | None]]
"""What a consumer at the tail was shown before: (partition, offset, identity)."""

Places = dict[Identity, tuple[int, ...]]
"""The offsets of each record: one, but for what a plain producer sent again."""


def violations(ledger: Ledger, log: Log, seen: Seen) -> list[str]:
    """Everything that is wrong, each beginning with the word of its kind. Empty: the promise was kept."""
    found: list[str] = []
    places: Places = {}
    for partition, records in log.items():
        found += _order(partition, records, ledger, places)
    found += _acknowledged(ledger, places)
    for partition, offset, identity in seen:
        if identity is None:
            found.append(f"DAMAGED: the tail consumer read a damaged value at {partition}:{offset}")
        elif offset not in places.get(identity, ()):
            found.append(f"VANISHED: {identity} was read at offset {offset}, now it is at {places.get(identity)}")
    return found


def _order(partition: int, records: list, ledger: Ledger, places: Places) -> list[str]:
    """Checks one partition from front to back and notes the place of each record."""
    found = []
    newest: dict[int, int] = {}
    for index, (offset, identity) in enumerate(records):
        if offset != index:
            found.append(f"GAP: record {index} of partition {partition} has offset {offset}")
            records = records[:index]
            break
    for offset, identity in records:
        if identity is None:
            found.append(f"DAMAGED: value at {partition}:{offset}")
            continue
        sent = len(ledger.offsets.get((identity.client, identity.partition), ()))
        if identity.partition != partition or identity.sequence >= sent:
            found.append(f"STRANGE: {identity} at {partition}:{offset}, {sent} were sent")
            continue
        if identity in places:
            if identity.client not in ledger.plain:
                found.append(f"REPEATED: {identity} at {partition}:{places[identity][0]} and {offset}")
            places[identity] += (offset,)
            continue
        places[identity] = (offset,)
        if identity.sequence < newest.get(identity.client, -1):
            found.append(f"REORDERED: {identity} at {partition}:{offset} comes after {newest[identity.client]}")
        newest[identity.client] = max(newest.get(identity.client, -1), identity.sequence)
    return found


def _acknowledged(ledger: Ledger, places: Places) -> list[str]:
    found = []
    for (client, partition), booked in ledger.offsets.items():
        for sequence, answered in enumerate(booked):
            if answered == NOT_ACKNOWLEDGED:
                continue
            identity = Identity(client, partition, sequence)
            found_at = places.get(identity)
            if found_at is None:
                found.append(f"LOST: {identity}, acknowledged at offset {answered}")
            elif answered >= 0 and answered not in found_at:
                found.append(f"MOVED: {identity} was acknowledged at offset {answered} and is at {found_at}")
    return found


# --- proof that it can fail -------------------------------------------------------------------------------------


def self_test(ledger: Ledger, log: Log, seen: Seen, seed: int) -> list[str]:
    """Tampers with copies of a good log in every way it must notice; returns the tamperings that it missed."""
    missed = []
    for name, (kind, tamper) in TAMPERINGS.items():
        tampered_log, tampered_seen = copy.deepcopy(log), list(seen)
        tamper(random.Random(f"{seed} {name}"), tampered_log, tampered_seen)
        if not any(line.startswith(kind) for line in violations(ledger, tampered_log, tampered_seen)):
            missed.append(f"{name}: no {kind} was reported")
    return missed


def _renumbered(records: list, start: int) -> None:
    records[start:] = [(start + n, identity) for n, (_, identity) in enumerate(records[start:])]


def _partition(chance: random.Random, log: Log) -> list:
    return chance.choice([records for records in log.values() if len(records) >= 4])


def _cut_tail(chance: random.Random, log: Log, _: Seen) -> None:
    _partition(chance, log).pop()


def _remove_one(chance: random.Random, log: Log, _: Seen) -> None:
    records = _partition(chance, log)
    at = chance.randrange(len(records) - 1)
    del records[at]
    _renumbered(records, at)


def _leave_a_gap(chance: random.Random, log: Log, _: Seen) -> None:
    records = _partition(chance, log)
    del records[chance.randrange(len(records) - 1)]


def _repeat_one_each(chance: random.Random, log: Log, _: Seen) -> None:
    records = _partition(chance, log)
    newest = {identity.client: identity for _, identity in records}
    for identity in newest.values():  # of each client: a plain one may repeat
        records.append((len(records), identity))


def _swap_two(chance: random.Random, log: Log, _: Seen) -> None:
    candidates = []
    for records in log.values():
        last: dict[int, int] = {}
        for at, (_, identity) in enumerate(records):
            if identity.client in last:
                candidates.append((records, last[identity.client], at))
            last[identity.client] = at
    records, one, other = chance.choice(candidates)
    records[one], records[other] = (one, records[other][1]), (other, records[one][1])


def _damage_one(chance: random.Random, log: Log, _: Seen) -> None:
    records = _partition(chance, log)
    at = chance.randrange(len(records))
    records[at] = (at, None)


def _invent_one(chance: random.Random, log: Log, _: Seen) -> None:
    records = _partition(chance, log)
    newest = records[-1][1]
    records.append((len(records), Identity(newest.client, newest.partition, 1 << 40)))


def _other_partition(chance: random.Random, log: Log, _: Seen) -> None:
    source, target = chance.sample(sorted(partition for partition, records in log.items() if records), 2)
    log[target].append((len(log[target]), log[source].pop()[1]))


def _move_what_was_seen(chance: random.Random, log: Log, seen: Seen) -> None:
    partition = chance.choice([partition for partition, records in log.items() if records])
    offset, identity = log[partition][-1]
    seen.append((partition, offset + 1, identity))


TAMPERINGS: dict[str, tuple[str, Callable[[random.Random, Log, Seen], None]]] = {
    "cut the last record off": ("LOST", _cut_tail),
    "remove a record and close the gap": ("LOST", _remove_one),
    "remove a record and leave the gap": ("GAP", _leave_a_gap),
    "shift what follows a removed record": ("MOVED", _remove_one),
    "repeat a record of each client at the end": ("REPEATED", _repeat_one_each),
    "swap two records of one client": ("REORDERED", _swap_two),
    "damage a value": ("DAMAGED", _damage_one),
    "invent a record": ("STRANGE", _invent_one),
    "put a record into another partition": ("STRANGE", _other_partition),
    "show a consumer what is no longer there": ("VANISHED", _move_what_was_seen),
}
