"""The kind `gevent`: each request runs in a greenlet, and lets others run while it waits.

The standard library is patched before the app is imported, so that its waits are the hub's. A
connection needs no greenlet, only a running request does: one of a pool, which is switched to
straight from the callback of the connection, and back when the app waits or is done.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Iterable
from types import FrameType, TracebackType
from typing import TYPE_CHECKING

import gevent
from greenlet import getcurrent, greenlet

from prefork.errors import RequestTimeout
from prefork.http.body import Stream
from prefork.worker.connection import Connection
from prefork.worker.kind import ErrorHandler
from prefork.worker.stacks import dump_more, requests
from prefork.worker.streaming import GreenletConnection, hub_of
from prefork.wsgi import App, Exchange

if TYPE_CHECKING:
    from prefork.worker.engine import Engine

_log = logging.getLogger("prefork.worker")


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
        to_hub = hub_of(me).switch
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
