"""Births: how workers and molds come to be, forked by the master or by a mold.

A mold has imported the app, and forks workers on demand. It forks twice, so that each of them loses
its parent at once and becomes the master's child, like any other: prctl(2),
PR_SET_CHILD_SUBREAPER. Which process that is, it says itself.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from time import monotonic

from prefork import process
from prefork.master import handover
from prefork.master.fleet import Fleet
from prefork.master.forking import fork
from prefork.master.life import Worker
from prefork.master.link import Link, MoldLink, WorkerLink, taken_over
from prefork.master.poller import Poller
from prefork.master.reserve import Reserve
from prefork.settings import Settings, standstill_timeout
from prefork.wire import channel, messages
from prefork.wire.assignment import Assignment, Surroundings
from prefork.wire.board import ROWS, Row
from prefork.wire.channel import Channel, ChannelClosed
from prefork.wire.gate import Gate, Gates
from prefork.wire.identity import MOLD, WorkerId

# A mold's workers have the gates that it has seen: as many as there can be workers at a time when
# it is forked, those of a reload among them, and some that may be added.
_GATES_TO_SPARE = 8

_log = logging.getLogger("prefork.master")


@dataclass(frozen=True)
class _Ends:
    """What is made for a new process: the master's end of the channel and its own, the memfd for
    its stacks, and its row."""

    ours: socket.socket
    theirs: socket.socket
    stacks: int
    row: Row


class Births:
    """Forks workers and molds.

    Args:
        fleet: is told who was born.
        poller: will wait for their channels.
        surroundings: what they are given.
        disown: called in a forked child: closes what only the master may have.
    """

    def __init__(
        self,
        fleet: Fleet,
        poller: Poller,
        surroundings: Surroundings,
        disown: Callable[[], None],
    ) -> None:
        self._fleet = fleet
        self._poller = poller
        self._surroundings = surroundings
        self._disown = disown
        self._reserve = Reserve()
        self._free_rows = list(reversed(range(ROWS)))
        # Whether it has been said that there are no gates.
        self._gateless = False

    def fork_worker(self, slot: int, generation: int, settings: Settings) -> WorkerLink:
        """Fork a worker.

        Raises:
            OSError: there can't be another process.
            Forked: in the child, where this does not return.
        """
        with self._ends() as ends:
            self._make_gates(ends.row.number + 1)
            id = self._fork(slot, generation, settings, ends)
            return self._worker_link(id, settings, ends, self._gates.get(ends.row.number))

    def fork_mold(self, generation: int, settings: Settings) -> MoldLink:
        """Fork a mold.

        Raises:
            OSError, Forked: as above.
        """
        process.adopt_orphans()
        with self._ends() as ends:
            self._make_gates(2 * self._fleet.size + _GATES_TO_SPARE)
            id = self._fork(MOLD, generation, settings, ends)
            return MoldLink(
                worker=self._welcome(id, settings),
                channel=Channel(ends.ours, messages.decode_report),
                poller=self._poller,
                row=ends.row,
                stacks=ends.stacks,
                gates=len(self._gates),
            )

    def cast(self, mold: MoldLink, slot: int, settings: Settings) -> WorkerLink:
        """Have a mold fork a worker, which will say which process it is.

        Raises:
            OSError: the mold does not take the order.
        """
        with self._ends() as ends:
            row = ends.row.number
            gate = self._gates.get(row) if row < mold.gates else None
            _prepare(ends.row, gate)
            try:
                taken = mold.channel.offer(
                    messages.Cast(slot, row, gate is not None), [ends.theirs.fileno(), ends.stacks]
                )
            except ChannelClosed:
                taken = False
            if not taken:
                raise OSError(errno.EAGAIN, "the mold takes no orders")
            id = WorkerId(slot, mold.worker.id.generation, 0)
            return self._worker_link(id, settings, ends, gate)

    def take_over(self, state: handover.Link) -> Link:
        """A link that another master has handed over."""
        self._free_rows.remove(state.row)
        return taken_over(state, self._poller, self._surroundings.board)

    def bury(self, link: Link) -> None:
        """It is no more: let go of what it had."""
        self._free_rows.append(link.row.number)
        link.close()

    # The parts.

    @property
    def _gates(self) -> Gates:
        return self._surroundings.gates

    @contextlib.contextmanager
    def _ends(self) -> Iterator[_Ends]:
        """What a new process needs; let go of again if there will be none. In a forked child all of
        it is left as it is."""
        row = self._surroundings.board.row(self._free_rows.pop())
        try:
            with self._reserve.released():
                ends = _open(row)
        except OSError:
            self._free_rows.append(row.number)
            raise
        try:
            yield ends
        except OSError:
            ends.theirs.close()
            ends.ours.close()
            os.close(ends.stacks)
            self._free_rows.append(row.number)
            raise
        ends.theirs.close()

    def _fork(self, slot: int, generation: int, settings: Settings, ends: _Ends) -> WorkerId:
        gate = self._gates.get(ends.row.number) if slot != MOLD else None
        _prepare(ends.row, gate)
        pid = fork(
            ends.ours,
            self._disown,
            lambda: Assignment(
                id=WorkerId(slot, generation, os.getpid()),
                settings=settings,
                channel=Channel(ends.theirs, messages.decode_command),
                row=ends.row,
                gate=gate,
                stacks=ends.stacks,
                surroundings=self._surroundings,
            ),
        )
        return WorkerId(slot, generation, pid)

    def _worker_link(
        self, id: WorkerId, settings: Settings, ends: _Ends, gate: Gate | None
    ) -> WorkerLink:
        return WorkerLink(
            worker=self._welcome(id, settings),
            channel=Channel(ends.ours, messages.decode_report),
            poller=self._poller,
            row=ends.row,
            stacks=ends.stacks,
            timeout=standstill_timeout(settings),
            gate=gate,
        )

    def _welcome(self, id: WorkerId, settings: Settings) -> Worker:
        return self._fleet.spawned(id, settings.listen_timeout, settings.kill_timeout, monotonic())

    def _make_gates(self, count: int) -> None:
        try:
            self._gates.extend(count)
        except (ImportError, OSError):
            if not self._gateless:
                self._gateless = True
                _log.warning(
                    "no semaphores here (is there no /dev/shm?): connections stay behind long "
                    "requests"
                )


def _open(row: Row) -> _Ends:
    stacks = os.memfd_create("prefork-stacks", os.MFD_CLOEXEC)
    try:
        ours, theirs = channel.pair()
    except OSError:
        os.close(stacks)
        raise
    return _Ends(ours, theirs, stacks, row)


def _prepare(row: Row, gate: Gate | None) -> None:
    """Make what the one before has left as new."""
    row.clear()
    if gate is not None:
        gate.hold()
