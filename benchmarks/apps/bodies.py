"""1 MiB to a client that asks for it; of what a client sends, the length."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

MEBIBYTE = bytes(1 << 20)


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    body = MEBIBYTE
    if environ["REQUEST_METHOD"] == "POST":
        body = b"%d" % len(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
    length = str(len(body))
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", length)])
    return [body]
