"""Introductions: connections of which somebody in front has yet to say whose they are.

A proxy, or a terminator of ours, says it by the PROXY protocol, before the first request. The
master reads that, and no byte more, before the connection is lent: so it is known wherever it goes.
"""

from __future__ import annotations

import logging
import math
import os
import socket
from collections.abc import Callable
from functools import partial
from select import EPOLLET
from time import monotonic

from prefork.master import handover
from prefork.master.connection import Connection
from prefork.master.poller import READ, Poller
from prefork.seldom import Seldom
from prefork.wire.introduction import parse

# What is looked at: a header may be so long at most.
_LOOK_SIZE = 16384

_log = logging.getLogger("prefork.master")


class Introductions:
    """The connections that wait for theirs.

    Args:
        poller: the master's one wait.
        introduced: takes a connection of which it is known now whose it is.
    """

    def __init__(self, poller: Poller, introduced: Callable[[Connection], object]) -> None:
        self._poller = poller
        self._introduced = introduced
        # Until when each may take: monotonic seconds.
        self._waiting: dict[Connection, float] = {}
        self._complains = Seldom()

    def __len__(self) -> int:
        return len(self._waiting)

    def expect(self, connection: Connection, until: float) -> None:
        """Wait for the introduction of a connection; as a rule it is here already."""
        outcome = self._look(connection)
        if outcome is None:
            self._wait(connection, until)
        else:
            outcome()

    def expire(self, now: float) -> None:
        """Give up those that have had their time."""
        late = [each for each, until in self._waiting.items() if until <= now]
        for connection in late:
            self._forget(connection)
            self._refuse(connection, "none in time", now)

    @property
    def deadline(self) -> float:
        """When `expire` is to be called next."""
        return min(self._waiting.values(), default=math.inf)

    def end(self) -> None:
        """Close all that wait."""
        for connection in list(self._waiting):
            self._forget(connection)
            os.close(connection.fd)

    def hand_over(self) -> handover.Waits:
        """Those that wait, each until when, for another to go on with."""
        return list(self._waiting.items())

    def take_over(self, waiting: handover.Waits) -> None:
        """Go on with what another has handed over."""
        for connection, until in waiting:
            self._wait(connection, until)

    def _wait(self, connection: Connection, until: float) -> None:
        self._waiting[connection] = until
        # By edge: what has come of one that is not whole stays where it is.
        self._poller.watch(connection.fd, partial(self._on_readable, connection), READ | EPOLLET)

    def _forget(self, connection: Connection) -> None:
        del self._waiting[connection]
        self._poller.forget(connection.fd)

    def _on_readable(self, connection: Connection, events: int) -> None:
        outcome = self._look(connection)
        if outcome is not None:
            self._forget(connection)
            outcome()

    def _look(self, connection: Connection) -> Callable[[], object] | None:
        """Read the introduction, if it is here: what is to be done with the connection; None if
        that is to wait."""
        sock = socket.socket(fileno=connection.fd)
        try:
            data = sock.recv(_LOOK_SIZE, socket.MSG_PEEK)
            found = parse(data) if data else (None, 0)
            if found is None:
                return None
            introduction, length = found
            if not length:
                return partial(os.close, connection.fd)  # the client is gone
            sock.recv(length)
        except BlockingIOError:
            return None
        except (OSError, ValueError) as error:
            return partial(self._refuse, connection, str(error), monotonic())
        finally:
            sock.detach()
        if introduction is not None:
            connection.host, connection.port = introduction.host, introduction.port
            connection.secure = introduction.secure
        return partial(self._introduced, connection)

    def _refuse(self, connection: Connection, why: str, now: float) -> None:
        os.close(connection.fd)
        # What is wrong with a client of a terminator, that one knows.
        if not connection.termination and self._complains.may(now):
            _log.warning("no introduction of a client by %s: %s", connection.host or "a proxy", why)
