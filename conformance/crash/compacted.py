"""A compacted topic of a crash run: each key keeps its last acknowledged record, whatever moment a pass is killed in."""

import copy
import random
from collections.abc import Callable

from confluent_kafka import Message

from . import load
from .ledger import NOT_ACKNOWLEDGED, OFFSET_UNKNOWN, Identity, Ledger, decode

TOPIC = "compacted"
TOPIC_CONFIG = {"cleanup.policy": "compact", "segment.bytes": str(1 << 20), "min.cleanable.dirty.ratio": "0.01"}
BROKER_CONFIG = {"log.cleaner.backoff.ms": "100"}
KIND = 1
"""Of the producers in load.py: idempotent, lz4."""
KEYS = 200
"""Of each client in each partition; a key is written by one client only, so that its last record is known."""

DAMAGED = Identity(-1, -1, -1)

Log = dict[int, list[tuple[int, bytes | None, Identity | None]]]
"""What was read: per partition (offset, key, whose value it is) in order; no value is a tombstone."""


def _key(identity: Identity) -> bytes:
    return b"%d-%d" % (identity.client, identity.sequence % KEYS)


def _is_tombstone(identity: Identity) -> bool:
    """Every key has one now and then, and not all of them at once."""
    return identity.sequence * 7919 % 11 == 0


def client(bootstrap: str, number: int, ledger: Ledger, seed: int) -> load.Client:
    """A producer whose records have keys, and are tombstones now and then."""
    return load.Client(bootstrap, TOPIC, number, KIND, ledger, seed, key=_key, empty=_is_tombstone)


def read(bootstrap: str) -> Log:
    """All of the topic."""

    def shown(message: Message) -> tuple[bytes | None, Identity | None]:
        value = message.value()
        return message.key(), None if value is None else decode(value) or DAMAGED

    found = load.read_log(bootstrap, TOPIC, shown)
    return {partition: [(offset, *record) for offset, record in records] for partition, records in found.items()}


def violations(ledger: Ledger, log: Log) -> list[str]:
    """Everything that is wrong with a log of which all that was sent is acknowledged. Pure."""
    found: list[str] = []
    newest: dict[tuple[int, bytes], int] = {}
    for partition, records in log.items():
        sent_at = {offset: Identity(client, partition, sequence)
                   for (client, at), offsets in ledger.offsets.items() if at == partition
                   for sequence, offset in enumerate(offsets) if offset >= 0}
        before = -1
        for offset, key, identity in records:
            place = f"{partition}:{offset}"
            if offset <= before:
                found.append(f"DISORDER: {place} is read after offset {before}")
            before = offset
            if identity == DAMAGED:
                found.append(f"DAMAGED: value at {place}")
                continue
            known = sent_at.get(offset)
            if known and (key != _key(known) or (identity != known if identity else not _is_tombstone(known))):
                found.append(f"MOVED: {known} was acknowledged at {place}, there is {identity or 'a tombstone'} with key {key!r}")
            elif identity and (key != _key(identity) or identity.partition != partition or _is_tombstone(identity)):
                found.append(f"STRANGE: {identity} at {place} with key {key!r}")
            elif (identity or known) and key is not None:
                sequence = (identity or known).sequence
                if sequence <= newest.get((partition, key), -1):
                    found.append(f"REORDERED: sequence {sequence} of key {key!r} at {place} comes after {newest[partition, key]}")
                newest[partition, key] = max(sequence, newest.get((partition, key), -1))
    return found + _lost(ledger, log, newest)


def _lost(ledger: Ledger, log: Log, newest: dict[tuple[int, bytes], int]) -> list[str]:
    """Keys whose last acknowledged record is gone."""
    found = []
    tombstones = {(partition, key) for partition, records in log.items() for _, key, identity in records if identity is None}
    for (client, partition), offsets in ledger.offsets.items():
        for sequence in range(max(0, len(offsets) - KEYS), len(offsets)):
            last = Identity(client, partition, sequence)
            # A client that was only told "a duplicate" does not know where its tombstone is: it is there at least.
            unknown = offsets[sequence] == OFFSET_UNKNOWN and _is_tombstone(last) and (partition, _key(last)) in tombstones
            if offsets[sequence] != NOT_ACKNOWLEDGED and newest.get((partition, _key(last)), -1) < sequence and not unknown:
                found.append(f"LOST: {last}, acknowledged at offset {offsets[sequence]} and the last of key {_key(last)!r}")
    return found


def kept_everything(ledger: Ledger, log: Log) -> bool:
    """Whether nothing was compacted away, though there was much to."""
    held = sum(len(records) for records in log.values())
    return held >= ledger.acknowledgements() > 20 * KEYS * load.PARTITIONS


def self_test(ledger: Ledger, log: Log, seed: int) -> list[str]:
    """Tamperings with copies of a good log that would be missed."""
    missed = []
    for kind, tamper in TAMPERINGS.items():
        tampered = copy.deepcopy(log)
        tamper(random.Random(f"{seed} {kind}"), tampered)
        if not any(line.startswith(kind) for line in violations(ledger, tampered)):
            missed.append(f"the compacted log: no {kind} was reported")
    return missed


def _lose(_: random.Random, log: Log) -> None:
    max(log.values(), key=len).pop()


def _move(_: random.Random, log: Log) -> None:
    records = max(log.values(), key=len)
    (one, *first), (other, *second) = records[-2:]
    records[-2:] = [(one, *second), (other, *first)]


def _damage(chance: random.Random, log: Log) -> None:
    records = max(log.values(), key=len)
    at = chance.randrange(len(records))
    records[at] = (*records[at][:2], DAMAGED)


def _turn_round(_: random.Random, log: Log) -> None:
    max(log.values(), key=len).reverse()


TAMPERINGS: dict[str, Callable[[random.Random, Log], None]] = {
    "LOST": _lose, "MOVED": _move, "DAMAGED": _damage, "DISORDER": _turn_round,
}
