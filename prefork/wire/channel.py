"""Messages and file descriptors over a SOCK_SEQPACKET socketpair: unix(7), SCM_RIGHTS.

A packet is a whole message, or nothing: there is no framing to get wrong. Sends never block;
what the peer has no room for is kept in order and sent when the channel is writable again.
"""

from __future__ import annotations

import array
import errno
import socket
from collections import deque
from collections.abc import Callable, Iterator, Sequence

# By name, before gevent replaces them in a worker by some that wait for its hub.
from os import close as close_fd
from select import poll
from typing import Generic, TypeVar

import msgspec

from prefork.wire import messages

# The kernel takes at most 253 descriptors in one packet (SCM_MAX_FD).
MAX_FDS = 253
_MAX_PACKET = 65536
_FD_SPACE = socket.CMSG_SPACE(MAX_FDS * array.array("i").itemsize)

# The peer has not read enough: of bytes, or of fds in flight (unix(7), "Ancillary messages").
_NO_ROOM = frozenset({errno.EAGAIN, errno.ETOOMANYREFS, errno.ENOBUFS, errno.ENOMEM})

# Plain numbers: the flags of the socket module are members of an enum, dear to compute with.
_CLOEXEC, _TRUNCATED = int(socket.MSG_CMSG_CLOEXEC), int(socket.MSG_CTRUNC)

# An encoded message, and the fds that go with it.
Packet = tuple[bytes, list[int]]
# Sent and received message types: (Command, Report) in the master, the reverse in a worker.
S = TypeVar("S", bound=msgspec.Struct)
R = TypeVar("R", bound=msgspec.Struct)


class ChannelClosed(Exception):
    """The peer is gone: there is nothing more to receive, or nobody to send to."""


class Channel(Generic[S, R]):
    """One end of the channel between the master and a worker."""

    def __init__(self, sock: socket.socket, decode: Callable[[bytes], R]) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._decode = decode
        self._unsent: deque[Packet] = deque()

    def fileno(self) -> int:
        """The fd to wait on."""
        return self._sock.fileno()

    @property
    def backlogged(self) -> bool:
        """Whether `flush` is to be called when the channel becomes writable."""
        return bool(self._unsent)

    @property
    def abandoned(self) -> bool:
        """Whether the peer has closed its end, or is dead: unix(7), POLLHUP."""
        poller = poll()
        poller.register(self._sock, 0)
        return bool(poller.poll(0))

    def send(self, message: S, fds: Sequence[int] = ()) -> None:
        """Send a message with up to `MAX_FDS` fds, or keep it until the peer has room.

        The fds must stay open until the message is out (see `backlogged`).

        Raises:
            ChannelClosed: the peer has closed its end.
        """
        self._unsent.append((messages.encode(message), list(fds)))
        if len(self._unsent) == 1:
            self.flush()

    def flush(self) -> None:
        """Send as much of what is kept as the peer has room for.

        Raises:
            ChannelClosed: the peer has closed its end.
        """
        while self._unsent:
            if not self._send(*self._unsent[0]):
                return
            self._unsent.popleft()

    def offer(self, message: S, fds: Sequence[int] = ()) -> bool:
        """Send a message now, or not at all: whether it was sent. The fds may be closed then.

        Raises:
            ChannelClosed: the peer has closed its end.
        """
        return not self._unsent and self._send(messages.encode(message), list(fds))

    def unsent(self) -> list[Packet]:
        """What is kept, for another to go on with."""
        return list(self._unsent)

    def take_over(self, unsent: list[Packet]) -> None:
        """Go on with what another has kept of what was to be sent over this socket."""
        self._unsent.extend(unsent)

    def _send(self, packet: bytes, fds: list[int]) -> bool:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        try:
            self._sock.sendmsg([packet], rights)
        except (BrokenPipeError, ConnectionResetError) as gone:
            self._unsent.clear()
            raise ChannelClosed from gone
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise
            return False
        return True

    def receive(self) -> Iterator[tuple[R, list[int]]]:
        """Yield each message that has arrived, with the fds that came with it.

        Raises:
            ChannelClosed: after the last message of a peer that has closed its end.
            msgspec.DecodeError: the peer wrote something that is no message.
        """
        # It may be closed meanwhile: in a child that was forked by what a message has led to.
        while self._sock.fileno() >= 0:
            try:
                packet, ancillary, flags, _ = self._sock.recvmsg(_MAX_PACKET, _FD_SPACE, _CLOEXEC)
            except BlockingIOError:
                return
            except ConnectionResetError as gone:
                raise ChannelClosed from gone
            if not packet:
                raise ChannelClosed
            fds = _descriptors(ancillary)
            if flags & _TRUNCATED:
                for fd in fds:
                    close_fd(fd)
                raise OSError(errno.EMFILE, "no fds left for what the peer sends")
            yield self._decode(packet), fds

    def close(self) -> None:
        """Close this end."""
        self._sock.close()


def _descriptors(ancillary: list[tuple[int, int, bytes]]) -> list[int]:
    fds = array.array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
    return fds.tolist()


def pair() -> tuple[socket.socket, socket.socket]:
    """The two ends of a new channel: the master's and the worker's."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


MasterChannel = Channel[messages.Command, messages.Report]
WorkerChannel = Channel[messages.Report, messages.Command]
TerminatorChannel = Channel[messages.Report, messages.TerminatorCommand]
TerminatorMasterChannel = Channel[messages.TerminatorCommand, messages.Report]
