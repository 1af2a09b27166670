"""The kind `gevent`: each request runs in a greenlet, and lets others run while it waits.

The standard library is patched before the app is imported, so that its waits are the hub's. A
connection needs no greenlet, only a running request does: one of a pool, which is switched to
straight from the callback of the connection, and back when the app waits or is done.

A body is read by the app while it arrives.
"""

from __future__ import annotations

import logging
import math
import traceback
from collections.abc import Callable, Iterable
from os import read
from time import monotonic
from types import FrameType, TracebackType
from typing import TYPE_CHECKING

import gevent
from greenlet import getcurrent, greenlet

from prefork.errors import RequestTimeout
from prefork.http.body import Stream
from prefork.http.request import Request
from prefork.http.response import CONTINUE
from prefork.responding import Disconnected
from prefork.wire.board import LoanState
from prefork.worker.concurrent import ConcurrentConnection
from prefork.worker.connection import RECEIVE_SIZE, Connection
from prefork.worker.kind import ErrorHandler
from prefork.worker.outbound import Outbound
from prefork.worker.stacks import dump_more, requests
from prefork.worker.transport import HIGH_WATER, Waiting
from prefork.wsgi import App, Exchange

if TYPE_CHECKING:
    from prefork.worker.engine import Engine
    from prefork.worker.service import Entrance

# So many bytes of a body are received before the app has read them.
BODY_HIGH_WATER = 1 << 18

_log = logging.getLogger("prefork.worker")


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
            _hub_of(me).switch()
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


class Greenlets:
    """Calls the app for each request in a greenlet of a pool.

    Args:
        stacks: the fd that stacks are dumped to on demand.
    """

    connection: type[GreenletConnection] = GreenletConnection
    multithread = True
    streams = True
    stands_still = False
    # There are as many greenlets as there may be connections.
    full = False

    def __init__(self, stacks: int) -> None:
        self._hub = gevent.get_hub()
        self.loop = self._hub.loop
        self._main = getcurrent()
        self._idle: list[greenlet] = []
        # What was given to a greenlet that has not come back yet.
        self._entered: Exchange | None = None
        # Those that wait for something in the middle of a request.
        self._waiting: dict[greenlet, Exchange] = {}
        # faulthandler sees the stack that is in use only.
        dump_more(stacks, self._stacks_of_waiting)

    def begin(self, engine: Engine, app: App) -> None:
        """From now on requests are executed."""
        self._app = app
        self._counters = engine.counters
        self._patience = engine.request_timeout

    def execute(self, exchange: Exchange) -> bool:
        """Call the app until it waits, or is done; whether it is."""
        self._counters[0] += 1
        body = exchange.request.body
        if type(body) is Stream:
            _connection(exchange).expect(body)
        worker = self._idle.pop() if self._idle else self._hire()
        self._entered = exchange
        worker.switch(exchange)
        if self._entered is None:
            return True
        self._entered = None
        self._waiting[worker] = exchange
        return False

    def execute_beside(self, exchange: Exchange, done: Callable[[], None]) -> None:
        """Call the app for a request that is none of a client's; then `done`, in the hub."""

        def work() -> None:
            exchange.run(self._app)
            self.loop.run_callback(done)

        greenlet(work, self._hub).switch()

    def watch_errors(self, handler: ErrorHandler) -> None:
        """Whom to tell of an error in a callback. Those of the app are gevent's affair."""
        others = self._hub.handle_error

        def handle_error(
            context: object | None,
            kind: type[BaseException] | None,
            error: BaseException | str | None,
            trace: TracebackType | None = None,
        ) -> None:
            if trace is not None and _is_ours(trace.tb_frame):
                assert not isinstance(error, str)
                handler(context, kind, error, trace)
            else:
                others(context, kind, error, trace)

        # The hub makes itself the loop's handler whenever it begins to run.
        self._hub.handle_error = handle_error  # type: ignore[assignment, method-assign]

    def give_up(self, connections: Iterable[Connection], now: float) -> None:
        """Have the app raise `RequestTimeout` where it waits; again, if it goes on."""
        late = [
            each
            for each, exchange in self._waiting.items()
            if now - exchange.began > self._patience and not exchange.taken
        ]
        for each in late:
            exchange = self._waiting.get(each)
            if exchange is not None:  # the end of another may have been the end of this one
                stack = "".join(_stack(each))
                _log.error("%s took longer than request_timeout:\n%s", exchange, stack.rstrip())
                each.throw(RequestTimeout(f"{self._patience:g} seconds"))

    def run(self) -> None:
        """Let the hub run until `stop`."""
        self._hub.switch()

    def stop(self) -> None:
        """Have `run` return."""
        self.loop.run_callback(self._main.switch)

    def _hire(self) -> greenlet:
        """A new greenlet of the pool, which waits for its first exchange."""
        worker = greenlet(self._work, self._hub)
        # What it is begun with, it keeps for its life.
        worker.switch()
        return worker

    def _work(self) -> None:
        """The life of a greenlet of the pool."""
        me, app = getcurrent(), self._app
        to_hub = _hub_of(me).switch
        exchange = _next_exchange(to_hub)
        while True:
            exchange.run(app)
            if self._entered is exchange:
                self._entered = None
            else:
                del self._waiting[me]
                # Not from here: what follows on the connection is to begin in the hub.
                self.loop.run_callback(_connection(exchange).executed, exchange)
            self._idle.append(me)
            del exchange  # with the body of its request, for as long as there is no other
            exchange = _next_exchange(to_hub)

    def _stacks_of_waiting(self) -> str:
        """Which request runs, and where those stand that wait."""
        waiting = [
            f"\nGreenlet of {exchange} (most recent call first):\n{''.join(_stack(each))}"
            for each, exchange in self._waiting.items()
        ]
        return requests() + "".join(waiting)


def _stack(waiting: greenlet) -> list[str]:
    """Where a greenlet stands, in the format of faulthandler."""
    lines = traceback.StackSummary.extract(traceback.walk_stack(waiting.gr_frame))
    return [f'  File "{at.filename}", line {at.lineno} in {at.name}\n' for at in lines]


def _is_ours(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__")).startswith("prefork.")


def _connection(exchange: Exchange) -> GreenletConnection:
    connection = exchange.transport
    assert isinstance(connection, GreenletConnection)
    return connection


def _next_exchange(to_hub: Callable[[], Exchange]) -> Exchange:
    """Wait for it. What the app has left behind to be thrown then, a gevent.Timeout say, must not
    end the greenlet."""
    while True:
        try:
            return to_hub()
        except BaseException:  # noqa: BLE001  it was not meant for us
            _log.warning("thrown into a greenlet whose request was over", exc_info=True)


def _hub_of(me: greenlet) -> greenlet:
    assert me.parent is not None
    return me.parent
