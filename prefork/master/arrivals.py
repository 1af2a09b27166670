"""Arrivals: what a connection goes through between accept(2) and its first loan.

Where a proxy stands in front, it introduces the client first. Where TLS is spoken, the connection
goes by a terminator, with one end of a socketpair. The master has the other end, which is the
connection from then on, for it and for all workers: so what holds for connections, at reloads and
crashes, holds for these. The first bytes on it introduce the client. As a rule there is neither.
"""

from __future__ import annotations

import logging
import math
import os
import socket
from collections import deque
from collections.abc import Callable
from time import monotonic

from prefork.log import Logs
from prefork.master import handover
from prefork.master.connection import Connection
from prefork.master.introductions import Introductions
from prefork.master.listeners import Listener
from prefork.master.poller import Poller
from prefork.master.terminators import Terminators
from prefork.networks import Networks
from prefork.seldom import Seldom
from prefork.settings import Settings
from prefork.wire.messages import Terminate

# What can't be passed on now, for want of fds or of a terminator, is tried again after so long.
_AGAIN_SECONDS = 0.1
# So many clients may wait for a terminator, when there is none; more are turned away.
_MOST_WAITING = 1024

_log = logging.getLogger("prefork.master")


class Arrivals:
    """The connections on their way in.

    Args:
        settings: those of the start: what is spoken at a listener stays what it is.
        poller: the master's one wait.
        listeners: what they come in by.
        logs: for terminators.
        disown: closes, in a forked child, what only the master may have.
    """

    def __init__(
        self,
        settings: Settings,
        poller: Poller,
        listeners: list[Listener],
        logs: Logs,
        disown: Callable[[], None],
    ) -> None:
        self._secure = [listener.secure for listener in listeners]
        self.terminators = Terminators(any(self._secure), poller, logs, disown)
        self._introductions = Introductions(poller, self._introduced)
        self._listeners = [listener.info for listener in listeners]
        self._proxied = settings.proxy_protocol
        self._proxies = Networks(settings.proxy_allow_ips, "proxy_allow_ips")
        self._seconds = settings.header_timeout
        self._complains = Seldom()
        # Clients for whom there was no terminator, and when to look again.
        self._waiting: deque[Connection] = deque()
        self._again_at = math.inf
        # How many a terminator has got: each is called by its number.
        self._count = 0

    def begin(self, offer: Callable[[Connection], bool]) -> Callable[[Connection], bool]:
        """What is to be called with each new connection, and says whether another may come.

        Args:
            offer: takes one that may be lent, and says so too.
        """
        self._offer = offer
        return self._accepted if self._proxied or any(self._secure) else offer

    def __len__(self) -> int:
        return len(self._introductions) + len(self._waiting)

    def hand_over(self) -> handover.Arrivals:
        """Those on their way in, for another to go on with."""
        introductions = self._introductions.hand_over()
        return handover.Arrivals(introductions, list(self._waiting), self._count)

    def take_over(self, state: handover.Arrivals) -> None:
        """Go on with what another has handed over."""
        self._introductions.take_over(state.unintroduced)
        self._waiting.extend(state.waiting)
        self._again_at = 0.0 if self._waiting else math.inf
        self._count = state.count

    def expire(self, now: float) -> None:
        """Do what is due by now."""
        self._introductions.expire(now)
        self.terminators.expire(now)
        if self._again_at <= now:
            while self._waiting and self._pass_on(self._waiting[0]):
                self._waiting.popleft()
            self._again_at = now + _AGAIN_SECONDS if self._waiting else math.inf

    @property
    def deadline(self) -> float:
        """When `expire` is to be called next."""
        return min(self._introductions.deadline, self.terminators.deadline, self._again_at)

    def end(self) -> None:
        """Nobody is waited for any more."""
        self._introductions.end()
        while self._waiting:
            os.close(self._waiting.popleft().fd)

    def _accepted(self, connection: Connection) -> bool:
        if not self._proxied:
            return self._introduced(connection)
        if connection.host in self._proxies:
            self._introductions.expect(connection, monotonic() + self._seconds)
        else:
            self._turn_away(connection)
        return True

    def _introduced(self, connection: Connection) -> bool:
        if self._secure[connection.listener] and not connection.termination:
            self._terminate(connection)
            return True
        return self._offer(connection)

    def _terminate(self, connection: Connection) -> None:
        """Have TLS spoken with this client, as soon as somebody can."""
        if not self._waiting and self._pass_on(connection):
            return
        if len(self._waiting) < _MOST_WAITING:
            self._waiting.append(connection)
            # Not later because of every one that comes.
            self._again_at = min(self._again_at, monotonic() + _AGAIN_SECONDS)
        else:
            os.close(connection.fd)

    def _pass_on(self, connection: Connection) -> bool:
        """Give the client to a terminator, for one end of a socketpair; whether that could be
        done."""
        try:
            ours, theirs = socket.socketpair()
        except OSError:
            return False
        listener = self._listeners[connection.listener]
        order = Terminate(
            self._count + 1, connection.host, connection.port, listener.name, int(listener.port)
        )
        with theirs:
            taken = self.terminators.offer(order, [connection.fd, theirs.fileno()])
        if not taken:
            ours.close()
            return False
        os.close(connection.fd)
        ours.setblocking(False)
        self._count += 1
        connection.fd, connection.termination = ours.detach(), self._count
        # It has the time of a handshake, which the terminator gives up by itself.
        self._introductions.expect(connection, monotonic() + 2 * self._seconds)
        return True

    def _turn_away(self, connection: Connection) -> None:
        os.close(connection.fd)
        if self._complains.may(monotonic()):
            _log.warning("%s may not connect: it is not in proxy_allow_ips", connection.host)
