"""The turnstile between a worker's loop and the app: out without the gate, back in with it."""

from __future__ import annotations

from collections.abc import Callable

from prefork.wire.board import BUSY, RECALLED, WANTED, Row
from prefork.wire.gate import Gate


class Turnstile:
    """What is done on the way into the app and on the way back.

    Args:
        row: the worker's.
        gate: the worker's, held; None where there are no semaphores.
        alone: whether the master is dead.
        obey: drops what was recalled; called with the gate held.
        room: tells the master that a request can be begun.
    """

    def __init__(
        self,
        row: Row,
        gate: Gate | None,
        alone: Callable[[], bool],
        obey: Callable[[], None],
        room: Callable[[], None],
    ) -> None:
        self._flags = row.flags
        self._gate = gate
        self._alone = alone
        self._obey = obey
        self._room = room

    def leave(self) -> None:
        """Into the app: the worker's other loans are out of its hands."""
        self._flags[BUSY] = 1
        if self._gate is not None:
            self._gate.let_go()

    def come_back(self) -> None:
        """Back from the app: first of all, drop what was recalled meanwhile."""
        flags = self._flags
        gate = self._gate
        if gate is not None and not gate.try_take(False):
            gate.take(self._alone)
        flags[BUSY] = 0
        if flags[RECALLED]:
            self._obey()
        if flags[WANTED]:
            flags[WANTED] = 0
            self._room()
