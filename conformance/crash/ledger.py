"""What the clients of a crash run sent and what was acknowledged, and how a record says who it is."""

import random
import struct
from array import array
from dataclasses import dataclass, field

HEADER = struct.Struct(">IHQI")
"""Client, partition, sequence within both, whole length; big-endian."""

FILLER = random.Random(20240229).randbytes(1 << 20)
NOT_ACKNOWLEDGED = -2
OFFSET_UNKNOWN = -1
"""Acknowledged, but the client was only told that it is a duplicate."""


@dataclass(frozen=True, order=True)
class Identity:
    """One record: which client sent it, where to, and as its how-manieth there (from 0)."""

    client: int
    partition: int
    sequence: int


def encode(identity: Identity, length: int) -> bytes:
    """A value of `length` bytes, or of the header's length if that is more; every byte of it follows from its head."""
    length = max(length, HEADER.size)
    head = HEADER.pack(identity.client, identity.partition, identity.sequence, length)
    return head + _filler(identity, length - HEADER.size)


def decode(value: bytes | None) -> Identity | None:
    """Whose value this is; None when a byte of it is not as it was sent."""
    if value is None or len(value) < HEADER.size:
        return None
    client, partition, sequence, length = HEADER.unpack_from(value)
    identity = Identity(client, partition, sequence)
    if length != len(value) or value[HEADER.size:] != _filler(identity, length - HEADER.size):
        return None
    return identity


def _filler(identity: Identity, length: int) -> bytes:
    start = (identity.client * 7919 + identity.sequence * 104729) % (len(FILLER) // 2)
    return FILLER[start:start + length]


@dataclass
class Ledger:
    """Per client and partition: for each sequence sent, the offset it was acknowledged with."""

    offsets: dict[tuple[int, int], array] = field(default_factory=dict)
    plain: set[int] = field(default_factory=set)
    """Clients without idempotence: a record of theirs whose acknowledgement got lost may be there several times."""
    complaints: list[str] = field(default_factory=list)

    def sent(self, client: int, partition: int) -> Identity:
        """Books the next record of this client to this partition."""
        booked = self.offsets.setdefault((client, partition), array("q"))
        booked.append(NOT_ACKNOWLEDGED)
        return Identity(client, partition, len(booked) - 1)

    def unsent(self, identity: Identity) -> None:
        """Takes the newest booking back: the client did not take the record."""
        self.offsets[identity.client, identity.partition].pop()

    def acknowledged(self, identity: Identity, offset: int | None) -> None:
        """Books an acknowledgement."""
        known = offset is not None and offset >= 0
        self.offsets[identity.client, identity.partition][identity.sequence] = offset if known else OFFSET_UNKNOWN

    def acknowledgements(self) -> int:
        """How many records were acknowledged."""
        return sum(len(booked) - booked.count(NOT_ACKNOWLEDGED) for booked in self.offsets.values())
