"""Links: the master's ends of its workers, and of the molds that these are forked from."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from prefork import signals
from prefork.master import handover
from prefork.master.connection import Connection
from prefork.master.dispatch import Books
from prefork.master.life import Worker
from prefork.master.poller import READ, WRITE, Poller
from prefork.wire import messages
from prefork.wire.board import Board, Row
from prefork.wire.channel import MAX_FDS, Channel, ChannelClosed, MasterChannel
from prefork.wire.gate import Gate

_LONGEST_DUMP = 65536
# So many loans with what TLS has said go into one packet.
_MOST_SECURE = 6
_SIGNAL_NAMES = {each.value: each.name for each in signal.Signals}


@dataclass(eq=False, kw_only=True)
class Link:
    """A worker, or a mold, as the master deals with it: the channel, which `poller` waits for, its
    row of the board, and the memfd for its stacks.

    `leaving` says that it has asked to be replaced.
    `timeout` is the seconds that its loop may stand still. `stopped` says that the process was, as
    by SIGSTOP. `exit_due` is when one that has closed its end of the channel should be gone,
    math.inf as long as it has not. `trouble` is what is known of why it fails: the app's traceback,
    or stacks.
    """

    worker: Worker
    channel: MasterChannel
    poller: Poller
    row: Row
    stacks: int
    timeout: float = math.inf
    stopped: bool = False
    leaving: bool = False
    exit_due: float = math.inf
    trouble: str = ""

    def tell(self, command: messages.Command, fds: Sequence[int] = ()) -> None:
        """Send a command; if the worker is dead, its exit will be noticed."""
        if self.closed:
            return
        with contextlib.suppress(ChannelClosed):
            self.channel.send(command, fds)
            if self.channel.backlogged:
                self.poller.change(self.channel.fileno(), READ | WRITE)

    def flush(self) -> None:
        """Send what the worker had no room for before."""
        with contextlib.suppress(ChannelClosed):
            self.channel.flush()
            if not self.channel.backlogged:
                self.poller.change(self.channel.fileno(), READ)

    @property
    def closed(self) -> bool:
        """Whether the worker has closed its end of the channel."""
        return self.exit_due != math.inf

    @property
    def born(self) -> bool:
        """Whether its process is known: that of a worker which a mold forks is not, at first."""
        return self.worker.id.pid > 0

    def bear(self, pid: int) -> None:
        """It has said which process it is."""
        self.worker.id = replace(self.worker.id, pid=pid)

    def dump_stacks(self) -> None:
        """Have the worker write down the stacks of its threads, even from within C code."""
        if self.born:
            self._clear_stacks()  # of what has come too late the last time
            os.kill(self.worker.id.pid, signals.DUMP_STACKS)

    def take_stacks(self) -> str:
        """What `dump_stacks` has brought; empty if the worker could not, or is gone."""
        if self.stacks < 0:
            return ""
        stacks = os.pread(self.stacks, _LONGEST_DUMP, 0).decode("utf-8", "replace").strip()
        self._clear_stacks()
        return stacks

    def _clear_stacks(self) -> None:
        """The worker writes where the file stands that both have open."""
        os.ftruncate(self.stacks, 0)
        os.lseek(self.stacks, 0, os.SEEK_SET)

    def kill(self) -> None:
        """Kill the worker; its exit is still to be waited for."""
        assert self.born
        os.kill(self.worker.id.pid, signal.SIGKILL)

    def hand_over(self, books: Books[Connection] | None) -> handover.Link:
        """The link, with a worker's books, for another to go on with."""
        return handover.Link(
            worker=self.worker,
            books=books,
            channel=self.channel.fileno(),
            unsent=self.channel.unsent(),
            row=self.row.number,
            stacks=self.stacks,
            timeout=self.timeout,
            stopped=self.stopped,
            exit_due=self.exit_due,
        )

    def close(self) -> None:
        """Let go of everything."""
        self.channel.close()
        os.close(self.stacks)
        self.stacks = -1


@dataclass(eq=False, kw_only=True)
class WorkerLink(Link):
    """A worker, with its gate, and the loans that are to be sent at the end of the turn.

    `gate` is None where there are no semaphores, and after an upgrade: then nothing is recalled.
    """

    gate: Gate | None
    _loans: list[messages.Loan] = field(default_factory=list)
    _fds: list[int] = field(default_factory=list)

    def lend(self, loan: messages.Loan, fd: int) -> bool:
        """Note a loan for `send_loans`; whether it is the first one since."""
        self._loans.append(loan)
        self._fds.append(fd)
        return len(self._loans) == 1

    def send_loans(self) -> None:
        """Send what was noted."""
        loans, fds = self._loans, self._fds
        self._loans, self._fds = [], []
        # A packet has room for few certificates.
        secure = any(loan.secure is not None for loan in loans)
        most = _MOST_SECURE if secure else MAX_FDS
        for start in range(0, len(loans), most):
            part = slice(start, start + most)
            self.tell(messages.Lend(loans[part]), fds[part])


@dataclass(eq=False, kw_only=True)
class MoldLink(Link):
    """A mold, which has the first so many of the master's gates: none, after an upgrade."""

    gates: int


def taken_over(state: handover.Link, poller: Poller, board: Board) -> Link:
    """One that another has handed over, but for the gates, which can't be."""
    kind: Callable[..., Link] = partial(WorkerLink, gate=None)
    if state.worker.id.is_mold:
        kind = partial(MoldLink, gates=0)
    channel: MasterChannel = Channel(socket.socket(fileno=state.channel), messages.decode_report)
    channel.take_over(state.unsent)
    return kind(
        worker=state.worker,
        channel=channel,
        poller=poller,
        row=board.row(state.row),
        stacks=state.stacks,
        timeout=state.timeout,
        stopped=state.stopped,
        exit_due=state.exit_due,
    )


def describe_exit(status: int) -> str:
    """The wait status of a child, in words."""
    if os.WIFSIGNALED(status):
        return f"was killed by {describe_signal(os.WTERMSIG(status))}"
    return f"exited with status {os.WEXITSTATUS(status)}"


def describe_signal(number: int) -> str:
    """A signal by its name, if it has one."""
    return _SIGNAL_NAMES.get(number, f"signal {number}")
