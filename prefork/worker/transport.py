"""The socket of a connection: what is sent to the client, how it is waited for, how it ends.

Each connection has one watcher, which waits for what the client sends, except while the rest of a
response waits for the client to take it. So a request costs no system calls but a read and a
write.
"""

from __future__ import annotations

from enum import Enum
from os import write, writev
from typing import TYPE_CHECKING, Any

from prefork.http.files import Extent
from prefork.responding import Disconnected
from prefork.wire.board import LoanState
from prefork.worker.outbound import FilePart, Outbound

if TYPE_CHECKING:
    from prefork.worker.engine import Engine

# Constants of modules, not members of enums: these are looked up for each request.
BUSY = int(LoanState.BUSY)
IDLE = int(LoanState.IDLE)
RESPONDING = int(LoanState.RESPONDING)
CLOSED = int(LoanState.CLOSED)
ENDED = int(LoanState.ENDED)
_RETURNED = int(LoanState.RETURNED)

READ, WRITE = 1, 2  # of libev
# So many bytes of a response are kept for a client that is slow to take them, without asking the
# app to wait.
HIGH_WATER = 1 << 20


class Waiting(Enum):
    """What the connection waits for, each with a patience of its own."""

    NEXT_REQUEST = "keepalive"
    HEAD = "header_timeout"
    BODY = "body_timeout"
    CLIENT = "send_timeout"
    APP = "the app"


class SocketTransport:
    """Where the responses of a connection go.

    Args:
        engine: whose connection it is.
        states, key: where its state is written.
        fd: its socket, which does not block.

    `since` is when its current wait began or last made progress, by the engine's clock. There is
    no watcher before there was something to wait for.
    """

    __slots__ = ("_engine", "_outbound", "_states", "_watcher", "fd", "key", "since", "waiting")

    def __init__(self, engine: Engine, states: memoryview | bytearray, key: int, fd: int) -> None:
        self._engine = engine
        self._states = states
        self.key = key
        self.fd = fd
        # What the client has not taken yet.
        self._outbound: Outbound | None = None
        self.waiting = Waiting.NEXT_REQUEST
        self.since = engine.clock
        self._watcher: Any = None

    def readable(self) -> None:
        """The client has sent something, or is gone."""
        raise NotImplementedError

    def writable(self) -> None:
        """The client takes more of its response."""
        outbound = self._outbound
        assert outbound is not None
        try:
            outbound.flush()
        except OSError:
            self.lose()
            return
        self.since = self._engine.clock
        if not outbound.empty:
            outbound.rest()
            return
        self._outbound = None
        self._watch(READ)
        self._written()

    def send(self, data: bytes, more: bytes = b"") -> None:
        """Send a part of a response; what the client does not take at once is kept.

        Raises:
            Disconnected: the client is gone, or has taken nothing for `send_timeout` while the
                app waited for it.
        """
        self._states[self.key] = RESPONDING
        sent = 0
        if self._outbound is None:
            try:
                sent = writev(self.fd, (data, more)) if more else write(self.fd, data)
            except BlockingIOError:
                pass
            except OSError as error:
                raise Disconnected from error
            if sent == len(data) + len(more):
                return
            self._outbound = Outbound(self.fd)
        self._outbound.add(data, min(sent, len(data)))
        self._outbound.add(more, max(0, sent - len(data)))
        self._hold_up(self._outbound)

    def send_file(self, head: bytes, extent: Extent) -> None:
        """Send these bytes and a part of a file. What the client does not take at once of the file
        stays on the disk, and the app does not wait for it.

        Raises:
            Disconnected: the client is gone, or takes nothing, or the file can't be sent.
        """
        try:
            file = FilePart(extent)
        except OSError as error:
            raise Disconnected from error
        self.send_part(head, file)

    def send_part(self, head: bytes, file: FilePart) -> None:
        """Do what `send_file` does, with the file in our hands."""
        self._states[self.key] = RESPONDING
        outbound = self._outbound
        if outbound is None:
            outbound = self._start_with(head, file)
            if outbound is None:
                return
            self._outbound = outbound
        else:
            outbound.add(head)
            outbound.add_file(file)
        self._hold_up(outbound)

    def _start_with(self, head: bytes, file: FilePart) -> Outbound | None:
        """Begin to send; what the client has not taken at once."""
        outbound = Outbound(self.fd)
        outbound.add(head)
        outbound.add_file(file)
        try:
            outbound.flush()
        except OSError as error:
            outbound.close()
            raise Disconnected from error
        return None if outbound.empty else outbound

    @property
    def state(self) -> int:
        """What the board says: a `LoanState`."""
        return self._states[self.key]

    def take(self) -> None:
        """Leave the connection to the app, which answers by itself. A death cuts it from now on."""
        self._states[self.key] = RESPONDING

    def unwatch(self, fd: int) -> None:
        """The app is about to close an fd of its own for this connection: see the engine."""
        self._engine.unwatch(fd)

    @property
    def idle(self) -> bool:
        """Whether the connection is between two requests."""
        return self.waiting is Waiting.NEXT_REQUEST

    @property
    def pinned(self) -> bool:
        """Whether nobody else has the connection, as this worker has accepted it."""
        return type(self._states) is bytearray

    def release(self) -> int:
        """Let go of the socket, and of all else: the fd, which is still open."""
        # The watcher before the fd: epoll watches the open file, which the master keeps open.
        if self._watcher is not None:
            self._watcher.stop()
            if not self.pinned:
                self._engine.unwatch(self.fd)
        self._drop_outbound()
        fd, self.fd = self.fd, -1
        return fd

    def give_back(self) -> int:
        """Return the idle loan: the fd, which is to be closed. Nothing is sent to the client."""
        # Or it might be recalled as well, before the master has read that it was returned.
        self._states[self.key] = _RETURNED
        return self.release()

    def disown(self) -> int:
        """In a forked child: have nothing to do with it any more; the fd, which is to be closed."""
        if self._watcher is not None:
            self._watcher.stop()
        self._watcher = None
        self._drop_outbound()
        # The board, and the epoll instance, are the parent's.
        self._states, self.key = bytearray(1), 0
        fd, self.fd = self.fd, -1
        return fd

    def close(self, state: int | None = None) -> None:
        """End the connection: with this state, or by what the board says now."""
        states, key = self._states, self.key
        if state is not None:
            states[key] = state
        elif states[key] == BUSY:
            states[key] = CLOSED
        elif states[key] != RESPONDING:
            states[key] = ENDED
        self._engine.closed(self)

    def lose(self) -> None:
        """The client is gone, or takes nothing."""
        self.close()

    def _drop_outbound(self) -> None:
        """What the client has not taken is not sent any more."""
        if self._outbound is not None:
            self._outbound.close()
            self._outbound = None

    def _written(self) -> None:
        """The client has taken all of a response."""
        raise NotImplementedError

    def _hold_up(self, outbound: Outbound) -> None:
        """Have the app wait if too much is kept for the client.

        Raises:
            Disconnected: the client is gone, or takes nothing.
        """
        try:
            outbound.flush()
            while outbound.size > HIGH_WATER:
                engine = self._engine
                outbound.wait(engine.patience(Waiting.CLIENT), engine.quota(Waiting.CLIENT))
                outbound.flush()
        except OSError as error:
            raise Disconnected from error
        if outbound.empty:
            self._outbound = None

    def _await_client(self, outbound: Outbound) -> None:
        """Send the rest when the client takes it; until then nothing is read from it."""
        outbound.rest()
        self.waiting = Waiting.CLIENT
        self.since = self._engine.clock
        self._watch(WRITE)

    def _watch_input(self) -> None:
        if self._watcher is None:
            self._watch(READ)

    def _watch(self, event: int) -> None:
        if self._watcher is not None:
            self._watcher.stop()
        self._watcher = self._engine.loop.io(self.fd, event)
        self._watcher.start(self.readable if event == READ else self.writable)
