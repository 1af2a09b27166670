"""What an app must not do, done on purpose: the part of `contract` that is against PEP 3333."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

Environ = dict[str, Any]
Headers = list[tuple[str, str]]
StartResponse = Callable[..., Callable[[bytes], None]]

PLAIN: Headers = [("Content-Type", "text/plain")]


class Fatal(BaseException):
    """Not an Exception, as gevent.Timeout is not."""


MISTAKES: dict[str, Callable[[StartResponse], Any]] = {}


def _mistake(deed: Callable[[StartResponse], Any]) -> Callable[[StartResponse], Any]:
    MISTAKES[deed.__name__.replace("_", "-")] = deed
    return deed


@_mistake
def raises_before_start_response(start_response: StartResponse) -> Any:
    raise RuntimeError("a mistake of the app")


@_mistake
def raises_after_start_response(start_response: StartResponse) -> Any:
    start_response("200 OK", [("X-Promise", "1")])
    raise RuntimeError("a mistake of the app")


@_mistake
def raises_before_the_first_part(start_response: StartResponse) -> Any:
    start_response("200 OK", PLAIN)
    yield b""
    raise RuntimeError("a mistake of the app")


@_mistake
def exits(start_response: StartResponse) -> Any:
    raise SystemExit(1)


@_mistake
def exits_in_the_body(start_response: StartResponse) -> Any:
    start_response("200 OK", PLAIN)
    yield b""
    raise SystemExit(1)


@_mistake
def raises_what_is_no_exception(start_response: StartResponse) -> Any:
    raise Fatal("a mistake of the app")


@_mistake
def recurses(start_response: StartResponse) -> Any:
    return recurses(start_response)


@_mistake
def never_starts(start_response: StartResponse) -> Any:
    return [b"body"]


@_mistake
def never_starts_and_yields(start_response: StartResponse) -> Any:
    yield b"body"


@_mistake
def never_starts_nor_gives_anything(start_response: StartResponse) -> Any:
    return []


@_mistake
def starts_twice(start_response: StartResponse) -> Any:
    start_response("200 OK", PLAIN)
    start_response("200 OK", PLAIN)
    return [b"body"]


@_mistake
def returns_none(start_response: StartResponse) -> Any:
    start_response("200 OK", PLAIN)


@_mistake
def returns_text_in_a_list(start_response: StartResponse) -> Any:
    start_response("200 OK", PLAIN)
    return ["text"]


@_mistake
def returns_text_in_a_long_list(start_response: StartResponse) -> Any:
    start_response("200 OK", PLAIN)
    return ["text", "more"]


@_mistake
def returns_text_in_a_tuple(start_response: StartResponse) -> Any:
    start_response("200 OK", PLAIN)
    return ("text",)


@_mistake
def returns_text(start_response: StartResponse) -> Any:
    start_response("200 OK", PLAIN)
    return "text"


@_mistake
def yields_text(start_response: StartResponse) -> Any:
    start_response("200 OK", PLAIN)
    yield "text"


@_mistake
def yields_text_of_known_length(start_response: StartResponse) -> Any:
    start_response("200 OK", [("Content-Length", "4")])
    yield "text"


@_mistake
def yields_a_number(start_response: StartResponse) -> Any:
    start_response("200 OK", PLAIN)
    yield 1


@_mistake
def writes_text(start_response: StartResponse) -> Any:
    start_response("200 OK", PLAIN)("text")  # type: ignore[arg-type]
    return []


def _mistaken(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    result: Iterable[bytes] = MISTAKES[environ["QUERY_STRING"]](start_response)
    return result


BAD_STATUS: dict[str, Any] = {
    "empty": "",
    "no-number": "OK",
    "short": "20 OK",
    "long": "2000 OK",
    "interim": "100 Continue",
    "zero": "000 Nothing",
    "no-space": "200OK",
    "line-feed": "200 OK\nX-Injected: 1",
    "carriage-return": "200 OK\r\nX-Injected: 1",
    "final-line-feed": "200 OK\n",
    "number": 200,
    "bytes": b"200 OK",
    "none": None,
    "beyond-latin-1": "200 \N{SNOWMAN}",
}

BAD_HEADERS: dict[str, Any] = {
    "crlf-in-value": [("X-A", "a\r\nX-Injected: 1")],
    "lf-in-value": [("X-A", "a\nX-Injected: 1")],
    "cr-in-value": [("X-A", "a\rX-Injected: 1")],
    "nul-in-value": [("X-A", "a\0b")],
    "trailing-lf-in-value": [("X-A", "a\n")],
    "head-ended": [("X-A", "a\r\n\r\nbody")],
    "crlf-in-name": [("X-A: a\r\nX-Injected", "1")],
    "lf-in-name": [("X-A\n", "1")],
    "space-in-name": [("X A", "1")],
    "colon-in-name": [("X-A:", "1")],
    "empty-name": [("", "1")],
    "beyond-ascii-in-name": [("X-\xe9", "1")],
    "beyond-latin-1-in-value": [("X-A", "\N{SNOWMAN}")],
    "bytes-name": [(b"X-A", "1")],
    "bytes-value": [("X-A", b"1")],
    "number-value": [("X-A", 1)],
    "none-value": [("X-A", None)],
    "number-length": [("Content-Length", 4)],
    "no-length": [("Content-Length", "four")],
    "negative-length": [("Content-Length", "-4")],
    "two-lengths": [("Content-Length", "4"), ("Content-Length", "5")],
    "single": [("X-A",)],
    "none": None,
    "connection": [("Connection", "keep-alive")],
    "keep-alive": [("Keep-Alive", "timeout=5")],
    "proxy-connection": [("Proxy-Connection", "keep-alive")],
    "te": [("TE", "trailers")],
    "trailer": [("Trailer", "X-A")],
    "transfer-encoding": [("Transfer-Encoding", "chunked")],
    "transfer-encoding-spelled-otherwise": [("tRANSFER-eNCODING", "chunked")],
    "upgrade": [("Upgrade", "h2c")],
}


def _bad_status(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response(BAD_STATUS[environ["QUERY_STRING"]], PLAIN)
    return [b"body"]


def _bad_headers(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", BAD_HEADERS[environ["QUERY_STRING"]])
    return [b"body"]


def _bad_in_a_stream(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
    start_response("200 OK", BAD_HEADERS[environ["QUERY_STRING"]])
    yield b"body"


def _sees_bad_status(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """The app is told of its bad status at once, and can answer otherwise."""
    try:
        start_response("bad status", PLAIN)
    except ValueError:
        start_response("200 OK", PLAIN)
        return [b"told"]
    return [b"not told"]


def _exc_info(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    when = environ["QUERY_STRING"]
    if when == "at-first":
        return _recover(start_response)
    start_response("200 OK", [("X-First", "1")])
    if when == "before-the-head":
        return _recover(start_response)
    return _recover_late(start_response)


def _recover(start_response: StartResponse) -> Iterable[bytes]:
    try:
        raise RuntimeError("to be recovered from")
    except RuntimeError:
        start_response("503 Sorry", [("X-Second", "1")], sys.exc_info())
    return [b"sorry"]


def _recover_late(start_response: StartResponse) -> Iterator[bytes]:
    yield b"part"
    yield from _recover(start_response)


def _lengths(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """`way/length/size`: a Content-Length, and a body of another size."""
    way, length, size = environ["QUERY_STRING"].split("/")
    write = start_response("200 OK", [("Content-Length", length)])
    body = b"0123456789"[: int(size)]
    if way == "list":
        return [body]
    if way == "write":
        write(body)
        return []
    return (body[index : index + 1] for index in range(len(body)))


def _fails_in_the_body(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
    length = environ["QUERY_STRING"]
    start_response("200 OK", [("Content-Length", length)] if length else PLAIN)
    yield b"part"
    raise RuntimeError("in the middle of the body")


DEEDS: dict[str, Callable[[Environ, StartResponse], Iterable[bytes]]] = {
    "/mistake": _mistaken,
    "/bad-status": _bad_status,
    "/bad-headers": _bad_headers,
    "/bad-in-a-stream": _bad_in_a_stream,
    "/sees-bad-status": _sees_bad_status,
    "/exc-info": _exc_info,
    "/lengths": _lengths,
    "/fails-in-the-body": _fails_in_the_body,
}
