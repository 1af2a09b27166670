"""What holds for any bytes at all, for a fuzzer to find some for which it does not.

Each function takes bytes and raises AssertionError, or anything else, if it does not hold for them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from ipaddress import ip_address
from typing import Any

from prefork.errors import HTTPError
from prefork.http import forwarded
from prefork.http.heads import Heads
from prefork.http.parser import RequestParser
from prefork.http.request import Limits, Phase, Request
from prefork.networks import Networks
from prefork.wire import introduction

# No limit is reached by what a fuzzer makes: where one is noticed may depend on the cuts.
LIMITS = Limits(line=1 << 20, fields=10_000, field_size=1 << 20, body=0)
# These are.
NARROW = Limits(line=30, fields=4, field_size=20, body=8)
PEER = ("10.0.0.1", "50000")

# A request: the environ, the body, whether the connection lives on.
Seen = tuple[dict[str, Any], bytes, bool]


def parse(
    pieces: Iterable[bytes], streaming: bool = False, limits: Limits = LIMITS
) -> tuple[list[Seen], int]:
    """The requests in the pieces, and the status of the error behind them, or 0."""
    parser = RequestParser({"SCRIPT_NAME": ""}, PEER, limits, streaming)
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


def within_limits(data: bytes) -> None:
    """Nothing is accepted that exceeds a limit, however it is cut."""
    pieces = [data[at : at + 1] for at in range(len(data))]
    for found, _ in (
        parse([data], limits=NARROW),
        parse(pieces, limits=NARROW),
        parse(cuts(data), streaming=True, limits=NARROW),
    ):
        for environ, body, _ in found:
            assert len(body) <= NARROW.body
            assert len(environ["RAW_URI"]) <= NARROW.line
            fields = field_values(environ)
            # The length of a chunked body is ours.
            assert len(fields.keys() - {"CONTENT_LENGTH"}) <= NARROW.fields
            # One that came several times has all its values.
            assert all(
                len(value) <= NARROW.fields * (NARROW.field_size + 2) for value in fields.values()
            )


def field_values(environ: dict[str, Any]) -> dict[str, str]:
    """The meta-variables that are fields of a request."""
    return {
        key: value
        for key, value in environ.items()
        if key.startswith("HTTP_") or key in ("CONTENT_LENGTH", "CONTENT_TYPE")
    }


def the_only_request(data: bytes) -> Request | None:
    """The request that is parsed from these bytes, if they are that and nothing else."""
    parser = RequestParser({"SCRIPT_NAME": ""}, PEER, LIMITS)
    try:
        parser.feed(data)
    except HTTPError:
        return None
    finally:
        parser.close()
    alone = len(parser.requests) == 1 and parser.phase is Phase.IDLE
    return parser.requests[0] if alone else None


def heads(data: bytes) -> None:
    """What is recognized is what would have been parsed, also with another line or other fields."""
    known = Heads(LIMITS.line)
    request = the_only_request(data)
    if request is not None:
        for _ in range(2):
            known.learn(data, request)
    line, _, block = data.partition(b"\r\n")
    for other in (data, b"GET /a%2fb?c%20 HTTP/1.1\r\n" + block, line + b"\r\n" + block[1:]):
        found = known.recognize(other, PEER)
        if found is None:
            continue
        request = the_only_request(other)
        assert request is not None
        assert (found.environ, found.body) == (request.environ, request.body)
        assert (found.http11, found.persistent) == (request.http11, request.persistent)


def introductions(data: bytes) -> None:
    """An introduction is understood, refused, or not complete, and nothing else comes of it. A part
    of one that is understood is not complete, and what one says can be said again."""
    try:
        found = introduction.parse(data)
    except ValueError:
        return
    if found is None:
        return
    said, size = found
    assert 0 < size <= len(data)
    assert introduction.parse(data[:size]) == found
    assert [introduction.parse(data[:part]) for part in range(size)] == [None] * size
    # The path of a socket that is no UTF-8 grows as it is read, and then is cut.
    if said is not None and len(said.server_host.encode()) <= 108:
        again = introduction.encode(said)
        assert introduction.parse(again) == (said, len(again))


def forwarded_fields(data: bytes) -> None:
    """Whatever proxies say, there is a client with an address, and nothing but one. The fields are
    the lines, of which there is one for `Forwarded`, or up to three for the others."""
    lines = data.decode("latin-1").split("\n")
    keys = ("HTTP_X_FORWARDED_FOR", "HTTP_X_FORWARDED_PROTO", "HTTP_X_FORWARDED_HOST")
    for fields in ({"HTTP_FORWARDED": lines[0]}, dict(zip(keys, lines, strict=False))):
        environ = {"REMOTE_ADDR": "10.0.0.1", "REMOTE_PORT": "1", "wsgi.url_scheme": "http"}
        environ |= fields
        forwarded.apply(environ, Networks(["10.0.0.0/8"], "forwarded_allow_ips"))
        assert set(environ["REMOTE_ADDR"]) <= set("0123456789abcdef.:")
        assert str(ip_address(environ["REMOTE_ADDR"]))
        assert environ["REMOTE_PORT"].isascii() and environ["REMOTE_PORT"].isdigit()
        assert environ["wsgi.url_scheme"] in ("http", "https")
        assert not set(environ.get("HTTP_HOST", "")) & set(' \t"/@\\?#')


PROPERTIES: dict[str, Callable[[bytes], None]] = {
    "requests": requests,
    "limits": within_limits,
    "heads": heads,
    "introductions": introductions,
    "forwarded": forwarded_fields,
}
