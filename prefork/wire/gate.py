"""The gate of a worker: a semaphore in shared memory that says who may touch its idle loans.

The worker holds its gate whenever it runs its loop. Only while it can't touch any loan but the one
whose request it executes does it let go of it, and then the master may have it for a moment: see
`recall`. A worker of a kind that never lets go of it is never recalled from.
"""

from __future__ import annotations

from collections.abc import Callable
from multiprocessing import get_context
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from multiprocessing.synchronize import Lock  # which can't be imported everywhere

# The master holds a gate for microseconds. After so many seconds, it may be dead.
_PATIENCE = 0.2


class Gate:
    """A semaphore that is held by one process, and let go of by that one.

    Args:
        lock: works across processes, and belongs to no thread.
    """

    def __init__(self, lock: Lock) -> None:
        # Without waiting: whether it is held now. (Methods of the semaphore itself: a worker calls
        # both for each request.)
        self.try_take: Callable[[bool], bool] = lock.acquire
        self.let_go: Callable[[], None] = lock.release
        self._lock = lock

    @classmethod
    def held(cls) -> Gate:
        """A new gate, held for a worker that is about to be forked.

        Raises:
            OSError, ImportError: there are no semaphores, as without /dev/shm: sem_overview(7).
        """
        # Of the fork context: nameless as soon as it exists, so no death leaves it behind.
        lock = get_context("fork").Lock()
        lock.acquire()
        return cls(lock)

    def hold(self) -> None:
        """Hold it for a worker that is about to be forked: nobody else has it."""
        # Whoever had it before may have died holding it.
        self.try_take(False)

    def take(self, alone: Callable[[], bool]) -> None:
        """Take it, waiting for as long as it takes.

        Args:
            alone: whether the other process is dead: then it may have died holding the gate,
                which nobody wants any more.
        """
        while not self._lock.acquire(timeout=_PATIENCE):
            if alone():
                return


class Gates:
    """The gates of the board's rows: made once, and used by one worker of the row after the other.

    A process has those that were made before it was forked.
    """

    def __init__(self) -> None:
        self._gates: list[Gate] = []

    def __len__(self) -> int:
        return len(self._gates)

    def extend(self, count: int) -> None:
        """Have gates for the first `count` rows.

        Raises:
            OSError, ImportError: there are no semaphores.
        """
        while len(self._gates) < count:
            self._gates.append(Gate.held())

    def get(self, row: int) -> Gate | None:
        """The gate of this row, if there is one."""
        return self._gates[row] if row < len(self._gates) else None
