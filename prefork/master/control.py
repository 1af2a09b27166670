"""The control socket: a unix socket on which `preforkctl` asks, and the master answers.

Whoever can open it may steer the service, so it is its owner's alone. It must cost the service
nothing, whatever comes in: there are few clients at a time, each has one request handled in a
turn, and none is read from before it has taken the answers that it has got.
"""

from __future__ import annotations

import contextlib
import errno
import select
import socket
from collections.abc import Callable

import msgspec

from prefork.master import handover
from prefork.master.listeners import Listener
from prefork.master.poller import READ, WRITE, Poller
from prefork.master.reserve import Reserve
from prefork.wire.control import (
    LONGEST_REQUEST,
    Answer,
    Refused,
    Request,
    decode_request,
    encode,
)

_MOST_CLIENTS = 16
# A client that leaves more than this untaken while a reload goes on is let go.
_MOST_UNTAKEN = 1 << 20
_GONE = select.EPOLLHUP | select.EPOLLERR


class ControlClient:
    """A client of the control socket.

    Args:
        sock: its connection.
        poller: the master's one wait.
        handle: called with each of its requests.
        ended: called when it is gone.

    `waiting` says that it is yet to be told something.
    """

    def __init__(
        self,
        sock: socket.socket,
        poller: Poller,
        handle: Callable[[ControlClient, Request], None],
        ended: Callable[[ControlClient], None],
    ) -> None:
        sock.setblocking(False)
        self.waiting = False
        self._sock = sock
        self._poller = poller
        self._handle = handle
        self._ended = ended
        self._received = b""
        self._untaken = b""
        # Whether it has said all that it wants to say.
        self._silent = False
        self._closed = False
        self._events = READ
        poller.watch(sock.fileno(), self._ready)

    def tell(self, answer: Answer) -> None:
        """Send an answer, or keep it until the client takes it."""
        self.tell_line(encode(answer))

    def tell_line(self, line: bytes) -> None:
        """The same with an answer that is encoded already."""
        if self._closed:
            return
        self._untaken += line
        self._send()
        if len(self._untaken) > _MOST_UNTAKEN:
            self.close()
        else:
            self._watch()

    def release(self) -> None:
        """It waits no more."""
        self.waiting = False

    def close(self) -> None:
        """Let go of it."""
        if not self._closed:
            self._closed = True
            self._poller.forget(self._sock.fileno())
            self._sock.close()
            self._ended(self)

    def disown(self) -> None:
        """In a forked child: close the socket, and leave everything else."""
        self._sock.close()

    def _ready(self, events: int) -> None:
        if events & READ and not self._silent:
            self._receive()
        if events & WRITE:
            self._send()
        self._handle_one()
        if events & _GONE:
            self.close()
        self._watch()

    def _receive(self) -> None:
        try:
            data = self._sock.recv(LONGEST_REQUEST)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self._silent = not data
        self._received += data

    def _handle_one(self) -> None:
        """Handle the next request, if it is all there, and no other one is under way."""
        if self._untaken or self.waiting or self._closed:
            return
        line, end, rest = self._received.partition(b"\n")
        if not end:
            if len(line) > LONGEST_REQUEST:
                self.close()
            return
        self._received = rest
        try:
            request = decode_request(line)
        except msgspec.DecodeError as error:
            self.tell(Refused(why=f"that is no request: {error}"))
            return
        self._handle(self, request)

    def _send(self) -> None:
        if self._untaken and not self._closed:
            with contextlib.suppress(OSError):  # it is full, or gone, which will be noticed
                self._untaken = self._untaken[self._sock.send(self._untaken) :]

    def _watch(self) -> None:
        """Wait for what is to come next; if nothing is, let go of it."""
        if self._closed:
            return
        more = b"\n" in self._received and not self.waiting
        if self._untaken or more:
            events = WRITE
        elif self.waiting:
            events = 0  # its end is noticed all the same
        elif self._silent:
            self.close()
            return
        else:
            events = READ
        if events != self._events:
            self._events = events
            self._poller.change(self._sock.fileno(), events)


class Control:
    """The control socket and its clients.

    Args:
        poller: the master's one wait.
        door: the listening socket; None where there is none.
        handle: called with each request, and the client that is to be told the answer.
        ended: called when a client is gone.
    """

    def __init__(
        self,
        poller: Poller,
        door: Listener | None,
        handle: Callable[[ControlClient, Request], None],
        ended: Callable[[ControlClient], None],
    ) -> None:
        self._poller = poller
        self._door = door
        self._handle = handle
        self._client_ended = ended
        self._clients: list[ControlClient] = []
        self._reserve = Reserve(1)
        if door is not None:
            poller.watch(door.sock.fileno(), lambda _: self._accept())

    def hand_over(self) -> handover.Listener | None:
        """The socket, for another to go on with; the clients have to come again."""
        return self._door.hand_over() if self._door is not None else None

    def close(self) -> None:
        """Nobody is answered any more; what has been said is still on its way."""
        for client in list(self._clients):
            client.close()
        if self._door is not None:
            self._poller.forget(self._door.sock.fileno())
            self._door.close()
            self._door = None

    def disown(self) -> None:
        """In a forked child: close the sockets."""
        if self._door is not None:
            self._door.sock.close()
        for client in self._clients:
            client.disown()

    def _accept(self) -> None:
        assert self._door is not None
        try:
            sock, _ = self._door.sock.accept()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                self._turn_away()
            return
        if len(self._clients) >= _MOST_CLIENTS and not self._make_place():
            sock.close()
            return
        self._clients.append(ControlClient(sock, self._poller, self._handle, self._ended))

    def _turn_away(self) -> None:
        """There is no fd for who waits: with one that is held back, see it off, or the wait would
        end over and over."""
        assert self._door is not None
        with self._reserve.released(), contextlib.suppress(OSError):
            self._door.sock.accept()[0].close()

    def _make_place(self) -> bool:
        """Let go of the client that has been there longest and waits for nothing."""
        client = next((each for each in self._clients if not each.waiting), None)
        if client is not None:
            client.close()
        return client is not None

    def _ended(self, client: ControlClient) -> None:
        self._clients.remove(client)
        self._client_ended(client)
