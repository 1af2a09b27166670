"""Clients: of the standard library's http.client, which never retry, and bare sockets."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType


@dataclass(frozen=True)
class Answer:
    """A response that has arrived whole."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()


class Client(http.client.HTTPConnection):
    """A keep-alive client on one connection.

    It connects anew only when it was told `Connection: close`; whatever else happens to its
    connection is an exception.
    """

    def __init__(self, port: int, timeout: float) -> None:
        super().__init__("127.0.0.1", port, timeout=timeout)

    def ask(
        self,
        path: str = "/",
        method: str = "GET",
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """Send a request and read the whole response."""
        self.request(method, path, body=body, headers=headers or {})
        response = self.getresponse()
        data = response.read()
        if response.length:
            raise http.client.IncompleteRead(data, response.length)
        return Answer(response.status, response.msg, data)

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class UnixClient(Client):
    """The same over a unix socket."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__(0, timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


@dataclass
class Load:
    """Clients that ask over and over, each in a thread, until told to stop.

    Args:
        connect: makes a client.
        actions: what the clients do, in turn; each raises when it is not served rightly.
        clients: how many there are.
        pause: seconds between two requests of a client.

    `losses` are the failures, `count` the requests that were answered, `slowest` the longest
    time that one took in seconds.
    """

    connect: Callable[[], Client]
    actions: list[Callable[[Client], None]]
    clients: int = 50
    pause: float = 0.005
    losses: list[str] = field(default_factory=list)
    count: int = 0
    slowest: float = 0.0
    _stopping: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __enter__(self) -> Load:
        for number in range(self.clients):
            thread = threading.Thread(target=self._run, args=(number,), daemon=True)
            thread.start()
            self._threads.append(thread)
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive(), "a client hangs"

    def answer(self, more: int) -> None:
        """Wait until so many more requests have been answered."""
        wanted = self.count + more
        end = time.monotonic() + 60
        while self.count < wanted:
            assert time.monotonic() < end, f"no {more} requests answered in a minute"
            time.sleep(0.01)

    def _run(self, number: int) -> None:
        action = self.actions[number % len(self.actions)]
        client = self.connect()
        while not self._stopping.is_set():
            began = time.monotonic()
            try:
                action(client)
            except Exception as error:  # noqa: BLE001  a loss, whatever it is
                with self._lock:
                    self.losses.append(f"client {number} {action.__name__}: {error!r}")
                client.close()
                client = self.connect()
            else:
                with self._lock:
                    self.count += 1
                    self.slowest = max(self.slowest, time.monotonic() - began)
            time.sleep(self.pause)
        client.close()


def raw(port: int, data: bytes, timeout: float = 30.0, half_close: bool = False) -> bytes:
    """Send bytes on a new connection and read until the server closes it."""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as sock:
        sock.sendall(data)
        if half_close:
            sock.shutdown(socket.SHUT_WR)
        return read_all(sock)


def read_all(sock: socket.socket) -> bytes:
    """Read until the server closes the connection."""
    parts = []
    while part := sock.recv(65536):
        parts.append(part)
    return b"".join(parts)
