"""An app with one path for each kind of work that a request can be."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

Environ = dict[str, Any]
StartResponse = Callable[..., Callable[[bytes], None]]


def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    handler = _PATHS.get(environ["PATH_INFO"], _not_found)
    return handler(environ, start_response)


def _fast(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    return _text(start_response, "fast\n")


def _pid(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    return _text(start_response, str(os.getpid()))


def _who(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    text = f"{environ['prefork.slot']} {environ['prefork.generation']} {os.getpid()}"
    return _text(start_response, text)


def _environ(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    return _text(start_response, os.environ.get(environ["QUERY_STRING"], ""))


def _slow(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    time.sleep(float(environ["QUERY_STRING"] or 0.05))
    return _text(start_response, "slow\n")


def _hold(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Make the file that the query names, and answer when it is gone."""
    file = Path(environ["QUERY_STRING"])
    file.touch()
    while file.exists():
        time.sleep(0.01)
    return _text(start_response, "held\n")


def _note(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Take so many seconds, append the id to the file `notes`, and answer with who that was: the
    query is `ID,SECONDS`."""
    name, _, seconds = environ["QUERY_STRING"].partition(",")
    if seconds:
        time.sleep(float(seconds))
    # One write to the end: whole, whoever else writes.
    notes = os.open("notes", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(notes, f"{name}\n".encode())
    os.close(notes)
    return _text(start_response, f"{name} {environ['prefork.slot']}")


def _stream(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    for number in range(20):
        time.sleep(0.001)
        yield b"line %d\n" % number


def _upload(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    digest = hashlib.sha256(environ["wsgi.input"].read()).hexdigest()
    return _text(start_response, digest)


def _large(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    return _text(start_response, "x" * int(environ["QUERY_STRING"] or 1 << 20))


def _not_found(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("404 Not Found", [("Content-Length", "0")])
    return []


def _text(start_response: StartResponse, text: str) -> Iterable[bytes]:
    body = text.encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


_PATHS: dict[str, Callable[[Environ, StartResponse], Iterable[bytes]]] = {
    "/": _fast,
    "/pid": _pid,
    "/who": _who,
    "/environ": _environ,
    "/slow": _slow,
    "/hold": _hold,
    "/note": _note,
    "/stream": _stream,
    "/upload": _upload,
    "/large": _large,
}
