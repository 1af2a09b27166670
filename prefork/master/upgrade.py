"""An upgrade: the master executes its own command anew, in place, and goes on (SIGUSR2).

1. A child *rehearses* it: it executes the command with all that the master would hand over, reads
   the settings, makes a master of it all, and says that it can. Whatever is wrong with the
   installation, wrong happens there. Instead of the master's fds it has *stand-ins*, with which it
   can do nobody any harm; a clock that execve(2) keeps ends it if it hangs. The service goes on.
2. The master executes the command itself. What belongs to a process, and not to its program, stays:
   the pid, the children, fds that are marked for it, the mask of signals, and signals that wait.
   So signals are held back until the new program has its handlers.
3. The new program finds the fd of the handover in a variable of its environment, takes over, and
   reloads. A version that knows nothing of this takes the variable for an unknown setting.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import traceback
from collections.abc import Iterable, Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NoReturn

from prefork import signals
from prefork.errors import HandoverError
from prefork.master.handover import Handover, decode, encode
from prefork.master.link import describe_exit
from prefork.settings import STARTED_IN
from prefork.wire.board import Board

_VARIABLE = "PREFORK_HANDOVER"
_REHEARSAL = "rehearsal:"
# The last line of a rehearsal that has gone well: the exit status alone could be anybody's.
_GOOD = "prefork can take over"
# So many characters of what a rehearsal says are logged, from the end.
_LONGEST_OUTPUT = 4096

_log = logging.getLogger("prefork.master")


# The program that is executed.


@dataclass(frozen=True)
class Inheritance:
    """What this program was executed with: the fd of a handover, to take over from the master that
    it was before; with `rehearsal`, to try only."""

    fd: int
    rehearsal: bool

    @classmethod
    def of(cls, environ: MutableMapping[str, str]) -> Inheritance | None:
        """The inheritance that the environment tells of, which is no worker's business: it is
        removed. None if there is none.

        Raises:
            HandoverError: it makes no sense.
        """
        value = environ.pop(_VARIABLE, None)
        if value is None:
            return None
        number = value.removeprefix(_REHEARSAL)
        if not (number.isascii() and number.isdigit()):
            raise HandoverError(f"${_VARIABLE} = {value}: that is not how an upgrade sets it")
        return cls(int(number), rehearsal=value.startswith(_REHEARSAL))

    def read(self) -> Handover:
        """The handover; what it is about is this program's, and not that of others to come.

        Raises:
            HandoverError: it can't be taken over.
        """
        try:
            data = os.pread(self.fd, os.fstat(self.fd).st_size, 0)
            os.close(self.fd)
        except OSError as error:
            raise HandoverError(f"the handover can't be read: {error.strerror}") from None
        handover = decode(data)
        for fd in handover.fds():
            os.set_inheritable(fd, False)
        return handover

    def rehearsed(self) -> NoReturn:
        """End the rehearsal, which has gone well."""
        print(f"\n{_GOOD}", flush=True)
        # Without any tidying up: it is not ours.
        os._exit(0)


# The program that executes it.


@dataclass(frozen=True)
class _Rehearsal:
    pid: int
    output: int
    seconds: float


class Upgrade:
    """What has come of the wish for an upgrade.

    `wanted` says that there is one, which has not been begun with, `rehearsed` that the new program
    can take over.
    """

    def __init__(self) -> None:
        self.wanted = False
        self.rehearsed = False
        self._rehearsal: _Rehearsal | None = None

    @property
    def under_way(self) -> bool:
        """Whether it has begun."""
        return self._rehearsal is not None or self.rehearsed

    @property
    def due(self) -> bool:
        """Whether there is something to be done: to `rehearse`, or else to `execute`."""
        return (self.wanted and self._rehearsal is None) or self.rehearsed

    def rehearse(self, handover: Handover, seconds: float) -> None:
        """Begin, in a child.

        Args:
            handover: the master as it is now.
            seconds: after these the child is killed.
        """
        self.wanted = self.rehearsed = False
        try:
            self._rehearsal = _begin_rehearsal(handover, seconds)
        except OSError as error:
            _refused(error.strerror or str(error))
        else:
            _log.info("upgrade begun: it is rehearsed by pid=%d", self._rehearsal.pid)

    def exited(self, pid: int, status: int) -> None:
        """A child that is no worker has exited, with this wait status."""
        rehearsal = self._rehearsal
        if rehearsal is None or rehearsal.pid != pid:
            return
        self._rehearsal = None
        said = _read(rehearsal.output).rstrip()
        os.close(rehearsal.output)
        if status == 0 and said.endswith(_GOOD):
            self.rehearsed = True
        elif os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGALRM:
            _refused(f"not done within listen_timeout, which is {rehearsal.seconds:g} s", said)
        else:
            _refused(f"the rehearsal {describe_exit(status)}", said)

    def give_up(self) -> None:
        """No upgrade, as the service stops."""
        self.wanted = self.rehearsed = False
        if self._rehearsal is not None:
            os.kill(self._rehearsal.pid, signal.SIGKILL)
            os.close(self._rehearsal.output)
            self._rehearsal = None

    def execute(self, handover: Handover) -> None:
        """Execute the new program; this returns only if it can't be.

        Args:
            handover: the master as it is now.
        """
        self.rehearsed = False
        try:
            fd = _memory("prefork-handover", encode(handover))
            try:
                with signals.blocked(), _inheritable({fd, *handover.fds()}), _where_it_began():
                    _execute(str(fd))
            finally:
                os.close(fd)
        except OSError as error:
            _refused(error.strerror or str(error))


def _refused(why: str, said: str = "") -> None:
    lines = "".join(f"\n    {line}" for line in said[-_LONGEST_OUTPUT:].splitlines())
    _log.error("upgrade refused, nothing changes: %s%s%s", why, ":" if lines else "", lines)


def _execute(handover: str) -> NoReturn:
    """Execute the command that this process has begun with.

    Raises:
        OSError: it can't be.
    """
    program = sys.orig_argv[0]
    if "/" not in program:
        # It was found on the PATH. Otherwise it may be relative to where we are.
        program = sys.executable
    environ = {**os.environ, _VARIABLE: handover}
    os.execve(program, [program, *sys.orig_argv[1:]], environ)


@contextmanager
def _inheritable(fds: Iterable[int]) -> Iterator[None]:
    """Have execve(2) keep these fds."""
    marked = []
    try:
        for fd in fds:
            os.set_inheritable(fd, True)
            marked.append(fd)
        yield
    finally:
        for fd in marked:
            os.set_inheritable(fd, False)


@contextmanager
def _where_it_began() -> Iterator[None]:
    """Be in the directory in which the command was given, as it is now: a link in its path may have
    been moved to another release."""
    here = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if os.path.isdir(STARTED_IN):
            os.chdir(STARTED_IN)
        yield
    finally:
        os.fchdir(here)
        os.close(here)


def _begin_rehearsal(handover: Handover, seconds: float) -> _Rehearsal:
    """Fork the child.

    Raises:
        OSError: it can't be done.
    """
    output = _memory("prefork-rehearsal")
    try:
        fd = _memory("prefork-handover", encode(handover))
        try:
            with signals.blocked():
                pid = os.fork()
                if pid == 0:
                    signals.quiet_in_child()
            if pid == 0:
                _be_rehearsal(handover, fd, output, seconds)
        finally:
            os.close(fd)
    except OSError:
        os.close(output)
        raise
    return _Rehearsal(pid, output, seconds)


def _be_rehearsal(handover: Handover, fd: int, output: int, seconds: float) -> NoReturn:
    """In the child: execute the new program."""
    try:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, seconds)
        _take_stand_ins(handover)
        for standard in (1, 2):
            os.dup2(output, standard)
        with _inheritable({fd}), _where_it_began():
            _execute(f"{_REHEARSAL}{fd}")
    except BaseException:  # noqa: BLE001  there must not be a second master, whatever happens
        traceback.print_exc()
    os._exit(1)


def _take_stand_ins(handover: Handover) -> None:
    """In the child: put others in the place of the fds that the handover is about, so that no
    client has to wait for the child to close them too, and no worker is told anything."""
    board, (one, _other) = Board(), socket.socketpair()
    for fd in handover.fds():
        os.dup2(board.fd if fd == handover.board else one.fileno(), fd)


def _memory(name: str, data: bytes = b"") -> int:
    """The fd of a new file in memory, with this in it."""
    fd = os.memfd_create(name, os.MFD_CLOEXEC)
    with open(fd, "wb", closefd=False) as file:
        file.write(data)
    return fd


def _read(fd: int) -> str:
    return os.pread(fd, os.fstat(fd).st_size, 0).decode("utf-8", "replace")
