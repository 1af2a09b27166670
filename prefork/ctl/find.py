"""Finding the master that is meant: by its socket, pid, pid file or configuration; or the only one
of this user's.
"""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Iterator
from time import monotonic

from prefork import config, rundir
from prefork.ctl.connection import Connection
from prefork.ctl.failure import CtlError, NoMaster, NotPermitted, SeveralMasters
from prefork.errors import UsageError
from prefork.settings import Settings
from prefork.wire.control import Status

# A master that does not answer within so many seconds is not one to choose from.
_PATIENCE = 5.0


def find(options: argparse.Namespace) -> str:
    """The path of the master's control socket.

    Args:
        options: `socket`, `pid`, `pidfile` and `config`, of which one at most is not None.

    Raises:
        CtlError: there is none, or more than one.
        UsageError: the configuration can't be used.
    """
    if options.socket is not None:
        return str(options.socket)
    if options.pid is not None:
        return _of_pid(options.pid)
    if options.pidfile is not None:
        return _of_pid(_read_pid(options.pidfile))
    if options.config is not None:
        return _of_settings(_load(options.config))
    return _only(running(), "")


def running() -> list[tuple[str, Status]]:
    """The masters of this user that answer, with the paths of their sockets."""
    found = []
    for directory in rundir.existing(os.geteuid(), os.environ):
        for path in rundir.sockets(directory):
            with contextlib.suppress(CtlError):
                found.append((path, _status(path)))
    return found


def _status(path: str) -> Status:
    connection = Connection(path, monotonic() + _PATIENCE)
    try:
        return connection.status()
    finally:
        connection.close()


def _only(masters: list[tuple[str, Status]], of_what: str) -> str:
    if not masters:
        raise NoMaster(f"no master{of_what} of this user is running (or it has no control socket)")
    if len(masters) > 1:
        lines = [
            f"    --pid {status.pid}  {status.app}  {' '.join(status.listeners)}"
            for _, status in masters
        ]
        raise SeveralMasters("there are several masters; say which one:\n" + "\n".join(lines))
    return masters[0][0]


def _of_pid(pid: int) -> str:
    try:
        uid = os.stat(f"/proc/{pid}").st_uid
    except OSError:
        raise NoMaster(f"there is no process {pid}") from None
    for path in _places(pid, uid):
        if os.path.exists(path):
            return path
    if uid != os.geteuid() and os.geteuid() != 0:
        raise NotPermitted(f"process {pid} is another user's")
    raise NoMaster(
        f"process {pid} has no control socket in its user's runtime directory; if it is elsewhere, "
        "say --socket PATH"
    )


def _places(pid: int, uid: int) -> Iterator[str]:
    """Where a user's master may have its socket."""
    for directory in rundir.existing(uid, {**os.environ, **_environ(pid)}):
        yield rundir.socket_of(directory, pid)


def _environ(pid: int) -> dict[str, str]:
    """The environment that a process was started with, as far as it can be read: proc(5)."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            pairs = [each.partition(b"=") for each in file.read().split(b"\0")]
    except OSError:
        return {}
    return {os.fsdecode(name): os.fsdecode(value) for name, _, value in pairs}


def _read_pid(path: str) -> int:
    try:
        with open(path) as file:
            return int(file.read())
    except FileNotFoundError:
        raise NoMaster(f"there is no pid file {path}: no master is running there") from None
    except PermissionError:
        raise NotPermitted(f"{path}: not permitted") from None
    except (OSError, ValueError):
        raise UsageError(f"{path} is no pid file") from None


def _load(path: str) -> Settings:
    arguments = config.parse(["-c", path], {})
    return config.load(arguments, os.environ).settings


def _of_settings(settings: Settings) -> str:
    if settings.control_socket == "off":
        raise NoMaster('control_socket = "off": such a master can\'t be asked')
    if settings.control_socket != "auto":
        return os.path.abspath(settings.control_socket)
    if settings.pidfile:
        return _of_pid(_read_pid(settings.pidfile))
    masters = running()
    if settings.app:
        masters = [each for each in masters if each[1].app == settings.app]
    return _only(masters, f" for {settings.app}" if settings.app else "")
