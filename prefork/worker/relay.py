"""What stands between a connection in the loop and a thread that runs its request.

The thread never touches the connection: it gives what it wants sent to a relay, which hands it over
to whoever stands for the loop.
"""

from __future__ import annotations

import math
import threading
from http import HTTPStatus
from time import monotonic
from typing import TYPE_CHECKING

from prefork.errors import HTTPError
from prefork.http.files import Extent
from prefork.responding import Disconnected
from prefork.worker.concurrent import ConcurrentConnection
from prefork.worker.outbound import FilePart
from prefork.worker.transport import HIGH_WATER, RESPONDING, Waiting

if TYPE_CHECKING:
    from prefork.worker.engine import Engine
    from prefork.worker.service import Entrance
    from prefork.worker.threads import Threads

# A member of an Enum costs two look-ups.
_NEXT_REQUEST = Waiting.NEXT_REQUEST


class ThreadConnection(ConcurrentConnection):
    """A connection whose requests run in threads."""

    __slots__ = ("_kind", "relay")

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
        self._kind: Threads = engine.kind  # type: ignore[assignment]
        self.relay: Relay | None = None

    def readable(self) -> None:
        """The client has sent something, or is gone."""
        if self.waiting is _NEXT_REQUEST and self._kind.defers:
            self._kind.postpone(self)
        else:
            ConcurrentConnection.readable(self)  # super() costs as much as a call

    def expire(self) -> None:
        """The wait has taken too long; but what has arrived meanwhile counts."""
        held = self.waiting is _NEXT_REQUEST and self._kind.full
        if self._paused or held:
            self.since = self._engine.clock  # it is not the client who is late
        else:
            super().expire()

    def hold(self) -> None:
        """What has arrived has to wait."""
        if not self._paused:
            self._pause()

    def admit(self) -> None:
        """There is room for what has arrived."""
        self._unpause()
        ConcurrentConnection.readable(self)

    def abandon(self) -> None:
        """End the connection without the thread that its request is in."""
        relay, exchange = self.relay, self._exchange
        assert relay is not None
        assert exchange is not None
        relay.abandoned = exchange.over = True
        relay.passed(0)
        self.relay = self._exchange = None
        if self.state == RESPONDING:
            self.close()
            return
        exchange.status = "504 Gateway Timeout"
        if self._engine.access is not None:
            self._engine.access.log(exchange, monotonic() - exchange.began)
        self._refuse(HTTPError(HTTPStatus.GATEWAY_TIMEOUT, "the application took too long"))

    def resume(self) -> None:
        """Let the thread go on that waits for the client to take something."""
        if self.relay is not None:
            self.relay.passed(0)


class Relay:
    """What an exchange in a thread has for a transport: it hands all over to the loop.

    `given` bytes are counted by the thread, `taken` ones by the loop. `began` is when the thread
    began, `thread` which one it is. `abandoned` says that the connection has ended without it.
    """

    __slots__ = (
        "_given",
        "_kind",
        "_passed",
        "_room",
        "_taken",
        "abandoned",
        "began",
        "connection",
        "thread",
    )

    def __init__(self, kind: Threads, connection: ThreadConnection) -> None:
        self._kind = kind
        self.connection = connection
        self.began = math.inf
        self.thread = 0
        self.abandoned = False
        self._given = self._passed = self._taken = 0
        self._room: threading.Event | None = None

    @property
    def retiring(self) -> bool:
        """Whether keep-alive is off."""
        return self.connection.retiring

    @property
    def lost(self) -> bool:
        """Whether nobody is left to answer."""
        return self.abandoned or self.connection.lost

    def send(self, data: bytes, more: bytes = b"") -> None:
        """Have the loop send these bytes; wait if it has too many of them.

        Raises:
            Disconnected: the client is gone, or takes nothing.
        """
        if self.lost:
            raise Disconnected
        self._given += len(data) + len(more)
        self._kind.hand_over(self, data, more)
        self._await_room()

    def send_file(self, head: bytes, extent: Extent) -> None:
        """Have the loop send these bytes and a part of a file, which may be closed then.

        Raises:
            Disconnected: the client is gone, or takes nothing, or the file can't be sent.
        """
        if self.lost:
            raise Disconnected
        try:
            file = FilePart(extent)
        except OSError as error:
            raise Disconnected from error
        self._given += len(head)
        self._kind.hand_over(self, head, file)

    def _await_room(self) -> None:
        while self._given - self._taken > HIGH_WATER:
            self._room = room = threading.Event()
            if self._given - self._taken > HIGH_WATER and not self.lost:
                room.wait()
            if self.lost:
                raise Disconnected

    def pass_on(self, data: bytes, more: bytes | FilePart) -> None:
        """In the loop: have the connection send this."""
        if isinstance(more, FilePart):
            self._pass_on_part(data, more)
            return
        connection = self.connection
        # An app may call write() when its request is over.
        if connection.relay is self and not connection.lost:
            try:
                connection.send(data, more)
            except Disconnected:
                connection.lose()
        self.passed(len(data) + len(more))

    def _pass_on_part(self, head: bytes, file: FilePart) -> None:
        connection = self.connection
        if connection.relay is self and not connection.lost:
            try:
                connection.send_part(head, file)
            except Disconnected:
                connection.lose()
        else:
            file.close()
        self.passed(len(head))

    def passed(self, size: int) -> None:
        """In the loop: so many bytes more are with the connection, which may keep them yet."""
        self._passed += size
        self._taken = self._passed - self.connection.unsent
        room = self._room
        if room is not None:
            room.set()
