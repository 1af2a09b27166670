"""Connections whose requests run in greenlets: the app reads a body while it arrives, and waits for
the client in the middle of a request.
"""

from __future__ import annotations

import math
from os import read
from time import monotonic
from typing import TYPE_CHECKING

from greenlet import getcurrent, greenlet

from prefork.http.body import Stream
from prefork.http.request import Request
from prefork.http.response import CONTINUE
from prefork.responding import Disconnected
from prefork.wire.board import LoanState
from prefork.worker.concurrent import ConcurrentConnection
from prefork.worker.connection import RECEIVE_SIZE
from prefork.worker.outbound import Outbound
from prefork.worker.transport import HIGH_WATER, Waiting
from prefork.wsgi import Exchange

if TYPE_CHECKING:
    from prefork.worker.engine import Engine
    from prefork.worker.service import Entrance

# So many bytes of a body are received before the app has read them.
BODY_HIGH_WATER = 1 << 18


class GreenletConnection(ConcurrentConnection):
    """A connection whose requests run in greenlets."""

    __slots__ = ("_greenlets", "_over", "_waited")

    def __init__(
        self,
        engine: Engine,
        states: memoryview | bytearray,
        key: int,
        fd: int,
        entrance: Entrance,
        peer: tuple[str, str],
    ) -> None:
        super().__init__(engine, states, key, fd, entrance, peer)
        # Those that wait for this connection: for the client to take, or to send.
        self._greenlets: list[greenlet] = []
        # The exchange is over but for the rest of its body, which nobody has read.
        self._over = False
        # Seconds that the app has waited for what is owed of the body.
        self._waited = 0.0

    def expire(self) -> None:
        """The wait has taken too long; but what has arrived meanwhile counts."""
        exchange = self._exchange
        if exchange is None or self._outbound is not None:
            super().expire()
            return
        before = math.inf
        while self._owed < before and self._exchange is exchange and self._overdue():
            before = self._owed
            self.readable()
        if self._exchange is exchange and self._overdue():
            self._give_up_body(exchange, TimeoutError("the client is too slow"))

    def resume(self) -> None:
        """Switch to the greenlets that wait for this connection."""
        waiting, self._greenlets = self._greenlets, []
        for each in waiting:
            each.switch()

    def expect(self, body: Stream) -> None:
        """The app may read a body from now on."""
        body.wait = self._await_body
        self._give_time()

    def _await_body(self) -> None:
        """Hold the app up until more of the body has arrived, or it is known that none will."""
        exchange = self._exchange
        assert exchange is not None
        body = exchange.request.body
        assert type(body) is Stream
        if body.expects:
            body.expects = False
            # Not behind a final response that has begun: RFC 9110, section 10.1.1.
            if not exchange.head_sent:
                self._send_continue_in_order()
        if self._outbound is None:
            self._watch_input()
            self._unpause()
            self.waiting = Waiting.BODY
            self._engine.clock = now = monotonic()
            # The client is not charged with what the app does between two waits.
            self.since = now - self._waited
        self._suspend()
        if self.waiting is Waiting.BODY:
            self.waiting = Waiting.APP
            self._waited = monotonic() - self.since

    def _send_continue_in_order(self) -> None:
        """Not into the middle of early hints."""
        if self._outbound is None:
            self._send_continue()
        else:
            self._outbound.add(CONTINUE)

    def _suspend(self) -> None:
        me = getcurrent()
        self._greenlets.append(me)
        try:
            hub_of(me).switch()
        finally:
            # Something else may have woken it: a gevent.Timeout, say.
            if me in self._greenlets:
                self._greenlets.remove(me)

    def _hold_up(self, outbound: Outbound) -> None:
        super()._hold_up(outbound)
        while self.unsent > HIGH_WATER:
            self._suspend()
        if self.lost:
            raise Disconnected

    def _receive_meanwhile(self, exchange: Exchange) -> None:
        body = exchange.request.body
        if type(body) is not Stream or not body.left:
            self._pause()
            return
        try:
            data = read(self.fd, RECEIVE_SIZE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._give_up_body(exchange, ConnectionResetError("the client is gone"))
            return
        self._feed(data)
        if not self._over:
            if body.held >= BODY_HIGH_WATER:
                self._pause()
            self.resume()
        elif not body.left:
            self._over = False
            self._serve(self._conclude(exchange))

    def _feed(self, data: bytes) -> None:
        self._owed -= len(data)
        if self._owed <= 0:
            self._give_time()
        self._have_parsed(data)

    def _give_time(self) -> None:
        self._waited = 0.0
        super()._give_time()

    def _give_up_body(self, exchange: Exchange, why: OSError) -> None:
        assert type(exchange.request.body) is Stream
        if self._over:
            self.close(LoanState.CLOSED)
            return
        self._pause()
        exchange.request.body.failure = why
        self.resume()

    def _conclude(self, exchange: Exchange) -> Request | None:
        body = exchange.request.body
        if type(body) is Stream and body.left:
            body.discard()
            if (
                exchange.complete
                and exchange.persistent
                and self._outbound is None
                and not self.lost
            ):
                self._over = True
                self._unpause()
                self._watch_input()
                self.waiting = Waiting.BODY
                self._engine.clock = monotonic()
                self._give_time()
                return None
            # Else what still comes would be taken for a next request.
            exchange.persistent = False
        return super()._conclude(exchange)


def hub_of(me: greenlet) -> greenlet:
    """Where a greenlet goes when it waits."""
    assert me.parent is not None
    return me.parent
