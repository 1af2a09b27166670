"""What holds for any bytes at all, for a fuzzer to find some for which it does not.

Each function takes bytes and raises AssertionError, or anything else, if it does not hold for them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from prefork.errors import HTTPError
from prefork.http import forwarded
from prefork.http.heads import Heads
from prefork.http.request import Limits, RequestParser
from prefork.networks import Networks
from prefork.wire import introduction

# No limit is reached by what a fuzzer makes: where one is noticed may depend on the cuts.
LIMITS = Limits(line=1 << 20, fields=10_000, field_size=1 << 20, body=0)
PEER = ("10.0.0.1", "50000")

# A request: the environ, the body, whether the connection lives on.
Seen = tuple[dict[str, Any], bytes, bool]


def parse(pieces: Iterable[bytes], streaming: bool = False) -> tuple[list[Seen], int]:
    """The requests in the pieces, and the status of the error behind them, or 0."""
    parser = RequestParser({"SCRIPT_NAME": ""}, PEER, LIMITS, streaming)
    requests = []
    status = 0
    try:
        for piece in pieces:
            parser.feed(piece)
            while parser.waiting:
                requests += parser.requests
                parser.requests.clear()
                parser.feed(b"")
    except HTTPError as error:
        status = error.status
    requests += parser.requests
    # Of one that is streamed the body may not have come.
    whole = [each for each in requests if not streaming or getattr(each.body, "complete", True)]
    seen = []
    for request in whole:
        body = b"" if request.body is None else request.body.finish().read()
        seen.append((request.environ, body, request.persistent))
    parser.close()
    return seen, status


def cuts(data: bytes) -> Sequence[bytes]:
    """The data in pieces of sizes that depend on it."""
    pieces, at, size = [], 0, 1
    while at < len(data):
        pieces.append(data[at : at + size])
        at += size
        size = 1 + data[at % len(data)] % 17
    return pieces


def requests(data: bytes) -> None:
    """They are the same however they are cut, and where bodies are streamed; so is whether there is
    an error behind them, if not always which one."""
    found, status = parse([data])
    whole = (found, status > 0)
    pieces = [data[at : at + 1] for at in range(len(data))]
    for found, status in (parse(pieces), parse(cuts(data)), parse(cuts(data), streaming=True)):
        assert (found, status > 0) == whole


def heads(data: bytes) -> None:
    """What is recognized is what would have been parsed."""
    parser = RequestParser({"SCRIPT_NAME": ""}, PEER, LIMITS)
    known = Heads(LIMITS.line)
    try:
        parser.feed(data)
    except HTTPError:
        parser.requests.clear()
    if len(parser.requests) == 1 and parser.phase.value == "idle":
        request = parser.requests[0]
        for _ in range(2):
            known.learn(data, request)
        found = known.recognize(data, PEER)
        if found is not None:
            assert (found.environ, found.body) == (request.environ, None)
            assert (found.http11, found.persistent) == (request.http11, request.persistent)
    parser.close()


def introductions(data: bytes) -> None:
    """An introduction is understood, refused, or not complete; nothing else comes of it."""
    try:
        found = introduction.parse(data)
    except ValueError:
        return
    if found is not None and found[0] is not None:
        assert introduction.parse(introduction.encode(found[0])) is not None


def forwarded_fields(data: bytes) -> None:
    """Whatever proxies say, there is a client."""
    text = data.decode("latin-1")
    for key in ("HTTP_FORWARDED", "HTTP_X_FORWARDED_FOR"):
        environ = {"REMOTE_ADDR": "10.0.0.1", "REMOTE_PORT": "1", "wsgi.url_scheme": "http"}
        environ |= {key: text, "HTTP_X_FORWARDED_PROTO": text, "HTTP_X_FORWARDED_HOST": text}
        forwarded.apply(environ, Networks(["10.0.0.0/8"], "forwarded_allow_ips"))
        assert environ["REMOTE_ADDR"]
        assert environ["wsgi.url_scheme"] in ("http", "https")


PROPERTIES: dict[str, Callable[[bytes], None]] = {
    "requests": requests,
    "heads": heads,
    "introductions": introductions,
    "forwarded": forwarded_fields,
}
