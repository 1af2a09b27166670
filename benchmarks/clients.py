"""Clients of our own: many that hold a connection, and some that think between two requests.

They are plain blocking sockets and threads. What they measure is as good as they are punctual,
so the thinking ones also measure how late they were themselves.
"""

from __future__ import annotations

import http.client
import random
import socket
import threading
import time
from dataclasses import dataclass, field

from benchmarks.processes import HOST, Unable

THINK = 0.1  # seconds between an answer and the next request
SLOW_SHARE = 0.05
PATIENCE = 10.0  # seconds for one answer

_REQUEST = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
_LAST = b"Hello, world!"
_BATCH = 100
# ip(7): the port is chosen by connect(), which may take one whose last connection, to another
# server, has just ended. bind() may not, and searches for seconds once there are thousands of them.
_BIND_ADDRESS_NO_PORT = 24
_WARM_UP = 100  # requests
_PER_ADDRESS = 5000  # connections from one source address, which has some 28 000 ports


def warm_up(port: int) -> None:
    """Let a server answer its first requests before it is measured.

    Raises Unable when it does not.
    """
    client = http.client.HTTPConnection(HOST, port, timeout=PATIENCE)
    try:
        for _ in range(_WARM_UP):
            client.request("GET", "/")
            client.getresponse().read()
    except (OSError, http.client.HTTPException) as error:
        raise Unable(f"does not answer: {error!r}") from None
    finally:
        client.close()


class Held:
    """Connections on each of which one request was answered, and that are then left alone."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._sockets: list[socket.socket] = []

    def open(self, count: int, patience: float) -> None:
        """Open `count` connections. Raises Unable if the server closes them or needs too long."""
        end = time.monotonic() + patience
        try:
            while len(self._sockets) < count and time.monotonic() < end:
                batch = [self._ask() for _ in range(min(_BATCH, count - len(self._sockets)))]
                for client in batch:
                    _take_answer(client)
        except OSError as error:
            raise Unable(f"connection {len(self._sockets)} of {count}: {error}") from None
        if len(self._sockets) < count:
            raise Unable(f"took only {len(self._sockets)} connections in {patience:.0f} s")

    def still_open(self) -> int:
        """How many of them the server has not closed."""
        return sum(map(_is_open, self._sockets))

    def close(self) -> None:
        for client in self._sockets:
            client.close()
        self._sockets.clear()

    def _ask(self) -> socket.socket:
        source = f"127.0.0.{1 + len(self._sockets) // _PER_ADDRESS}"
        client = socket.socket()
        self._sockets.append(client)
        client.settimeout(PATIENCE)
        client.setsockopt(socket.IPPROTO_IP, _BIND_ADDRESS_NO_PORT, 1)
        client.bind((source, 0))
        client.connect((HOST, self._port))
        client.sendall(_REQUEST)
        return client


def _take_answer(client: socket.socket) -> None:
    answer = b""
    while not answer.endswith(_LAST):
        part = client.recv(4096)
        if not part:
            raise ConnectionError("closed without an answer")
        answer += part
    if b"connection: close" in answer.lower():
        raise ConnectionError("closed after the answer")


def _is_open(client: socket.socket) -> bool:
    client.setblocking(False)
    try:
        return bool(client.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return True
    except OSError:
        return False


@dataclass
class Thinkers:
    """What clients met that think between two requests, all times in seconds.

    `short` and `slow` are the times to the answers, a new connection where one was needed
    included; `late` is how late a client woke up from thinking.
    """

    short: list[float] = field(default_factory=list)
    slow: list[float] = field(default_factory=list)
    late: list[float] = field(default_factory=list)
    errors: int = 0


def think(port: int, clients: int, seconds: float) -> Thinkers:
    """Let clients ask and think for some seconds; they ask the same of every server."""
    met = Thinkers()
    end = time.monotonic() + seconds
    threads = [
        threading.Thread(target=_one_client, args=(port, number, end, met))
        for number in range(clients)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return met


def _one_client(port: int, number: int, end: float, met: Thinkers) -> None:
    dice = random.Random(number)
    client = http.client.HTTPConnection(HOST, port, timeout=PATIENCE)
    wake = time.monotonic() + dice.random() * THINK
    while wake < end:
        time.sleep(max(0.0, wake - time.monotonic()))
        start = time.monotonic()
        met.late.append(start - wake)
        _ask(client, dice.random() < SLOW_SHARE, met)
        wake = time.monotonic() + THINK
    client.close()


def _ask(client: http.client.HTTPConnection, slow: bool, met: Thinkers) -> None:
    start = time.monotonic()
    try:
        client.request("GET", "/slow" if slow else "/")
        response = client.getresponse()
        response.read()
    except (OSError, http.client.HTTPException):
        met.errors += 1
        client.close()
        return
    met.errors += response.status != 200
    (met.slow if slow else met.short).append(time.monotonic() - start)
