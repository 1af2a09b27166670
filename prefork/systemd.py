"""systemd, or who does as it does: sockets that it passes, and what it is told of the service.

The sockets are those of sd_listen_fds(3): fds from 3 on, meant for the process whose pid
`LISTEN_PID` is, with names in `LISTEN_FDNAMES`. What it is told goes to `NOTIFY_SOCKET`, in
datagrams of lines as sd_notify(3) has them, for a unit of `Type=notify-reload`. Neither is the
app's affair: the variables are taken from its environment.

Only what has changed is told. What the socket does not take at once is told later; nothing here
waits, and nothing that goes wrong with it stops anybody.
"""

from __future__ import annotations

import errno
import logging
import math
import os
import socket
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass

from prefork.errors import UsageError

_FIRST_FD = 3
_VARIABLES = (
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_PIDFDID",
    "LISTEN_FDNAMES",
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
)
# After so many seconds it is tried again to tell what the socket has not taken.
_RETRY = 0.5
_FULL = (errno.EAGAIN, errno.ENOBUFS)

_log = logging.getLogger("prefork.master")


def hide(environ: MutableMapping[str, str]) -> None:
    """Take the variables, which are meant for the master, out of an environment."""
    for name in _VARIABLES:
        environ.pop(name, None)


# Sockets.


@dataclass(frozen=True)
class PassedSocket:
    """A socket that was passed to this process, with the name that its unit gives it, if any."""

    fd: int
    name: str


def passed_sockets(environ: Mapping[str, str]) -> list[PassedSocket]:
    """The sockets that were passed to this process.

    Raises:
        UsageError: the variables make no sense.
    """
    if environ.get("LISTEN_PID") != str(os.getpid()):
        return []
    count = environ.get("LISTEN_FDS", "")
    if not (count.isascii() and count.isdigit() and len(count) < 5):
        raise UsageError(f"$LISTEN_FDS = {count!r}: expected a number of sockets")
    names = environ.get("LISTEN_FDNAMES", "").split(":")
    names += [""] * (int(count) - len(names))
    return [PassedSocket(_FIRST_FD + at, names[at]) for at in range(int(count))]


# What it is told.


@dataclass(frozen=True)
class Condition:
    """How the service is.

    `ready` once a worker has been; `reload_asked` is when somebody last wanted a reload, in
    monotonic seconds, `reloading` until all that was wanted is done; `status` is for people.
    """

    ready: bool = False
    reload_asked: float = -math.inf
    reloading: bool = False
    stopping: bool = False
    status: str = ""


def news(told: Condition, now: Condition, pid: int) -> list[str]:
    """The datagrams that tell what has changed, in order.

    Args:
        told: what was told before.
        now: what is to be told.
        pid: the main process.
    """
    datagrams = []
    if now.stopping:
        if not told.stopping:
            datagrams.append("STOPPING=1")
    elif now.ready:
        asked = now.reload_asked != told.reload_asked
        if not told.ready:
            datagrams.append(f"READY=1\nMAINPID={pid}")
        if asked:
            # Later than the signal that has asked for it: so it is known which one is obeyed.
            datagrams.append(f"RELOADING=1\nMONOTONIC_USEC={int(now.reload_asked * 1e6)}")
        if not now.reloading and (asked or told.reloading):
            datagrams.append(f"READY=1\nMAINPID={pid}")
    if now.status != told.status:
        datagrams.append(f"STATUS={now.status}")
    return datagrams


class Notifier:
    """Tells it, and that the master is not stuck; `deadline` is when there is something to tell at
    the latest, in monotonic seconds.

    Args:
        address: the socket's path, or, after an @, its abstract name; empty for nobody to tell.
        patience: seconds after which who is told nothing takes the master for stuck; 0 for never.
    """

    def __init__(self, address: str, patience: float) -> None:
        self._sock: socket.socket | None = None
        self._address = address
        self._told = Condition()
        # Whether it was logged that nobody is there.
        self._refused = False
        self._pulse = patience / 2 if address and patience else math.inf
        self._pulse_at = 0.0 if self._pulse < math.inf else math.inf
        self._retry_at = math.inf
        self.deadline = self._pulse_at
        if address:
            self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._sock.setblocking(False)

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Notifier:
        """The one that the environment asks for."""
        address = environ.get("NOTIFY_SOCKET", "")
        if address and address[0] not in "/@":
            _log.warning("$NOTIFY_SOCKET = %s: not a unix socket, nothing is told there", address)
            address = ""
        microseconds = environ.get("WATCHDOG_USEC", "")
        meant = environ.get("WATCHDOG_PID") in (None, str(os.getpid()))
        watched = meant and microseconds.isascii() and microseconds.isdigit()
        return cls(address, int(microseconds) / 1e6 if watched else 0.0)

    def tell(self, condition: Condition, now: float) -> None:
        """Tell what has changed since it was last told; now is the time in monotonic seconds."""
        if self._sock is None:
            return
        if self._pulse_at <= now:
            self._send("WATCHDOG=1")
            self._pulse_at = now + self._pulse
        if condition == self._told:
            self._retry_at = math.inf
        elif all(self._send(each) for each in news(self._told, condition, os.getpid())):
            self._told, self._retry_at = condition, math.inf
        else:
            self._retry_at = now + _RETRY
        self.deadline = min(self._pulse_at, self._retry_at)

    def disown(self) -> None:
        """In a forked child: let go of the socket."""
        if self._sock is not None:
            self._sock.close()

    def _send(self, datagram: str) -> bool:
        """Send it; False if that is to be tried again."""
        assert self._sock is not None
        data = datagram.encode("utf-8", "replace")
        address = "\0" + self._address[1:] if self._address[0] == "@" else self._address
        try:
            self._sock.sendto(data, address)
        except OSError as error:
            if error.errno in _FULL:
                return False
            # There is nobody to try it again with, unless somebody comes back.
            if not self._refused:
                _log.warning(
                    "%s takes no notifications: %s", self._address, error.strerror or error
                )
            self._refused = True
        return True
