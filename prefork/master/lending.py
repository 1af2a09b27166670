"""Lending: connections come in, are lent to workers, come back, and end.

The whole life of a connection is here, as the master sees it: accepted, lent, returned, parked,
lent again, closed; and recalled when its worker has died, by what the worker had written on the
board.
"""

from __future__ import annotations

import errno
import logging
import math
import os
import socket
from collections import deque
from functools import partial
from http import HTTPStatus
from time import monotonic

from prefork.master.custody import Connection, Custody
from prefork.master.dispatch import Dispatch
from prefork.master.link import Link
from prefork.master.listeners import Listener
from prefork.master.poller import READ, WRITE, Poller
from prefork.wire.board import Board, LoanState
from prefork.wire.channel import ChannelClosed
from prefork.wire.messages import Loan

# So many connections are accepted from a listener before anything else gets its turn.
ACCEPT_BATCH = 64
# At a stop, at most so many are taken in from the kernel's backlog.
BACKLOG_BATCH = 1 << 16
# Out of fds or memory, the next attempt to accept is made after so many seconds.
ACCEPT_PAUSE = 0.1
# That it can't be is said no more often than this.
COMPLAINT_PAUSE = 10.0
# The client was gone before we came, or never really there: accept(2), "Error handling".
_CLIENT_GONE = frozenset(
    {
        errno.ECONNABORTED,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.ENONET,
        errno.ENOPROTOOPT,
        errno.EOPNOTSUPP,
        errno.EPERM,
        errno.EPROTO,
    }
)

# An IPv4 client of an IPv6 listener: RFC 4291, section 2.5.5.2.
_MAPPED = "::ffff:"

_log = logging.getLogger("prefork.master")


class Lending:
    """The connections of the service, with whoever has them.

    Args:
        poller: the master's one wait.
        board: where workers write what they do with their loans.
        listeners: what to accept from.
        keepalive: seconds that a connection may be idle.
    """

    def __init__(
        self, poller: Poller, board: Board, listeners: list[Listener], keepalive: float
    ) -> None:
        self._poller = poller
        self._board = board
        self._listeners = listeners
        self._dispatch: Dispatch[Link, Connection] = Dispatch()
        self._custody = Custody(poller, self._offer, keepalive)
        # Connections for which no worker had room; while there are any, none is accepted.
        self._waiting: deque[Connection] = deque()
        # Links with loans that are to be sent at the end of the turn.
        self._unsent: list[Link] = []
        self._accepting = False
        self._accept_again = math.inf
        self._complain_again = -math.inf

    # Workers.

    def open(self, link: Link, credit: int) -> None:
        """A worker was born; it may borrow so many connections once it has joined."""
        self._dispatch.open(link, credit)

    def join(self, link: Link) -> None:
        """The worker serves."""
        self._dispatch.join(link)
        self._use_room()

    def leave(self, link: Link) -> None:
        """The worker borrows no more."""
        self._dispatch.leave(link)

    def recall(self, link: Link, was_killed: bool) -> None:
        """The worker is dead: see to every connection that it had, by what the board says.

        A request that may have begun is never run again: it is answered with 504 if we killed
        the worker, with 502 if it died by itself. A response that may be half out is cut.
        """
        if link in self._unsent:
            self._unsent.remove(link)
        now = monotonic()
        status = HTTPStatus.GATEWAY_TIMEOUT if was_killed else HTTPStatus.BAD_GATEWAY
        for loan, connection in self._dispatch.close(link).items():
            state = self._board.loans[loan]
            if state == LoanState.BUSY:
                self._custody.end(connection, _apology(status), now)
            elif state == LoanState.RESPONDING:
                self._custody.reset(connection)
            elif state == LoanState.CLOSED:
                self._custody.linger(connection, now)
            elif state == LoanState.ENDED:
                self._custody.drop(connection)
            else:
                self._keep(connection, now)
        self._use_room()

    # What workers report.

    def closed(self, link: Link, loans: list[int]) -> None:
        """These loans have ended, and the connections with them.

        Raises:
            UnknownLoan: the worker has no such loan.
        """
        now = monotonic()
        for loan in loans:
            connection = self._dispatch.end(loan, link)
            state = self._board.loans[loan]
            if state == LoanState.RESPONDING:
                self._custody.reset(connection)
            elif state == LoanState.CLOSED:
                self._custody.linger(connection, now)
            else:
                self._custody.drop(connection)
        self._use_room()

    def returned(self, link: Link, loans: list[int]) -> None:
        """These loans were idle and have come back.

        Raises:
            UnknownLoan: the worker has no such loan.
        """
        now = monotonic()
        for loan in loans:
            self._keep(self._dispatch.end(loan, link), now)
        self._use_room()

    # Turns.

    def set_keepalive(self, seconds: float) -> None:
        """From now on connections may be idle this long."""
        self._custody.keepalive = seconds

    def send_loans(self) -> None:
        """Send the loans of this turn."""
        links, self._unsent = self._unsent, []
        for link in links:
            try:
                link.send_loans()
            except ChannelClosed:
                continue  # its exit will be noticed, and its loans recalled
            if link.channel.backlogged:
                self._poller.change(link.channel.fileno(), READ | WRITE)

    def expire(self, now: float) -> None:
        """Do what is due by now."""
        self._custody.expire(now)
        if self._accept_again <= now:
            # If there is no room either, whoever makes some will accept again.
            self._accept_again = math.inf
            self._use_room()

    def deadline(self) -> float:
        """When `expire` is to be called next."""
        return min(self._custody.deadline(), self._accept_again)

    # Ends.

    @property
    def stopping(self) -> bool:
        """Whether the listeners are closed."""
        return not self._listeners

    @property
    def lingering(self) -> int:
        """How many connections are not quite closed."""
        return self._custody.lingering

    def stop(self) -> None:
        """Take in what waits in the kernel's backlog, close the listeners, end what is idle."""
        for index in range(len(self._listeners)):
            self._accept_batch(index, self._listeners[index].sock, BACKLOG_BATCH)
        self._pause()
        self._accept_again = math.inf
        for listener in self._listeners:
            listener.close()
        self._listeners = []
        self.send_loans()
        self._custody.drop_parked()

    def end_waiting(self) -> None:
        """Nobody will have room any more: turn away those who wait for it."""
        now = monotonic()
        while self._waiting:
            apology = _apology(HTTPStatus.SERVICE_UNAVAILABLE)
            self._custody.end(self._waiting.popleft(), apology, now)

    def disown(self) -> None:
        """In a forked worker: close what Python objects hold; raw fds are closed otherwise."""
        for listener in self._listeners:
            listener.sock.close()

    # The parts.

    def _accept(self, index: int, sock: socket.socket, events: int) -> None:
        self._accept_batch(index, sock, ACCEPT_BATCH)

    def _accept_batch(self, index: int, sock: socket.socket, limit: int) -> None:
        """Accept until there is nothing more, or no room, or the limit is reached."""
        # An fd instead of an object, which would cost as much again.
        accept = sock._accept  # type: ignore[attr-defined]
        unix = sock.family == socket.AF_UNIX
        for _ in range(limit):
            if self._waiting:
                return
            try:
                fd, address = accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _CLIENT_GONE:
                    continue
                self._hold_off(error)
                return
            os.set_blocking(fd, False)
            host, port = ("", 0) if unix else address[:2]
            if host.startswith(_MAPPED):
                host = host[len(_MAPPED) :]
            self._offer(Connection(fd, index, host, port, moved=False))

    def _hold_off(self, error: OSError) -> None:
        now = monotonic()
        if now >= self._complain_again:
            self._complain_again = now + COMPLAINT_PAUSE
            _log.error("can't accept: %s; clients wait until it can be done", error.strerror)
        self._pause()
        self._accept_again = now + ACCEPT_PAUSE

    def _pause(self) -> None:
        if self._accepting:
            for listener in self._listeners:
                self._poller.forget(listener.sock.fileno())
            self._accepting = False

    def _use_room(self) -> None:
        """Some worker may have room: lend what waits, then accept again."""
        if self._accepting:
            return
        while self._waiting:
            link = self._borrower(self._waiting[0])
            if link is None:
                return
            self._lend(self._waiting.popleft(), link)
        if self._dispatch.least_busy() is None:
            return
        self._accept_again = math.inf
        self._accepting = bool(self._listeners)
        for index, listener in enumerate(self._listeners):
            sock = listener.sock
            self._poller.watch(sock.fileno(), partial(self._accept, index, sock))

    def _keep(self, connection: Connection, now: float) -> None:
        """A connection that goes on, if the service does."""
        connection.moved = True
        if self.stopping:
            # Its last response may still be on the way to a slow client.
            self._custody.end(connection, b"", now)
        else:
            self._custody.park(connection, now)

    def _offer(self, connection: Connection) -> None:
        """Lend the connection, or have it wait for room."""
        link = None if self._waiting else self._borrower(connection)
        if link is None:
            self._waiting.append(connection)
            self._pause()
        else:
            self._lend(connection, link)

    def _borrower(self, connection: Connection) -> Link | None:
        dispatch = self._dispatch
        return dispatch.least_busy() if connection.moved else dispatch.next_in_turn()

    def _lend(self, connection: Connection, link: Link) -> None:
        loan = self._dispatch.lend(connection, link)
        self._board.loans[loan] = LoanState.UNREAD
        message = Loan(loan, connection.listener, connection.host, connection.port)
        if link.lend(message, connection.fd):
            self._unsent.append(link)


def _apology(status: HTTPStatus) -> bytes:
    """An answer without a body, as it may be one to a HEAD."""
    return (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    ).encode()
