"""The kind `sync`: the app is called in the loop, one request at a time.

While it runs, the loop stands still: what other clients send waits in the kernel, and the master
may take their connections back, as the worker lets go of its gate for that time. Requests are
received whole before, and the end of a response is sent by the loop after, so a slow client costs
a buffer, not the worker; only a response larger than that buffer makes the app wait for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from gevent.libev.corecext import loop as Loop  # noqa: N812

from prefork.wire.board import BUSY, RECALLED, WANTED
from prefork.worker.connection import Connection
from prefork.worker.kind import ErrorHandler
from prefork.wsgi import App, Exchange

if TYPE_CHECKING:
    from prefork.worker.engine import Engine


class Sync:
    """Calls the app for one request at a time."""

    connection: type[Connection] = Connection
    multithread = False
    streams = False
    stands_still = True
    full = False

    def __init__(self) -> None:
        # A loop of our own: an app that uses gevent by itself finds the default one unused.
        self.loop = Loop(default=False)

    def begin(self, engine: Engine, app: App) -> None:
        """From now on requests are executed."""
        self._app = app
        self._engine = engine
        self._counters = engine.counters
        self._flags = engine.flags
        gate = engine.gate
        self._let_go = gate.let_go if gate is not None else _do_nothing
        self._try_take = gate.try_take if gate is not None else bool

    def execute(self, exchange: Exchange) -> bool:
        """Call the app: it is done when this returns."""
        flags = self._flags
        self._counters[0] += 1
        flags[BUSY] = 1
        self._let_go()
        exchange.run(self._app)
        if not self._try_take(False):
            self._wait_for_the_gate()
        flags[BUSY] = 0
        # First of all: events of recalled connections may be pending.
        if flags[RECALLED]:
            self._engine.obey_recall()
        if flags[WANTED]:
            self._engine.report_room()
        return True

    def execute_beside(self, exchange: Exchange, done: Callable[[], None]) -> None:
        """Call the app for a request that is none of a client's; then `done`."""
        exchange.run(self._app)
        done()

    def watch_errors(self, handler: ErrorHandler) -> None:
        """Whom to tell of an error in a callback."""
        self.loop.error_handler = handler

    def give_up(self, connections: Iterable[Connection], now: float) -> None:
        """Not from within: the master kills a worker whose loop stands still."""

    def run(self) -> None:
        """Turn the loop until `stop`."""
        self.loop.run()

    def stop(self) -> None:
        """Have `run` return."""
        self.loop.break_()

    def _wait_for_the_gate(self) -> None:
        if self._engine.gate is not None:
            self._engine.gate.take(self._engine.alone)


def _do_nothing() -> None:
    """Where there is no gate, nobody waits for it."""
