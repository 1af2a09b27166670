"""A borrowed connection: bytes from its socket become requests, their responses bytes again.

Each connection has one watcher, which waits for what the client sends as long as the connection
is lent, except while the rest of a response waits for the client to take it.

What the worker has done with it stands on the board at all times: `BUSY` before anything is read,
`RESPONDING` before the first byte of a response goes out, `IDLE` when the response is out and not
one byte of a next request is held. If the worker dies, that is all the master knows.
"""

from __future__ import annotations

import contextlib
import socket
from enum import Enum
from http import HTTPStatus
from time import monotonic
from typing import TYPE_CHECKING

from prefork.errors import HTTPError
from prefork.http import request, response
from prefork.http.request import Request, RequestParser
from prefork.wire.board import RETIRING, LoanState
from prefork.worker.outbound import Outbound
from prefork.wsgi import Disconnected, Exchange

if TYPE_CHECKING:
    from prefork.worker.engine import Engine

# Constants of modules, not members of enums: these are looked up for each request.
_BUSY = int(LoanState.BUSY)
_IDLE = int(LoanState.IDLE)
_RESPONDING = int(LoanState.RESPONDING)
_CLOSED = int(LoanState.CLOSED)
_ENDED = int(LoanState.ENDED)
_RETURNED = int(LoanState.RETURNED)

READ, WRITE = 1, 2  # of libev
RECEIVE_SIZE = 65536
# So many bytes of a response are kept for a client that is slow to take them, without asking the
# app to wait.
HIGH_WATER = 1 << 20


class Waiting(Enum):
    """What the connection waits for, each with a patience of its own."""

    NEXT_REQUEST = "keepalive"
    HEAD = "header_timeout"
    BODY = "body_timeout"
    CLIENT = "send_timeout"


_NEXT_REQUEST, _HEAD, _BODY = Waiting.NEXT_REQUEST, Waiting.HEAD, Waiting.BODY
_BETWEEN_REQUESTS, _IN_HEAD = request.Phase.IDLE, request.Phase.HEAD


class Connection:
    """One connection, from the moment it is lent until it is closed or given back.

    `since` is when its current wait began or last made progress, by the engine's clock.
    """

    __slots__ = (
        "_closing",
        "_engine",
        "_loans",
        "_outbound",
        "_parser",
        "_refused",
        "loan",
        "since",
        "sock",
        "waiting",
        "watcher",
    )

    def __init__(
        self, engine: Engine, loan: int, sock: socket.socket, parser: RequestParser
    ) -> None:
        self._engine = engine
        self._loans = engine.board.loans
        self.loan = loan
        self.sock = sock
        self._parser = parser
        # What the client has not taken yet, and whether the connection ends when it has.
        self._outbound: Outbound | None = None
        self._closing = False
        self._refused: HTTPError | None = None
        self.waiting = Waiting.NEXT_REQUEST
        self.since = engine.clock
        self.watcher = engine.loop.io(sock.fileno(), READ)
        self.watcher.start(self.readable)

    def readable(self) -> None:
        """The client has sent something, or is gone."""
        self._loans[self.loan] = _BUSY
        try:
            data = self.sock.recv(RECEIVE_SIZE)
        except BlockingIOError:
            if self.waiting is _NEXT_REQUEST:
                self._loans[self.loan] = _IDLE
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        parser = self._parser
        try:
            parser.feed(data)
        except HTTPError as error:
            self._refused = error
        if parser.requests:
            self._serve()
        elif self._refused is not None:
            self._refuse(self._refused)
        else:
            self._settle()

    def writable(self) -> None:
        """The client takes more of its response."""
        assert self._outbound is not None
        try:
            self._outbound.flush()
        except OSError:
            self.close()
            return
        if self._outbound.size:
            self.since = self._engine.clock
            self._outbound.rest()
            return
        self._outbound = None
        if self._closing:
            self.close(_CLOSED)
            return
        self.watcher.stop()
        self.watcher = self._engine.loop.io(self.sock.fileno(), READ)
        self.watcher.start(self.readable)
        self._serve()

    def expire(self) -> None:
        """The wait has taken too long; but what has arrived meanwhile counts."""
        if self._outbound is not None:
            if self._outbound.taken():
                self.since = self._engine.clock
            else:
                self.close()
            return
        since = self.since
        self.readable()
        if self.sock.fileno() >= 0 and self.since == since:
            self._time_out()

    @property
    def idle(self) -> bool:
        """Whether the connection is between two requests."""
        return self.waiting is Waiting.NEXT_REQUEST

    def give_back(self) -> None:
        """Return the idle loan: the master has its own copy of the fd, so nothing is sent."""
        # Or it might be recalled as well, before the master has read that it was returned.
        self._loans[self.loan] = _RETURNED
        self.drop()

    def drop(self) -> None:
        """Let go of a loan that is not ours any more, without a word to the client."""
        self.watcher.stop()
        self.sock.close()
        self._parser.close()

    def close(self, state: int | None = None) -> None:
        """End the connection: in order with the state `_CLOSED`, else as the board says now.

        The socket is shut down, as the close alone would not tell the client: the master has a
        copy. A cut response gets no such end; the master resets the connection.
        """
        # The watcher before the fd: epoll watches the open file, which the master keeps open.
        self.watcher.stop()
        loans = self._loans
        if state is not None:
            loans[self.loan] = state
        elif loans[self.loan] == _BUSY:
            loans[self.loan] = _CLOSED
        elif loans[self.loan] != _RESPONDING:
            loans[self.loan] = _ENDED
        if loans[self.loan] != _RESPONDING:
            with contextlib.suppress(OSError):  # the client is gone already
                self.sock.shutdown(socket.SHUT_WR)
        self.sock.close()
        self._parser.close()
        self._engine.closed(self)

    # What an exchange needs of its transport.

    @property
    def retiring(self) -> bool:
        """Whether keep-alive is off; a pipelined request that is held is still answered."""
        engine = self._engine
        if engine.keeps_alive and not engine.flags[RETIRING]:
            return False
        return not self._parser.requests

    def send(self, data: bytes) -> None:
        """Send a part of a response; what the client does not take at once is kept.

        Raises:
            Disconnected: the client is gone, or has taken nothing for `send_timeout` while the
                app waited for it.
        """
        self._loans[self.loan] = _RESPONDING
        try:
            if self._outbound is None:
                try:
                    sent = self.sock.send(data)
                except BlockingIOError:
                    sent = 0
                if sent == len(data):
                    return
                self._outbound = Outbound(self.sock, data, sent)
            else:
                self._outbound.add(data)
            while self._outbound.size > HIGH_WATER:
                self._engine.wait_writable(self.sock)
                self._outbound.flush()
            if not self._outbound.size:
                self._outbound = None
        except OSError as error:
            raise Disconnected from error

    # The parts.

    def _serve(self) -> None:
        """Serve what requests have arrived whole, in order."""
        requests = self._parser.requests
        while requests:
            # Not before: with its last byte out and nothing begun, a loan is RESPONDING or IDLE.
            # If it were BUSY and the worker died, the master would send a 502 behind it.
            self._loans[self.loan] = _BUSY
            if not self._exchange(requests.popleft()):
                return
        if self._refused is not None:
            self._refuse(self._refused)
        else:
            self._settle()

    def _exchange(self, request: Request) -> bool:
        """Serve one request; whether the connection can go on to the next one at once."""
        engine = self._engine
        engine.counters[0] += 1
        exchange = Exchange(request, self)
        try:
            engine.execute(exchange)
        except HTTPError as error:
            self._refuse(error)
            return False
        # Waits that begin now must not be charged with the time that the app took.
        engine.clock = monotonic()
        if not exchange.complete:
            self.close()
            return False
        if self._outbound is not None:
            self._await_client(closing=not exchange.persistent)
            return False
        if not exchange.persistent:
            self.close(_CLOSED)
            return False
        self.waiting = _NEXT_REQUEST
        return True

    def _settle(self) -> None:
        """Nothing more can be done until the client sends something.

        A head has to arrive within its time, however many parts it comes in; of a body each
        part has its own time.
        """
        engine = self._engine
        phase = self._parser.phase
        if phase is _BETWEEN_REQUESTS:
            self.since = engine.clock
            self.waiting = _NEXT_REQUEST
            self._loans[self.loan] = _IDLE
            if engine.on_idle is not None:
                engine.on_idle(self)
            return
        self._loans[self.loan] = _BUSY
        waiting = _HEAD if phase is _IN_HEAD else _BODY
        if waiting is not self.waiting or waiting is _BODY:
            self.since = engine.clock
            self.waiting = waiting
        if self._parser.continue_wanted:
            self._send_continue()

    def _refuse(self, error: HTTPError) -> None:
        """Answer a request that can't be served, and end the connection."""
        try:
            self.send(response.error_response(error.status, error.why))
        except Disconnected:
            self.close()
            return
        if self._outbound is not None:
            self._await_client(closing=True)
        else:
            self.close(_CLOSED)

    def _time_out(self) -> None:
        if self.waiting is Waiting.NEXT_REQUEST:
            self.close()
        else:
            self._refuse(HTTPError(HTTPStatus.REQUEST_TIMEOUT, "the request took too long"))

    def _await_client(self, closing: bool) -> None:
        """Send the rest when the client takes it; until then nothing is read from it."""
        assert self._outbound is not None
        self._outbound.rest()
        self._closing = closing
        self.waiting = Waiting.CLIENT
        self.since = self._engine.clock
        self.watcher.stop()
        self.watcher = self._engine.loop.io(self.sock.fileno(), WRITE)
        self.watcher.start(self.writable)

    def _send_continue(self) -> None:
        """An interim response: RFC 9110, section 15.2.1. A client that does not take these few
        bytes gets no better by waiting for it: the body comes, or times out."""
        self._parser.continue_wanted = False
        try:
            self.sock.send(response.CONTINUE)
        except OSError:
            return
