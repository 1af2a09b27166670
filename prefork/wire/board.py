"""The board: shared memory in which workers write what the master must be able to read of them
while they are stuck, or after they have died.

    +-------------------------------+------------------------------------------+
    | ROWS rows of ROW_SIZE bytes   | LOANS bytes                              |
    | one per living worker: facts  | the state of each loan, by the loan's id |
    +-------------------------------+------------------------------------------+
    | ROWS + 1 tallies              | FACTS_SIZE bytes                         |
    | one per row, and the totals   | what the master knows: see `facts`       |
    +-------------------------------+------------------------------------------+

Each field has one writer at a time: a loan's byte belongs to whoever holds the worker's gate (see
`recall`), a row's counter, heartbeat, `BUSY` and tally to its worker, the other flags, the totals
and the facts to the master.
`WANTED` is set by the master and cleared by the worker, without a lock: one that gets lost does no
harm.
Of the memory only the pages that were touched exist.
"""

from __future__ import annotations

import mmap
import os
from enum import IntEnum

from prefork.wire.facts import FACTS_SIZE, Page
from prefork.wire.tally import TALLY_SIZE, Tally

ROWS = 1024
ROW_SIZE = 64
LOANS = 1 << 20

_TALLIES = ROWS * ROW_SIZE + LOANS
_FACTS = _TALLIES + (ROWS + 1) * TALLY_SIZE
_SIZE = _FACTS + FACTS_SIZE
_COUNTERS = slice(0, 8)
_FLAGS = slice(8, 16)
_HEARTBEAT = slice(16, 24)

# The flags of a row: indexes of `Row.flags`, plain numbers, as some are looked up for each request.
RETIRING = 0  # the worker is to turn keep-alive off: it is seen even from within a request
BUSY = 1  # the worker can't begin another request now
RECALLED = 2  # the master has taken loans back that the worker does not know of yet
WANTED = 3  # the worker is to say `Room` when it can begin a request again
ALONE = 4  # there is no other worker to give connections to
UNREADY = 5  # the service is about to stop: readiness answers 503
COUNTED = 6  # somebody wants to know how long requests take


class LoanState(IntEnum):
    """How far a worker has come with a loan; what the master does with it if the worker dies."""

    UNREAD = 0  # lent, nothing read yet
    IDLE = 1  # between two requests, not a byte of a next one held
    BUSY = 2  # a request is being read or executed, no byte of a response is out
    RESPONDING = 3  # a part of a response may be out
    CLOSED = 4  # the last response is out, to a client that may be sending yet
    ENDED = 5  # nothing is under way any more, in either direction
    RECALLED = 6  # the master has taken it back: the worker drops what it has of it
    RETURNED = 7  # the worker has given it back, which the master may not have read yet


class Row:
    """A worker's row.

    `counters` has the number of requests that the worker has begun as its only element,
    `heartbeat` the monotonic seconds at which its loop last ran; `flags` are indexed by the
    constants above.
    """

    def __init__(self, memory: memoryview, number: int) -> None:
        self._bytes = memory[number * ROW_SIZE : (number + 1) * ROW_SIZE]
        self.number = number
        self.counters = self._bytes[_COUNTERS].cast("Q")
        self.flags = self._bytes[_FLAGS]
        self.heartbeat = self._bytes[_HEARTBEAT].cast("d")
        self.tally = _tally(memory, number)

    def clear(self) -> None:
        """Make it as new, for a worker that is about to be forked."""
        self._bytes[:] = bytes(ROW_SIZE)


class Board:
    """The shared page: rows of workers and states of loans.

    `fd` is that of its memory, a memfd. The mapping closes it when it is freed at the end of the
    process, and not before: so nobody who has a board may close it, or something else that has got
    its number meanwhile would be closed then.

    Args:
        fd: of a board that is there already; by default there is a new one.
    """

    def __init__(self, fd: int | None = None) -> None:
        memory, self.fd = _mapped(_new_memory() if fd is None else fd)
        self._memory = memoryview(memory)
        # Indexed by loan id; holds `LoanState` values.
        self.loans = self._memory[ROWS * ROW_SIZE : _TALLIES]
        # Of the workers that are no more.
        self.totals = _tally(self._memory, ROWS)
        self.facts = Page(self._memory[_FACTS:])

    def row(self, number: int) -> Row:
        """The row with this number, below `ROWS`."""
        assert 0 <= number < ROWS
        return Row(self._memory, number)

    def bury(self, row: Row) -> None:
        """Its worker is no more: what it has counted goes to the totals."""
        with self.totals.folding():
            self.totals.fold(row.tally)
            row.clear()


def _tally(memory: memoryview, number: int) -> Tally:
    start = _TALLIES + number * TALLY_SIZE
    return Tally(memory[start : start + TALLY_SIZE])


def _new_memory() -> int:
    fd = os.memfd_create("prefork-board", os.MFD_CLOEXEC)
    os.ftruncate(fd, _SIZE)
    return fd


def _mapped(fd: int) -> tuple[mmap.mmap, int]:
    """Map a memfd, which is closed: the mapping, and the fd that it has instead.

    It duplicates the fd, and does not tell which one it has got. As a new fd always is the lowest
    one that is free, it is the one that a duplicate of our own has got just before.
    """
    duplicate = os.dup(fd)
    os.close(duplicate)
    memory = mmap.mmap(fd, _SIZE)
    assert os.path.sameopenfile(fd, duplicate)
    os.close(fd)
    return memory, duplicate
