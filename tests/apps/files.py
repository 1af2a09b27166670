"""An app that returns files by `wsgi.file_wrapper`.

The query is `path=...` and, if wanted, `read`: so many bytes are read before; `length`: what the
app says; `status`; and `as`: what the file is opened as.
"""

# ruff: noqa: SIM115  the server closes them

from __future__ import annotations

import gzip
import io
import os
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qs

closed: list[str] = []


class _Watched(io.FileIO):
    """Not exactly a file of the standard library, and so nothing to take an fd from."""


# What is not kept is closed, with the pipe beneath.
_pipes: list[Any] = []


def _pipe(path: str) -> Any:
    _pipes.append(os.popen(f"cat {path}"))
    return _pipes[-1].buffer


_OPENERS: dict[str, Callable[[str], Any]] = {
    "buffered": lambda path: open(path, "rb"),
    "raw": lambda path: open(path, "rb", buffering=0),
    "random": lambda path: open(path, "r+b"),
    "gzip": lambda path: gzip.open(path, "rb"),
    "behind-gzip": lambda path: io.BufferedReader(gzip.open(path, "rb")),  # type: ignore[arg-type]
    "text": lambda path: open(path),
    "memory": lambda path: io.BytesIO(open(path, "rb").read()),
    "subclass": _Watched,
    "pipe": _pipe,
}


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    if environ["PATH_INFO"] == "/closed":
        start_response("200 OK", [])
        return [" ".join(closed).encode()]
    if environ["PATH_INFO"] == "/pid":
        start_response("200 OK", [])
        return [str(os.getpid()).encode()]
    if not environ["QUERY_STRING"]:
        start_response("200 OK", [])
        return []
    query = {key: values[0] for key, values in parse_qs(environ["QUERY_STRING"]).items()}
    file = _OPENERS[query.get("as", "buffered")](query["path"])
    file.read(int(query.get("read", 0)))
    headers = [("Content-Length", query["length"])] if "length" in query else []
    start_response(query.get("status", "200 OK"), headers)
    body = environ["wsgi.file_wrapper"](file, 4096)
    close = body.close

    def close_and_tell() -> None:
        closed.append(query["path"])
        close()

    body.close = close_and_tell
    return body  # type: ignore[no-any-return]
