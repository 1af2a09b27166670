"""An app that speaks WebSocket by Flask-Sock, and beside it some that take their socket bare.

What they have found out is left behind as files in their directory.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from flask import Flask, request
from flask_sock import Sock
from simple_websocket import Server

site = Flask(__name__)
sockets = Sock(site)


@sockets.route("/echo")
def echo(ws: Server) -> None:
    while True:
        ws.send(ws.receive())


@sockets.route("/goodbye")
def goodbye(ws: Server) -> None:
    ws.send(ws.receive())


@site.get("/refused")
def refused() -> tuple[str, int]:
    return f"no {'gunicorn.socket' in request.environ}", 400


@site.get("/pid")
def pid() -> str:
    return str(os.getpid())


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    deed = _DEEDS.get(environ["PATH_INFO"])
    return site(environ, start_response) if deed is None else deed(environ, start_response)


def _bare(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Another protocol: what comes goes back, line by line."""
    sock = environ["prefork.socket"]
    sock.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: lines\r\nConnection: upgrade\r\n\r\n"
    )
    with sock.makefile("rb") as lines:
        for line in lines:
            sock.sendall(line)
    start_response("500 Internal Server Error", [("Content-Length", "5")])
    return [b"never"]


def _looks(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Only looks at the socket."""
    sock = environ.get("prefork.socket")
    told = "none" if sock is None else f"{sock!r} {sock.getpeername()[1]}"
    start_response("200 OK", [("Content-Length", str(len(told)))])
    return [told.encode()]


def _raises(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    environ["prefork.socket"].sendall(b"so far")
    raise ValueError("after it was taken")


def _large(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """More than the kernel takes at once, in one send()."""
    sent = environ["prefork.socket"].send(bytes(16 << 20))
    Path("sent").write_text(str(sent))
    return []


def _late(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Uses the socket when the response has begun."""
    start_response("200 OK", [("Content-Length", "6")])(b"begun ")
    try:
        environ["prefork.socket"].sendall(b"never")
    except RuntimeError:
        Path("late").touch()
    return []


def _stuck(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    time.sleep(600)
    return []


_DEEDS = {
    "/bare": _bare,
    "/stuck": _stuck,
    "/looks": _looks,
    "/raises": _raises,
    "/large": _large,
    "/late": _late,
}
