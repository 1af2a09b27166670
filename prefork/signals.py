"""Signals as data: what a signal to the master commands, and how it reaches the one wait."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from types import FrameType

# Asks a worker to dump the stacks of its threads (faulthandler): a real-time signal, as apps
# and libraries have uses of their own for the named ones.
DUMP_STACKS = signal.SIGRTMIN


class Command(Enum):
    """What the master can be told to do."""

    RELOAD = "replace every worker, one at a time, by one with the code and settings of now"
    UPGRADE = (
        "replace prefork itself: execute its command anew in the same process, with all workers "
        "and connections, and then reload; this is rehearsed in a child, so that a broken "
        "installation changes nothing"
    )
    STOP = "stop; requests that are being executed may take kill_timeout to end"
    QUICK_STOP = "stop; requests that are being executed get one second"
    MORE = "one worker more"
    FEWER = "one worker less"
    REOPEN_LOGS = "open the log files again"
    RETIRE_ALL = (
        "retire all workers, keep listening; a reload brings them back (ignored in the foreground "
        "of a terminal, which sends it when its window is resized)"
    )


COMMANDS = {
    signal.SIGHUP: Command.RELOAD,
    signal.SIGTERM: Command.STOP,
    signal.SIGINT: Command.QUICK_STOP,
    signal.SIGQUIT: Command.QUICK_STOP,
    signal.SIGTTIN: Command.MORE,
    signal.SIGTTOU: Command.FEWER,
    signal.SIGUSR1: Command.REOPEN_LOGS,
    signal.SIGUSR2: Command.UPGRADE,
    signal.SIGWINCH: Command.RETIRE_ALL,
}


MASTER_SIGNALS = {*COMMANDS, signal.SIGCHLD}


class SignalPipe:
    """Signals turned into bytes on a pipe, by `signal.set_wakeup_fd`.

    Args:
        signals: the ones to receive; their own handlers do nothing from then on.
    """

    def __init__(self, signals: set[signal.Signals]) -> None:
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        for number in signals:
            signal.signal(number, _do_nothing)
            # A system call in progress goes on: the byte in the pipe says it all.
            signal.siginterrupt(number, False)
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)

    def fileno(self) -> int:
        """The fd to wait on."""
        return self._read

    def receive(self) -> list[int]:
        """The numbers of the signals that have arrived, in order: of any with a handler."""
        try:
            return list(os.read(self._read, 4096))
        except BlockingIOError:
            return []


def quiet_in_child() -> None:
    """Detach a forked worker from the `SignalPipe` that it has inherited.

    The handlers that do nothing stay, as platforms and terminals send their signals to every
    process of a group: what they mean to a worker, its master will tell it.
    """
    signal.set_wakeup_fd(-1)
    # Before faulthandler has it, and after.
    signal.signal(DUMP_STACKS, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def leave_to_parent() -> None:
    """In a child that the app has forked: what it is sent must not look as if sent to its parent,
    whose pipe it has, and means what it means to any process."""
    signal.set_wakeup_fd(-1)
    for number in COMMANDS:
        if signal.getsignal(number) is _do_nothing:
            signal.signal(number, signal.SIG_DFL)


def ignore() -> None:
    """Let no signal change how this process ends: all that is left is for Python to tear itself
    down, and the first thing that it does is to give signals their default actions back."""
    for number in COMMANDS:
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def blocked() -> Iterator[None]:
    """Hold all signals back: between fork and `quiet_in_child` the child's would look like
    the parent's, as they share the pipe; between execve and `unblock` there is no handler."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def unblock() -> None:
    """Let in what `blocked` has held back, in a program that was executed meanwhile."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, signal.valid_signals())


def _do_nothing(number: int, frame: FrameType | None) -> None:
    """A handler, unlike SIG_IGN, is not inherited by the programs that a process executes."""
