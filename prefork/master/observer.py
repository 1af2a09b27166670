"""The observer: the process that serves metrics, and the facts that it has from the master.

It reads shared memory, and nobody waits for it: whatever becomes of it, or of who asks it, the
service goes on. It ends when its channel does. A new one comes after a back-off, and with each
program that an upgrade executes.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import signal
import socket
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec

from prefork.errors import UsageError
from prefork.log import Logs
from prefork.master.backoff import Backoffs
from prefork.master.binding import bind_all
from prefork.master.forking import fork_with_channel
from prefork.master.link import describe_exit
from prefork.master.listeners import Listener
from prefork.settings import Settings
from prefork.wire import messages
from prefork.wire.assignment import ObserverAssignment
from prefork.wire.board import Board
from prefork.wire.channel import Channel, ChannelClosed, TerminatorChannel, TerminatorMasterChannel
from prefork.wire.facts import Facts

# The facts are written as often as anything happens to the workers, and every so many seconds.
INTERVAL = 1.0
_BACKLOG = 64
_PLACE = 0

_log = logging.getLogger("prefork.master")


def bind_metrics(settings: Settings) -> Listener | None:
    """Bind the address where metrics are to be served, if there is one.

    Raises:
        UsageError: it can't be, or there is nothing to serve them with.
    """
    if not settings.metrics_bind:
        return None
    check_metrics(settings)
    try:
        (listener,) = bind_all([settings.metrics_bind], _BACKLOG, settings.umask, (None, None))
    except UsageError as error:
        raise UsageError(f"metrics_{error}", "metrics_bind") from None
    return listener


def check_metrics(settings: Settings) -> None:
    """Check that there is what metrics are made with. The master itself does without.

    Raises:
        UsageError: there is not.
    """
    if settings.metrics_bind and find_spec("prometheus_client") is None:
        raise UsageError(
            f"metrics_bind = {settings.metrics_bind}: needs the package prometheus_client: "
            "pip install 'prefork[metrics]'",
            "metrics_bind",
        )


class Observer:
    """The process, and its successors.

    Args:
        listener: where it serves; None if nobody is to.
        settings: those that the master was started with.
        board: what it reads.
        logs: what it logs to.
        gather: what the master knows now, at this time.
        disown: closes, in the forked child, what only the master may have.
    """

    def __init__(
        self,
        listener: Listener | None,
        settings: Settings,
        board: Board,
        logs: Logs,
        gather: Callable[[float], Facts],
        disown: Callable[[], None],
    ) -> None:
        self._listener = listener
        self._settings = settings
        self._board = board
        self._logs = logs
        self._gather = gather
        self._disown = disown
        self._pid = 0
        self._channel: TerminatorMasterChannel | None = None
        self._backoffs = Backoffs()
        self._ended = False
        # When `expire` is to be called next.
        self.deadline = 0.0 if listener is not None else math.inf

    def __bool__(self) -> bool:
        return self._pid > 0

    @property
    def listener(self) -> Listener | None:
        """Where it serves."""
        return self._listener

    def expire(self, now: float) -> None:
        """Write the facts down, and see that somebody tells them."""
        if self._listener is None or self._ended:
            return
        self._board.facts.write(self._gather(now))
        self.deadline = now + INTERVAL
        if self._pid == 0 and self._backoffs.due(_PLACE) <= now:
            self._spawn(self._listener.sock, now)
        if self._pid == 0:
            self.deadline = min(self.deadline, self._backoffs.due(_PLACE))

    def exited(self, pid: int, status: int, now: float) -> None:
        """A child that is no worker has exited, with this wait status."""
        if pid != self._pid:
            return
        self._pid = 0
        self._close_channel()
        if self._ended:
            return
        _log.error("metrics pid=%d %s", pid, describe_exit(status))
        self._backoffs.failed(_PLACE, now)
        self.deadline = self._backoffs.due(_PLACE)

    def reopen_logs(self, fd: int) -> None:
        """Have it log to this file from now on."""
        if self._channel is not None:
            with contextlib.suppress(ChannelClosed):
                self._channel.offer(messages.ReopenLogs(), [fd])

    def stop(self) -> None:
        """End it, so that its address is free when the master is gone."""
        self._ended = True
        self.deadline = math.inf
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)
        if self._listener is not None:
            self._listener.close()

    def disown(self) -> None:
        """In a forked child: close what Python objects hold."""
        self._close_channel()
        if self._listener is not None:
            self._listener.sock.close()

    def _close_channel(self) -> None:
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def _spawn(self, sock: socket.socket, now: float) -> None:
        try:
            with sock.dup() as copy:
                self._pid, ours = fork_with_channel(self._disown, partial(self._assignment, copy))
        except OSError as error:
            _log.error("no process for metrics can be forked: %s", error.strerror)
            self._backoffs.failed(_PLACE, now)
            return
        self._channel = Channel(ours, messages.decode_report)
        _log.info("metrics pid=%d spawned", self._pid)

    def _assignment(self, sock: socket.socket, end: socket.socket) -> ObserverAssignment:
        """In the child: what it is to be."""
        listening = socket.socket(fileno=sock.detach())
        mine: TerminatorChannel = Channel(end, messages.decode_terminator_command)
        return ObserverAssignment(self._settings, mine, self._board, listening, self._logs)
