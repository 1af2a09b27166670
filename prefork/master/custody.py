"""Custody: the connections that no worker has, until they are lent, or are at their end.

A *parked* connection is idle: it waits for its next request, at most `keepalive` seconds. A
*lingering* one has been shut down towards the client; what the client still sends is read and
thrown away, until it closes too or a short deadline passes, because closing a socket that has
unread data sends a reset, which can destroy the response on its way (RFC 9112, section 9.6).
"""

from __future__ import annotations

import math
import os
import select
import socket
import struct
from collections.abc import Callable

from prefork.master.connection import Connection
from prefork.master.handover import Waits
from prefork.master.poller import Poller
from prefork.wire.board import LoanState

LINGER_SECONDS = 2.0
# Plain numbers: members of an enum are dear to compare with.
_RESPONDING, _ENDED = int(LoanState.RESPONDING), int(LoanState.ENDED)
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # struct linger: socket(7)


class Custody:
    """The connections in the master's own hands.

    Args:
        poller: where they are waited for.
        cut: has the end of a connection, if a terminator passes it on, not look like one of a whole
            response.
        readable: called with a parked connection whose next request has begun to arrive.
        keepalive: seconds that a connection stays parked.
    """

    def __init__(
        self,
        poller: Poller,
        readable: Callable[[Connection], object],
        cut: Callable[[Connection], None],
        keepalive: float,
    ) -> None:
        self._poller = poller
        self._readable = readable
        self._cut = cut
        self.keepalive = keepalive
        # By deadline: as each kind has one patience, the order of arrival is the order of time.
        # (A shorter keepalive after a reload has to wait until those before it have gone.)
        self._parked: dict[Connection, float] = {}
        self._lingering: dict[Connection, float] = {}

    @property
    def parked(self) -> int:
        """How many connections are parked."""
        return len(self._parked)

    @property
    def lingering(self) -> int:
        """How many connections are lingering."""
        return len(self._lingering)

    def park(self, connection: Connection, now: float) -> None:
        """Wait for the connection's next request."""
        self._park_until(connection, now + self.keepalive)

    def over(self, connection: Connection, state: int, now: float) -> None:
        """A worker has ended the connection: close it as the state of its loan wants it."""
        if state == _ENDED:
            self.drop(connection)
        elif state == _RESPONDING:
            self.reset(connection)
        else:
            self.linger(connection, now)

    def linger(self, connection: Connection, now: float) -> None:
        """Shut the connection down, and see to its end."""
        _shut_down(connection.fd, socket.SHUT_WR)
        if self._drained(connection):
            os.close(connection.fd)
            return
        self._linger_until(connection, now + LINGER_SECONDS)

    def end(self, connection: Connection, response: bytes, now: float) -> None:
        """Send a last response, which may be empty, shut the connection down, and linger."""
        sock = socket.socket(fileno=connection.fd)
        try:
            sock.send(response)
            sock.shutdown(socket.SHUT_WR)
        except OSError:
            sock.close()  # the client is gone, or takes nothing
        else:
            sock.detach()
            self.linger(connection, now)

    def reset(self, connection: Connection) -> None:
        """Close the connection so that the client can tell that its response was cut."""
        self._cut(connection)
        with socket.socket(fileno=connection.fd) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)

    def drop(self, connection: Connection) -> None:
        """Close an idle connection: there is no response that a reset could destroy."""
        os.close(connection.fd)

    def drop_oldest_parked(self) -> bool:
        """Close what has been parked longest, if anything is; whether it was."""
        oldest = next(iter(self._parked), None)
        if oldest is not None:
            self._drop_parked(oldest)
        return oldest is not None

    def end_parked(self) -> None:
        """Close what is parked, but not what has a request: one after the other, as what is looked
        at long before it is closed may get one in between, which would be lost."""
        for connection in list(self._parked):
            if _is_readable(connection.fd):
                self._unpark(connection)
            else:
                self._drop_parked(connection)

    def hand_over(self) -> tuple[Waits, Waits]:
        """What is parked and what lingers, each until when, in this order."""
        return list(self._parked.items()), list(self._lingering.items())

    def take_over(self, parked: Waits, lingering: Waits) -> None:
        """Go on with what another has handed over."""
        for connection, until in parked:
            self._park_until(connection, until)
        for connection, until in lingering:
            self._linger_until(connection, until)

    def expire(self, now: float) -> None:
        """End what has been waited for long enough."""
        while self._parked and next(iter(self._parked.values())) <= now:
            self._drop_parked(next(iter(self._parked)))
        while self._lingering and next(iter(self._lingering.values())) <= now:
            connection = next(iter(self._lingering))
            # A worker's app may have its socket yet, and wait for what the client sends.
            _shut_down(connection.fd, socket.SHUT_RDWR)
            self._stop_lingering(connection)

    def deadline(self) -> float:
        """When `expire` is to be called next."""
        return min(
            next(iter(self._parked.values()), math.inf),
            next(iter(self._lingering.values()), math.inf),
        )

    def _park_until(self, connection: Connection, until: float) -> None:
        self._parked[connection] = until
        self._poller.watch(connection.fd, lambda _: self._unpark(connection))

    def _linger_until(self, connection: Connection, until: float) -> None:
        self._lingering[connection] = until
        self._poller.watch(connection.fd, lambda _: self._on_leftover(connection))

    def _unpark(self, connection: Connection) -> None:
        del self._parked[connection]
        self._poller.forget(connection.fd)
        self._readable(connection)

    def _drop_parked(self, connection: Connection) -> None:
        del self._parked[connection]
        self._poller.forget(connection.fd)
        self.drop(connection)

    def _on_leftover(self, connection: Connection) -> None:
        if self._drained(connection):
            self._stop_lingering(connection)

    def _stop_lingering(self, connection: Connection) -> None:
        del self._lingering[connection]
        self._poller.forget(connection.fd)
        os.close(connection.fd)

    def _drained(self, connection: Connection) -> bool:
        """Read and forget what the client has sent; whether it has come to its end."""
        try:
            return not os.read(connection.fd, 65536)
        except BlockingIOError:
            return False
        except OSError:
            return True


def _shut_down(fd: int, how: int) -> None:
    sock = socket.socket(fileno=fd)
    try:
        sock.shutdown(how)
    except OSError:
        pass  # the client is gone
    finally:
        sock.detach()


def _is_readable(fd: int) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(0))
