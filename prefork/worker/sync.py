"""The kind `sync`: the app is called in the loop, one request at a time.

While it runs, the loop stands still: what other clients send waits in the kernel. Requests are
received whole before, and the end of a response is sent by the loop after, so a slow client costs
a buffer, not the worker; only a response larger than that buffer makes the app wait for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gevent.libev.corecext import loop as Loop  # noqa: N812

from prefork.worker.connection import Connection
from prefork.wsgi import App, Exchange

if TYPE_CHECKING:
    from prefork.worker.engine import Engine


class Sync:
    """Calls the app for one request at a time."""

    connection: type[Connection] = Connection
    multithread = False
    streams = False
    full = False

    def __init__(self) -> None:
        # A loop of our own: an app that uses gevent by itself finds the default one unused.
        self.loop = Loop(default=False)

    def begin(self, engine: Engine, app: App) -> None:
        """From now on requests are executed."""
        self._app = app
        self._counters = engine.counters

    def execute(self, exchange: Exchange) -> bool:
        """Call the app: it is done when this returns."""
        self._counters[0] += 1
        exchange.run(self._app)
        return True

    def run(self) -> None:
        """Turn the loop until `stop`."""
        self.loop.run()

    def stop(self) -> None:
        """Have `run` return."""
        self.loop.break_()
