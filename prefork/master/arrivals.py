"""Arrivals: what a connection goes through between accept(2) and its first loan.

Where a proxy stands in front, it introduces the client first. Where TLS is spoken, the connection
goes by a terminator, which introduces it too. As a rule there is neither.
"""

from __future__ import annotations

import logging
import math
import os
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
from prefork.settings import Settings

# That somebody is turned away is said no more often than this, in seconds.
_LOG_PAUSE = 10.0

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
        infos = tuple(listener.info for listener in listeners)
        self.terminators = Terminators(poller, infos, logs, disown, self._await_introduction)
        self.secure = any(listener.secure for listener in listeners)
        self._introductions = Introductions(poller, self._introduced)
        self._secure = [listener.secure for listener in listeners]
        self._proxied = settings.proxy_protocol
        self._proxies = Networks(settings.proxy_allow_ips, "proxy_allow_ips")
        self._seconds = settings.header_timeout
        self._log_at = -math.inf

    def begin(self, offer: Callable[[Connection], bool]) -> Callable[[Connection], bool]:
        """What is to be called with each new connection, and says whether another may come.

        Args:
            offer: takes one that may be lent, and says so too.
        """
        self._offer = offer
        return self._accepted if self._proxied or self.secure else offer

    def __len__(self) -> int:
        return len(self._introductions) + self.terminators.waiting

    def hand_over(self) -> handover.Waits:
        """Those that wait for their introduction, each until when."""
        return self._introductions.hand_over()

    def take_over(self, unintroduced: handover.Waits) -> None:
        """Go on with what another has handed over."""
        self._introductions.take_over(unintroduced)

    def expire(self, now: float) -> None:
        """Do what is due by now."""
        self._introductions.expire(now)
        self.terminators.expire(now)

    @property
    def deadline(self) -> float:
        """When `expire` is to be called next."""
        return min(self._introductions.deadline, self.terminators.deadline)

    def end(self) -> None:
        """Nobody is waited for any more."""
        self._introductions.end()

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
            self.terminators.terminate(connection, monotonic())
            return True
        return self._offer(connection)

    def _await_introduction(self, connection: Connection) -> None:
        """A terminator has the client: it has the time of a handshake, and gives up by itself."""
        self._introductions.expect(connection, monotonic() + 2 * self._seconds)

    def _turn_away(self, connection: Connection) -> None:
        os.close(connection.fd)
        now = monotonic()
        if now >= self._log_at:
            self._log_at = now + _LOG_PAUSE
            _log.warning("%s may not connect: it is not in proxy_allow_ips", connection.host)
