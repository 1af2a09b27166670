"""Turns against its own worker: finds its channel to the master, and closes it or writes to it."""

from __future__ import annotations

import ctypes
import os
import socket
import stat
from collections.abc import Callable, Iterable
from typing import Any


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    act = {"/close": _close, "/nonsense": _nonsense, "/segfault": _segfault}
    act.get(environ["PATH_INFO"], lambda: None)()
    start_response("200 OK", [("Content-Length", "5")])
    return [b"fast\n"]


def _channel() -> int:
    for name in os.listdir("/proc/self/fd"):
        fd = int(name)
        try:
            is_socket = stat.S_ISSOCK(os.fstat(fd).st_mode)
        except OSError:
            continue
        if is_socket:
            sock = socket.socket(fileno=fd)
            kind = sock.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE)
            sock.detach()
            if kind == socket.SOCK_SEQPACKET:
                return fd
    raise AssertionError("there is no channel")


def _close() -> None:
    os.close(_channel())


def _nonsense() -> None:
    os.write(_channel(), b"nonsense")


def _segfault() -> None:
    ctypes.string_at(0)
