"""Clients that never retry: bare sockets in one epoll loop, which has a thread of its own.

A client has one connection. It sends a request when it is told to, or as soon as the one before is
answered, and connects anew only when its connection has come to an end. What was sent and not
answered is lost, whatever the reason; a connection that ends while nothing was asked on it is
*dropped*, unless that was announced by `Connection: close`. An answer to nothing is *unasked*.
"""

from __future__ import annotations

import heapq
import itertools
import os
import random
import re
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType

HOST = "127.0.0.1"
# So long is waited for the answers that are due when no more is asked, in seconds.
PATIENCE = 40.0
# The second half of a body is sent so many seconds after the first.
_SPLIT_SECONDS = 0.003

_ESTABLISHED = 1  # a tcp_info's state: netinet/tcp.h

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CLOSE = re.compile(rb"\r\nconnection: *close", re.IGNORECASE)
_BODY = b"x" * 2000

# What is sent for some ids, at once and later; each in a way of its own.
Shape = Callable[[Sequence[bytes], bytes], tuple[bytes, bytes]]


def _get(name: bytes, extra: bytes) -> bytes:
    return b"GET /?%s HTTP/1.1\r\nHost: localhost\r\n%s\r\n" % (name, extra)


def plain(names: Sequence[bytes], extra: bytes) -> tuple[bytes, bytes]:
    """A request without a body."""
    return _get(names[0], extra), b""


def split(names: Sequence[bytes], extra: bytes) -> tuple[bytes, bytes]:
    """A request whose body comes in two halves."""
    head = b"POST /?%s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n%s\r\n" % (
        names[0],
        2 * len(_BODY),
        extra,
    )
    return head + _BODY, _BODY


def pair(names: Sequence[bytes], extra: bytes) -> tuple[bytes, bytes]:
    """Two requests, one behind the other."""
    return b"".join(_get(name, extra) for name in names), b""


@dataclass
class Tally:
    """What has become of all requests: `answered` with the pid that has answered, `failed` with
    the status of an answer that was no good one, `lost` with the reason, `behind` with the pid that
    has answered the one before it on the connection; how many connections there were, and how many
    of them brought something `unasked`; for each that was `dropped` the pid that had answered last
    on it, 0 if none had."""

    sent: int = 0
    answered: dict[bytes, int] = field(default_factory=dict)
    failed: dict[bytes, int] = field(default_factory=dict)
    lost: dict[bytes, str] = field(default_factory=dict)
    behind: dict[bytes, int] = field(default_factory=dict)
    connections: int = 0
    dropped: list[int] = field(default_factory=list)
    unasked: int = 0


class _Client:
    """One of the clients: its connection, and what is to be answered on it, in order."""

    __slots__ = ("answered_by", "due", "received", "rest", "shape", "sock")

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.sock: socket.socket | None = None
        self.due: deque[bytes] = deque()
        self.received = b""
        # The pid that has answered last on this connection.
        self.answered_by = 0
        # What of a request is still to be sent.
        self.rest = b""


class Swarm:
    """Many clients.

    Args:
        port: of the server, at 127.0.0.1.
        count: how many there are.
        shapes: what they send, in turn.
        close: whether they ask for a connection for each request.
        eager: whether they ask again as soon as they can, or only by `ask`.
        pause: seconds between an answer and the next request of one that is eager.
    """

    def __init__(
        self,
        port: int,
        count: int,
        shapes: Sequence[Shape] = (plain,),
        close: bool = False,
        eager: bool = True,
        pause: float = 0.0,
    ) -> None:
        self.tally = Tally()
        self._port = port
        self._clients = [_Client(shapes[number % len(shapes)]) for number in range(count)]
        self._extra = b"Connection: close\r\n" if close else b""
        self._eager = eager
        self._pause = pause
        self._names = itertools.count(1)
        self._epoll = select.epoll()
        self._by_fd: dict[int, _Client] = {}
        # What is to be done later: when, a number that makes it unique, what.
        self._later: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._told: deque[Callable[[], None]] = deque()
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._epoll.register(self._wake_read, select.EPOLLIN)
        self._stopping = False
        self._end_expected = False
        self._end = 0.0
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Swarm:
        self._thread.start()
        if self._eager:
            self.ask()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    # What others tell the clients, from their threads.

    def ask(self) -> None:
        """Have each client that waits for nothing send a request now."""
        self._tell(self._ask_all)

    def ask_within(self, seconds: float) -> None:
        """The same, but each at a moment of its own, and none later than this."""
        end = time.monotonic() + seconds
        self._tell(lambda: self._ask_until(end))

    def expect_the_end(self) -> None:
        """The server is about to end: from now on, who has no connection any more has no wish for
        another, and may be left without a word. What is sent still has to be answered."""
        self._end_expected = True

    def stop(self) -> None:
        """Ask no more, wait for the answers that are due, and close all connections."""
        if self._thread.is_alive():
            self._tell(self._begin_to_stop)
            self._thread.join()

    def wait_for(self, requests: int, seconds: float = 600.0) -> None:
        """Wait until so many have been answered."""
        end = time.monotonic() + seconds
        while len(self.tally.answered) < requests and time.monotonic() < end:
            time.sleep(0.01)

    @property
    def waiting(self) -> int:
        """How many clients wait for an answer."""
        return sum(bool(each.due) for each in self._clients)

    @property
    def connected(self) -> int:
        """How many connections are open."""
        return len(self._by_fd)

    # The loop.

    def _run(self) -> None:
        while not self._stopping or (self.waiting and time.monotonic() < self._end):
            timeout = self._later[0][0] - time.monotonic() if self._later else 0.1
            for fd, events in self._epoll.poll(max(0.0, min(timeout, 0.1))):
                if fd == self._wake_read:
                    os.read(fd, 4096)
                elif fd in self._by_fd:
                    self._ready(self._by_fd[fd], events)
            while self._told:
                self._told.popleft()()
            while self._later and self._later[0][0] <= time.monotonic():
                heapq.heappop(self._later)[2]()
        for client in self._clients:
            self._end_of(client, "no answer")
        self._epoll.close()
        os.close(self._wake_read)
        os.close(self._wake_write)

    def _tell(self, what: Callable[[], None]) -> None:
        self._told.append(what)
        os.write(self._wake_write, b".")

    def _do_later(self, seconds: float, what: Callable[[], None]) -> None:
        heapq.heappush(self._later, (time.monotonic() + seconds, next(self._order), what))

    def _begin_to_stop(self) -> None:
        self._stopping = True
        self._end = time.monotonic() + PATIENCE

    def _ask_all(self) -> None:
        for client in self._clients:
            self._ask(client)

    def _ask_until(self, end: float) -> None:
        for client in self._clients:
            wait = random.random() * (end - time.monotonic())
            self._do_later(max(0.0, wait), partial(self._ask_in_time, client, end))

    def _ask_in_time(self, client: _Client, end: float) -> None:
        if time.monotonic() <= end:
            self._ask(client)

    # A client.

    def _ask(self, client: _Client) -> None:
        if self._stopping or client.due:
            return
        if client.sock is None and (self._end_expected or not self._connect(client)):
            return
        names = [b"%016x" % next(self._names) for _ in range(2 if client.shape is pair else 1)]
        client.due.extend(names)
        self.tally.sent += len(names)
        now, later = client.shape(names, self._extra)
        client.rest = now
        self._send(client)
        if later:
            self._do_later(_SPLIT_SECONDS, lambda: self._send_more(client, names[0], later))

    def _connect(self, client: _Client) -> bool:
        sock = socket.socket()
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        error = sock.connect_ex((HOST, self._port))
        if error not in (0, 115):  # EINPROGRESS
            sock.close()
            self._refused(client, os.strerror(error))
            return False
        client.sock = sock
        self.tally.connections += 1
        self._by_fd[sock.fileno()] = client
        self._epoll.register(sock.fileno(), select.EPOLLIN)
        return True

    def _refused(self, client: _Client, why: str) -> None:
        name = b"%016x" % next(self._names)
        self.tally.sent += 1
        self.tally.lost[name] = why
        self._next(client, 0.05)

    def _send_more(self, client: _Client, name: bytes, more: bytes) -> None:
        if client.due and client.due[0] == name:
            client.rest += more
            self._send(client)

    def _send(self, client: _Client) -> None:
        assert client.sock is not None
        try:
            sent = client.sock.send(client.rest)
        except BlockingIOError:
            sent = 0  # it is not connected yet
        except OSError as error:
            if self._end_expected:
                self._withdraw(client)
            self._end_of(client, f"sending: {error.strerror}")
            self._next(client, self._pause)
            return
        if self._end_expected and sent and _server_has_ended(client.sock):
            self._withdraw(client)
            self._end_of(client, "")
            return
        client.rest = client.rest[sent:]
        events = select.EPOLLIN | (select.EPOLLOUT if client.rest else 0)
        self._epoll.modify(client.sock.fileno(), events)

    def _withdraw(self, client: _Client) -> None:
        """The server had ended the connection before it was sent anything: nothing was asked."""
        self.tally.sent -= len(client.due)
        client.due.clear()

    def _ready(self, client: _Client, events: int) -> None:
        assert client.sock is not None
        if events & select.EPOLLOUT:
            self._send(client)
        if not events & ~select.EPOLLOUT or client.sock is None:
            return
        try:
            data = client.sock.recv(65536)
        except BlockingIOError:
            return
        except OSError as error:
            self._ended(client, f"receiving: {error.strerror}")
            return
        if not data:
            self._ended(client, "the connection was closed")
            return
        client.received += data
        self._read(client)

    def _ended(self, client: _Client, why: str) -> None:
        """The server has ended the connection."""
        if not client.due and not client.received and not self._end_expected:
            self.tally.dropped.append(client.answered_by)
        self._end_of(client, why)
        self._next(client, self._pause)

    def _read(self, client: _Client) -> None:
        """Take the responses that have arrived whole."""
        while client.received:
            if not client.due:
                self._tell_of_unasked(client)
                return
            head, found, rest = client.received.partition(b"\r\n\r\n")
            length = _LENGTH.search(head)
            size = int(length[1]) if length else 0
            if not found or len(rest) < size:
                return
            client.received = rest[size:]
            self._take(client, client.due.popleft(), head, rest[:size])
            if _CLOSE.search(head) or head.startswith(b"HTTP/1.0"):
                self._end_of(client, "closed as announced, before the other request of a pair")
        if not client.due:
            self._next(client, self._pause)

    def _tell_of_unasked(self, client: _Client) -> None:
        """An answer to nothing would be taken for the answer to the next request."""
        self.tally.unasked += 1
        self._end_of(client, "")
        self._next(client, self._pause)

    def _take(self, client: _Client, name: bytes, head: bytes, body: bytes) -> None:
        status = int(head[9:12])
        if status != 200:
            self.tally.failed[name] = status
            return
        told, _, pid = body.partition(b" ")
        if told != name:
            self.tally.lost[name] = f"answered with {body[:40]!r}"
            return
        self.tally.answered[name] = client.answered_by = int(pid)

    def _next(self, client: _Client, seconds: float) -> None:
        """Have an eager client go on."""
        if not self._eager or self._stopping:
            return
        if seconds:
            self._do_later(seconds, lambda: self._ask(client))
        else:
            self._told.append(lambda: self._ask(client))

    def _end_of(self, client: _Client, why: str) -> None:
        """Let go of the connection; what is due on it is lost."""
        if client.sock is not None:
            self._epoll.unregister(client.sock.fileno())
            del self._by_fd[client.sock.fileno()]
            client.sock.close()
            client.sock = None
        for name in client.due:
            self.tally.lost[name] = why
            self.tally.behind[name] = client.answered_by
        client.due.clear()
        client.answered_by = 0
        client.received = client.rest = b""


def _server_has_ended(sock: socket.socket) -> bool:
    """Whether the server's end of the connection is here already: tcp(7), TCP_INFO."""
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] != _ESTABLISHED
