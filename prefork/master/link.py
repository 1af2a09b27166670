"""A link: the master's end of one worker, and how a worker is forked."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from prefork import signals
from prefork.log import Logs
from prefork.master import handover
from prefork.master.connection import Connection
from prefork.master.dispatch import Books
from prefork.master.life import Worker
from prefork.master.poller import READ, WRITE, Poller
from prefork.settings import Settings, standstill_timeout
from prefork.wire import channel, messages
from prefork.wire.assignment import Assignment, ListenerInfo
from prefork.wire.board import Board, Row
from prefork.wire.channel import MAX_FDS, Channel, ChannelClosed, MasterChannel
from prefork.wire.gate import Gate
from prefork.wire.identity import WorkerId

_LONGEST_DUMP = 65536
_SIGNAL_NAMES = {each.value: each.name for each in signal.Signals}


class Forked(BaseException):
    """Raised in a new worker: it unwinds the master's stack, which is not the child's.

    Not an `Exception`, so that nothing between here and the command line stops it.
    """

    def __init__(self, assignment: Assignment) -> None:
        super().__init__()
        self.assignment = assignment


@dataclass(eq=False)
class Link:
    """A worker as the master deals with it: the channel, which `poller` waits for, the row, the
    gate, the stacks, and the loans that are to be sent at the end of the turn.

    `gate` is None where there are no semaphores, and after an upgrade; `timeout` are the seconds
    that its loop may stand still. `stopped` says that the process was, as by SIGSTOP. `exit_due` is
    when a worker that has closed its end of the channel should be gone, math.inf as long as it has
    not.
    """

    worker: Worker
    channel: MasterChannel
    poller: Poller
    row: Row
    gate: Gate | None
    stacks: int
    timeout: float
    stopped: bool = False
    exit_due: float = math.inf
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
        for start in range(0, len(loans), MAX_FDS):
            part = slice(start, start + MAX_FDS)
            self.tell(messages.Lend(loans[part]), fds[part])

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

    def dump_stacks(self) -> None:
        """Have the worker write down the stacks of its threads, even from within C code."""
        os.kill(self.worker.id.pid, signals.DUMP_STACKS)

    def read_stacks(self) -> str:
        """What `dump_stacks` has brought; empty if the worker could not."""
        return os.pread(self.stacks, _LONGEST_DUMP, 0).decode("utf-8", "replace").strip()

    def kill(self) -> None:
        """Kill the worker; its exit is still to be waited for."""
        os.kill(self.worker.id.pid, signal.SIGKILL)

    def hand_over(self, books: Books[Connection]) -> handover.Link:
        """The link with the worker's books, for another to go on with."""
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

    @classmethod
    def taken_over(cls, state: handover.Link, poller: Poller, board: Board) -> Link:
        """One that another has handed over, but for the gate, which can't be."""
        channel: MasterChannel = Channel(
            socket.socket(fileno=state.channel), messages.decode_report
        )
        channel.take_over(state.unsent)
        return cls(
            worker=state.worker,
            channel=channel,
            poller=poller,
            row=board.row(state.row),
            gate=None,
            stacks=state.stacks,
            timeout=state.timeout,
            stopped=state.stopped,
            exit_due=state.exit_due,
        )

    def close(self) -> None:
        """Let go of everything."""
        self.channel.close()
        os.close(self.stacks)


@dataclass(frozen=True)
class Place:
    """What a new worker gets besides its identity."""

    slot: int
    generation: int
    settings: Settings
    listeners: tuple[ListenerInfo, ...]
    # The same listeners, if it is to accept for itself.
    sockets: tuple[socket.socket, ...]
    logs: Logs


def fork(
    place: Place,
    poller: Poller,
    board: Board,
    row: Row,
    disown: Callable[[], None],
    welcome: Callable[[WorkerId], Worker],
) -> Link:
    """Fork a worker.

    Args:
        place: what it is to be.
        poller: what will wait for its channel.
        board, row: where it writes its facts.
        disown: called in the child: closes what only the master may have.
        welcome: called in the master with who was born.

    Raises:
        OSError: there can't be another process.
        Forked: in the child, where this does not return.
    """
    stacks = os.memfd_create("prefork-stacks", os.MFD_CLOEXEC)
    try:
        ours, theirs = channel.pair()
    except OSError:
        os.close(stacks)
        raise
    gate = _new_gate()
    row.clear()
    with signals.blocked():
        try:
            pid = os.fork()
        except OSError:
            for end in (ours, theirs):
                end.close()
            os.close(stacks)
            raise
        if pid == 0:
            try:
                signals.quiet_in_child()
                ours.close()
                disown()
            except Exception:  # noqa: BLE001  or there would be a second master
                os._exit(1)
            raise Forked(
                Assignment(
                    id=WorkerId(place.slot, place.generation, os.getpid()),
                    settings=place.settings,
                    channel=Channel(theirs, messages.decode_command),
                    board=board,
                    row=row,
                    gate=gate,
                    stacks=stacks,
                    listeners=place.listeners,
                    sockets=place.sockets,
                    logs=place.logs,
                )
            )
    theirs.close()
    worker = welcome(WorkerId(place.slot, place.generation, pid))
    timeout = standstill_timeout(place.settings)
    return Link(worker, Channel(ours, messages.decode_report), poller, row, gate, stacks, timeout)


def _new_gate() -> Gate | None:
    try:
        return Gate.held()
    except (ImportError, OSError):
        return None


def describe_exit(status: int) -> str:
    """The wait status of a child, in words."""
    if os.WIFSIGNALED(status):
        return f"was killed by {describe_signal(os.WTERMSIG(status))}"
    return f"exited with status {os.WEXITSTATUS(status)}"


def describe_signal(number: int) -> str:
    """A signal by its name, if it has one."""
    return _SIGNAL_NAMES.get(number, f"signal {number}")
