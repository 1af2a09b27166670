"""The demo app: which worker answers, of which generation, on which connection.

    prefork prefork.demo:app -w 2

Reload the server while the page is open, and see the workers change, and the connections stay.
"""

from __future__ import annotations

import itertools
import json
import os
import time
from collections.abc import Callable, Iterable
from importlib import resources
from typing import Any

_BEGAN = time.time()
_count = itertools.count(1)


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """`/` is a page that asks for `/status` all the time; `/slow?s=2` takes its time."""
    path = environ["PATH_INFO"]
    if path == "/":
        page = resources.files("prefork").joinpath("demo.html").read_bytes()
        return _answer(start_response, "200 OK", "text/html; charset=utf-8", page)
    if path == "/status":
        return _answer(start_response, "200 OK", "application/json", _status(environ))
    if path == "/slow":
        seconds = min(float(environ["QUERY_STRING"].removeprefix("s=") or 1), 60)
        time.sleep(seconds)
        return _answer(start_response, "200 OK", "application/json", _status(environ))
    return _answer(start_response, "404 Not Found", "text/plain", b"no such page\n")


def _status(environ: dict[str, Any]) -> bytes:
    status = {
        "pid": os.getpid(),
        "slot": environ.get("prefork.slot"),
        "generation": environ.get("prefork.generation"),
        "connection": environ.get("REMOTE_PORT"),
        "requests": next(_count),
        "age": round(time.time() - _BEGAN, 1),
        "master": os.getppid(),
    }
    return json.dumps(status).encode() + b"\n"


def _answer(
    start_response: Callable[..., Any], status: str, kind: str, body: bytes
) -> Iterable[bytes]:
    headers = [("Content-Type", kind), ("Content-Length", str(len(body)))]
    start_response(status, [*headers, ("Cache-Control", "no-store")])
    return [body]
