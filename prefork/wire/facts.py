"""Facts: what the master knows of the service, on a page that other processes can read.

The master writes it whole, the reader finds by a checksum whether it has read it whole: neither
ever waits for the other.
"""

from __future__ import annotations

import struct
import zlib

import msgspec

FACTS_SIZE = 1 << 18

_HEAD = struct.Struct("II")  # size, checksum
_LOOKS = 100


class WorkerFacts(msgspec.Struct, frozen=True, array_like=True):
    """A worker, or a mold, whose slot is 0: which row of the board is its own, and the phase of its
    life."""

    slot: int
    generation: int
    pid: int
    row: int
    phase: str


class Counts(msgspec.Struct):
    """What has happened since the service began, upgrades or not: exits of workers by reason,
    reloads by outcome, loans recalled."""

    exits: dict[str, int] = {}
    reloads: dict[str, int] = {}
    recalls: int = 0


class Facts(msgspec.Struct, frozen=True):
    """The service at a time, in monotonic seconds.

    `ready` says whether somebody serves, and goes on to; `wanted` how many slots there are to be.
    Connections are by who has them, `backlog` by listener: those that wait to be accepted.
    """

    at: float
    ready: bool
    generation: int
    wanted: int
    workers: list[WorkerFacts]
    connections: dict[str, int]
    backlog: dict[str, int]
    counts: Counts


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Facts).decode


class Page:
    """Where they stand.

    Args:
        memory: `FACTS_SIZE` bytes.
    """

    def __init__(self, memory: memoryview) -> None:
        self._memory = memory

    def write(self, facts: Facts) -> None:
        """Write them, in the place of those before."""
        data = _encode(facts)
        end = _HEAD.size + len(data)
        assert end <= FACTS_SIZE
        _HEAD.pack_into(self._memory, 0, len(data), zlib.crc32(data))
        self._memory[_HEAD.size : end] = data

    def read(self) -> Facts | None:
        """The latest; None if there are none yet."""
        for _ in range(_LOOKS):
            size, checksum = _HEAD.unpack_from(self._memory)
            data = bytes(self._memory[_HEAD.size : _HEAD.size + size])
            if size and zlib.crc32(data) == checksum:
                return _decode(data)
        return None
