"""A connection of a worker: bytes from its socket become requests, their responses bytes again.

What the worker has done with a loan stands on the board at all times: `BUSY` before anything is
read, `RESPONDING` before the first byte of a response goes out, `IDLE` when the response is out
and not one byte of a next request is held. If the worker dies, that is all the master knows.
"""

from __future__ import annotations

import math
from http import HTTPStatus
from os import read, write
from time import monotonic
from typing import TYPE_CHECKING

from prefork.errors import HTTPError
from prefork.http import forwarded, response
from prefork.http.parser import RequestParser
from prefork.http.request import Phase, Request
from prefork.responding import Disconnected
from prefork.wire.board import RETIRING
from prefork.worker.offer import Offer
from prefork.worker.transport import (
    BUSY,
    CLOSED,
    ENDED,
    IDLE,
    READ,
    SocketTransport,
    Waiting,
)
from prefork.wsgi import Exchange

if TYPE_CHECKING:
    from prefork.worker.engine import Engine
    from prefork.worker.service import Entrance

RECEIVE_SIZE = 65536

# Members of an enum cost two look-ups.
_NEXT_REQUEST, _HEAD, _BODY = Waiting.NEXT_REQUEST, Waiting.HEAD, Waiting.BODY
_BETWEEN_REQUESTS, _IN_HEAD = Phase.IDLE, Phase.HEAD


class Connection(SocketTransport):
    """One connection, from the moment it is had until it is closed or given back.

    Args:
        engine: whose connection it is.
        states, key: where its state is written.
        fd: its socket, which does not block.
        entrance: where it came in.
        peer: REMOTE_ADDR and REMOTE_PORT.
    """

    __slots__ = (
        "_closing",
        "_entrance",
        "_owed",
        "_parser",
        "_peer",
        "_refused",
        "_request_ids",
        "_trusted",
    )

    def __init__(
        self,
        engine: Engine,
        states: memoryview | bytearray,
        key: int,
        fd: int,
        entrance: Entrance,
        peer: tuple[str, str],
    ) -> None:
        super().__init__(engine, states, key, fd)
        self._entrance = entrance
        self._peer = peer
        # Whether it is believed what it says of its clients.
        self._trusted = peer[0] in entrance.proxies
        self._request_ids = entrance.request_ids
        self._parser: RequestParser | None = None
        # Whether the connection ends when the client has taken what it has not taken yet.
        self._closing = False
        self._refused: HTTPError | None = None
        # Bytes of a body that have yet to come until the client has its time anew.
        self._owed: float = 0

    # What the loop calls.

    def readable(self) -> None:
        """The client has sent something, or is gone."""
        states, key = self._states, self.key
        states[key] = BUSY
        try:
            data = read(self.fd, RECEIVE_SIZE)
        except BlockingIOError:
            if self.waiting is _NEXT_REQUEST:
                states[key] = IDLE
            self._watch_input()
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        parser = self._parser
        if parser is None or parser.phase is _BETWEEN_REQUESTS:
            request = self._entrance.heads.recognize(data, self._peer)
            if request is not None:
                self._serve(request)
                return
        self._parse(data)

    def expire(self) -> None:
        """The wait has taken too long; but what has arrived meanwhile counts."""
        if self._outbound is not None:
            if self._outbound.taken(self._engine.quota(Waiting.CLIENT)):
                self.since = self._engine.clock
            else:
                self.lose()
            return
        before = math.inf
        while self._owed < before and self._overdue():
            before = self._owed
            Connection.readable(self)  # now, where that is put off as well
        # What came may have been enough: then it waits for something else, the app say.
        if self._overdue():
            self._time_out()

    # What an exchange needs of its transport.

    @property
    def retiring(self) -> bool:
        """Whether keep-alive is off; a pipelined request that is held is still answered."""
        engine = self._engine
        if engine.keeps_alive and not engine.flags[RETIRING]:
            return False
        parser = self._parser
        return parser is None or not (parser.requests or parser.waiting)

    # The end.

    def release(self) -> int:
        """Let go of the socket, and of all else: the fd, which is still open."""
        if self._parser is not None:
            self._parser.close()
        return SocketTransport.release(self)  # super() costs as much as a call

    # The parts.

    def _parse(self, data: bytes) -> None:
        """Have the parser make requests of these bytes, and serve them."""
        parser = self._parser
        if parser is None:
            parser = self._parser = self._entrance.parser(self._peer)
        fresh = parser.phase is _BETWEEN_REQUESTS
        if self.waiting is _BODY:
            self._owed -= len(data)
        self._have_parsed(data)
        if fresh and len(parser.requests) == 1 and parser.phase is _BETWEEN_REQUESTS:
            self._entrance.heads.learn(data, parser.requests[0])
        self._proceed()

    def _have_parsed(self, data: bytes) -> None:
        assert self._parser is not None
        try:
            self._parser.feed(data)
        except HTTPError as error:
            # To be answered when what has come before it is. What was raised has a traceback, which
            # refers back to this connection: all would be left to the collector.
            self._refused = HTTPError(error.status, error.why)

    def _proceed(self) -> None:
        """Serve what has been parsed, if anything has."""
        request = self._next()
        if request is not None:
            self._serve(request)

    def _serve(self, request: Request | None) -> None:
        """Serve a request, and those that have arrived behind it, in order."""
        execute = self._engine.execute
        while request is not None:
            exchange = self._exchange_for(request)
            execute(exchange)
            request = self._conclude(exchange)

    def _exchange_for(self, request: Request) -> Exchange:
        """Begin to answer a request, of which now all is said that the app is to know."""
        if self._trusted:
            forwarded.apply(request.environ, self._entrance.proxies)
        if self._request_ids is not None:
            self._request_ids.give(request.environ, self._trusted)
        exchange = Exchange(request, self) if request.behind is None else Offer(request, self)
        if self._engine.timed:
            exchange.began = monotonic()
        return exchange

    def _conclude(self, exchange: Exchange) -> Request | None:
        """The app is done: see to the rest; the request to serve next, if one has arrived."""
        engine = self._engine
        # Waits that begin now must not be charged with the time that the app took.
        engine.clock = now = monotonic()
        if exchange.began:
            self._record(exchange, now - exchange.began)
        if not exchange.complete:
            self._break_off(exchange)
        elif self._outbound is not None:
            self._closing = not exchange.persistent
            self._await_client(self._outbound)
        elif not exchange.persistent:
            self._end(exchange.request)
        elif self._parser is not None:
            self.waiting = _NEXT_REQUEST
            return self._next()
        else:
            self._rest(now)
        return None

    def _record(self, exchange: Exchange, seconds: float) -> None:
        """Tell those who count and log requests of this one."""
        engine = self._engine
        if engine.access is not None:
            engine.access.log(exchange, seconds)
        if engine.tally is not None:
            engine.tally.count(exchange.status, seconds)
        if engine.statsd is not None:
            engine.statsd.request(exchange.status, seconds)

    def _next(self) -> Request | None:
        """The next request that has arrived. If there is none, whatever there is to do is done."""
        parser = self._parser
        assert parser is not None
        if parser.waiting and not parser.requests:
            self._have_parsed(b"")
        if parser.requests:
            # Not before: with its last byte out and nothing begun, a loan is RESPONDING or IDLE.
            # If it were BUSY and the worker died, the master would send a 502 behind it.
            self._states[self.key] = BUSY
            return parser.requests.popleft()
        if self._refused is not None:
            self._refuse(self._refused)
        elif parser.phase is _BETWEEN_REQUESTS:
            self._rest(self._engine.clock)
        else:
            self._await_rest(parser)
        return None

    def _rest(self, now: float) -> None:
        """The connection is idle."""
        self.waiting = _NEXT_REQUEST
        self.since = now
        self._states[self.key] = IDLE
        if self._watcher is None:
            self._watch(READ)
        if self._engine.on_idle is not None:
            self._engine.on_idle(self)

    def _await_rest(self, parser: RequestParser) -> None:
        """A part of a request has arrived. A head has to arrive within its time, however many
        parts it comes in; so has each quota of a body."""
        self._states[self.key] = BUSY
        waiting = _HEAD if parser.phase is _IN_HEAD else _BODY
        if waiting is not self.waiting or (waiting is _BODY and self._owed <= 0):
            self.waiting = waiting
            self._give_time()
        self._watch_input()
        if parser.continue_wanted:
            parser.continue_wanted = False
            self._send_continue()

    def _give_time(self) -> None:
        """The client has its time from now on; of a body, for the next quota."""
        self.since = self._engine.clock
        self._owed = self._engine.quota(_BODY)

    def _overdue(self) -> bool:
        """Whether the client has had its time, as of the engine's clock."""
        engine = self._engine
        return self.fd >= 0 and engine.clock - self.since > engine.patience(self.waiting)

    def _end(self, request: Request) -> None:
        """The last response is out. A client whose wish this is sends nothing more; another may
        be about to."""
        over = not request.persistent and request.body is None
        self.close(ENDED if over else CLOSED)

    def _break_off(self, exchange: Exchange) -> None:
        """The client has got no whole response."""
        if exchange.refused is not None:
            self._refuse(exchange.refused)
        elif exchange.taken:
            self.close(CLOSED)
        else:
            self.close()

    def _refuse(self, error: HTTPError) -> None:
        """Answer a request that can't be served, and end the connection."""
        if self._engine.tally is not None:
            self._engine.tally.answered(error.status)
        try:
            self.send(response.error_response(error.status, error.why))
        except Disconnected:
            self.close()
            return
        if self._outbound is not None:
            self._closing = True
            self._await_client(self._outbound)
        else:
            self.close(CLOSED)

    def _time_out(self) -> None:
        if self.waiting is _NEXT_REQUEST:
            self.close()
        else:
            self._refuse(HTTPError(HTTPStatus.REQUEST_TIMEOUT, "the request took too long"))

    def _written(self) -> None:
        """The client has taken all of a response."""
        if self._closing:
            self.close(CLOSED)
        elif self._parser is not None:
            self.waiting = _NEXT_REQUEST
            self._proceed()
        else:
            self._rest(self._engine.clock)

    def _send_continue(self) -> None:
        """An interim response: RFC 9110, section 15.2.1. A client that does not take these few
        bytes gets no better by waiting for it: the body comes, or times out."""
        try:
            write(self.fd, response.CONTINUE)
        except OSError:
            return
