"""Connections of a worker whose loop goes on while the app runs.

What the client sends meanwhile stays in the kernel: the watcher is stopped only if something does
come, since most clients wait for the response, so a request costs no call of epoll_ctl.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prefork.http.request import Request
from prefork.worker.connection import Connection
from prefork.worker.lingering import shut_down
from prefork.worker.outbound import Outbound
from prefork.worker.transport import Waiting
from prefork.wsgi import Exchange

if TYPE_CHECKING:
    from prefork.worker.engine import Engine
    from prefork.worker.service import Entrance

# A member of an Enum costs two look-ups.
_APP = Waiting.APP


class ConcurrentConnection(Connection):
    """A connection whose requests are executed beside the loop.

    `lost` says that there is nobody to answer any more, although the app still runs.
    """

    __slots__ = ("_exchange", "_paused", "lost")

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
        self._exchange: Exchange | None = None
        self._paused = False
        self.lost = False

    @property
    def unsent(self) -> int:
        """How many bytes of the response are kept for the client, in memory."""
        return 0 if self._outbound is None else self._outbound.size

    @property
    def taken(self) -> bool:
        """Whether the app has taken the socket: what it does now is no request that takes long."""
        return self._exchange is not None and self._exchange.taken

    def readable(self) -> None:
        """The client has sent something, or is gone."""
        if self._exchange is None:
            Connection.readable(self)  # super() costs as much as a call
        else:
            self._receive_meanwhile(self._exchange)

    def writable(self) -> None:
        """The client takes more of its response."""
        super().writable()
        if self._exchange is not None:
            self.resume()

    def executed(self, exchange: Exchange) -> None:
        """The app is done with a request that was not executed at once."""
        request = self._conclude(exchange)
        if request is not None:
            self._serve(request)

    def resume(self) -> None:
        """Let the app go on if it waits for this connection."""

    def _receive_meanwhile(self, exchange: Exchange) -> None:
        """The client sends while its request is executed: that has to wait."""
        self._pause()

    def _pause(self) -> None:
        if self._watcher is not None:
            self._watcher.stop()
        self._paused = True

    def _unpause(self) -> None:
        if self._paused and self._watcher is not None:
            self._watcher.start(self.readable)
        self._paused = False

    def _serve(self, request: Request | None) -> None:
        engine = self._engine
        while request is not None:
            self._exchange = exchange = self._exchange_for(request)
            self.waiting = _APP
            if not engine.execute(exchange):
                return
            if request.body is None:
                # Done at once, as most are: nothing has come between.
                self._exchange = None
                request = Connection._conclude(self, exchange)
            else:
                request = self._conclude(exchange)

    def _conclude(self, exchange: Exchange) -> Request | None:
        self._exchange = None
        if self.lost:
            exchange.complete = False
        else:
            self._unpause()
        return super()._conclude(exchange)

    def _watch(self, event: int) -> None:
        self._paused = False
        super()._watch(event)

    def _written(self) -> None:
        if self._exchange is None:
            super()._written()
        else:
            self.waiting = Waiting.APP

    def lose(self) -> None:
        """Nobody is left to answer. The connection ends when the app does."""
        if self._exchange is None:
            self.close()
            return
        self.lost = True
        self._drop_outbound()
        self._pause()
        shut_down(self.fd)
        self.resume()

    def _hold_up(self, outbound: Outbound) -> None:
        """The loop sends what is kept, while the app goes on."""
        if self.waiting is not Waiting.CLIENT:
            self._await_client(outbound)
