"""Recall: how the master takes idle loans back from a worker that can't answer. Pure.

1. The worker holds its gate, except while it is in the app. Then it touches no loan but the one
   whose request it executes, which is `BUSY` or `RESPONDING` on the board.
2. The master tries the gate, and never waits for it. Holding it, it may mark loans that are
   `UNREAD` or `IDLE` as `RECALLED`, and sets the flag in the worker's row; then it lets go. From
   then on those connections are its own.
3. Back from the app the worker takes the gate, and if the flag is set, drops what is marked before
   anything else: watchers first, as events may be pending, then its copies of the sockets, without
   a word to the clients. It reports their ids as `Released`.
4. A loan may be marked before the worker has received it: on receipt the worker drops it the same
   way. So an id is used again only after `Released`, or when the worker is dead.
5. What a worker is done with, it marks (`CLOSED`, `ENDED`, `RETURNED`) while it holds the gate, and
   reports after. So it never reports the end of a loan that was recalled.
"""

from __future__ import annotations

from collections.abc import Iterable

from prefork.wire.board import RECALLED, LoanState
from prefork.wire.gate import Gate

_RECALLED = int(LoanState.RECALLED)
_AT_REST = frozenset({int(LoanState.UNREAD), int(LoanState.IDLE)})


def take_back(
    gate: Gate, flags: memoryview, states: memoryview, loans: Iterable[int], most: int
) -> list[int] | None:
    """The master's half: take back what is idle of these loans.

    Args:
        gate, flags: the worker's.
        states: of all loans, by id.
        loans: those of the worker.
        most: take back no more than these, so as to be done soon.

    Returns:
        The loans that are recalled now; None if the worker holds its gate.
    """
    if not gate.try_take(False):
        return None
    taken: list[int] = []
    for loan in loans:
        if len(taken) == most:
            break
        if states[loan] in _AT_REST:
            states[loan] = _RECALLED
            taken.append(loan)
    if taken:
        flags[RECALLED] = 1
    gate.let_go()
    return taken


def to_drop(flags: memoryview, states: memoryview, held: Iterable[int]) -> list[int]:
    """The worker's half: which of the loans that it holds it has to drop.

    To be called by who holds the gate.
    """
    flags[RECALLED] = 0
    return [loan for loan in held if states[loan] == _RECALLED]


def is_recalled(states: memoryview, loan: int) -> bool:
    """The worker's half: whether a loan that it has just received is to be dropped."""
    return states[loan] == _RECALLED
