"""A connection to a master's control socket."""

from __future__ import annotations

import math
import os
import socket
import struct
import time
from collections.abc import Callable
from time import monotonic
from typing import TypeVar

import msgspec

from prefork.ctl.failure import ConnectionLost, CtlError, NoMaster, NotPermitted, Refusal, TimedOut
from prefork.wire.control import (
    Answer,
    GetStatus,
    Refused,
    Request,
    Status,
    decode_answer,
    encode,
)

_CHUNK = 65536
_PAUSE = 0.02
_UCRED = struct.Struct("3i")  # pid, uid, gid: unix(7)

_LATE = "not done within --timeout; what was begun goes on"

A = TypeVar("A", bound=Answer)
T = TypeVar("T")


class Connection:
    """A connection to a master.

    Args:
        path: that of its socket.
        deadline: until when everything has to be done: monotonic seconds, math.inf for any time.

    Raises:
        CtlError: nobody can be talked to there.
    """

    def __init__(self, path: str, deadline: float = math.inf) -> None:
        self.path = path
        self.deadline = deadline
        self._received = b""
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._in_time(lambda: self._connect(path))
        except PermissionError:
            self._sock.close()
            raise NotPermitted(f"{path}: not permitted: it is another user's master") from None
        except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
            self._sock.close()
            raise NoMaster(f"nothing listens at {path}: no master is running there") from None
        except OSError as error:
            self._sock.close()
            raise CtlError(f"{path}: {error.strerror or error}") from None

    def process(self) -> int | None:
        """The master's pidfd, which is readable when it has ended; None if it has already, or is
        not to be seen from here."""
        credentials = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
        try:
            return os.pidfd_open(_UCRED.unpack(credentials)[0])
        except OSError:
            return None

    def close(self) -> None:
        """Let go of it."""
        self._sock.close()

    def send(self, request: Request) -> None:
        """Ask for something.

        Raises:
            CtlError: it can't be sent.
        """
        self._carefully(lambda: self._sock.sendall(encode(request)))

    def receive(self) -> Answer:
        """The next answer.

        Raises:
            CtlError: none comes, or the master refuses what was asked for.
        """
        while b"\n" not in self._received:
            data = self._carefully(lambda: self._sock.recv(_CHUNK))
            if not data:
                raise ConnectionLost("the connection to the master is lost")
            self._received += data
        line, _, self._received = self._received.partition(b"\n")
        try:
            answer: Answer = decode_answer(line)
        except msgspec.DecodeError as error:
            raise CtlError(f"{self.path}: the answer makes no sense: {error}") from None
        if isinstance(answer, Refused):
            raise Refusal(f"refused: {answer.why}")
        return answer

    def ask(self, request: Request, kind: type[A]) -> A:
        """Ask for something that is answered by one of this kind.

        Raises:
            CtlError: it is not.
        """
        self.send(request)
        answer = self.receive()
        if not isinstance(answer, kind):
            raise CtlError(f"{self.path}: the master answers something else")
        return answer

    def status(self, interest: float = 0.0) -> Status:
        """What there is. With an interest of so many seconds, also how long requests take.

        Raises:
            CtlError: it does not answer.
        """
        return self.ask(GetStatus(interest=interest), Status)

    def _connect(self, path: str) -> None:
        while True:
            try:
                self._sock.connect(path)
                return
            except BlockingIOError:
                # Others wait to be let in, and connect(2) does not, on a socket with a time-out.
                if monotonic() > self.deadline:
                    raise TimeoutError from None
                time.sleep(_PAUSE)

    def _carefully(self, do: Callable[[], T]) -> T:
        try:
            return self._in_time(do)
        except OSError:
            raise ConnectionLost("the connection to the master is lost") from None

    def _in_time(self, do: Callable[[], T]) -> T:
        """Do something with the socket that may take until the deadline."""
        left = self.deadline - monotonic()
        if left <= 0:
            raise TimedOut(_LATE)
        self._sock.settimeout(None if left == math.inf else left)
        try:
            return do()
        except TimeoutError:
            raise TimedOut(_LATE) from None
